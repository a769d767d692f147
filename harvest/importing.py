"""Bringing Harvest's time in: a run over a window, a page a transaction.

How it goes: `start_import` queues a run (one a connection) and tells a worker on commit. The worker claims it and reads
pages in a thread of their own; for each page it finds which entries are known and asks `intake` what happens to each;
then, in one transaction and another thread, it proves that it still holds the run, and writes identities, logs,
proposals and run entries in bulk. So fetching, deciding and writing overlap.

What happens when it stops half-way: a page is in whole or not at all. The lease runs out, the sweep has the run claimed
again, and it walks the same window: entries that the run already tells of are left alone, and identities are unique in
the database, so nothing is counted or imported twice.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Self
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db import connection as database
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.errors import Invalid, ServiceError
from accounts.models import User, Workspace
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from harvest.catalogue import Item, Seen, is_stale, read_catalogue, store_catalogue
from harvest.changes import night_of, tell_of_night, walk_changes
from harvest.client import HarvestClient, Patience
from harvest.credentials import check_plan, open_client, usable_connection
from harvest.errors import HarvestAuthError, HarvestError, HarvestRateLimited, HarvestUnavailable
from harvest.incoming import forget_remembered, remembered_now, window_of_remembered
from harvest.reading import ahead, read_entries, read_window
from harvest.renewal import mark_reconnect_needed
from harvest.sweep import sweep
from harvest.writing import (
    NOTHING,
    Prepared,
    load_context,
    name_what_is_gone,
    plans_of,
    prepare_page,
    write_prepared,
)
from integrations.models import (
    Connection,
    ConnectionStatus,
    OutboundChange,
    Outcome,
    RunEntry,
    RunKind,
    RunState,
    SyncEvent,
    SyncRun,
)
from integrations.outgoing import present
from integrations.runs import (
    MOST_ATTEMPTS,
    LeaseLost,
    claim_run,
    entries_of,
    finish_run,
    prolong,
    prove_held,
    release_run,
    start_run,
)

logger = logging.getLogger("harvest.importing")

DEFAULT_DAYS = 14
MOST_DAYS = 3660
SWITCH_SECONDS = 0.0005
FEW = 25  # remembered entries that are asked for one by one; more are cheaper by their window
# A night asks once, and comes back after these waits: no worker sleeps while others wait, save for its turn under the
# limit, long enough to be let in among people's requests (`ratelimit.HANDICAP`).
NO_PATIENCE = Patience(attempts=1, total=120.0, longest_turn=20.0)
AGAIN_AFTER = [timedelta(minutes=minutes) for minutes in (1, 3, 9, 27)]
EARLIEST, LATEST = date(1970, 1, 1), date(2199, 12, 31)


# --- Starting --------------------------------------------------------------------------------------------------------
def checked_window(
    *, workspace: Workspace, from_date: date | None, to_date: date | None
) -> tuple[date, date]:
    """The window of an import, both days included: the last 14 days where nothing is given. Raises Invalid."""
    last = to_date or max(workspace.today(), from_date or date.min)
    first = from_date or max(last, EARLIEST) - timedelta(days=DEFAULT_DAYS - 1)
    errors: dict[str, list[str]] = {}
    for name, day in (("from", first), ("to", last)):
        if not EARLIEST <= day <= LATEST:
            errors[name] = ["Give a date between 1970 and 2199."]
    if not errors and first > last:
        errors["from"] = ["The first day must not be after the last day."]
    if not errors and (last - first).days >= MOST_DAYS:
        errors["from"] = ["Choose a window of at most ten years."]
    if errors:
        raise Invalid(errors)
    return first, last


def start_import(
    *,
    workspace: Workspace,
    by: User,
    from_date: date | None = None,
    to_date: date | None = None,
    dry_run: bool = False,
) -> SyncRun:
    """Queue an import of a window (inside the workspace's scope) and tell a worker once this is committed.

    Raises Invalid, NotConnected, PlanRequired, RunInProgress. Should the worker not hear of it, the sweep finds it.
    """
    connection = usable_connection(workspace)
    first, last = checked_window(workspace=workspace, from_date=from_date, to_date=to_date)
    run = start_run(
        connection=connection,
        kind=RunKind.IMPORT,
        from_date=first,
        to_date=last,
        dry_run=dry_run,
        requested_by=by,
    )
    if not dry_run:
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.import",
            target=f"{first} → {last}",
            run=str(run.id),
        )
    enqueue(workspace.id, run.id)
    return run


def start_apply(*, workspace: Workspace, by: User, preview: SyncRun) -> SyncRun:
    """Queue an import of exactly what a preview showed, inside the scope. What has moved since is named, not imported.

    Raises NotConnected, PlanRequired, RunInProgress, and ServiceError for what is no finished preview of this account.
    """
    connection = usable_connection(workspace)
    if not preview.dry_run or preview.state not in (RunState.SUCCEEDED, RunState.PARTIAL):
        raise ServiceError("Only a finished preview can be applied.")
    if preview.account_id != connection.account_id:
        raise ServiceError("This preview is of another Harvest account. Preview again.")
    run = start_run(
        connection=connection,
        kind=RunKind.IMPORT,
        from_date=preview.from_date,
        to_date=preview.to_date,
        preview=preview,
        requested_by=by,
    )
    record_audit(
        workspace=workspace,
        actor=by,
        action="harvest.import",
        target=f"{run.from_date} → {run.to_date}",
        run=str(run.id),
        preview=str(preview.id),
    )
    enqueue(workspace.id, run.id)
    return run


def start_incoming(*, workspace: Workspace, by: User) -> SyncRun:
    """Queue a run of exactly the entries that were skipped for a missing mapping and can come in now.

    Inside the scope. Raises NotConnected, PlanRequired, RunInProgress, and ServiceError where there is none.
    """
    connection = usable_connection(workspace)
    window = window_of_remembered(connection)
    if window is None:
        raise ServiceError("Nothing that was skipped can come in with the present mappings.")
    run = start_run(
        connection=connection,
        kind=RunKind.IMPORT,
        from_date=window[0],
        to_date=window[1],
        remembered=True,
        requested_by=by,
    )
    record_audit(
        workspace=workspace, actor=by, action="harvest.import", target="what was skipped", run=str(run.id)
    )
    enqueue(workspace.id, run.id)
    return run


def enqueue(workspace_id: UUID, run_id: UUID, *, background: bool = False) -> None:
    """Tell a worker of a run when this transaction commits. A broker that is away is no error: the sweep finds it."""
    from harvest.tasks import hand_out

    transaction.on_commit(lambda: hand_out(workspace_id, run_id, background=background), robust=True)


# --- Running ---------------------------------------------------------------------------------------------------------
def execute_run(*, workspace_id: UUID, run_id: UUID) -> None:
    """Work on a run until it ends, or somebody else holds it. What fails is written on the run; bugs are raised too."""
    lease = settings.HARVEST_RUN_LEASE_SECONDS
    with tenant_scope(workspace_id):
        run = claim_run(workspace_id=workspace_id, run_id=run_id, lease_seconds=lease)
    if run is None:
        return
    try:
        if run.attempts > MOST_ATTEMPTS:
            _end(
                run,
                RunState.FAILED,
                "This run was interrupted again and again, and was given up. Start it again.",
            )
            return
        _walk_and_end(run, lease)
    except LeaseLost:
        logger.info("run %s: held by another worker, or ended", run.id)
    except (OperationalError, InterfaceError):
        # The database is away: the lease runs out, and the sweep has the run claimed again.
        raise
    except Exception:
        _end(
            run,
            RunState.FAILED,
            "Something went wrong on our side. What was read until then is in; start it again.",
        )
        raise


def _walk_and_end(run: SyncRun, lease: int) -> None:
    try:
        check_plan(run.workspace)
    except ServiceError as paused:  # since it was queued, or between two attempts
        with tenant_scope(run.workspace_id):
            _end(run, RunState.FAILED, str(paused), told=False)
            if run.kind == RunKind.AUTO:  # made up once it goes on
                Connection.objects.filter(pk=run.connection_id).update(night_on=None)
        return
    if not run.connection.connected:
        _end(run, RunState.FAILED, "Harvest has to be connected again first.")
        return
    watermark: datetime | None = None
    nightly = run.kind in (RunKind.AUTO, RunKind.CHANGES)
    try:
        with open_client(run.connection, patience=NO_PATIENCE if nightly else None) as client:
            if run.kind == RunKind.IMPORT:
                shortfall = _walk(run, client, lease)
            else:
                shortfall, watermark = walk_changes(run, client, Writer(run, lease), lease=lease)
    except HarvestAuthError as error:
        with tenant_scope(run.workspace_id):
            mark_reconnect_needed(run.connection, error.message)
        _end(run, RunState.FAILED, error.message)
    except HarvestRateLimited as error:
        # Not this run's fault, and it passes: it goes on by itself when Harvest lets it.
        with tenant_scope(run.workspace_id):
            until = timezone.now() + timedelta(seconds=error.retry_after_seconds or lease)
            release_run(run, until=until, counts=False)
    except HarvestError as error:
        if (
            run.kind == RunKind.AUTO
            and isinstance(error, HarvestUnavailable)
            and run.attempts <= len(AGAIN_AFTER)
        ):
            # It waits in the queue rather than in a worker, where it would delay other workspaces.
            with tenant_scope(run.workspace_id):
                release_run(run, until=timezone.now() + AGAIN_AFTER[run.attempts - 1])
            return
        with tenant_scope(run.workspace_id):
            some = RunEntry.objects.filter(run=run).exists()
        rest = (
            " What was read until then is in; importing the window again brings in the rest, nothing twice."
            if run.kind == RunKind.IMPORT
            else " What was read until then is in; the next sync brings in the rest."
        )
        _end(run, RunState.PARTIAL if some else RunState.FAILED, error.message + (rest if some else ""))
    else:
        moving = (
            f"Harvest's list kept changing while it was read: at least {shortfall} of its entries may be missing. "
            f"{'Import the window' if run.kind == RunKind.IMPORT else 'Sync'} again."
            if shortfall
            else ""
        )
        with tenant_scope(run.workspace_id):
            failed = RunEntry.objects.filter(run=run, outcome=Outcome.FAILED).exists()
            state = RunState.PARTIAL if failed or shortfall else RunState.SUCCEEDED
            _end(run, state, moving, watermark=watermark)


def _end(
    run: SyncRun, state: str, error: str = "", *, watermark: datetime | None = None, told: bool = True
) -> None:
    """End the run; in the same transaction keep how far a sync that succeeded got, and tell of a night that failed.

    told: whether that is news to the admins, who need no word of a pause that one of them has brought about.
    """
    with tenant_scope(run.workspace_id):
        finish_run(run, state=state, error=error)
        if run.kind == RunKind.CHANGES:
            forget_empty(run)
        same = Connection.objects.filter(pk=run.connection_id, connected_at=run.connection.connected_at)
        if state == RunState.SUCCEEDED and watermark is not None:
            same.filter(Q(watermark_at=None) | Q(watermark_at__lt=watermark)).update(watermark_at=watermark)
        # Credentials that died are told of by themselves.
        if run.kind == RunKind.AUTO and error and told:
            row = same.filter(status=ConnectionStatus.CONNECTED).select_related("workspace").first()
            if row is not None:
                tell_of_night(row, night_of(run.created_at), what=f"It failed: {error}")


def forget_empty(run: SyncRun) -> None:
    """Take a reading in between that found nothing new out of the history: there are a hundred a day.

    So does one that Harvest did not answer: the next one, or the night, tells of what lasts.
    """
    entries = RunEntry.objects.filter(workspace_id=run.workspace_id, run=run)
    if entries.exists() and _has_news(run):
        return
    entries._raw_delete(entries.db)
    mine = SyncRun.objects.filter(workspace_id=run.workspace_id, pk=run.pk)
    mine._raw_delete(mine.db)


def _has_news(run: SyncRun) -> bool:
    """Whether a sync did anything, or left out or failed at what the sync before it, as far as kept, did not."""
    of_run = {"workspace_id": run.workspace_id, "run": run}
    others = SyncRun.objects.filter(workspace_id=run.workspace_id, connection_id=run.connection_id)
    before = (
        others.exclude(Q(kind=RunKind.IMPORT) | Q(pk=run.pk)).order_by("-id").values_list("pk", flat=True)
    )
    told = RunEntry.objects.filter(
        workspace_id=run.workspace_id,
        run_id=before.first(),
        outcome__in=(Outcome.SKIPPED, Outcome.FAILED),
        **{name: OuterRef(name) for name in ("external_id", "outcome", "reason")},
    )
    entries = RunEntry.objects.filter(**of_run).exclude(outcome=Outcome.UNCHANGED)
    # What it stated of a log, or has sent, names it.
    return entries.exclude(Exists(told)).exists() or any(
        model.objects.filter(**of_run).exists() for model in (SyncEvent, OutboundChange)
    )


class Writer:
    """Writes a run's prepared pages, each in a transaction that first proves the run is still held.

    Pages that others follow are written by threads of their own, so that the database works on them while the next is
    decided: HANDS at most are in flight, and what went wrong with one is raised by a later call. A single page, the
    common case, is written where it is. began: from when on what it is given was read, by the database's clock.
    """

    HANDS = 2  # with more, they only wait for each other

    def __init__(self, run: SyncRun, lease: int) -> None:
        self.run, self.lease = run, lease
        self.began = present()
        self._seen: Seen = {}
        self._hands: list[ThreadPoolExecutor] = []
        self._pending: deque[tuple[Future[None], frozenset[str]]] = deque()
        self._written = 0
        self._renew_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            for hand in self._hands:
                # Looked up over there: each thread has a database connection of its own, and closes none but that.
                hand.submit(lambda: database.close())
                hand.shutdown(wait=True)
            if self._hands:
                gc.unfreeze()

    @property
    def in_flight(self) -> frozenset[str]:
        """The external ids of pages that are being written."""
        return NOTHING.union(*(external_ids for _, external_ids in self._pending))

    def write(self, prepared: Prepared, *, expected: int | None, more: bool) -> None:
        """Write a page, or have it written. Raises LeaseLost, and whatever an earlier page met with."""
        noted = {} if expected is None else {"expected": expected}
        if not self._hands and not more:
            with tenant_scope(self.run.workspace_id):
                prolong(self.run, lease_seconds=self.lease, **noted)
                write_prepared(self.run, prepared, self._seen)
            return
        if not self._hands:
            # Fetching, deciding and writing share the interpreter: at its usual 5 ms, a thread that has its answer
            # from the database waits that long for its turn, dozens of times a page.
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
            # What is here already is no garbage of pages: looking through it for some, again and again, takes a tenth.
            gc.freeze()
            self._hands = [
                ThreadPoolExecutor(1, thread_name_prefix="harvest-writing") for _ in range(self.HANDS)
            ]
        if noted or time.monotonic() >= self._renew_at:
            # Not with each page: it waits for those in flight, which have the run's row locked.
            with tenant_scope(self.run.workspace_id):
                prolong(self.run, lease_seconds=self.lease, **noted)
            self._renew_at = time.monotonic() + self.lease / 3
        while len(self._pending) >= self.HANDS:
            self._settle_oldest()
        hand = self._hands[self._written % self.HANDS]  # in turn: the oldest page's is free now
        self._written += 1
        self._pending.append((hand.submit(self._write, prepared), prepared.external_ids))

    def settle(self) -> None:
        """Wait until nothing is in flight. Raises what went wrong with it."""
        while self._pending:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        self._pending.popleft()[0].result()

    def _write(self, prepared: Prepared) -> None:
        with tenant_scope(self.run.workspace_id):
            prove_held(self.run)
            write_prepared(self.run, prepared, self._seen)


def _walk(run: SyncRun, client: HarvestClient, lease: int) -> int:
    """Read and write the run's entries. Returns how many a day that would not come to rest is still short of."""

    def keep_hold() -> None:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)

    def lists() -> Iterator[list[Item]]:
        yield read_catalogue(client, run.connection)

    beat = max(lease / 3, 0.1)
    if is_stale(run.connection):
        for items in ahead(lists(), idle=keep_hold, every=beat):
            with tenant_scope(run.workspace_id):
                prolong(run, lease_seconds=lease)
                store_catalogue(run.connection, items)
    with tenant_scope(run.workspace_id):
        context = load_context(run.connection)
        only = remembered_now(run.connection) if run.remembered else None

    if run.from_date is None or run.to_date is None:
        raise ValueError("An import has a window.")
    if only is not None and len(only) <= FEW:
        source = read_entries(client, sorted(map(int, only)))
    else:
        source = read_window(client, run.from_date, run.to_date)
    shortfall, expected = 0, 0
    with Writer(run, lease) as writer:
        for reading in ahead(source, idle=keep_hold, every=beat):
            expected = reading.expected or expected
            with tenant_scope(run.workspace_id):
                prepared = prepare_page(
                    run,
                    reading.page,
                    context,
                    only=only,
                    in_flight=writer.in_flight,
                    since=writer.began,
                )
            writer.write(
                prepared,
                expected=len(only) if only is not None else reading.expected,
                more=not reading.page.is_last,
            )
            shortfall += reading.shortfall
    if only is None:
        with tenant_scope(run.workspace_id):
            # An earlier attempt may have told of what is gone since. It is counted too, and no harm done: whatever this
            # reading should have missed instead is asked for one by one.
            complete = not shortfall and entries_of(run).count() >= expected
        sweep(
            run,
            client,
            lease=lease,
            since=writer.began,
            read=complete,
            plans=lambda ids: plans_of(run, ids),
        )
    if not shortfall:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)
            if run.preview_id is not None:
                name_what_is_gone(run)
            if only is not None:
                forget_remembered(run, only)
    return shortfall
