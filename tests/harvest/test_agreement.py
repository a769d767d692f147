"""What a sync writes here: logs, links, statements, the history; one and many."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec import structs

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from harvest.agreement import (
    Batch,
    apply_here,
    attempt_in,
    base_of,
    delete_here,
    lock_logs,
    note_attempt,
    refresh_state,
    restore_here,
    settle_link,
    state_statements,
)
from harvest.models import HarvestItem
from harvest.payloads import TimeEntryPayload, content_hash
from harvest.terms import Terms
from inbound.models import Adjustment
from integrations.logs_side import values_of
from integrations.models import Connection, OutboundChange, SyncEvent, SyncLink, SyncRun
from integrations.sync.plan import Agree, Conflict, Differs, Held, Overruled, Policy, Way, attempted, plan
from integrations.sync.types import Field, Pair, dump_base
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_work_item,
    make_workspace,
)
from tests.harvest.test_terms import entry
from timelogs.models import TimeLog
from timelogs.signals import time_log_changed

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Membership:
    return make_workspace(name="Studio", email="ann@studio.test")


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


@pytest.fixture
def run(admin: Membership) -> SyncRun:
    with tenant_scope(admin.workspace_id):
        connection = Connection.objects.create(
            workspace=admin.workspace, status="connected", account_id="880123", connected_by=admin.user
        )
        return SyncRun.objects.create(
            workspace=admin.workspace, connection=connection, kind="sync", account_id="880123"
        )


def link_to(log: TimeLog, external_id: str = "1", **values: Any) -> SyncLink:
    return SyncLink.objects.create(
        workspace_id=log.workspace_id, account_id="880123", external_id=external_id, time_log=log, **values
    )


def again(log: TimeLog) -> TimeLog:
    return TimeLog.objects.get(pk=log.pk)


def locked(log: TimeLog) -> TimeLog:
    return lock_logs(log.workspace_id, [log.id])[log.id]


@pytest.fixture
def told() -> Any:
    heard: list[tuple[str, str, int]] = []

    def listen(change: str, origin: str, time_log_ids: list[Any], **rest: Any) -> None:
        heard.append((change, origin, len(time_log_ids)))

    time_log_changed.connect(listen)
    yield heard
    time_log_changed.disconnect(listen)


# --- Logs ------------------------------------------------------------------------------------------------------------
def test_fields_are_applied_and_told_in_words(
    admin: Membership, acme: Client, run: SyncRun, told: list[Any]
) -> None:
    design = make_activity_type(admin.workspace, "Design", rate="90.00", billable=True)
    site, tom = make_project(acme, "Site"), make_member(admin.workspace, name="Tom")
    log = make_time_log(admin, acme, seconds=3600, notes="Header", billable=False)
    terms = Terms(rates={str(design.id): Decimal("95.00")})
    told.clear()
    with tenant_scope(admin.workspace_id):
        values = apply_here(
            locked(log),
            {
                Field.PLACEMENT: (str(acme.id), str(site.id)),
                Field.ACTIVITY: str(design.id),
                Field.SPENT_DATE: date(2026, 6, 2),
                Field.DURATION: 5400,
                Field.NOTES: "Footer",
                Field.OWNER: str(tom.user_id),
            },
            terms=terms,
            run=run,
            external_id="71",
        )
        kept, event = again(log), SyncEvent.objects.get()
    assert values == values_of(kept)
    assert (kept.project_id, kept.seconds, kept.notes, kept.owner_id) == (
        site.id,
        5400,
        "Footer",
        tom.user_id,
    )
    assert (kept.hourly_rate, kept.billable, kept.spent_date) == (Decimal("95.00"), False, date(2026, 6, 2))
    assert kept.updated_at > log.updated_at
    assert (event.deed, event.external_id, event.run_id) == ("taken", "71", run.id)
    assert event.fields == {
        "placement": {"before": "Acme", "after": "Acme › Site"},
        "activity": {"before": None, "after": "Design"},
        "spent_date": {"before": "2026-06-01", "after": "2026-06-02"},
        "duration": {"before": "1.00 h", "after": "1.50 h"},
        "notes": {"before": "Header", "after": "Footer"},
        "owner": {"before": admin.user.name or str(admin.user), "after": "Tom"},
    }
    assert told == [("updated", "sync", 1)]


def test_what_changes_nothing_writes_nothing(admin: Membership, acme: Client, told: list[Any]) -> None:
    log = make_time_log(admin, acme, notes="Header")
    told.clear()
    with tenant_scope(admin.workspace_id):
        apply_here(locked(log), {Field.NOTES: "Header"}, terms=Terms())
        assert (again(log).updated_at, SyncEvent.objects.count(), told) == (log.updated_at, 0, [])


def test_a_work_item_that_no_longer_fits_is_dropped(admin: Membership, acme: Client) -> None:
    site, shop, other = make_project(acme), make_project(acme), make_client(admin.workspace)
    on_site, of_client = make_work_item(acme, project=site), make_work_item(acme)
    for item, place, stays in (
        (on_site, (acme, shop), False),
        (on_site, (acme, site), True),
        (of_client, (acme, shop), True),
        (of_client, (other, None), False),
    ):
        log = make_time_log(admin, acme, work_item=item)
        with tenant_scope(admin.workspace_id):
            client, project = place
            ids = (str(client.id), str(project.id) if project else None)
            apply_here(locked(log), {Field.PLACEMENT: ids}, terms=Terms())
            assert (again(log).work_item_id == item.id) is stays


def test_no_activity_has_no_rate(admin: Membership, acme: Client) -> None:
    log = make_time_log(admin, acme, activity_type=make_activity_type(admin.workspace))
    with tenant_scope(admin.workspace_id):
        apply_here(locked(log), {Field.ACTIVITY: None}, terms=Terms())
        assert (again(log).activity_type_id, again(log).hourly_rate) == (None, Decimal("0.00"))


def test_deleting_and_restoring(admin: Membership, acme: Client, told: list[Any]) -> None:
    log = make_time_log(admin, acme, notes="Header")
    told.clear()
    with tenant_scope(admin.workspace_id):
        delete_here(locked(log), terms=Terms(), external_id="1")
        assert again(log).deleted_at is not None
        restore_here(locked(log), {Field.NOTES: "Footer", Field.BILLABLE: True}, terms=Terms())
        kept = again(log)
        assert (kept.deleted_at, kept.notes) == (None, "Footer")
        deeds = list(SyncEvent.objects.order_by("id").values_list("deed", "fields"))
    assert deeds == [("deleted", {}), ("restored", {"notes": {"before": "Header", "after": "Footer"}})]
    assert [change for change, *_ in told] == ["deleted", "restored"]


# --- Links -----------------------------------------------------------------------------------------------------------
def whole(log: TimeLog, one: TimeEntryPayload) -> dict[Field, Pair]:
    terms = Terms()
    ours, theirs = terms.of_log(log), terms.of_entry(one)
    return {name: Pair(ours[name], theirs[name]) for name in Field}


def test_a_link_keeps_what_was_agreed(admin: Membership, acme: Client) -> None:
    log, one = make_time_log(admin, acme), entry()
    with tenant_scope(admin.workspace_id):
        link = link_to(log)
        settle_link(link, whole(log, one), one)
        kept = SyncLink.objects.get()
        assert (kept.remote_hash, kept.remote_user_id) == (content_hash(one), "71")
        assert base_of(kept, log, here=Terms().here(log), there=None, entry=one) == whole(log, one)
        # What Harvest holds and the base has not taken in is looked at again.
        settle_link(link, whole(log, one), structs.replace(one, notes="New"))
        assert SyncLink.objects.get().remote_hash == ""
        settle_link(link, None, None)
        kept = SyncLink.objects.get()
        assert (kept.base, kept.time_log_id, kept.former_log_id) == (None, None, log.id)


@pytest.mark.parametrize(
    ("log_stands", "entry_stands", "notes"),
    [(True, True, ("Here", "There")), (True, False, ("Here", None)), (False, True, (None, "There"))],
)
def test_a_link_from_before_bases_stands_for_what_has_not_moved(
    admin: Membership, acme: Client, log_stands: bool, entry_stands: bool, notes: tuple[Any, Any]
) -> None:
    log, one, terms = make_time_log(admin, acme, notes="Here"), entry(notes="There"), Terms()
    log.updated_at = log.created_at if log_stands else timezone.now()
    with tenant_scope(admin.workspace_id):
        link = link_to(log, remote_hash=content_hash(one) if entry_stands else "other")
        base = base_of(link, log, here=terms.here(log), there=terms.there(one, log), entry=one)
        assert base[Field.NOTES] == Pair(*notes)
        assert base[Field.SPENT_DATE] == Pair(log.spent_date, one.spent_date)
        link.remote_hash = "other"
        log.updated_at = timezone.now()
        assert base_of(link, log, here=terms.here(log), there=terms.there(one, log), entry=one) == {}


def test_an_attempt_is_found_again() -> None:
    base = attempted({Field.NOTES: "Here"}, {Field.NOTES: "Sent"})
    assert attempt_in(note_attempt(base)) == base
    assert attempt_in(None) is attempt_in({"other": 1}) is None


# --- Statements ------------------------------------------------------------------------------------------------------
def state(log: TimeLog, actions: list[Any], run: SyncRun) -> OutboundChange | None:
    one = entry()
    terms = Terms()
    state_statements(
        locked(log),
        SyncLink.objects.get(time_log=log),
        actions,
        terms=terms,
        there=terms.there(one, log),
        run=run,
    )
    return OutboundChange.objects.order_by("-id").first()


def test_what_is_held_waits_and_is_told_once(admin: Membership, acme: Client, run: SyncRun) -> None:
    log = make_time_log(admin, acme, notes="Ours")
    held = Held(
        Way.IN, (Field.PLACEMENT,), "It moved to the Harvest project Site (Acme), which is not mapped."
    )
    with tenant_scope(admin.workspace_id):
        HarvestItem.objects.create(
            workspace=admin.workspace, kind="project", harvest_id="21", name="Their site"
        )
        link_to(log)
        change = state(log, [held], run)
        assert change is not None
        assert (change.state, change.way, change.reason, change.detail) == (
            "held",
            "in",
            "not_mapped",
            held.reason,
        )
        assert change.fields == {"placement": {"timebridge": "Acme", "harvest": "11 › Their site"}}
        assert (again(log).sync_state, again(log).sync_detail) == ("held", held.reason)
        state(log, [held], run)
        assert (OutboundChange.objects.count(), SyncEvent.objects.filter(deed="held").count()) == (1, 1)
        change = state(log, [Agree({})], run)
        assert change is not None
        assert (change.state, change.finished_at is not None) == ("done", True)
        assert (again(log).sync_state, again(log).sync_detail) == ("synced", "")


def test_a_conflict_shows_both_versions(admin: Membership, acme: Client, run: SyncRun) -> None:
    log = make_time_log(admin, acme, notes="Ours", seconds=5400)
    contested = Conflict({Field.NOTES: Pair("Ours", "Header"), Field.DURATION: Pair(5400, Decimal("2.11"))})
    with tenant_scope(admin.workspace_id):
        link_to(log)
        change = state(log, [contested], run)
        assert change is not None
        assert (change.state, again(log).sync_state) == ("conflict", "conflict")
        assert change.fields == {
            "notes": {"timebridge": "Ours", "harvest": "Header"},
            "duration": {"timebridge": "1.50 h", "harvest": "2.11 h"},
        }
        assert "hours, notes" in change.detail


def test_a_change_that_waits_to_be_sent_is_left_alone(admin: Membership, acme: Client, run: SyncRun) -> None:
    log = make_time_log(admin, acme)
    with tenant_scope(admin.workspace_id):
        link_to(log)
        OutboundChange.objects.create(workspace=admin.workspace, connection=run.connection, time_log=log)
        change = state(log, [Held(Way.IN, (Field.NOTES,), "Not mapped.")], run)
        assert change is not None
        assert (change.state, again(log).sync_state) == ("pending", "pending")


def test_whoever_sends_a_change_is_given_the_statement(admin: Membership, acme: Client, run: SyncRun) -> None:
    log, terms = make_time_log(admin, acme, notes="Ours"), Terms()
    with tenant_scope(admin.workspace_id):
        change = OutboundChange.objects.create(
            workspace=admin.workspace,
            connection=run.connection,
            time_log=log,
            state="sending",
            lease_token=run.id,
            lease_until=timezone.now(),
        )
        statement = state_statements(
            locked(log),
            None,
            [Conflict({Field.NOTES: Pair("Ours", "Header")})],
            terms=terms,
            there=terms.there(entry(), log),
            change=change,
        )
        assert statement is not None
        assert (statement.state, statement.fields) == (
            "conflict",
            {"notes": {"timebridge": "Ours", "harvest": "Header"}},
        )
        assert OutboundChange.objects.get().state == "sending"
        assert (again(log).sync_state, SyncEvent.objects.get().deed) == ("pending", "conflict")


def test_what_the_policy_gave_up_is_in_the_history(admin: Membership, acme: Client, run: SyncRun) -> None:
    log = make_time_log(admin, acme)
    given_up = Overruled({Field.NOTES: Pair("Ours", "Header")}, Policy.HARVEST)
    with tenant_scope(admin.workspace_id):
        link_to(log)
        state(log, [given_up], run)
        event = SyncEvent.objects.get()
        assert (event.deed, event.detail) == ("overruled", "Harvest's stays.")
        assert event.fields == {"notes": {"timebridge": "Ours", "harvest": "Header"}}
        assert again(log).sync_state == "synced"


def test_a_settled_log_that_differs_is_marked_and_waits_in_inbound(
    admin: Membership, acme: Client, run: SyncRun
) -> None:
    log = make_time_log(admin, acme, seconds=3600)
    differs = Differs({Field.DURATION: Pair(3600, Decimal("2.11"))})
    with tenant_scope(admin.workspace_id):
        link_to(log)
        TimeLog.objects.filter(pk=log.pk).update(settled_at=datetime(2026, 6, 30, tzinfo=UTC))
        assert state(log, [differs], run) is None
        assert again(log).sync_state == "differs"
        assert "hours" in again(log).sync_detail
        assert Adjustment.objects.get(status="pending").seconds_delta == 7596 - 3600
        state(log, [differs], run)
        assert (Adjustment.objects.count(), SyncEvent.objects.count()) == (1, 1)
        refresh_state(admin.workspace_id, [log.id])
        assert again(log).sync_state == "differs"
        state(log, [], run)
        assert not Adjustment.objects.filter(status="pending").exists()
        assert (again(log).sync_state, again(log).sync_detail) == ("synced", "")
        state(log, [Differs(gone=True)], run)
        assert Adjustment.objects.get(status="pending").kind == "gone"


def test_how_a_log_stands(admin: Membership, acme: Client, run: SyncRun) -> None:
    alone, linked = make_time_log(admin, acme), make_time_log(admin, acme)
    with tenant_scope(admin.workspace_id):
        link_to(linked)
        TimeLog.objects.update(sync_state="pending", sync_detail="Old")
        refresh_state(admin.workspace_id, [alone.id, linked.id])
        assert (again(alone).sync_state, again(linked).sync_state) == ("none", "synced")
        assert again(alone).sync_detail == ""


# --- Many ------------------------------------------------------------------------------------------------------------
def page(admin: Membership, acme: Client, run: SyncRun, count: int) -> int:
    """Queries of a page on which `count` logs change, are stated, settled, deleted."""
    terms, one = Terms(), entry()
    logs = [make_time_log(admin, acme, notes=f"Note {number}") for number in range(count)]
    with tenant_scope(admin.workspace_id):
        start = SyncLink.objects.count()
        links = {log.id: link_to(log, str(start + number)) for number, log in enumerate(logs)}
        with CaptureQueriesContext(database) as queries:
            batch = Batch(admin.workspace_id, terms, run)
            for number, log in enumerate(lock_logs(admin.workspace_id, [log.id for log in logs]).values()):
                there = terms.there(one, log)
                if number % 3:
                    actions = plan({}, terms.here(log), there, policy=Policy.ASK)
                    batch.apply(log, {Field.NOTES: f"New {number}"}, "1")
                    batch.settle(links[log.id], whole(log, one), one)
                    batch.state(log, "1", actions, there=there)
                else:
                    batch.delete(log)
                    batch.settle(links[log.id], None, None)
            batch.write()
    return len(queries)


def test_many_cost_as_many_queries_as_one(admin: Membership, acme: Client, run: SyncRun) -> None:
    page(admin, acme, run, 3)
    assert page(admin, acme, run, 3) == page(admin, acme, run, 60)
    with tenant_scope(admin.workspace_id):
        log = TimeLog.objects.get(notes="New 50")
        assert SyncLink.objects.get(time_log=log).base == dump_base(whole(log, entry()))
