"""Imports and runs by REST: starting, refusals, the ledger's lists; what a worker does of them is in test_worker.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from harvest.importing import execute_run
from integrations.models import Outcome, Reason, RunEntry, RunKind, RunState, SyncRun
from tests.harvest.conftest import Studio
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

HARVEST = "integrations/harvest/"
IMPORTS = f"{HARVEST}imports/"


def add_runs(studio: Studio, number: int, **values: Any) -> list[SyncRun]:
    """Runs that have ended, each with an entry of three outcomes."""
    now = timezone.now()
    with studio.scope():
        runs = SyncRun.objects.bulk_create(
            SyncRun(
                workspace=studio.admin.workspace,
                connection=studio.connection,
                requested_by=studio.admin.user,
                account_id="880123",
                finished_at=now,
                **{"kind": RunKind.IMPORT, "state": RunState.SUCCEEDED, **values},
            )
            for _ in range(number)
        )
        for run in runs:
            add_entries(studio, run, 3)
    return runs


def add_entries(studio: Studio, run: SyncRun, number: int, first: int = 1) -> None:
    groups = [
        (Outcome.IMPORTED, ""),
        (Outcome.SKIPPED, Reason.PROJECT_NOT_MAPPED),
        (Outcome.FAILED, Reason.SAVE_FAILED),
    ]
    with studio.scope():
        RunEntry.objects.bulk_create(
            RunEntry(
                workspace=studio.admin.workspace,
                run=run,
                external_id=str(first + n),
                outcome=groups[n % 3][0],
                reason=groups[n % 3][1],
                spent_date=date(2026, 6, 1),
                hours=Decimal("1.50"),
            )
            for n in range(number)
        )


def all_pages(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    page = api.get(path, **query).json()
    rows += page["results"]
    while page["next"]:
        page = api.get(page["next"]).json()
        rows += page["results"]
    return rows


# --- Starting ------------------------------------------------------------------------------------------------
def test_an_import_is_accepted_with_the_last_fourteen_days(studio: Studio) -> None:
    answer = Api(studio.admin).post(IMPORTS)
    run, today = answer.json(), studio.admin.workspace.today()
    assert answer.status_code == 202
    assert (run["kind"], run["state"], run["dry_run"], run["summary"]) == (
        "import",
        "queued",
        False,
        "Waiting to start",
    )
    assert (run["from"], run["to"]) == (str(today - timedelta(days=13)), str(today))
    assert run["started_at"] is run["finished_at"] is run["error"] is run["attention"] is None
    assert Api(studio.admin).get(answer.headers["Location"]).json() == run


def test_a_second_start_points_to_the_first(studio: Studio) -> None:
    api = Api(studio.admin)
    first = api.post(IMPORTS).json()
    second = api.post(IMPORTS, {"dry_run": True})
    assert (second.status_code, second.json()["type"], second.json()["run"]) == (
        409,
        "run-in-progress",
        first["id"],
    )
    assert [run["id"] for run in api.get(f"{HARVEST}runs/").json()["results"]] == [first["id"]]
    undo = api.post(f"{HARVEST}runs/{first['id']}/undo/")
    assert (undo.status_code, undo.json()["run"]) == (409, first["id"])
    assert api.post(f"{HARVEST}runs/{first['id']}/apply/").status_code == 409


def test_disconnecting_ends_the_run_that_is_under_way(studio: Studio) -> None:
    api = Api(studio.admin)
    run = api.post(IMPORTS).json()
    assert api.delete(f"{HARVEST}connection/").status_code == 204
    shown = api.get(f"{HARVEST}runs/{run['id']}/").json()
    assert (shown["state"], shown["error"]) == ("failed", "Harvest was disconnected while this ran.")
    execute_run(workspace_id=studio.workspace_id, run_id=run["id"])
    assert api.get(f"{HARVEST}runs/{run['id']}/").json() == shown


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"from": "2026-06-12", "to": "2026-06-01"}, "from"),
        ({"from": "2000-01-01", "to": "2026-06-01"}, "from"),
        ({"from": "0001-01-01"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "12.06.2026"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": 20260601}, "from"),
        ({"from": ["2026-06-01"]}, "from"),
        ({"to": "\0"}, "to"),
        ({"to": "2026-06-01T00:00:00Z"}, "to"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"dry_run": None}, "dry_run"),
        ({"dry_run": [True]}, "dry_run"),
        ({"form": "2026-06-01"}, "form"),
        ([], "detail"),
        ("2026", "detail"),
    ],
)
def test_bad_windows_are_400_and_start_nothing(studio: Studio, body: Any, field: str) -> None:
    api = Api(studio.admin)
    answer = api.post(IMPORTS, json.dumps(body))
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert api.get(f"{HARVEST}runs/").json()["results"] == []


# --- Reading -------------------------------------------------------------------------------------------------
def test_counts_add_up_to_the_total(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    studio.add_entry("Website", "Code", "2026-06-02", "1.00")
    studio.add_entry("Loose", "Code", "2026-06-02", "1.00")
    studio.add_entry("App", "Code", "2026-06-02", "1.00")
    studio.add_entry("Website", "Design", "2026-06-02", "1.00", running=True)
    broken = studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    studio.sandbox.account.override(broken, hours=None)
    run = studio.import_window()
    api = Api(studio.admin)
    shown = api.get(f"{HARVEST}runs/{run.id}/").json()
    skipped = {one["reason"]: one["count"] for one in shown["skipped"]}
    assert (shown["state"], shown["total"], shown["imported"], shown["proposed"], shown["failed"]) == (
        "partial",
        6,
        1,
        1,
        1,
    )
    assert skipped == {"project_not_mapped": 1, "task_not_mapped": 1, "timer_running": 1, "save_failed": 1}
    names = ("imported", "updated", "linked", "proposed", "unchanged", "failed")
    in_groups = sum(skipped.values()) - skipped["save_failed"]
    assert sum(shown[name] for name in names) + in_groups == shown["total"] == shown["done"]
    entries = api.get(f"{HARVEST}runs/{run.id}/entries/").json()["results"]
    by_id = {one["external_id"]: one for one in entries}
    assert len(by_id) == 6
    assert (by_id[str(broken)]["outcome"], by_id[str(broken)]["hours"]) == ("failed", None)
    proposal = next(one for one in entries if one["outcome"] == "proposed")["proposal"]
    assert [one["id"] for one in api.get("inbound/proposals/").json()["results"]] == [proposal]


def test_runs_are_listed_newest_first_in_pages(studio: Studio) -> None:
    runs = add_runs(studio, 7)
    api = Api(studio.admin)
    ids = [str(run.id) for run in runs]
    assert [one["id"] for one in all_pages(api, f"{HARVEST}runs/", page_size=3)] == ids[::-1]
    assert [one["id"] for one in all_pages(api, f"{HARVEST}runs/", page_size=3, ordering="created_at")] == ids
    previews = add_runs(studio, 1, dry_run=True, state=RunState.FAILED)
    for query in ({"state": "failed"}, {"dry_run": "true"}):
        assert [one["id"] for one in all_pages(api, f"{HARVEST}runs/", **query)] == [str(previews[0].id)]
    assert api.get(f"{HARVEST}runs/", kind="auto").json()["results"] == []


def test_entries_are_filtered_in_pages(studio: Studio) -> None:
    run, other = add_runs(studio, 2)
    add_entries(studio, run, 60, first=100)
    api, path = Api(studio.admin), f"{HARVEST}runs/{run.id}/entries/"
    everything = all_pages(api, path, page_size=10)
    assert len(everything) == len({one["external_id"] for one in everything}) == 63
    assert everything[::-1] == all_pages(api, path, page_size=7, ordering="id")
    skipped = all_pages(api, path, page_size=4, reason="project_not_mapped")
    assert {one["outcome"] for one in skipped} == {"skipped"}
    assert len(skipped) == len(all_pages(api, path, outcome="failed")) == 21
    assert all_pages(api, path, outcome="failed", reason="project_not_mapped") == []
    first = api.get(path, page_size=10).json()
    back = api.get(api.get(first["next"]).json()["previous"]).json()
    assert back["results"] == first["results"]
    assert len(api.get(f"{HARVEST}runs/{other.id}/entries/").json()["results"]) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"reason": "because"},
        {"outcome": "\0"},
        {"page_size": "0"},
        {"page_size": "501"},
        {"cursor": "made-up"},
        {"ordering": "hours"},
        {"resaon": "settled"},
    ],
)
def test_bad_queries_of_entries_are_400(studio: Studio, query: dict[str, str]) -> None:
    run = add_runs(studio, 1)[0]
    answer = Api(studio.admin).get(f"{HARVEST}runs/{run.id}/entries/", **query)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, list(query))


def test_a_cursor_of_another_list_shows_nothing_of_it(studio: Studio) -> None:
    run, other = add_runs(studio, 2)
    add_entries(studio, run, 9, first=100)
    api = Api(studio.admin)
    path = f"{HARVEST}runs/{run.id}/entries/"
    cursor = api.get(path, page_size=1).json()["next"].partition("cursor=")[2].partition("&")[0]
    rows = api.get(f"/api/v1/{HARVEST}runs/{other.id}/entries/?cursor={cursor}").json()["results"]
    theirs = {one["external_id"] for one in api.get(f"{HARVEST}runs/{other.id}/entries/").json()["results"]}
    assert {one["external_id"] for one in rows} <= theirs


def test_undo_by_rest_lists_what_stays(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    for day in (2, 3):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.00")
    run = studio.import_window()
    api = Api(studio.admin)
    log = api.get("time-logs/").json()["results"][0]["id"]
    assert api.patch(f"time-logs/{log}/", {"notes": "By hand"}).status_code == 200
    headers = {"Idempotency-Key": "take-back"}
    undone = api.post(f"{HARVEST}runs/{run.id}/undo/", headers=headers).json()
    assert undone == {
        "undone": 1,
        "kept": [{"time_log": log, "proposal": None, "detail": "It has been edited since."}],
    }
    assert api.post(f"{HARVEST}runs/{run.id}/undo/", headers=headers).json() == undone
    assert api.post(f"{HARVEST}runs/{run.id}/undo/").json()["undone"] == 0
    assert [one["id"] for one in api.get("time-logs/").json()["results"]] == [log]


# --- Speed ---------------------------------------------------------------------------------------------------
@pytest.fixture
def queries() -> Callable[..., int]:
    def count(api: Api, path: str, rows: int) -> int:
        with CaptureQueriesContext(database) as captured:
            assert len(api.get(path, page_size=500).json()["results"]) == rows
        return len(captured)

    return count


def test_runs_take_as_many_queries_at_100_rows_as_at_one(studio: Studio, queries: Callable[..., int]) -> None:
    api = Api(studio.admin)
    add_runs(studio, 1)
    api.get(f"{HARVEST}runs/")  # whatever is done once a key
    one = queries(api, f"{HARVEST}runs/", 1)
    add_runs(studio, 99)
    assert queries(api, f"{HARVEST}runs/", 100) == one


def test_entries_take_as_many_queries_at_100_rows_as_at_one(
    studio: Studio, queries: Callable[..., int]
) -> None:
    api = Api(studio.admin)
    run = add_runs(studio, 1)[0]
    path = f"{HARVEST}runs/{run.id}/entries/"
    api.get(path)
    few = queries(api, path, 3)
    add_entries(studio, run, 97, first=100)
    assert queries(api, path, 100) == few
