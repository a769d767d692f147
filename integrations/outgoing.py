"""The queue of outgoing changes: written with the log, claimed by one worker at a time, never lost.

Saving a log writes its open change in the same transaction (`time_log_changed`), and one task a transaction is told on
commit. A worker claims a change in a short transaction; a lease that ran out is claimed again, with what was `begun`
intact; a sweep finds what no task took up. Who writes a log's change holds the log's row: so a log has one open
change, and one that is being sent gives way to what was saved meanwhile.

When a change was last touched (`updated_at`) is told by the database's clock, which all workers share: a run asks by it
what was touched since it began to read (`present`), and no two machines' clocks agree.

A provider says by an `Outlet` which logs are its business, and how its workers are woken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.dispatch import receiver
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import Plan
from accounts.tenancy import SPAN_SWEEP, span
from integrations.models import (
    OPEN_CHANGES,
    ChangeState,
    Connection,
    ConnectionStatus,
    Direction,
    OutboundChange,
    Way,
)
from timelogs.models import SyncState, TimeLog
from timelogs.signals import time_log_changed

logger = logging.getLogger("integrations.outgoing")

LEASE = timedelta(seconds=60)
MOST_AT_ONCE = 500  # workspaces that one sweep wakes
NOT_SENT = "Changed here and not sent to Harvest: it was set to import only, or disconnected, before."


@dataclass(frozen=True, slots=True)
class Outlet:
    """mapped: SQL that says of a row `log` of timelogs_timelog whether its client or project is the provider's too.

    wake: tell a worker that this workspace has something to send.
    """

    mapped: str
    wake: Callable[[UUID], object]


_OUTLETS: dict[str, Outlet] = {}


def register(provider: str, outlet: Outlet) -> None:
    _OUTLETS[provider] = outlet


class LeaseLost(Exception):
    """Somebody else holds the change now, or it was ended: this worker must stop without writing."""


def sending_connections() -> QuerySet[Connection]:
    """Connections whose changes go out: both ways, with good credentials, on the plan that has it."""
    return Connection.objects.filter(
        status=ConnectionStatus.CONNECTED, direction=Direction.TWO_WAY, workspace__plan=Plan.PRO
    )


def present() -> datetime:
    """The present by the database's clock, for what is asked of `updated_at`. One query."""
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone() or (None,)
    if not isinstance(now, datetime):
        raise TypeError("The database did not say what time it is.")
    return now


# --- Writing it down -------------------------------------------------------------------------------------------------
# The logs are locked first, in one order; then their changes are written; then they are told to wait.
_ENQUEUE = """
WITH logs AS MATERIALIZED (
    SELECT log.id FROM timelogs_timelog log
    WHERE log.workspace_id = %(workspace)s AND {which}
    ORDER BY log.id FOR NO KEY UPDATE OF log
), made AS (
    INSERT INTO integrations_outboundchange AS change
        (id, workspace_id, connection_id, time_log_id, run_id, state, way, backlog, not_before, attempts, reason,
         detail, keep, created_at, updated_at)
    SELECT uuidv7(), %(workspace)s, %(connection)s, logs.id, %(run)s, 'pending', 'out', %(backlog)s, %(now)s, 0, '',
           '', '', %(now)s, statement_timestamp()
    FROM logs
    ON CONFLICT (workspace_id, time_log_id) WHERE state IN ('pending', 'held', 'conflict')
    DO UPDATE SET state = 'pending', way = 'out', connection_id = excluded.connection_id,
        run_id = CASE change.state WHEN 'pending' THEN change.run_id ELSE excluded.run_id END,
        backlog = change.backlog AND excluded.backlog, not_before = excluded.not_before, attempts = 0,
        reason = '', detail = '', keep = '', remedy = NULL, fields = NULL, updated_at = excluded.updated_at
    RETURNING time_log_id
)
UPDATE timelogs_timelog log SET sync_state = 'pending', sync_detail = ''
FROM made WHERE log.workspace_id = %(workspace)s AND log.id = made.time_log_id
"""
_LINKED = (
    "EXISTS (SELECT 1 FROM integrations_synclink link"
    " WHERE link.workspace_id = log.workspace_id AND link.time_log_id = log.id)"
)
_UNDER_WAY = (
    "EXISTS (SELECT 1 FROM integrations_outboundchange other WHERE other.workspace_id = log.workspace_id"
    " AND other.time_log_id = log.id AND (other.state IN ('pending', 'sending', 'held', 'conflict')"
    " OR other.begun IS NOT NULL))"
)


def _write(
    workspace_id: UUID,
    connection_id: UUID,
    which: str,
    *,
    backlog: bool = False,
    run_id: UUID | None = None,
    **parameters: Any,
) -> int:
    values = {
        "workspace": workspace_id,
        "connection": connection_id,
        "run": run_id,
        "backlog": backlog,
        "now": timezone.now(),
        **parameters,
    }
    with database.cursor() as cursor:
        cursor.execute(_ENQUEUE.format(which=which), values)
        return cursor.rowcount


def enqueue(
    *,
    workspace_id: UUID,
    connection_id: UUID,
    time_log_ids: Iterable[UUID],
    backlog: bool = False,
    run_id: UUID | None = None,
) -> int:
    """Have these logs brought into step with the provider, inside the scope. Returns how many. One statement.

    A log whose change is held or in conflict is tried again. backlog: gives way to what people save now. run_id: the
    run that found it, which counts what is then sent; what waited before stays what it was.
    """
    ids = list(time_log_ids)
    if not ids:
        return 0
    which = "log.id = ANY(%(ids)s)"
    count = _write(workspace_id, connection_id, which, backlog=backlog, run_id=run_id, ids=ids)
    wake(workspace_id, "harvest")
    return count


def note_surplus(*, workspace_id: UUID, surplus: Mapping[UUID, Any]) -> None:
    """Have the waiting changes of these logs take back an entry that is one too many: log -> what tells it.

    Inside the scope. What was begun goes first: then whoever reads that entry next says it again.
    """
    for log_id, told in surplus.items():
        OutboundChange.objects.filter(
            workspace_id=workspace_id, time_log_id=log_id, state=ChangeState.PENDING, begun__isnull=True
        ).update(begun={"surplus": told})


@receiver(time_log_changed)
def note_change(
    sender: type[TimeLog],
    workspace_id: UUID,
    time_log_ids: Sequence[UUID],
    change: str,
    origin: str,
    **rest: Any,
) -> bool:
    """What a person saved goes out, where the connection goes both ways; what a sync wrote never does.

    Returns whether anything does.
    """
    if origin != "person" or not time_log_ids:
        return False
    found = (
        Connection.objects.filter(workspace_id=workspace_id, direction=Direction.TWO_WAY)
        .exclude(status=ConnectionStatus.NOT_CONNECTED)
        .values_list("id", "provider")
        .first()
    )
    if found is None:
        return False
    connection_id, provider = found
    outlet = _OUTLETS[provider]
    # An accepted proposal makes a log that has its link already, and is no edit.
    linked = "false" if change == "created" else _LINKED
    unlinked = f"log.deleted_at IS NULL AND NOT {_LINKED} AND ({outlet.mapped})"
    which = f"log.id = ANY(%(ids)s) AND ({linked} OR {_UNDER_WAY} OR ({unlinked}))"
    if not _write(workspace_id, connection_id, which, ids=list(time_log_ids)):
        return False
    wake(workspace_id, provider)
    return True


class _Wake:
    """Told on commit, once a transaction."""

    def __init__(self, workspace_id: UUID, provider: str) -> None:
        self.what = (workspace_id, provider)

    def __call__(self) -> None:
        _OUTLETS[self.what[1]].wake(self.what[0])


def wake(workspace_id: UUID, provider: str) -> None:
    """Tell a worker once this transaction is committed. A broker that is away is no error: the sweep finds it."""
    told = (hook for _, hook, *_ in database.run_on_commit if isinstance(hook, _Wake))
    if not any(hook.what == (workspace_id, provider) for hook in told):
        transaction.on_commit(_Wake(workspace_id, provider), robust=True)


# --- Older time, and what was held -----------------------------------------------------------------------------------
def _older(provider: str) -> str:
    return (
        f"log.deleted_at IS NULL AND log.external_id IS NULL AND NOT {_LINKED} AND NOT {_UNDER_WAY}"
        f" AND ({_OUTLETS[provider].mapped})"
    )


def older_time(connection: Connection) -> tuple[int, int]:
    """Logs of mapped clients and projects that were never pushed, and their seconds. One query."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(log.seconds), 0) FROM timelogs_timelog log"  # noqa: S608 (our own words)
            f" WHERE log.workspace_id = %(workspace)s AND {_older(connection.provider)}",
            {"workspace": connection.workspace_id},
        )
        count, seconds = cursor.fetchone() or (0, 0)
    return count, int(seconds)


def push_older(connection: Connection) -> int:
    """Enqueue that time, behind what people save now. Returns how many logs. One statement."""
    count = _write(connection.workspace_id, connection.id, _older(connection.provider), backlog=True)
    if count:
        wake(connection.workspace_id, connection.provider)
    return count


def push_edited(connection: Connection, edited: str) -> int:
    """Enqueue the linked logs of which `edited` (SQL over `log` and `link`) holds, behind what people save now."""
    which = (
        "EXISTS (SELECT 1 FROM integrations_synclink link WHERE link.workspace_id = log.workspace_id"  # noqa: S608
        f" AND link.time_log_id = log.id AND link.account_id = %(account)s AND ({edited}))"
    )
    count = _write(connection.workspace_id, connection.id, which, backlog=True, account=connection.account_id)
    if count:
        wake(connection.workspace_id, connection.provider)
    return count


def retry(changes: QuerySet[OutboundChange]) -> int:
    """Try held changes (or conflicts that somebody decided) again, inside the scope; their `keep` stays."""
    rows = list(
        changes.filter(state__in=(ChangeState.HELD, ChangeState.CONFLICT)).values_list(
            "id", "time_log_id", "workspace_id", "connection__provider"
        )
    )
    if not rows:
        return 0
    _lock_logs(rows[0][2], [row[1] for row in rows])
    again = OutboundChange.objects.filter(
        workspace_id=rows[0][2],
        id__anyof=[row[0] for row in rows],
        state__in=(ChangeState.HELD, ChangeState.CONFLICT),
    )
    logs = list(again.values_list("time_log_id", flat=True))
    now = timezone.now()
    again.update(
        state=ChangeState.PENDING,
        not_before=now,
        attempts=0,
        reason="",
        detail="",
        remedy=None,
        updated_at=Now(),
    )
    TimeLog.objects.filter(workspace_id=rows[0][2], id__anyof=logs).update(
        sync_state=SyncState.PENDING, sync_detail=""
    )
    if logs:
        wake(rows[0][2], rows[0][3])
    return len(logs)


def _lock_logs(workspace_id: UUID, log_ids: Sequence[UUID]) -> None:
    list(
        TimeLog.objects.filter(workspace_id=workspace_id, id__anyof=sorted(log_ids))
        .order_by("id")
        .select_for_update(no_key=True)
        .values_list("id", flat=True)
    )


def cancel_all(connection: Connection, *, detail: str, forget: bool = False) -> int:
    """Nothing more goes out, inside the scope: open changes are cancelled, and their logs say so.

    One that is being sent comes to its end. What was begun and not recorded stays noted, unless it is to be forgotten:
    should the log go out again, the entry is looked for first.
    """
    if forget:
        OutboundChange.objects.filter(
            workspace_id=connection.workspace_id, connection=connection, begun__isnull=False
        ).exclude(state=ChangeState.SENDING, lease_until__gte=timezone.now()).update(begun=None)
    rows = OutboundChange.objects.filter(
        Q(state__in=OPEN_CHANGES) | Q(state=ChangeState.SENDING, lease_until__lt=timezone.now()),
        workspace_id=connection.workspace_id,
        connection=connection,
    )
    _lock_logs(connection.workspace_id, list(rows.values_list("time_log_id", flat=True)))
    logs = list(rows.values_list("time_log_id", flat=True))
    now = timezone.now()
    rows.update(
        state=ChangeState.CANCELLED,
        detail=detail,
        remedy=None,
        lease_token=None,
        lease_until=None,
        updated_at=Now(),
        finished_at=now,
    )
    TimeLog.objects.filter(workspace_id=connection.workspace_id, id__anyof=logs).update(
        sync_state=SyncState.NONE, sync_detail=detail
    )
    return len(logs)


# --- Taking it up ----------------------------------------------------------------------------------------------------
_CLAIM = """
UPDATE integrations_outboundchange SET state = 'sending', lease_token = %(token)s, lease_until = %(until)s,
    attempts = attempts + 1, updated_at = statement_timestamp()
WHERE workspace_id = %(workspace)s AND id = (
    SELECT change.id FROM integrations_outboundchange change
    WHERE change.workspace_id = %(workspace)s AND change.connection_id = %(connection)s
      AND (change.state = 'sending' AND change.lease_until < %(now)s
           OR change.state = 'pending' AND change.not_before <= %(now)s
              AND NOT EXISTS (SELECT 1 FROM integrations_outboundchange other
                              WHERE other.workspace_id = change.workspace_id
                                AND other.time_log_id = change.time_log_id AND other.state = 'sending'))
    ORDER BY change.backlog, change.not_before, change.id
    FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id
"""


def claim(connection: Connection, *, lease: timedelta = LEASE) -> OutboundChange | None:
    """Take hold of the next change of a connection, inside the scope: interactive before backlog, oldest first.

    Never one of a log of which another is being sent. None where nothing is due.
    """
    now = timezone.now()
    values: dict[str, Any] = {
        "workspace": connection.workspace_id,
        "connection": connection.id,
        "token": uuid7(),
        "until": now + lease,
        "now": now,
    }
    with database.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        row = cursor.fetchone()
    return OutboundChange.objects.get(id=row[0], workspace_id=connection.workspace_id) if row else None


def next_due(connection: Connection) -> datetime | None:
    """When the next change that was put off is due, inside the scope; None where there is none."""
    return (
        OutboundChange.objects.filter(
            workspace_id=connection.workspace_id,
            connection=connection,
            state=ChangeState.PENDING,
            not_before__gt=timezone.now(),
        )
        .order_by("not_before")
        .values_list("not_before", flat=True)
        .first()
    )


def prolong(change: OutboundChange, *, lease: timedelta = LEASE, **values: Any) -> None:
    """Keep hold of a claimed change, and note `values` on it, inside the scope. Raises LeaseLost."""
    until = timezone.now() + lease
    if not _held(change).update(lease_until=until, **values):
        raise LeaseLost(str(change.id))
    for name, value in {"lease_until": until, **values}.items():
        setattr(change, name, value)


def _held(change: OutboundChange) -> QuerySet[OutboundChange]:
    return OutboundChange.objects.filter(
        workspace_id=change.workspace_id,
        id=change.id,
        state=ChangeState.SENDING,
        lease_token=change.lease_token,
    )


def newer_open(change: OutboundChange) -> bool:
    """Whether the log was saved again since this change was claimed. Its row is locked by the caller."""
    return OutboundChange.objects.filter(
        workspace_id=change.workspace_id, time_log_id=change.time_log_id, state__in=OPEN_CHANGES
    ).exists()


def finish(
    change: OutboundChange, state: str = ChangeState.DONE, *, detail: str = "", begun: Any = None
) -> None:
    """End a claimed change, inside the scope, its log's row locked. Raises LeaseLost."""
    _let_go(change, state, detail=detail, begun=begun, finished_at=timezone.now())


def hold(
    change: OutboundChange,
    *,
    reason: str,
    detail: str,
    state: str = ChangeState.HELD,
    way: str = Way.OUT,
    fields: Any = None,
    remedy: Any = None,
    begun: Any = None,
    refused_hash: str = "",
) -> None:
    """Let a claimed change wait, held or in conflict, for a person, or for the log to be saved again. As `finish`."""
    if newer_open(change):
        _give_way(change, begun)
        return
    _let_go(
        change,
        state,
        reason=reason,
        detail=detail,
        way=way,
        fields=fields,
        remedy=remedy,
        keep="",
        begun=begun,
        refused_hash=refused_hash,
    )


def put_back(
    change: OutboundChange,
    *,
    not_before: datetime | None = None,
    detail: str = "",
    begun: Any = None,
    counts: bool = True,
) -> None:
    """Let a claimed change be tried again, from `not_before` on (now, where none is given). As `finish`.

    counts: whether it counts as an attempt.
    """
    if newer_open(change):
        _give_way(change, begun)
        return
    values: dict[str, Any] = {} if counts else {"attempts": F("attempts") - 1}
    _let_go(
        change,
        ChangeState.PENDING,
        not_before=not_before or timezone.now(),
        detail=detail,
        begun=begun,
        **values,
    )


def _give_way(change: OutboundChange, begun: Any) -> None:
    """The log has a newer change, which looks at everything anew; what this one had begun is the newer one's now."""
    _let_go(change, ChangeState.DONE, begun=None, finished_at=timezone.now())
    if begun is not None:
        OutboundChange.objects.filter(
            workspace_id=change.workspace_id, time_log_id=change.time_log_id, state__in=OPEN_CHANGES
        ).update(begun=begun)


def _let_go(change: OutboundChange, state: str, **values: Any) -> None:
    done = _held(change).update(state=state, lease_token=None, lease_until=None, updated_at=Now(), **values)
    if not done:
        raise LeaseLost(str(change.id))


def begun_before(change: OutboundChange) -> Any:
    """What an earlier change of this log had begun when it was cancelled, and nobody looked after since."""
    return (
        OutboundChange.objects.filter(
            workspace_id=change.workspace_id,
            time_log_id=change.time_log_id,
            state=ChangeState.CANCELLED,
            begun__isnull=False,
        )
        .order_by("-id")
        .values_list("begun", flat=True)
        .first()
    )


def forget_begun(change: OutboundChange, *, only: Any = None) -> None:
    """It was looked after; only: this alone."""
    earlier = OutboundChange.objects.filter(
        workspace_id=change.workspace_id,
        time_log_id=change.time_log_id,
        state=ChangeState.CANCELLED,
        begun__isnull=False,
    )
    (earlier if only is None else earlier.filter(begun=only)).update(begun=None)


# --- What no task took up --------------------------------------------------------------------------------------------
def _due(now: datetime) -> QuerySet[OutboundChange]:
    return OutboundChange.objects.filter(
        Q(state=ChangeState.PENDING, not_before__lte=now) | Q(state=ChangeState.SENDING, lease_until__lt=now)
    )


def due_workspaces() -> list[UUID]:
    """Workspaces that have something to send now, and may. Spans workspaces, reading only."""
    now = timezone.now()
    with span(SPAN_SWEEP, "changes"):
        may = sending_connections().filter(pk=OuterRef("connection_id"))
        rows = _due(now).filter(Exists(may)).order_by().values_list("workspace_id", flat=True)
        return list(rows.distinct()[:MOST_AT_ONCE])


def paused_workspaces() -> list[UUID]:
    """Workspaces with waiting changes that do not say yet why they wait. Spans workspaces, reading only."""
    now = timezone.now()
    with span(SPAN_SWEEP, "changes"):
        may = sending_connections().filter(pk=OuterRef("connection_id"))
        waiting = _due(now).filter(state=ChangeState.PENDING, detail="").exclude(Exists(may))
        return list(waiting.order_by().values_list("workspace_id", flat=True).distinct()[:MOST_AT_ONCE])


def say_why_it_waits(connection: Connection, detail: str) -> int:
    """Write on the waiting changes of a connection that may not send, and on their logs, why. Inside the scope."""
    waiting = OutboundChange.objects.filter(
        workspace_id=connection.workspace_id, connection=connection, state=ChangeState.PENDING
    ).exclude(detail=detail)
    logs = list(waiting.values_list("time_log_id", flat=True))
    _lock_logs(connection.workspace_id, logs)
    waiting.update(detail=detail)
    return TimeLog.objects.filter(
        workspace_id=connection.workspace_id, id__anyof=logs, sync_state=SyncState.PENDING
    ).update(sync_detail=detail)
