"""The queue of outgoing changes: what is written with a log, who claims it, and what is never lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Plan, Role
from accounts.services import save_workspace
from accounts.tenancy import tenant_scope
from integrations import outgoing
from integrations.models import ChangeState, Connection, OutboundChange
from tests.factories import make_member
from tests.harvest.conftest import Studio, build_studio, make_admin
from tests.harvest.outbound import Both, go_both_ways
from timelogs.models import TimeLog
from timelogs.signals import time_log_changed

pytestmark = pytest.mark.django_db


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The workspaces whose workers were woken."""
    found: list[UUID] = []
    outlet = outgoing._OUTLETS["harvest"]
    monkeypatch.setitem(outgoing._OUTLETS, "harvest", outgoing.Outlet(outlet.mapped, found.append))
    return found


def claim(both: Both) -> OutboundChange | None:
    with both.studio.scope():
        return outgoing.claim(Connection.objects.get())


@pytest.mark.django_db(transaction=True)
def test_one_open_change_a_log_and_one_task_a_transaction(sandbox: Any, told: list[UUID]) -> None:
    both = go_both_ways(build_studio(sandbox))
    with both.studio.scope():
        log, other = both.log(), both.log()
        both.edit(log, notes="Again")
        both.delete(other)
        assert told == []
    assert told == [both.studio.workspace_id]
    assert sorted(one.state for one in both.changes()) == ["pending", "pending"]
    both.edit(log, notes="And again")
    assert len(told) == 2
    with pytest.raises(RuntimeError):
        save_and_fail(both)
    assert len(told) == len(both.changes()) == 2


def save_and_fail(both: Both) -> None:
    with both.studio.scope():
        both.log()
        raise RuntimeError


def test_what_a_sync_wrote_never_goes_out(both: Both, told: list[UUID]) -> None:
    log = both.log()
    with both.studio.scope():
        OutboundChange.objects.all().delete()
        time_log_changed.send(
            sender=TimeLog,
            workspace_id=both.studio.workspace_id,
            time_log_ids=[log.id],
            change="updated",
            origin="sync",
        )
    assert both.changes() == []


def test_many_logs_are_one_statement(both: Both) -> None:
    logs = [both.log().id for _ in range(20)]
    with both.studio.scope():
        OutboundChange.objects.all().delete()
        few, many = (
            _queries(lambda some=some: outgoing.note_change(
                TimeLog, both.studio.workspace_id, some, "updated", "person"
            ))
            for some in (logs[:1], logs)
        )  # fmt: skip
    assert few == many == 2  # the connection, and all of them
    assert len(both.changes()) == 20


def _queries(deed: Any) -> int:
    with CaptureQueriesContext(database) as caught:
        deed()
    return len(caught)


def test_people_go_before_the_backlog_and_the_oldest_first(both: Both) -> None:
    first, second, older = both.log(), both.log(), both.log()
    with both.studio.scope():
        OutboundChange.objects.filter(time_log=older).update(
            backlog=True, not_before=timezone.now() - timedelta(hours=1)
        )
        OutboundChange.objects.filter(time_log=second).update(
            not_before=timezone.now() - timedelta(minutes=1)
        )
    claimed = [claim(both) for _ in range(4)]
    assert [one and one.time_log_id for one in claimed] == [second.id, first.id, older.id, None]


def test_a_log_is_sent_by_one_worker_at_a_time(both: Both) -> None:
    log = both.log()
    sending = claim(both)
    assert sending is not None
    both.edit(log, notes="Meanwhile")
    assert sorted(one.state for one in both.changes(log)) == ["pending", "sending"]
    assert claim(both) is None
    with both.studio.scope():
        outgoing.finish(sending)
    after = claim(both)
    assert after is not None
    assert after.id != sending.id


def test_a_lease_that_ran_out_is_claimed_again_with_what_was_begun(both: Both) -> None:
    both.log()
    dead = claim(both)
    assert dead is not None
    with both.studio.scope():
        outgoing.prolong(dead, begun={"attempted": {}})
        OutboundChange.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    heir = claim(both)
    assert heir is not None
    assert (heir.id, heir.attempts, heir.begun) == (dead.id, 2, {"attempted": {}})
    for late in (
        lambda: outgoing.prolong(dead),
        lambda: outgoing.finish(dead),
        lambda: outgoing.put_back(dead),
        lambda: outgoing.hold(dead, reason="x", detail="x"),
    ):
        with both.studio.scope(), pytest.raises(outgoing.LeaseLost):
            late()


@pytest.mark.parametrize("end", ["put_back", "hold"])
def test_what_is_put_back_gives_way_to_what_was_saved_meanwhile(both: Both, end: str) -> None:
    log = both.log()
    sending = claim(both)
    assert sending is not None
    both.edit(log, notes="Meanwhile")
    with both.studio.scope():
        if end == "put_back":
            outgoing.put_back(sending, begun={"attempted": {}})
        else:
            outgoing.hold(sending, reason="locked", detail="Locked.", begun={"attempted": {}})
    former, newer = both.changes(log)
    assert (former.state, newer.state) == ("done", "pending")
    assert newer.begun == {"attempted": {}}


def test_saving_a_held_log_tries_it_again(both: Both) -> None:
    log = both.log()
    held = claim(both)
    assert held is not None
    with both.studio.scope():
        outgoing.hold(held, reason="locked", detail="Locked.", remedy={"kind": "assign"})
    both.edit(log, notes="Changed")
    (change,) = both.changes(log)
    assert (change.id, change.state, change.reason, change.remedy) == (held.id, "pending", "", None)


def test_an_accepted_proposal_is_no_edit(both: Both) -> None:
    from inbound.services import accept_proposal
    from integrations.models import SyncLink
    from tests.factories import make_proposal

    proposal = make_proposal(both.studio.admin, both.studio.clients["Acme"])
    with both.studio.scope():
        SyncLink.objects.create(
            workspace_id=both.studio.workspace_id, account_id="880123", external_id="7", proposal=proposal
        )
        accept_proposal(
            proposal=proposal,
            by=both.studio.admin,
            project=both.studio.projects["Website"],
            activity_type=both.studio.types["Design"],
        )
    assert both.changes() == []


# --- The sweep -------------------------------------------------------------------------------------------------------
def test_the_sweep_finds_what_is_due_and_may_go(both: Both) -> None:
    assert outgoing.due_workspaces() == []
    log = both.log()
    assert outgoing.due_workspaces() == [both.studio.workspace_id]
    sending = claim(both)
    assert sending is not None
    assert outgoing.due_workspaces() == []
    with both.studio.scope():
        OutboundChange.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert outgoing.due_workspaces() == [both.studio.workspace_id]
    with both.studio.scope():
        OutboundChange.objects.update(
            state="pending",
            lease_token=None,
            lease_until=None,
            not_before=timezone.now() + timedelta(hours=1),
        )
    assert outgoing.due_workspaces() == []
    assert both.state(log)[0] == "pending"


def test_what_waits_for_a_plan_or_a_connection_says_so_and_goes_out_after(both: Both) -> None:
    from harvest.pushing import WAITS_FOR_CONNECTION, WAITS_FOR_PLAN, explain_waiting

    admin = both.studio.admin
    log = both.log()
    with both.studio.scope():
        save_workspace(workspace=admin.workspace, actor=admin.user, plan=Plan.FREE)
    assert both.drain() is None
    assert outgoing.due_workspaces() == []
    explain_waiting()
    assert both.state(log) == ("pending", WAITS_FOR_PLAN)
    assert outgoing.paused_workspaces() == []
    with both.studio.scope():
        save_workspace(workspace=admin.workspace, actor=admin.user, plan=Plan.PRO)
    both.set(status="reconnect_needed")
    other = both.log()
    explain_waiting()
    assert both.state(other) == ("pending", WAITS_FOR_CONNECTION)
    both.set(status="connected")
    both.drain()
    assert both.state(log) == both.state(other) == ("synced", "")


def test_a_strangers_changes_are_not_seen(both: Both) -> None:
    both.log()
    stranger = make_admin(name="Elsewhere")
    with tenant_scope(stranger.workspace_id):
        assert OutboundChange.objects.count() == 0
        connection = Connection(workspace_id=both.studio.workspace_id, id=both.studio.connection.id)
        assert outgoing.claim(connection) is None


def test_members_logs_go_out_too(both: Both) -> None:
    mel = make_member(both.studio.admin.workspace, Role.MEMBER)
    log = both.log(by=mel)
    assert both.changes(log)[0].state == ChangeState.PENDING
