"""Lists: keyset pages both ways, orders, and one number of queries however many rows there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import keyset
from accounts.models import ApiKey, Membership, User
from accounts.tenancy import tenant_scope
from clients.models import Client, Contact, Project
from inbound.models import TimeProposal
from settlement.links import make_link
from tests.factories import make_adjustment, make_client, make_project, make_time_log, make_work_item
from tests.rest.client import Api
from timelogs.models import ActivityType, TimeLog, WorkItem

pytestmark = pytest.mark.django_db


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [one["id"] for one in response.json()["results"]]


def walk(api: Api, url: str, link: str = "next") -> list[list[str]]:
    pages = []
    while url:
        response = api.get(url)
        pages.append(ids(response))
        url = response.json()[link]
    return pages


@pytest.fixture
def logs(admin: Membership) -> list[TimeLog]:
    """Seven logs on four days, three of them on one."""
    client = make_client(admin.workspace)
    days = [1, 2, 2, 2, 3, 4, 4]
    return [make_time_log(admin, client, on=date(2026, 6, day), seconds=day * 60) for day in days]


def newest_first(logs: list[TimeLog]) -> list[str]:
    return [str(log.id) for log in sorted(logs, key=lambda log: (log.spent_date, log.id), reverse=True)]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_pages_hold_every_row_once_in_order_both_ways(
    size: int, admin: Membership, logs: list[TimeLog]
) -> None:
    api = Api(admin)
    pages = walk(api, f"time-logs/?page_size={size}")
    assert [one for page in pages for one in page] == newest_first(logs)
    assert all(len(page) == size for page in pages[:-1])
    last = f"time-logs/?page_size={size}"
    while (following := api.get(last).json()["next"]) is not None:
        last = following
    back = walk(api, last, "previous")
    assert [one for page in reversed(back) for one in page] == newest_first(logs)


def test_ordering_turns_round(admin: Membership, logs: list[TimeLog]) -> None:
    api = Api(admin)
    rising = [one for page in walk(api, "time-logs/?page_size=2&ordering=spent_date") for one in page]
    assert rising == newest_first(logs)[::-1]
    made = [str(log.id) for log in logs]
    assert [one for page in walk(api, "time-logs/?page_size=2&ordering=created_at") for one in page] == made
    assert ids(api.get("time-logs/", ordering="-updated_at")) == made[::-1]


def test_rows_that_come_meanwhile_neither_repeat_nor_hide_others(
    admin: Membership, logs: list[TimeLog]
) -> None:
    api = Api(admin)
    first = api.get("time-logs/", page_size=3)
    make_time_log(admin, logs[0].client, on=date(2026, 6, 30))
    second = api.get(first.json()["next"])
    assert ids(first) + ids(second) == newest_first(logs)[:6]
    newer = api.get(second.json()["previous"])
    assert ids(newer) == newest_first(logs)[:3]
    assert newer.json()["previous"] is not None


def test_links_are_absolute_and_keep_the_filters(admin: Membership, logs: list[TimeLog]) -> None:
    api = Api(admin)
    response = api.get("time-logs/", page_size=2, to="2026-06-03", ordering="spent_date")
    link = response.json()["next"]
    assert link.startswith("http://testserver/api/v1/time-logs/?")
    assert "page_size=2" in link
    assert "to=2026-06-03" in link
    assert "ordering=spent_date" in link
    assert response.json()["previous"] is None
    kept = [
        str(log.id)
        for log in sorted(logs, key=lambda log: (log.spent_date, log.id))
        if log.spent_date.day <= 3
    ]
    assert [one for page in walk(api, link) for one in page] == kept[2:]


def test_empty_list_has_no_links(admin: Membership) -> None:
    assert Api(admin).get("clients/").json() == {"next": None, "previous": None, "results": []}


@pytest.mark.parametrize("size", ["0", "501", "-1", "x", "1.5", "1e2", "²", "9" * 50])
def test_page_size_out_of_bounds_is_a_400(size: str, admin: Membership) -> None:
    response = Api(admin).get("clients/", page_size=size)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["page_size"]


def test_page_size_defaults_to_100_and_reaches_500(admin: Membership) -> None:
    api = Api(admin)
    with tenant_scope(admin.workspace_id):
        Client.objects.bulk_create(Client(workspace=admin.workspace, name=f"C{n}") for n in range(501))
    assert len(ids(api.get("clients/"))) == 100
    assert len(ids(api.get("clients/", page_size=500))) == 500


def test_unknown_ordering_is_a_400(admin: Membership) -> None:
    for name in ("workspace", "--name", "-", "name,id", "?", "name\x00"):
        response = Api(admin).get("clients/", ordering=name)
        assert response.status_code == 400, name
        assert list(response.json()["errors"]) == ["ordering"]


def test_tampered_or_foreign_cursor_is_a_400(admin: Membership, logs: list[TimeLog]) -> None:
    api = Api(admin)
    good = keyset.encode(logs[0], ("-spent_date", "-id"), keyset.AFTER)
    assert api.get("time-logs/", cursor=good).status_code == 200
    for cursor in (good[:-1], "x" + good, good.swapcase(), "x", ".", "\x00", "a.b.c", "é", "9" * 5000):
        response = api.get("time-logs/", cursor=cursor)
        assert response.status_code == 400, cursor
        assert list(response.json()["errors"]) == ["cursor"]
    assert api.get("time-logs/", cursor=good, ordering="created_at").status_code == 400
    assert api.get("clients/", cursor=good).status_code == 400


def test_cursor_of_another_workspace_shows_nothing_of_it(
    admin: Membership, stranger: Membership, logs: list[TimeLog]
) -> None:
    cursor = keyset.encode(logs[3], ("-spent_date", "-id"), keyset.AFTER)
    assert ids(Api(stranger).get("time-logs/", cursor=cursor)) == []


# --- Queries ---------------------------------------------------------------------------------------------------------
def _people(admin: Membership, count: int) -> None:
    users = User.objects.bulk_create(
        User(email=f"p{n}@{admin.workspace.slug}.test", name=f"P{n}") for n in range(count)
    )
    Membership.objects.bulk_create(Membership(workspace=admin.workspace, user=user) for user in users)


def _keys(admin: Membership, count: int) -> None:
    ApiKey.objects.bulk_create(
        ApiKey(
            workspace=admin.workspace,
            user=admin.user,
            name=f"K{n}",
            prefix=f"{admin.workspace.slug[:8]}{n}",
            secret_hash="x",
        )
        for n in range(count)
    )


def _clients(admin: Membership, count: int) -> list[Client]:
    return Client.objects.bulk_create(Client(workspace=admin.workspace, name=f"C{n}") for n in range(count))


def _of_clients(model: type[Any], **fields: Any) -> Callable[[Membership, int], Any]:
    def fill(admin: Membership, count: int) -> None:
        model.objects.bulk_create(
            model(
                workspace=admin.workspace, client=client, **{name: make(n) for name, make in fields.items()}
            )
            for n, client in enumerate(_clients(admin, count))
        )

    return fill


def _types(admin: Membership, count: int) -> None:
    ActivityType.objects.bulk_create(
        ActivityType(workspace=admin.workspace, name=f"A{n}") for n in range(count)
    )


def _logs(admin: Membership, count: int) -> None:
    """Each with a client, project, work item, activity type and owner of its own."""
    for n in range(count):
        client = make_client(admin.workspace)
        project = make_project(client)
        make_time_log(
            admin,
            client,
            on=date(2026, 1, 1) + timedelta(days=n),
            work_item=make_work_item(client, project=project),
        )


def _proposals(admin: Membership, count: int) -> None:
    for n, client in enumerate(_clients(admin, count)):
        WorkItem.objects.create(workspace=admin.workspace, client=client, key=f"K-{n}", title=f"Fix page {n}")
        TimeProposal.objects.create(
            workspace=admin.workspace,
            client=client,
            owner=admin.user,
            spent_date=date(2026, 6, 1),
            seconds=60,
            notes=f"K-{n} fix page",
            external_id=str(n),
        )


def _adjustments(admin: Membership, count: int) -> None:
    for client in _clients(admin, count):
        make_adjustment(make_time_log(admin, client))


def _links(admin: Membership, count: int) -> None:
    for client in _clients(admin, count):
        make_link(by=admin, client=client)


LISTS: dict[str, Callable[[Membership, int], Any]] = {
    "members/": _people,
    "api-keys/": _keys,
    "clients/": _clients,
    "contacts/": _of_clients(Contact, name=lambda n: f"P{n}"),
    "projects/": _of_clients(Project, name=lambda n: f"P{n}"),
    "activity-types/": _types,
    "work-items/": _of_clients(WorkItem, key=lambda n: f"W-{n}", title=lambda n: f"W{n}"),
    "time-logs/": _logs,
    "inbound/proposals/": _proposals,
    "inbound/adjustments/": _adjustments,
    "client-links/": _links,
}


@pytest.mark.parametrize("path", LISTS)
def test_list_takes_as_many_queries_for_100_rows_as_for_1(
    path: str, admin: Membership, stranger: Membership
) -> None:
    """One workspace gets a row, another a hundred; both are asked for a hundred."""

    def ask(person: Membership, rows: int) -> tuple[int, int]:
        with tenant_scope(person.workspace_id):
            LISTS[path](person, rows)
        api = Api(person)
        api.get("me/")  # the key's use is noted once a minute
        with CaptureQueriesContext(connection) as captured:
            found = len(ids(api.get(path)))
        return found, len(captured)

    few, queries_for_few = ask(admin, 1)
    many, queries_for_many = ask(stranger, 100)
    assert few <= 2  # members and keys: the admin's own is there too
    assert many == 100
    assert queries_for_many == queries_for_few
    assert queries_for_few <= 20
