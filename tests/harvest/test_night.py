"""The night: what it reads, whom it starts and when, what is made up, what is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection as database
from django.utils import timezone

from accounts.errors import RunInProgress
from accounts.models import AuditEvent, Notice, Role, Workspace
from accounts.tenancy import tenant_scope
from harvest import changes, importing, night
from harvest.changes import beginning_of, night_of
from harvest.client import HarvestClient
from harvest.credentials import disconnect
from harvest.importing import execute_run, start_import
from harvest.night import Started, start_all, start_night, start_sync, sweep_nights
from harvest.preferences import save_preferences
from harvest.reading import Reading
from harvest.sandbox import Sandbox
from harvest.sandbox.state import ADMIN_TOKEN
from integrations.models import Connection, RunState, SyncRun
from integrations.runs import claim_run, due_runs
from tests.factories import make_member
from tests.harvest.conftest import Studio, build_studio, connect, make_admin
from timelogs.models import TimeLog

TWO = datetime(2026, 6, 12, 2, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No sweep has looked yet."""
    cache.delete(night.LOOKED)
    yield
    cache.delete(night.LOOKED)


@pytest.fixture
def clock(sandbox: Sandbox) -> Iterator[Any]:
    """The evening of 11 June 2026; `clock.move_to(...)` and `clock.shift(...)`."""
    with time_machine.travel(datetime(2026, 6, 11, 18, 0, tzinfo=UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture
def nightly(clock: Any, studio: Studio) -> Studio:
    """A connected studio with two mapped projects and automated sync on since the evening."""
    return switched_on(studio)


def switched_on(studio: Studio) -> Studio:
    studio.map("projects", {"Website": studio.projects["Website"], "App": studio.projects["App"]})
    studio.map("tasks", {"Design": studio.types["Design"], "Code": studio.types["Code"]})
    with studio.scope():
        save_preferences(workspace=studio.admin.workspace, by=studio.admin.user, auto_sync=True)
    return studio


def row_of(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.select_related("workspace").get(pk=studio.connection.pk)


def runs(studio: Studio) -> list[SyncRun]:
    with studio.scope():
        return list(SyncRun.objects.order_by("id"))


def work(studio: Studio) -> SyncRun:
    """Work on the newest run, as a worker would."""
    run = runs(studio)[-1]
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    return studio.reload(run)


def notices(studio: Studio) -> list[Notice]:
    with studio.scope():
        return list(Notice.objects.select_related("user").order_by("created_at"))


def asked(sandbox: Sandbox) -> list[str]:
    """The paths asked for, since they were last forgotten."""
    return [record.path for record in sandbox.seen()]


# --- Which night -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 6, 12, 1, 59, 59, tzinfo=UTC), date(2026, 6, 11)),
        (datetime(2026, 6, 12, 2, 0, tzinfo=UTC), date(2026, 6, 12)),
        (datetime(2028, 2, 29, 2, 0, tzinfo=UTC), date(2028, 2, 29)),
        (datetime(2028, 3, 1, 1, 0, tzinfo=UTC), date(2028, 2, 29)),
        (datetime(2027, 1, 1, 0, 0, tzinfo=UTC), date(2026, 12, 31)),
        # Clocks go forward in Berlin at 01:00 UTC on this day, and back on that: nights are UTC's.
        (datetime.fromisoformat("2026-03-29T03:30:00+02:00"), date(2026, 3, 28)),
        (datetime.fromisoformat("2026-03-29T04:00:00+02:00"), date(2026, 3, 29)),
        (datetime.fromisoformat("2026-10-25T02:59:59+01:00"), date(2026, 10, 24)),
        (datetime.fromisoformat("2026-10-25T03:00:00+01:00"), date(2026, 10, 25)),
    ],
)
def test_which_night_it_is(now: datetime, expected: date) -> None:
    assert night_of(now) == expected
    assert beginning_of(expected) <= now < beginning_of(expected) + timedelta(days=1)


def test_each_night_of_a_leap_year_is_started_once(nightly: Studio, clock: Any) -> None:
    with nightly.scope():
        Connection.objects.update(night_on=date(2028, 2, 25))
    started = []
    moment = datetime(2028, 2, 26, 0, 30, tzinfo=UTC)
    while moment < datetime(2028, 3, 3, 0, 0, tzinfo=UTC):
        clock.move_to(moment)
        if sweep_nights():
            started.append(moment.isoformat())
            work(nightly)
        moment += timedelta(minutes=30)
    assert started == [
        f"2028-{day}T02:00:00+00:00" for day in ("02-26", "02-27", "02-28", "02-29", "03-01", "03-02")
    ]
    assert notices(nightly) == []


# --- What it reads ---------------------------------------------------------------------------------------------------
def test_a_night_brings_in_what_changed_and_stamps_how_far_it_came(nightly: Studio, clock: Any) -> None:
    nightly.add_entry("Website", "Design", "2026-01-05", "1.50", "an old day, tracked yesterday")
    nightly.add_entry("Website", "Admin", "2026-06-11", "0.50", "task not mapped")
    clock.move_to(TWO)
    assert sweep_nights() == 1
    clock.shift(timedelta(seconds=40))
    run = work(nightly)
    shown = nightly.shown(run)
    assert (shown["kind"], shown["state"], shown["total"], shown["imported"]) == ("auto", "succeeded", 2, 1)
    assert shown["skipped"] == [{"reason": "task_not_mapped", "label": "Task not mapped", "count": 1}]
    assert row_of(nightly).watermark_at == TWO + timedelta(seconds=40)
    with nightly.scope():
        assert TimeLog.objects.get().seconds == 5400
    assert notices(nightly) == []


def test_a_night_without_changes_asks_once(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO)
    sweep_nights()
    nightly.sandbox.forget_requests()
    run = work(nightly)
    assert (run.state, nightly.shown(run)["total"]) == (RunState.SUCCEEDED, 0)
    assert asked(nightly.sandbox) == ["/v2/time_entries"]


def test_known_changes_need_no_lists_and_news_reads_them_once(nightly: Studio, clock: Any) -> None:
    nightly.add_entry("Website", "Design", "2026-06-11", "1.00")
    clock.move_to(TWO)
    sweep_nights()
    nightly.sandbox.forget_requests()
    work(nightly)
    # What changed; and, now that something is linked, what is still there.
    assert asked(nightly.sandbox) == ["/v2/time_entries"] * 2
    # Somebody new in Harvest, whose e-mail address is a member's: the entry is theirs, not the connecting person's.
    member = make_member(nightly.admin.workspace, Role.MEMBER, email="bea@northlight.example")
    user_id = nightly.sandbox.add_person("Bea", "New", "bea@northlight.example", "member")
    nightly.add_entry("Website", "Design", "2026-06-12", "2.00", "hers", user=user_id)
    clock.move_to(TWO + timedelta(days=1))
    sweep_nights()
    nightly.sandbox.forget_requests()
    run = work(nightly)
    assert nightly.shown(run)["imported"] == 1
    assert sorted(asked(nightly.sandbox)) == [
        "/v2/clients",
        "/v2/projects",
        "/v2/tasks",
        "/v2/time_entries",
        "/v2/time_entries",
        "/v2/users",
    ]
    with nightly.scope():
        assert TimeLog.objects.get(notes="hers").owner_id == member.user_id


def test_what_is_here_is_unchanged_in_a_sync_or_updated_and_already_imported_in_an_import(
    nightly: Studio, clock: Any
) -> None:
    same = nightly.add_entry("Website", "Design", "2026-06-11", "1.00", "same")
    moved = nightly.add_entry("Website", "Design", "2026-06-11", "1.00", "to be edited")
    nightly.import_window("2026-06-11", "2026-06-11")
    nightly.sandbox.account.edit_entry(moved, hours="3.00")
    clock.move_to(TWO)
    sweep_nights()
    run = work(nightly)
    assert nightly.outcomes(run) == {
        str(same): ("unchanged", ""),
        str(moved): ("updated", ""),
    }
    shown = nightly.shown(run)
    assert (shown["total"], shown["unchanged"], shown["done"]) == (2, 1, 2)
    assert "nchanged" not in shown["summary"]
    again = nightly.import_window("2026-06-11", "2026-06-11")
    assert set(nightly.outcomes(again).values()) == {("skipped", "already_imported")}


def test_the_window_reaches_back_to_the_last_success_with_an_overlap(
    nightly: Studio, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AGAIN_AFTER", [])
    since = []
    listing = changes.read_changed

    def listen(client: HarvestClient, moment: datetime) -> Iterator[Reading]:
        since.append(moment)
        return listing(client, moment)

    monkeypatch.setattr(changes, "read_changed", listen)
    states = []
    for number in range(4):
        if number == 2:
            nightly.sandbox.fault("503", times=None)
        clock.move_to(TWO + timedelta(days=number))
        sweep_nights()
        states.append(work(nightly).state)
        nightly.sandbox.clear_faults()
    day, overlap = timedelta(days=1), timedelta(minutes=5)
    # Never synced before: the last 24 hours; then since the last success; a failure moves nothing.
    assert since == [TWO - day - overlap, TWO - overlap, TWO + day - overlap, TWO + day - overlap]
    assert states == ["succeeded", "succeeded", "failed", "succeeded"]
    assert row_of(nightly).watermark_at == TWO + 3 * day


def test_the_same_account_connected_again_goes_on_from_its_last_success(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO)
    sweep_nights()
    work(nightly)
    entry = nightly.add_entry("Website", "Design", "2026-06-13", "1.00", updated_at="2026-06-13T09:00:00Z")
    with nightly.scope():
        disconnect(workspace=nightly.admin.workspace, by=nightly.admin.user)
    clock.move_to(TWO + timedelta(days=9))
    nightly.connection = connect(nightly.admin)
    nightly.refresh()
    switched_on(nightly)
    clock.move_to(TWO + timedelta(days=10))
    sweep_nights()
    assert nightly.outcomes(work(nightly)) == {str(entry): ("imported", "")}


def test_the_watermark_goes_by_the_earlier_clock(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO)
    nightly.sandbox.clock = lambda: TWO - timedelta(minutes=3)
    sweep_nights()
    work(nightly)
    assert row_of(nightly).watermark_at == TWO - timedelta(minutes=3)


def test_a_run_that_is_resumed_reads_what_it_would_have_read(nightly: Studio, clock: Any) -> None:
    entry = nightly.add_entry("Website", "Design", "2026-06-10", "1.00", updated_at="2026-06-11T01:56:00Z")
    clock.move_to(TWO)
    sweep_nights()
    nightly.sandbox.fault("503")
    assert work(nightly).state == RunState.RUNNING
    clock.shift(timedelta(seconds=70))
    assert nightly.outcomes(work(nightly)) == {str(entry): ("imported", "")}


def test_many_changes_over_several_pages_all_come_in(
    transactional_db: None, clock: Any, sandbox: Sandbox, settings: Any
) -> None:
    settings.HARVEST_PAGE_SIZE = 100
    studio = switched_on(build_studio(sandbox))
    for number in range(350):
        studio.add_entry("Website", "Design", f"2026-0{1 + number % 6}-11", "0.25", f"No. {number}")
    clock.move_to(TWO)
    sweep_nights()
    assert studio.shown(work(studio))["imported"] == 350
    with studio.scope():
        assert TimeLog.objects.count() == 350


# --- Whom it starts, and when ----------------------------------------------------------------------------------------
def test_nothing_starts_before_two_and_once_after(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO - timedelta(seconds=1))
    assert sweep_nights() == 0
    clock.move_to(TWO)
    assert [sweep_nights() for _ in range(5)] == [1, 0, 0, 0, 0]
    work(nightly)
    for hours in range(1, 23):
        clock.move_to(TWO + timedelta(hours=hours))
        assert sweep_nights() == 0
    assert [run.kind for run in runs(nightly)] == ["auto"]


@pytest.mark.parametrize("why", ["off", "plan", "reconnect", "disconnected"])
def test_what_is_off_or_paused_is_left_alone_and_nobody_is_told(
    nightly: Studio, clock: Any, why: str
) -> None:
    with nightly.scope():
        if why == "off":
            save_preferences(workspace=nightly.admin.workspace, by=nightly.admin.user, auto_sync=False)
        elif why == "plan":
            Workspace.objects.update(plan="free")
        elif why == "reconnect":
            Connection.objects.update(status="reconnect_needed")
        else:
            disconnect(workspace=nightly.admin.workspace, by=nightly.admin.user)
    for hours in (0, 2, 12):
        clock.move_to(TWO + timedelta(hours=hours))
        assert sweep_nights() == 0
    assert start_all() == Started(0, 0)
    assert (runs(nightly), notices(nightly)) == ([], [])


def test_back_on_the_plan_the_night_is_made_up_without_a_complaint(nightly: Studio, clock: Any) -> None:
    with nightly.scope():
        Workspace.objects.update(plan="free")
    for minutes in range(0, 120, 10):
        clock.move_to(TWO + timedelta(minutes=minutes))
        assert sweep_nights() == 0
    with nightly.scope():
        Workspace.objects.update(plan="pro")
    clock.move_to(TWO + timedelta(hours=8))
    assert sweep_nights() == 1
    assert notices(nightly) == []


@pytest.mark.parametrize("paused", [{"plan": "free"}, {"deletes_at": TWO + timedelta(days=30)}])
def test_a_night_that_was_queued_before_a_pause_asks_nothing_and_is_made_up(
    nightly: Studio, clock: Any, sandbox: Sandbox, paused: dict[str, Any]
) -> None:
    clock.move_to(TWO)
    assert sweep_nights() == 1
    with nightly.scope():
        Workspace.objects.update(**paused)
    sandbox.forget_requests()
    run = work(nightly)
    assert (run.state, asked(sandbox), notices(nightly)) == ("failed", [], [])
    assert ("Pro plan" if "plan" in paused else "is to be deleted") in run.error
    clock.move_to(TWO + timedelta(hours=5))
    assert sweep_nights() == 0
    with nightly.scope():
        Workspace.objects.update(plan="pro", deletes_at=None)
    assert sweep_nights() == 1
    assert (work(nightly).state, notices(nightly)) == ("succeeded", [])


def test_switching_it_on_waits_for_the_next_night(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO + timedelta(hours=7))
    with nightly.scope():
        save_preferences(workspace=nightly.admin.workspace, by=nightly.admin.user, auto_sync=False)
        save_preferences(workspace=nightly.admin.workspace, by=nightly.admin.user, auto_sync=True)
    assert sweep_nights() == 0
    assert notices(nightly) == []
    clock.move_to(TWO + timedelta(days=1))
    assert sweep_nights() == 1


def test_many_are_spread_over_half_an_hour_the_oldest_success_first(
    db: None, clock: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "FEWEST_AT_ONCE", 1)
    admins = [make_admin(name=f"Studio {number}") for number in range(12)]
    ages = [5, 3, 11, 0, 7, 9, 1, 10, 2, 8, 4, 6]  # days since the last success; 11: never
    for admin, age in zip(admins, ages, strict=True):
        connect(admin)
        with tenant_scope(admin.workspace_id):
            Connection.objects.update(
                auto_sync=True, watermark_at=None if age == 11 else TWO - timedelta(days=age)
            )
    order: list[int] = []
    started_at: list[datetime] = []
    start = night.start_night

    def listen(*, workspace_id: UUID, **rest: Any) -> SyncRun | None:
        order.append(ages[[one.workspace_id for one in admins].index(workspace_id)])
        started_at.append(timezone.now())
        return start(workspace_id=workspace_id, **rest)

    monkeypatch.setattr(night, "start_night", listen)
    for seconds in range(0, 2400, 10):
        clock.move_to(TWO + timedelta(seconds=seconds))
        sweep_nights()
    assert order == sorted(ages, reverse=True)
    assert started_at[-1] < TWO + timedelta(minutes=30)


def test_a_missed_night_is_made_up_once_and_told_once(
    nightly: Studio, clock: Any, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    """Beat was away from before 02:00 of the 12th until the morning of the 14th."""
    clock.move_to(TWO - timedelta(hours=3))
    sweep_nights()
    nightly.add_entry("Website", "Design", "2026-06-11", "1.00")
    back = TWO + timedelta(days=2, hours=5)
    with django_capture_on_commit_callbacks(execute=True):
        for seconds in (0, 10, 20):
            clock.move_to(back + timedelta(seconds=seconds))
            sweep_nights()
    assert len(runs(nightly)) == 1
    [notice] = notices(nightly)
    assert (notice.title, notice.remedy_path) == (
        "Automated sync of 2026-06-14 is late",
        "/integrations/harvest/",
    )
    assert "had not started by 03:00 UTC" in notice.text
    [mail] = mailoutbox
    assert mail.to == [nightly.admin.user.email]
    assert work(nightly).state == RunState.SUCCEEDED


def test_a_run_that_no_worker_took_up_by_three_is_told(nightly: Studio, clock: Any) -> None:
    for minutes in range(0, 60, 5):
        clock.move_to(TWO + timedelta(minutes=minutes))
        sweep_nights()
    assert notices(nightly) == []
    clock.move_to(TWO + timedelta(hours=1))
    sweep_nights()
    sweep_nights()
    assert [one.incident for one in notices(nightly)] == ["harvest.night:2026-06-12"]


def test_a_night_that_an_import_keeps_from_starting_by_three_is_told_and_made_up(
    nightly: Studio, clock: Any
) -> None:
    clock.move_to(TWO)
    busy = nightly.start("2026-06-01", "2026-06-11")
    for minutes in range(0, 60, 5):
        clock.move_to(TWO + timedelta(minutes=minutes))
        assert sweep_nights() == 0
    assert notices(nightly) == []
    for seconds in (0, 10):
        clock.move_to(TWO + timedelta(hours=1, seconds=seconds))
        sweep_nights()
    assert [one.incident for one in notices(nightly)] == ["harvest.night:2026-06-12"]
    execute_run(workspace_id=nightly.workspace_id, run_id=busy.id)
    assert sweep_nights() == 1


def test_what_a_person_waits_for_comes_before_the_night(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO)
    sweep_nights()
    other = make_admin(name="Elsewhere")
    connection = connect(other)
    with tenant_scope(other.workspace_id):
        run = start_import(workspace=other.workspace, by=other.user)
        claim_run(workspace_id=other.workspace_id, run_id=run.id, lease_seconds=-1)
    assert due_runs(queued_for=timedelta(seconds=-1)) == [
        (connection.workspace_id, run.id),
        (nightly.workspace_id, runs(nightly)[0].id),
    ]


def test_two_beats_at_once_start_one_run(transactional_db: None, clock: Any, sandbox: Sandbox) -> None:
    studio = switched_on(build_studio(sandbox))
    clock.move_to(TWO)
    gate = threading.Barrier(6)
    found: list[int] = []

    def one() -> None:
        try:
            gate.wait()
            found.append(sweep_nights())
        finally:
            database.close()

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [0, 0, 0, 0, 0, 1]
    assert len(runs(studio)) == 1


def test_an_import_that_runs_at_two_is_waited_for(nightly: Studio, clock: Any) -> None:
    clock.move_to(TWO)
    run = nightly.start("2026-06-01", "2026-06-11")
    assert sweep_nights() == 0
    with pytest.raises(RunInProgress):
        start_night(
            workspace_id=nightly.workspace_id, connection_id=nightly.connection.pk, night=date(2026, 6, 12)
        )
    execute_run(workspace_id=nightly.workspace_id, run_id=run.id)
    clock.shift(timedelta(seconds=10))
    assert sweep_nights() == 1


# --- When it fails ---------------------------------------------------------------------------------------------------
def test_harvest_being_away_is_tried_again_without_holding_a_worker_then_told_once(
    nightly: Studio, clock: Any, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    second = make_member(nightly.admin.workspace, Role.ADMIN)
    make_member(nightly.admin.workspace, Role.DESIGNER)
    nightly.sandbox.fault("503", times=None)
    nightly.sandbox.forget_requests()
    tries = []
    with django_capture_on_commit_callbacks(execute=True):
        for minute in range(120):
            clock.move_to(TWO + timedelta(minutes=minute))
            sweep_nights()
            if minute == 0 or due_runs(queued_for=timedelta(days=1)):
                assert work(nightly).attempts == len(tries) + 1
                tries.append(minute)
    assert tries == [0, 2, 6, 16, 44]  # after one minute or more, three, nine, and 27
    assert len(nightly.sandbox.seen()) == 5
    [run] = runs(nightly)
    assert run.state == RunState.FAILED
    assert row_of(nightly).watermark_at is None
    assert {one.user for one in notices(nightly)} == {nightly.admin.user, second.user}
    assert {one.incident for one in notices(nightly)} == {"harvest.night:2026-06-12"}
    assert {mail.to[0] for mail in mailoutbox} == {nightly.admin.user.email, second.user.email}


def test_a_night_that_broke_off_is_told_too(
    transactional_db: None, clock: Any, sandbox: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AGAIN_AFTER", [])
    settings.HARVEST_PAGE_SIZE = 2
    studio = switched_on(build_studio(sandbox))
    for _ in range(5):
        studio.add_entry("Website", "Design", "2026-06-11", "1.00")
    sandbox.fault("503", path="time_entries", after=1, times=None)
    clock.move_to(TWO)
    sweep_nights()
    assert work(studio).state == RunState.PARTIAL
    assert row_of(studio).watermark_at is None
    [notice] = notices(studio)
    assert notice.text.startswith("It failed: Harvest answered 503")


def test_harvest_coming_back_within_the_night_is_no_incident(nightly: Studio, clock: Any) -> None:
    nightly.add_entry("Website", "Design", "2026-06-11", "1.00")
    nightly.sandbox.fault("503", times=2)
    clock.move_to(TWO)
    sweep_nights()
    for _ in range(3):
        run = work(nightly)
        clock.shift(timedelta(minutes=30))
    assert (run.state, nightly.shown(run)["imported"]) == (RunState.SUCCEEDED, 1)
    assert notices(nightly) == []


def test_dead_credentials_pause_the_nights_and_are_told_once(nightly: Studio, clock: Any) -> None:
    nightly.sandbox.revoke(ADMIN_TOKEN)
    clock.move_to(TWO)
    sweep_nights()
    assert work(nightly).state == RunState.FAILED
    nightly.sandbox.forget_requests()
    for number in range(1, 4):
        clock.move_to(TWO + timedelta(days=number, hours=2))
        assert sweep_nights() == 0
    assert nightly.sandbox.seen() == []
    [notice] = notices(nightly)
    assert notice.incident.startswith("harvest.reconnect:")
    nightly.sandbox.add_token("ada@sandbox.example", "880.pt.new")
    connect(nightly.admin, token="880.pt.new")
    assert row_of(nightly).auto_sync
    clock.shift(timedelta(seconds=10))
    assert sweep_nights() == 1
    assert work(nightly).state == RunState.SUCCEEDED
    assert len(notices(nightly)) == 1


def test_one_workspaces_trouble_delays_no_other(
    db: None, clock: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    admins = [make_admin(name=f"Studio {number}") for number in range(3)]
    for admin in admins:
        connect(admin)
        with tenant_scope(admin.workspace_id):
            Connection.objects.update(auto_sync=True)
    start = night.start_night

    def broken(*, workspace_id: UUID, **rest: Any) -> SyncRun | None:
        if workspace_id == admins[0].workspace_id:
            raise RuntimeError("a bug of ours")
        return start(workspace_id=workspace_id, **rest)

    monkeypatch.setattr(night, "start_night", broken)
    clock.move_to(TWO)
    assert sweep_nights() == 2
    assert "could not be started" in caplog.text


# --- By hand ---------------------------------------------------------------------------------------------------------
def test_the_command_starts_every_connection_whatever_the_hour(
    nightly: Studio, clock: Any, capsys: Any
) -> None:
    call_command("harvest_nightly")
    assert capsys.readouterr().out == "Started: 1. Running already: 0.\n"
    call_command("harvest_nightly")
    assert capsys.readouterr().out == "Started: 0. Running already: 1.\n"
    work(nightly)
    nightly.add_entry("Website", "Design", "2026-06-11", "1.00")
    clock.shift(timedelta(seconds=1))
    call_command("harvest_nightly")
    assert nightly.shown(work(nightly))["imported"] == 1
    assert [run.kind for run in runs(nightly)] == ["auto", "auto"]


def test_sync_now_does_what_the_night_does(nightly: Studio, clock: Any) -> None:
    nightly.add_entry("Website", "Design", "2026-06-10", "1.00")
    with nightly.scope():
        run = start_sync(workspace=nightly.admin.workspace, by=nightly.admin.user)
        with pytest.raises(RunInProgress):
            start_sync(workspace=nightly.admin.workspace, by=nightly.admin.user)
    assert (run.kind, run.requested_by) == ("sync", nightly.admin.user)
    assert nightly.shown(work(nightly))["imported"] == 1
    assert row_of(nightly).watermark_at is not None
    with nightly.scope():
        assert AuditEvent.objects.filter(action="harvest.sync", actor=nightly.admin.user).count() == 1
    # The night comes all the same, and says that this is here.
    clock.move_to(TWO)
    sweep_nights()
    assert nightly.shown(work(nightly))["unchanged"] == 1
