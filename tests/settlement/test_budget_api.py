"""budgets/: what is kept, what is refused, how budgets stand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, Membership
from accounts.tenancy import tenant_scope
from settlement.models import Budget
from tests.factories import make_activity_type, make_client, make_project, make_time_log
from tests.rest.client import Api
from timelogs.services import delete_time_log, restore_time_log, revise_time_log

pytestmark = pytest.mark.django_db

NOTHING = ["There is nothing with this id."]
HOURS = {"unit": "hours", "amount": "40.00", "period": "monthly"}


@pytest.fixture(autouse=True)
def _june() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 6, 12, 12, tzinfo=UTC), tick=False):
        yield


def test_budget_is_made_read_changed_and_deleted(designer: Membership) -> None:
    api = Api(designer)
    client = make_client(designer.workspace, "Acme")
    made = api.post("budgets/", {"client": str(client.id), **HOURS})
    assert made.status_code == 201
    budget = made.json()
    assert budget == {
        "id": budget["id"],
        "client": str(client.id),
        "project": None,
        "unit": "hours",
        "amount": "40.00",
        "period": "monthly",
        "starts_on": None,
        "ends_on": None,
        "alert_at": [80, 100],
        "rollover": "none",
        "rollover_cap": None,
        "currency": "USD",
        "state": "running",
        "period_starts_on": "2026-06-01",
        "period_ends_on": "2026-06-30",
        "carried": "0.00",
        "available": "40.00",
        "used": "0.00",
        "remaining": "40.00",
        "percent_used": "0.00",
        "even_use": "16.00",
        "runs_out_on": None,
    }
    assert made.headers["Location"] == f"http://testserver/api/v1/budgets/{budget['id']}/"
    path = f"budgets/{budget['id']}/"
    assert api.get(path).json() == budget
    changed = api.patch(path, {"amount": 20, "alert_at": [100, 50, 50]}).json()
    assert changed == {
        **budget, "amount": "20.00", "alert_at": [50, 100], "available": "20.00", "remaining": "20.00",
        "even_use": "8.00",
    }  # fmt: skip
    assert api.patch(path, changed).json() == changed  # what was read may be sent back
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    with tenant_scope(designer.workspace_id):
        trail = {one.action: one for one in AuditEvent.objects.filter(action__startswith="budget.")}
        assert set(trail) == {"budget.made", "budget.changed", "budget.deleted"}
        assert trail["budget.changed"].data["before"] == {"amount": "40.00", "alert_at": [80, 100]}
        assert trail["budget.changed"].actor_id == designer.user_id


def test_used_is_that_of_the_logs_as_they_stand(admin: Membership) -> None:
    api = Api(admin)
    acme, bolt = make_client(admin.workspace, "Acme"), make_client(admin.workspace, "Bolt")
    site = make_project(acme, "Site")
    design, free = (
        make_activity_type(admin.workspace, rate="99.99"),
        make_activity_type(admin.workspace, rate="50"),
    )
    ids = {
        name: api.post("budgets/", body).json()["id"]
        for name, body in {
            "hours": {"client": str(acme.id), **HOURS},
            "site": {"project": str(site.id), **HOURS},
            "money": {"client": str(acme.id), **HOURS, "unit": "money", "amount": "1000"},
            "bolt": {"client": str(bolt.id), **HOURS},
            "once": {
                "client": str(acme.id), "unit": "hours", "amount": "100", "period": "once",
                "starts_on": "2026-05-20", "ends_on": "2026-07-10",
            },
        }.items()
    }  # fmt: skip

    def used() -> dict[str, str]:
        rows = api.get("budgets/").json()["results"]
        assert {row["id"] for row in rows} == set(ids.values())
        for row in rows:
            assert Decimal(row["used"]) + Decimal(row["remaining"]) == Decimal(row["available"])
        return {name: next(row["used"] for row in rows if row["id"] == id) for name, id in ids.items()}

    assert used() == {"hours": "0.00", "site": "0.00", "money": "0.00", "bolt": "0.00", "once": "0.00"}
    first = make_time_log(admin, acme, on=date(2026, 6, 3), seconds=5400, activity_type=design)
    make_time_log(
        admin, acme, on=date(2026, 6, 30), seconds=3600, project=site, activity_type=free, billable=False
    )
    make_time_log(admin, acme, on=date(2026, 5, 31), seconds=1800)
    make_time_log(admin, acme, on=date(2026, 5, 19), seconds=7200)
    make_time_log(admin, acme, on=date(2026, 7, 1), seconds=36)
    # Hours of billable and other time alike; money of the billable time: 1.5 h x 99.99.
    assert used() == {"hours": "2.50", "site": "1.00", "money": "149.99", "bolt": "0.00", "once": "3.01"}
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=first, by=admin, seconds=5436)
    assert used() == {"hours": "2.51", "site": "1.00", "money": "150.98", "bolt": "0.00", "once": "3.02"}
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=first, by=admin, project=site)
    assert used() == {"hours": "2.51", "site": "2.51", "money": "150.98", "bolt": "0.00", "once": "3.02"}
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=first, by=admin, client=bolt)
    assert used() == {"hours": "1.00", "site": "1.00", "money": "0.00", "bolt": "1.51", "once": "1.51"}
    with tenant_scope(admin.workspace_id):
        delete_time_log(log=first, by=admin)
    assert used() == {"hours": "1.00", "site": "1.00", "money": "0.00", "bolt": "0.00", "once": "1.51"}
    with tenant_scope(admin.workspace_id):
        restore_time_log(log=first, by=admin)
    assert used()["bolt"] == "1.51"


def test_money_is_rounded_once_and_agrees_with_the_totals_of_the_logs(admin: Membership) -> None:
    """Three logs of a third of a cent each: a cent, however they are cut; as `time-logs/summary/` says."""
    client = make_client(admin.workspace)
    types = [make_activity_type(admin.workspace, rate="0.01") for _ in range(3)]
    for kind in types:
        make_time_log(admin, client, on=date(2026, 6, 2), seconds=1200, activity_type=kind)
    api = Api(admin)
    made = api.post(
        "budgets/", {"client": str(client.id), "unit": "money", "amount": "5", "period": "monthly"}
    ).json()
    assert made["used"] == "0.01"
    assert api.get("time-logs/summary/", client=str(client.id)).json()["amount"] == "0.01"


def test_money_of_a_currency_without_cents(admin: Membership) -> None:
    Api(admin).patch("workspace/", {"currency": "JPY"})
    client = make_client(admin.workspace)
    kind = make_activity_type(admin.workspace, rate="1001")
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=1800, activity_type=kind)
    body = {"client": str(client.id), "unit": "money", "amount": "9000", "period": "monthly"}
    made = Api(admin).post("budgets/", body).json()
    assert (made["currency"], made["used"], made["remaining"]) == ("JPY", "501.00", "8499.00")


@pytest.mark.parametrize(
    ("rollover", "cap", "carried"),
    [("none", None, "0.00"), ("all", None, "55.00"), ("capped", "12.5", "12.50")],
)
def test_rollover(admin: Membership, rollover: str, cap: str | None, carried: str) -> None:
    client = make_client(admin.workspace)
    for on, hours in (
        (date(2026, 3, 14), 9),
        (date(2026, 3, 20), 50),
        (date(2026, 4, 1), 5),
        (date(2026, 5, 31), 20),
    ):
        for _ in range(hours):
            make_time_log(admin, client, on=on, seconds=3600)
    body = {
        "client": str(client.id), **HOURS, "starts_on": "2026-03-15", "rollover": rollover, "rollover_cap": cap,
    }  # fmt: skip
    made = Api(admin).post("budgets/", body)
    assert made.status_code == 201
    # March went over (50 of 40), which April does not owe: 35 of April, 20 of May.
    assert made.json()["carried"] == carried
    assert Decimal(made.json()["available"]) == 40 + Decimal(carried)


def test_rollover_is_counted_from_this_month_unless_said(admin: Membership) -> None:
    client = make_client(admin.workspace)
    made = Api(admin).post("budgets/", {"client": str(client.id), **HOURS, "rollover": "all"}).json()
    assert made["starts_on"] == "2026-06-01"
    back = Api(admin).patch(f"budgets/{made['id']}/", {"rollover": "none"}).json()
    assert (back["rollover"], back["starts_on"]) == ("none", "2026-06-01")
    once = {"period": "once", "ends_on": "2026-06-30"}
    Api(admin).patch(f"budgets/{made['id']}/", {"rollover": "capped", "rollover_cap": "3"})
    turned = Api(admin).patch(f"budgets/{made['id']}/", once).json()
    assert (turned["rollover"], turned["rollover_cap"], turned["available"]) == ("none", None, "40.00")


def test_zero_is_a_budget(admin: Membership) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    made = api.post("budgets/", {"client": str(client.id), **HOURS, "amount": "0"}).json()
    assert (made["amount"], made["remaining"], made["percent_used"]) == ("0.00", "0.00", None)
    make_time_log(admin, client, on=date(2026, 6, 1), seconds=36)
    row = api.get(f"budgets/{made['id']}/").json()
    assert (row["used"], row["remaining"], row["percent_used"], row["runs_out_on"]) == (
        "0.01",
        "-0.01",
        None,
        None,
    )


def test_pace(admin: Membership) -> None:
    client = make_client(admin.workspace)
    for day in (1, 2, 11):
        make_time_log(admin, client, on=date(2026, 6, day), seconds=6 * 3600)
    made = Api(admin).post("budgets/", {"client": str(client.id), **HOURS, "amount": "30"}).json()
    # 18 h in 12 days: 1.5 a day, 30 h by the 20th.
    assert (made["used"], made["percent_used"], made["even_use"]) == ("18.00", "60.00", "12.00")
    assert made["runs_out_on"] == "2026-06-20"
    path = f"budgets/{made['id']}/"
    assert Api(admin).patch(path, {"amount": "45.01"}).json()["runs_out_on"] is None


def test_states(admin: Membership) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    once = {"client": str(client.id), "unit": "hours", "amount": "1", "period": "once"}
    for starts, ends, state in (
        ("2026-06-13", "2026-06-14", "upcoming"),
        ("2026-06-12", "2026-06-12", "running"),
        ("2026-06-10", "2026-06-11", "ended"),
    ):
        assert api.post("budgets/", {**once, "starts_on": starts, "ends_on": ends}).json()["state"] == state


def test_filters(admin: Membership) -> None:
    acme, bolt = make_client(admin.workspace), make_client(admin.workspace)
    site = make_project(acme)
    api = Api(admin)
    ids = [
        api.post("budgets/", {**place, **HOURS}).json()["id"]
        for place in ({"client": str(acme.id)}, {"project": str(site.id)}, {"client": str(bolt.id)})
    ]

    def found(**query: str) -> list[int]:
        return sorted(ids.index(one["id"]) for one in api.get("budgets/", **query).json()["results"])

    assert found() == [0, 1, 2]
    assert found(client=str(acme.id)) == [0, 1]
    assert found(project=str(site.id)) == [1]
    assert found(unit="money") == []
    assert found(period="monthly") == [0, 1, 2]
    assert api.get("budgets/", client="nonsense").json()["errors"] == {"client": NOTHING}


# --- What is refused -------------------------------------------------------------------------------------------------
ONCE = {"period": "once", "starts_on": "2026-06-01", "ends_on": "2026-06-30"}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"amount": None}, {"amount"}),
        ({"amount": ""}, {"amount"}),
        ({"amount": "-0.01"}, {"amount"}),
        ({"amount": "1.001"}, {"amount"}),
        ({"amount": "99999999999"}, {"amount"}),
        ({"amount": "NaN"}, {"amount"}),
        ({"unit": "days"}, {"unit"}),
        ({"unit": None}, {"unit"}),
        ({"period": "weekly"}, {"period"}),
        ({"period": "once"}, {"starts_on", "ends_on"}),
        ({**ONCE, "ends_on": None}, {"ends_on"}),
        ({**ONCE, "ends_on": "2026-05-31"}, {"ends_on"}),
        ({**ONCE, "starts_on": "1969-12-31"}, {"starts_on"}),
        ({"starts_on": "2026-06-31"}, {"starts_on"}),
        ({**ONCE, "rollover": "all"}, {"rollover"}),
        ({"rollover": "some"}, {"rollover"}),
        ({"rollover": "capped"}, {"rollover_cap"}),
        ({"rollover": "capped", "rollover_cap": "-1"}, {"rollover_cap"}),
        ({"rollover": "all", "rollover_cap": "5"}, {"rollover_cap"}),
        ({"rollover": "all", "ends_on": "2026-05-01"}, {"starts_on"}),
        ({"alert_at": [0]}, {"alert_at.0"}),
        ({"alert_at": [80.5]}, {"alert_at.0"}),
        ({"alert_at": ["80"]}, {"alert_at.0"}),
        ({"alert_at": list(range(1, 12))}, {"alert_at"}),
        ({"alert_at": 80}, {"alert_at"}),
        ({"used": "3", "percent": 4}, {"percent"}),
    ],
)
def test_bad_input_is_named(admin: Membership, change: dict[str, Any], fields: set[str]) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    answer = api.post("budgets/", {"client": str(client.id), **HOURS, **change})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == fields
    made = api.post("budgets/", {"client": str(client.id), **HOURS, "alert_at": []}).json()
    assert made["alert_at"] == []
    assert set(api.patch(f"budgets/{made['id']}/", change).json()["errors"]) == fields
    assert api.get(f"budgets/{made['id']}/").json() == made


@pytest.mark.parametrize("missing", ["amount", "unit", "period"])
def test_without_an_amount_there_is_no_budget(admin: Membership, missing: str) -> None:
    client = make_client(admin.workspace)
    body = {"client": str(client.id), **HOURS}
    del body[missing]
    assert list(Api(admin).post("budgets/", body).json()["errors"]) == [missing]
    with tenant_scope(admin.workspace_id):
        assert not Budget.objects.exists()


def test_client_follows_from_the_project(admin: Membership, stranger: Membership) -> None:
    acme, bolt = make_client(admin.workspace), make_client(admin.workspace)
    site = make_project(acme)
    api = Api(admin)
    made = api.post("budgets/", {"project": str(site.id), **HOURS}).json()
    assert (made["client"], made["project"]) == (str(acme.id), str(site.id))
    wrong = api.post("budgets/", {"client": str(bolt.id), "project": str(site.id), **HOURS})
    assert wrong.json()["errors"] == {"project": ["This project belongs to another client."]}
    path = f"budgets/{made['id']}/"
    assert list(api.patch(path, {"client": str(bolt.id)}).json()["errors"]) == ["client"]
    moved = api.patch(path, {"client": str(bolt.id), "project": None}).json()
    assert (moved["client"], moved["project"]) == (str(bolt.id), None)
    assert list(api.post("budgets/", HOURS).json()["errors"]) == ["client"]
    theirs = make_project(make_client(stranger.workspace))
    for body in ({"client": str(theirs.client_id)}, {"project": str(theirs.id)}, {"client": "nonsense"}):
        field = next(iter(body))
        assert api.post("budgets/", {**body, **HOURS}).json()["errors"] == {field: NOTHING}


def test_budgets_move_along_with_a_project_without_time(admin: Membership) -> None:
    acme, bolt = make_client(admin.workspace), make_client(admin.workspace)
    site = make_project(acme)
    api = Api(admin)
    made = api.post("budgets/", {"project": str(site.id), **HOURS}).json()
    assert api.patch(f"projects/{site.id}/", {"client": str(bolt.id)}).status_code == 200
    assert api.get(f"budgets/{made['id']}/").json()["client"] == str(bolt.id)


def test_what_has_a_budget_is_not_deleted(admin: Membership) -> None:
    client = make_client(admin.workspace)
    project = make_project(client)
    api = Api(admin)
    made = api.post("budgets/", {"project": str(project.id), **HOURS}).json()
    for path in (f"projects/{project.id}/", f"clients/{client.id}/"):
        assert api.delete(path).json()["type"] == "in-use"
    api.delete(f"budgets/{made['id']}/")
    for path in (f"projects/{project.id}/", f"clients/{client.id}/"):
        assert api.delete(path).status_code == 204


def test_another_workspaces_budgets_are_not_there(admin: Membership, stranger: Membership) -> None:
    theirs = make_client(stranger.workspace, "Secret")
    made = Api(stranger).post("budgets/", {"client": str(theirs.id), **HOURS}).json()
    api = Api(admin)
    path = f"budgets/{made['id']}/"
    assert api.get("budgets/").json()["results"] == []
    assert api.get("budgets/", client=str(theirs.id)).json()["results"] == []
    assert api.get(path).status_code == api.patch(path, {"amount": "1"}).status_code == 404
    assert api.delete(path).status_code == 404
    assert Api(stranger).get(path).json() == made


def test_members_read_and_do_not_write(admin: Membership, member: Membership) -> None:
    client = make_client(admin.workspace)
    made = Api(admin).post("budgets/", {"client": str(client.id), **HOURS}).json()
    api = Api(member)
    assert api.get(f"budgets/{made['id']}/").json() == made
    assert api.post("budgets/", {"client": str(client.id), **HOURS}).status_code == 403
    assert api.patch(f"budgets/{made['id']}/", {"amount": "1"}).status_code == 403
    assert api.delete(f"budgets/{made['id']}/").status_code == 403


def test_a_list_of_a_hundred_takes_the_queries_of_one(admin: Membership) -> None:
    api = Api(admin)
    api.get("budgets/")  # the key notes that it is used
    kinds: list[dict[str, Any]] = [
        {"period": "monthly"},
        {"period": "monthly", "unit": "money", "rollover": "all", "starts_on": date(2025, 1, 10)},
        {"period": "once", "starts_on": date(2025, 2, 3), "ends_on": date(2026, 6, 20)},
    ]
    counts = []
    for number in (1, 99):
        clients = [make_client(admin.workspace) for _ in range(number)]
        make_time_log(admin, clients[0], on=date(2026, 6, 5), project=make_project(clients[0]))
        with tenant_scope(admin.workspace_id):
            Budget.objects.bulk_create(
                Budget(workspace=admin.workspace, client=client, amount=Decimal(9), **kinds[one % 3])
                for one, client in enumerate(clients)
            )
        with CaptureQueriesContext(connection) as found:
            rows = api.get("budgets/").json()["results"]
        counts.append((len(rows), len(found)))
    assert [rows for rows, _ in counts] == [1, 100]
    assert counts[0][1] == counts[1][1]
    assert counts[0][1] <= 8
