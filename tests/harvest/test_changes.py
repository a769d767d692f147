"""In between nights: connections that go both ways are read for changes every few minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harvest import night
from harvest.importing import execute_run
from harvest.night import start_changes, sweep_changes
from integrations.models import Connection, SyncRun
from tests.harvest.conftest import Studio
from tests.harvest.test_updating import mapped
from timelogs.models import TimeLog

__all__ = ["mapped"]

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 6, 12, 12, tzinfo=UTC)
EVERY = timedelta(minutes=15)


@pytest.fixture
def twoway(mapped: Studio, settings: Any) -> Studio:
    settings.HARVEST_CHANGES_MINUTES = 15
    with mapped.scope():
        Connection.objects.update(direction="two_way", auto_sync=True, changes_due_at=NOW)
    return mapped


def row(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.get()


def runs(studio: Studio) -> list[SyncRun]:
    with studio.scope():
        return list(SyncRun.objects.order_by("id"))


def work(studio: Studio) -> None:
    [run] = [one for one in runs(studio) if one.live]
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)


def test_it_is_read_when_it_is_due_and_keeps_its_place(twoway: Studio) -> None:
    assert sweep_changes(now=NOW - timedelta(seconds=1)) == 0
    assert sweep_changes(now=NOW + timedelta(minutes=40)) == 1
    assert [run.kind for run in runs(twoway)] == ["changes"]
    assert row(twoway).changes_due_at == NOW + 3 * EVERY
    # Twice does no harm, and one that still runs is left alone.
    assert sweep_changes(now=NOW + timedelta(minutes=40)) == 0
    assert sweep_changes(now=NOW + timedelta(hours=3)) == 0


def test_the_first_time_is_spread_by_the_connection(twoway: Studio) -> None:
    with twoway.scope():
        Connection.objects.update(changes_due_at=None)
    assert sweep_changes(now=NOW) == 0
    due = row(twoway).changes_due_at
    assert due is not None
    assert NOW <= due < NOW + EVERY
    assert due == NOW + EVERY * ((row(twoway).pk.int % 10_007) / 10_007)


@pytest.mark.parametrize(
    "values", [{"direction": "import"}, {"auto_sync": False}, {"status": "reconnect_needed"}]
)
def test_the_others_are_not_read(twoway: Studio, values: dict[str, Any]) -> None:
    with twoway.scope():
        Connection.objects.update(**values)
    assert sweep_changes(now=NOW) == 0
    assert start_changes(workspace_id=twoway.workspace_id, connection_id=row(twoway).pk, now=NOW) is None


def test_what_changed_comes_in_and_no_deletion_is_looked_for(twoway: Studio) -> None:
    twoway.add_entry("Website", "Design", twoway.admin.workspace.today(), "1.00", "Header")
    sweep_changes(now=NOW)
    twoway.sandbox.forget_requests()
    work(twoway)
    [run] = runs(twoway)
    assert (run.state, twoway.shown(run)["imported"]) == ("succeeded", 1)
    assert [one.path for one in twoway.sandbox.seen()] == ["/v2/time_entries"]
    with twoway.scope():
        assert TimeLog.objects.get().notes == "Header"
    first = row(twoway).watermark_at
    assert first is not None
    # The next one finds nothing new: it leaves no line, and moves the watermark on.
    sweep_changes(now=NOW + EVERY)
    work(twoway)
    assert [one.id for one in runs(twoway)] == [run.id]
    second = row(twoway).watermark_at
    assert second is not None
    assert second >= first


def test_what_was_left_out_is_told_once(twoway: Studio) -> None:
    today = twoway.admin.workspace.today()
    bad, skipped = (twoway.add_entry("Website", task, today, "1.00") for task in ("Design", "Admin"))
    twoway.sandbox.account.override(bad, hours=None)
    sweep_changes(now=NOW)
    work(twoway)
    [run] = runs(twoway)
    assert twoway.outcomes(run) == {
        str(bad): ("failed", "save_failed"),
        str(skipped): ("skipped", "task_not_mapped"),
    }
    # It has not succeeded, so the next one reads from the same moment on, and finds no more than that.
    sweep_changes(now=NOW + EVERY)
    work(twoway)
    assert runs(twoway) == [run]
    twoway.sandbox.account.override(bad)
    sweep_changes(now=NOW + 2 * EVERY)
    work(twoway)
    assert twoway.outcomes(runs(twoway)[-1])[str(bad)] == ("imported", "")


def test_one_that_only_holds_something_keeps_its_line(twoway: Studio) -> None:
    entry = twoway.add_entry("Website", "Design", twoway.admin.workspace.today(), "1.00")
    sweep_changes(now=NOW)
    work(twoway)
    twoway.map("projects", {"App": None})
    twoway.sandbox.account.edit_entry(entry, project=twoway.harvest["App"])
    for times in (1, 2):
        sweep_changes(now=NOW + times * EVERY)
        work(twoway)
    assert [twoway.shown(run)["held"] for run in runs(twoway)] == [0, 1]
    assert twoway.outcomes(runs(twoway)[-1]) == {str(entry): ("unchanged", "")}


def test_one_that_harvest_does_not_answer_leaves_no_line_either(twoway: Studio) -> None:
    twoway.sandbox.fault("503", times=None)
    sweep_changes(now=NOW)
    work(twoway)
    assert runs(twoway) == []
    assert row(twoway).watermark_at is None


def test_one_failing_connection_delays_no_other(
    twoway: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**values: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(night, "start_changes", fail)
    assert sweep_changes(now=NOW) == 0
    assert "could not be read" in caplog.text
