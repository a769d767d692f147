"""A statement over ten thousand logs: drafting, looking at it, each file, issuing, voiding.

.venv/bin/python -m tests.benchmarks.statements [LOGS]

Among ten times as many logs, of three years. For each deed the database's time (of all its queries, as the client sees
it), all of the time, this process's processor time with that of those it starts, and the number of queries: the best of
some rounds. Then the same over a hundredth of the days.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.benchmarks.setting import servers

LOGS = 10_000
ROUNDS = 3


@dataclass(frozen=True)
class Figures:
    """Seconds, but for the queries."""

    database: float
    whole: float
    processor: float
    queries: int


def measured(deed: Callable[[], Any]) -> Figures:
    from django.db import connection

    spent: list[float] = []

    def timed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            spent.append(time.perf_counter() - begun)

    with connection.execute_wrapper(timed):
        begun, busy = time.perf_counter(), sum(os.times()[:4])  # a long PDF is set by a process of its own
        deed()
        whole, processor = time.perf_counter() - begun, sum(os.times()[:4]) - busy
    return Figures(sum(spent), whole, processor, len(spent))


def best(rounds: list[Figures]) -> Figures:
    return min(rounds, key=lambda one: one.whole)


def main(logs: int) -> None:
    from accounts.models import Membership
    from accounts.tenancy import tenant_scope
    from clients.models import Client
    from settlement.exports.report import Format, file_of
    from settlement.models import Statement
    from settlement.statement_selectors import entries_page, sheet_of, sheets_of
    from settlement.statements import draft_statement, issue_statement, void_statement
    from tests.benchmarks.logs import CLIENTS, DAYS, fill

    def run(admin: Membership, days: int) -> dict[str, Figures]:
        workspace = admin.workspace
        today = workspace.today()

        def again(statement: Statement) -> Statement:
            found = Statement.objects.select_related("client", "workspace").get(pk=statement.pk)
            found.workspace = found.client.workspace = workspace
            return found

        found: dict[str, list[Figures]] = {}
        for _ in range(ROUNDS):

            def note(name: str, deed: Callable[[], Any], noted: dict[str, list[Figures]] = found) -> None:
                with tenant_scope(workspace.id):
                    noted.setdefault(name, []).append(measured(deed))

            with tenant_scope(workspace.id):
                client = Client.objects.order_by("id")[0]
                one = draft_statement(
                    workspace=workspace,
                    by=admin,
                    client=client,
                    from_date=today - timedelta(days=days),
                    to_date=today,
                )
                one = again(one)
                entries = sheets_of(workspace, [one])[one.id].entries
            note("drafting: its lines and budgets", lambda one=one: sheet_of(one))
            note("a page of its entries", lambda one=one: entries_page(one))
            for format in Format:
                note(f"the draft as {format.label}", lambda one=one, format=format: file_of(one, format))
            note("issuing", lambda one=one: issue_statement(statement=one, by=admin))
            with tenant_scope(workspace.id):
                one = again(one)
            for format in Format:
                note(f"the issued one as {format.label}", lambda one=one, format=format: file_of(one, format))
            note("voiding", lambda one=one: void_statement(statement=one, by=admin))
        print(f"\n{entries:,} entries")
        return {name: best(rounds) for name, rounds in found.items()}

    [admin] = fill(1, logs * CLIENTS)
    for days in (DAYS, DAYS // 100):
        print_table(run(admin, days))


def print_table(found: dict[str, Figures]) -> None:
    print(f"{'':34}{'database':>10}{'all':>8}{'processor':>11}{'queries':>9}")
    for name, one in found.items():
        print(f"{name:34}{one.database:9.3f}s{one.whole:7.2f}s{one.processor:10.2f}s{one.queries:9}")


if __name__ == "__main__":
    with servers():
        main(int(sys.argv[1]) if len(sys.argv) > 1 else LOGS)
