"""Statements over REST: the names on the wire, who may, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from settlement.models import Budget, Statement
from tests.factories import make_activity_type, make_client, make_project, make_time_log
from tests.rest.client import Api
from tests.settlement.statements import days, draft, issue, issued, make_adjustment

pytestmark = pytest.mark.django_db
BASE = "settlement/statements/"
JUNE = {"from": "2026-06-01", "to": "2026-06-30"}


@pytest.fixture
def client(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


def body(of: Client, **values: Any) -> dict[str, Any]:
    return {"client": str(of.id), **JUNE, **values}


def test_statement_from_draft_to_void(admin: Membership, client: Client) -> None:
    api = Api(admin)
    project = make_project(client, "Website")
    design = make_activity_type(admin.workspace, "Design", "100.00")
    with tenant_scope(admin.workspace_id):
        budget = Budget.objects.create(workspace=admin.workspace, client=client, unit="money", amount=500)
    log = make_time_log(admin, client, project=project, activity_type=design, seconds=1201, notes="Logo")
    make_time_log(admin, client, seconds=60, billable=False)
    made = api.post(BASE, body(client))
    assert made.status_code == 201
    one = made.json()
    url = f"{BASE}{one['id']}/"
    assert made.headers["Location"].endswith(url)
    moments = {name: one.pop(name) for name in ("created_at", "issued_at", "voided_at")}
    assert moments["issued_at"] is moments["voided_at"] is None
    assert one == {
        "id": one["id"],
        "number": None,
        "client": str(client.id),
        "client_name": "Acme",
        "from": "2026-06-01",
        "to": "2026-06-30",
        "status": "draft",
        "currency": "USD",
        "seconds": 1261,
        "hours": "0.35",
        "amount": "33.36",
        "lines": [
            {
                "kind": "time",
                "project": str(project.id),
                "project_name": "Website",
                "activity_type": str(design.id),
                "activity_type_name": "Design",
                "seconds": 1201,
                "hours": "0.33",
                "rate": "100.00",
                "amount": "33.36",
                "billable": True,
                "entries": 1,
            },
            {
                "kind": "time",
                "project": None,
                "project_name": "",
                "activity_type": None,
                "activity_type_name": "",
                "seconds": 60,
                "hours": "0.02",
                "rate": "0.00",
                "amount": "0.00",
                "billable": False,
                "entries": 1,
            },
        ],
        "budgets": [
            {
                "budget": str(budget.id),
                "name": "Acme",
                "project": None,
                "unit": "money",
                "currency": "USD",
                "starts_on": "2026-06-01",
                "ends_on": "2026-06-30",
                "amount": "500.00",
                "carried": "0.00",
                "available": "500.00",
                "used_before": "0.00",
                "used_after": "33.36",
                "remaining_before": "500.00",
                "remaining_after": "466.64",
            }
        ],
    }
    result = api.post(f"{url}issue/").json()
    assert (result["number"], result["status"], result["amount"]) == (1, "issued", "33.36")
    assert result["issued_at"].endswith("Z")
    refused = api.patch(f"time-logs/{log.id}/", {"notes": "x"})
    assert (refused.status_code, refused.json()["type"]) == (409, "settled")
    entries = api.get(f"{url}entries/", ordering="-spent_date").json()["results"]
    mine = next(entry for entry in entries if entry["time_log"] == str(log.id))
    assert mine == {
        "kind": "time",
        "time_log": str(log.id),
        "adjustment": None,
        "spent_date": "2026-06-01",
        "owner": str(admin.user_id),
        "owner_name": "Ada Admin",
        "project": str(project.id),
        "project_name": "Website",
        "activity_type": str(design.id),
        "activity_type_name": "Design",
        "work_item_key": "",
        "notes": "Logo",
        "seconds": 1201,
        "hours": "0.33",
        "rate": "100.00",
        "billable": True,
    }
    assert api.post(f"{url}void/").json()["status"] == "void"
    assert api.patch(f"time-logs/{log.id}/", {"notes": "x"}).status_code == 200
    assert api.get(url).json()["amount"] == "33.36"
    assert api.get(f"{url}entries/").json()["results"] == entries


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"client": None}, "client"),
        ({"client": "x"}, "client"),
        ({"from": "2026-07-01"}, "to"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "0001-01-01"}, "from"),
        ({"to": None}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"period": "x"}, "period"),
    ],
)
def test_bad_input_names_its_field(
    admin: Membership, client: Client, changes: dict[str, Any], field: str
) -> None:
    refused = Api(admin).post(BASE, body(client, **changes))
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == [field]
    with tenant_scope(admin.workspace_id):
        assert not Statement.objects.exists()


def test_strangers_client_is_worded_as_one_that_does_not_exist(
    admin: Membership, stranger: Membership, client: Client
) -> None:
    theirs = Api(admin).post(BASE, body(make_client(stranger.workspace))).json()
    nobodys = Api(admin).post(BASE, body(client, client="00000000-0000-7000-8000-000000000000")).json()
    assert theirs == nobodys


def test_draft_is_changed_and_deleted_an_issued_one_is_not(admin: Membership, client: Client) -> None:
    api = Api(admin)
    make_time_log(admin, client, on=days(3)[2])
    url = f"{BASE}{draft(admin, client).id}/"
    assert api.patch(url, {"to": "2026-06-02"}).json()["lines"] == []
    assert api.patch(url, {"client": str(client.id), "to": "2026-06-03"}).json()["seconds"] == 3600
    other = api.patch(url, {"client": str(make_client(admin.workspace).id)})
    assert (other.status_code, list(other.json()["errors"])) == (400, ["client"])
    assert api.patch(url, {"from": "2026-06-04"}).json()["errors"] == {
        "to": ["The period ends before it begins."]
    }
    twice = api.post(BASE, body(client))
    assert (twice.status_code, twice.json()["type"]) == (409, "draft-exists")
    assert twice.json()["statement"] in url
    assert api.delete(url).status_code == 204
    empty = api.post(f"{BASE}{api.post(BASE, body(client, to='2026-06-01')).json()['id']}/issue/")
    assert empty.status_code == 400
    assert "nothing to settle" in empty.json()["errors"]["detail"][0]
    with tenant_scope(admin.workspace_id):
        Statement.objects.all().delete()
    url = f"{BASE}{issued(admin, client).id}/"
    for answer in (api.patch(url, JUNE), api.delete(url), api.post(f"{url}issue/")):
        assert (answer.status_code, answer.json()["type"]) == (409, "not-a-draft")
    api.post(f"{url}void/")
    again = api.post(f"{url}void/")
    assert (again.status_code, again.json()["type"]) == (409, "not-issued")


def test_issue_with_an_idempotency_key_gives_the_first_answer_again(
    admin: Membership, client: Client
) -> None:
    make_time_log(admin, client)
    api, url = Api(admin), f"{BASE}{draft(admin, client).id}/issue/"
    first, second = (api.post(url, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"


def test_filters(admin: Membership, client: Client) -> None:
    make_time_log(admin, client)
    first = issued(admin, client)
    may = draft(admin, client, first.from_date.replace(month=5), first.to_date.replace(month=5, day=31))
    other = draft(admin, make_client(admin.workspace))
    api = Api(admin)

    def found(**query: Any) -> list[str]:
        return [one["id"] for one in api.get(BASE, **query).json()["results"]]

    assert found() == [str(one.id) for one in (other, may, first)]
    assert found(client=str(client.id)) == [str(may.id), str(first.id)]
    assert found(status="issued") == [str(first.id)]
    assert found(from_="2026-05-31", to="2026-05-31") == [str(may.id)]
    assert found(from_="2026-06-30") == [str(other.id), str(first.id)]
    assert api.get(BASE, status="paid").status_code == 400
    url = f"{BASE}{first.id}/"
    assert list(api.get(f"{url}entries/", client="x").json()["errors"]) == ["client"]
    for query in ({}, {"format": "docx"}, {"format": "pdf", "paper": "a3"}, {"format": "pdf", "x": "y"}):
        assert api.get(f"{url}export/", **query).status_code == 400


def test_list_and_entries_take_as_many_queries_for_many_as_for_one(admin: Membership, client: Client) -> None:
    api = Api(admin)

    def count(path: str, rows: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert len(api.get(path, page_size=500).json()["results"]) == rows
        return len(queries)

    def add() -> Client:
        one = make_client(admin.workspace)
        log = make_time_log(admin, one, project=make_project(one))
        issued(admin, one)
        make_adjustment(log, (1, "1.00"))
        make_time_log(admin, one)
        draft(admin, one)
        return one

    add()
    count(BASE, 2)  # the key's first use is noted
    few = count(BASE, 2)
    for _ in range(15):
        add()
    assert count(BASE, 32) == few
    make_time_log(admin, client)
    statement = draft(admin, client)
    path = f"{BASE}{statement.id}/entries/"
    few = count(path, 1)
    for _ in range(99):
        make_time_log(admin, client, project=None)
    assert count(path, 100) == few
    issue(admin, statement)
    assert count(path, 100) <= few


def test_entries_come_in_pages(admin: Membership, client: Client) -> None:
    for on in days(5):
        make_time_log(admin, client, on=on)
    api, path = Api(admin), f"{BASE}{draft(admin, client).id}/entries/"
    first = api.get(path, page_size=2, ordering="spent_date").json()
    second = api.get(first["next"]).json()
    dates = [one["spent_date"] for one in first["results"] + second["results"]]
    assert dates == ["2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04"]
    assert api.get(second["previous"]).json()["results"] == first["results"]
    assert api.get(path).json()["results"][0]["spent_date"] == "2026-06-05"


@pytest.mark.parametrize(
    ("deed", "path"),
    [("get", ""), ("patch", ""), ("delete", ""), ("post", "issue/"), ("post", "void/"), ("get", "entries/"),
     ("get", "export/?format=csv")],
)  # fmt: skip
def test_stranger_finds_nothing_and_members_only_read(
    admin: Membership, member: Membership, stranger: Membership, client: Client, deed: str, path: str
) -> None:
    make_time_log(admin, client)
    url = f"{BASE}{draft(admin, client).id}/{path}"
    assert getattr(Api(stranger), deed)(url).status_code == 404
    assert getattr(Api(member), deed)(url).status_code == (200 if deed == "get" else 403)
    assert Api(member).post(BASE, body(client)).status_code == 403


@pytest.mark.parametrize("accepted", ["application/pdf", "text/csv", "image/png", "*/*", "application/json"])
def test_file_is_what_its_format_says_whatever_is_accepted(
    admin: Membership, client: Client, accepted: str
) -> None:
    url = f"{BASE}{draft(admin, client).id}/export/"
    answer = Api(admin).get(url, format="csv", headers={"Accept": accepted})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    refused = Api(admin).get(url, format="doc", headers={"Accept": accepted})
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_read_only_key_exports_and_does_not_issue(admin: Membership, client: Client) -> None:
    from tests.factories import make_key

    make_time_log(admin, client)
    api = Api(admin, key=make_key(admin, access="read"))
    url = f"{BASE}{draft(admin, client).id}/"
    assert api.get(f"{url}export/", format="csv").status_code == 200
    assert api.post(f"{url}issue/").status_code == 403
