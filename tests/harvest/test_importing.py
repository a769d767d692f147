"""Imports over the sandbox, into the real database."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.errors import Invalid, NotConnected, PlanRequired, RunInProgress
from accounts.models import Workspace
from accounts.services import add_member, remove_member
from harvest import importing
from harvest.client import HarvestClient
from harvest.credentials import connection_of, disconnect, open_client
from harvest.errors import HarvestRateLimited
from harvest.intake import ActivityTarget
from harvest.sandbox.faults import FaultKind
from harvest.writing import build_batch, load_context, prepare_page, write_prepared
from inbound.models import TimeProposal
from integrations.models import RunEntry, SyncLink, SyncRun
from integrations.runs import LeaseLost, claim_run, due_runs, prolong
from tests.harvest.conftest import Studio, connect, make_admin
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, save_work_item

pytestmark = pytest.mark.django_db


def map_everything(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"], "Code": studio.types["Code"]})


def test_fourteen_entries_of_which_twelve_come_in(studio: Studio) -> None:
    map_everything(studio)
    early = [
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.25", f"Day {day}") for day in range(1, 2)
    ]
    assert studio.import_window("2026-06-01", "2026-06-01").state == "succeeded"
    for day in range(2, 10):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "2.11", f"Day {day}")
    for day in range(9, 13):
        studio.add_entry("Website", "Code", f"2026-06-{day:02d}", "0.01", f"Code {day}")
    loose = studio.add_entry("App", "Design", "2026-06-05", "3.00")

    run = studio.import_window()

    shown = studio.shown(run)
    assert shown["summary"] == (
        "Imported 12 of 14 entries (2026-06-01 → 2026-06-12)\n"
        "Skipped:\n"
        "- Project not mapped: 1\n"
        "- Already imported: 1"
    )
    assert (shown["state"], shown["total"], shown["done"], shown["imported"]) == ("succeeded", 14, 14, 12)
    assert shown["skipped"] == [
        {"reason": "project_not_mapped", "label": "Project not mapped", "count": 1},
        {"reason": "already_imported", "label": "Already imported", "count": 1},
    ]
    outcomes = studio.outcomes(run)
    assert outcomes[str(loose)] == ("skipped", "project_not_mapped")
    assert outcomes[str(early[0])] == ("skipped", "already_imported")
    with studio.scope():
        log = TimeLog.objects.get(notes="Day 2")
        assert (log.client, log.project) == (studio.clients["Acme"], studio.projects["Website"])
        assert (log.seconds, log.hourly_rate, log.activity_type) == (
            7596,
            Decimal("120.00"),
            studio.types["Design"],
        )
        assert (log.source, log.sync_state, log.owner) == ("harvest", "synced", studio.admin.user)
        assert TimeLog.objects.count() == 13
        assert SyncLink.objects.filter(time_log=log, external_id=log.external_id).count() == 1


def test_again_imports_nothing_and_writes_no_log(studio: Studio) -> None:
    map_everything(studio)
    for day in range(1, 8):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.00")
    studio.import_window()
    with studio.scope():
        before = list(TimeLog.objects.order_by("id").values())

    run = studio.import_window()

    assert studio.shown(run)["summary"] == (
        "Imported 0 of 7 entries (2026-06-01 → 2026-06-12)\nSkipped:\n- Already imported: 7"
    )
    with studio.scope():
        assert list(TimeLog.objects.order_by("id").values()) == before


def test_a_deleted_log_stays_deleted(studio: Studio) -> None:
    map_everything(studio)
    studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    studio.import_window()
    with studio.scope():
        delete_time_log(log=TimeLog.objects.get(), by=studio.admin)
    assert studio.shown(studio.import_window())["imported"] == 0
    with studio.scope():
        assert TimeLog.objects.filter(deleted_at=None).count() == 0


def test_a_client_without_project_goes_to_inbound_or_to_its_work_item(studio: Studio) -> None:
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    with studio.scope():
        item = save_work_item(
            workspace=studio.admin.workspace, client=studio.clients["Acme"], key="ACME-12", title="Header"
        )
    named = studio.add_entry("Loose", "Code", "2026-06-03", "1.50", "acme-12: fix the header")
    vague = studio.add_entry("Loose", "Admin", "2026-06-04", "0.75", "Something or other")

    run = studio.import_window()

    assert studio.shown(run)["summary"] == (
        "Imported 1 of 2 entries (2026-06-01 → 2026-06-12)\nSent to Inbound: 1"
    )
    with studio.scope():
        assert TimeLog.objects.get(external_id=str(named)).work_item == item
        proposal = TimeProposal.objects.get()
        assert (proposal.external_id, proposal.seconds, proposal.activity_type) == (str(vague), 2700, None)
    assert studio.shown(studio.import_window())["skipped"][0]["count"] == 2


def test_running_timer_comes_in_once_it_has_stopped(studio: Studio) -> None:
    map_everything(studio)
    entry = studio.add_entry("Website", "Design", "2026-06-03", "0.50", running=True)
    assert studio.outcomes(studio.import_window())[str(entry)] == ("skipped", "timer_running")
    studio.sandbox.account.stop_timer(entry)
    assert studio.outcomes(studio.import_window())[str(entry)] == ("imported", "")


def test_preview_writes_nothing_but_itself(studio: Studio) -> None:
    map_everything(studio)
    studio.add_entry("Website", "Design", "2026-06-03", "0.50")
    studio.add_entry("App", "Design", "2026-06-03", "0.50")
    run = studio.import_window(dry_run=True)
    assert studio.shown(run)["summary"] == (
        "An import would bring in 1 of 2 entries (2026-06-01 → 2026-06-12)\nSkipped:\n- Project not mapped: 1"
    )
    with studio.scope():
        assert TimeLog.objects.count() == SyncLink.objects.count() == TimeProposal.objects.count() == 0
    assert studio.shown(studio.import_window())["imported"] == 1


def test_bad_entries_are_reported_and_stop_nobody(studio: Studio) -> None:
    map_everything(studio)
    account = studio.sandbox.account
    good = studio.add_entry("Website", "Design", "2026-06-03", "0.50", "x" * 200_000)
    nul = studio.add_entry("Website", "Design", "2026-06-03", "1.00", "a\0b")
    big = studio.add_entry("Website", "Design", "2026-06-03", "1.00", entry_id=8_589_934_599)
    hours = studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    account.override(hours, hours=None)
    user = studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    account.override(user, user=None)
    long = studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    account.override(long, hours=123456)
    odd = studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    account.override(odd, surprise={"deep": [1]}, notes=None, external_reference=None, is_billed=None)
    run = studio.import_window()
    outcomes = studio.outcomes(run)
    assert {str(one): outcomes[str(one)] for one in (good, nul, big, odd)} == {
        str(one): ("imported", "") for one in (good, nul, big, odd)
    }
    assert {outcomes[str(one)] for one in (hours, user, long)} == {("failed", "save_failed")}
    shown = studio.shown(run)
    assert (shown["state"], shown["failed"], shown["imported"], shown["total"]) == ("partial", 3, 4, 7)
    assert shown["skipped"] == [{"reason": "save_failed", "label": "Save failed", "count": 3}]
    with studio.scope():
        assert len(TimeLog.objects.get(external_id=str(good)).notes) == 200_000
        assert TimeLog.objects.get(external_id=str(nul)).notes == "a\ufffdb"
        detail = RunEntry.objects.get(run=run, external_id=str(hours)).detail
        assert "hours" in detail


def test_an_entry_that_the_database_refuses_stands_alone(studio: Studio) -> None:
    """The activity type's rate cannot be negative in the database; a context with one makes its entries unsavable."""
    map_everything(studio)
    for day in range(1, 9):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.00")
    bad = studio.add_entry("Website", "Code", "2026-06-09", "1.00")
    with studio.scope():
        run = studio.start("2026-06-01", "2026-06-12")
        run = claim_run(workspace_id=studio.workspace_id, run_id=run.id, lease_seconds=30)
        assert run is not None
        context = load_context(run.connection)
        code = studio.harvest["Code"]
        spoiled = {**context.tasks, code: ActivityTarget(context.tasks[code].id, Decimal("-1.00"))}
        context = replace(context, tasks=spoiled)
        with open_client(run.connection) as client:
            for page in client.time_entry_pages(from_date=run.from_date, to_date=run.to_date):
                write_prepared(run, prepare_page(run, page, context), {})
    outcomes = studio.outcomes(run)
    assert outcomes.pop(str(bad)) == ("failed", "save_failed")
    assert set(outcomes.values()) == {("imported", "")}
    assert len(outcomes) == 8


@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.CUT, FaultKind.GARBAGE, FaultKind.TRUNCATED]
)
def test_a_fault_that_passes_leaves_no_trace(studio: Studio, kind: FaultKind) -> None:
    map_everything(studio)
    for day in range(1, 8):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.00")
    studio.sandbox.fault(kind, path="time_entries", times=1)
    shown = studio.shown(studio.import_window())
    assert (shown["state"], shown["imported"], shown["error"]) == ("succeeded", 7, None)


def test_an_entry_brought_in_meanwhile_wins(studio: Studio) -> None:
    """A page is decided, somebody else brings one of its entries in, and only then is the page written."""
    map_everything(studio)
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    meanwhile = studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    fresh = studio.add_entry("Website", "Design", "2026-06-03", "2.00")
    proposed = studio.add_entry("Loose", "Admin", "2026-06-04", "3.00")
    with studio.scope():
        context = load_context(studio.connection)
        with open_client(studio.connection) as client:
            (page,) = client.time_entry_pages(from_date=date(2026, 6, 1), to_date=date(2026, 6, 12))
        undecided = SyncRun(
            connection=studio.connection, workspace_id=studio.workspace_id, account_id="880123"
        )
        decided = prepare_page(undecided, page, context).decisions
    studio.import_window("2026-06-02", "2026-06-02")
    run = studio.start("2026-06-01", "2026-06-12")
    with studio.scope():
        claimed = claim_run(workspace_id=studio.workspace_id, run_id=run.id, lease_seconds=30)
        assert claimed is not None
        prepared = replace(
            prepare_page(claimed, page, context), decisions=decided, batch=build_batch(claimed, decided, None)
        )
        assert prepared.batch.made == 3
        write_prepared(claimed, prepared, {})
        logs = TimeLog.objects.values_list("external_id", flat=True)
        assert sorted(logs) == sorted([str(meanwhile), str(fresh)])
        assert TimeProposal.objects.get().external_id == str(proposed)
        assert SyncLink.objects.count() == 3
    assert studio.outcomes(run) == {
        str(meanwhile): ("skipped", "already_imported"),
        str(fresh): ("imported", ""),
        str(proposed): ("proposed", ""),
    }


def test_refused_credentials_ask_for_a_reconnect(studio: Studio) -> None:
    studio.sandbox.revoke(studio.connection.access_token)
    run = studio.import_window()
    assert run.state == "failed"
    assert "connect again" in run.error.lower()
    with studio.scope():
        connection = connection_of(studio.admin.workspace)
        assert connection is not None
        assert connection.status == "reconnect_needed"
    with pytest.raises(NotConnected):
        studio.start("2026-06-01", "2026-06-12")


def test_one_run_at_a_time(studio: Studio) -> None:
    first = studio.start("2026-06-01", "2026-06-12")
    with pytest.raises(RunInProgress) as refused:
        studio.start("2026-06-01", "2026-06-12")
    assert refused.value.extra == {"run": str(first.id)}


def test_a_run_held_by_a_dead_worker_is_claimed_again_and_counts_the_same(studio: Studio) -> None:
    map_everything(studio)
    for day in range(1, 8):
        studio.add_entry("Website", "Design", f"2026-06-0{day}", "1.00")
    run = studio.start("2026-06-01", "2026-06-12")
    with studio.scope():
        held = claim_run(workspace_id=studio.workspace_id, run_id=run.id, lease_seconds=30)
        assert held is not None
        context = load_context(held.connection)
        with open_client(held.connection) as client:
            for page in client.time_entry_pages(from_date=held.from_date, to_date=held.to_date):
                write_prepared(held, prepare_page(held, page, context), {})
    importing.execute_run(
        workspace_id=studio.workspace_id, run_id=run.id
    )  # delivered again: another holds it
    assert studio.reload(run).state == "running"
    assert due_runs(queued_for=timedelta(0)) == []
    with studio.scope():
        SyncRun.objects.filter(id=run.id).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert due_runs(queued_for=timedelta(0)) == [(studio.workspace_id, run.id)]
    importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    shown = studio.shown(run)
    assert (shown["state"], shown["imported"], shown["skipped"]) == ("succeeded", 7, [])
    importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)  # and once more, after its end
    assert studio.shown(run) == shown
    with studio.scope(), pytest.raises(LeaseLost):
        prolong(held, lease_seconds=30)


def test_a_run_that_waits_for_the_limit_is_not_given_up(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    map_everything(studio)
    studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    run = studio.start("2026-06-01", "2026-06-12")

    def no_turn(*args: object) -> int:
        raise HarvestRateLimited("Not now.", retry_after_seconds=0.001)

    with monkeypatch.context() as patched:
        patched.setattr(importing, "_walk", no_turn)
        for _ in range(importing.MOST_ATTEMPTS + 1):
            importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
            time.sleep(0.002)
    assert studio.reload(run).state == "running"
    importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    assert studio.shown(run)["state"] == "succeeded"


def test_disconnecting_in_the_middle_ends_the_run(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    map_everything(studio)
    studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    whole = HarvestClient.time_entry_pages

    def and_meanwhile(client: HarvestClient, **window: object) -> object:
        pages = list(whole(client, **window))  # type: ignore[arg-type]
        return iter(pages)

    run = studio.start("2026-06-01", "2026-06-12")
    real = importing.write_prepared

    def disconnected_first(*args: object, **more: object) -> None:
        disconnect(workspace=studio.admin.workspace, by=studio.admin.user)
        prolong(args[0], lease_seconds=30)  # type: ignore[arg-type]
        real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(HarvestClient, "time_entry_pages", and_meanwhile)
    monkeypatch.setattr(importing, "write_prepared", disconnected_first)
    importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    with studio.scope():
        assert TimeLog.objects.count() == 0


def test_reconnecting_the_same_account_makes_no_duplicate(studio: Studio) -> None:
    map_everything(studio)
    studio.add_entry("Website", "Design", "2026-06-03", "1.00")
    studio.import_window()
    with studio.scope():
        disconnect(workspace=studio.admin.workspace, by=studio.admin.user)
    studio.connection = connect(studio.admin)
    studio.refresh()
    map_everything(studio)
    assert studio.shown(studio.import_window())["summary"].endswith("- Already imported: 1")
    with studio.scope():
        assert TimeLog.objects.count() == 1


def test_owner_is_the_mapped_member_else_by_email_else_who_connected(studio: Studio) -> None:
    map_everything(studio)
    account = studio.sandbox.account
    workspace = studio.admin.workspace
    bo = account.add_user("Bo", "Berg", "BO@northlight.example")
    cy = account.add_user("Cy", "Chen", "cy@elsewhere.example")
    with studio.scope():
        member = add_member(workspace=workspace, email="bo@northlight.example", name="Bo", actor=None)
        other = add_member(workspace=workspace, email="dee@northlight.example", name="Dee", actor=None)
    studio.refresh()
    one = studio.add_entry("Website", "Design", "2026-06-03", "1.00", user=bo)
    two = studio.add_entry("Website", "Design", "2026-06-03", "1.00", user=cy)
    studio.import_window()
    with studio.scope():
        assert TimeLog.objects.get(external_id=str(one)).owner == member.user
        assert TimeLog.objects.get(external_id=str(two)).owner == studio.admin.user
    studio.harvest["Cy"] = cy
    studio.map("people", {"Cy": other.user})
    three = studio.add_entry("Website", "Design", "2026-06-04", "1.00", user=cy)
    studio.import_window()
    with studio.scope():
        assert TimeLog.objects.get(external_id=str(three)).owner == other.user


def test_no_fallback_owner_when_who_connected_has_left(studio: Studio) -> None:
    map_everything(studio)
    cy = studio.sandbox.account.add_user("Cy", "Chen", "cy@elsewhere.example")
    entry = studio.add_entry("Website", "Design", "2026-06-03", "1.00", user=cy)
    run = studio.start("2026-06-01", "2026-06-12")
    with studio.scope():
        workspace = Workspace.objects.get(id=studio.workspace_id)
        add_member(workspace=workspace, email="eve@northlight.example", role="admin", actor=None)
        remove_member(membership=studio.admin, actor=studio.admin.user)
    importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    assert studio.outcomes(run)[str(entry)] == ("skipped", "no_fallback_owner")


def test_window_defaults_to_the_last_fourteen_days_of_the_workspace(studio: Studio) -> None:
    workspace = studio.admin.workspace
    first, last = importing.checked_window(workspace=workspace, from_date=None, to_date=None)
    assert (last, (last - first).days) == (workspace.today(), 13)


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        (date(2026, 6, 2), date(2026, 6, 1), "from"),
        (date(1969, 12, 31), date(1970, 1, 2), "from"),
        (date(2010, 1, 1), date(2026, 1, 1), "from"),
        (date(2026, 1, 1), date(2300, 1, 1), "to"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(studio: Studio, first: date, last: date, field: str) -> None:
    with studio.scope(), pytest.raises(Invalid) as refused:
        importing.start_import(
            workspace=studio.admin.workspace, by=studio.admin.user, from_date=first, to_date=last
        )
    assert list(refused.value.errors) == [field]
    with studio.scope():
        assert SyncRun.objects.count() == 0


def test_the_free_plan_imports_nothing(db: None) -> None:
    admin = make_admin(plan="free")
    from accounts.tenancy import tenant_scope

    with tenant_scope(admin.workspace_id), pytest.raises(PlanRequired):
        importing.start_import(workspace=admin.workspace, by=admin.user)


def test_queries_do_not_grow_with_the_entries(studio: Studio) -> None:
    map_everything(studio)
    counts = []
    for month, entries in (("2026-03", 1), ("2026-04", 100)):
        for number in range(entries):
            studio.add_entry("Website", "Design", f"{month}-{number % 28 + 1:02d}", "1.00")
        run = studio.start(f"{month}-01", f"{month}-28")
        with CaptureQueriesContext(database) as queries:
            importing.execute_run(workspace_id=studio.workspace_id, run_id=run.id)
        assert studio.shown(run)["imported"] == entries
        counts.append(len(queries))
    assert counts[0] == counts[1]
