"""The list of time as its page shows it: conditions, rows and totals, by SQL of their own.

To have Django put these questions into words takes as long as PostgreSQL takes to answer them, and six objects a row
would be most of the price of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection

from accounts import keyset, prepared
from accounts.models import Workspace
from timelogs.selectors import patterns_of
from timelogs.totals import KEPT, SUMS_OF_LOGS, Totals, kept_totals

NEWEST = ("-spent_date", "-id")
# By the names of the wire; `q` besides.
CONDITIONS = {
    "id": "log.id = %s",
    "client": "log.client_id = %s",
    "project": "log.project_id = %s",
    "work_item": "log.work_item_id = %s",
    "activity_type": "log.activity_type_id = %s",
    "owner": "log.owner_id = %s",
    "from": "log.spent_date >= %s",
    "to": "log.spent_date <= %s",
    "billable": "log.billable = %s",
    "source": "log.source = %s",
    "sync_state": "log.sync_state = %s",
    "settled": "(log.settled_at IS NOT NULL) = %s",
    "deleted": "(log.deleted_at IS NOT NULL) = %s",
}
# As `selectors.with_words` has it, and for its reason.
WORD = "coalesce(log.notes ~* %s, false)"
# Names are looked up row by row, each by its id: PostgreSQL takes longer to choose an order for six tables to join than
# for the fifty rows of a page.
SHOWN = {
    **{
        name: f"log.{name}"
        for name in (
            *("id", "spent_date", "seconds", "notes", "billable", "hourly_rate", "source"),
            *("sync_state", "sync_detail", "settled_at", "owner_id"),
        )
    },
    "client_name": "(SELECT name FROM clients_client WHERE id = log.client_id)",
    "project_name": "(SELECT name FROM clients_project WHERE id = log.project_id)",
    "work_item_key": "(SELECT key FROM timelogs_workitem WHERE id = log.work_item_id)",
    "activity_type_name": "(SELECT name FROM timelogs_activitytype WHERE id = log.activity_type_id)",
    "owner_name": "(SELECT coalesce(nullif(name, ''), email) FROM accounts_user WHERE id = log.owner_id)",
}
ROWS = f"""
SELECT {", ".join(SHOWN.values())} FROM timelogs_timelog AS log WHERE {{where}}
ORDER BY log.spent_date {{way}}, log.id {{way}} LIMIT {{limit}}
"""  # noqa: S608 - own names
ALL = "log.workspace_id = $1 AND log.deleted_at IS NULL"
TOTALS = f"SELECT {SUMS_OF_LOGS} FROM timelogs_timelog AS log WHERE {{where}}"  # noqa: S608 - own names
Row = dict[str, Any]


def _where(workspace: Workspace, conditions: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Of logs that meet every condition given (`CONDITIONS`, `q`), the SQL and its values: live ones unless `deleted`.

    `from, to`: dates, both included; `billable, settled, deleted`: booleans; `q`: beginnings of words in the notes.
    """
    texts, values = ["log.workspace_id = %s"], list[Any]([workspace.id])
    if not conditions.get("deleted"):
        texts.append("log.deleted_at IS NULL")  # as the indexes have it
    for name, value in conditions.items():
        if name == "q":
            patterns = patterns_of(value)
            texts += [WORD] * len(patterns)
            values += patterns
        else:
            texts.append(CONDITIONS[name])
            values.append(value)
    return " AND ".join(texts), values


def page_of(
    workspace: Workspace, conditions: Mapping[str, Any], *, cursor: str | None = None, size: int = 50
) -> keyset.Page[Row]:
    """A page of the logs that meet the conditions, newest first: of each what the list shows (`SHOWN`), as a dict.

    Raises Invalid for a cursor of something else.
    """
    where, values = _where(workspace, conditions)

    def fetch(position: Sequence[Any], falling: bool, limit: int) -> list[Row]:
        if not conditions and not position:  # the first page of all, which is asked for most
            first = ROWS.format(where=ALL, way="DESC", limit=limit)
            return _dicts(prepared.fetch(f"timelogs_newest_{limit}", first, [workspace.id]))
        beyond = f" AND (log.spent_date, log.id) {'<' if falling else '>'} (%s, %s)" if position else ""
        question = ROWS.format(where=where + beyond, way="DESC" if falling else "ASC", limit=limit)
        with connection.cursor() as database:
            database.execute(question, [*values, *position])
            return _dicts(database.fetchall())

    def read(texts: Sequence[str]) -> Sequence[Any]:
        day, id = texts
        return date.fromisoformat(day), UUID(id)

    return keyset.page_by(fetch, read, order=NEWEST, cursor=cursor, size=size)


def _dicts(rows: Iterable[Sequence[Any]]) -> list[Row]:
    return [dict(zip(SHOWN, row, strict=True)) for row in rows]


def summary_of(workspace: Workspace, conditions: Mapping[str, Any]) -> Totals:
    """The totals of the logs that meet the conditions, in one query: by the months' totals if these can tell."""
    if conditions.keys() <= KEPT:
        return kept_totals(workspace, conditions)
    where, values = _where(workspace, conditions)
    with connection.cursor() as database:
        database.execute(TOTALS.format(where=where), values)
        return Totals.of(*database.fetchone())
