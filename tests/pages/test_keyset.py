"""Keyset pages against the real database: every row once, both ways, and no cursor but our own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from django.core.signing import Signer
from django.db import connection
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext

from accounts import keyset
from accounts.errors import Invalid
from accounts.services import create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db

ORDER = ("-spent_date", "-id")


@pytest.fixture
def logs() -> Iterator[list[TimeLog]]:
    """Twenty-three logs on eight days, in the list's order, inside their workspace's scope."""
    membership = create_workspace(name="Keyset", email="k@example.com", password="a-long-password-1")
    with tenant_scope(membership.workspace_id):
        client = Client.objects.create(workspace=membership.workspace, name="Acme")
        made = [
            TimeLog.objects.create(
                workspace=membership.workspace,
                client=client,
                owner=membership.user,
                spent_date=date(2026, 3, 1) + timedelta(days=number * 5 % 8),
                seconds=60 * number,
            )
            for number in range(23)
        ]
        yield sorted(made, key=lambda log: (log.spent_date, log.id), reverse=True)


def test_walking_forward_and_back_meets_every_row_once(logs: list[TimeLog]) -> None:
    rows = TimeLog.objects.all()
    pages = [keyset.page(rows, order=ORDER, size=5)]
    assert pages[0].previous is None
    while pages[-1].next:
        pages.append(keyset.page(rows, order=ORDER, cursor=pages[-1].next, size=5))
    assert [row for one in pages for row in one.rows] == logs
    assert [len(one.rows) for one in pages] == [5, 5, 5, 5, 3]
    back = [pages[-1]]
    while back[-1].previous:
        back.append(keyset.page(rows, order=ORDER, cursor=back[-1].previous, size=5))
    assert [row for one in reversed(back) for row in one.rows] == logs


def test_rows_that_come_and_go_neither_repeat_nor_hide_others(logs: list[TimeLog]) -> None:
    first = keyset.page(TimeLog.objects.all(), order=ORDER, size=5)
    logs[0].delete()
    logs[4].delete()  # the very row that the cursor stands on
    second = keyset.page(TimeLog.objects.all(), order=ORDER, cursor=first.next, size=5)
    assert second.rows == logs[5:10]


def test_before_the_first_row_is_the_first_page(logs: list[TimeLog]) -> None:
    cursor = keyset.encode(logs[0], ORDER, keyset.BEFORE)
    found = keyset.page(TimeLog.objects.all(), order=ORDER, cursor=cursor, size=5)
    assert (found.rows, found.previous) == (logs[:5], None)
    assert found.next


def test_position_is_compared_as_one_row_value(logs: list[TimeLog]) -> None:
    cursor = keyset.encode(logs[9], ORDER, keyset.AFTER)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        keyset.page(TimeLog.objects.all(), order=ORDER, cursor=cursor, size=5)
    assert len(queries) == 1
    assert '("timelogs_timelog"."spent_date", "timelogs_timelog"."id") < (' in queries[0]["sql"]


def test_annotations_and_relations_order_a_list(logs: list[TimeLog]) -> None:
    workspace = logs[0].workspace
    names = ["zeta", "Alpha", "beta", "ALPHA", "Éclair", "100%"]
    for name in names:
        Client.objects.create(workspace=workspace, name=name)
    rows = Client.objects.annotate(by_name=Lower("name"))
    whole = list(rows.order_by("by_name", "id"))
    first = keyset.page(rows, order=("by_name", "id"), size=4)
    second = keyset.page(rows, order=("by_name", "id"), cursor=first.next, size=4)
    assert first.rows + second.rows == whole
    by_client = ("client__name", "id")
    found = keyset.page(
        TimeLog.objects.select_related("client"),
        order=by_client,
        cursor=keyset.encode(min(logs, key=lambda log: log.id), by_client, keyset.AFTER),
        size=100,
    )
    assert len(found.rows) == 22


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "..",
        "\x00",
        "\ud800",
        "é.é",
        "W10.sig",
        Signer(salt="accounts.keyset", sep=".").sign_object(["after", "-id", "1"]),
        Signer(salt="another", sep=".").sign_object(["after", ",".join(ORDER), "2026-01-01", "1"]),
    ],
)
def test_foreign_cursor_is_refused_in_words(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        keyset.page(TimeLog.objects.all(), order=ORDER, cursor=cursor)
    assert "cursor" in caught.value.errors


def test_order_that_turns_is_refused() -> None:
    with pytest.raises(ValueError, match="one way"):
        keyset.page(TimeLog.objects.all(), order=("-spent_date", "id"))
