"""Reading activity types, work items and time logs of one workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeVar

from django.db.models import (
    BigIntegerField,
    BooleanField,
    DecimalField,
    Func,
    Model,
    Q,
    QuerySet,
    Sum,
    TextField,
)
from django.db.models.functions import Coalesce, Lower

from accounts.models import Workspace
from timelogs.models import ActivityType, TimeLog, WorkItem
from timelogs.totals import KEPT, Totals, kept_totals

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


# Of a log and what it refers to, what the list of time shows. Names are looked up row by row, each by its id:
# PostgreSQL takes longer to choose an order for six tables to join than for the fifty rows of a page.
SHOWN = (
    *("id", "spent_date", "seconds", "notes", "billable", "hourly_rate", "source"),
    *("sync_state", "sync_detail", "settled_at", "owner_id"),
)
NAMES = {
    name: Func(template=f"(SELECT {rest} = timelogs_timelog.{id})", output_field=TextField())
    for name, id, rest in (
        ("client_name", "client_id", "name FROM clients_client AS one WHERE one.id"),
        ("project_name", "project_id", "name FROM clients_project AS one WHERE one.id"),
        ("work_item_key", "work_item_id", "key FROM timelogs_workitem AS one WHERE one.id"),
        ("activity_type_name", "activity_type_id", "name FROM timelogs_activitytype AS one WHERE one.id"),
        (
            "owner_name",
            "owner_id",
            "coalesce(nullif(name, ''), email) FROM accounts_user AS one WHERE one.id",
        ),
    )
}


def rows_of(logs: QuerySet[TimeLog]) -> QuerySet[Any]:
    """What the list of time shows of each log, as dicts: six objects a row would be most of its price."""
    return logs.select_related(None).values(*SHOWN, **NAMES)


def with_words(rows: QuerySet[Row], q: str, *, field: str = "notes") -> QuerySet[Row]:
    """Rows whose notes (or another field) hold, for every word of `q`, a word that begins with it (any case)."""
    for word in re.findall(r"\w+", q):
        # PostgreSQL takes every word for a rare one, and would sort all that it finds before it shows the first. Of
        # what `coalesce` says it knows nothing: it walks the list in its order, until the page is full.
        found = Q(**{f"{field}__iregex": rf"\m{word}"})
        rows = rows.filter(Coalesce(found, False, output_field=BooleanField()))
    return rows


# Columns of SQL: to put Django's own aggregates into words takes longer than PostgreSQL's answer.
SUMS = [
    Func(template=template, output_field=field)
    for template, field in (
        ("count(*)", BigIntegerField()),
        ("coalesce(sum(timelogs_timelog.seconds), 0)", BigIntegerField()),
        (
            "coalesce(sum(timelogs_timelog.seconds) FILTER (WHERE timelogs_timelog.billable), 0)",
            BigIntegerField(),
        ),
        (
            "coalesce(sum(timelogs_timelog.seconds * timelogs_timelog.hourly_rate)"
            " FILTER (WHERE timelogs_timelog.billable), 0)",
            DecimalField(),
        ),
    )
]


def totals_of(logs: QuerySet[TimeLog]) -> Totals:
    """The totals of a filtered set of logs, in one query."""
    return Totals.of(*logs.order_by().values_list(*SUMS).get())


def summary_of(workspace: Workspace, conditions: Mapping[str, Any]) -> Totals:
    """The totals of the logs that meet the conditions (`narrowed`), in one query, by the months' totals if they can."""
    if conditions.keys() <= KEPT:
        return kept_totals(workspace, conditions)
    return totals_of(narrowed(time_logs_of(workspace), conditions))


def narrowed(logs: QuerySet[TimeLog], conditions: Mapping[str, Any]) -> QuerySet[TimeLog]:
    """Logs that meet every condition given, by the names of the wire.

    `client, project, work_item, activity_type, owner`: ids; `from, to`: dates, both included; `billable`: "true" or
    "false"; `source`, `sync_state`; `q`: beginnings of words in the notes.
    """
    for name in ("client", "project", "work_item", "activity_type", "owner"):
        if name in conditions:
            logs = logs.filter(**{f"{name}_id": conditions[name]})
    if "from" in conditions:
        logs = logs.filter(spent_date__gte=conditions["from"])
    if "to" in conditions:
        logs = logs.filter(spent_date__lte=conditions["to"])
    if "billable" in conditions:
        logs = logs.filter(billable=conditions["billable"] == "true")
    if "source" in conditions:
        logs = logs.filter(source=conditions["source"])
    if "sync_state" in conditions:
        logs = logs.filter(sync_state=conditions["sync_state"])
    return with_words(logs, conditions["q"]) if "q" in conditions else logs


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
