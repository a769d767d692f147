"""Who may do what: each operation of the ground's API, for nobody, a member, a designer, an admin and a stranger."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction

from accounts.models import ApiKey, Membership
from accounts.rest.docs import document
from accounts.tenancy import tenant_scope
from settlement.links import make_link
from tests.factories import (
    make_activity_type,
    make_adjustment,
    make_budget,
    make_client,
    make_contact,
    make_key,
    make_member,
    make_project,
    make_proposal,
    make_time_log,
    make_work_item,
)
from tests.fixtures import make_northlight
from tests.rest.client import Api
from tests.settlement.statements import draft, issued
from timelogs.services import delete_time_log

pytestmark = pytest.mark.django_db

# The apps whose operations stand here; a new one of theirs that is missing fails the last test.
PREFIXES = (
    "me", "workspace", "members", "api-keys", "clients", "contacts", "projects", "activity-types", "work-items",
    "time-logs", "inbound", "budgets", "client-links", "settlement",
)  # fmt: skip

Ids = dict[str, str]
Body = Callable[[Ids], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """An operation, and what each role is answered. A stranger, asking from another workspace, finds nothing."""

    method: str
    path: str
    member: int
    designer: int
    admin: int
    stranger: int
    body: Body | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read(path: str) -> list[Case]:
    """A list and its rows: everybody in the workspace sees them."""
    return [
        Case("GET", f"{path}/", 200, 200, 200, 200),
        Case("GET", f"{path}/{{{path}}}/", 200, 200, 200, 404),
    ]


def written_by_managers(
    path: str, body: Body, change: dict[str, Any], stranger_makes: int = 400
) -> list[Case]:
    return [
        *read(path),
        Case("POST", f"{path}/", 403, 201, 201, stranger_makes, body),
        Case("PATCH", f"{path}/{{{path}}}/", 403, 200, 200, 404, lambda ids: change),
        Case("DELETE", f"{path}/{{{path}}}/", 403, 204, 204, 404),
    ]


DAY = "2026-06-01"
CASES = [
    Case("GET", "me/", 200, 200, 200, 200),
    Case("GET", "workspace/", 200, 200, 200, 200),
    Case("PATCH", "workspace/", 403, 403, 200, 200, lambda ids: {"plan": "free"}),
    Case("GET", "workspace/deletion/", 200, 200, 200, 200),
    Case("POST", "workspace/deletion/", 403, 403, 400, 400, lambda ids: {"name": "another name"}),
    Case("DELETE", "workspace/deletion/", 403, 403, 200, 200),
    *read("members"),
    Case("POST", "members/", 403, 403, 201, 201, lambda ids: {"email": "new@person.test", "role": "member"}),
    Case("PATCH", "members/{members}/", 403, 403, 200, 404, lambda ids: {"role": "designer"}),
    Case("DELETE", "members/{members}/", 403, 403, 204, 404),
    Case("GET", "api-keys/", 200, 200, 200, 200),
    Case("GET", "api-keys/{admins_key}/", 404, 404, 200, 404),
    Case("GET", "api-keys/{members_key}/", 200, 404, 200, 404),
    Case("POST", "api-keys/", 201, 201, 201, 201, lambda ids: {"name": "Script"}),
    Case("PATCH", "api-keys/{members_key}/", 200, 404, 200, 404, lambda ids: {"name": "Other"}),
    Case("DELETE", "api-keys/{members_key}/", 204, 404, 204, 404),
    Case("DELETE", "api-keys/{admins_key}/", 404, 404, 204, 404),
    *written_by_managers("clients", lambda ids: {"name": "New"}, {"archived": True}, stranger_makes=201),
    *written_by_managers(
        "contacts", lambda ids: {"client": ids["client"], "name": "New"}, {"name": "Other"}
    ),
    *written_by_managers(
        "projects", lambda ids: {"client": ids["client"], "name": "New"}, {"name": "Other"}
    ),
    *written_by_managers("activity-types", lambda ids: {"name": "New"}, {"name": "Other"}, stranger_makes=201),
    *written_by_managers(
        "work-items", lambda ids: {"client": ids["client"], "title": "New"}, {"status": "done"}
    ),
    *read("time-logs"),
    Case("GET", "time-logs/summary/", 200, 200, 200, 200),
    Case(
        "POST", "time-logs/", 201, 201, 201, 400,
        lambda ids: {"client": ids["client"], "seconds": 60, "spent_date": DAY},
    ),
    Case(
        "POST", "time-logs/", 403, 201, 201, 400,
        lambda ids: {"client": ids["client"], "seconds": 60, "spent_date": DAY, "owner": ids["third"]},
    ),
    Case("PATCH", "time-logs/{time-logs}/", 403, 200, 200, 404, lambda ids: {"notes": "x"}),
    Case("PATCH", "time-logs/{members_log}/", 200, 200, 200, 404, lambda ids: {"notes": "x"}),
    Case("PATCH", "time-logs/{members_log}/", 403, 200, 200, 404, lambda ids: {"owner": ids["third"]}),
    Case("DELETE", "time-logs/{time-logs}/", 403, 204, 204, 404),
    Case("DELETE", "time-logs/{members_log}/", 204, 204, 204, 404),
    Case("POST", "time-logs/{admins_deleted_log}/restore/", 403, 200, 200, 404),
    Case("POST", "time-logs/{members_deleted_log}/restore/", 200, 200, 200, 404),
    *read("client-links"),
    Case("POST", "client-links/", 403, 201, 201, 400, lambda ids: {"client": ids["client"]}),
    Case("DELETE", "client-links/{client-links}/", 403, 204, 204, 404),
    Case("GET", "inbound/proposals/", 200, 200, 200, 200),
    Case("GET", "inbound/proposals/{proposal}/", 200, 200, 200, 404),
    Case(
        "POST", "inbound/proposals/{proposal}/accept/", 403, 200, 200, 400,
        lambda ids: {"project": ids["project"], "activity_type": ids["activity-types"]},
    ),
    Case("POST", "inbound/proposals/{proposal}/dismiss/", 403, 200, 200, 404),
    Case("POST", "inbound/proposals/{proposal}/restore/", 403, 200, 200, 404),
    Case("POST", "inbound/proposals/{proposal}/undo/", 403, 200, 200, 404),
    Case("GET", "inbound/adjustments/", 200, 200, 200, 200),
    Case("GET", "inbound/adjustments/{adjustment}/", 200, 200, 200, 404),
    Case("POST", "inbound/adjustments/{adjustment}/accept/", 403, 200, 200, 404),
    Case("POST", "inbound/adjustments/{adjustment}/dismiss/", 403, 200, 200, 404),
    Case("POST", "inbound/adjustments/{adjustment}/restore/", 403, 200, 200, 404),
    Case(
        "POST", "inbound/proposals/bulk/", 403, 200, 200, 200,
        lambda ids: {"ids": [ids["proposal"]], "action": "dismiss"},
    ),
    *written_by_managers(
        "budgets",
        lambda ids: {"client": ids["client"], "unit": "hours", "amount": "40", "period": "monthly"},
        {"amount": "0"},
    ),
    Case("GET", "settlement/statements/", 200, 200, 200, 200),
    Case("GET", "settlement/statements/{statement}/", 200, 200, 200, 404),
    Case("GET", "settlement/statements/{statement}/entries/", 200, 200, 200, 404),
    Case("GET", "settlement/statements/{statement}/export/?format=csv", 200, 200, 200, 404),
    Case(
        "POST", "settlement/statements/", 403, 201, 201, 400,
        lambda ids: {"client": ids["client"], "from": DAY, "to": DAY},
    ),
    Case("PATCH", "settlement/statements/{statement}/", 403, 200, 200, 404, lambda ids: {"to": DAY}),
    Case("DELETE", "settlement/statements/{statement}/", 403, 204, 204, 404),
    Case("POST", "settlement/statements/{statement}/issue/", 403, 200, 200, 404),
    Case("POST", "settlement/statements/{issued_statement}/void/", 403, 200, 200, 404),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(once: None) -> tuple[Membership, Membership, Ids]:
    """An admin, a member, and the id of one row of everything, the admin's unless its name says otherwise."""
    admin = make_northlight()
    workspace = admin.workspace
    member = make_member(workspace, email="mel@northlight.test", name="Mel Member")
    client = make_client(workspace, "Used")
    third = make_member(workspace)
    members_key = make_key(member).split("_")[1]
    admins_key = make_key(admin).split("_")[1]
    deleted = [make_time_log(owner, client) for owner in (admin, member)]
    with tenant_scope(workspace.id):
        for log in deleted:
            delete_time_log(log=log, by=admin)
        link, _ = make_link(by=admin, client=client)
        keys = {key.prefix: key.id for key in ApiKey.objects.all()}
    billed, drafted = make_client(workspace), make_client(workspace)
    for one in (billed, drafted):
        make_time_log(admin, one)
    statement = draft(admin, drafted)
    found = {
        "members": third.id,
        "third": third.user_id,
        "client": client.id,
        "clients": make_client(workspace).id,
        "contacts": make_contact(client).id,
        "projects": make_project(client).id,
        "project": make_project(client).id,
        "activity-types": make_activity_type(workspace).id,
        "work-items": make_work_item(client).id,
        "time-logs": make_time_log(admin, client).id,
        "budgets": make_budget(client).id,
        "members_log": make_time_log(member, client).id,
        "admins_deleted_log": deleted[0].id,
        "members_deleted_log": deleted[1].id,
        "client-links": link.id,
        "adjustment": make_adjustment(make_time_log(admin, client)).id,
        "proposal": make_proposal(admin, client).id,
        "statement": statement.id,
        "issued_statement": issued(admin, billed).id,
        "members_key": keys[members_key],
        "admins_key": keys[admins_key],
    }
    return admin, member, {name: str(value) for name, value in found.items()}


@pytest.fixture
def admin(made: tuple[Membership, Membership, Ids]) -> Membership:
    return deepcopy(made[0])


@pytest.fixture
def member(made: tuple[Membership, Membership, Ids]) -> Membership:
    return deepcopy(made[1])


@pytest.fixture
def ids(made: tuple[Membership, Membership, Ids]) -> Ids:
    return dict(made[2])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_role_is_answered_as_the_table_says(
    case: Case, ids: Ids, admin: Membership, designer: Membership, member: Membership, stranger: Membership
) -> None:
    path = case.path.format(**ids)
    body = case.body(ids) if case.body else None

    def answer(api: Api) -> int:
        with transaction.atomic():  # each role finds the rows as they were
            response = api.send(case.method, path, body)
            transaction.set_rollback(True)
        if response.status_code == 200 and api is strangers:
            content = response.content.decode()
            if "failed" in response.json():
                assert response.json()["done"] == 0
            else:
                assert not [value for value in ids.values() if value in content]
        status: int = response.status_code
        return status

    strangers = Api(stranger)
    answers = {
        "nobody": answer(Api(None)),
        "member": answer(Api(member)),
        "designer": answer(Api(designer)),
        "admin": answer(Api(admin)),
        "stranger": answer(strangers),
    }
    assert answers == {
        "nobody": 401,
        "member": case.member,
        "designer": case.designer,
        "admin": case.admin,
        "stranger": case.stranger,
    }


def test_the_table_holds_every_operation() -> None:
    declared = {
        (method.upper(), shape(path.removeprefix("/api/v1/")))
        for path, methods in document()["paths"].items()
        for method in methods
        if path.removeprefix("/api/v1/").split("/")[0] in PREFIXES
    }
    assert declared == {(case.method, shape(case.path)) for case in CASES}


def shape(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.partition("?")[0].split("/"))
