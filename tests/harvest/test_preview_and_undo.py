"""Seeing before, taking back after, and bringing in what a mapping left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.errors import Invalid, RunInProgress, ServiceError
from accounts.services import add_member
from clients.models import Client, Project
from harvest.importing import execute_run, start_apply, start_incoming
from harvest.incoming import Incoming, incoming
from harvest.mappings import KINDS, create_missing, rows_of
from harvest.models import RememberedSkip
from harvest.undo import undo_run
from inbound.models import ProposalStatus, TimeProposal
from integrations.models import SyncLink, SyncRun
from integrations.runs import amounts_by_client
from tests.harvest.conftest import Studio
from timelogs.models import ActivityType, TimeLog
from timelogs.services import revise_time_log

pytestmark = pytest.mark.django_db


@pytest.fixture
def mapped(studio: Studio) -> Studio:
    studio.map("projects", {"Website": studio.projects["Website"], "App": studio.projects["App"]})
    studio.map("tasks", {"Design": studio.types["Design"], "Code": studio.types["Code"]})
    return studio


def rows(studio: Studio) -> list[dict[str, Any]]:
    """What is here, ids and stamps aside."""
    with studio.scope():
        return list(
            TimeLog.objects.order_by("external_id").values(
                "external_id", "client_id", "project_id", "activity_type_id", "owner_id", "spent_date", "seconds",
                "notes", "billable", "hourly_rate", "source", "deleted_at",
            )
        )  # fmt: skip


def apply(studio: Studio, preview: SyncRun) -> SyncRun:
    with studio.scope():
        run = start_apply(workspace=studio.admin.workspace, by=studio.admin.user, preview=preview)
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    return studio.reload(run)


# --- Preview ---------------------------------------------------------------------------------------------------------
def test_a_preview_tells_hours_and_amounts_by_client(mapped: Studio) -> None:
    mapped.add_entry("Website", "Design", "2026-06-02", "1.50")
    mapped.add_entry("Website", "Code", "2026-06-02", "0.33")
    mapped.add_entry("App", "Code", "2026-06-03", "2.00")
    preview = mapped.import_window(dry_run=True)
    with mapped.scope():
        assert [(a.client_name, a.entries, a.seconds, a.amount) for a in amounts_by_client(preview)] == [
            ("Acme", 2, 6588, Decimal("209.87")),  # 1.5 x 120 + 0.33 x 90.50 = 209.865, half-up
            ("Birch", 1, 7200, Decimal("181.00")),
        ]


def test_applying_a_preview_brings_in_exactly_that(mapped: Studio) -> None:
    kept = mapped.add_entry("Website", "Design", "2026-06-02", "1.50")
    edited = mapped.add_entry("Website", "Design", "2026-06-03", "1.00")
    gone = mapped.add_entry("Website", "Design", "2026-06-04", "1.00")
    remapped = mapped.add_entry("App", "Design", "2026-06-05", "1.00")
    preview = mapped.import_window(dry_run=True)
    mapped.sandbox.account.edit_entry(edited, hours="4.00")
    mapped.sandbox.account.delete_entry(gone)
    new = mapped.add_entry("Website", "Design", "2026-06-06", "1.00")
    mapped.map("projects", {"App": None, "Loose": mapped.projects["App"]})
    mapped.map("clients", {"Birch": mapped.clients["Acme"]})

    run = apply(mapped, preview)

    moved = ("skipped", "moved_since_preview")
    assert mapped.outcomes(run) == {
        str(kept): ("imported", ""),
        str(edited): moved,
        str(gone): moved,
        str(new): moved,
        str(remapped): moved,
    }
    assert mapped.shown(run)["summary"].endswith("Skipped:\n- Moved since the preview: 4")
    assert [row["external_id"] for row in rows(mapped)] == [str(kept)]
    assert mapped.shown(apply(mapped, preview))["imported"] == 0


def test_only_a_finished_preview_can_be_applied(mapped: Studio) -> None:
    run = mapped.import_window()
    with mapped.scope(), pytest.raises(ServiceError, match="finished preview"):
        start_apply(workspace=mapped.admin.workspace, by=mapped.admin.user, preview=run)
    queued = mapped.start("2026-06-01", "2026-06-12", dry_run=True)
    with mapped.scope(), pytest.raises(ServiceError, match="finished preview"):
        start_apply(workspace=mapped.admin.workspace, by=mapped.admin.user, preview=queued)


# --- Undo ------------------------------------------------------------------------------------------------------------
def test_undo_takes_back_what_is_as_it_came_and_lists_the_rest(mapped: Studio) -> None:
    plain = mapped.add_entry("Website", "Design", "2026-06-02", "1.50")
    edited = mapped.add_entry("Website", "Design", "2026-06-03", "1.00")
    settled = mapped.add_entry("Website", "Design", "2026-06-04", "1.00")
    mapped.map("clients", {"Acme": mapped.clients["Acme"]})
    pending = mapped.add_entry("Loose", "Admin", "2026-06-05", "1.00")
    run = mapped.import_window()
    before = rows(mapped)
    with mapped.scope():
        log = TimeLog.objects.get(external_id=str(edited))
        revise_time_log(log=log, by=mapped.admin, notes="Mine now")
        TimeLog.objects.filter(external_id=str(settled)).update(settled_at=timezone.now())
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=run)
        kept = {TimeLog.objects.get(id=one.time_log).external_id: one.detail for one in undone.kept}
    assert undone.undone == 2
    assert kept == {str(edited): "It has been edited since.", str(settled): "It is on an issued statement."}
    assert [row["external_id"] for row in rows(mapped)] == [str(edited), str(settled)]
    with mapped.scope():
        assert TimeProposal.objects.count() == 0
        assert set(SyncLink.objects.values_list("external_id", flat=True)) == {str(edited), str(settled)}
        again = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=run)
        assert again.undone == 0

    second = mapped.import_window()
    assert mapped.outcomes(second) == {
        str(plain): ("imported", ""),
        str(pending): ("proposed", ""),
        str(edited): ("skipped", "already_imported"),
        str(settled): ("skipped", "already_imported"),
    }
    assert [row for row in rows(mapped) if row["external_id"] == str(plain)] == [
        row for row in before if row["external_id"] == str(plain)
    ]


def test_undo_waits_for_a_run_and_refuses_a_preview(mapped: Studio) -> None:
    run = mapped.import_window()
    preview = mapped.import_window(dry_run=True)
    with mapped.scope(), pytest.raises(ServiceError, match="preview"):
        undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=preview)
    mapped.start("2026-06-01", "2026-06-12")
    with mapped.scope(), pytest.raises(RunInProgress):
        undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=run)


def test_undo_keeps_what_was_decided_in_inbound(mapped: Studio) -> None:
    mapped.map("clients", {"Acme": mapped.clients["Acme"]})
    mapped.add_entry("Loose", "Admin", "2026-06-05", "1.00")
    run = mapped.import_window()
    with mapped.scope():
        TimeProposal.objects.update(status=ProposalStatus.DISMISSED)
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=run)
        assert (undone.undone, [one.detail for one in undone.kept]) == (
            0,
            ["It has been decided in Inbound since."],
        )
    assert mapped.shown(mapped.import_window())["skipped"][0]["reason"] == "dismissed"


# --- Remembered skips ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("entries", [3, 40])  # few are asked for one by one, many by their window
def test_a_new_mapping_says_what_can_come_in_and_brings_exactly_that(studio: Studio, entries: int) -> None:
    studio.map("tasks", {"Design": studio.types["Design"]})
    wanted = [
        studio.add_entry("Website", "Design", f"2026-06-{number % 12 + 1:02d}", "2.25", f"No. {number}")
        for number in range(entries)
    ]
    studio.add_entry("Website", "Admin", "2026-06-02", "1.00")
    studio.add_entry("App", "Design", "2026-06-03", "1.00")
    studio.import_window()
    with studio.scope():
        assert incoming(studio.connection) == Incoming(0, Decimal("0.00"))
        assert RememberedSkip.objects.count() == entries + 2
        with pytest.raises(ServiceError, match="Nothing"):
            start_incoming(workspace=studio.admin.workspace, by=studio.admin.user)
    studio.map("projects", {"Website": studio.projects["Website"]})
    gone = wanted.pop()
    studio.sandbox.account.delete_entry(gone)
    unseen = studio.add_entry("Website", "Design", "2026-06-02", "9.00")  # was never skipped: not asked for
    with studio.scope():
        assert incoming(studio.connection) == Incoming(entries, Decimal("2.25") * entries)
        run = start_incoming(workspace=studio.admin.workspace, by=studio.admin.user)
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)

    assert studio.outcomes(run) == {str(one): ("imported", "") for one in wanted}
    with studio.scope():
        assert incoming(studio.connection) == Incoming(0, Decimal("0.00"))
        assert RememberedSkip.objects.count() == 2
        assert not TimeLog.objects.filter(external_id=str(unseen)).exists()


def test_a_mapped_client_lets_in_what_no_project_did(studio: Studio) -> None:
    studio.add_entry("Loose", "Admin", "2026-06-02", "1.25")
    studio.import_window()
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    with studio.scope():
        assert incoming(studio.connection) == Incoming(1, Decimal("1.25"))
    # A mapped project whose task is not mapped keeps it out, whatever the client.
    studio.map("projects", {"Loose": studio.projects["Website"]})
    with studio.scope():
        assert incoming(studio.connection) == Incoming(0, Decimal("0.00"))


# --- People and Create and map ---------------------------------------------------------------------------------------
def test_setting_a_person_by_hand_reattributes_unsettled_time(mapped: Studio) -> None:
    mapped.map("clients", {"Acme": mapped.clients["Acme"]})
    cy = mapped.harvest["Cy"] = mapped.sandbox.account.add_user("Cy", "Chen", "cy@elsewhere.example")
    with mapped.scope():
        dee = add_member(
            workspace=mapped.admin.workspace, email="dee@northlight.example", name="Dee", actor=None
        ).user
    mapped.refresh()
    open_, done, other = (
        mapped.add_entry("Website", "Design", f"2026-06-0{day}", "1.00", user=user)
        for day, user in ((2, cy), (3, cy), (4, None))
    )
    mapped.add_entry("Loose", "Admin", "2026-06-05", "1.00", user=cy)
    run = mapped.import_window()
    with mapped.scope():
        TimeLog.objects.filter(external_id=str(done)).update(settled_at=timezone.now())
    mapped.map("people", {"Cy": dee})
    with mapped.scope():
        owners = dict(TimeLog.objects.values_list("external_id", "owner_id"))
        assert owners == {
            str(open_): dee.id,
            str(done): mapped.admin.user_id,
            str(other): mapped.admin.user_id,
        }
        assert TimeProposal.objects.get().owner == dee
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=run)
        assert undone.undone == 3  # being re-attributed is no edit


def test_reattributed_time_goes_on_following_its_entry(mapped: Studio) -> None:
    account, workspace = mapped.sandbox.account, mapped.admin.workspace
    cy, bo = (account.add_user(name, "Chen", f"{name.lower()}@elsewhere.example") for name in ("Cy", "Bo"))
    mapped.harvest |= {"Cy": cy, "Bo": bo}
    with mapped.scope():
        dee, eve = (
            add_member(workspace=workspace, email=f"{name}@northlight.example", name=name, actor=None).user
            for name in ("dee", "eve")
        )
    mapped.refresh()
    entry = mapped.add_entry("Website", "Design", "2026-06-02", "1.00", user=cy)
    run = mapped.import_window()
    mapped.map("people", {"Cy": dee, "Bo": eve})
    account.edit_entry(entry, notes="More of it")
    mapped.import_window()
    with mapped.scope():
        log = TimeLog.objects.get()
        assert (log.owner_id, log.notes) == (dee.id, "More of it")
    account.edit_entry(entry, user=bo)
    mapped.import_window()
    with mapped.scope():
        assert TimeLog.objects.get().owner_id == eve.id
        # Nobody has edited it here: all of it was Harvest's doing, or the mapping's.
        assert undo_run(workspace=workspace, by=mapped.admin.user, run=run).undone == 1


def test_create_and_map_makes_what_is_missing_once(studio: Studio) -> None:
    account = studio.sandbox.account
    studio.harvest["New"] = new = account.add_client("New client")
    studio.harvest["Launch"] = launch = account.add_project(new, "Launch", "NEW-1")
    studio.harvest["Film"] = film = account.add_task("Film", default_hourly_rate=75)
    studio.refresh()
    workspace, by = studio.admin.workspace, studio.admin.user
    with studio.scope():
        for kind, ids in (("projects", [launch, studio.harvest["Website"]]), ("tasks", [film])):
            create_missing(
                workspace=workspace,
                connection=studio.connection,
                kind=KINDS[kind],
                harvest_ids=[str(one) for one in ids],
                by=by,
            )
        made = Project.objects.get(name="Launch")
        assert (made.client.name, made.code) == ("New client", "NEW-1")
        assert ActivityType.objects.get(name="Film").hourly_rate == Decimal("75.00")
        # Of the same name and free: taken, not doubled. Its client came along.
        assert (
            Project.objects.filter(name="Website").count() == Client.objects.filter(name="Acme").count() == 1
        )
        targets = {row.harvest_id: row.target for row in rows_of(studio.connection, KINDS["projects"])}
        assert targets[str(studio.harvest["Website"])] == studio.projects["Website"].id
        assert targets[str(launch)] == made.id
        again = create_missing(
            workspace=workspace,
            connection=studio.connection,
            kind=KINDS["projects"],
            harvest_ids=[str(launch)],
            by=by,
        )
        assert again == []
        with pytest.raises(Invalid):
            create_missing(
                workspace=workspace,
                connection=studio.connection,
                kind=KINDS["tasks"],
                harvest_ids=["999"],
                by=by,
            )
