"""Entries that are here already: what changed of them in Harvest comes in by the plan, in imports and syncs alike."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.tenancy import tenant_scope
from harvest.agreement import base_of, lock_logs
from harvest.importing import execute_run, start_apply
from harvest.night import start_sync
from harvest.payloads import read_time_entry
from harvest.terms import load_terms
from harvest.undo import undo_run
from harvest.updating import bring_into_step
from inbound.adjustments import dismiss_adjustment
from inbound.models import Adjustment, TimeProposal
from inbound.services import accept_proposal, dismiss_proposal
from integrations.logs_side import values_of
from integrations.models import Connection, OutboundChange, RunEntry, SyncEvent, SyncLink, SyncRun
from integrations.sync.types import Field, Pair, dump_base, load_base
from tests.harvest.conftest import Studio
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, revise_time_log

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mapped(studio: Studio) -> Studio:
    """Website and two tasks are mapped, and both clients; Loose (of Acme) is not."""
    studio.map("projects", {"Website": studio.projects["Website"], "App": studio.projects["App"]})
    studio.map("tasks", {"Design": studio.types["Design"], "Code": studio.types["Code"]})
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    return studio


def sync(studio: Studio) -> SyncRun:
    with studio.scope():
        run = start_sync(workspace=studio.admin.workspace, by=studio.admin.user)
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    return studio.reload(run)


def both_ways(studio: Studio, policy: str = "harvest") -> None:
    with studio.scope():
        Connection.objects.update(direction="two_way", conflict_policy=policy)
    studio.connection.direction, studio.connection.conflict_policy = "two_way", policy


def only_log(studio: Studio) -> TimeLog:
    with studio.scope():
        return TimeLog.objects.select_related("activity_type", "client", "project").get()


def told(studio: Studio, run: SyncRun) -> tuple[str, str, str]:
    with studio.scope():
        one = RunEntry.objects.get(run=run)
        return one.outcome, one.reason, one.detail


# --- The base --------------------------------------------------------------------------------------------------------
def test_an_import_writes_what_both_sides_hold(mapped: Studio) -> None:
    mapped.add_entry("Website", "Design", "2026-06-01", "2.11", 'Header "A"\nand footer – ü')
    mapped.add_entry("Loose", "Admin", "2026-06-01", "1.00", "Somewhere")
    mapped.import_window()
    with mapped.scope():
        log, proposal = TimeLog.objects.get(), TimeProposal.objects.get()
        links = {link.external_id: link for link in SyncLink.objects.all()}
    entries = {str(one["id"]): one for one in mapped.sandbox.account.entries()}
    ours = values_of(log)
    theirs = {
        Field.PLACEMENT: (str(mapped.harvest["Acme"]), str(mapped.harvest["Website"])),
        Field.ACTIVITY: str(mapped.harvest["Design"]),
        Field.SPENT_DATE: log.spent_date,
        Field.DURATION: Decimal("2.11"),
        Field.NOTES: log.notes,
        Field.OWNER: str(mapped.harvest["Ada"]),
        Field.BILLABLE: entries[str(log.external_id)]["billable"],
    }
    base = links[str(log.external_id)].base
    assert base == dump_base({name: Pair(ours[name], theirs[name]) for name in Field})
    waiting = load_base(links[proposal.external_id].base or {})
    assert {name: pair.local for name, pair in waiting.items()} == dict.fromkeys(Field)
    assert waiting[Field.NOTES].remote == "Somewhere"
    assert waiting[Field.DURATION].remote == Decimal("1.00")


def test_accepting_a_proposal_is_no_edit(mapped: Studio) -> None:
    pk = mapped.add_entry("Loose", "Admin", "2026-06-01", "1.00", "Somewhere")
    mapped.import_window()
    both_ways(mapped)
    with mapped.scope():
        accept_proposal(
            proposal=TimeProposal.objects.get(),
            by=mapped.admin,
            project=mapped.projects["Website"],
            activity_type=mapped.types["Code"],
        )
        log, link = TimeLog.objects.get(), SyncLink.objects.get()
        assert {name: pair.local for name, pair in load_base(link.base or {}).items()} == values_of(log)
        OutboundChange.objects.all().delete()
    mapped.sandbox.account.edit_entry(pk, notes="Somewhere else")
    run = sync(mapped)
    assert told(mapped, run) == ("updated", "", "Changed: notes.")
    log = only_log(mapped)
    assert (log.notes, log.project_id, log.activity_type_id) == (
        "Somewhere else",
        mapped.projects["Website"].id,
        mapped.types["Code"].id,
    )


# --- Changes come in -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["import", "sync"])
def test_an_entry_that_changed_counts_as_updated(mapped: Studio, how: str) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    account = mapped.sandbox.account
    account.edit_entry(pk, hours="1.50", notes="Footer", task=mapped.harvest["Code"], spent_on="2026-06-02")
    run = mapped.import_window() if how == "import" else sync(mapped)
    outcome, reason, detail = told(mapped, run)
    assert (outcome, reason) == ("updated", "")
    for word in ("hours", "notes", "activity type", "date"):
        assert word in detail
    log = only_log(mapped)
    assert (log.seconds, log.notes, str(log.spent_date)) == (5400, "Footer", "2026-06-02")
    assert (log.activity_type_id, log.hourly_rate) == (mapped.types["Code"].id, Decimal("90.50"))
    assert mapped.shown(run)["updated"] == 1
    with mapped.scope():
        event = SyncEvent.objects.get()
        assert (event.deed, event.run_id, event.external_id) == ("taken", run.id, str(pk))
        assert event.fields["duration"] == {"before": "1.00 h", "after": "1.50 h"}
    again = mapped.import_window()
    assert told(mapped, again)[:2] == ("skipped", "already_imported")


def test_import_only_leaves_what_was_edited_here(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Ours")
    mapped.sandbox.account.edit_entry(pk, notes="Theirs", hours="2.00")
    run = mapped.import_window()
    assert told(mapped, run) == ("updated", "", "Changed: hours.")
    assert (only_log(mapped).notes, only_log(mapped).seconds) == ("Ours", 7200)
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "already_imported")
    # Set back to what both held, it follows Harvest again.
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Header")
    assert told(mapped, mapped.import_window()) == ("updated", "", "Changed: notes.")
    assert only_log(mapped).notes == "Theirs"
    with mapped.scope():
        assert not OutboundChange.objects.exists()


def test_both_ways_what_was_edited_here_is_left_to_the_queue(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Ours")
    both_ways(mapped)
    mapped.sandbox.account.edit_entry(pk, hours="2.00")
    run = sync(mapped)
    assert told(mapped, run) == ("updated", "", "Changed: hours.")
    with mapped.scope():
        change = OutboundChange.objects.get()
        log = TimeLog.objects.get()
        assert (change.state, change.time_log_id, log.sync_state) == ("pending", log.id, "pending")
        base = load_base(SyncLink.objects.get().base or {})
        assert (base[Field.DURATION].local, base[Field.NOTES].local) == (7200, "Header")


def test_a_conflict_waits_where_the_policy_asks(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Ours")
    both_ways(mapped, "ask")
    mapped.sandbox.account.edit_entry(pk, notes="Theirs")
    run = sync(mapped)
    assert told(mapped, run)[::2] == ("unchanged", "Changed here and in Harvest: notes.")
    with mapped.scope():
        change = OutboundChange.objects.get()
        assert change.state == "conflict"
        assert change.fields == {"notes": {"timebridge": "Ours", "harvest": "Theirs"}}
    assert (only_log(mapped).notes, only_log(mapped).sync_state) == ("Ours", "conflict")


def test_the_history_names_what_the_policy_gave_up(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Ours")
    both_ways(mapped)
    mapped.sandbox.account.edit_entry(pk, notes="Theirs")
    sync(mapped)
    assert only_log(mapped).notes == "Theirs"
    with mapped.scope():
        event = SyncEvent.objects.get(deed="overruled")
        assert event.fields == {"notes": {"timebridge": "Ours", "harvest": "Theirs"}}


def test_a_move_to_an_unmapped_project_is_held_until_it_is_mapped(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, project=mapped.harvest["Loose"], notes="Moved")
    run = mapped.import_window()
    assert told(mapped, run) == ("updated", "", "Changed: notes.")
    log = only_log(mapped)
    assert (log.project_id, log.sync_state) == (mapped.projects["Website"].id, "held")
    assert "Loose ends" in log.sync_detail
    with mapped.scope():
        assert (OutboundChange.objects.get().way, OutboundChange.objects.get().reason) == ("in", "not_mapped")
    mapped.map("projects", {"Website": None, "Loose": mapped.projects["App"]})
    assert told(mapped, mapped.import_window()) == ("updated", "", "Changed: project.")
    log = only_log(mapped)
    assert (log.project_id, log.client_id, log.sync_state) == (
        mapped.projects["App"].id,
        mapped.clients["Birch"].id,
        "synced",
    )


def test_a_settled_log_stays_and_its_difference_waits(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        TimeLog.objects.update(settled_at=timezone.now())
    mapped.sandbox.account.edit_entry(pk, hours="2.00")
    for run in (mapped.import_window(), sync(mapped)):
        assert told(mapped, run)[:2] == ("skipped", "settled")
    log = only_log(mapped)
    assert (log.seconds, log.sync_state) == (3600, "differs")
    with mapped.scope():
        assert Adjustment.objects.get(status="pending").seconds_delta == 3600
    mapped.sandbox.account.edit_entry(pk, hours="1.00")
    mapped.import_window()
    assert only_log(mapped).sync_state == "synced"
    with mapped.scope():
        assert not Adjustment.objects.filter(status="pending").exists()


@pytest.mark.parametrize("state", ["differs", "held"])
def test_a_dismissed_difference_ends_with_it_and_is_news_when_it_comes_again(
    mapped: Studio, state: str
) -> None:
    """Whatever the log's state speaks of by then: what waits, or was decided, tells that there was a difference."""
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        TimeLog.objects.update(settled_at=timezone.now())

    def changed(hours: str) -> list[str]:
        mapped.sandbox.account.edit_entry(pk, hours=hours)
        mapped.import_window()
        with mapped.scope():
            return list(Adjustment.objects.order_by("id").values_list("status", flat=True))

    assert changed("2.00") == ["pending"]
    with mapped.scope():
        dismiss_adjustment(adjustment=Adjustment.objects.get(), by=mapped.admin)
    assert changed("2.00") == ["dismissed"]
    with mapped.scope():
        TimeLog.objects.update(sync_state=state)
    assert changed("1.00") == ["withdrawn"]
    assert changed("2.00") == ["withdrawn", "pending"]


def test_an_edit_in_harvest_beats_a_deletion_here(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        delete_time_log(log=TimeLog.objects.get(), by=mapped.admin)
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "already_imported")
    mapped.sandbox.account.edit_entry(pk, hours="2.00")
    assert told(mapped, mapped.import_window())[0] == "updated"
    log = only_log(mapped)
    assert (log.deleted_at, log.seconds, log.notes) == (None, 7200, "Header")


def test_links_from_before_bases_follow_all_the_same(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    with mapped.scope():
        SyncLink.objects.update(base=None)
    mapped.sandbox.account.edit_entry(pk, notes="Footer")
    assert told(mapped, mapped.import_window()) == ("updated", "", "Changed: notes.")
    with mapped.scope():
        log, link, terms = TimeLog.objects.get(), SyncLink.objects.get(), load_terms(mapped.connection)
        assert (log.notes, link.base is None) == ("Footer", False)
        assert base_of(link, log, here=terms.here(log), there=None, entry=None)[Field.NOTES] == Pair(
            "Footer", "Footer"
        )


def test_a_running_timer_leaves_its_log_alone(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    mapped.sandbox.account.start_timer(pk)
    mapped.import_window()
    assert only_log(mapped).seconds == 3600


# --- What the queue knows better -------------------------------------------------------------------------------------
def test_a_log_that_is_being_sent_is_left_to_the_queue(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    both_ways(mapped)
    with mapped.scope():
        log = TimeLog.objects.get()
        OutboundChange.objects.create(
            workspace_id=log.workspace_id,
            connection=mapped.connection,
            time_log=log,
            state="sending",
            lease_token=log.id,
            lease_until=timezone.now(),
        )
    mapped.sandbox.account.edit_entry(pk, notes="Perhaps older than what is being sent")
    run = sync(mapped)
    assert told(mapped, run)[0] == "unchanged"
    assert only_log(mapped).notes == "Header"
    with mapped.scope():
        assert sorted(OutboundChange.objects.values_list("state", flat=True)) == ["pending", "sending"]


# --- Proposals -------------------------------------------------------------------------------------------------------
def test_a_proposal_follows_its_entry(mapped: Studio) -> None:
    pk = mapped.add_entry("Loose", "Admin", "2026-06-01", "1.00", "Somewhere")
    mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, hours="2.00", notes="Elsewhere", task=mapped.harvest["Design"])
    run = sync(mapped)
    assert told(mapped, run)[0] == "updated"
    with mapped.scope():
        row = TimeProposal.objects.get()
        assert (row.seconds, row.notes, row.activity_type_id) == (
            7200,
            "Elsewhere",
            mapped.types["Design"].id,
        )
        assert row.hourly_rate == Decimal("120.00")
        dismiss_proposal(proposal=row, by=mapped.admin)
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "dismissed")
    mapped.sandbox.account.edit_entry(pk, hours="3.00")
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "dismissed")
    with mapped.scope():
        assert (TimeProposal.objects.get().seconds, TimeProposal.objects.get().status) == (10800, "dismissed")


# --- Previews and undo -----------------------------------------------------------------------------------------------
def test_a_preview_says_updated_and_writes_nothing(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, notes="Footer")
    preview = mapped.import_window(dry_run=True)
    assert told(mapped, preview) == ("updated", "", "Changed: notes.")
    assert only_log(mapped).notes == "Header"
    with mapped.scope():
        assert not SyncEvent.objects.exists()
        run = start_apply(workspace=mapped.admin.workspace, by=mapped.admin.user, preview=preview)
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert told(mapped, run) == ("updated", "", "Changed: notes.")
    assert only_log(mapped).notes == "Footer"


def test_applying_a_preview_leaves_out_what_moved_since(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, notes="Footer")
    preview = mapped.import_window(dry_run=True)
    mapped.sandbox.account.edit_entry(pk, notes="Something else again")
    with mapped.scope():
        run = start_apply(workspace=mapped.admin.workspace, by=mapped.admin.user, preview=preview)
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert told(mapped, run)[:2] == ("skipped", "moved_since_preview")
    assert only_log(mapped).notes == "Header"


def test_what_a_sync_changed_can_still_be_undone(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    first = mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, notes="Footer", project=mapped.harvest["Loose"])
    mapped.import_window()
    with mapped.scope():
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=first)
        assert (undone.undone, undone.kept) == (1, [])
        assert not SyncLink.objects.exists()
        assert not SyncEvent.objects.exists()
        assert not OutboundChange.objects.exists()


def test_what_a_person_edited_after_a_sync_did_is_kept_by_an_undo(mapped: Studio) -> None:
    pk = mapped.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    first = mapped.import_window()
    mapped.sandbox.account.edit_entry(pk, notes="Footer")
    mapped.import_window()
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, seconds=60)
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=first)
        assert [one.detail for one in undone.kept] == ["It has been edited since."]


# --- Cost ------------------------------------------------------------------------------------------------------------
def test_a_page_of_changes_costs_the_same_however_many(mapped: Studio) -> None:
    ids = [mapped.add_entry("Website", "Design", "2026-06-01", "1.00", f"Note {n}") for n in range(60)]
    mapped.import_window()
    with mapped.scope():
        run = SyncRun.objects.create(
            workspace=mapped.admin.workspace, connection=mapped.connection, kind="sync", account_id="880123"
        )
    counts = []
    for some in (ids[:3], ids[3:]):
        for pk in some:
            mapped.sandbox.account.edit_entry(pk, hours="2.00")
        shown = {str(one["id"]): read_time_entry(_decimals(one)) for one in mapped.sandbox.account.entries()}
        seen = {str(pk): shown[str(pk)] for pk in some}
        with mapped.scope(), CaptureQueriesContext(database) as queries:
            bring_into_step(run, seen, since=timezone.now())
        counts.append(len(queries))
    assert counts[0] == counts[1]
    with mapped.scope():
        assert TimeLog.objects.filter(seconds=7200).count() == 60


def _decimals(row: Any) -> Any:
    return json.loads(json.dumps(row, default=str), parse_float=Decimal)


def test_logs_are_locked_in_one_order(mapped: Studio) -> None:
    for n in range(3):
        mapped.add_entry("Website", "Design", "2026-06-01", "1.00", f"Note {n}")
    mapped.import_window()
    with tenant_scope(mapped.workspace_id):
        ids = list(TimeLog.objects.order_by("-id").values_list("id", flat=True))
        assert list(lock_logs(mapped.workspace_id, ids)) == sorted(ids)
