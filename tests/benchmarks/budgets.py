"""How quickly the budgets of a thousand clients are told over a million logs, and what that costs whoever writes logs.

.venv/bin/python -m tests.benchmarks.budgets [LOGS [CLIENTS]]

One workspace, two projects a client, three years of time. Reading: the database's own time (EXPLAIN ANALYZE) of the one
query for all budgets, and of a plain sum of the logs for the same, the best of several rounds. Writing: pages of 2,000
logs by INSERT … SELECT as an import's, with the triggers that keep the totals and without them, by turns: the processor
time of the database, for pages whose logs share few totals, and for one where each log is alone in its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.benchmarks.setting import servers

ROUNDS, PAGE, PAGES = 7, 2000, 20
DAYS = 1095

PLAIN = """
SELECT b.id, sum(l.seconds), sum(l.seconds * l.hourly_rate) FILTER (WHERE l.billable)
FROM settlement_budget b LEFT JOIN timelogs_timelog l ON l.workspace_id = b.workspace_id AND l.client_id = b.client_id
    AND l.deleted_at IS NULL AND l.spent_date BETWEEN %s AND %s
WHERE b.id = ANY(%s) GROUP BY b.id
"""
INSERT = """
INSERT INTO timelogs_timelog (id, workspace_id, client_id, project_id, owner_id, spent_date, seconds, notes, billable,
    hourly_rate, source, sync_state, sync_detail, created_at, updated_at)
SELECT uuidv7(), %(workspace)s, (%(clients)s::uuid[])[1 + project / 2], (%(projects)s::uuid[])[1 + project], %(owner)s,
    %(today)s::date - (n::bigint * 7919 %% %(days)s)::int, 900 + n::bigint * 997 %% 26100,
    'Some notes of a usual length, as people write',
    n %% 4 > 0, 80 + n %% 6 * 10, 'manual', 'none', '', now(), now()
FROM (SELECT n, (n::bigint * 104729 %% %(count)s)::int AS project
    FROM generate_series(%(first)s, %(last)s) AS n) AS numbers
"""


def main(logs: int, clients: int) -> None:
    with servers():
        from accounts.services import create_workspace
        from accounts.tenancy import tenant_scope

        admin = create_workspace(name="Large", email="a@large.example", plan="pro")
        with tenant_scope(admin.workspace_id):
            place = furnish(admin, clients)
        fill(admin, place, logs)
        print(f"{logs:,} logs of {clients:,} clients, {size('timelogs_monthtotal')} of totals")
        read(admin)
        for projects in (20, 200, 2 * clients):
            write(admin, place, projects)


def furnish(admin: Any, clients: int) -> dict[str, Any]:
    """Clients with two projects and four budgets each: by month, rolling over, and two for once over two years."""
    from accounts.ids import uuid7
    from clients.models import Client, Project
    from settlement.models import Budget

    workspace, today = admin.workspace, admin.workspace.today()
    made = Client.objects.bulk_create(
        Client(id=uuid7(), workspace=workspace, name=f"Client {one}") for one in range(clients)
    )
    projects = Project.objects.bulk_create(
        Project(id=uuid7(), workspace=workspace, client=made[one // 2], name=f"Project {one}")
        for one in range(2 * clients)
    )
    middle = (today.replace(day=1) - timedelta(days=720)).replace(day=12)
    kinds = (
        {"period": "monthly", "unit": "hours"},
        {"period": "monthly", "unit": "money", "rollover": "all", "starts_on": middle.replace(day=1)},
        {"period": "once", "unit": "money", "starts_on": middle, "ends_on": middle + timedelta(days=730)},
        {
            "period": "once",
            "unit": "hours",
            "starts_on": middle.replace(day=1),
            "ends_on": date(today.year, 12, 31),
        },
    )
    Budget.objects.bulk_create(
        Budget(id=uuid7(), workspace=workspace, client=client, amount=Decimal(40), **kind)
        for kind in kinds for client in made
    )  # fmt: skip
    return {
        "workspace": workspace.id,
        "clients": [one.id for one in made],
        "projects": [one.id for one in projects],
        "owner": admin.user_id,
        "today": today,
        "days": DAYS,
        "count": 2 * clients,
    }


def fill(admin: Any, place: dict[str, Any], logs: int) -> None:
    """The logs, in large statements, merged and analysed as by the sweep and by autovacuum."""
    from django.db import connection

    from accounts.tenancy import tenant_scope
    from timelogs.totals import merge_totals

    for first in range(1, logs + 1, 50_000):
        with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
            cursor.execute(INSERT, {**place, "first": first, "last": min(first + 49_999, logs)})
    with tenant_scope(admin.workspace_id):
        began = time.perf_counter()
        merged = merge_totals(admin.workspace_id)
        print(f"merging {merged:,} rows: {time.perf_counter() - began:.2f} s")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def size(table: str) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint, pg_size_pretty(pg_total_relation_size(oid)) FROM pg_class WHERE relname = %s",
            [table],
        )
        rows, space = cursor.fetchone()
    return f"{rows:,} rows ({space})"


# --- Reading ---------------------------------------------------------------------------------------------------------
def read(admin: Any) -> None:
    from accounts.tenancy import tenant_scope
    from settlement.budget_selectors import budgets_of, standings
    from timelogs import totals

    with tenant_scope(admin.workspace_id):
        kinds: dict[tuple[str, str], list[Any]] = {}
        for one in budgets_of(admin.workspace):
            name = "monthly, rolling over" if one.rollover == "all" else one.period
            kinds.setdefault((name, one.unit), []).append(one)
    for (name, unit), budgets in kinds.items():
        with tenant_scope(admin.workspace_id):
            best = whole = plain = 1e9
            for _ in range(ROUNDS):
                with patch.object(
                    totals, "SUMS", "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + totals.SUMS
                ):
                    best = min(best, explained(partial(standings, admin.workspace, budgets)))
                began = time.perf_counter()
                found = standings(admin.workspace, budgets)
                whole = min(whole, time.perf_counter() - began)
                period = found[0].period
                plain = min(plain, plain_sum(budgets, period.first, period.last))
        shown = f"{len(budgets):,} budgets, {name}, {unit}, {period.first} to {period.last}"
        print(
            f"{shown}: {best:.0f} ms; with all that follows in Python {whole * 1000:.0f} ms; a plain sum {plain:.0f} ms"
        )


def explained(work: Any) -> float:
    """The database's time of the one query that `work` makes, in ms."""
    from django.db import connection

    class Stop(Exception):
        pass

    took: list[float] = []

    def look(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if str(sql).startswith("EXPLAIN"):
            plan = context["cursor"].fetchone()[0]
            plan = json.loads(plan) if isinstance(plan, str) else plan
            took.append(plan[0]["Planning Time"] + plan[0]["Execution Time"])
            if "--plans" in sys.argv:
                print(json.dumps(plan, indent=1)[:6000])
            raise Stop
        return result

    with connection.execute_wrapper(look), contextlib.suppress(Stop):
        work()
    return took[0]


def plain_sum(budgets: list[Any], first: date, last: date) -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + PLAIN, [first, last, [one.id for one in budgets]]
        )
        plan = cursor.fetchone()[0]
        plan = json.loads(plan) if isinstance(plan, str) else plan
    return float(plan[0]["Planning Time"] + plan[0]["Execution Time"])


# --- Writing ---------------------------------------------------------------------------------------------------------
def write(admin: Any, place: dict[str, Any], projects: int) -> None:
    from django.db import connection, transaction

    from accounts.tenancy import tenant_scope
    from timelogs.models import MonthChange

    took = {True: 0.0, False: 0.0}
    changes = 0
    for number in range(2 * PAGES):
        keeping, first = number % 2 == 0, 10_000_000 + number * PAGE
        with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
            if not keeping:
                cursor.execute("ALTER TABLE timelogs_timelog DISABLE TRIGGER timelogs_month_totals_insert")
            cursor.execute("SELECT pg_backend_pid()")
            (server,) = cursor.fetchone()
            began = processor(server)
            cursor.execute(
                INSERT, {**place, "first": first, "last": first + PAGE - 1, "count": projects, "days": 30}
            )
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what the end of the transaction looks at
            took[keeping] += processor(server) - began
            changes = max(changes, MonthChange.objects.count())
            transaction.set_rollback(True)
    with_them, without = (took[one] / PAGES for one in (True, False))
    print(
        f"a page of {PAGE:,} logs of {projects:,} projects, {changes:,} changes of totals: {with_them:.0f} ms,"
        f" {without:.0f} ms without totals: {(with_them - without) / PAGE * 1000:.1f} µs a log"
    )


def processor(pid: int) -> float:
    """The processor time that a process has taken, in ms."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) * 1000 / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    main(*(numbers + [1_000_000, 1000][len(numbers) :]))
