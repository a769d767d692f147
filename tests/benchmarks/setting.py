"""What every measurement needs: servers of its own, a large Harvest in a process of its own, a connected workspace.

A measurement is a script, run as `.venv/bin/python -m tests.benchmarks.NAME`. It prints figures and ratios, and asserts
nothing of time: this machine's seconds are nobody else's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

ADMIN_TOKEN = "1000001.pt.sandbox-admin"
ACCOUNT = "880123"


@contextmanager
def servers(*, limited: bool = False) -> Iterator[None]:
    """PostgreSQL (durable, as in production) and Redis of one's own, migrated, with Django set up on them.

    limited: keep to Harvest's rate limit, which the sandboxes of most measurements do not have.
    """
    import tempfile
    from pathlib import Path

    from dev.services import Services

    with tempfile.TemporaryDirectory(prefix="timebridge-bench-") as directory:
        os.chmod(directory, 0o755)
        services = Services(Path(directory), durable=True, given={})
        services.start()
        try:
            os.environ.update(services.environment)
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
            os.environ["LOG_LEVEL"] = "WARNING"
            os.environ["HARVEST_RATE_LIMIT"] = "1" if limited else "0"
            for name in ("API_RATE_LIMIT", "SESSION_RATE_LIMIT"):
                os.environ[name] = "1000000/minute"  # counted as ever, and never reached
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            yield
        finally:
            services.stop()


@contextmanager
def harvest(entries: int) -> Iterator[str]:
    """A large Harvest without a rate limit, its answers in memory. Gives its base address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "harvest.sandbox",
            "--port",
            str(port),
            "--bulk",
            str(entries),
            "--no-rate-limit",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(address, timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        warm(address)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def warm(address: str) -> None:
    """Read everything once: the sandbox keeps each entry's JSON, so that what is measured is the reader."""
    url: str | None = f"{address}/v2/time_entries?per_page=2000"
    with httpx.Client(headers=headers(), timeout=60) as client:
        while url:
            url = client.get(url).json()["links"]["next"]


def headers() -> dict[str, str]:
    return {
        "Authorization": f"Bearer {ADMIN_TOKEN}",
        "Harvest-Account-Id": ACCOUNT,
        "User-Agent": "Timebridge benchmark (bench@timebridge.example)",
    }


def connected_workspace(address: str) -> Any:
    """A pro workspace connected to that Harvest, with every client, project and task mapped. Returns the connection."""
    from django.conf import settings

    from accounts.services import create_workspace
    from accounts.tenancy import tenant_scope
    from harvest.catalogue import refresh_catalogue
    from harvest.credentials import check_token, save_connection
    from harvest.mappings import KINDS, create_missing
    from harvest.models import HarvestItem

    settings.HARVEST_API_URL, settings.HARVEST_ID_URL = f"{address}/v2", address
    admin = create_workspace(
        name="Bench",
        email=f"bench-{time.time_ns()}@bench.example",
        password="correct horse battery",
        plan="pro",
    )
    credentials = check_token(account_id=ACCOUNT, access_token=ADMIN_TOKEN)
    with tenant_scope(admin.workspace_id):
        connection = save_connection(workspace=admin.workspace, by=admin.user, credentials=credentials)
    connection.workspace = admin.workspace
    refresh_catalogue(admin.workspace, connection)
    with tenant_scope(admin.workspace_id):
        for slug in ("clients", "projects", "tasks"):
            ids = HarvestItem.objects.filter(kind=KINDS[slug].item_kind).values_list("harvest_id", flat=True)
            create_missing(
                workspace=admin.workspace,
                connection=connection,
                kind=KINDS[slug],
                harvest_ids=list(ids),
                by=admin.user,
            )
    return connection


def import_everything(connection: Any) -> tuple[float, dict[str, Any]]:
    """One import of the whole account, in this process. Returns seconds from start to last commit, and RUN."""
    from datetime import timedelta

    from accounts.tenancy import tenant_scope
    from harvest.importing import execute_run
    from integrations.models import RunKind, SyncRun
    from integrations.runs import counts_of, represent, start_run

    today = connection.workspace.today()
    with tenant_scope(connection.workspace_id):
        run = start_run(
            connection=connection, kind=RunKind.IMPORT, from_date=today - timedelta(days=3600), to_date=today
        )
    began = time.perf_counter()
    execute_run(workspace_id=connection.workspace_id, run_id=run.id)
    seconds = time.perf_counter() - began
    with tenant_scope(connection.workspace_id):
        run = SyncRun.objects.get(id=run.id)
        return seconds, represent(run, counts_of([run])[run.id])
