"""What row-level security costs on the two hottest queries: the same statements, side by side, with it on and off.

.venv/bin/python -m tests.benchmarks.row_security [LOGS [WORKSPACES]]

The queries: the page of time logs (one workspace's, newest first, with what they refer to), and the import's look-up of
links (2,000 entry ids of a page). On, they run as the product runs them, in a tenant scope. Off, the tables' owner has
taken the policies off; the scope's transaction and its setting are there all the same, so that the ratio is that of the
policies alone. The last column leaves the scope out too: what a scope and its policies cost together. By turns; the
best and, in brackets, the median of many rounds. Statements with their rows fetched, without the ORM, which would hide
a difference. Target: at most 1.2.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.setting import servers

ROUNDS = 60
TABLES = (
    "timelogs_timelog", "timelogs_workitem", "timelogs_activitytype", "clients_client", "clients_project",
    "integrations_synclink", "accounts_membership", "accounts_workspace",
)  # fmt: skip
PAGE, IDS = 51, 2000


@contextmanager
def walls_down() -> Iterator[None]:
    """Without row-level security on these tables."""
    from django.db import connection

    def alter(words: str) -> None:
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table} {words}")

    alter("DISABLE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        alter("ENABLE ROW LEVEL SECURITY")


def link_everything(workspace_id: Any) -> list[str]:
    """A link for each log of a workspace, as an import leaves them. Returns the ids of one page of entries."""
    from django.db import connection

    from accounts.tenancy import tenant_scope

    with tenant_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO integrations_synclink (id, workspace_id, provider, account_id, external_id, time_log_id,"
            " remote_hash, remote_user_id, created_at) SELECT gen_random_uuid(), workspace_id, 'harvest', '880123',"
            " row_number() OVER (), id, '', '', now() FROM timelogs_timelog WHERE workspace_id = %s",
            [workspace_id],
        )
        count = cursor.rowcount
    return [str(number) for number in range(1, min(IDS, count) + 1)]


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    workspaces = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with servers():
        from django.db import connection

        from accounts.tenancy import tenant_scope
        from integrations.models import SyncLink
        from tests.benchmarks.logs import fill
        from timelogs.selectors import time_logs_of

        people = fill(workspaces, count // workspaces)
        admin = people[0]
        for person in people[:: max(1, workspaces // 10)]:
            ids = link_everything(person.workspace_id)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        page = time_logs_of(admin.workspace).order_by("-spent_date", "-id")[:PAGE]
        links = SyncLink.objects.filter(
            workspace=admin.workspace, provider="harvest", account_id="880123", external_id__in=ids
        ).values_list("external_id", "time_log_id", "remote_hash")

        def asking(rows: Any) -> Callable[[], int]:
            sql, values = rows.query.sql_with_params()

            def ask() -> int:
                with connection.cursor() as cursor:
                    cursor.execute(sql, values)
                    return len(cursor.fetchall())

            return ask

        def scoped(query: Callable[[], int]) -> Callable[[], int]:
            def run() -> int:
                with tenant_scope(admin.workspace_id):
                    return query()

            return run

        print(
            f"{count:,} time logs in {workspaces} workspaces; {ROUNDS} rounds by turns; best (median) in ms"
        )
        print(f"{'':28}{'on':>16}{'off':>16}{'ratio':>14}{'beyond no scope':>18}")
        for name, rows in (("time logs, a page of 50", page), ("links of 2,000 entries", links)):
            query = asking(rows)
            run = scoped(query)
            assert run() > 0, name
            with walls_down():
                assert run() == query() > 0
            on: list[float] = []
            off: list[float] = []
            bare: list[float] = []
            for _ in range(6):  # by turns: switching is slow, so several at a time
                on += [timed(run) for _ in range(ROUNDS // 6)][1:]
                with walls_down():
                    off += [timed(run) for _ in range(ROUNDS // 6)][1:]
                    bare += [timed(query) for _ in range(ROUNDS // 6)][1:]
            texts = [f"{min(one):.2f} ({statistics.median(one):.2f})" for one in (on, off)]
            ratio = f"{min(on) / min(off):.2f} ({statistics.median(on) / statistics.median(off):.2f})"
            print(f"{name:28}{texts[0]:>16}{texts[1]:>16}{ratio:>14}{min(on) / min(bare):>18.2f}")


if __name__ == "__main__":
    main()
