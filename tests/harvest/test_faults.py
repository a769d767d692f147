"""Runs that are struck down, each ending with the counts and rows of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dev.processes import end_with_parent
from dev.services import Services
from harvest import importing
from harvest.client import Patience
from harvest.importing import execute_run
from harvest.sandbox import Sandbox
from harvest.sandbox.faults import FaultKind
from harvest.undo import undo_run
from integrations.models import SyncLink, SyncRun
from tests.harvest.conftest import ROOT, Studio, build_studio, kill_at_random
from timelogs.models import TimeLog

KILLS = 50


def furnish(studio: Studio, entries: int) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.map("clients", {"Birch": studio.clients["Birch"]})
    for number in range(entries):
        studio.add_entry(
            ("Website", "Website", "App", "Loose")[number % 4],
            ("Design", "Design", "Code")[number % 3],
            f"2026-06-{number % 12 + 1:02d}",
            "1.25",
            f"No. {number}",
        )


def rows(studio: Studio) -> list[tuple[Any, ...]]:
    with studio.scope():
        return list(
            TimeLog.objects.order_by("external_id").values_list(
                "external_id", "client_id", "project_id", "activity_type_id", "seconds", "notes", "spent_date"
            )
        )


def told(studio: Studio, run: SyncRun) -> dict[str, Any]:
    shown = studio.shown(run)
    return {
        key: shown[key]
        for key in ("state", "total", "done", "imported", "proposed", "failed", "skipped", "summary")
    }


# --- Killed workers --------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_killed_workers(victims: subprocess.Popen[str], sandbox: Sandbox, settings: Any) -> None:
    """A worker is killed at a random moment of its run; another claims the run once the lease is over, and ends it."""
    settings.HARVEST_PAGE_SIZE = 10
    studio = build_studio(sandbox)
    furnish(studio, 90)
    began = time.monotonic()
    undisturbed = studio.import_window()
    seconds = time.monotonic() - began
    expected, logs = told(studio, undisturbed), rows(studio)
    assert (expected["state"], len(logs)) == ("succeeded", 31)
    chance = random.Random(50)
    struck = 0
    for _ in range(KILLS):
        with studio.scope():
            last = SyncRun.objects.latest("id")
            undo_run(workspace=studio.admin.workspace, by=studio.admin.user, run=last)
            assert SyncLink.objects.count() == 0
            SyncRun.objects.filter(id=last.id).delete()
        run = studio.start("2026-06-01", "2026-06-12")
        kill_at_random(victims, studio.workspace_id, run.id, after=chance.uniform(0, seconds * 1.2))
        struck += studio.reload(run).state == "running"
        with studio.scope():
            SyncRun.objects.filter(id=run.id, state="running").update(
                lease_until=timezone.now() - timedelta(seconds=1)
            )
        execute_run(workspace_id=studio.workspace_id, run_id=run.id)
        assert told(studio, run) == expected
        assert rows(studio) == logs
    assert struck >= KILLS // 5, "hardly any kill met a run at work"


# --- The database away -----------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_database_that_goes_away_in_the_middle(own_services: Services) -> None:
    """Restarted in good order, then killed; both in one test, as to migrate a database takes longer than either."""
    environment = {
        **os.environ,
        **own_services.environment,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "CRITICAL",
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=environment, check=True
    )
    postgres = own_services.postgres
    assert postgres is not None
    for go_away in (postgres.stop, postgres.kill):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.harvest.restarted"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "page\n"
        go_away()
        postgres.start()
        output, _ = process.communicate("go on\n", timeout=120)
        assert json.loads(output) == {
            "interruptions": 1,
            "logs": 60,
            "state": "succeeded",
            "total": 60,
            "imported": 60,
            "failed": 0,
            "skipped": [],
            "summary": "Imported 60 of 60 entries (2026-06-01 → 2026-06-12)",
        }, go_away


# --- Every fault on every page ---------------------------------------------------------------------------------------
PASSING = [kind for kind in FaultKind if kind is not FaultKind.UNAUTHORIZED]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", PASSING)
def test_every_fault_on_every_page(
    sandbox: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch, kind: FaultKind
) -> None:
    """It passes, and nothing shows of it."""
    settings.HARVEST_PAGE_SIZE = 10
    open_client = importing.open_client
    quick = Patience(first_wait=0.01, first_rate_wait=0.01)
    monkeypatch.setattr(
        importing, "open_client", lambda connection, **_: open_client(connection, patience=quick)
    )
    studio = build_studio(sandbox)
    furnish(studio, 40)
    sandbox.forget_requests()
    expected = told(studio, studio.import_window())
    pages, logs = len(sandbox.seen("GET", "time_entries")), rows(studio)
    assert pages > 4
    for page in range(pages):
        with studio.scope():
            last = SyncRun.objects.latest("id")
            undo_run(workspace=studio.admin.workspace, by=studio.admin.user, run=last)
        sandbox.fault(
            kind, path="time_entries", after=page, times=2, seconds=0.2 if kind is FaultKind.SLOW else 0
        )
        assert told(studio, studio.import_window()) == expected, page
        assert rows(studio) == logs
        sandbox.clear_faults()
