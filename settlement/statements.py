"""Writing statements: drafting, issuing, voiding; each is a line of the audit trail.

Why no log is ever on two live statements: a draft holds nothing; issuing writes an entry for each log that the draft
takes, and the database lets each log be held by one entry (`settlement_entry_log_once`). A client has one draft at a
time, so two issues meet on a log only where a log changes its client between them, and there the row locks decide.

Why nothing slips: issuing locks the draft, then all the logs that it deals with in the order of their ids (as everybody
does, so that no two wait for each other), and reads their values after that.
An edit that came first is waited for, and its outcome is what is issued; one that comes after finds the log settled and
is refused. A log made meanwhile is a late one: for the next statement.

Why the numbers have no gaps: the counter's row is locked last and written in the issuing transaction; what is rolled
back took no number. A void statement keeps its own.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.audit import record_audit
from accounts.bulk import copy_rows
from accounts.errors import Forbidden, InUse, Invalid, ServiceError
from accounts.ids import uuid7_texts
from accounts.models import Membership, Workspace
from clients.models import Client
from settlement.models import Statement, StatementCounter, StatementEntry, StatementStatus
from settlement.signals import time_released
from settlement.statement_math import TIME, Sheet
from settlement.statement_selectors import (
    Entry,
    adjustment_entries,
    budgets_of,
    entries_from,
    free_adjustments,
    issued_entries,
    lines_of,
    logs_for,
)
from timelogs.models import TimeLog
from timelogs.services import EARLIEST, LATEST

NOTHING = (
    "There is nothing to settle: no time of this client in this period that is not on a statement already. "
    "Choose another period, or log the time first."
)


class DraftExists(ServiceError):
    """The client has a draft already: `statement` says which."""

    slug = "draft-exists"


class NotDraft(ServiceError):
    slug = "not-a-draft"


class NotIssued(ServiceError):
    slug = "not-issued"


def draft_statement(
    *, workspace: Workspace, by: Membership, client: Client, from_date: date, to_date: date
) -> Statement:
    """Make a client's draft for a period, both days included. Raises Forbidden, Invalid, DraftExists."""
    _check_may_settle(by)
    _check_period(from_date, to_date)
    statement = Statement(workspace=workspace, client=client, from_date=from_date, to_date=to_date)
    try:
        with transaction.atomic():
            statement.save(force_insert=True)
    except IntegrityError as error:
        if "settlement_statement_one_draft" not in str(error):
            raise
        there = Statement.objects.get(workspace=workspace, client=client, status=StatementStatus.DRAFT)
        raise DraftExists(
            f"{client} has a draft already, {there.from_date} to {there.to_date}: issue it, change its "
            "period, or delete it first.",
            statement=str(there.id),
        ) from error
    _record("drafted", statement, by, period=_period(statement))
    return statement


def change_period(
    *, statement: Statement, by: Membership, from_date: date | None = None, to_date: date | None = None
) -> Statement:
    """Give a draft another first or last day. Raises Forbidden, Invalid, NotDraft."""
    _check_may_settle(by)
    statement = _locked(statement)
    _expect_draft(statement, "changed")
    before = _period(statement)
    statement.from_date = from_date or statement.from_date
    statement.to_date = to_date or statement.to_date
    _check_period(statement.from_date, statement.to_date)
    statement.save(update_fields=["from_date", "to_date"])
    if (after := _period(statement)) != before:
        _record("changed", statement, by, before={"period": before}, after={"period": after})
    return statement


def delete_draft(*, statement: Statement, by: Membership) -> None:
    """Delete a draft; the time stays as it is. Raises Forbidden, NotDraft."""
    _check_may_settle(by)
    statement = _locked(statement)
    _expect_draft(statement, "deleted")
    _record("deleted", statement, by, period=_period(statement))
    statement.delete()


def issue_statement(*, statement: Statement, by: Membership) -> Statement:
    """Number a draft and freeze it, with its entries; its logs are settled from now on.

    Raises Forbidden, NotDraft, and Invalid where there is nothing to settle. See the module for what is locked when.
    """
    _check_may_settle(by)
    statement = _locked(statement)
    _expect_draft(statement, "issued again")
    workspace = statement.workspace
    free = free_adjustments(workspace, [statement.client_id])
    # The logs that it takes and those that are adjusted, all of them in one order, as a void and a sync lock theirs;
    # and an adjustment's log before it, as Inbound does: neither a decision nor a void of its statement comes between.
    ids = [*logs_for(statement).values_list("id", flat=True), *free.values_list("time_log_id", flat=True)]
    locked = TimeLog.objects.filter(workspace=workspace, id__anyof=ids)
    list(locked.select_for_update().order_by("id").values_list("id"))
    # What the locks waited for is found as it was left: a log that left the period or the client meanwhile is not.
    logs = logs_for(statement).filter(id__anyof=ids)
    adjustments = list(free.filter(time_log__id__anyof=ids).select_for_update(of=("self",)))
    entries = entries_from(logs.order_by("id"))
    entries += adjustment_entries(workspace, adjustments, [statement])[statement.id]
    if not entries:
        raise Invalid({"detail": [NOTHING]})
    sheet = Sheet.of(
        statement.client.name,
        workspace.currency,
        lines_of(entries, workspace.currency),
        budgets_of(statement, logs),
    )
    _write(statement, entries)
    now = timezone.now()
    logs.update(settled_at=now)
    statement.status, statement.frozen = StatementStatus.ISSUED, sheet.as_json()
    statement.issued_at, statement.issued_by = now, by.user
    statement.number = _next_number(workspace)
    statement.save(update_fields=["status", "frozen", "issued_at", "issued_by", "number"])
    _record(
        "issued",
        statement,
        by,
        period=_period(statement),
        amount=f"{sheet.amount} {sheet.currency}",
        entries=len(entries),
    )
    return statement


def void_statement(*, statement: Statement, by: Membership) -> Statement:
    """Take an issued statement back: its logs are free for another one, its number stays used.

    Raises Forbidden, NotIssued, and InUse while a later statement makes good an adjustment of time on this one: the
    time would come again as it is now, and the difference would be settled twice.
    """
    _check_may_settle(by)
    statement = _locked(statement)
    if statement.status != StatementStatus.ISSUED:
        was = "is void already" if statement.status == StatementStatus.VOID else "is a draft: delete it"
        raise NotIssued(f"{statement} {was}.")
    held = issued_entries(statement).filter(time_log__isnull=False).values("time_log_id")
    # Locked as issuing does, so that an adjustment that is being settled meanwhile is seen.
    released = list(
        TimeLog.objects.select_for_update()
        .filter(workspace_id=statement.workspace_id, id__in=held)
        .order_by("id")
        .values_list("id", flat=True)
    )
    later = (
        StatementEntry.objects.filter(workspace_id=statement.workspace_id, adjustment__time_log__in=held)
        .exclude(statement=statement)
        .values_list("statement__number", flat=True)
        .order_by("statement__number")
        .first()
    )
    if later is not None:
        raise InUse(f"Statement {later} adjusts time of this one. Void that one first.")
    TimeLog.objects.filter(workspace_id=statement.workspace_id, id__in=held).update(settled_at=None)
    issued_entries(statement).update(time_log=None, adjustment=None)
    statement.status = StatementStatus.VOID
    statement.voided_at, statement.voided_by = timezone.now(), by.user
    statement.save(update_fields=["status", "voided_at", "voided_by"])
    _record("voided", statement, by)
    if released:
        time_released.send(Statement, workspace_id=statement.workspace_id, time_log_ids=released)
    return statement


# --- Inside ----------------------------------------------------------------------------------------------------------
def _record(deed: str, statement: Statement, by: Membership, **data: Any) -> None:
    record_audit(
        workspace=statement.workspace,
        actor=by.user,
        action=f"statement.{deed}",
        target=f"{statement}, {statement.client}",
        statement=statement.id,
        **data,
    )


def _period(statement: Statement) -> str:
    return f"{statement.from_date} → {statement.to_date}"


def _write(statement: Statement, entries: list[Entry]) -> None:
    """Insert the entries, each under an id of its own, in the order that they had in the draft."""
    entries = sorted(entries, key=lambda one: one.id)
    columns = ["id", "workspace_id", "statement_id", "time_log_id", "adjustment_id", *Entry._fields[1:]]
    rows = (
        (
            key,
            statement.workspace_id,
            statement.id,
            one.source if one.kind == TIME else None,
            one.source if one.kind != TIME else None,
            *one[1:],
        )
        for key, one in zip(sorted(uuid7_texts(len(entries))), entries, strict=True)
    )
    copy_rows(StatementEntry, columns, rows)


def _next_number(workspace: Workspace) -> int:
    """The next number, its counter locked until the transaction ends: who comes next waits for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO settlement_statementcounter (id, workspace_id, next_number) VALUES (%s, %s, 2)"
            " ON CONFLICT (workspace_id) DO UPDATE"
            " SET next_number = settlement_statementcounter.next_number + 1 RETURNING next_number - 1",
            [StatementCounter().id, workspace.id],
        )
        row = cursor.fetchone()
    return int(row[0])


def _check_may_settle(by: Membership) -> None:
    if not by.can_manage:
        raise Forbidden("Admins and designers settle. Ask one of them.")


def _check_period(from_date: date, to_date: date) -> None:
    errors: dict[str, list[str]] = {}
    for name, day in (("from", from_date), ("to", to_date)):
        if not EARLIEST <= day <= LATEST:
            errors[name] = ["Give a date between 1970 and 2199."]
    if not errors and to_date < from_date:
        errors["to"] = ["The period ends before it begins."]
    if errors:
        raise Invalid(errors)


def _locked(statement: Statement) -> Statement:
    """The statement's row as it is now, locked until the transaction ends."""
    return (
        Statement.objects.select_for_update(of=("self",))
        .select_related("client", "workspace")
        .get(pk=statement.pk, workspace_id=statement.workspace_id)
    )


def _expect_draft(statement: Statement, deed: str) -> None:
    if not statement.is_draft:
        raise NotDraft(f"{statement} is {statement.get_status_display().lower()}: it cannot be {deed}.")
