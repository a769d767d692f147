"""Reading activity types, work items and time logs of one workspace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from django.db.models import (
    BooleanField,
    Model,
    Q,
    QuerySet,
    Sum,
)
from django.db.models.functions import Coalesce, Lower

from accounts.models import Workspace
from timelogs.models import ActivityType, TimeLog, WorkItem

Row = TypeVar("Row", bound=Model)


def activity_types_of(workspace: Workspace) -> QuerySet[ActivityType]:
    return ActivityType.objects.filter(workspace=workspace)


def choosable_activity_types(workspace: Workspace) -> QuerySet[ActivityType]:
    return activity_types_of(workspace).order_by(Lower("name"), "id")


def work_items_of(workspace: Workspace) -> QuerySet[WorkItem]:
    return WorkItem.objects.filter(workspace=workspace).select_related("client", "project")


def time_logs_of(workspace: Workspace, *, deleted: bool = False) -> QuerySet[TimeLog]:
    """The workspace's time logs with all that a list shows of each: live ones, or deleted ones."""
    return TimeLog.objects.filter(workspace=workspace, deleted_at__isnull=not deleted).select_related(
        "client", "project", "work_item", "activity_type", "owner"
    )


def patterns_of(q: str) -> list[str]:
    """A regular expression for each word of `q`: a word that begins with it."""
    return [rf"\m{word}" for word in re.findall(r"\w+", q)]


def with_words(rows: QuerySet[Row], q: str, *, field: str = "notes") -> QuerySet[Row]:
    """Rows whose notes (or another field) hold, for every word of `q`, a word that begins with it (any case)."""
    for pattern in patterns_of(q):
        # PostgreSQL takes every word for a rare one, and would sort all that it finds before it shows the first. Of
        # what `coalesce` says it knows nothing: it walks the list in its order, until the page is full.
        found = Q(**{f"{field}__iregex": pattern})
        rows = rows.filter(Coalesce(found, False, output_field=BooleanField()))
    return rows


@dataclass(frozen=True, slots=True)
class Day:
    """The time spent on one day, and the billable part of it, in seconds."""

    day: date
    seconds: int
    billable_seconds: int


def days_of(logs: QuerySet[TimeLog], *, first: date, last: date) -> list[Day]:
    """Each day from first to last, those without time too, in one query."""
    rows = (
        logs.order_by()
        .filter(spent_date__range=(first, last))
        .values_list("spent_date")
        .annotate(total=Sum("seconds"), billable_total=Coalesce(Sum("seconds", filter=Q(billable=True)), 0))
    )
    found = {day: Day(day, seconds, billable) for day, seconds, billable in rows}
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [found.get(day, Day(day, 0, 0)) for day in days]
