"""Sums of time over windows of days, for many clients and projects at once; and the totals of a workspace's time.

A window's whole months are read from the months' totals, which the database keeps true (`MonthTotal`, `MonthChange`),
and its first and last days, where they are parts of a month, from the logs themselves. Of totals by day there would be
nearly as many as there are logs: two years of them cost what summing the logs costs, and each log one more row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import Workspace
from accounts.prepared import fetch
from accounts.tenancy import SPAN_SWEEP, span
from timelogs.models import MonthChange
from timelogs.money import SECONDS_PER_HOUR, cents

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a client, or of one project of it, from `first` to `last`, both included; by month, if asked."""

    client_id: UUID
    project_id: UUID | None
    first: date
    last: date
    by_month: bool = False


class Sum(NamedTuple):
    """seconds: all of them. weighted: seconds x hourly rate of the billable ones; divided by 3600 it is money."""

    seconds: int
    weighted: Decimal


NOTHING = Sum(0, Decimal(0))


class Span(NamedTuple):
    """Days of a window that are read in one way: whole months, or days of one month."""

    first: date
    last: date
    whole: bool


def month_of(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def spans_of(first: date, last: date) -> Iterator[Span]:
    """The days from first to last, cut at the months that they hold whole; none where last is before first."""
    if first > last:
        return
    whole_from = first if first.day == 1 else next_month(first)
    whole_until = month_of(last + DAY)  # the month that `last` does not end, if it ends none
    if whole_from >= whole_until:
        # Days of one month, or of two that touch.
        middle = month_of(last)
        if first < middle:
            yield Span(first, middle - DAY, whole=False)
        yield Span(max(first, middle), last, whole=False)
        return
    if first < whole_from:
        yield Span(first, whole_from - DAY, whole=False)
    yield Span(whole_from, whole_until - DAY, whole=True)
    if whole_until <= last:
        yield Span(whole_until, last, whole=False)


# Whole months from the totals and the changes not yet merged into them, other days from the logs; each part is summed
# where it is found, by an index. A window's parts come back one by one.
SUMS = """
WITH parts AS MATERIALIZED (
    SELECT * FROM unnest(%(number)s::int[], %(client)s::uuid[], %(project)s::uuid[], %(first)s::date[],
        %(last)s::date[], %(whole)s::bool[], %(by_month)s::bool[])
        AS part (number, client_id, project_id, first, last, whole, by_month)
)
SELECT number, found.month, found.seconds::bigint, found.weighted FROM parts CROSS JOIN LATERAL (
    SELECT CASE WHEN by_month THEN total.month END AS month, sum(seconds) AS seconds, sum(weighted) AS weighted
    FROM timelogs_monthtotal AS total
    WHERE total.workspace_id = %(workspace)s AND total.client_id = parts.client_id
        AND total.month BETWEEN first AND last AND (parts.project_id IS NULL OR total.project_id = parts.project_id)
    GROUP BY 1
) AS found WHERE whole
UNION ALL
SELECT number, CASE WHEN by_month THEN change.month END, sum(seconds)::bigint, sum(weighted)
FROM parts JOIN timelogs_monthchange AS change ON change.workspace_id = %(workspace)s
    AND change.client_id = parts.client_id AND change.month BETWEEN first AND last
    AND (parts.project_id IS NULL OR change.project_id = parts.project_id)
WHERE whole GROUP BY 1, 2
UNION ALL
SELECT number, CASE WHEN by_month THEN first - (extract(day FROM first)::int - 1) END, found.seconds::bigint,
    found.weighted
FROM parts CROSS JOIN LATERAL (
    SELECT sum(seconds) AS seconds, sum(CASE WHEN billable THEN seconds * hourly_rate ELSE 0 END) AS weighted
    FROM timelogs_timelog AS log
    WHERE log.workspace_id = %(workspace)s AND log.client_id = parts.client_id AND log.deleted_at IS NULL
        AND log.spent_date BETWEEN first AND last
        AND (parts.project_id IS NULL OR log.project_id = parts.project_id)
) AS found WHERE NOT whole AND found.seconds IS NOT NULL
"""


def sums_of(workspace: Workspace, windows: Sequence[Window]) -> list[dict[date | None, Sum]]:
    """What each window's live logs come to, in one query for all of them.

    Each result maps months (their first day), or None where the window is not by month, to their sum; those without
    time are missing.
    """
    found: list[dict[date | None, Sum]] = [{} for _ in windows]
    parts = [
        (number, window.client_id, window.project_id, *piece, window.by_month)
        for number, window in enumerate(windows)
        for piece in spans_of(window.first, window.last)
    ]
    if not parts:
        return found
    names = ("number", "client", "project", "first", "last", "whole", "by_month")
    values: dict[str, Any] = dict(zip(names, map(list, zip(*parts, strict=True)), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(SUMS, {**values, "workspace": workspace.id})
        for number, month, seconds, weighted in cursor:
            before = found[number].get(month, NOTHING)
            found[number][month] = Sum(before.seconds + seconds, before.weighted + weighted)
    return found


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a set of logs: how many, their seconds, the billable ones among them, and what those come to in money.

    amount: each log's seconds / 3600 x its rate, summed unrounded over the billable logs, then half-up to cents.
    """

    count: int
    seconds: int
    billable_seconds: int
    amount: Decimal

    @classmethod
    def of(cls, count: int, seconds: int, billable_seconds: int, weighted: Decimal) -> Totals:
        """From sums as the database has them."""
        return cls(int(count), int(seconds), int(billable_seconds), cents(weighted / SECONDS_PER_HOUR))


# Of what the list of time can be narrowed by, what the months' totals know.
KEPT = frozenset({"client", "project", "from", "to"})
# Dates that logs can have lie well within; with the others there is no month before, or after, to reckon with.
YEARS = range(1900, 2500)
FROM_MONTHS = "SELECT logs, seconds, billable_seconds, weighted FROM timelogs_{table} WHERE {where}"
SUMS_OF_LOGS = """
count(*), coalesce(sum(log.seconds), 0), coalesce(sum(log.seconds) FILTER (WHERE log.billable), 0),
    coalesce(sum(log.seconds * log.hourly_rate) FILTER (WHERE log.billable), 0)
"""
FROM_DAYS = f"SELECT {SUMS_OF_LOGS} FROM timelogs_timelog AS log WHERE log.deleted_at IS NULL AND {{where}}"  # noqa: S608
ADDED_UP = """
SELECT coalesce(sum(logs), 0), coalesce(sum(seconds), 0), coalesce(sum(billable_seconds), 0), coalesce(sum(weighted), 0)
FROM ({parts}) AS parts (logs, seconds, billable_seconds, weighted)
"""
# Of a whole workspace: what is asked most.
OF_ALL = ADDED_UP.format(
    parts=" UNION ALL ".join(
        FROM_MONTHS.format(table=table, where="workspace_id = $1") for table in ("monthtotal", "monthchange")
    )
)
Days = tuple[date | None, date | None]  # from, to, both included; None: open


def halves_of(first: date | None, last: date | None) -> tuple[Days | None, list[Days]]:
    """Days from first to last (None: without end): the whole months among them, or None, and the other days."""
    if any(day is not None and day.year not in YEARS for day in (first, last)):
        return None, [(first, last)]
    begin = first if first is None or first.day == 1 else next_month(first)
    end = None if last is None else month_of(last + DAY) - DAY
    if begin is not None and end is not None and begin > end:
        return None, [(first, last)]
    rest: list[Days] = []
    if begin != first and begin is not None:
        rest.append((first, begin - DAY))
    if end != last and end is not None:
        rest.append((end + DAY, last))
    return (begin, end), rest


def kept_totals(workspace: Workspace, conditions: Mapping[str, Any]) -> Totals:
    """What the live logs come to that meet the conditions, of those in `KEPT`: ids, and dates, both included.

    One query: whole months from their totals and the changes to come, other days from the logs.
    """
    if not conditions:
        return Totals.of(*fetch("timelogs_totals", OF_ALL, [workspace.id])[0])
    values: list[Any] = []

    def where(column: str, days: Days) -> str:
        texts = []
        for text, value in (
            ("workspace_id = %s", workspace.id),
            ("client_id = %s", conditions.get("client")),
            ("project_id = %s", conditions.get("project")),
            (f"{column} >= %s", days[0]),
            (f"{column} <= %s", days[1]),
        ):
            if value is not None:
                texts.append(text)
                values.append(value)
        return " AND ".join(texts)

    months, rest = halves_of(conditions.get("from"), conditions.get("to"))
    parts = []
    if months is not None:
        for table in ("monthtotal", "monthchange"):
            parts.append(FROM_MONTHS.format(table=table, where=where("month", months)))
    parts += [FROM_DAYS.format(where=where("spent_date", days)) for days in rest]
    with connection.cursor() as cursor:
        cursor.execute(ADDED_UP.format(parts=" UNION ALL ".join(parts)), values)
        return Totals.of(*cursor.fetchone())


MERGE = """
WITH gone AS (
    DELETE FROM timelogs_monthchange WHERE workspace_id = %(workspace)s
    RETURNING client_id, project_id, month, logs, seconds, billable_seconds, weighted
), kept AS (
    INSERT INTO timelogs_monthtotal AS total
        (id, workspace_id, client_id, project_id, month, logs, seconds, billable_seconds, weighted)
    SELECT uuidv7(), %(workspace)s, client_id, project_id, month,
        sum(logs), sum(seconds), sum(billable_seconds), sum(weighted)
    FROM gone GROUP BY client_id, project_id, month
    HAVING (sum(logs), sum(seconds), sum(billable_seconds), sum(weighted)) <> (0, 0, 0, 0)
    ON CONFLICT (workspace_id, client_id, month, project_id) DO UPDATE SET
        logs = total.logs + excluded.logs,
        seconds = total.seconds + excluded.seconds,
        billable_seconds = total.billable_seconds + excluded.billable_seconds,
        weighted = total.weighted + excluded.weighted
    RETURNING id, logs
)
SELECT (SELECT count(*) FROM gone), array(SELECT id FROM kept WHERE logs = 0)
"""


def merge_totals(workspace_id: UUID) -> int:
    """Add the changes that have come to the totals, inside the scope; totals of nothing go.

    Returns how many changes there were. One worker at a time for a workspace: another finds nothing to do.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"month-totals/{workspace_id}"]
        )
        if cursor.fetchone() != (True,):
            return 0
        cursor.execute(MERGE, {"workspace": workspace_id})
        merged, empty = cursor.fetchone() or (0, [])
        if empty:
            cursor.execute(
                "DELETE FROM timelogs_monthtotal WHERE workspace_id = %s AND id = ANY(%s)",
                [workspace_id, empty],
            )
    return int(merged)


def workspaces_with_news(limit: int) -> list[UUID]:
    """Workspaces whose logs have changed since their totals were last merged. It spans workspaces: what is due."""
    with span(SPAN_SWEEP, "totals"):
        rows = MonthChange.objects.order_by("workspace_id").values_list("workspace_id", flat=True)
        return list(rows.distinct()[:limit])


def total_of(sums: Iterable[Sum]) -> Sum:
    """Sums added up."""
    seconds, weighted = 0, Decimal(0)
    for one in sums:
        seconds, weighted = seconds + one.seconds, weighted + one.weighted
    return Sum(seconds, weighted)
