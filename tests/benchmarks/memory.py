"""How much memory a worker's process takes to import an account: it should not grow with the account.

.venv/bin/python -m tests.benchmarks.memory [ENTRIES ...]

Each size in a process of its own, as Celery's are, against servers and a Harvest in others. What is printed is the most
that was resident at any moment (VmHWM), and of that what the process took before the import began.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.setting import connected_workspace, harvest, servers

SIZES = [10_000, 100_000]


def megabytes() -> float:
    """The most that this process has had resident. Unlike ru_maxrss it begins anew with each program."""
    status = Path("/proc/self/status").read_text().splitlines()
    [line] = [one for one in status if one.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def work(workspace_id: str, run_id: str) -> None:
    """What the worker does, in this process."""
    from uuid import UUID

    import django

    django.setup()
    import harvest.importing
    import harvest.tasks  # as a worker has it loaded, and by it Celery

    before = megabytes()
    harvest.importing.execute_run(workspace_id=UUID(workspace_id), run_id=UUID(run_id))
    print(before, megabytes())


def queued_run(connection: Any) -> Any:
    from accounts.tenancy import tenant_scope
    from integrations.models import RunKind
    from integrations.runs import start_run

    today = connection.workspace.today()
    with tenant_scope(connection.workspace_id):
        return start_run(
            connection=connection, kind=RunKind.IMPORT, from_date=today - timedelta(days=3600), to_date=today
        )


def imported(run: Any) -> int:
    from accounts.tenancy import tenant_scope
    from integrations.models import SyncRun
    from integrations.runs import counts_of, represent

    with tenant_scope(run.workspace_id):
        row = SyncRun.objects.get(id=run.id)
        count: int = represent(row, counts_of([row])[row.id])["imported"]
    return count


def main(sizes: list[int]) -> None:
    with servers():
        print(f"{'entries':>12}{'before':>10}{'at most':>10}")
        for size in sizes:
            with harvest(size) as address:
                run = queued_run(connected_workspace(address))
                said = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "tests.benchmarks.memory",
                        "work",
                        str(run.workspace_id),
                        str(run.id),
                    ],
                    env={**os.environ, "HARVEST_API_URL": f"{address}/v2", "HARVEST_ID_URL": address},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                ).stdout.split()
            assert imported(run) == size
            before, most = map(float, said)
            print(f"{size:12,}{before:7.0f} MB{most:7.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
    else:
        main([int(text.replace("_", "")) for text in sys.argv[1:]] or SIZES)
