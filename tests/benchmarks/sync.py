"""What a sync costs that looks for deletions among all links of a large account, with few changes in it.

.venv/bin/python -m tests.benchmarks.sync [LINKS] [CHANGES]

Half of the changes are edits, the others deletions. Told are the requests, the seconds on the wall, and this process's
own processor time: of the latter the sandbox, which answers, and PostgreSQL have no part.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import Any

import httpx

from tests.benchmarks.setting import connected_workspace, harvest, headers, import_everything, servers


def change(address: str, number: int) -> None:
    """Edit and delete entries, from the newest on."""
    with httpx.Client(base_url=f"{address}/v2/", headers=headers(), timeout=60) as client:
        rows = client.get("time_entries", params={"per_page": number}).json()["time_entries"]
        for index, row in enumerate(rows):
            if index % 2:
                client.delete(f"time_entries/{row['id']}").raise_for_status()
            else:
                body = {"hours": row["hours"] + 1}
                client.patch(f"time_entries/{row['id']}", json=body).raise_for_status()


def sync(connection: Any) -> tuple[float, float, dict[str, Any]]:
    """One *Sync now*, in this process: wall seconds, own processor seconds, RUN."""
    from accounts.tenancy import tenant_scope
    from harvest.importing import execute_run
    from integrations.models import RunKind, SyncRun
    from integrations.runs import counts_of, represent, start_run

    with tenant_scope(connection.workspace_id):
        run = start_run(connection=connection, kind=RunKind.SYNC)
    wall, own = time.perf_counter(), time.process_time()
    execute_run(workspace_id=connection.workspace_id, run_id=run.id)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    with tenant_scope(connection.workspace_id):
        run = SyncRun.objects.get(id=run.id)
        return wall, own, represent(run, counts_of([run])[run.id])


def main() -> None:
    links = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    changes = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with servers(), harvest(links) as address:
        import logging

        from harvest import sweep

        sweep.DAYS = 20_000  # all links, whatever their day
        connection = connected_workspace(address)
        _, imported = import_everything(connection)
        asked: Counter[str] = Counter()

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                words = record.getMessage().split()
                if words[0] in ("GET", "POST", "PATCH", "DELETE"):
                    asked[re.sub(r"\d{3,}", "ID", words[1])] += 1

        logger = logging.getLogger("harvest.client")
        logger.addHandler(Listener())
        logger.setLevel(logging.INFO)
        logger.propagate = False
        print(f"{imported['imported']:,} links")
        for title, number in (
            ("first, as it stands", 0),
            (f"{changes} changes", changes),
            ("the same again", 0),
        ):
            if number:
                change(address, number)
            asked.clear()
            wall, own, run = sync(connection)
            told = {name: run[name] for name in ("imported", "updated", "deleted", "unchanged") if run[name]}
            print(
                f"  {title:22} {wall:6.2f} s, own {own:5.2f} s, {sum(asked.values())} requests {dict(asked)}"
            )
            print(f"    {run['state']} {told} {run['attention'] or ''}")


if __name__ == "__main__":
    main()
