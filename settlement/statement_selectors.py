"""Reading statements: their figures, their entries.

A draft keeps neither: both are what the client's logs of the period come to now, those on a live statement aside
(`settled_at` says which: settlement alone writes it, with the entry that holds the log). With them go the client's
accepted adjustments that are on no live statement, whatever their day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from accounts import keyset
from accounts.models import Workspace
from clients.models import Project
from inbound.adjustments import adjustments_to_settle
from inbound.models import Adjustment
from settlement.budget_selectors import statement_budget
from settlement.models import Statement, StatementEntry
from settlement.statement_math import ADJUSTMENT, TIME, Line, Sheet, thawed
from timelogs.models import ActivityType, TimeLog
from timelogs.selectors import time_logs_of

OLDEST, NEWEST = ("spent_date", "id"), ("-spent_date", "-id")


class Entry(NamedTuple):
    """What a `StatementEntry` says: as it was issued, or in a draft as it is now. A tuple, since there are thousands.

    source: its log's id, or its adjustment's. kind: "time" or "adjustment".
    """

    id: UUID
    kind: str
    source: UUID
    part: int
    spent_date: date
    owner_id: UUID
    owner_name: str
    project_id: UUID | None
    project_name: str
    activity_type_id: UUID | None
    activity_type_name: str
    work_item_key: str
    notes: str
    seconds: int
    rate: Decimal
    billable: bool


LINES = """
SELECT lines.statement, lines.project_id, coalesce(p.name, ''), lines.activity_type_id, coalesce(a.name, ''),
    lines.hourly_rate, lines.billable, lines.seconds, lines.entries
FROM (
    SELECT s.id AS statement, s.workspace_id, l.project_id, l.activity_type_id, l.hourly_rate, l.billable,
        sum(l.seconds)::bigint AS seconds, count(*) AS entries
    FROM settlement_statement s
    JOIN timelogs_timelog l ON l.workspace_id = s.workspace_id AND l.client_id = s.client_id
        AND l.spent_date BETWEEN s.from_date AND s.to_date AND l.deleted_at IS NULL AND l.settled_at IS NULL
    WHERE s.workspace_id = %s AND s.id = ANY(%s)
    GROUP BY s.id, s.workspace_id, l.project_id, l.activity_type_id, l.hourly_rate, l.billable
) AS lines
LEFT JOIN clients_project p ON p.workspace_id = lines.workspace_id AND p.id = lines.project_id
LEFT JOIN timelogs_activitytype a ON a.workspace_id = lines.workspace_id AND a.id = lines.activity_type_id
"""


def statements_of(workspace: Workspace) -> QuerySet[Statement]:
    """Every statement with its client: drafts, issued and void ones."""
    return Statement.objects.filter(workspace=workspace).select_related("client")


# --- Figures ---------------------------------------------------------------------------------------------------------
def sheets_of(workspace: Workspace, statements: Iterable[Statement]) -> dict[UUID, Sheet]:
    """The figures of statements, without a draft's budgets; in four queries at most, however many there are."""
    statements = list(statements)
    drafts = [one for one in statements if one.is_draft]
    lines: dict[UUID, list[Line]] = defaultdict(list)
    if drafts:
        with connection.cursor() as cursor:
            cursor.execute(LINES, [workspace.id, [one.id for one in drafts]])
            for statement, project, project_name, kind, kind_name, rate, billable, seconds, entries in cursor:
                lines[statement].append(
                    Line(
                        TIME,
                        str(project) if project else None,
                        project_name,
                        str(kind) if kind else None,
                        kind_name,
                        rate,
                        billable,
                        int(seconds),
                        entries,
                        workspace.currency,
                    )
                )
        for statement, entries in adjustments_on(workspace, drafts).items():
            lines[statement] += lines_of(entries, workspace.currency)
    return {
        one.id: Sheet.of(one.client.name, workspace.currency, lines[one.id])
        if one.is_draft
        else thawed(one.frozen or {})
        for one in statements
    }


def sheet_of(statement: Statement) -> Sheet:
    """The figures of one statement, with its budgets."""
    workspace = statement.workspace
    sheet = sheets_of(workspace, [statement])[statement.id]
    if not statement.is_draft:
        return sheet
    return Sheet(sheet.client, sheet.currency, sheet.lines, budgets_of(statement, logs_for(statement)))


def budgets_of(statement: Statement, logs: QuerySet[TimeLog]) -> tuple[dict[str, Any], ...]:
    """The client's budgets before and after a draft's logs, as `StatementBudget.as_json` says them; three queries."""
    found = statement_budget(statement.client, statement.from_date, statement.to_date, logs=logs)
    return tuple(one.as_json() for one in found)


def lines_of(entries: Iterable[Entry], currency: str) -> list[Line]:
    """The lines that entries make, as the database makes a draft's."""
    groups: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for one in entries:
        groups[key_of(one)].append(one)
    return [
        Line(
            group[0].kind,
            str(group[0].project_id) if group[0].project_id else None,
            group[0].project_name,
            str(group[0].activity_type_id) if group[0].activity_type_id else None,
            group[0].activity_type_name,
            group[0].rate,
            group[0].billable,
            sum(one.seconds for one in group),
            len(group),
            currency,
        )
        for group in groups.values()
    ]


def key_of(entry: Entry) -> tuple[object, ...]:
    """Which line an entry is part of (`Line.key`)."""
    return (
        entry.kind,
        str(entry.project_id) if entry.project_id else None,
        str(entry.activity_type_id) if entry.activity_type_id else None,
        entry.rate,
        entry.billable,
    )


# --- Entries ---------------------------------------------------------------------------------------------------------
def logs_for(statement: Statement) -> QuerySet[TimeLog]:
    """The logs that a draft takes: of its client, in its period, on no live statement, not deleted."""
    return time_logs_of(statement.workspace).filter(
        client_id=statement.client_id,
        spent_date__range=(statement.from_date, statement.to_date),
        settled_at=None,
    )


def entries_from(logs: QuerySet[TimeLog]) -> list[Entry]:
    """Logs as entries, in the order of the logs; each has its log's id. One query, of columns alone."""
    rows = logs.values_list(
        "id", "spent_date", "owner_id", "owner__name", "owner__email", "project_id", "project__name",
        "activity_type_id", "activity_type__name", "work_item__key", "notes", "seconds", "hourly_rate", "billable",
    )  # fmt: skip
    return [
        Entry(
            id, TIME, id, 0, spent_date, owner_id, owner_name or owner_email, project_id, project_name or "",
            activity_type_id, activity_type_name or "", work_item_key or "", notes, seconds, rate, billable,
        )
        for (
            id, spent_date, owner_id, owner_name, owner_email, project_id, project_name, activity_type_id,
            activity_type_name, work_item_key, notes, seconds, rate, billable,
        ) in rows
    ]  # fmt: skip


def free_adjustments(workspace: Workspace, clients: Sequence[UUID]) -> QuerySet[Adjustment]:
    """These clients' adjustments to settle that are on no live statement, oldest first."""
    held = StatementEntry.objects.filter(workspace=workspace, adjustment_id=OuterRef("id"))
    return adjustments_to_settle(workspace, clients).filter(~Exists(held))


def adjustments_on(workspace: Workspace, drafts: Iterable[Statement]) -> dict[UUID, list[Entry]]:
    """The adjustments that drafts take, as entries, by draft; in three queries."""
    drafts = list(drafts)
    free = free_adjustments(workspace, [one.client_id for one in drafts])
    return adjustment_entries(workspace, free, drafts)


def adjustment_entries(
    workspace: Workspace, adjustments: Iterable[Adjustment], drafts: Iterable[Statement]
) -> dict[UUID, list[Entry]]:
    """Adjustments as entries of their client's draft, by draft; in two queries."""
    by_client = {one.client_id: one for one in drafts}
    entries: dict[UUID, list[Entry]] = defaultdict(list)
    parts = [(one, number, part) for one in adjustments for number, part in enumerate(one.lines)]
    projects = _names(Project.objects, workspace, {part.project_id for _, _, part in parts})
    kinds = _names(ActivityType.objects, workspace, {part.activity_type_id for _, _, part in parts})
    for one, number, part in parts:
        statement = by_client[one.client_id]
        said = one.after or one.before
        entries[statement.id].append(
            Entry(
                # The second part of an adjustment comes next to its first.
                id=UUID(int=one.id.int + number),
                kind=ADJUSTMENT,
                source=one.id,
                part=number,
                spent_date=one.spent_date,
                owner_id=one.time_log.owner_id,
                owner_name=str(one.time_log.owner),
                project_id=part.project_id,
                project_name=projects.get(part.project_id, ""),
                activity_type_id=part.activity_type_id,
                activity_type_name=kinds.get(part.activity_type_id, ""),
                work_item_key=one.time_log.work_item.key if one.time_log.work_item else "",
                notes=said.get("notes", ""),
                seconds=part.seconds,
                rate=Decimal(part.hourly_rate),
                billable=part.billable,
            )
        )
    return entries


def _names(rows: Any, workspace: Workspace, ids: set[UUID | None]) -> dict[UUID | None, str]:
    return dict(rows.filter(workspace=workspace, id__in=ids - {None}).values_list("id", "name"))


def entries_of(statement: Statement) -> list[Entry]:
    """Every entry by day."""
    if not statement.is_draft:
        rows = issued_entries(statement).order_by(*OLDEST).values_list(*Entry._fields)
        return [Entry(*row) for row in rows]
    entries = entries_from(logs_for(statement).order_by(*OLDEST))
    adjustments = adjustments_on(statement.workspace, [statement])[statement.id]
    return sorted(entries + adjustments, key=_position) if adjustments else entries


def issued_entries(statement: Statement) -> QuerySet[StatementEntry]:
    return StatementEntry.objects.filter(workspace_id=statement.workspace_id, statement=statement)


def entries_page(
    statement: Statement, *, order: Sequence[str] = OLDEST, cursor: str | None = None, size: int = 100
) -> keyset.Page[Any]:
    """One page of the entries by day, OLDEST or NEWEST first: rows with what an `Entry` has.

    Raises Invalid for a cursor of another order.
    """
    if not statement.is_draft:
        return keyset.page(issued_entries(statement), order=order, cursor=cursor, size=size)
    logs = keyset.page(logs_for(statement).select_related(None), order=order, cursor=cursor, size=size)
    shown = TimeLog.objects.filter(
        workspace_id=statement.workspace_id, id__anyof=[log.id for log in logs.rows]
    )
    found: list[Any] = entries_from(shown.order_by(*order))
    adjustments = adjustments_on(statement.workspace, [statement])[statement.id]
    if not adjustments:
        return keyset.Page(found, logs.next, logs.previous)
    # Adjustments are few and all at hand: those on this side of the cursor are sorted in among the page of logs.
    falling, back = order[0].startswith("-"), False
    if cursor:
        side, (day, key) = keyset.decode(cursor, order)
        back = side == keyset.BEFORE
        there = (date.fromisoformat(day), UUID(key))

        def beyond(one: Entry) -> bool:
            return _position(one) < there if falling != back else _position(one) > there

        # Where no log comes before, the keyset gives the first page instead.
        found = [one for one in found if beyond(one)]
        adjustments = [one for one in adjustments if beyond(one)]
    entries = sorted(found + adjustments, key=_position, reverse=falling)
    if back and not entries:
        return entries_page(statement, order=order, size=size)
    kept = entries[-size:] if back else entries[:size]
    cut = len(entries) > size
    more_after = back or cut or logs.next is not None
    more_before = cut or logs.previous is not None if back else bool(cursor)
    return keyset.Page(
        rows=kept,
        next=keyset.encode(kept[-1], order, keyset.AFTER) if kept and more_after else None,
        previous=keyset.encode(kept[0], order, keyset.BEFORE) if kept and more_before else None,
    )


def _position(entry: Entry) -> tuple[date, UUID]:
    return (entry.spent_date, entry.id)
