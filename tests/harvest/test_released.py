"""Time that was settled while Harvest changed it, and whose statement is then voided: the difference ends properly."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from harvest import sweep as sweeping
from harvest.pushing import drain
from inbound.models import Adjustment
from integrations.models import OutboundChange, SyncEvent
from integrations.outgoing import enqueue
from settlement.models import Statement
from settlement.statements import draft_statement, issue_statement, void_statement
from tests.harvest.conftest import Studio
from tests.harvest.outbound import go_both_ways
from tests.harvest.test_updating import both_ways, mapped, only_log, sync, told
from timelogs.models import TimeLog

__all__ = ["mapped"]

pytestmark = pytest.mark.django_db(transaction=True)


def settle(studio: Studio) -> Statement:
    with studio.scope():
        statement = draft_statement(
            workspace=studio.admin.workspace,
            by=studio.admin,
            client=studio.clients["Acme"],
            from_date=date(2026, 1, 1),
            to_date=studio.admin.workspace.today(),
        )
        return issue_statement(statement=statement, by=studio.admin)


def void(studio: Studio, statement: Statement) -> None:
    with studio.scope():
        void_statement(statement=statement, by=studio.admin)


def adjustments(studio: Studio) -> list[tuple[str, str]]:
    with studio.scope():
        return list(Adjustment.objects.order_by("id").values_list("kind", "status"))


def changed_while_settled(studio: Studio, **changes: Any) -> tuple[int, Statement]:
    """An entry of long ago, settled, changed in Harvest since, which a sync has seen and will not see listed again."""
    pk = studio.add_entry("Website", "Design", "2026-06-01", "1.00", "Header")
    studio.import_window()
    statement = settle(studio)
    studio.sandbox.account.edit_entry(pk, **changes)
    run = sync(studio)
    assert told(studio, run)[:2] == ("skipped", "settled")
    assert only_log(studio).sync_state == "differs"
    studio.sandbox.account.edit_entry(pk, updated_at="2020-01-01T00:00:00Z")
    return pk, statement


@pytest.mark.parametrize("direction", ["import", "two_way"])
def test_what_harvest_changed_comes_in(mapped: Studio, direction: str) -> None:
    if direction == "two_way":
        both_ways(mapped)
    pk, statement = changed_while_settled(mapped, hours="2.00")
    assert adjustments(mapped) == [("changed", "pending")]
    void(mapped, statement)
    assert adjustments(mapped) == [("changed", "withdrawn")]
    mapped.sandbox.forget_requests()
    if direction == "two_way":
        assert only_log(mapped).sync_state == "pending"
        drain(workspace_id=mapped.workspace_id)
    else:
        assert told(mapped, sync(mapped)) == ("updated", "", "Changed: hours.")
    log = only_log(mapped)
    assert (log.seconds, log.sync_state, log.sync_detail) == (7200, "synced", "")
    assert {one.method for one in mapped.sandbox.seen()} == {"GET"}
    # Once is enough.
    mapped.sandbox.forget_requests()
    sync(mapped)
    assert f"/v2/time_entries/{pk}" not in [one.path for one in mapped.sandbox.seen()]


def test_settled_again_before_anything_was_taken_over_it_waits_again(mapped: Studio) -> None:
    _, statement = changed_while_settled(mapped, hours="2.00")
    void(mapped, statement)
    settle(mapped)
    run = sync(mapped)
    assert told(mapped, run)[:2] == ("skipped", "settled")
    assert adjustments(mapped) == [("changed", "withdrawn"), ("changed", "pending")]
    assert (only_log(mapped).seconds, only_log(mapped).sync_state) == (3600, "differs")


@pytest.mark.parametrize("direction", ["import", "two_way"])
def test_what_is_gone_from_harvest_goes_by_the_sweep(
    mapped: Studio, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the guards; so no push deletes, and it asks for what was released whatever its day."""
    if direction == "two_way":
        both_ways(mapped)
    day = mapped.admin.workspace.today() - timedelta(days=3)
    pk = mapped.add_entry("Website", "Design", day, "1.00", "Header")
    mapped.import_window(day, day)
    statement = settle(mapped)
    mapped.sandbox.account.delete_entry(pk)
    sync(mapped)
    assert adjustments(mapped) == [("gone", "pending")]
    void(mapped, statement)
    drain(workspace_id=mapped.workspace_id)
    assert (only_log(mapped).deleted_at, only_log(mapped).sync_state) == (None, "differs")
    monkeypatch.setattr(sweeping, "DAYS", 1)
    assert told(mapped, sync(mapped))[0] == "deleted"
    assert only_log(mapped).deleted_at is not None
    assert adjustments(mapped) == [("gone", "withdrawn")]


def test_a_push_leaves_said_that_settled_time_is_gone_from_harvest(studio: Studio) -> None:
    both = go_both_ways(studio)
    log = both.log(spent_date=studio.admin.workspace.today())
    both.drain()
    settle(studio)
    both.account.delete_entry(both.entries()[0]["id"])
    sync(studio)
    with studio.scope():
        enqueue(workspace_id=log.workspace_id, connection_id=studio.connection.id, time_log_ids=[log.id])
    both.drain()
    assert (both.state(log)[0], adjustments(studio)) == ("differs", [("gone", "pending")])


def test_many_released_at_once_are_nothing_gone(mapped: Studio) -> None:
    ids = [
        mapped.add_entry("Website", "Design", mapped.admin.workspace.today(), "1.00", f"Note {n}")
        for n in range(8)
    ]
    mapped.import_window(mapped.admin.workspace.today(), mapped.admin.workspace.today())
    statement = settle(mapped)
    for pk in ids:
        mapped.sandbox.account.edit_entry(pk, hours="2.00")
    sync(mapped)
    for pk in ids:
        mapped.sandbox.account.edit_entry(pk, updated_at="2020-01-01T00:00:00Z")
    void(mapped, statement)
    run = sync(mapped)
    assert (mapped.shown(run)["attention"], mapped.shown(run)["updated"]) == (None, 8)


def test_a_difference_ends_though_the_log_is_held_for_something_else(studio: Studio) -> None:
    both = go_both_ways(studio)
    log = both.log()
    both.drain()
    (entry,) = both.entries()
    both.account.approve(entry["id"])
    both.edit(log, notes="Too late")
    both.drain()
    assert both.state(log)[0] == "held"
    settle(studio)
    both.account.edit_entry(entry["id"], hours="9.00")
    sync(studio)
    assert (both.state(log)[0], adjustments(studio)) == ("held", [("changed", "pending")])
    both.account.edit_entry(entry["id"], hours="1.50")
    sync(studio)
    assert (both.state(log)[0], adjustments(studio)) == ("held", [("changed", "withdrawn")])
    with studio.scope():
        assert not SyncEvent.objects.filter(deed="taken").exists()
        assert OutboundChange.objects.filter(state="held").count() == TimeLog.objects.count() == 1
