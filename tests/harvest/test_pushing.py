"""A log's way out, change by change, against the sandbox: what goes out, what is held, and what survives trouble."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Membership, Role
from harvest.client import HarvestClient
from harvest.models import PersonMapping
from harvest.sandbox import FaultKind
from integrations.models import Connection, ConnectionStatus, OutboundChange, RunEntry, SyncEvent, SyncLink
from tests.factories import make_member
from tests.harvest.conftest import Studio
from tests.harvest.outbound import Both, go_both_ways
from tests.harvest.test_updating import sync
from timelogs.models import SyncState, TimeLog

pytestmark = pytest.mark.django_db


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


def only(both: Both) -> dict[str, Any]:
    (entry,) = both.entries()
    return entry


def no_echo(both: Both) -> None:
    """Asked again about every linked log, nothing is written on either side."""
    with both.studio.scope():
        logs = list(SyncLink.objects.exclude(time_log=None).values_list("time_log_id", flat=True))
        from integrations.outgoing import enqueue

        enqueue(
            workspace_id=both.studio.workspace_id,
            connection_id=both.studio.connection.id,
            time_log_ids=logs,
        )
    both.studio.sandbox.forget_requests()
    before, there = {pk: snapshot(both, pk) for pk in logs}, both.entries()
    both.drain()
    assert {record.method for record in both.studio.sandbox.seen()} <= {"GET"}
    assert {pk: snapshot(both, pk) for pk in logs} == before
    assert both.entries() == there


def snapshot(both: Both, pk: Any) -> tuple[Any, ...]:
    with both.studio.scope():
        log = TimeLog.objects.get(pk=pk)
    return (log.client_id, log.project_id, log.activity_type_id, log.spent_date, log.seconds, log.notes,
            log.billable, log.owner_id, log.deleted_at, log.updated_at)  # fmt: skip


# --- What goes out ---------------------------------------------------------------------------------------------------
def test_a_saved_log_is_made_in_harvest(both: Both) -> None:
    log = both.log(seconds=7600, billable=False)
    assert both.state(log) == (SyncState.PENDING, "")
    assert both.drain() is None
    entry, ids = only(both), both.studio.harvest
    assert (entry["project"]["id"], entry["task"]["id"], entry["user"]["id"]) == (
        ids["Website"],
        ids["Design"],
        ids["Ada"],
    )
    assert (entry["hours"], entry["notes"], entry["spent_date"]) == (2.11, "Sketches", "2026-06-01")
    assert entry["is_running"] is False
    assert entry["external_reference"]["id"] == str(log.id)
    assert entry["external_reference"]["permalink"].endswith(f"/time-logs/{log.id}/")
    after = both.reload(log)
    assert (after.sync_state, after.external_id, after.source) == ("synced", str(entry["id"]), "manual")
    assert (after.seconds, after.billable) == (7600, False)
    assert both.deeds(log) == ["pushed"]
    # One request for a new log: the limit is for more of them.
    assert [one.method for one in both.studio.sandbox.seen(path="/time_entries")] == ["POST"]
    no_echo(both)


def test_nothing_goes_out_of_what_is_not_mapped_nor_of_imports_alone(both: Both) -> None:
    other = both.log(project=None, client=both.studio.clients["Birch"])
    assert both.state(other) == (SyncState.NONE, "")
    both.set(direction="import")
    log = both.log()
    assert both.state(log) == (SyncState.NONE, "")
    assert both.changes() == []
    assert both.drain() is None
    assert both.entries() == []


def test_a_log_of_a_client_lands_in_the_chosen_project_or_in_general(both: Both) -> None:
    ids = both.studio.harvest
    first = both.log(
        project=None, client=both.studio.clients["Acme"], activity_type=both.studio.types["Code"]
    )
    both.drain()
    entry = only(both)
    assert (entry["project"]["name"], entry["client"]["id"], entry["task"]["id"]) == (
        "General",
        ids["Acme"],
        ids["Code"],
    )
    with both.studio.scope():
        from harvest.models import ClientMapping

        ClientMapping.objects.update(push_project=str(ids["Loose"]))
    second = both.log(project=None, client=both.studio.clients["Acme"])
    both.drain()
    assert both.state(second)[0] == both.state(first)[0] == "synced"
    assert [one["project"]["name"] for one in both.entries()] == ["General", "Loose ends"]
    no_echo(both)


def test_tasks_and_people_that_are_not_mapped_have_somebody_stand_in(both: Both) -> None:
    ids = both.studio.harvest
    mel = make_member(both.studio.admin.workspace, Role.MEMBER, email="bo@northlight.example", name="Bo")
    nobody = make_member(both.studio.admin.workspace, Role.MEMBER, email="nobody@northlight.example")
    both.log(by=mel, activity_type=None)
    both.log(by=nobody, activity_type=both.studio.types["Admin"])
    both.drain()
    one, two = both.entries()
    assert (one["user"]["id"], one["task"]["id"]) == (ids["Bo"], ids["Design"])  # the first task assigned
    assert (two["user"]["id"], two["task"]["id"]) == (ids["Ada"], ids["Design"])
    both.set(default_task=str(ids["Code"]))
    both.log(activity_type=None)
    both.drain()
    assert both.entries()[2]["task"]["id"] == ids["Code"]
    no_echo(both)


def test_only_what_was_edited_is_sent(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    update, sent = HarvestClient.update_time_entry, list[set[str]]()

    def told(self: HarvestClient, pk: int, **fields: Any) -> Any:
        sent.append(set(fields))
        return update(self, pk, **fields)

    monkeypatch.setattr(HarvestClient, "update_time_entry", told)
    log = both.log()
    both.drain()
    both.account.edit_entry(only(both)["id"], notes="Edited there")
    both.edit(log, seconds=3600, activity_type=both.studio.types["Code"])
    assert both.state(log)[0] == "pending"
    both.drain()
    entry, after = only(both), both.reload(log)
    assert (entry["hours"], entry["task"]["id"], entry["notes"]) == (
        1.0,
        both.studio.harvest["Code"],
        "Edited there",
    )
    assert (after.seconds, after.notes, after.sync_state) == (3600, "Edited there", "synced")
    assert sorted(both.deeds(log)) == ["pushed", "sent", "taken"]
    assert sent == [{"hours", "task_id"}]
    no_echo(both)


def test_several_edits_before_a_push_are_one(both: Both) -> None:
    log = both.log()
    for n in range(5):
        both.edit(log, notes=f"Version {n}")
    assert len(both.changes(log)) == 1
    both.drain()
    assert only(both)["notes"] == "Version 4"
    assert both.seen("POST") == 1


def test_a_deletion_goes_out_and_a_restored_log_is_made_anew(both: Both) -> None:
    log = both.log()
    both.drain()
    old = only(both)["id"]
    both.delete(log)
    both.drain()
    assert both.entries() == []
    assert both.link(log) is None
    assert both.deeds(log) == ["pushed", "removed"]
    both.restore(log)
    both.drain()
    assert only(both)["id"] != old
    assert both.reload(log).external_id == str(only(both)["id"])
    with both.studio.scope():
        assert SyncLink.objects.get(external_id=str(old)).former_log_id == log.id


def test_a_log_deleted_before_its_push_asks_nothing_of_harvest(both: Both) -> None:
    log = both.log()
    both.delete(log)
    both.drain()
    assert both.studio.sandbox.seen(path="/time_entries") == []
    assert [one.state for one in both.changes(log)] == ["cancelled"]
    assert both.state(log)[0] == "none"


def test_an_edit_beats_a_deletion(both: Both) -> None:
    log = both.log()
    both.drain()
    gone = only(both)["id"]
    both.account.delete_entry(gone)
    both.edit(log, notes="Still here")
    both.drain()
    assert only(both)["notes"] == "Still here"
    assert only(both)["id"] != gone
    assert both.reload(log).external_id == str(only(both)["id"])
    no_echo(both)


def test_what_was_edited_there_beats_a_deletion_here(both: Both) -> None:
    log = both.log()
    both.drain()
    both.account.edit_entry(only(both)["id"], notes="Kept there")
    both.delete(log)
    both.drain()
    after = both.reload(log)
    assert (after.deleted_at, after.notes, after.sync_state) == (None, "Kept there", "synced")
    assert only(both)["notes"] == "Kept there"
    assert "restored" in both.deeds(log)


def know(both: Both) -> Membership:
    """Ada of Harvest is our admin, and Bo a member."""
    with both.studio.scope():
        PersonMapping.objects.create(
            workspace_id=both.studio.workspace_id,
            harvest_id=str(both.studio.harvest["Ada"]),
            target=both.studio.admin.user,
        )
    return make_member(both.studio.admin.workspace, Role.MEMBER, email="bo@northlight.example", name="Bo")


def test_another_owner_replaces_the_entry(both: Both) -> None:
    bo = know(both)
    log = both.log()
    both.drain()
    old = only(both)["id"]
    both.edit(log, owner=bo.user, notes="Bo's")
    both.drain()
    entry = only(both)
    assert (entry["user"]["id"], entry["notes"]) == (both.studio.harvest["Bo"], "Bo's")
    assert entry["id"] != old
    assert (both.reload(log).external_id, both.reload(log).owner_id) == (str(entry["id"]), bo.user_id)
    assert both.deeds(log) == ["pushed", "replaced"]
    with both.studio.scope():
        assert SyncLink.objects.get(external_id=str(old)).former_log_id == log.id
    no_echo(both)


def test_an_entry_that_was_approved_while_it_was_replaced_stays_the_only_one(both: Both) -> None:
    """The new one was made, deleting the old one failed, and then Harvest refuses it: the new one goes."""
    bo = know(both)
    log = both.log()
    both.drain()
    old = only(both)["id"]
    both.studio.sandbox.fault(FaultKind.CUT, method="DELETE")
    both.edit(log, owner=bo.user)
    both.drain()
    assert len(both.entries()) == 2
    both.account.approve(old)
    both.send_all()
    assert only(both)["id"] == old
    assert both.state(log)[0] == "held"
    assert both.reload(log).external_id == str(old)
    assert all(change.begun is None for change in both.changes(log))


def test_start_and_end_times(both: Both) -> None:
    both.account.track_start_and_end()
    both.studio.refresh()
    first, second = both.log(), both.log(seconds=1800)
    both.drain()
    assert [(one["started_time"], one["ended_time"]) for one in both.entries()] == [
        ("09:00", "10:30"),
        ("10:30", "11:00"),
    ]
    both.edit(first, notes="Notes alone")
    both.edit(second, seconds=3600)
    both.drain()
    assert [(one["started_time"], one["ended_time"], one["notes"]) for one in both.entries()] == [
        ("09:00", "10:30", "Notes alone"),
        ("10:30", "11:30", "Sketches"),
    ]
    no_echo(both)


# --- What waits for a person -----------------------------------------------------------------------------------------
def test_a_conflict_asks_and_is_settled_by_either_version(both: Both) -> None:
    both.set(conflict_policy="ask")
    logs = [both.log(notes="Agreed"), both.log(notes="Agreed")]
    both.drain()
    for entry in both.entries():
        both.account.edit_entry(entry["id"], notes="Theirs")
    for log in logs:
        both.edit(log, notes="Ours")
    both.drain()
    assert [both.state(log)[0] for log in logs] == ["conflict", "conflict"]
    (change,) = [one for one in both.changes(logs[0]) if one.state == "conflict"]
    assert change.fields == {"notes": {"timebridge": "Ours", "harvest": "Theirs"}}
    from integrations.outgoing import retry

    for log, keep in zip(logs, ("timebridge", "harvest"), strict=True):
        with both.studio.scope():
            from integrations.models import OutboundChange

            rows = OutboundChange.objects.filter(time_log=log, state="conflict")
            rows.update(keep=keep)
            retry(rows)
    both.drain()
    assert sorted(one["notes"] for one in both.entries()) == ["Ours", "Theirs"]
    assert [both.reload(log).notes for log in logs] == ["Ours", "Theirs"]
    assert [both.state(log) for log in logs] == [("synced", ""), ("synced", "")]
    no_echo(both)


@pytest.mark.parametrize(
    ("policy", "notes"), [("harvest", "Theirs"), ("timebridge", "Ours"), ("newest", "Ours")]
)
def test_policies(both: Both, policy: str, notes: str) -> None:
    both.set(conflict_policy=policy)
    log = both.log(notes="Agreed")
    both.drain()
    both.account.edit_entry(only(both)["id"], notes="Theirs", updated_at="2020-01-01T00:00:00Z")
    both.edit(log, notes="Ours")
    both.drain()
    assert (only(both)["notes"], both.reload(log).notes) == (notes, notes)
    assert both.state(log) == ("synced", "")
    assert "overruled" in both.deeds(log)
    no_echo(both)


def test_what_rounds_to_nothing_is_held_until_it_is_more(both: Both) -> None:
    log = both.log(seconds=17)
    both.drain()
    state, detail = both.state(log)
    assert (state, "0.00 hours" in detail) == ("held", True)
    assert both.entries() == []
    both.edit(log, seconds=36)
    assert both.state(log) == ("pending", "")
    both.drain()
    assert both.state(log) == ("synced", "")
    assert only(both)["hours"] == 0.01
    assert len(both.changes(log)) == 1


def test_what_was_locked_goes_out_by_itself_once_it_is_not(both: Both) -> None:
    log = both.log()
    both.drain()
    both.account.approve(only(both)["id"])
    both.edit(log, notes="Too early")
    both.drain()
    sync(both.studio)
    assert (both.state(log)[0], only(both)["notes"]) == ("held", "Sketches")
    assert both.deeds(log) == ["pushed", "held"]
    both.account.unlock_entries(only(both)["id"])
    sync(both.studio)
    both.send_all()
    assert (both.state(log), only(both)["notes"]) == (("synced", ""), "Too early")


@pytest.mark.parametrize("change", ["approve", "bill", "lock_entries"])
def test_what_is_locked_in_harvest_is_held(both: Both, change: str) -> None:
    log = both.log()
    both.drain()
    getattr(both.account, change)(only(both)["id"])
    both.edit(log, notes="Too late")
    both.drain()
    state, detail = both.state(log)
    assert state == "held"
    assert "Harvest" in detail
    assert only(both)["notes"] == "Sketches"
    both.account.unlock_entries(only(both)["id"])
    with both.studio.scope():
        from integrations.models import OutboundChange
        from integrations.outgoing import retry

        assert retry(OutboundChange.objects.all()) == 1
    both.drain()
    assert only(both)["notes"] == "Too late"
    assert both.state(log) == ("synced", "")


def test_a_refusal_names_what_a_click_can_do(both: Both) -> None:
    ids = both.studio.harvest
    both.account.remove("task_assignments", both.account.assign_task(ids["Website"], ids["Code"]))
    log = both.log(activity_type=both.studio.types["Code"])
    both.drain()
    (change,) = both.changes(log)
    assert (change.state, change.reason, change.begun) == ("held", "not_assigned", None)
    assert change.remedy == {
        "kind": "assign",
        "project": str(ids["Website"]),
        "task": str(ids["Code"]),
        "user": str(ids["Ada"]),
    }
    assert both.state(log) == ("held", change.detail)


def test_a_settled_log_still_goes_out_and_is_never_changed(both: Both) -> None:
    log = both.log()
    with both.studio.scope():
        TimeLog.objects.filter(pk=log.pk).update(settled_at=timezone.now())
    both.drain()
    entry = only(both)["id"]
    assert both.state(log) == ("synced", "")
    both.account.edit_entry(entry, hours="9.00")
    with both.studio.scope():
        from integrations.outgoing import enqueue

        enqueue(
            workspace_id=both.studio.workspace_id,
            connection_id=both.studio.connection.id,
            time_log_ids=[log.id],
        )
    both.drain()
    assert both.reload(log).seconds == 5400
    assert both.state(log)[0] == "differs"


# --- Trouble ---------------------------------------------------------------------------------------------------------
def scene_create(both: Both) -> TimeLog:
    return both.log(notes="Final")


def scene_general(both: Both) -> TimeLog:
    return both.log(project=None, client=both.studio.clients["Acme"], notes="Final")


def scene_edit(both: Both) -> TimeLog:
    log = both.log()
    both.drain()
    return both.edit(log, notes="Final", seconds=3600)


def scene_delete(both: Both) -> TimeLog:
    log = both.log()
    both.drain()
    both.delete(log)
    return log


def scene_replace(both: Both) -> TimeLog:
    bo = know(both)
    log = both.log()
    both.drain()
    return both.edit(log, owner=bo.user, notes="Final")


def scene_times(both: Both) -> TimeLog:
    both.account.track_start_and_end()
    both.studio.refresh()
    return both.log(notes="Final")


def scene_wrong_times(both: Both) -> TimeLog:
    """The account changed its mode without our knowing: a timer starts, and is to be stopped whatever happens."""
    both.account.track_start_and_end()
    return both.log(notes="Final")


def scene_gone(both: Both) -> TimeLog:
    log = both.log()
    both.drain()
    both.account.delete_entry(only(both)["id"])
    return both.edit(log, notes="Final")


SCENES: list[Callable[[Both], TimeLog]] = [
    scene_create, scene_general, scene_edit, scene_delete, scene_replace, scene_times, scene_wrong_times, scene_gone,
]  # fmt: skip


def one_effect(both: Both, log: TimeLog, scene: Callable[[Both], TimeLog]) -> None:
    entries = both.entries()
    if scene is scene_delete:
        assert entries == []
        return
    (entry,) = entries
    after = both.reload(log)
    assert (entry["notes"], after.notes, after.sync_state) == ("Final", "Final", "synced")
    assert entry["is_running"] is False
    assert round(entry["hours"] * 3600) == after.seconds
    assert after.external_id == str(entry["id"])
    assert entry["external_reference"]["id"] == str(log.id)
    names = [row["name"] for row in both.account.tables["projects"].values()]
    assert names.count("General") == (1 if scene is scene_general else 0)
    if scene is scene_replace:
        assert entry["user"]["id"] == both.studio.harvest["Bo"]
    assert all(change.begun is None for change in both.changes(log))
    no_echo(both)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(
    "kind",
    [FaultKind.LOST, FaultKind.CUT, FaultKind.SERVER_ERROR, FaultKind.RATE_LIMITED, FaultKind.GARBAGE,
     FaultKind.RATE_LIMITED_BARE, FaultKind.TRUNCATED],
)  # fmt: skip
def test_a_fault_at_each_request_leaves_one_effect(
    both: Both, scene: Callable[[Both], TimeLog], kind: FaultKind
) -> None:
    """Every request of a push in turn meets the fault: one effect, whichever it was."""
    log = scene(both)
    both.studio.sandbox.forget_requests()
    both.studio.sandbox.fault(kind, times=None, probability=0.5)
    for _ in range(12):
        with both.studio.scope():
            from integrations.models import OutboundChange

            OutboundChange.objects.filter(state="pending").update(not_before=timezone.now())
        both.drain()
    both.studio.sandbox.clear_faults()
    both.send_all()
    one_effect(both, log, scene)


@pytest.mark.parametrize("scene", SCENES)
def test_every_answer_lost_once(both: Both, scene: Callable[[Both], TimeLog]) -> None:
    """The nth request's answer is lost, for every n until a push makes no more requests."""
    log = scene(both)
    for after in range(12):
        fault = both.studio.sandbox.fault(FaultKind.LOST, after=after)
        both.drain()
        with both.studio.scope():
            from integrations.models import OutboundChange

            OutboundChange.objects.filter(state="pending").update(not_before=timezone.now())
        both.studio.sandbox.faults.remove(fault)
    both.send_all()
    one_effect(both, log, scene)


class Killed(BaseException):
    """What a killed worker's stack sees of it: nothing after this line is done."""


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("before", [True, False])
def test_a_worker_that_dies_at_any_step_leaves_one_effect(
    both: Both, scene: Callable[[Both], TimeLog], before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before, or after, the nth thing that others can see of a push: a request, or a commit."""
    import harvest.client
    import harvest.pushing

    log = scene(both)
    steps = {"left": -1}

    def deadly(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any, **kwargs: Any) -> Any:
            if before:
                count_down()
            result = step(*args, **kwargs)
            if not before:
                count_down()
            return result

        return taken

    def count_down() -> None:
        if steps["left"] == 0:
            steps["left"] = -1
            raise Killed
        steps["left"] -= 1

    wire = harvest.client._Wire
    monkeypatch.setattr(wire, "send", deadly(wire.send))
    for name in ("prolong", "finish", "put_back", "hold", "claim"):
        monkeypatch.setattr(harvest.pushing.outgoing, name, deadly(getattr(harvest.pushing.outgoing, name)))
    died = 0
    for nth in range(14):
        steps["left"] = nth
        try:
            both.drain()
        except Killed:
            died += 1
        with both.studio.scope():
            from integrations.models import OutboundChange

            OutboundChange.objects.filter(state="sending").update(lease_until=timezone.now())
            OutboundChange.objects.filter(state="pending").update(not_before=timezone.now())
    steps["left"] = -1
    both.send_all()
    assert died
    one_effect(both, log, scene)


def test_a_log_saved_while_it_is_being_sent_goes_out_again(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harvest.side import HarvestSide

    log = both.log(notes="First")
    post = HarvestSide.post

    def meanwhile(self: HarvestSide, *args: Any, **kwargs: Any) -> Any:
        entry = post(self, *args, **kwargs)
        both.edit(log, notes="Second", seconds=3600)
        return entry

    monkeypatch.setattr(HarvestSide, "post", meanwhile)
    both.drain()
    assert (only(both)["notes"], only(both)["hours"]) == ("Second", 1.0)
    assert both.reload(log).notes == "Second"
    assert [one.state for one in both.changes(log)] == ["done", "done"]
    no_echo(both)


def test_a_run_that_joined_the_entry_first_is_no_trouble(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    from harvest.side import HarvestSide

    log = both.log()
    put_right = HarvestSide.put_right

    def meanwhile(self: HarvestSide, payload: Any, fields: Any) -> Any:
        with both.studio.scope():
            SyncLink.objects.create(
                workspace_id=both.studio.workspace_id,
                account_id="880123",
                external_id=str(payload.id),
                time_log=log,
            )
        return put_right(self, payload, fields)

    monkeypatch.setattr(HarvestSide, "put_right", meanwhile)
    both.drain()
    monkeypatch.undo()
    both.send_all()
    assert both.state(log) == ("synced", "")
    assert len(both.entries()) == 1
    no_echo(both)


@pytest.mark.parametrize("trouble", ["none", "away when it wakes", "the other's answer was lost"])
def test_a_worker_that_wakes_too_late_takes_its_double_back(
    both: Both, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Stopped right before its POST for longer than its lease, while another sent the log."""
    from harvest.side import HarvestSide
    from integrations.models import OutboundChange

    log = both.log()
    post = HarvestSide.post

    def slept(self: HarvestSide, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(HarvestSide, "post", post)
        with both.studio.scope():
            OutboundChange.objects.update(lease_until=timezone.now())
        if trouble == "the other's answer was lost":
            both.studio.sandbox.fault(FaultKind.LOST, method="POST")
        both.drain()
        assert len(both.entries()) == 1
        return post(self, *args, **kwargs)

    monkeypatch.setattr(HarvestSide, "post", slept)
    if trouble == "away when it wakes":
        both.studio.sandbox.fault(FaultKind.UNAVAILABLE, method="DELETE")
    both.drain()
    both.send_all()
    assert len(both.entries()) == 1
    assert both.reload(log).external_id == str(only(both)["id"])
    assert both.state(log) == ("synced", "")


def made_late(both: Both, log: TimeLog) -> int:
    """What a POST makes whose answer was lost, when Harvest comes to it after all."""
    return both.studio.add_entry(
        "Website", "Design", log.spent_date, "1.50", log.notes, external_reference=str(log.id)
    )


@pytest.mark.parametrize("deleted", [False, True])
def test_what_harvest_made_after_all_is_taken_back(both: Both, deleted: bool) -> None:
    """The POST was still on its way when its entry was looked for, in vain, and made anew; or deleted meanwhile."""
    log = both.log()
    both.studio.sandbox.fault(FaultKind.CUT, method="POST")
    both.drain()
    if deleted:
        both.delete(log)
    both.send_all()
    made = [one["id"] for one in both.entries()]
    assert len(made) == (0 if deleted else 1)
    late = made_late(both, log)
    run = sync(both.studio)
    shown = both.studio.shown(run)
    assert (shown["imported"], shown["total"] - shown["unchanged"], shown["pushed"]) == (0, 0, 0)
    both.send_all()
    assert [one["id"] for one in both.entries()] == made
    assert both.studio.shown(run)["pushed"] == 1
    after = both.reload(log)
    assert (after.deleted_at is not None, after.external_id) == (deleted, str(made[0]) if made else None)
    with both.studio.scope():
        assert TimeLog.objects.count() == 1
        assert SyncEvent.objects.get(deed="removed").external_id == str(late)
        assert not OutboundChange.objects.exclude(begun=None).exists()
    no_echo(both)


def test_what_harvest_made_after_all_waits_for_a_person_where_nothing_goes_out(both: Both) -> None:
    log = both.log()
    both.studio.sandbox.fault(FaultKind.CUT, method="POST")
    both.send_all()
    both.set(direction="import")
    both.studio.connection.direction = "import"
    late = made_late(both, log)
    sync(both.studio)
    with both.studio.scope():
        assert TimeLog.objects.count() == 1
        assert "Delete it there" in RunEntry.objects.get(external_id=str(late)).detail
    assert len(both.entries()) == 2


@pytest.mark.parametrize("how", ["no answer was lost", "somebody edited it", "long after"])
def test_what_somebody_copied_in_harvest_is_time_of_its_own(both: Both, how: str) -> None:
    """Its reference may come along with a copy."""
    log = both.log()
    if how != "no answer was lost":
        both.studio.sandbox.fault(FaultKind.CUT, method="POST")
    both.send_all()
    copied = made_late(both, log)
    if how == "somebody edited it":
        both.account.edit_entry(copied, notes="Once more", updated_at=timezone.now() + timedelta(minutes=1))
    if how == "long after":
        with both.studio.scope():
            SyncEvent.objects.filter(deed="sought").update(created_at=timezone.now() - timedelta(hours=2))
    sync(both.studio)
    both.send_all()
    assert len(both.entries()) == 2
    with both.studio.scope():
        assert TimeLog.objects.filter(deleted_at=None).count() == 2


def test_a_run_counts_what_it_found_to_go_out_once_it_has(both: Both) -> None:
    today = timezone.now().date()
    gone, edited, pending = (both.log(spent_date=today) for _ in range(3))
    both.drain()
    there = [int(both.reload(log).external_id or 0) for log in (gone, edited, pending)]
    both.set(direction="import")
    both.edit(gone, notes="Still here")
    both.edit(edited, notes="Ours")
    both.set(direction="two_way")
    both.account.delete_entry(there[0])
    for pk in there[1:]:
        both.account.edit_entry(pk, hours="4.00")
    both.edit(pending, notes="A person's own")  # on its way already, whatever the run finds
    run = sync(both.studio)
    assert both.studio.shown(run)["pushed"] == 0
    both.send_all()
    shown = both.studio.shown(run)
    assert (shown["pushed"], "Pushed: 2" in shown["summary"]) == (2, True)
    assert shown["total"] == shown["updated"] + shown["unchanged"] == 2
    assert {one["notes"] for one in both.entries()} == {"Still here", "Ours", "A person's own"}


def test_harvest_away_keeps_everything_and_says_so(both: Both) -> None:
    logs = [both.log(notes=str(n)) for n in range(3)]
    both.studio.sandbox.fault(FaultKind.UNAVAILABLE, times=None)
    wait = both.drain()
    assert wait is not None
    assert wait >= 2
    assert {both.state(log)[0] for log in logs} == {"pending"}
    assert any("503" in both.state(log)[1] for log in logs)
    both.studio.sandbox.clear_faults()
    both.send_all()
    assert len(both.entries()) == 3


def test_a_429_is_obeyed_to_the_second(both: Both) -> None:
    log = both.log()
    both.studio.sandbox.fault(FaultKind.RATE_LIMITED, seconds=40)
    began = timezone.now()
    assert both.drain() == 40
    (change,) = both.changes(log)
    assert 39 < (change.not_before - began).total_seconds() < 45
    assert (change.state, change.attempts, change.begun) == ("pending", 0, None)
    assert both.drain() is None
    assert both.entries() == []


def test_dead_credentials_wait_for_a_new_connection(both: Both) -> None:
    log = both.log()
    both.studio.sandbox.fault(FaultKind.UNAUTHORIZED, times=None)
    both.drain()
    both.studio.sandbox.clear_faults()
    with both.studio.scope():
        assert Connection.objects.get().status == ConnectionStatus.RECONNECT_NEEDED
    (change,) = both.changes(log)
    assert (change.state, change.attempts) == ("pending", 0)
    assert both.drain() is None
    assert both.entries() == []
    from tests.harvest.conftest import connect

    connect(both.studio.admin)
    both.drain()
    assert both.state(log) == ("synced", "")


def test_an_entry_that_this_token_does_not_see_is_not_taken_for_gone(both: Both) -> None:
    log = both.log()
    both.drain()
    both.account.delete_entry(only(both)["id"])
    both.set(sees_all=False, remote_user_id="1")
    both.edit(log, notes="Mine")
    both.drain()
    assert both.state(log)[0] == "held"
    assert "administrator" in both.state(log)[1]
    assert both.entries() == []


def test_a_bug_of_ours_is_tried_again_and_then_held(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    import harvest.pushing

    log, other = both.log(), both.log()
    plan = harvest.pushing.plan

    def broken(base: Any, here: Any, there: Any, **how: Any) -> Any:
        if here.values["notes"] == "Broken":
            raise RuntimeError("a bug")
        return plan(base, here, there, **how)

    both.edit(log, notes="Broken")
    monkeypatch.setattr(harvest.pushing, "plan", broken)
    both.drain()
    assert both.state(other) == ("synced", "")
    assert both.state(log)[0] == "pending"
    both.send_all()
    assert both.state(log) == ("held", harvest.pushing.OUR_FAULT)
    monkeypatch.undo()
    from integrations.models import OutboundChange
    from integrations.outgoing import retry

    with both.studio.scope():
        retry(OutboundChange.objects.all())
    both.drain()
    assert both.state(log) == ("synced", "")


def test_people_mapped_by_hand(both: Both) -> None:
    with both.studio.scope():
        PersonMapping.objects.create(
            workspace_id=both.studio.workspace_id,
            harvest_id=str(both.studio.harvest["Bo"]),
            target=both.studio.admin.user,
        )
    both.log(spent_date=date(2026, 6, 3))
    both.drain()
    assert only(both)["user"]["id"] == both.studio.harvest["Bo"]
