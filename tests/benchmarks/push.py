"""How soon a saved log is in Harvest, and how fast many saved at once go out under the rate limit.

    .venv/bin/python -m tests.benchmarks.push [LOGS] [WORKERS] [SINGLE]

Real workers of Celery on a sandbox that counts requests as Harvest does (100 in 15 seconds), all on this machine; the
sandbox lives in the measuring process. First SINGLE logs are saved one by one, then LOGS at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from tests.benchmarks.night import workers
from tests.benchmarks.setting import connected_workspace, servers

PATIENCE = 600.0  # seconds
SWEEP_EVERY = 3.0  # seconds, as beat does


def furnish(sandbox: Any) -> None:
    account = sandbox.account
    project = account.add_project(account.add_client("Acme"), "Website")
    account.assign_task(project, account.add_task("Design"))
    account.assign_user(project, account.ids("users")[0])


def save(connection: Any, count: int, notes: str) -> None:
    """So many logs, each a person's own save, with nothing between them."""
    from accounts.models import Membership
    from accounts.tenancy import tenant_scope
    from clients.models import Project
    from timelogs.models import ActivityType
    from timelogs.services import record_time_log

    with tenant_scope(connection.workspace_id):
        by = Membership.objects.select_related("user", "workspace").get()
        project, kind = Project.objects.get(), ActivityType.objects.get()
    for number in range(count):
        with tenant_scope(connection.workspace_id):
            record_time_log(
                workspace=by.workspace,
                by=by,
                project=project,
                activity_type=kind,
                spent_date=date(2026, 6, 1) + timedelta(days=number % 28),
                seconds=1800,
                notes=f"{notes} {number}",
            )


@contextmanager
def sweeping() -> Iterator[None]:
    """What beat does, meanwhile."""
    from harvest.tasks import sweep_pushes

    over = threading.Event()

    def sweep() -> None:
        while not over.wait(SWEEP_EVERY):
            sweep_pushes.delay()

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_for(sandbox: Any, count: int) -> float:
    """Seconds until so many entries are there."""
    began = time.perf_counter()
    while len(sandbox.account.timesheet.entries) < count:
        if time.perf_counter() - began > PATIENCE:
            raise SystemExit("They do not arrive.")
        time.sleep(0.002)
    return time.perf_counter() - began


def main() -> None:
    count, concurrency, single = (
        int(given) if given else usual
        for given, usual in zip([*sys.argv[1:4], *[""] * 3], (1000, 2, 100), strict=False)
    )
    from harvest.sandbox import Sandbox, SandboxServer

    with servers(limited=True), SandboxServer(Sandbox.empty(name="Bench")) as server:
        from accounts.tenancy import tenant_scope
        from integrations.models import Connection, Direction

        sandbox = server.sandbox
        furnish(sandbox)
        connection = connected_workspace(server.base_url)
        with tenant_scope(connection.workspace_id):
            Connection.objects.update(direction=Direction.TWO_WAY)
        with workers(server.base_url, concurrency), sweeping():
            waits = []
            for number in range(single):
                save(connection, 1, f"One {number}")
                waits.append(wait_for(sandbox, number + 1))
                time.sleep(0.2)  # under the limit's pace: nobody waits for anybody
            waits.sort()
            print(
                f"one by one, {concurrency} workers: half within {waits[len(waits) // 2] * 1000:.0f} ms,"
                f" 95 % within {waits[int(len(waits) * 0.95)] * 1000:.0f} ms of the save"
            )
            time.sleep(16)  # the limit is all there again
            began = time.perf_counter()
            save(connection, count, "Many")
            saved = time.perf_counter() - began
            wait_for(sandbox, single + count)
            seconds = time.perf_counter() - began
            print(
                f"{count:,} at once: saved in {saved:.1f} s, in Harvest after {seconds:.1f} s,"
                f" {count / seconds:.2f} a second; {sandbox.rate_limit.refused} answered with 429"
            )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    main()
