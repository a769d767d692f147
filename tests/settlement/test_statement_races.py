"""Several at once, each on a connection of its own: numbers without gaps, no log twice, no edit lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.errors import Invalid, ServiceError, Settled
from accounts.models import Membership
from accounts.tenancy import tenant_scope
from harvest.agreement import lock_logs
from inbound.adjustments import restore_adjustment
from settlement.models import Statement, StatementEntry
from settlement.statements import NotDraft, NotIssued
from tests.factories import make_client, make_time_log
from tests.settlement.statements import (
    at_once,
    draft,
    entries,
    fresh,
    issue,
    issued,
    make_adjustment,
    sheet,
    void,
)
from timelogs.models import TimeLog
from timelogs.services import revise_time_log

pytestmark = pytest.mark.django_db(transaction=True)


def awaited() -> bool:
    """Whether another session waits for a lock that this one holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        row = cursor.fetchone()
    return bool(row[0])


def crossing(
    first: Callable[[], Any], second: Callable[[], Any], *, then: Callable[[], Any] | None = None
) -> tuple[Any, Any]:
    """Run `first` in a transaction that stays open until `second` waits for it; what each returned or raised.

    then: done in that transaction while the second waits.
    """
    done = threading.Event()

    def hold() -> Any:
        with transaction.atomic():
            result = first()
            done.set()
            until = time.monotonic() + 20
            while not awaited():
                if time.monotonic() > until:
                    raise AssertionError("The second did not wait for the first.")
                time.sleep(0.01)
            if then is not None:
                then()
            return result

    def follow() -> Any:
        done.wait(20)
        return second()

    one, two = at_once([hold, follow], threads=2)
    assert not isinstance(one, Exception), one
    return one, two


def test_fifty_at_once_get_fifty_consecutive_numbers(admin: Membership) -> None:
    statements = []
    for _ in range(50):
        client = make_client(admin.workspace)
        make_time_log(admin, client)
        statements.append(draft(admin, client))
    empty = [draft(admin, make_client(admin.workspace)) for _ in range(10)]  # these fail in between
    jobs = [partial(issue, admin, one) for one in statements + empty]
    found = at_once(jobs[::2] + jobs[1::2], threads=25)
    numbers = [one.number for one in found if isinstance(one, Statement)]
    assert sorted(numbers) == list(range(1, 51))
    assert sum(isinstance(one, Invalid) for one in found) == 10
    assert {fresh(admin.workspace, one).number for one in statements} == set(range(1, 51))


def test_one_draft_is_issued_once(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log = make_time_log(admin, client)
    statement = draft(admin, client)
    found = at_once([partial(issue, admin, statement)] * 8, threads=8)
    assert sum(isinstance(one, Statement) for one in found) == 1
    assert sum(isinstance(one, NotDraft) for one in found) == 7
    with tenant_scope(admin.workspace_id):
        assert StatementEntry.objects.get().time_log_id == log.id


def test_one_draft_a_client_is_made(admin: Membership) -> None:
    client = make_client(admin.workspace)
    found = at_once([partial(draft, admin, client)] * 8, threads=8)
    assert sum(isinstance(one, Statement) for one in found) == 1
    with tenant_scope(admin.workspace_id):
        assert Statement.objects.count() == 1


def test_one_void_and_one_more_is_refused(admin: Membership) -> None:
    client = make_client(admin.workspace)
    make_time_log(admin, client)
    statement = issued(admin, client)
    found = at_once([partial(void, admin, statement)] * 4, threads=4)
    assert sum(isinstance(one, Statement) for one in found) == 1
    assert sum(isinstance(one, NotIssued) for one in found) == 3


def edit(admin: Membership, log: TimeLog, **values: Any) -> TimeLog:
    with tenant_scope(admin.workspace_id):
        return revise_time_log(log=log, by=admin, **values)


def test_edit_that_came_first_is_what_is_issued(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log, other = make_time_log(admin, client, seconds=3600), make_time_log(admin, client, seconds=60)
    statement = draft(admin, client)
    _, found = crossing(
        partial(edit, admin, log, seconds=7200, notes="Edited"), partial(issue, admin, statement)
    )
    assert isinstance(found, Statement), found
    rows = {one.source: (one.seconds, one.notes) for one in entries(admin.workspace, statement)}
    assert rows == {log.id: (7200, "Edited"), other.id: (60, "")}
    assert sheet(admin.workspace, statement).seconds == 7260


def test_edit_that_came_late_is_refused(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log = make_time_log(admin, client, seconds=3600)
    statement = draft(admin, client)
    _, found = crossing(partial(issue, admin, statement), partial(edit, admin, log, seconds=7200))
    assert isinstance(found, Settled), found
    assert [one.seconds for one in entries(admin.workspace, statement)] == [3600]
    with tenant_scope(admin.workspace_id):
        assert TimeLog.objects.get().seconds == 3600


def test_time_that_leaves_meanwhile_stays_off(admin: Membership) -> None:
    client, other = make_client(admin.workspace), make_client(admin.workspace)
    gone, moved = make_time_log(admin, client), make_time_log(admin, client)
    stays = make_time_log(admin, client)
    statement = draft(admin, client)

    def leave() -> None:
        edit(admin, gone, spent_date=date(2026, 6, 30) + timedelta(days=1))
        edit(admin, moved, client=other)

    _, found = crossing(leave, partial(issue, admin, statement))
    assert isinstance(found, Statement), found
    assert [one.source for one in entries(admin.workspace, statement)] == [stays.id]
    with tenant_scope(admin.workspace_id):
        assert set(TimeLog.objects.filter(settled_at=None).values_list("id", flat=True)) == {
            gone.id,
            moved.id,
        }


def test_log_that_changes_client_between_two_issues_is_on_one(admin: Membership) -> None:
    one, two = make_client(admin.workspace), make_client(admin.workspace)
    log = make_time_log(admin, one)
    make_time_log(admin, two)
    first, second = draft(admin, one), draft(admin, two)

    def move_and_issue() -> Statement:
        edit(admin, log, client=two)
        return issue(admin, second)

    there, left = crossing(move_and_issue, partial(issue, admin, first))
    assert isinstance(there, Statement), there
    assert isinstance(left, Invalid), left  # nothing was left to settle there
    with tenant_scope(admin.workspace_id):
        assert StatementEntry.objects.filter(time_log=log).get().statement_id == second.id


def test_adjustment_is_not_restored_while_it_is_settled(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log = make_time_log(admin, client)
    issued(admin, client)
    adjustment = make_adjustment(log, (-60, "0.00"))
    statement = draft(admin, client)

    def restore() -> Any:
        with tenant_scope(admin.workspace_id):
            return restore_adjustment(adjustment=adjustment, by=admin)

    _, found = crossing(partial(issue, admin, statement), restore)
    assert isinstance(found, ServiceError), found
    assert "Statement 2 settles this adjustment" in found.detail
    void(admin, statement)
    assert restore().status == "pending"
    assert isinstance(at_once([partial(issue, admin, draft(admin, client))])[0], Invalid)


def test_statement_is_not_voided_while_its_time_is_adjusted(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log = make_time_log(admin, client)
    first = issued(admin, client)
    make_adjustment(log, (-60, "0.00"))
    second = draft(admin, client)
    _, found = crossing(partial(issue, admin, second), partial(void, admin, first))
    assert isinstance(found, ServiceError), found
    assert "Statement 2 adjusts time of this one" in found.detail


def test_issue_and_sync_lock_in_one_order(admin: Membership) -> None:
    """A sync that holds the older log, which is adjusted, gets the newer one, which is to be settled, too."""
    client = make_client(admin.workspace)
    older = make_time_log(admin, client)
    issued(admin, client)
    make_adjustment(older, (-60, "0.00"))
    newer = make_time_log(admin, client, seconds=120)
    statement = draft(admin, client)

    def lock(log: TimeLog) -> None:
        with tenant_scope(admin.workspace_id):
            lock_logs(admin.workspace_id, [log.id])

    _, found = crossing(partial(lock, older), partial(issue, admin, statement), then=partial(lock, newer))
    assert isinstance(found, Statement), found
    assert sorted(one.seconds for one in entries(admin.workspace, statement)) == [-60, 120]


def test_adjustment_of_time_that_is_released_meanwhile_stays_off(admin: Membership) -> None:
    client = make_client(admin.workspace)
    log = make_time_log(admin, client)
    first = issued(admin, client)
    make_adjustment(log, (-60, "0.00"))
    second = draft(admin, client, date(2027, 1, 1), date(2027, 1, 31))
    _, found = crossing(partial(void, admin, first), partial(issue, admin, second))
    assert isinstance(found, Invalid), found
