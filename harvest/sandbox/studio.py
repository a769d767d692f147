"""The believable studio: a fictional design studio with half a year of time in Harvest.

The tables at the top are plain data; a demo workspace on the other side can be made to resemble them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from .account import Account
from .state import ADMIN_TOKEN, MAIN_ACCOUNT_ID, Sandbox

NAME: Final = "Northlight Studio"
SECOND_ACCOUNT_ID: Final = 880_139
SECOND_NAME: Final = "Northlight Labs"
FORECAST_ACCOUNT_ID: Final = 880_124
MANAGER_TOKEN: Final = "1000002.pt.sandbox-manager"  # noqa: S105  # these open nothing but the sandbox
MEMBER_TOKEN: Final = "1000003.pt.sandbox-member"  # noqa: S105

# (name, currency)
CLIENTS: Final = (
    ("Halvorsen Maritime", "USD"),
    ("Café Lumière", "USD"),
    ("Ōtani Ceramics", "USD"),
    ("Meridian Health Co-op", "USD"),
    ("Αιγαίο Travel", "USD"),
    ("Solberg & Daughters", "USD"),
)

# (client, name, code, billable)
PROJECTS: Final = (
    ("Halvorsen Maritime", "Fleet portal", "HALV-1", True),
    ("Halvorsen Maritime", "Brand refresh", "HALV-2", True),
    ("Halvorsen Maritime", "Annual report 2025", "HALV-3", True),  # archived
    ("Café Lumière", "Online ordering", "LUME-1", True),
    ("Café Lumière", "Menu & signage", "LUME-2", True),
    ("Café Lumière", "Social campaign", "LUME-3", True),
    ("Ōtani Ceramics", "Web shop", "OTAN-1", True),
    ("Ōtani Ceramics", "Exhibition catalogue", "OTAN-2", True),
    ("Meridian Health Co-op", "Patient app", "MERI-1", True),
    ("Meridian Health Co-op", "Design system", "MERI-2", True),
    ("Meridian Health Co-op", "Support retainer", "MERI-3", True),
    ("Αιγαίο Travel", "Booking flow", "AEGE-1", True),
    ("Αιγαίο Travel", "Newsletter", None, True),
    ("Solberg & Daughters", "Packaging", "SOLB-1", True),
    ("Solberg & Daughters", "Pro bono: school garden", "SOLB-2", False),
)
ARCHIVED_PROJECT: Final = "Annual report 2025"

# (name, hourly rate, billable)
TASKS: Final = (
    ("Design", 110, True),
    ("Development", 125, True),
    ("Research", 105, True),
    ("Copywriting", 90, True),
    ("Project management", 95, True),
    ("Quality assurance", 85, True),
    ("Internal meetings", 0, False),
    ("Print production", 80, True),  # archived
)
ARCHIVED_TASK: Final = "Print production"

# (first, last, e-mail, role)
PEOPLE: Final = (
    ("Ingrid", "Solheim", "ingrid@northlight.example", "administrator"),
    ("Tomás", "Quiroga", "tomas@northlight.example", "manager"),
    ("Amara", "Okafor", "amara@northlight.example", "member"),
    ("Jun", "Watanabe", "jun@northlight.example", "member"),
    ("Zoë", "Lindqvist", "zoe@northlight.example", "member"),
    ("Δήμητρα", "Παππά", "dimitra@northlight.example", "member"),
    ("Rafael", "Monteiro", "rafael@northlight.example", "member"),
    ("Priya", "Raman", "priya@northlight.example", "administrator"),
    ("Casper", "Brandt", "casper@northlight.example", "member"),  # left
)
LEFT: Final[str] = "casper@northlight.example"
_ZONES: Final = (
    "Berlin",
    "Lisbon",
    "London",
    "Tokyo",
    "Berlin",
    "Athens",
    "Lisbon",
    "Eastern Time (US & Canada)",
    "Berlin",
)

# (client, key, title): what some notes name
WORK_ITEMS: Final = (
    ("Halvorsen Maritime", "HALV-12", "Crew roster screen"),
    ("Halvorsen Maritime", "HALV-15", "Port call timeline"),
    ("Halvorsen Maritime", "HALV-21", "Logo lock-ups"),
    ("Café Lumière", "LUME-4", "Checkout with tips"),
    ("Café Lumière", "LUME-9", "Autumn menu board"),
    ("Ōtani Ceramics", "OTAN-7", "Glaze picker"),
    ("Ōtani Ceramics", "OTAN-8", "Catalogue spreads"),
    ("Meridian Health Co-op", "MERI-31", "Appointment reminders"),
    ("Meridian Health Co-op", "MERI-33", "Colour tokens"),
    ("Meridian Health Co-op", "MERI-40", "Accessible date picker"),
    ("Αιγαίο Travel", "AEGE-2", "Ferry search"),
    ("Solberg & Daughters", "SOLB-5", "Jam labels"),
)

_NOTES: Final = {
    "Design": (
        "Wireframes, second round",
        "Icon set",
        "Layout for tablets",
        "Typography pass",
        "Moodboard with client",
    ),
    "Development": (
        "Code review",
        "Fix: dates in Safari",
        "API for search",
        "Deploy to staging\nand smoke test",
        "Refactor forms → components",
    ),
    "Research": ("Interviews (3)", "Competitor survey", "Notes from the usability test", "Card sorting"),
    "Copywriting": ("Landing page copy", "Menu texts, naïve tone", "E-mail sequence", "Proofreading"),
    "Project management": ("Weekly call", "Planning", "Status report", "Scope & budget talk — 日本チーム"),
    "Quality assurance": ("Regression on iOS", "Screen reader check", "Test plan", "Cross-browser"),
    "Internal meetings": ("Stand-up", "Retro", "Design crit", "1:1"),
    "Print production": ("Proofs", "Paper samples", "Press check"),
}
_HOURS: Final = ("0.25", "0.50", "0.75", "1.00", "1.25", "1.50", "2.00", "2.25", "2.50", "3.00", "4.00")
_ODD_HOURS: Final = ("0.08", "0.33", "0.58", "1.07", "1.33", "1.67", "2.91", "3.42")
_NOON: Final = time(12)


@dataclass(frozen=True, slots=True)
class _Plan:
    spent_on: date
    person: int
    project: str
    task: str
    hours: str
    notes: str | None
    reference: dict[str, object] | None


def build_studio(sandbox: Sandbox, *, today: date | None = None, entries: int = 3000, seed: int = 7) -> None:
    """Fills an empty sandbox. The same seed, day and count give the same studio."""
    today = today or sandbox.clock().date()
    chance = random.Random(seed)  # noqa: S311
    account = sandbox.add_account(NAME, account_id=MAIN_ACCOUNT_ID)
    _add_people(sandbox, account)
    _add_catalogue(account, today)
    _log_time(account, today, entries, chance)
    _close_old_time(account, today)
    _add_paperwork(account, today, chance)
    account.archive("projects", account.find("projects", ARCHIVED_PROJECT))
    account.archive("tasks", account.find("tasks", ARCHIVED_TASK))
    account.archive("users", account.find("users", LEFT))
    _add_second_account(sandbox, today)


def _stamp(day: date, now: int, at: time = _NOON) -> int:
    """That day as epoch seconds, but never in the future."""
    return min(int(datetime.combine(day, at, UTC).timestamp()), now)


def _add_people(sandbox: Sandbox, account: Account) -> None:
    tokens = {0: ADMIN_TOKEN, 1: MANAGER_TOKEN, 2: MEMBER_TOKEN}
    began = sandbox.now() - 400 * 86400
    for number, (first, last, email, role) in enumerate(PEOPLE):
        sandbox.add_person(
            first,
            last,
            email,
            role,
            token=tokens.get(number),
            timezone=_ZONES[number],
            default_hourly_rate=Decimal(100 + 5 * number),
            cost_rate=Decimal(45 + 3 * number),
            permissions=["time_and_expenses_manager", "people_manager"] if role == "manager" else [],
            roles=["Design" if number % 2 else "Development"],
            created_at=began + number,
        )
    users = account.ids("users")
    account.edit("users", users[1], teammate_ids=users[2:5], updated_at=began)
    for name, members in (("Design", users[1::2]), ("Development", users[0::2]), ("Leads", users[:2])):
        account.insert("roles", name=name, user_ids=members, created_at=began)
    for number, user in enumerate(users):
        account.insert("billable_rates", user_id=user, amount=Decimal(100 + 5 * number), created_at=began)
        account.insert("cost_rates", user_id=user, amount=Decimal(45 + 3 * number), created_at=began)


def _add_catalogue(account: Account, today: date) -> None:
    began = _stamp(today - timedelta(days=390), account.now())
    clients = {
        name: account.add_client(
            name, currency=currency, address=f"{11 + 3 * n} Harbour Row\r\nNorthport", created_at=began + n
        )
        for n, (name, currency) in enumerate(CLIENTS)
    }
    tasks = [
        account.add_task(
            name,
            default_hourly_rate=Decimal(rate),
            billable_by_default=billable,
            is_default=name in ("Design", "Project management"),
            created_at=began + n,
        )
        for n, (name, rate, billable) in enumerate(TASKS)
    ]
    users = account.ids("users")
    for n, (client, name, code, billable) in enumerate(PROJECTS):
        project = account.add_project(
            clients[client],
            name,
            code,
            is_billable=billable,
            bill_by="Tasks" if billable else "none",
            budget_by="project" if n % 3 else "none",
            budget=Decimal(120 + 40 * n) if n % 3 else None,
            budget_is_monthly=name == "Support retainer",
            starts_on=today - timedelta(days=380 - 10 * n),
            created_at=began + 100 + n,
        )
        for m, task in enumerate(tasks):
            if (n + m) % 5 or m == 0:  # not every task on every project
                account.assign_task(project, task, created_at=began + 200)
        for m, user in enumerate(users):
            if m in (0, 1, 7) or (n + m) % 3 != 2:
                account.assign_user(project, user, is_project_manager=m < 2, created_at=began + 200)


def _plans(account: Account, today: date, chance: random.Random) -> Iterator[_Plan]:
    """Working days backwards from today, each person's entries on each."""
    users = account.ids("users")
    projects = {account.tables["projects"][row]["name"]: row for row in account.ids("projects")}
    tasks = {account.tables["tasks"][row]["name"]: row for row in account.ids("tasks")}
    client_of = {name: client for client, name, _, _ in PROJECTS}
    day = today
    while True:
        age = (today - day).days
        for number, user in enumerate(users):
            if (
                (day.weekday() >= 5 and age)
                or (PEOPLE[number][2] == LEFT and age < 100)
                or chance.random() < 0.06
            ):
                continue
            own = [
                name
                for name, row in projects.items()
                if account.user_assignment(row, user) and (name != ARCHIVED_PROJECT or age > 90)
            ]
            for _ in range(chance.choice((1, 2) if age == 0 else (2, 3, 3, 4))):
                project = chance.choice(own)
                task = chance.choice(
                    [
                        name
                        for name, row in tasks.items()
                        if account.task_assignment(projects[project], row)
                        and (name != ARCHIVED_TASK or age > 120)
                    ]
                )
                hours = chance.choice(_ODD_HOURS if chance.random() < 0.22 else _HOURS)
                notes, reference = _note(client_of[project], task, chance)
                yield _Plan(day, user, project, task, hours, notes, reference)
        day -= timedelta(days=1)


def _note(client: str, task: str, chance: random.Random) -> tuple[str | None, dict[str, object] | None]:
    draw = chance.random()
    text = chance.choice(_NOTES[task])
    items = [item for item in WORK_ITEMS if item[0] == client]
    if draw < 0.12:
        return None, None
    if draw < 0.34:
        return f"{chance.choice(items)[1]} {text}", None
    if draw < 0.38:
        return chance.choice(items)[2], None
    if draw < 0.44:
        _, key, title = chance.choice(items)
        link = f"https://boards.example/{key.split('-')[0].lower()}/{key}"
        return f"{title}: {text}", {"id": key, "group_id": key.split("-")[0], "permalink": link}
    return text, None


def _log_time(account: Account, today: date, entries: int, chance: random.Random) -> None:
    now = account.now()
    projects = {account.tables["projects"][row]["name"]: row for row in account.ids("projects")}
    tasks = {account.tables["tasks"][row]["name"]: row for row in account.ids("tasks")}
    plans = _plans(account, today, chance)
    for number, plan in enumerate(reversed([next(plans) for _ in range(max(0, entries - 2))])):
        account.add_entry(
            project=projects[plan.project],
            task=tasks[plan.task],
            user=plan.person,
            spent_on=plan.spent_on,
            hours=plan.hours,
            notes=plan.notes,
            external_reference=plan.reference,
            created_at=_stamp(plan.spent_on, now, time(9 + number % 9, number % 60, number * 7 % 60)),
        )
    users = account.ids("users")
    timers = (
        ("Fleet portal", users[3], "HALV-12 Crew roster, empty states"),
        ("Patient app", users[4], None),
    )
    for project, user, notes in timers[: min(entries, 2)]:
        entry = account.add_entry(
            project=projects[project],
            task=tasks["Design"],
            user=user,
            spent_on=today,
            hours="0",
            notes=notes,
            running=True,
        )
        account.timesheet.change(
            account.timesheet.entries[entry], timer_started_at=now - 2400, updated_at=now - 2400
        )


def _close_old_time(account: Account, today: date) -> None:
    """Whole weeks older than two months are approved; older months of two clients are invoiced."""
    monday = today - timedelta(days=today.weekday() + 63)
    for user in account.ids("users"):
        account.approve_period(user, today - timedelta(days=3650), monday - timedelta(days=1))
    for entry in account.timesheet.entries.values():
        if entry.approval == "approved":
            entry.updated_at = _stamp(monday + timedelta(days=1), account.now())


def _add_paperwork(account: Account, today: date, chance: random.Random) -> None:
    """Contacts, invoices, estimates and expenses: enough that every list has rows."""
    now = account.now()
    clients, users = account.ids("clients"), account.ids("users")
    people = (
        ("Marit", "Halvorsen"),
        ("Luc", "Perrin"),
        ("Ōtani", "Haruka"),
        ("Denise", "Abara"),
        ("Νίκος", "Βασιλείου"),
    )
    for client, (first, last) in zip(clients, people, strict=False):
        account.insert(
            "contacts",
            client_id=client,
            first_name=first,
            last_name=last,
            email=f"contact{client % 100}@clients.example",
            title="Director" if client % 2 else None,
            created_at=_stamp(today - timedelta(days=380), now),
        )
    service = account.insert("invoice_item_categories", name="Service", use_as_service=True)
    account.insert("invoice_item_categories", name="Product", use_as_expense=True)
    for name in ("Service", "Product"):
        account.insert("estimate_item_categories", name=name)
    categories = [
        account.insert("expense_categories", name=name, unit_name=unit, unit_price=price)
        for name, unit, price in (
            ("Travel", None, None),
            ("Meals", None, None),
            ("Mileage", "mile", Decimal("0.67")),
            ("Printing", None, None),
        )
    ]
    _add_invoices(account, today, service)
    for number, client in enumerate(clients[3:]):
        issued = today - timedelta(days=40 + 30 * number)
        amount = Decimal(2400 + 800 * number)
        kind = account.tables["estimate_item_categories"][account.ids("estimate_item_categories")[0]]["name"]
        estimate = account.insert(
            "estimates",
            client_id=client,
            creator_id=users[0],
            number=str(2001 + number),
            client_key=f"{client:032x}",
            amount=amount,
            subject="Phase two",
            currency="USD",
            state=("accepted", "sent", "draft")[number],
            issue_date=issued,
            sent_at=_stamp(issued, now),
            accepted_at=_stamp(issued + timedelta(days=4), now) if number == 0 else None,
            line_items=[_line(number + 1, kind, "Design and build", amount)],
            created_at=_stamp(issued, now),
        )
        account.insert(
            "estimate_messages", estimate_id=estimate, **_message(account, client, "Estimate", issued)
        )
    rows = account.tables["user_assignments"]
    for number in range(14):
        assignment = chance.choice(
            [row for row in rows.values() if row["user_id"] != account.find("users", LEFT)]
        )
        project = account.tables["projects"][assignment["project_id"]]
        spent = today - timedelta(days=5 + 9 * number)
        cost = Decimal(chance.randrange(800, 24000)) / 100
        account.insert(
            "expenses",
            user_id=assignment["user_id"],
            user_assignment_id=assignment["id"],
            project_id=project["id"],
            client_id=project["client_id"],
            expense_category_id=categories[number % 4],
            notes=("Train to client", "Lunch with team", None)[number % 3],
            total_cost=cost,
            spent_date=spent,
            receipt=_receipt(number) if number % 2 else None,
            created_at=_stamp(spent, now),
        )


def _add_invoices(account: Account, today: date, category: int) -> None:
    now = account.now()
    first_of_month = today.replace(day=1)
    entries = account.timesheet.entries.values()
    for number in range(6):
        client = account.ids("clients")[number % 3]
        last = first_of_month - timedelta(days=70 + 31 * (number // 3))
        first = last.replace(day=1)
        billed = [
            entry
            for entry in entries
            if first <= entry.spent_on <= last
            and account.tables["projects"][entry.project_id]["client_id"] == client
            and not entry.is_billed
        ]
        amount = Decimal(sum(entry.hundredths for entry in billed)) * Decimal("1.10")
        issued = last + timedelta(days=5)
        name = account.tables["invoice_item_categories"][category]["name"]
        project = next((entry.project_id for entry in billed), None)
        invoice = account.insert(
            "invoices",
            client_id=client,
            creator_id=account.ids("users")[0],
            client_key=f"{client + number:032x}",
            number=str(1040 + number),
            amount=amount,
            due_amount=Decimal(0) if number < 4 else amount,
            tax=Decimal("25.0"),
            subject=f"Work in {first:%B %Y}",
            currency="USD",
            state="paid" if number < 4 else "open",
            period_start=first,
            period_end=last,
            issue_date=issued,
            due_date=issued + timedelta(days=30),
            payment_term="net 30",
            sent_at=_stamp(issued, now),
            paid_at=_stamp(issued + timedelta(days=20), now) if number < 4 else None,
            paid_date=issued + timedelta(days=20) if number < 4 else None,
            line_items=[_line(number + 1, name, "Design and development", amount, project)],
            created_at=_stamp(issued, now),
        )
        for entry in billed:
            entry.is_billed, entry.invoice_id = True, invoice
        account.insert(
            "invoice_messages",
            invoice_id=invoice,
            attach_pdf=True,
            **_message(account, client, "Invoice", issued),
        )
        if number < 4:
            account.insert(
                "invoice_payments",
                invoice_id=invoice,
                amount=amount,
                paid_at=_stamp(issued + timedelta(days=20), now),
                paid_date=issued + timedelta(days=20),
                recorded_by="Ingrid Solheim",
                recorded_by_email="ingrid@northlight.example",
                notes="Bank transfer",
            )


def _line(
    number: int, kind: str, description: str, amount: Decimal, project: int | None = None
) -> dict[str, object]:
    return {
        "id": 109_677_000 + number,
        "project": {"id": project} if project else None,
        "kind": kind,
        "description": description,
        "quantity": 1.0,
        "unit_price": amount,
        "amount": amount,
        "taxed": False,
        "taxed2": False,
    }


def _message(account: Account, client: int, subject: str, sent: date) -> dict[str, object]:
    return {
        "sent_by": "Ingrid Solheim",
        "sent_by_email": "ingrid@northlight.example",
        "sent_from": "Northlight Studio",
        "sent_from_email": "ingrid@northlight.example",
        "recipients": [
            {"name": account.tables["clients"][client]["name"], "email": "office@clients.example"}
        ],
        "subject": f"{subject} from {NAME}",
        "body": "Please find it attached. Thank you!",
        "event_type": "send",
        "created_at": _stamp(sent, account.now()),
    }


def _receipt(number: int) -> dict[str, object]:
    name = f"receipt-{number:02}.jpg"
    return {
        "url": f"https://northlightstudio.harvestapp.example/expenses/{number}/receipt",
        "file_name": name,
        "file_size": 40_000 + 731 * number,
        "content_type": "image/jpeg",
    }


def _add_second_account(sandbox: Sandbox, today: date) -> None:
    """A smaller account of some of the same people, which tracks start and end; and a Forecast one."""
    labs = sandbox.add_account(SECOND_NAME, account_id=SECOND_ACCOUNT_ID)
    labs.company |= {"wants_timestamp_timers": True, "clock": "12h"}
    for first, last, email, role in (PEOPLE[0], PEOPLE[2], PEOPLE[3]):
        sandbox.add_person(first, last, email, role, account=labs, timezone="UTC")
    client = labs.add_client("Northlight Labs")
    project = labs.add_project(client, "Type specimen", "LABS-1", bill_by="none")
    task = labs.add_task("Exploration", billable_by_default=False)
    for number in range(24):
        day = today - timedelta(days=number)
        labs.add_entry(
            project=project,
            task=task,
            user=labs.ids("users")[number % 3],
            spent_on=day,
            hours="1.50",
            notes="Sketches",
            started="9:30am",
            ended="11:00am",
            created_at=_stamp(day, sandbox.now()),
        )
    people = [sandbox.person(PEOPLE[0][2]), sandbox.person(PEOPLE[1][2])]
    sandbox.add_forecast_account(f"{NAME} plan", people, account_id=FORECAST_ACCOUNT_ID)
