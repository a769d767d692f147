"""Sync and history: starting, progress, the result word for word, a run's entries, preview, undo."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.ids import uuid7
from harvest.importing import execute_run
from integrations.models import Connection, ConnectionStatus, RunEntry, RunState, SyncRun
from tests.harvest.conftest import Studio
from tests.harvest.pages import HTMX, PAGE, browse, text_of
from timelogs.models import TimeLog
from timelogs.services import revise_time_log

pytestmark = pytest.mark.django_db
RUNS = f"{PAGE}runs/"
WINDOW = {"from": "2026-06-01", "to": "2026-06-12"}


@pytest.fixture
def browser(studio: Studio) -> Client:
    return browse(studio.admin)


@pytest.fixture
def mapped(studio: Studio) -> Studio:
    """Website and Design are mapped; of three entries one is of each sort."""
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-02", "1.50", "In it comes")
    studio.add_entry("Website", "Code", "2026-06-03", "2.00", "No such task")
    studio.add_entry("App", "Design", "2026-06-04", "0.25", "No such project")
    return studio


def finish(studio: Studio) -> SyncRun:
    """Work on the newest run here, as the worker would."""
    with studio.scope():
        run = SyncRun.objects.order_by("-id")[0]
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    return studio.reload(run)


# --- Starting --------------------------------------------------------------------------------------------------------
def test_the_last_fourteen_days_are_filled_in(studio: Studio, browser: Client) -> None:
    page = browser.get(PAGE).content.decode()
    today = studio.admin.workspace.today()
    assert f'name="from" value="{today - timedelta(days=13)}"' in page
    assert f'name="to" value="{today}"' in page


def test_a_start_shows_progress_that_ends_by_itself_in_the_result(mapped: Studio, browser: Client) -> None:
    started = browser.post(RUNS, WINDOW, headers=HTMX)
    assert "Importing 2026-06-01 → 2026-06-12" in text_of(started)
    assert started["HX-Trigger"] == '{"runs-changed": {}}'
    panel = re.search(r'hx-get="([^"]+/panel/)" hx-trigger="load delay:300ms"', started.content.decode())
    assert panel is not None
    waiting = browser.get(panel[1], headers=HTMX)
    assert b"hx-trigger" in waiting.content
    assert "HX-Trigger" not in waiting
    with mapped.scope():
        SyncRun.objects.update(
            state=RunState.RUNNING, expected=3000, created_at=timezone.now() - timedelta(minutes=1)
        )
        run = SyncRun.objects.get()
        RunEntry.objects.bulk_create(
            RunEntry(
                id=uuid7(), workspace_id=run.workspace_id, run=run, external_id=str(n), outcome="imported"
            )
            for n in range(1240)
        )
    running = browser.get(panel[1], headers=HTMX)
    assert "1,240 of 3,000 entries" in text_of(running)
    assert b'<progress aria-label="Entries read" value="1240" max="3000">' in running.content
    assert b"load delay:1s" in running.content
    with mapped.scope():
        RunEntry.objects.all().delete()
        SyncRun.objects.update(state=RunState.QUEUED)
    finish(mapped)
    done = browser.get(panel[1], headers=HTMX)
    assert b'hx-trigger="load' not in done.content
    assert done["HX-Trigger"] == '{"runs-changed": {}}'
    assert "Imported 1 of 3 entries (2026-06-01 → 2026-06-12) Skipped: Project not mapped: 1" in text_of(done)


def test_without_javascript_a_start_leads_back_to_the_page(mapped: Studio, browser: Client) -> None:
    assert browser.post(RUNS, WINDOW)["Location"] == f"{PAGE}#sync"
    page = browser.get(PAGE)
    assert "Waiting for a worker." in text_of(page)
    assert b"<noscript><a" in page.content
    finish(mapped)
    assert "Imported 1 of 3 entries" in text_of(browser.get(PAGE))


@pytest.mark.parametrize("headers", [HTMX, {}])
@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"from": "2026-06-12", "to": "2026-06-01"}, "The first day must not be after the last day."),
        ({"from": "soon", "to": ""}, "Give a date as year-month-day"),
        ({"from": "0001-01-01", "to": "2026-06-01"}, "Give a date between 1970 and 2199."),
        ({"from": "1980-01-01", "to": "2026-06-01"}, "Choose a window of at most ten years."),
    ],
)
def test_a_window_that_cannot_be_is_said_on_the_form(
    studio: Studio, browser: Client, window: dict[str, str], words: str, headers: dict[str, str]
) -> None:
    answer = browser.post(RUNS, window, headers=headers)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not headers or answer["HX-Retarget"] == "#sync-form"
    with studio.scope():
        assert not SyncRun.objects.exists()


def test_a_second_start_points_to_the_first(mapped: Studio, browser: Client) -> None:
    browser.post(RUNS, WINDOW)
    with mapped.scope():
        first = SyncRun.objects.get()
    again = browser.post(RUNS, WINDOW, headers=HTMX)
    assert f"runs/{first.id}/panel/" in again.content.decode()
    assert "An import or sync is running already." in again["HX-Trigger"]
    browser.post(RUNS, {**WINDOW, "do": "preview"})
    assert "An import or sync is running already." in text_of(browser.get(PAGE))
    with mapped.scope():
        assert SyncRun.objects.count() == 1


def test_nothing_starts_where_harvest_is_not_usable(studio: Studio, browser: Client) -> None:
    with studio.scope():
        Connection.objects.update(status=ConnectionStatus.RECONNECT_NEEDED)
    assert browser.post(RUNS, WINDOW, headers=HTMX)["HX-Redirect"] == f"{PAGE}#sync"
    assert "Harvest says this token is no longer valid." in text_of(browser.get(PAGE))
    assert browser.post(RUNS, {"do": "incoming"}).status_code == 302


# --- The result ------------------------------------------------------------------------------------------------------
def test_the_result_word_for_word_and_each_group_with_its_remedy(mapped: Studio, browser: Client) -> None:
    run = mapped.import_window()
    said = text_of(browser.get(PAGE))
    assert "Imported 1 of 3 entries (2026-06-01 → 2026-06-12) Skipped: Project not mapped: 1" in said
    assert said.index("Project not mapped: 1") < said.index("Task not mapped: 1")
    group = browser.get(
        f"{RUNS}{run.id}/?reason=project_not_mapped",
        headers={**HTMX, "HX-Target": "group-project_not_mapped"},
    )
    assert "2026-06-04 App · Birch · Design · Ada Admin No such project 0.25 Map this project" in text_of(
        group
    )
    assert f'href="{PAGE}?tab=projects&amp;filter=App#mappings"' in group.content.decode()
    assert b"<html" not in group.content


def test_what_went_to_inbound_is_a_line_with_a_link(mapped: Studio, browser: Client) -> None:
    mapped.map("clients", {"Birch": mapped.clients["Birch"]})
    mapped.import_window()
    page = browser.get(PAGE)
    assert "Sent to Inbound: 1 · Say where it belongs" in text_of(page)
    assert b'<a href="/inbound/">' in page.content


def test_a_run_that_failed_at_once_says_why(mapped: Studio, browser: Client) -> None:
    with mapped.scope():
        connection = Connection.objects.get()
        SyncRun.objects.create(
            workspace=mapped.admin.workspace, connection=connection, kind="import", state=RunState.FAILED,
            error="Harvest did not answer in time.", finished_at=timezone.now(),
        )  # fmt: skip
    said = text_of(browser.get(PAGE))
    assert "Nothing was read Harvest did not answer in time." in said
    assert "Failed Harvest did not answer in time." in said


# --- A run's page ----------------------------------------------------------------------------------------------------
def test_a_runs_page_has_its_entries_by_outcome_and_reason(mapped: Studio, browser: Client) -> None:
    url = f"{RUNS}{mapped.import_window().id}/"
    everything = text_of(browser.get(url))
    assert "All 3 Imported 1 Project not mapped 1 Task not mapped 1" in everything
    for words in ("In it comes", "No such task", "No such project", "Acme · Website"):
        assert words in everything
    imported = text_of(browser.get(f"{url}?outcome=imported"))
    assert ("In it comes" in imported, "No such task" in imported) == (True, False)
    by_reason = text_of(browser.get(f"{url}?reason=task_not_mapped"))
    assert ("No such task" in by_reason, "No such project" in by_reason) == (True, False)
    assert "No entry of this run is of that kind." in text_of(browser.get(f"{url}?outcome=updated"))
    assert browser.get(f"{url}?outcome=%00&reason=x").status_code == 200
    assert browser.get(f"{url}?cursor=nonsense").status_code == 400


def test_a_runs_entries_are_paged_by_day_with_the_undated_last(mapped: Studio, browser: Client) -> None:
    run = mapped.import_window()
    with mapped.scope():
        RunEntry.objects.bulk_create(
            RunEntry(
                id=uuid7(), workspace_id=run.workspace_id, run=run, external_id=f"x{n}", outcome="failed",
                reason="save_failed", notes=f"number {n}", spent_date=run.from_date if n else None,
            )
            for n in range(120)
        )  # fmt: skip
    url, seen = f"{RUNS}{run.id}/", []
    for _ in range(3):
        page = browser.get(url).content.decode()
        seen += re.findall(r'class="nowrap">([\d-]+|No date)<', page.partition('id="entries"')[2])
        older = re.search(r'href="(\?cursor=[^"]+)">Older', page)
        if older is None:
            break
        url = f"{RUNS}{run.id}/{older[1]}"
    assert len(seen) == 123
    assert seen[:3] == ["2026-06-04", "2026-06-03", "2026-06-02"]
    assert seen[-1] == "No date"


# --- Preview and undo ------------------------------------------------------------------------------------------------
def test_a_preview_shows_amounts_by_client_and_is_applied_exactly(mapped: Studio, browser: Client) -> None:
    browser.post(RUNS, {**WINDOW, "do": "preview"})
    preview = finish(mapped)
    page = text_of(browser.get(PAGE))
    assert "An import would bring in 1 of 3 entries (2026-06-01 → 2026-06-12)" in page
    assert "Acme 1 1 h 30 m USD 180.00" in page
    entries = text_of(browser.get(f"{RUNS}{preview.id}/?outcome=imported"))
    assert "Acme · Website In it comes" in entries
    with mapped.scope():
        assert not TimeLog.objects.exists()
    started = browser.post(f"{RUNS}{preview.id}/apply/", headers=HTMX)
    assert "Importing" in text_of(started)
    finish(mapped)
    assert "Imported 1 of" in text_of(browser.get(PAGE))
    with mapped.scope():
        log = TimeLog.objects.get()
    # A preview that brings in nothing new, but changes, can be applied too.
    mapped.sandbox.account.edit_entry(int(log.external_id), notes="In it came")
    browser.post(RUNS, {**WINDOW, "do": "preview"})
    preview = finish(mapped)
    assert "Would be updated 1" in text_of(browser.get(f"{RUNS}{preview.id}/"))
    assert f"{RUNS}{preview.id}/apply/" in browser.get(PAGE).content.decode()
    browser.post(f"{RUNS}{preview.id}/apply/", headers=HTMX)
    finish(mapped)
    with mapped.scope():
        assert TimeLog.objects.get().notes == "In it came"


def test_undo_asks_takes_back_and_lists_what_stays(mapped: Studio, browser: Client) -> None:
    mapped.add_entry("Website", "Design", "2026-06-05", "1.00", "Edited since")
    run = mapped.import_window()
    with mapped.scope():
        log = TimeLog.objects.get(notes="Edited since")
        revise_time_log(log=log, by=mapped.admin, notes="By hand")
    url = f"{RUNS}{run.id}/"
    asked = text_of(browser.get(f"{url}undo/"))
    assert "Undo this import?" in asked
    assert "(2 entries)" in asked
    assert browser.post(f"{url}undo/")["Location"] == url
    said = text_of(browser.get(url))
    assert "Taken back: 1 entry. 1 stay" in said
    assert "It has been edited since. Time log" in said
    assert "Taken back by undo" in said
    again = browser.get(url)
    assert b"undo/" not in again.content
    assert "It has been edited since. Time log" in text_of(again)
    assert "taken back by undo" in text_of(browser.get(PAGE))
    with mapped.scope():
        assert [one.notes for one in TimeLog.objects.all()] == ["By hand"]


# --- History ---------------------------------------------------------------------------------------------------------
def add_runs(studio: Studio, count: int) -> None:
    with studio.scope():
        connection = Connection.objects.get()
        runs = SyncRun.objects.bulk_create(
            SyncRun(
                id=uuid7(), workspace=studio.admin.workspace, connection=connection, kind="import", state="succeeded",
                from_date="2026-05-01", to_date="2026-05-14", requested_by=studio.admin.user,
                finished_at=timezone.now(),
            )
            for _ in range(count)
        )  # fmt: skip
        RunEntry.objects.bulk_create(
            RunEntry(
                id=uuid7(), workspace=studio.admin.workspace, run=run, external_id="1", outcome="imported"
            )
            for run in runs
        )


def test_history_lists_runs_newest_first_by_keyset(studio: Studio, browser: Client) -> None:
    add_runs(studio, 23)
    first = browser.get(PAGE).content.decode()
    ids = re.findall(rf'<a href="{RUNS}([0-9a-f-]+)/"><time', first)
    older = re.search(r'href="(\?cursor=[^"]+)">Older', first)
    assert older is not None
    second = browser.get(PAGE + older[1], headers={**HTMX, "HX-Target": "history"}).content.decode()
    assert "<html" not in second
    ids += re.findall(rf'<a href="{RUNS}([0-9a-f-]+)/"><time', second)
    with studio.scope():
        assert ids == [str(pk) for pk in SyncRun.objects.order_by("-id").values_list("id", flat=True)[:20]]
    assert "Import" in first
    assert "1 imported, of 1" in first


def test_pages_of_runs_ask_a_fixed_number_of_questions(mapped: Studio, browser: Client) -> None:
    run = mapped.import_window()
    asked: dict[str, list[int]] = {PAGE: [], f"{RUNS}{run.id}/": [], f"{RUNS}{run.id}/panel/": []}
    for more in (0, 100):
        add_runs(mapped, more)
        with mapped.scope():
            logs = list(TimeLog.objects.all())
            RunEntry.objects.bulk_create(
                RunEntry(
                    id=uuid7(), workspace_id=run.workspace_id, run=run, external_id=f"y{n}", outcome="imported",
                    time_log=logs[0], spent_date=run.from_date,
                )
                for n in range(more)
            )  # fmt: skip
        for url, counts in asked.items():
            browser.get(url)
            with CaptureQueriesContext(database) as queries:
                answer: Any = browser.get(url)
            assert answer.status_code == 200
            counts.append(len(queries))
            assert len(answer.content) < 100_000
    assert {url: counts[0] for url, counts in asked.items()} == {
        url: counts[1] for url, counts in asked.items()
    }
