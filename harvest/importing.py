"""Bringing Harvest's time in: a run over a window, a page a transaction.

How it goes: `start_import` queues a run (one a connection) and tells a worker on commit. The worker claims it, reads
pages in a thread of their own (fetching the next page overlaps writing this one), and for each page, in one
transaction: proves that it still holds the run, finds which entries are known, asks `intake` what happens to each, and
writes identities, logs, proposals and run entries in bulk.

What happens when it stops half-way: a page is in whole or not at all. The lease runs out, the sweep has the run claimed
again, and it walks the same window: entries that the run already tells of are left alone, and identities are unique in
the database, so nothing is counted or imported twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from accounts.bulk import copy_rows
from accounts.errors import Invalid
from accounts.ids import uuid7
from accounts.models import User, Workspace
from accounts.selectors import members_of
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from harvest.catalogue import is_stale, note_seen, read_catalogue, store_catalogue
from harvest.client import EntryPage, HarvestClient
from harvest.credentials import PROVIDER, mark_reconnect_needed, open_client, usable_connection
from harvest.errors import HarvestAuthError, HarvestError, HarvestRateLimited
from harvest.intake import (
    ActivityTarget,
    Decision,
    Import,
    IntakeContext,
    KnownLink,
    LinkState,
    ProjectTarget,
    Propose,
    Skip,
    WorkItem,
    WorkItems,
    decide,
    resolve_people,
)
from harvest.models import ClientMapping, HarvestItem, ItemKind, PersonMapping, ProjectMapping, TaskMapping
from harvest.payloads import TimeEntryPayload, UnreadableEntry, content_hash
from inbound.models import ProposalStatus, TimeProposal
from integrations.models import Connection, Outcome, Reason, RunEntry, RunKind, RunState, SyncLink, SyncRun
from integrations.runs import MOST_ATTEMPTS, LeaseLost, claim_run, finish_run, prolong, release_run, start_run
from timelogs.models import Source, SyncState, TimeLog
from timelogs.models import WorkItem as WorkItemRow
from timelogs.signals import time_log_changed

logger = logging.getLogger("harvest.importing")

DEFAULT_DAYS = 14
MOST_DAYS = 3660
MOST_WALKS = 3  # over one window, while Harvest's listing shifts under the reading
NOTES_KEPT = 1000  # characters of an entry's notes on the run entry; the log keeps them all
EARLIEST, LATEST = date(1970, 1, 1), date(2199, 12, 31)


# --- Starting --------------------------------------------------------------------------------------------------------
def checked_window(
    *, workspace: Workspace, from_date: date | None, to_date: date | None
) -> tuple[date, date]:
    """The window of an import, both days included: the last 14 days where nothing is given. Raises Invalid."""
    last = to_date or max(workspace.today(), from_date or date.min)
    first = from_date or last - timedelta(days=DEFAULT_DAYS - 1)
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


def enqueue(workspace_id: UUID, run_id: UUID) -> None:
    """Tell a worker of a run when this transaction commits. A broker that is away is no error: the sweep finds it."""
    from harvest.tasks import run_import

    transaction.on_commit(lambda: run_import.delay(str(workspace_id), str(run_id)), robust=True)


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
        with open_client(run.connection) as client:
            shortfall = _walk(run, client, lease)
    except HarvestAuthError as error:
        with tenant_scope(run.workspace_id):
            mark_reconnect_needed(run.connection, error.message)
        _end(run, RunState.FAILED, error.message)
    except HarvestRateLimited as error:
        # Not this run's fault, and it passes: it goes on by itself when Harvest lets it.
        with tenant_scope(run.workspace_id):
            release_run(run, until=timezone.now() + timedelta(seconds=error.retry_after_seconds or lease))
    except HarvestError as error:
        with tenant_scope(run.workspace_id):
            some = RunEntry.objects.filter(run=run).exists()
        rest = (
            " What was read until then is in; importing the window again brings in the rest, nothing twice."
        )
        _end(run, RunState.PARTIAL if some else RunState.FAILED, error.message + (rest if some else ""))
    else:
        with tenant_scope(run.workspace_id):
            failed = RunEntry.objects.filter(run=run, outcome=Outcome.FAILED).exists()
        moving = (
            f"Harvest's list kept changing while it was read: at least {shortfall} of its entries may be missing. "
            "Import the window again."
            if shortfall
            else ""
        )
        _end(run, RunState.PARTIAL if failed or shortfall else RunState.SUCCEEDED, moving)


def _end(run: SyncRun, state: str, error: str = "") -> None:
    with tenant_scope(run.workspace_id):
        finish_run(run, state=state, error=error)


def _walk(run: SyncRun, client: HarvestClient, lease: int) -> int:
    """Read and write the window's pages. Returns how many entries a listing that would not rest is still short of."""
    if is_stale(run.connection):
        items = read_catalogue(client, run.connection)
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)
            store_catalogue(run.connection, items)
    with tenant_scope(run.workspace_id):
        context = load_context(run.connection)
    shortfall = 0
    for _ in range(MOST_WALKS):
        for page in _pages(run, client, lease):
            with tenant_scope(run.workspace_id):
                prolong(run, lease_seconds=lease, expected=page.total_entries)
                write_page(run, page, context)
            shortfall = page.shortfall
        if not shortfall:
            break
    return shortfall


def _pages(run: SyncRun, client: HarvestClient, lease: int) -> Iterator[EntryPage]:
    """The window's pages, fetched ahead in a thread; while one is waited for, the lease is kept alive."""
    fetched: queue.Queue[EntryPage | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def hand_over(item: EntryPage | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                fetched.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        try:
            for page in client.time_entry_pages(from_date=run.from_date, to_date=run.to_date):
                if not hand_over(page):
                    return
            hand_over(None)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=fetch, name=f"pages of {run.id}", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = fetched.get(timeout=max(lease / 3, 0.1))
            except queue.Empty:
                with tenant_scope(run.workspace_id):
                    prolong(run, lease_seconds=lease)
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join(timeout=1)


# --- Deciding --------------------------------------------------------------------------------------------------------
def load_context(connection: Connection) -> IntakeContext:
    """What this workspace holds that decides about entries, as it stands now. A fixed number of queries."""
    workspace_id = connection.workspace_id
    workspace = connection.workspace
    members = {one.user.email: one.user_id for one in members_of(workspace)}
    people = HarvestItem.objects.filter(workspace_id=workspace_id, kind=ItemKind.PERSON).exclude(email="")
    return IntakeContext(
        projects={
            int(harvest_id): ProjectTarget(id=target, client=client)
            for harvest_id, target, client in ProjectMapping.objects.filter(
                workspace_id=workspace_id
            ).values_list("harvest_id", "target_id", "target__client_id")
        },
        clients={
            int(harvest_id): target
            for harvest_id, target in ClientMapping.objects.filter(workspace_id=workspace_id).values_list(
                "harvest_id", "target_id"
            )
        },
        tasks={
            int(harvest_id): ActivityTarget(id=target, hourly_rate=rate)
            for harvest_id, target, rate in TaskMapping.objects.filter(workspace_id=workspace_id).values_list(
                "harvest_id", "target_id", "target__hourly_rate"
            )
        },
        people=resolve_people(
            mapped={
                int(harvest_id): target
                for harvest_id, target in PersonMapping.objects.filter(workspace_id=workspace_id).values_list(
                    "harvest_id", "target_id"
                )
            },
            emails={
                int(harvest_id): email for harvest_id, email in people.values_list("harvest_id", "email")
            },
            members=members,
        ),
        fallback_owner=connection.connected_by_id if connection.connected_by_id in members.values() else None,
        work_items=WorkItems(
            WorkItem(id=pk, client=client, project=project, key=key, title=title)
            for pk, client, project, key, title in WorkItemRow.objects.filter(workspace_id=workspace_id)
            .order_by("id")
            .values_list("id", "client_id", "project_id", "key", "title")
            .iterator(chunk_size=5000)
        ),
    )


def known_links(connection: Connection, external_ids: Sequence[str]) -> dict[int, KnownLink]:
    """Which of these entries are something here already, and what."""
    rows = SyncLink.objects.filter(
        workspace_id=connection.workspace_id,
        provider=PROVIDER,
        account_id=connection.account_id,
        external_id__in=external_ids,
    ).values_list("external_id", "remote_hash", "time_log_id", "time_log__deleted_at", "proposal__status")
    known: dict[int, KnownLink] = {}
    for external_id, remote_hash, time_log_id, deleted_at, status in rows:
        if time_log_id is not None:
            state = LinkState.DELETED if deleted_at else LinkState.LINKED
        else:
            state = LinkState.DISMISSED if status == ProposalStatus.DISMISSED else LinkState.PROPOSED
        known[int(external_id)] = KnownLink(state, remote_hash)
    return known


# --- Writing ---------------------------------------------------------------------------------------------------------
LINK_COLUMNS = (
    "id", "workspace_id", "provider", "account_id", "external_id", "time_log_id", "proposal_id", "remote_hash",
    "created_at",
)  # fmt: skip
LOG_COLUMNS = (
    "id", "workspace_id", "client_id", "project_id", "work_item_id", "activity_type_id", "owner_id", "spent_date",
    "seconds", "notes", "billable", "hourly_rate", "source", "external_id", "sync_state", "sync_detail", "created_at",
    "updated_at",
)  # fmt: skip
PROPOSAL_COLUMNS = (
    "id", "workspace_id", "client_id", "owner_id", "activity_type_id", "spent_date", "seconds", "notes", "billable",
    "hourly_rate", "external_id", "status", "created_at",
)  # fmt: skip
ENTRY_COLUMNS = (
    "id", "workspace_id", "run_id", "external_id", "outcome", "reason", "detail", "time_log_id", "proposal_id",
    "spent_date", "hours", "notes", "remote",
)  # fmt: skip


@dataclass(slots=True)
class Batch:
    """The rows that a set of decisions comes to."""

    links: list[tuple[Any, ...]] = field(default_factory=list)
    logs: list[tuple[Any, ...]] = field(default_factory=list)
    proposals: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)


def write_page(run: SyncRun, page: EntryPage, context: IntakeContext) -> None:
    """Decide and write one page, inside the scope and the caller's transaction."""
    entries = {str(entry.id): entry for entry in page.entries}
    bad = {_bad_id(one): one for one in page.bad}
    told = set(
        RunEntry.objects.filter(
            workspace_id=run.workspace_id, run=run, external_id__in=[*entries, *bad]
        ).values_list("external_id", flat=True)
    )
    fresh = [entry for external_id, entry in entries.items() if external_id not in told]
    context = context.with_known(known_links(run.connection, [str(entry.id) for entry in fresh]))
    decisions = [(entry, decide(entry, context)) for entry in fresh]
    _save(run, decisions)
    unreadable = [
        _bad_row(run, external_id, one) for external_id, one in bad.items() if external_id not in told
    ]
    if unreadable:
        copy_rows(RunEntry, ENTRY_COLUMNS, unreadable, skip_conflicts=True)
    note_seen(run.connection, fresh)


def _save(run: SyncRun, decisions: Sequence[tuple[TimeEntryPayload, Decision]]) -> None:
    """Write decisions in bulk. One that the database refuses is told as `save_failed`; the others go on.

    A refused set is halved until the culprit stands alone: one bad entry in 2,000 costs some twenty inserts.
    """
    if not decisions:
        return
    try:
        with transaction.atomic():
            _write(run, decisions)
    except (DataError, IntegrityError) as error:
        if len(decisions) == 1:
            entry, _ = decisions[0]
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            row = _entry_row(
                run, entry, Outcome.FAILED, Reason.SAVE_FAILED, f"It could not be saved: {cause}"
            )
            copy_rows(RunEntry, ENTRY_COLUMNS, [row])
            return
        middle = len(decisions) // 2
        _save(run, decisions[:middle])
        _save(run, decisions[middle:])


def _write(run: SyncRun, decisions: Sequence[tuple[TimeEntryPayload, Decision]]) -> None:
    now = timezone.now()
    batch = Batch()
    made = {str(entry.id): uuid7() for entry, one in decisions if isinstance(one, (Import, Propose))}
    taken = set(made)
    if made and not run.dry_run:
        # Identities first: whoever else may have brought an entry in meanwhile wins, and ours is known already then.
        rows = [
            (
                uuid7(), run.workspace_id, PROVIDER, run.account_id, str(entry.id),
                made[str(entry.id)] if isinstance(one, Import) else None,
                made[str(entry.id)] if isinstance(one, Propose) else None,
                content_hash(entry), now,
            )
            for entry, one in decisions
            if str(entry.id) in made
        ]  # fmt: skip
        taken = set(copy_rows(SyncLink, LINK_COLUMNS, rows, skip_conflicts=True, returning="external_id"))
    for entry, one in decisions:
        external_id = str(entry.id)
        pk = None if run.dry_run else made.get(external_id)
        if external_id in made and external_id not in taken:
            batch.entries.append(_entry_row(run, entry, Outcome.SKIPPED, Reason.ALREADY_IMPORTED))
        elif isinstance(one, Import):
            if pk:
                batch.logs.append(
                    (
                        pk, run.workspace_id, one.client, one.project, one.work_item, one.activity_type, one.owner,
                        one.spent_date, one.seconds, one.notes, one.billable, one.hourly_rate, Source.HARVEST.value,
                        external_id, SyncState.SYNCED.value, "", now, now,
                    )
                )  # fmt: skip
            batch.entries.append(_entry_row(run, entry, Outcome.IMPORTED, time_log=pk))
        elif isinstance(one, Propose):
            if pk:
                batch.proposals.append(
                    (
                        pk, run.workspace_id, one.client, one.owner, one.activity_type, one.spent_date, one.seconds,
                        one.notes, one.billable, one.hourly_rate, external_id, ProposalStatus.PENDING.value, now,
                    )
                )  # fmt: skip
            batch.entries.append(_entry_row(run, entry, Outcome.PROPOSED, proposal=pk))
        elif isinstance(one, Skip):
            failed = one.reason.value == Reason.SAVE_FAILED
            outcome = Outcome.FAILED if failed else Outcome.SKIPPED
            batch.entries.append(_entry_row(run, entry, outcome, Reason(one.reason.value), one.detail))
        else:
            raise TypeError(f"Not a decision of an import: {one!r}")
    if batch.logs:
        copy_rows(TimeLog, LOG_COLUMNS, batch.logs)
    if batch.proposals:
        copy_rows(TimeProposal, PROPOSAL_COLUMNS, batch.proposals)
    copy_rows(RunEntry, ENTRY_COLUMNS, batch.entries)
    # Checked here rather than at commit, so that a reference that went away meanwhile is one entry's failure.
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    if batch.logs:
        time_log_changed.send(
            sender=TimeLog,
            workspace_id=run.workspace_id,
            time_log_ids=[row[0] for row in batch.logs],
            change="created",
            origin="sync",
        )


def _entry_row(
    run: SyncRun,
    entry: TimeEntryPayload,
    outcome: Outcome,
    reason: Reason | None = None,
    detail: str = "",
    *,
    time_log: UUID | None = None,
    proposal: UUID | None = None,
) -> tuple[Any, ...]:
    remote = "{}"
    if outcome in (Outcome.SKIPPED, Outcome.FAILED) and reason != Reason.ALREADY_IMPORTED:
        remote = _json_of(entry)
    return (
        uuid7(), run.workspace_id, run.id, str(entry.id), outcome.value, reason.value if reason else "", detail,
        time_log, proposal, entry.spent_date, _kept_hours(entry.hours), entry.notes[:NOTES_KEPT], remote,
    )  # fmt: skip


def _json_of(entry: TimeEntryPayload) -> str:
    return json.dumps(
        {
            "client_id": str(entry.client_id),
            "client": entry.client_name,
            "project_id": str(entry.project_id),
            "project": entry.project_name,
            "task_id": str(entry.task_id),
            "task": entry.task_name,
            "user_id": str(entry.user_id),
            "user": entry.user_name,
        }
    )


def _bad_id(one: UnreadableEntry) -> str:
    """A name for an unreadable entry that is the same in every reading: its id, or a mark made of what it holds."""
    if one.remote_id:
        return one.remote_id[:40]
    return "?" + hashlib.blake2b(repr(one).encode(), digest_size=12).hexdigest()


def _bad_row(run: SyncRun, external_id: str, one: UnreadableEntry) -> tuple[Any, ...]:
    try:
        hours = _kept_hours(Decimal(one.hours))
    except ArithmeticError:
        hours = None
    return (
        uuid7(), run.workspace_id, run.id, external_id, Outcome.FAILED.value, Reason.SAVE_FAILED.value,
        f"Harvest sent it in a form that cannot be read: {one.reason}", None, None, one.spent_date, hours,
        one.notes[:NOTES_KEPT], "{}",
    )  # fmt: skip


def _kept_hours(hours: Decimal) -> Decimal | None:
    """Hours as the run entry keeps them: two decimals, or None where they are no sensible number."""
    if not hours.is_finite() or abs(hours) >= 10**9:
        return None
    return hours.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
