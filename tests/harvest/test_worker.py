"""Imports by REST with a real worker: the walkthrough, and what survives crashes and crowds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from harvest.sandbox.state import ADMIN_TOKEN
from harvest.tasks import sweep_runs
from integrations.models import Connection, SyncRun
from tests.factories import make_activity_type, make_client, make_key, make_project, make_workspace
from tests.harvest.conftest import Studio
from tests.rest.client import Api
from tests.worker import Worker, Workers

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

HARVEST = "integrations/harvest/"
TOKEN = {"account_id": "880123", "access_token": ADMIN_TOKEN}
WINDOW = {"from": "2026-06-01", "to": "2026-06-12"}


def finished(api: Api, run_id: str) -> dict[str, Any] | None:
    """The run, once it has ended."""
    run: dict[str, Any] = api.get(f"{HARVEST}runs/{run_id}/").json()
    return None if run["state"] in ("queued", "running") else run


def mapped(studio: Studio) -> Studio:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    return studio


def test_the_walkthrough(sandbox: Any, workers: Workers, celery_worker_process: Worker) -> None:
    account = sandbox.account
    remote_client, other_client = account.add_client("Acme"), account.add_client("Birch")
    website, app = account.add_project(remote_client, "Website"), account.add_project(other_client, "App")
    design = account.add_task("Design")

    def log(on: str, hours: str, project: int = website) -> int:
        return account.add_entry(
            project=project, task=design, spent_on=on, hours=hours, notes=f"Work of {on}"
        )

    person = make_workspace("Walkthrough")
    acme = make_client(person.workspace, "Acme")
    ours, second = make_project(acme, "Website"), make_project(acme, "Second")
    kind = make_activity_type(person.workspace, "Design", "100.00")
    api = Api(person)

    # A wrong token: an error on the form, and nothing kept.
    wrong = api.put(f"{HARVEST}connection/", {**TOKEN, "access_token": "123.pt.wrong"})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["access_token"])
    assert api.post(f"{HARVEST}imports/").json()["type"] == "not-connected"

    # Connect, and the tables are there at once.
    assert api.put(f"{HARVEST}connection/", TOKEN).json()["status"] == "connected"
    rows = api.get(f"{HARVEST}mappings/projects/").json()["results"]
    assert {(row["harvest_name"], row["harvest_client"], row["target"]) for row in rows} == {
        ("App", "Birch", None),
        ("Website", "Acme", None),
    }

    # Map; give the target to another item, which clears the first pair and says so; give it back.
    def give(harvest_id: int, target: str | None) -> Any:
        body = {"mappings": [{"harvest_id": str(harvest_id), "target": target}]}
        return api.put(f"{HARVEST}mappings/projects/", body)

    assert give(website, str(ours.id)).json()["cleared"] == []
    assert give(app, str(ours.id)).json()["cleared"] == [
        {"harvest_id": str(website), "harvest_name": "Website", "target": str(ours.id)}
    ]
    assert give(website, str(ours.id)).json()["cleared"][0]["harvest_id"] == str(app)
    before = api.get(f"{HARVEST}mappings/projects/").json()
    assert give(999999, str(second.id)).status_code == 400
    assert api.get(f"{HARVEST}mappings/projects/").json() == before
    tasks = {"mappings": [{"harvest_id": str(design), "target": str(kind.id)}]}
    assert api.put(f"{HARVEST}mappings/tasks/", tasks).status_code == 200

    # One entry is in already; of fourteen, twelve come in.
    early = log("2026-06-01", "1.00")
    first = api.post(f"{HARVEST}imports/", {"from": "2026-06-01", "to": "2026-06-01"})
    assert first.status_code == 202
    workers.wait_for(lambda: finished(api, first.json()["id"]))
    for day in range(1, 13):
        log(f"2026-06-{day:02d}", "2.11")
    loose = log("2026-06-05", "3.00", app)
    started = api.post(f"{HARVEST}imports/", WINDOW)
    assert started.status_code == 202
    assert started.headers["Location"].endswith(f"/api/v1/{HARVEST}runs/{started.json()['id']}/")
    assert started.json()["state"] in ("queued", "running")
    run = workers.wait_for(lambda: finished(api, started.json()["id"]))
    assert run["summary"] == (
        "Imported 12 of 14 entries (2026-06-01 → 2026-06-12)\n"
        "Skipped:\n- Project not mapped: 1\n- Already imported: 1"
    )
    assert (run["state"], run["total"], run["imported"], run["failed"]) == ("succeeded", 14, 12, 0)

    # Each group opens to its entries.
    entries = api.get(f"{HARVEST}runs/{run['id']}/entries/", reason="project_not_mapped").json()["results"]
    assert [(one["external_id"], one["hours"], one["harvest"]["project"]) for one in entries] == [
        (str(loose), "3.00", "App")
    ]
    entries = api.get(f"{HARVEST}runs/{run['id']}/entries/", reason="already_imported").json()["results"]
    assert [one["external_id"] for one in entries] == [str(early)]
    imported = api.get(f"{HARVEST}runs/{run['id']}/entries/", outcome="imported").json()["results"]
    assert len({one["time_log"] for one in imported}) == 12

    # The time is there, and the runs are listed, newest first.
    logs = api.get("time-logs/", source="harvest").json()["results"]
    assert len(logs) == 13
    assert {(one["project"], one["activity_type"], one["hourly_rate"]) for one in logs} == {
        (str(ours.id), str(kind.id), "100.00")
    }
    assert {one["hours"] for one in logs} == {"1.00", "2.11"}
    history = api.get(f"{HARVEST}runs/").json()["results"]
    assert [one["id"] for one in history] == [run["id"], first.json()["id"]]

    # Disconnect: time stays. Connect the same account again: nothing comes in twice.
    assert api.delete(f"{HARVEST}connection/").status_code == 204
    assert api.get("time-logs/summary/").json()["count"] == 13
    assert api.put(f"{HARVEST}connection/", TOKEN).status_code == 200
    assert give(website, str(ours.id)).status_code == 200
    assert api.put(f"{HARVEST}mappings/tasks/", tasks).status_code == 200
    again = api.post(f"{HARVEST}imports/", WINDOW).json()
    assert workers.wait_for(lambda: finished(api, again["id"]))["summary"] == (
        "Imported 0 of 14 entries (2026-06-01 → 2026-06-12)\n"
        "Skipped:\n- Project not mapped: 1\n- Already imported: 13"
    )
    assert api.get("time-logs/summary/").json()["count"] == 13

    # Map what was missing: what was skipped is remembered, and comes in alone.
    assert give(app, str(second.id)).status_code == 200
    assert api.get(f"{HARVEST}mappings/incoming/").json() == {"entries": 1, "hours": "3.00"}
    rest = api.post(f"{HARVEST}mappings/incoming/")
    assert rest.status_code == 202
    assert workers.wait_for(lambda: finished(api, rest.json()["id"]))["imported"] == 1
    assert api.get(f"{HARVEST}mappings/incoming/").json() == {"entries": 0, "hours": "0.00"}

    # Nothing of all this told the token.
    assert ADMIN_TOKEN not in celery_worker_process.output


def test_messages_and_logs_hold_no_token_and_no_notes(
    studio: Studio, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    mapped(studio).add_entry("Website", "Design", "2026-06-02", "1.00", "A secret of the client's")
    api = Api(studio.admin)
    with caplog.at_level("DEBUG"):
        run = api.post(f"{HARVEST}imports/", WINDOW).json()
    assert run["id"] in workers.messages()
    worker = workers.start()
    workers.wait_for(lambda: finished(api, run["id"]))
    written = workers.messages() + caplog.text + worker.output
    assert "harvest.tasks.run_import" in written
    assert ADMIN_TOKEN not in written
    assert "A secret of the client's" not in written


def test_a_preview_is_applied_and_taken_back(
    studio: Studio, workers: Workers, celery_worker_process: Worker
) -> None:
    mapped(studio)
    stays = studio.add_entry("Website", "Design", "2026-06-02", "1.50")
    moves = studio.add_entry("Website", "Design", "2026-06-03", "2.00")
    api = Api(studio.admin)
    preview = api.post(f"{HARVEST}imports/", {**WINDOW, "dry_run": True}).json()
    shown = workers.wait_for(lambda: finished(api, preview["id"]))
    assert (shown["dry_run"], shown["imported"]) == (True, 2)
    assert api.get(f"{HARVEST}runs/{shown['id']}/amounts/").json()["results"] == [
        {
            "client": str(studio.clients["Acme"].id),
            "client_name": "Acme",
            "entries": 2,
            "seconds": 12600,
            "hours": "3.50",
            "amount": "420.00",
        }
    ]
    assert api.get("time-logs/summary/").json()["count"] == 0
    assert api.post(f"{HARVEST}runs/{shown['id']}/undo/").status_code == 409

    studio.sandbox.account.edit_entry(moves, hours="9.00")
    applied = api.post(f"{HARVEST}runs/{shown['id']}/apply/")
    assert applied.status_code == 202
    run = workers.wait_for(lambda: finished(api, applied.json()["id"]))
    assert (run["imported"], [one["reason"] for one in run["skipped"]]) == (1, ["moved_since_preview"])
    assert api.post(f"{HARVEST}runs/{run['id']}/apply/").status_code == 409
    logs = api.get("time-logs/").json()["results"]
    assert [(one["external_id"], one["hours"]) for one in logs] == [(str(stays), "1.50")]

    assert api.post(f"{HARVEST}runs/{run['id']}/undo/").json() == {"undone": 1, "kept": []}
    assert api.get("time-logs/summary/").json()["count"] == 0
    again = api.post(f"{HARVEST}imports/", WINDOW).json()
    run = workers.wait_for(lambda: finished(api, again["id"]))
    assert run["imported"] == 2
    edited = api.get("time-logs/").json()["results"][0]["id"]
    api.patch(f"time-logs/{edited}/", {"notes": "Changed by hand"})
    undone = api.post(f"{HARVEST}runs/{run['id']}/undo/").json()
    assert (undone["undone"], [one["time_log"] for one in undone["kept"]]) == (1, [edited])


def test_the_same_key_starts_one_import(studio: Studio, workers: Workers) -> None:
    api = Api(mapped(studio).admin)
    headers = {"Idempotency-Key": "one-import"}
    first = api.post(f"{HARVEST}imports/", WINDOW, headers=headers)
    again = api.post(f"{HARVEST}imports/", WINDOW, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert api.post(f"{HARVEST}imports/", {}, headers=headers).json()["type"] == "idempotency-key-reused"
    assert len(api.get(f"{HARVEST}runs/").json()["results"]) == 1


@pytest.mark.parametrize("crowd", [2, 10])
def test_of_many_starts_at_once_exactly_one_is_accepted(studio: Studio, workers: Workers, crowd: int) -> None:
    mapped(studio).add_entry("Website", "Design", "2026-06-02", "1.00")
    key = make_key(studio.admin)

    def start(_: int) -> Any:
        try:
            return Api(studio.admin, key=key).post(f"{HARVEST}imports/", WINDOW)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(crowd) as pool:
        answers = list(pool.map(start, range(crowd)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (crowd - 1)
    run_id = next(answer.json()["id"] for answer in answers if answer.status_code == 202)
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(one["type"], one["run"]) for one in refused} == {("run-in-progress", run_id)}
    workers.start()
    api = Api(studio.admin)
    assert workers.wait_for(lambda: finished(api, run_id))["imported"] == 1


def test_a_night_stands_in_a_line_of_its_own(studio: Studio, workers: Workers, settings: Any) -> None:
    def waiting() -> dict[str, int]:
        lines = (settings.CELERY_TASK_DEFAULT_QUEUE, settings.BACKGROUND_QUEUE)
        with redis.Redis.from_url(workers.broker.url) as client:
            return dict(zip(("people's", "background"), map(client.llen, lines), strict=True))

    with studio.scope():
        Connection.objects.update(auto_sync=True)
    call_command("harvest_nightly")
    assert waiting() == {"people's": 0, "background": 1}
    with studio.scope():
        SyncRun.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    # Perhaps it got lost; that it is long in coming is no reason to say it again and again.
    sweep_runs()
    sweep_runs()
    assert waiting() == {"people's": 0, "background": 2}
    with studio.scope():
        SyncRun.objects.all().delete()
    Api(mapped(studio).admin).post(f"{HARVEST}imports/", WINDOW)
    assert waiting() == {"people's": 1, "background": 2}


@pytest.mark.slow
def test_a_killed_worker_loses_and_doubles_nothing(studio: Studio, workers: Workers, settings: Any) -> None:
    settings.HARVEST_RUN_LEASE_SECONDS = 2
    mapped(studio)
    for number in range(2300):
        studio.add_entry("Website", "Design", f"2026-06-{number % 12 + 1:02d}", "0.10", f"Entry {number}")
    studio.add_entry("App", "Design", "2026-06-05", "3.00")
    studio.sandbox.fault("slow", path="/time_entries", after=1, times=None, seconds=30)
    api = Api(studio.admin)
    doomed = workers.start()
    run_id = api.post(f"{HARVEST}imports/", WINDOW).json()["id"]

    def under_way() -> bool:
        shown = api.get(f"{HARVEST}runs/{run_id}/").json()
        return bool(shown["state"] == "running" and 0 < shown["done"] < shown["total"])

    workers.wait_for(under_way)
    doomed.kill()
    studio.sandbox.clear_faults()
    workers.start()
    began = time.monotonic()
    run = workers.wait_for(lambda: finished(api, run_id), sweeping=True)
    assert time.monotonic() - began < 60
    assert (run["state"], run["total"], run["imported"]) == ("succeeded", 2301, 2300)
    assert run["skipped"] == [{"reason": "project_not_mapped", "label": "Project not mapped", "count": 1}]
    assert api.get("time-logs/summary/").json() | {"amount": ""} == {
        "count": 2300, "seconds": 828_000, "hours": "230.00", "billable_seconds": 828_000, "amount": "",
        "currency": "USD",
    }  # fmt: skip


@pytest.mark.slow
def test_an_emptied_redis_loses_no_run(studio: Studio, workers: Workers) -> None:
    mapped(studio).add_entry("Website", "Design", "2026-06-02", "1.00")
    api = Api(studio.admin)
    run_id = api.post(f"{HARVEST}imports/", WINDOW).json()["id"]
    assert run_id in workers.messages()
    workers.flush()
    workers.start(HARVEST_PAGE_SIZE="10")
    run = workers.wait_for(lambda: finished(api, run_id), sweeping=True)
    assert (run["state"], run["imported"]) == ("succeeded", 1)

    # In the middle of a run: emptied, then gone and back.
    for number in range(40):
        studio.add_entry("Website", "Design", f"2026-06-{number % 12 + 1:02d}", "0.50", f"No. {number}")
    studio.sandbox.fault("slow", path="/time_entries", times=None, seconds=0.4)
    second = api.post(f"{HARVEST}imports/", WINDOW).json()["id"]
    workers.wait_for(lambda: api.get(f"{HARVEST}runs/{second}/").json()["done"], sweeping=True)
    workers.flush()
    workers.broker.kill()
    workers.broker.start()
    run = workers.wait_for(lambda: finished(api, second), sweeping=True)
    assert (run["state"], run["total"], run["imported"]) == ("succeeded", 41, 40)
    assert api.get("time-logs/summary/").json()["hours"] == "21.00"


@pytest.mark.slow
def test_a_broker_that_is_away_delays_an_import_and_refuses_none(studio: Studio, workers: Workers) -> None:
    mapped(studio).add_entry("Website", "Design", "2026-06-02", "1.00")
    api = Api(studio.admin)
    workers.broker.kill()
    began = time.monotonic()
    started = api.post(f"{HARVEST}imports/", WINDOW)
    assert started.status_code == 202
    assert time.monotonic() - began < 10
    workers.broker.start()
    workers.start()
    assert workers.wait_for(lambda: finished(api, started.json()["id"]), sweeping=True)["imported"] == 1
