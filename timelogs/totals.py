"""Sums of time over windows of days, for many clients and projects at once, from the months' totals.

A window's whole months are read from `MonthTotal`, its first and last days, where they are parts of a month, from the
logs themselves. Measured on a million logs of a thousand clients over three years: totals by day would be as many rows
as there are logs, and two years of them cost what summing the logs costs; by month they are a fourteenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import Workspace
from accounts.tenancy import SPAN_SWEEP, span
from timelogs.models import MonthTotal

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


# One row a window (and month, where asked).
SUMS = """
SELECT number, CASE WHEN by_month THEN month END, sum(seconds)::bigint, sum(weighted)
FROM (
    SELECT part.number, part.by_month, total.month, total.seconds, total.weighted
    FROM unnest(%(n)s::int[], %(by)s::bool[], %(client)s::uuid[], %(project)s::uuid[], %(lo)s::date[], %(hi)s::date[])
        AS part (number, by_month, client_id, project_id, lo, hi)
    JOIN timelogs_monthtotal AS total ON total.workspace_id = %(workspace)s AND total.client_id = part.client_id
        AND total.month BETWEEN part.lo AND part.hi
        AND (part.project_id IS NULL OR total.project_id = part.project_id)
    UNION ALL
    SELECT part.number, part.by_month, part.month, log.seconds,
        CASE WHEN log.billable THEN log.seconds * log.hourly_rate ELSE 0 END
    FROM unnest(%(dn)s::int[], %(dby)s::bool[], %(dclient)s::uuid[], %(dproject)s::uuid[], %(dlo)s::date[],
        %(dhi)s::date[], %(dmonth)s::date[]) AS part (number, by_month, client_id, project_id, lo, hi, month)
    JOIN timelogs_timelog AS log ON log.workspace_id = %(workspace)s AND log.client_id = part.client_id
        AND log.spent_date BETWEEN part.lo AND part.hi AND log.deleted_at IS NULL
        AND (part.project_id IS NULL OR log.project_id = part.project_id)
) AS parts
GROUP BY 1, 2
"""


def sums_of(workspace: Workspace, windows: Sequence[Window]) -> list[dict[date | None, Sum]]:
    """What each window's live logs come to, in one query for all of them.

    Each result maps months (their first day), or None where the window is not by month, to their sum; those without
    time are missing.
    """
    found: list[dict[date | None, Sum]] = [{} for _ in windows]
    parts = [
        (number, window, piece)
        for number, window in enumerate(windows)
        for piece in spans_of(window.first, window.last)
    ]
    if not parts:
        return found
    whole = [part for part in parts if part[2].whole]
    days = [part for part in parts if not part[2].whole]
    values: dict[str, Any] = {"workspace": workspace.id}
    for prefix, some in (("", whole), ("d", days)):
        values |= {
            f"{prefix}n": [number for number, _, _ in some],
            f"{prefix}by": [window.by_month for _, window, _ in some],
            f"{prefix}client": [window.client_id for _, window, _ in some],
            f"{prefix}project": [window.project_id for _, window, _ in some],
            f"{prefix}lo": [piece.first for _, _, piece in some],
            f"{prefix}hi": [piece.last for _, _, piece in some],
        }
    values["dmonth"] = [month_of(piece.first) for _, _, piece in days]
    with connection.cursor() as cursor:
        cursor.execute(SUMS, values)
        for number, month, seconds, weighted in cursor:
            found[number][month] = Sum(seconds, weighted)
    return found


def merge_totals(workspace_id: UUID) -> int:
    """Make one row of the many that came for the same client, project and month, inside the scope.

    Returns how many rows were taken up. One worker at a time for a workspace; another finds nothing to do.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"month-totals/{workspace_id}"]
        )
        row = cursor.fetchone()
        if not (row and row[0]):
            return 0
        cursor.execute(
            """
            WITH fresh AS (
                SELECT DISTINCT client_id, month FROM timelogs_monthtotal
                WHERE workspace_id = %(workspace)s AND NOT merged
            ), gone AS (
                DELETE FROM timelogs_monthtotal AS total USING fresh
                WHERE total.workspace_id = %(workspace)s AND total.client_id = fresh.client_id
                    AND total.month = fresh.month
                RETURNING total.client_id, total.project_id, total.month, total.seconds, total.weighted
            ), kept AS (
                INSERT INTO timelogs_monthtotal
                    (id, workspace_id, client_id, project_id, month, seconds, weighted, merged)
                SELECT uuidv7(), %(workspace)s, client_id, project_id, month, sum(seconds), sum(weighted), true
                FROM gone GROUP BY client_id, project_id, month
                HAVING sum(seconds) <> 0 OR sum(weighted) <> 0
            )
            SELECT count(*) FROM gone
            """,
            {"workspace": workspace_id},
        )
        row = cursor.fetchone()
    return row[0] if row else 0


def workspaces_with_news(limit: int) -> list[UUID]:
    """Workspaces whose logs have changed since their totals were last merged. It spans workspaces: what is due."""
    with span(SPAN_SWEEP, "totals"):
        return list(
            MonthTotal.objects.filter(merged=False).values_list("workspace_id", flat=True).distinct()[:limit]
        )


def total_of(sums: Iterable[Sum]) -> Sum:
    """Sums added up."""
    seconds, weighted = 0, Decimal(0)
    for one in sums:
        seconds, weighted = seconds + one.seconds, weighted + one.weighted
    return Sum(seconds, weighted)
