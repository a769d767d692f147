"""What a client's link shows: the month's budgets, and the time that was spent, by day and project."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby

from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Coalesce

from accounts.models import Workspace
from clients.models import Client
from settlement.budget_selectors import Standing, State, budgets_of, by_name, standings
from settlement.models import ClientLink
from timelogs.models import TimeLog

MONTHS = 12  # that a link looks back, the present one included
MOST_NOTES = 2000  # of a month; who has more sees those of the latest days


def links_of(workspace: Workspace) -> QuerySet[ClientLink]:
    """Every link, revoked and expired ones too."""
    return ClientLink.objects.filter(workspace=workspace).select_related("client", "created_by")


@dataclass(frozen=True, slots=True)
class Work:
    """The time of one project (None: of none) on one day, or in the month; notes only where the link shows them."""

    project: str | None
    seconds: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    day: date
    works: list[Work]

    @property
    def seconds(self) -> int:
        return sum(one.seconds for one in self.works)


@dataclass(frozen=True, slots=True)
class Report:
    """A month of a client.

    budgets: those that are on, as they stood on the month's last day (or stand today), each with what is left of it, or
    what is over it.

    previous, next: the months around it that the link shows, if any.
    """

    first: date
    last: date
    budgets: list[tuple[Standing, Decimal]]
    projects: list[Work]
    days: list[Done]
    previous: date | None
    next: date | None

    @property
    def seconds(self) -> int:
        return sum(one.seconds for one in self.projects)


def month_of(text: str | None, today: date) -> date:
    """The first day of the month that a query names ("2026-06"), among the last twelve; this month otherwise."""
    try:
        wanted = date.fromisoformat(f"{text}-01")
    except ValueError:
        return today.replace(day=1)
    age = (today.year - wanted.year) * 12 + today.month - wanted.month
    return wanted if 0 <= age < MONTHS else today.replace(day=1)


def report_of(workspace: Workspace, client: Client, *, month: date, show_notes: bool) -> Report:
    """A client's month, which begins on `month`; a fixed number of queries."""
    today = workspace.today()
    last = month.replace(day=monthrange(month.year, month.month)[1])
    shown_until = min(last, today)
    logs = TimeLog.objects.filter(
        workspace=workspace, client=client, deleted_at=None, spent_date__range=(month, last)
    )
    sums = list(
        logs.order_by()
        .values("spent_date", "project_id", name=F("project__name"))
        .annotate(total=Coalesce(Sum("seconds"), 0))
        .order_by("-spent_date", F("project__name").asc(nulls_first=True), "project_id")
    )
    notes = _notes(logs) if show_notes else {}
    days = [
        Done(
            day,
            [Work(row["name"], row["total"], tuple(notes.get((day, row["project_id"]), ()))) for row in rows],
        )
        for day, rows in groupby(sums, key=lambda row: row["spent_date"])
    ]
    by_project: dict[tuple[str | None, object], int] = {}
    for row in sums:
        key = (row["name"], row["project_id"])
        by_project[key] = by_project.get(key, 0) + row["total"]
    budgets = by_name(budgets_of(workspace).filter(client=client).exclude(project__archived=True))
    ordered = budgets.order_by("by_project", "id")
    months = [month_of(f"{one:%Y-%m}", today) for one in (_shifted(month, -1), _shifted(month, 1))]
    return Report(
        first=month,
        last=last,
        budgets=[
            (one, abs(one.remaining))
            for one in standings(workspace, ordered, on=shown_until)
            if one.state == State.RUNNING
        ],
        projects=[
            Work(name, seconds)
            for (name, _), seconds in sorted(by_project.items(), key=lambda pair: -pair[1])
        ],
        days=days,
        previous=months[0] if months[0] == _shifted(month, -1) else None,
        next=months[1] if months[1] == _shifted(month, 1) else None,
    )


def _notes(logs: QuerySet[TimeLog]) -> dict[tuple[date, object], list[str]]:
    """(day, project) -> the notes of that day, each once, in the order in which the time was logged."""
    found: dict[tuple[date, object], list[str]] = {}
    rows = logs.order_by("-spent_date", "-id").values_list("spent_date", "project_id", "notes")[:MOST_NOTES]
    for day, project_id, text in reversed(rows):
        kept = found.setdefault((day, project_id), [])
        if text.strip() and text.strip() not in kept:
            kept.append(text.strip())
    return found


def _shifted(month: date, by: int) -> date:
    index = month.year * 12 + month.month - 1 + by
    return date(index // 12, index % 12 + 1, 1)
