"""What the tests of statements share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Membership, Workspace
from accounts.tenancy import tenant_scope
from clients.models import Client
from inbound.models import Adjustment, AdjustmentKind, AdjustmentStatus
from settlement.models import Statement
from settlement.statement_math import Sheet
from settlement.statement_selectors import Entry, entries_of, sheet_of, statements_of
from settlement.statements import draft_statement, issue_statement, void_statement
from timelogs.models import TimeLog

FIRST, LAST = date(2026, 6, 1), date(2026, 6, 30)


def draft(by: Membership, client: Client, first: date = FIRST, last: date = LAST) -> Statement:
    with tenant_scope(by.workspace_id):
        return draft_statement(workspace=by.workspace, by=by, client=client, from_date=first, to_date=last)


def issue(by: Membership, statement: Statement) -> Statement:
    with tenant_scope(by.workspace_id):
        return issue_statement(statement=statement, by=by)


def void(by: Membership, statement: Statement) -> Statement:
    with tenant_scope(by.workspace_id):
        return void_statement(statement=statement, by=by)


def issued(by: Membership, client: Client, first: date = FIRST, last: date = LAST) -> Statement:
    return issue(by, draft(by, client, first, last))


def fresh(workspace: Workspace, statement: Statement) -> Statement:
    with tenant_scope(workspace.id):
        return statements_of(workspace).get(pk=statement.pk)


def sheet(workspace: Workspace, statement: Statement) -> Sheet:
    """A statement's figures as they are now."""
    with tenant_scope(workspace.id):
        return sheet_of(statements_of(workspace).get(pk=statement.pk))


def entries(workspace: Workspace, statement: Statement) -> list[Entry]:
    with tenant_scope(workspace.id):
        return entries_of(statements_of(workspace).get(pk=statement.pk))


def figures(found: Sheet) -> list[tuple[str, str, str, str, str, bool, str]]:
    """Each line as (kind, project, activity type, hours, rate, billable, amount)."""
    return [
        (
            one.kind, one.project_name, one.activity_type_name, str(one.hours), str(one.rate), one.billable,
            str(one.amount),
        )
        for one in found.lines
    ]  # fmt: skip


def make_adjustment(log: TimeLog, *parts: tuple[int, str], **values: Any) -> Adjustment:
    """An accepted adjustment of a settled log; parts: (seconds, rate), at the log's own place."""
    with tenant_scope(log.workspace_id):
        log = TimeLog.objects.get(pk=log.pk)
        rates = [Decimal(rate) for _, rate in parts] or [log.hourly_rate]
        return Adjustment.objects.create(
            **{
                "workspace_id": log.workspace_id,
                "time_log": log,
                "client_id": log.client_id,
                "kind": AdjustmentKind.CHANGED,
                "before": {"notes": log.notes},
                "after": {"notes": "As Harvest has it"},
                "seconds_delta": sum(seconds for seconds, _ in parts),
                "parts": [
                    {
                        "project": str(log.project_id) if log.project_id else None,
                        "activity_type": str(log.activity_type_id) if log.activity_type_id else None,
                        "hourly_rate": rate,
                        "billable": log.billable,
                        "seconds": seconds,
                    }
                    for seconds, rate in parts
                ],
                "hourly_rate": rates[-1],
                "billable": log.billable,
                "spent_date": log.spent_date,
                "external_id": "1",
                "status": AdjustmentStatus.ACCEPTED,
                "decided_at": timezone.now(),
                **values,
            }
        )


def at_once(jobs: list[Callable[[], Any]], *, threads: int = 10) -> list[Any]:
    """Run jobs in threads with connections of their own; what each returned, or the exception it raised."""

    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, jobs))


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(count)]
