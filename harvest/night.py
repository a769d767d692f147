"""The night: at 02:00 UTC each connection whose automated sync is on reads what has changed.

How it goes: a sweep runs every few seconds, day and night. It looks for connections that the present night (the last
02:00 that has passed) has not been started for, those whose last success is the oldest first, and starts as many as
spread what is left over the rest of half an hour; starting one writes its run and the night on the connection in one
transaction, and tells a worker. Nothing else is remembered, so it does not matter whether beat was away at 02:00 (what
is missed is found when it returns), or is there twice (the second finds the night on the connection).

In between, a connection that goes both ways is read for changes every HARVEST_CHANGES_MINUTES, in the same way: by
`changes_due_at` on its row, which is spread evenly over that time when it is first given, and keeps its place from then
on. One that has a run is left until that has ended. A reading that found nothing leaves no line in the history.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.errors import RunInProgress
from accounts.models import Plan, User, Workspace
from accounts.services import record_audit
from accounts.tenancy import SPAN_SWEEP, span, tenant_scope
from harvest.changes import beginning_of, night_of, tell_of_night
from harvest.credentials import PROVIDER, usable_connection
from harvest.importing import enqueue
from integrations.models import (
    LIVE_STATES,
    Connection,
    ConnectionStatus,
    Direction,
    RunKind,
    RunState,
    SyncRun,
)
from integrations.runs import start_run

logger = logging.getLogger("harvest.night")

SPREAD = timedelta(minutes=30)
LATE_AFTER = timedelta(hours=1)
SWEEP_SECONDS = 10
FEWEST_AT_ONCE = 20  # a handful need no spreading
MOST_WAITING = (
    500  # queued runs; what workers cannot keep up with waits here, in order, instead of in the broker
)
BACKGROUND = (RunKind.AUTO, RunKind.CHANGES)
LOOKED = "harvest.night.looked"  # in the cache: when a sweep last came to its end


def enabled() -> QuerySet[Connection]:
    """Connections whose automated sync is on and not paused: by a plan, for want of credentials, before a deletion."""
    return Connection.objects.filter(
        provider=PROVIDER,
        status=ConnectionStatus.CONNECTED,
        auto_sync=True,
        workspace__plan=Plan.PRO,
        workspace__deletes_at=None,
    )


def not_started(night: date) -> QuerySet[Connection]:
    return enabled().filter(Q(night_on=None) | Q(night_on__lt=night))


# --- Starting --------------------------------------------------------------------------------------------------------
def sweep_nights(*, now: datetime | None = None) -> int:
    """Start what is due of the present night, and tell of what is late. Returns how many runs were started."""
    now = now or timezone.now()
    night = night_of(now)
    _tell_what_is_late(night, now)
    started = 0
    for workspace_id, connection_id in _due(night, now):
        try:
            started += (
                start_night(workspace_id=workspace_id, connection_id=connection_id, night=night) is not None
            )
        except RunInProgress:
            continue  # an import has just begun: the next sweep finds it again
        except Exception:
            # One workspace's trouble is its own.
            logger.exception("connection %s: the night could not be started", connection_id)
    cache.set(LOOKED, now, timeout=None)
    return started


def _due(night: date, now: datetime) -> list[tuple[UUID, UUID]]:
    """(workspace id, connection id) of the next ones to start now."""
    left = (beginning_of(night) + SPREAD - now).total_seconds()
    with span(SPAN_SWEEP, "nights"):
        due = not_started(night).exclude(
            Exists(SyncRun.objects.filter(connection=OuterRef("pk"), state__in=LIVE_STATES))
        )
        total = due.count()
        if not total:
            return []
        share = (
            max(FEWEST_AT_ONCE, math.ceil(total * SWEEP_SECONDS / left)) if left > SWEEP_SECONDS else total
        )
        waiting = SyncRun.objects.filter(kind=RunKind.AUTO, state=RunState.QUEUED).count()
        oldest_first = due.order_by(F("watermark_at").asc(nulls_first=True), "id")
        return list(
            oldest_first.values_list("workspace_id", "id")[: max(0, min(share, MOST_WAITING - waiting))]
        )


def start_night(*, workspace_id: UUID, connection_id: UUID, night: date) -> SyncRun | None:
    """Queue the run of a night for one connection; None where it has been, or is off by now. Raises RunInProgress."""
    with tenant_scope(workspace_id):
        # Locked, then looked at: who comes second sees the night that the first one wrote.
        row = Connection.objects.select_for_update().filter(pk=connection_id).first()
        if row is None or not not_started(night).filter(pk=connection_id).exists():
            return None
        row.night_on = night
        row.save(update_fields=["night_on"])
        return _queue(row, RunKind.AUTO)


def _queue(connection: Connection, kind: str, by: User | None = None) -> SyncRun:
    run = start_run(connection=connection, kind=kind, requested_by=by)
    enqueue(connection.workspace_id, run.id, background=kind in BACKGROUND)
    return run


def in_background(run_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these runs nobody waits for. Spans workspaces."""
    with span(SPAN_SWEEP, "runs"):
        runs = SyncRun.objects.filter(id__in=list(run_ids), kind__in=BACKGROUND)
        return set(runs.values_list("id", flat=True))


# --- In between ------------------------------------------------------------------------------------------------------
def changes_every() -> timedelta:
    return timedelta(minutes=max(settings.HARVEST_CHANGES_MINUTES, 1))


def due_for_changes(now: datetime) -> QuerySet[Connection]:
    """Connections to be read for changes now, those without a place in time among them."""
    both_ways = enabled().filter(direction=Direction.TWO_WAY)
    return both_ways.filter(Q(changes_due_at=None) | Q(changes_due_at__lte=now))


def sweep_changes(*, now: datetime | None = None) -> int:
    """Read the connections that are due for it, longest due first. Returns how many runs were started."""
    now = now or timezone.now()
    with span(SPAN_SWEEP, "changes"):
        free = due_for_changes(now).exclude(
            Exists(SyncRun.objects.filter(connection=OuterRef("pk"), state__in=LIVE_STATES))
        )
        waiting = SyncRun.objects.filter(kind=RunKind.CHANGES, state=RunState.QUEUED).count()
        oldest_first = free.order_by(F("changes_due_at").asc(nulls_first=True), "id")
        due = list(oldest_first.values_list("workspace_id", "id")[: max(0, MOST_WAITING - waiting)])
    started = 0
    for workspace_id, connection_id in due:
        try:
            started += (
                start_changes(workspace_id=workspace_id, connection_id=connection_id, now=now) is not None
            )
        except RunInProgress:
            continue
        except Exception:
            # One workspace's trouble is its own.
            logger.exception("connection %s: its changes could not be read", connection_id)
    return started


def start_changes(*, workspace_id: UUID, connection_id: UUID, now: datetime) -> SyncRun | None:
    """Queue a reading for one connection, and give it its next time. None where it is not due. Raises RunInProgress.

    One that has no time yet gets its first: somewhere within the next period, by its id, so that they spread.
    """
    every = changes_every()
    with tenant_scope(workspace_id):
        row = Connection.objects.select_for_update().filter(pk=connection_id).first()
        if row is None or not due_for_changes(now).filter(pk=connection_id).exists():
            return None
        if row.changes_due_at is None:
            row.changes_due_at = now + every * ((row.pk.int % 10_007) / 10_007)
            row.save(update_fields=["changes_due_at"])
            return None
        missed = (now - row.changes_due_at) // every
        row.changes_due_at += every * (missed + 1)
        row.save(update_fields=["changes_due_at"])
        return _queue(row, RunKind.CHANGES)


@dataclass(frozen=True, slots=True)
class Started:
    """What came of starting every connection: runs queued, and connections that had one already."""

    started: int
    busy: int


def start_all() -> Started:
    """Start every connection now, also one whose night has been: what an operator asks for by hand."""
    night = night_of(timezone.now())
    started = busy = 0
    for workspace_id, connection_id in _every():
        try:
            with tenant_scope(workspace_id):
                if enabled().filter(pk=connection_id).update(night_on=night):
                    _queue(Connection.objects.get(pk=connection_id), RunKind.AUTO)
                    started += 1
        except RunInProgress:
            busy += 1
    return Started(started, busy)


def _every(size: int = 1000) -> Iterator[tuple[UUID, UUID]]:
    last: UUID | None = None
    while True:
        with span(SPAN_SWEEP, "nights"):
            rows = enabled().order_by("id")
            page = list((rows.filter(id__gt=last) if last else rows).values_list("workspace_id", "id")[:size])
        yield from page
        if len(page) < size:
            return
        last = page[-1][1]


def start_sync(*, workspace: Workspace, by: User) -> SyncRun:
    """Queue what the night does, now, for this workspace, inside its scope.

    Raises NotConnected, PlanRequired, RunInProgress.
    """
    connection = usable_connection(workspace)
    run = _queue(connection, RunKind.SYNC, by)
    record_audit(workspace=workspace, actor=by, action="harvest.sync", run=str(run.id))
    return run


def switched_on(connection: Connection, *, now: datetime | None = None) -> None:
    """Automated sync was just switched on (unsaved): its first night is the next one."""
    connection.night_on = night_of(now or timezone.now())


# --- What is late ----------------------------------------------------------------------------------------------------
def _tell_what_is_late(night: date, now: datetime) -> None:
    """Tell, once a night, of connections that it had not begun for by 03:00 UTC, whatever was in the way.

    The first sweep after that hour tells of those that it finds not started: beat was away, or the workers had too much
    to do, or a long import was in the way. One that comes back later in the day (connected anew, or on a better plan)
    is no fault of the night. Runs that were queued in time and that no worker took up are told of by any sweep.
    """
    begun = beginning_of(night)
    deadline = begun + LATE_AFTER
    if now < deadline:
        return
    looked = cache.get(LOOKED)
    waiting = SyncRun.objects.filter(
        kind=RunKind.AUTO, state=RunState.QUEUED, created_at__gte=begun, created_at__lt=deadline
    )
    with span(SPAN_SWEEP, "nights"):
        late = set(waiting.values_list("workspace_id", "connection_id"))
        if looked is None or looked < deadline:
            missed = not_started(night).filter(connected_at__lt=begun)
            late |= set(missed.values_list("workspace_id", "id"))
    for workspace_id, connection_id in late:
        try:
            with tenant_scope(workspace_id):
                row = Connection.objects.select_related("workspace").get(pk=connection_id)
                tell_of_night(
                    row, night, how="is late", what="It had not started by 03:00 UTC, and is being made up."
                )
        except Exception:
            logger.exception("connection %s: nobody could be told of its night", connection_id)
