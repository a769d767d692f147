"""The list of time by SQL of its own: it shows, pages and sums the logs that Django would find."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts import keyset
from accounts.errors import Invalid
from accounts.models import Membership
from accounts.tenancy import tenant_scope
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_work_item,
)
from timelogs.listing import CONDITIONS, NEWEST, page_of, summary_of
from timelogs.models import Source, SyncState, TimeLog
from timelogs.money import amount_of
from timelogs.totals import Totals

pytestmark = pytest.mark.django_db

FIRST = date(2026, 3, 1)
NOTES = (
    "",
    "Invoice and roster",
    "an INVOICE, re-sent",
    "voice of the invoices",
    "100 % 'quoted' \\ and $1",
    "größer",
)


@pytest.fixture
def logs(admin: Membership, stranger: Membership) -> list[TimeLog]:
    """Logs of all kinds, the newest first; besides, a deleted one and another workspace's."""
    chance = random.Random(11)
    people = [admin, make_member(admin.workspace, name=""), make_member(admin.workspace)]
    clients = [make_client(admin.workspace) for _ in range(3)]
    projects = [make_project(client) for client in clients]
    types = [make_activity_type(admin.workspace) for _ in range(2)]
    items = [make_work_item(client) for client in clients]
    with tenant_scope(admin.workspace_id):
        for number in range(60):
            client = chance.choice(clients)
            make_time_log(
                chance.choice(people),
                client,
                project=chance.choice([None, projects[clients.index(client)]]),
                activity_type=chance.choice([None, *types]),
                on=FIRST + timedelta(days=chance.randrange(9)),
                seconds=chance.randrange(86_400),
                billable=chance.random() < 0.6,
            )
            log = TimeLog.objects.latest("id")
            log.work_item = chance.choice([None, items[clients.index(client)]])
            log.notes = chance.choice(NOTES)
            log.source = chance.choice(Source.values)
            log.sync_state = chance.choice(SyncState.values)
            log.hourly_rate = Decimal(chance.randrange(20_000)) / 100
            log.settled_at = chance.choice([None, timezone.now()])
            log.deleted_at = timezone.now() if number == 30 else None
            log.save()
        found = list(
            TimeLog.objects.filter(deleted_at=None)
            .select_related("client", "project", "work_item", "activity_type", "owner")
            .order_by(*NEWEST)
        )
    make_time_log(stranger, make_client(stranger.workspace), on=FIRST)
    assert len(found) == 59
    return found


Meets = Callable[[TimeLog], bool]


def some(logs: list[TimeLog]) -> list[tuple[dict[str, Any], Meets]]:
    """Conditions, and what they mean."""
    log = next(one for one in logs if one.project_id and one.work_item_id and one.activity_type_id)
    day = FIRST + timedelta(days=4)

    def begins(one: TimeLog, *words: str) -> bool:
        found = one.notes.lower().replace("-", " ").replace("'", " ").replace("$", " ").split()
        return all(any(word.startswith(beginning) for word in found) for beginning in words)

    return [
        ({}, lambda one: True),
        ({"id": log.id}, lambda one: one.id == log.id),
        *(
            (
                {name: getattr(log, f"{name}_id")},
                lambda one, name=name: getattr(one, name) == getattr(log, name),
            )
            for name in ("client", "project", "work_item", "activity_type", "owner")
        ),
        ({"client": uuid4()}, lambda one: False),
        ({"from": day}, lambda one: one.spent_date >= day),
        ({"to": day}, lambda one: one.spent_date <= day),
        ({"from": day, "to": FIRST}, lambda one: False),
        ({"billable": True}, lambda one: one.billable),
        ({"billable": False}, lambda one: not one.billable),
        ({"source": "harvest"}, lambda one: one.source == "harvest"),
        ({"sync_state": "held"}, lambda one: one.sync_state == "held"),
        ({"settled": True}, lambda one: one.settled),
        ({"settled": False}, lambda one: not one.settled),
        ({"deleted": False}, lambda one: True),
        ({"q": "invoi"}, lambda one: begins(one, "invoi")),
        ({"q": "INVOICE, ro"}, lambda one: begins(one, "invoice", "ro")),
        ({"q": "% \\"}, lambda one: True),  # no word
        ({"q": "1"}, lambda one: begins(one, "1")),
        ({"q": "Größ"}, lambda one: begins(one, "größ")),
        (
            {"client": log.client_id, "from": day, "billable": True, "q": "an"},
            lambda one: (
                one.client == log.client and one.spent_date >= day and one.billable and begins(one, "an")
            ),
        ),
    ]


def test_every_condition_leaves_what_it_says(admin: Membership, logs: list[TimeLog]) -> None:
    seen = set()
    for conditions, meets in some(logs):
        seen |= conditions.keys()
        wanted = [log for log in logs if meets(log)]
        with tenant_scope(admin.workspace_id):
            found = page_of(admin.workspace, conditions, size=100)
            assert [row["id"] for row in found.rows] == [log.id for log in wanted], conditions
            assert (found.next, found.previous) == (None, None)
            assert summary_of(admin.workspace, conditions) == Totals.of(
                len(wanted),
                sum(log.seconds for log in wanted),
                sum(log.seconds for log in wanted if log.billable),
                sum((log.seconds * log.hourly_rate for log in wanted if log.billable), Decimal(0)),
            ), conditions
    assert seen == {*CONDITIONS, "q"}
    with tenant_scope(admin.workspace_id):
        gone = TimeLog.objects.exclude(deleted_at=None).get()
        assert [row["id"] for row in page_of(admin.workspace, {"deleted": True}).rows] == [gone.id]
        assert summary_of(admin.workspace, {"deleted": True}).seconds == gone.seconds


def test_a_row_is_what_the_log_and_its_places_say(admin: Membership, logs: list[TimeLog]) -> None:
    with tenant_scope(admin.workspace_id):
        rows = page_of(admin.workspace, {}, size=100).rows
    for row, log in zip(rows, logs, strict=True):
        assert row == {
            **{
                name: getattr(log, name)
                for name in (
                    *("id", "spent_date", "seconds", "notes", "billable", "hourly_rate", "source"),
                    *("sync_state", "sync_detail", "settled_at", "owner_id"),
                )
            },
            "client_name": log.client.name,
            "project_name": log.project and log.project.name,
            "work_item_key": log.work_item and log.work_item.key,
            "activity_type_name": log.activity_type and log.activity_type.name,
            "owner_name": str(log.owner),
        }
        assert amount_of(row["seconds"], row["hourly_rate"]) == amount_of(log.seconds, log.hourly_rate)


def test_pages_lead_on_and_back_as_django_would_have_them(admin: Membership, logs: list[TimeLog]) -> None:
    """The cursors too are those of `keyset.page`: one list, asked in two ways."""
    conditions, those = {"billable": True}, [log for log in logs if log.billable]
    with tenant_scope(admin.workspace_id):
        rows = TimeLog.objects.filter(deleted_at=None, billable=True)
        cursor, seen = None, []
        while True:
            mine = page_of(admin.workspace, conditions, cursor=cursor, size=7)
            other = keyset.page(rows, order=NEWEST, cursor=cursor, size=7)
            assert [row["id"] for row in mine.rows] == [log.id for log in other.rows]
            assert (mine.next, mine.previous) == (other.next, other.previous)
            seen += [row["id"] for row in mine.rows]
            if mine.next is None:
                break
            cursor = mine.next
        assert seen == [log.id for log in those]
        while mine.previous is not None:
            cursor = mine.previous
            mine = page_of(admin.workspace, conditions, cursor=cursor, size=7)
            other = keyset.page(rows, order=NEWEST, cursor=cursor, size=7)
            assert [row["id"] for row in mine.rows] == [log.id for log in other.rows]
            assert (mine.next, mine.previous) == (other.next, other.previous)
        assert [row["id"] for row in mine.rows] == [log.id for log in those[:7]]
        with pytest.raises(Invalid):
            page_of(admin.workspace, conditions, cursor="made-up")


def test_one_page_is_one_question_however_long(
    admin: Membership, logs: list[TimeLog], django_assert_num_queries: Any
) -> None:
    for size in (1, 50):
        with tenant_scope(admin.workspace_id), django_assert_num_queries(1):
            assert len(page_of(admin.workspace, {}, size=size).rows) == size
