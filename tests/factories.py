"""Rows for tests: plain functions, each of which opens the workspace's scope itself (being in it already is fine)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

from allauth.usersessions.models import UserSession
from django.test import Client as HttpClient
from django.utils import timezone

from accounts.api_keys import make_api_key
from accounts.models import ApiKeyAccess, Membership, Plan, Role, Workspace
from accounts.services import add_member, create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client, Contact, Project
from clients.services import save_client, save_contact, save_project
from inbound.adjustments import note_difference
from inbound.models import Adjustment, TimeProposal
from settlement.budgets import save_budget
from settlement.models import Budget
from timelogs.models import ActivityType, TimeLog, WorkItem
from timelogs.services import record_time_log, save_activity_type, save_work_item

_numbers = count(1)


def make_workspace(name: str = "", *, plan: str = Plan.PRO, email: str = "", **values: Any) -> Membership:
    """A workspace with its admin; returns the admin's membership."""
    number = next(_numbers)
    return create_workspace(
        name=name or f"Studio {number}", email=email or f"admin{number}@studio.test", plan=plan, **values
    )


def make_member(
    workspace: Workspace, role: str = Role.MEMBER, *, email: str = "", name: str = ""
) -> Membership:
    number = next(_numbers)
    with tenant_scope(workspace.id):
        return add_member(
            workspace=workspace,
            email=email or f"{role}{number}@studio.test",
            name=name or f"{role.title()} {number}",
            role=role,
            actor=None,
        )


def make_key(person: Membership, *, access: str = ApiKeyAccess.WRITE, **values: Any) -> str:
    """An API key of a person, as it is shown once."""
    with tenant_scope(person.workspace_id):
        return make_api_key(
            workspace=person.workspace, user=person.user, name="Test", access=access, **values
        )[1]


def make_client(workspace: Workspace, name: str = "", **values: Any) -> Client:
    with tenant_scope(workspace.id):
        return save_client(workspace=workspace, name=name or f"Client {next(_numbers)}", **values)


def make_contact(client: Client, name: str = "", **values: Any) -> Contact:
    with tenant_scope(client.workspace_id):
        return save_contact(
            workspace=client.workspace, client=client, name=name or f"Contact {next(_numbers)}", **values
        )


def make_project(client: Client, name: str = "", **values: Any) -> Project:
    with tenant_scope(client.workspace_id):
        return save_project(
            workspace=client.workspace, client=client, name=name or f"Project {next(_numbers)}", **values
        )


def make_activity_type(
    workspace: Workspace, name: str = "", rate: str = "120.00", **values: Any
) -> ActivityType:
    with tenant_scope(workspace.id):
        return save_activity_type(
            workspace=workspace,
            name=name or f"Activity {next(_numbers)}",
            hourly_rate=Decimal(rate),
            **values,
        )


def make_work_item(client: Client, title: str = "", **values: Any) -> WorkItem:
    with tenant_scope(client.workspace_id):
        return save_work_item(
            workspace=client.workspace, client=client, title=title or f"Item {next(_numbers)}", **values
        )


def make_budget(client: Client, **values: Any) -> Budget:
    """Forty hours every month for a client; `values` as save_budget takes them."""
    usual = {"unit": "hours", "period": "monthly", "amount": Decimal(40)}
    with tenant_scope(client.workspace_id):
        return save_budget(workspace=client.workspace, client=client, **{**usual, **values})


def make_time_log(
    owner: Membership, client: Client, *, on: date = date(2026, 6, 1), seconds: int = 3600, **values: Any
) -> TimeLog:
    """Time that a member logged; `values` as record_time_log takes them."""
    with tenant_scope(owner.workspace_id):
        return record_time_log(
            workspace=owner.workspace, by=owner, client=client, spent_date=on, seconds=seconds, **values
        )


def make_proposal(
    owner: Membership,
    client: Client,
    notes: str = "",
    *,
    on: date = date(2026, 6, 1),
    seconds: int = 3600,
    **values: Any,
) -> TimeProposal:
    """A proposal that waits in Inbound."""
    with tenant_scope(client.workspace_id):
        return TimeProposal.objects.create(
            workspace=client.workspace,
            client=client,
            owner=owner.user,
            spent_date=on,
            seconds=seconds,
            notes=notes,
            external_id=values.pop("external_id", str(700000 + next(_numbers))),
            **values,
        )


def make_adjustment(log: TimeLog, **after: Any) -> Adjustment:
    """A difference of a log, settled here, from its Harvest entry; half an hour more unless `after` is given."""
    with tenant_scope(log.workspace_id):
        log.settled_at = timezone.now()
        log.save(update_fields=["settled_at"])
        adjustment = note_difference(
            workspace_id=log.workspace_id,
            time_log_id=log.id,
            external_id=log.external_id or str(800000 + next(_numbers)),
            after=after or {"seconds": log.seconds + 1800},
        )
    assert adjustment is not None
    return adjustment


def make_session(person: Membership, **values: Any) -> UserSession:
    """Where a person is signed in: a session of its own, with the row that the page of sessions shows."""
    client = HttpClient()
    client.force_login(person.user)
    given = {"ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
    return UserSession.objects.create(
        user=person.user, session_key=client.session.session_key, **{**given, **values}
    )
