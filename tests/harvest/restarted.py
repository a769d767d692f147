"""A run whose database goes away in the middle: says when it is there, waits for a line, and prints how it ended.

`python -m tests.harvest.restarted`, with a database of its own in the environment. It works on the run as the worker
and the sweep do: what fails is tried again once the lease is over.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.db import InterfaceError, OperationalError, connection

    from harvest import importing
    from harvest.sandbox import Sandbox, SandboxServer
    from tests.harvest.conftest import build_studio
    from timelogs.models import TimeLog

    settings.HARVEST_PAGE_SIZE, settings.HARVEST_RUN_LEASE_SECONDS = 10, 1
    with SandboxServer(Sandbox.empty(rate_limit=False)) as server:
        settings.HARVEST_API_URL, settings.HARVEST_ID_URL = server.api_url, server.base_url
        studio = build_studio(server.sandbox)
        studio.map("projects", {"Website": studio.projects["Website"]})
        studio.map("tasks", {"Design": studio.types["Design"]})
        for number in range(60):
            studio.add_entry("Website", "Design", f"2026-06-{number % 12 + 1:02d}", "1.00", f"No. {number}")
        run = studio.start("2026-06-01", "2026-06-12")
        real, pages = importing.write_prepared, 0

        def tell(*args: Any) -> None:
            nonlocal pages
            pages += 1
            if pages == 3:
                print("page", flush=True)
                sys.stdin.readline()
            real(*args)

        importing.write_prepared = tell
        interruptions = 0
        for _ in range(60):
            try:
                importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
                if studio.reload(run).state not in ("queued", "running"):
                    break
            except (OperationalError, InterfaceError):
                interruptions += 1
                connection.close()
            time.sleep(0.5)
        shown = studio.shown(run)
        with studio.scope():
            logs = TimeLog.objects.count()
        keys = ("state", "total", "imported", "failed", "skipped", "summary")
        print(json.dumps({"interruptions": interruptions, "logs": logs, **{key: shown[key] for key in keys}}))


if __name__ == "__main__":
    sys.exit(os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings") and main())
