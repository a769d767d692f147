"""activity-types/, work-items/, time-logs/ with summary/ and restore/."""

from __future__ import annotations

import time
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_work_item,
)
from tests.rest.client import Api
from timelogs.models import Source, SyncState, TimeLog
from timelogs.signals import time_log_changed

pytestmark = pytest.mark.django_db
DAY = "2026-06-01"
NOTHING = ["There is nothing with this id."]


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 400, response.json()
    found: dict[str, list[str]] = response.json()["errors"]
    return found


def found(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [one["id"] for one in response.json()["results"]]


# --- Activity types and work items -----------------------------------------------------------------------------------
def test_rates_are_decimal_strings(admin: Membership) -> None:
    api = Api(admin)
    made = api.post("activity-types/", {"name": "Design", "hourly_rate": "120"}).json()
    assert made == {"id": made["id"], "name": "Design", "hourly_rate": "120.00", "billable": True}
    assert api.post("activity-types/", {"name": "Meeting"}).json()["hourly_rate"] == "0.00"
    path = f"activity-types/{made['id']}/"
    assert api.patch(path, {"hourly_rate": 99.5, "billable": False}).json()["hourly_rate"] == "99.50"
    for rate in ("-1", "10000000", "1.234", "NaN", "Infinity", "1e9", "", None, [], "x"):
        assert list(errors(api.patch(path, {"hourly_rate": rate}))) == ["hourly_rate"]
    assert api.delete(path).status_code == 204


def test_activity_type_with_time_on_it_stays(admin: Membership, acme: Client) -> None:
    kind = make_activity_type(admin.workspace)
    make_time_log(admin, acme, activity_type=kind)
    assert Api(admin).delete(f"activity-types/{kind.id}/").json()["type"] == "in-use"


def test_work_item_gets_a_key_and_its_projects_client(admin: Membership, acme: Client) -> None:
    project = make_project(acme, code="SITE")
    api = Api(admin)
    first = api.post("work-items/", {"client": str(acme.id), "title": "Home"}).json()
    assert first == {
        "id": first["id"], "client": str(acme.id), "project": None, "key": "ACME-1", "title": "Home",
        "description": "", "status": "open",
    }  # fmt: skip
    second = api.post("work-items/", {"project": str(project.id), "title": "Form", "key": ""}).json()
    assert (second["client"], second["project"], second["key"]) == (str(acme.id), str(project.id), "SITE-1")
    assert api.post("work-items/", {"client": str(acme.id), "title": "Next"}).json()["key"] == "ACME-2"
    taken = api.post("work-items/", {"client": str(acme.id), "title": "Again", "key": "acme-1"})
    assert errors(taken) == {"key": ["Another work item has this key."]}
    assert list(errors(api.post("work-items/", {"title": "Nowhere"}))) == ["client"]
    assert list(errors(api.post("work-items/", {"client": str(acme.id), "title": "x", "key": "-"}))) == [
        "key"
    ]
    other = make_project(make_client(admin.workspace))
    mismatch = api.post("work-items/", {"client": str(acme.id), "project": str(other.id), "title": "x"})
    assert list(errors(mismatch)) == ["project"]
    assert found(api.get("work-items/", key="acme-2")) != []
    assert found(api.get("work-items/", project=project.id)) == [second["id"]]
    assert (
        api.patch(f"work-items/{second['id']}/", {"status": "done", "project": None}).json()["status"]
        == "done"
    )
    assert found(api.get("work-items/", status="done")) == [second["id"]]


# --- Writing time ----------------------------------------------------------------------------------------------------
def test_log_takes_what_follows_from_its_work_item_and_activity_type(admin: Membership, acme: Client) -> None:
    project = make_project(acme)
    item = make_work_item(acme, "Home page", project=project, description="Build the home page")
    kind = make_activity_type(admin.workspace, rate="95.50", billable=False)
    response = Api(admin).post(
        "time-logs/",
        {"work_item": str(item.id), "activity_type": str(kind.id), "spent_date": DAY, "hours": "2.11"},
    )
    assert response.status_code == 201
    log = response.json()
    assert log == {
        "id": log["id"],
        "client": str(acme.id),
        "project": str(project.id),
        "work_item": str(item.id),
        "activity_type": str(kind.id),
        "owner": str(admin.user_id),
        "owner_email": "ada@northlight.test",
        "spent_date": DAY,
        "seconds": 7596,
        "hours": "2.11",
        "notes": "Build the home page",
        "billable": False,
        "hourly_rate": "95.50",
        "source": "manual",
        "external_id": None,
        "sync_state": "none",
        "sync_detail": "",
        "settled": False,
        "created_at": log["created_at"],
        "updated_at": log["updated_at"],
    }
    assert Api(admin).get(f"time-logs/{log['id']}/").json() == log


def test_later_change_of_a_rate_reprices_nothing(admin: Membership, acme: Client) -> None:
    kind = make_activity_type(admin.workspace, rate="100.00")
    log = make_time_log(admin, acme, activity_type=kind)
    api = Api(admin)
    api.patch(f"activity-types/{kind.id}/", {"hourly_rate": "150.00"})
    path = f"time-logs/{log.id}/"
    assert api.patch(path, {"notes": "x", "activity_type": str(kind.id)}).json()["hourly_rate"] == "100.00"
    other = make_activity_type(admin.workspace, rate="80.00")
    assert api.patch(path, {"activity_type": str(other.id)}).json()["hourly_rate"] == "80.00"
    assert api.patch(path, {"activity_type": None}).json()["hourly_rate"] == "0.00"


@pytest.mark.parametrize(
    ("seconds", "hours"),
    [
        (0, "0.00"),
        (17, "0.00"),
        (18, "0.01"),
        (35, "0.01"),
        (36, "0.01"),
        (54, "0.02"),
        (3600, "1.00"),
        (86400, "24.00"),
    ],
)
def test_hours_are_seconds_to_hundredths_half_up(
    seconds: int, hours: str, admin: Membership, acme: Client
) -> None:
    body = {"client": str(acme.id), "spent_date": DAY, "seconds": seconds}
    log = Api(admin).post("time-logs/", body).json()
    assert (log["seconds"], log["hours"]) == (seconds, hours)


@pytest.mark.parametrize(
    ("hours", "seconds"),
    [("0", 0), ("0.01", 36), ("1.5", 5400), ("2.11", 7596), ("24", 86400), (1.25, 4500), (8, 28800)],
)
def test_hours_may_be_written_instead(hours: Any, seconds: int, admin: Membership, acme: Client) -> None:
    body = {"client": str(acme.id), "spent_date": DAY, "hours": hours}
    assert Api(admin).post("time-logs/", body).json()["seconds"] == seconds


def test_duration_is_given_once_and_in_bounds(admin: Membership, acme: Client) -> None:
    api = Api(admin)
    base = {"client": str(acme.id), "spent_date": DAY}
    assert set(errors(api.post("time-logs/", {**base, "seconds": 3600, "hours": "1.00"}))) == {
        "seconds",
        "hours",
    }
    assert list(errors(api.post("time-logs/", base))) == ["seconds"]
    for field, values in {
        "seconds": [-1, 86401, 10**30, 1.5, "x", None, True, [], "1e3"],
        "hours": ["-0.01", "24.01", "1.234", "NaN", "1e99", "x", None, True, []],
    }.items():
        for value in values:
            assert list(errors(api.post("time-logs/", {**base, field: value}))) == [field], value
    log = make_time_log(admin, acme)
    both = api.patch(f"time-logs/{log.id}/", {"seconds": 60, "hours": "1"})
    assert set(errors(both)) == {"seconds", "hours"}
    assert api.patch(f"time-logs/{log.id}/", {"hours": "0.5"}).json()["seconds"] == 1800


@pytest.mark.parametrize(
    "day", ["1969-12-31", "2200-01-01", "2026-02-29", "01.06.2026", "2026-6-1T", 20260601, None, ""]
)
def test_date_that_is_none_is_refused(day: Any, admin: Membership, acme: Client) -> None:
    body = {"client": str(acme.id), "spent_date": day, "seconds": 60}
    assert list(errors(Api(admin).post("time-logs/", body))) == ["spent_date"]


def test_places_that_do_not_match_are_errors(admin: Membership, stranger: Membership, acme: Client) -> None:
    other = make_client(admin.workspace)
    project, item = make_project(other), make_work_item(other)
    theirs = make_client(stranger.workspace)
    api = Api(admin)

    def refused(**places: Any) -> dict[str, list[str]]:
        body = {"spent_date": DAY, "seconds": 60, **{name: str(value.pk) for name, value in places.items()}}
        return errors(api.post("time-logs/", body))

    assert list(refused()) == ["client"]
    assert list(refused(client=acme, project=project)) == ["project"]
    assert list(refused(client=acme, work_item=item)) == ["work_item"]
    assert refused(client=theirs) == {"client": NOTHING}
    assert refused(client=acme, project=make_project(theirs)) == {"project": NOTHING}
    assert refused(client=acme, work_item=make_work_item(theirs)) == {"work_item": NOTHING}
    assert refused(client=acme, activity_type=make_activity_type(stranger.workspace)) == {
        "activity_type": NOTHING
    }
    assert refused(client=acme, owner=stranger.user) == {"owner": NOTHING}


def test_read_only_fields_are_passed_over(admin: Membership, acme: Client) -> None:
    log = make_time_log(admin, acme)
    api = Api(admin)
    read = api.get(f"time-logs/{log.id}/").json()
    sent = {name: value for name, value in read.items() if name != "hours"} | {
        "id": "x", "source": "harvest", "external_id": "1", "sync_state": "synced", "settled": True,
        "hourly_rate": "999.00", "owner_email": "x@y.test", "created_at": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    changed = api.patch(f"time-logs/{log.id}/", sent).json()
    assert changed == {**read, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > read["updated_at"]


def test_member_writes_their_own_time_alone(admin: Membership, member: Membership, acme: Client) -> None:
    api = Api(member)
    body = {"client": str(acme.id), "spent_date": DAY, "seconds": 60}
    own = api.post("time-logs/", {**body, "owner": str(member.user_id)}).json()
    assert own["owner"] == str(member.user_id)
    others = make_time_log(admin, acme)
    for refused in (
        api.post("time-logs/", {**body, "owner": str(admin.user_id)}),
        api.patch(f"time-logs/{others.id}/", {"owner": str(member.user_id)}),
        api.patch(f"time-logs/{own['id']}/", {"owner": str(admin.user_id)}),
        api.delete(f"time-logs/{others.id}/"),
    ):
        assert refused.status_code == 403
        assert refused.json()["type"] == "forbidden"
    assert api.get(f"time-logs/{others.id}/").json()["owner"] == str(admin.user_id)


def test_settled_time_stays_as_it_is(admin: Membership, acme: Client) -> None:
    log = make_time_log(admin, acme)
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.filter(pk=log.pk).update(settled_at=timezone.now())
    api = Api(admin)
    assert api.get(f"time-logs/{log.id}/").json()["settled"] is True
    for refused in (api.patch(f"time-logs/{log.id}/", {"notes": "x"}), api.delete(f"time-logs/{log.id}/")):
        assert refused.status_code == 409
        assert refused.json()["type"] == "settled"


def test_deleted_log_is_gone_from_lists_and_comes_back(admin: Membership, acme: Client) -> None:
    log, other = make_time_log(admin, acme), make_time_log(admin, acme)
    api = Api(admin)
    path = f"time-logs/{log.id}/"
    before = api.get(path).json()
    assert api.delete(path).status_code == 204
    assert found(api.get("time-logs/")) == [str(other.id)]
    assert found(api.get("time-logs/", deleted="true")) == [str(log.id)]
    assert api.get("time-logs/summary/").json()["count"] == 1
    assert api.get("time-logs/summary/", deleted="true").json()["count"] == 1
    assert api.get(path).status_code == 404
    assert api.patch(path, {"notes": "x"}).status_code == 404
    assert api.delete(path).status_code == 404
    restored = api.post(f"{path}restore/")
    assert restored.json() == {**before, "updated_at": restored.json()["updated_at"]}
    assert api.post(f"{path}restore/").json() == restored.json()
    assert set(found(api.get("time-logs/", deleted="false"))) == {str(log.id), str(other.id)}


def test_changes_are_told_to_higher_floors(admin: Membership, acme: Client) -> None:
    told: list[tuple[str, str]] = []

    def hear(sender: Any, change: str, origin: str, **news: Any) -> None:
        told.append((change, origin))

    time_log_changed.connect(hear)
    try:
        api = Api(admin)
        log = api.post("time-logs/", {"client": str(acme.id), "spent_date": DAY, "seconds": 60}).json()
        api.patch(f"time-logs/{log['id']}/", {"notes": "x"})
        api.patch(f"time-logs/{log['id']}/", {"seconds": -1})
        api.delete(f"time-logs/{log['id']}/")
        api.post(f"time-logs/{log['id']}/restore/")
    finally:
        time_log_changed.disconnect(hear)
    assert told == [(change, "person") for change in ("created", "updated", "deleted", "restored")]


# --- Reading time ----------------------------------------------------------------------------------------------------
def test_filters(admin: Membership, member: Membership, acme: Client) -> None:
    bolt = make_client(admin.workspace, "Bolt")
    project = make_project(acme)
    item = make_work_item(acme, project=project)
    kind = make_activity_type(admin.workspace)
    plain = make_time_log(admin, bolt, on=date(2026, 6, 1), notes="Sketches for the header")
    full = make_time_log(
        admin,
        acme,
        on=date(2026, 6, 2),
        work_item=item,
        activity_type=kind,
        billable=False,
        notes="Über-Kopf: fix",
    )
    theirs = make_time_log(member, acme, on=date(2026, 6, 3), notes="fixing headers")
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.filter(pk=theirs.pk).update(
            source=Source.HARVEST, external_id="17", sync_state=SyncState.SYNCED, settled_at=timezone.now()
        )
    api = Api(admin)
    for query, expected in [
        ({}, [theirs, full, plain]),
        ({"client": acme.id}, [theirs, full]),
        ({"project": project.id}, [full]),
        ({"work_item": item.id}, [full]),
        ({"activity_type": kind.id}, [full]),
        ({"owner": member.user_id}, [theirs]),
        ({"source": "harvest"}, [theirs]),
        ({"source": "manual"}, [full, plain]),
        ({"billable": "false"}, [full]),
        ({"billable": "true"}, [theirs, plain]),
        ({"settled": "true"}, [theirs]),
        ({"settled": "false"}, [full, plain]),
        ({"sync_state": "synced"}, [theirs]),
        ({"from": "2026-06-02"}, [theirs, full]),
        ({"to": "2026-06-02"}, [full, plain]),
        ({"from": "2026-06-02", "to": "2026-06-02"}, [full]),
        ({"from": "2026-06-03", "to": "2026-06-01"}, []),
        ({"q": "head"}, [theirs, plain]),
        ({"q": "HEAD fix"}, [theirs]),
        ({"q": "über"}, [full]),
        ({"q": "eader"}, []),
        ({"q": "!&|()':*"}, [theirs, full, plain]),
        ({"client": acme.id, "billable": "true"}, [theirs]),
    ]:
        assert found(api.get("time-logs/", **query)) == [str(log.id) for log in expected], query
        totals = api.get("time-logs/summary/", **query).json()
        assert totals["count"] == len(expected), query
        assert totals["seconds"] == sum(log.seconds for log in expected)


def test_summary_sums_exactly(admin: Membership, acme: Client) -> None:
    kind = make_activity_type(admin.workspace, rate="100.00")
    for seconds, billable in [(36, True), (36, True), (36, True), (3600, False)]:
        make_time_log(admin, acme, seconds=seconds, activity_type=kind, billable=billable)
    assert Api(admin).get("time-logs/summary/").json() == {
        "count": 4, "seconds": 3708, "hours": "1.03", "billable_seconds": 108, "amount": "3.00", "currency": "USD",
    }  # fmt: skip
    assert Api(admin).get("time-logs/summary/", to="2020-01-01").json() == {
        "count": 0, "seconds": 0, "hours": "0.00", "billable_seconds": 0, "amount": "0.00", "currency": "USD",
    }  # fmt: skip


def test_page_of_a_hundred_costs_little(admin: Membership, acme: Client) -> None:
    """The page's own Python: less than 50 ms on an idle core, so processor time, the best of five."""
    item = make_work_item(acme, project=make_project(acme))
    kind = make_activity_type(admin.workspace)
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.bulk_create(
            TimeLog(
                workspace=admin.workspace, client=acme, work_item=item, activity_type=kind, owner=admin.user,
                spent_date=date(2026, 1, 1) + timedelta(days=number % 90), seconds=number, notes="x" * 80,
                hourly_rate=Decimal("95.00"),
            )
            for number in range(300)
        )  # fmt: skip
    api = Api(make_member(admin.workspace))
    url = "/api/v1/time-logs/?page_size=100"
    api.get(url)
    taken = []
    for _ in range(5):
        started = time.process_time()
        response = api.http.get(url, headers=api.headers)
        taken.append(time.process_time() - started)
        assert len(response.json()["results"]) == 100
    assert min(taken) < 0.05
