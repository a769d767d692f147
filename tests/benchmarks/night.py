"""How many connections a second a night comes to: with changes, with one in ten failing, and seeing the same again.

    .venv/bin/python -m tests.benchmarks.night [CONNECTIONS] [WORKERS]

Real workers of Celery on a sandbox without its rate limit, all on this machine; the sandbox and PostgreSQL share its
processors with them. Besides the wall clock it tells the workers' own processor time, and their memory.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.setting import ACCOUNT, ADMIN_TOKEN, headers, servers

CHANGED = 20  # entries a connection
ENTRIES_A_DAY = 5


@contextmanager
def harvest() -> Iterator[str]:
    """A small Harvest in a process of its own: one client, project and task, and entries changed just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "harvest.sandbox", "--port", str(port), "--empty", "--no-rate-limit"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(address, timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def fill(address: str) -> None:
    with httpx.Client(base_url=f"{address}/v2/", headers=headers(), timeout=60) as client:

        def post(path: str, **body: Any) -> int:
            answer = client.post(path, json=body)
            answer.raise_for_status()
            return int(answer.json()["id"])

        project = post(
            "projects",
            client_id=post("clients", name="Acme"),
            name="Website",
            is_billable=True,
            bill_by="none",
            budget_by="none",
        )
        task = post("tasks", name="Design")
        post(f"projects/{project}/task_assignments", task_id=task)
        for number in range(CHANGED):
            post(
                "time_entries",
                project_id=project,
                task_id=task,
                spent_date=f"2026-06-{1 + number // ENTRIES_A_DAY:02}",
                hours=1.25,
                notes=f"What was done, number {number}",
            )


def connect(address: str, count: int, failing: Callable[[int], bool]) -> None:
    """So many workspaces, each connected to that account with everything mapped and automated sync on."""
    from django.conf import settings

    from accounts.services import create_workspace
    from accounts.tenancy import tenant_scope
    from harvest.catalogue import read_catalogue, store_catalogue
    from harvest.credentials import check_token, open_with, save_connection
    from harvest.mappings import KINDS, create_missing
    from harvest.models import HarvestItem
    from integrations.models import Connection

    settings.HARVEST_API_URL, settings.HARVEST_ID_URL = f"{address}/v2", address
    found = check_token(account_id=ACCOUNT, access_token=ADMIN_TOKEN)
    items = None
    for number in range(count):
        admin = create_workspace(name=f"Studio {number}", email=f"a{number}@bench.example", plan="pro")
        with tenant_scope(admin.workspace_id):
            connection = save_connection(workspace=admin.workspace, by=admin.user, credentials=found)
        if items is None:
            with open_with(account_id=ACCOUNT, access_token=ADMIN_TOKEN) as client:
                items = read_catalogue(client, connection)
        with tenant_scope(admin.workspace_id):
            store_catalogue(connection, items)
            for slug in ("projects", "tasks"):
                ids = HarvestItem.objects.filter(kind=KINDS[slug].item_kind)
                create_missing(
                    workspace=admin.workspace,
                    connection=connection,
                    kind=KINDS[slug],
                    harvest_ids=list(ids.values_list("harvest_id", flat=True)),
                    by=admin.user,
                )
            row = Connection.objects.get()
            row.auto_sync = True
            if failing(number):
                row.access_token = "1.pt.withdrawn"
            row.save()


@contextmanager
def workers(address: str, count: int) -> Iterator[list[int]]:
    """Celery with so many processes; gives their ids."""
    environment = {**os.environ, "HARVEST_API_URL": f"{address}/v2", "HARVEST_ID_URL": address}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "config", "worker", f"--concurrency={count}"),
            *("--without-mingle", "--without-gossip", "--loglevel=WARNING"),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while len(children := children_of(process.pid)) < count:
            time.sleep(0.1)
        time.sleep(3)
        yield children
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processor_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(pids: list[int]) -> str:
    sizes = [
        int(line.split()[1]) // 1024
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return " + ".join(map(str, sizes)) + " MB"


def night(pids: list[int]) -> tuple[int, float, float]:
    """Start everybody and wait for the end. Returns runs, seconds, and the workers' processor seconds."""
    from accounts.tenancy import SPAN_SWEEP, span
    from harvest.night import start_all
    from integrations.models import LIVE_STATES, SyncRun

    used, began = processor_seconds(pids), time.perf_counter()
    started = start_all().started
    while True:
        with span(SPAN_SWEEP, "bench"):
            if not SyncRun.objects.filter(state__in=LIVE_STATES).exists():
                break
        time.sleep(0.05)
    return started, time.perf_counter() - began, processor_seconds(pids) - used


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    concurrency = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with servers(), harvest() as address:
        fill(address)
        connect(address, count, failing=lambda number: number % 10 == 9)
        with workers(address, concurrency) as pids:
            print(f"{count:,} connections, {concurrency} workers; memory {megabytes(pids)}")
            for name in (
                f"{CHANGED} changed entries each, one in ten fails",
                "the same entries again, within their 24 hours",
            ):
                runs, seconds, used = night(pids)
                own = used / runs
                print(
                    f"  {name}: {runs:,} runs in {seconds:.1f} s, {runs / seconds:.0f} a second;"
                    f" {own * 1000:.1f} ms of a worker's time each, {concurrency / own:.0f} a second;"
                    f" memory {megabytes(pids)}"
                )


if __name__ == "__main__":
    main()
