"""The demo workspace: a studio whose clients, projects and activity types resemble the sandbox's.

Not to the letter, so that match by name has something to show.
"""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

from accounts.models import Membership, Plan, Role, User, Workspace
from accounts.selectors import members_of, memberships_of
from accounts.services import add_member, create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client
from clients.services import save_client, save_contact, save_project
from harvest.sandbox import studio
from settlement.budgets import save_budget
from settlement.statement_forms import last_month
from settlement.statements import draft_statement, issue_statement
from timelogs.models import ActivityType, WorkItem
from timelogs.services import record_time_log, save_activity_type, save_work_item

WORKSPACE = "Northlight"
SECOND_WORKSPACE = "Fjord & Daughters"
EMAIL = "ingrid@northlight.example"
PASSWORD = "northern-lights"  # noqa: S105 - opens the demo on one's own machine, and is printed there

# The sandbox's name -> ours, where they differ.
CLIENT_NAMES = {"Halvorsen Maritime": "Halvorsen Maritime AS", "Café Lumière": "Cafe Lumiere"}
PROJECT_NAMES = {
    "Online ordering": "Online Ordering",
    "Menu & signage": "Menu and signage",
    "Web shop": "Webshop",
}
NOT_HERE = {"Solberg & Daughters"}  # a client that exists in Harvest only
TASK_NAMES = {"Quality assurance": "QA", "Copywriting": "Copy-writing"}
CONTACTS = (
    ("Halvorsen Maritime", "Sigrid Halvorsen", "sigrid@halvorsen.example"),
    ("Café Lumière", "Luc Moreau", "luc@lumiere.example"),
    ("Ōtani Ceramics", "Haruka Ōtani", "haruka@otani.example"),
)
TEAM = (
    ("Tomás Quiroga", "tomas@northlight.example", Role.DESIGNER),
    ("Amara Okafor", "amara@northlight.example", Role.MEMBER),
    ("Jun Watanabe", "jun@northlight.example", Role.MEMBER),
)
OWN_TIME = (
    ("HALV-12", "Crew roster: sketches for night shifts", "1.50"),
    ("LUME-4", "Checkout: tip presets, copy with Luc", "0.75"),
    ("OTAN-7", "", "2.25"),
    ("MERI-31", "Reminder e-mails, plain-text version", "1.08"),
    ("AEGE-2", "Ferry search: empty results", "0.50"),
)
# Of last month, and settled: the work item, its day, the person's first name, the kind of work, hours.
SETTLED_TIME = (
    ("MERI-31", 3, "Ingrid", "Design", "2.25", "Reminder e-mails: tone of voice, two drafts"),
    ("MERI-31", 6, "Jun", "Development", "3.50", "Reminder e-mails: queue and retries"),
    ("MERI-33", 9, "Tomás", "Design", "1.08", "Colour tokens: contrast in the dark theme"),
    ("MERI-40", 12, "Jun", "Development", "5.00", "Date picker: keyboard and screen readers"),
    ("MERI-40", 17, "Amara", "Research", "1.75", "Date picker: five sessions with patients"),
    ("MERI-33", 20, "Tomás", "Design", "0.33", "Colour tokens: names"),
)


def ensure_demo() -> bool:
    """Make the demo where it is missing. Returns whether it was made now. All in one transaction a workspace."""
    user = User.objects.filter(email=EMAIL).first()
    if user is not None and any(one.workspace.name == WORKSPACE for one in memberships_of(user)):
        return False
    admin = create_workspace(
        name=WORKSPACE, email=EMAIL, password=PASSWORD, person_name="Ingrid Solheim", plan=Plan.PRO,
        timezone="Europe/Oslo", currency="EUR",
    )  # fmt: skip
    with tenant_scope(admin.workspace_id):
        _furnish(admin)
    second = create_workspace(
        name=SECOND_WORKSPACE, email=EMAIL, plan=Plan.FREE, timezone="Europe/Oslo", currency="NOK"
    )
    with tenant_scope(second.workspace_id):
        save_client(workspace=second.workspace, name="Bergen Bakeri")
    return True


def _furnish(admin: Membership) -> None:
    workspace = admin.workspace
    for name, email, role in TEAM:
        member = add_member(
            workspace=workspace, email=email, name=name, role=role, actor=admin.user, tell=False
        )
        member.user.set_password(PASSWORD)
        member.user.save(update_fields=["password"])
    clients = {
        name: save_client(workspace=workspace, name=CLIENT_NAMES.get(name, name))
        for name, _ in studio.CLIENTS
        if name not in NOT_HERE
    }
    for client, name, email in CONTACTS:
        save_contact(workspace=workspace, client=clients[client], name=name, email=email)
    for client, name, code, _ in studio.PROJECTS:
        if client in clients and name != studio.ARCHIVED_PROJECT:
            save_project(
                workspace=workspace,
                client=clients[client],
                name=PROJECT_NAMES.get(name, name),
                code=code or "",
            )
    kinds = {
        name: save_activity_type(
            workspace=workspace, name=TASK_NAMES.get(name, name), hourly_rate=Decimal(rate), billable=billable
        )
        for name, rate, billable in studio.TASKS
        if name != studio.ARCHIVED_TASK
    }
    items = {
        key: save_work_item(workspace=workspace, client=clients[client], key=key, title=title)
        for client, key, title in studio.WORK_ITEMS
        if client in clients
    }
    _agree_budgets(workspace, clients)
    chance = random.Random(7)  # noqa: S311 - for show, the same on every machine
    for days, (key, notes, hours) in enumerate(OWN_TIME):
        record_time_log(
            workspace=workspace,
            by=admin,
            work_item=items[key],
            activity_type=chance.choice([kinds["Design"], kinds["Development"], kinds["Research"]]),
            spent_date=workspace.today() - timedelta(days=days),
            seconds=int(Decimal(hours) * 3600),
            notes=notes,
        )
    _settle(admin, clients, items, kinds)


def _settle(
    admin: Membership,
    clients: dict[str, Client],
    items: dict[str, WorkItem],
    kinds: dict[str, ActivityType],
) -> None:
    """Last month of one client on an issued statement; this month of another on a draft."""
    workspace, today = admin.workspace, admin.workspace.today()
    people = {one.user.get_short_name(): one.user for one in members_of(workspace)}
    first, last = last_month(today)
    for key, day, person, kind, hours, notes in SETTLED_TIME:
        record_time_log(
            workspace=workspace,
            by=admin,
            owner=people[person],
            work_item=items[key],
            activity_type=kinds[kind],
            spent_date=first.replace(day=day),
            seconds=int(Decimal(hours) * 3600),
            notes=notes,
        )
    client = clients["Meridian Health Co-op"]
    issue_statement(
        statement=draft_statement(
            workspace=workspace, by=admin, client=client, from_date=first, to_date=last
        ),
        by=admin,
    )
    client = clients["Halvorsen Maritime"]
    draft_statement(
        workspace=workspace, by=admin, client=client, from_date=today.replace(day=1), to_date=today
    )


def _agree_budgets(workspace: Workspace, clients: dict[str, Client]) -> None:
    """Hours every month, part of which is carried over; money for a project; one that is used up."""
    today = workspace.today()
    save_budget(
        workspace=workspace, client=clients["Halvorsen Maritime"], unit="hours", amount=Decimal(40), period="monthly",
        starts_on=(today.replace(day=1) - timedelta(days=40)).replace(day=1), rollover="capped",
        rollover_cap=Decimal(20),
    )  # fmt: skip
    save_budget(
        workspace=workspace, project=clients["Café Lumière"].projects.get(name=PROJECT_NAMES["Online ordering"]),
        unit="money", amount=Decimal(18000), period="once", starts_on=today - timedelta(days=75),
        ends_on=today + timedelta(days=45),
    )  # fmt: skip
    save_budget(
        workspace=workspace, client=clients["Ōtani Ceramics"], unit="hours", amount=Decimal(2), period="once",
        starts_on=today - timedelta(days=30), ends_on=today + timedelta(days=30),
    )  # fmt: skip
