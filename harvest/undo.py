"""Taking back what one run brought in.

Whatever is still as Harvest had it when it was last read is removed together with its identity, so that the window can
be imported again; what somebody has edited, deleted, decided or settled since is kept, and listed. What a sync changed
or deleted because Harvest had is no edit. The ledger keeps the run and its entries. What the run linked, changed or
deleted of earlier time stays as it is: it brought nothing of that in.
One transaction: it is done whole or not at all, and doing it again takes back nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.errors import RunInProgress, ServiceError
from accounts.models import User, Workspace
from accounts.services import record_audit
from inbound.models import Adjustment, ProposalStatus, TimeProposal
from integrations.logs_side import values_of
from integrations.models import (
    LIVE_STATES,
    Connection,
    OutboundChange,
    Outcome,
    RunEntry,
    SyncEvent,
    SyncLink,
    SyncRun,
)
from integrations.runs import BROUGHT_IN, TAKEN_BACK, brought_in, entries_of
from integrations.sync.types import Field, load_base
from timelogs.models import TimeLog
from timelogs.signals import time_log_changed


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why. One of `time_log` and `proposal` is set."""

    time_log: UUID | None
    detail: str
    proposal: UUID | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """undone: how many logs and proposals were taken back."""

    undone: int
    kept: list[Kept]


def undo_run(*, workspace: Workspace, by: User, run: SyncRun) -> Undone:
    """Take back what a finished run brought in, inside the scope. Raises RunInProgress, ServiceError."""
    with transaction.atomic():
        # Locked: a run that starts meanwhile waits for this to end, for it refers to the connection's row.
        Connection.objects.select_for_update().get(pk=run.connection_id, workspace=workspace)
        live = SyncRun.objects.filter(
            workspace=workspace, connection_id=run.connection_id, state__in=LIVE_STATES
        ).first()
        if live is not None:
            raise RunInProgress(
                "An import or sync is running. Wait for it to end, then undo.", run=str(live.id)
            )
        if run.dry_run:
            raise ServiceError("A preview brought nothing in, so there is nothing to undo.")
        logs, kept_logs = _logs(run)
        proposals, kept_proposals = _proposals(run)
        _remove(run, logs, proposals)
        SyncRun.objects.filter(pk=run.pk).update(undone_at=timezone.now())
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.undone",
            target=f"{run.from_date} → {run.to_date}",
            run=str(run.id),
            undone=len(logs) + len(proposals),
            kept=len(kept_logs) + len(kept_proposals),
        )
    return Undone(len(logs) + len(proposals), kept_logs + kept_proposals)


def _logs(run: SyncRun) -> tuple[list[UUID], list[Kept]]:
    """The logs this run made, locked: those to remove, and those that stay."""
    links_made = brought_in(run, Outcome.IMPORTED).values_list("time_log_id", "former_log_id")
    made = [log or former for log, former in links_made]
    logs = list(
        TimeLog.objects.select_for_update()
        .filter(workspace_id=run.workspace_id, id__anyof=made)
        .order_by("id")
    )
    ids = [log.id for log in logs]
    found = SyncLink.objects.filter(workspace_id=run.workspace_id).filter(
        Q(time_log__id__anyof=ids) | Q(former_log__id__anyof=ids)
    )
    # Its present link counts, where a log has former ones too.
    links = {
        one.time_log_id or one.former_log_id: one
        for one in sorted(found, key=lambda one: one.time_log_id is not None)
    }
    # Of statements that were voided since: what was decided about this time stays, and so does the time.
    adjusted = set(
        Adjustment.objects.filter(workspace_id=run.workspace_id, time_log__id__anyof=ids).values_list(
            "time_log_id", flat=True
        )
    )
    remove, kept = [], []
    for log in logs:
        link = links.get(log.id)
        went = link is not None and link.time_log_id is None and link.base is not None
        if log.settled_at is not None:
            kept.append(Kept(log.id, "It is on an issued statement."))
        elif log.deleted_at is not None and not went:
            kept.append(Kept(log.id, "It has been deleted here since; it stays deleted."))
        elif not went and log.updated_at != log.created_at and not _as_agreed(log, link):
            kept.append(Kept(log.id, "It has been edited since."))
        elif log.id in adjusted:
            kept.append(Kept(log.id, "It was on a statement, and Harvest has changed it since."))
        else:
            remove.append(log.id)
    return remove, kept


def _as_agreed(log: TimeLog, link: SyncLink | None) -> bool:
    """Whether a log holds what both sides last agreed on: then only syncs have touched it."""
    if link is None or link.base is None or link.time_log_id is None:
        return False
    ours, base = values_of(log), load_base(link.base)
    return all(name in base and base[name].local == ours[name] for name in Field)


def _proposals(run: SyncRun) -> tuple[list[UUID], list[Kept]]:
    """The proposals this run made, locked: those to remove, and those that stay."""
    made = brought_in(run, Outcome.PROPOSED).values("proposal_id")
    remove, kept = [], []
    for pk, status, time_log_id, decided_at in (
        TimeProposal.objects.select_for_update()
        .filter(workspace_id=run.workspace_id, id__in=made)
        .order_by("id")
        .values_list("id", "status", "time_log_id", "decided_at")
    ):
        if status == ProposalStatus.ACCEPTED:
            kept.append(Kept(time_log_id, "It has been accepted in Inbound since.", proposal=pk))
        elif status != ProposalStatus.WITHDRAWN and (
            status == ProposalStatus.DISMISSED or decided_at is not None
        ):
            kept.append(Kept(None, "It has been decided in Inbound since.", proposal=pk))
        else:
            remove.append(pk)
    return remove, kept


def _remove(run: SyncRun, logs: list[UUID], proposals: list[UUID]) -> None:
    """Remove rows with their identities; the run entries that told of them stay and say so.

    Straight SQL: the collector would load every row to follow references that are all known here.
    """
    workspace = run.workspace
    if logs:
        # Told first: whoever listens may still look at the rows.
        time_log_changed.send(
            sender=TimeLog, workspace_id=workspace.id, time_log_ids=logs, change="deleted", origin="sync"
        )
    gone = brought_in(run).filter(
        Q(time_log__id__anyof=logs) | Q(former_log__id__anyof=logs) | Q(proposal__id__anyof=proposals)
    )
    entries_of(run).filter(outcome__in=BROUGHT_IN, external_id__in=gone.values("external_id")).update(
        detail=TAKEN_BACK
    )
    # What other runs told of them, or this one when it named them itself.
    RunEntry.objects.filter(workspace=workspace, time_log__id__anyof=logs).update(
        time_log=None, detail=TAKEN_BACK
    )
    RunEntry.objects.filter(workspace=workspace, proposal__id__anyof=proposals).update(
        proposal=None, detail=TAKEN_BACK
    )
    tables = (
        (OutboundChange._meta.db_table, "time_log_id", logs),
        (SyncEvent._meta.db_table, "time_log_id", logs),
        (SyncLink._meta.db_table, "former_log_id", logs),
        (SyncLink._meta.db_table, "time_log_id", logs),
        (SyncLink._meta.db_table, "proposal_id", proposals),
        (TimeProposal._meta.db_table, "id", proposals),
        (TimeLog._meta.db_table, "id", logs),
    )
    with database.cursor() as cursor:
        for table, column, ids in tables:
            if ids:
                cursor.execute(
                    f"DELETE FROM {table} WHERE workspace_id = %s AND {column} = ANY(%s)",  # noqa: S608 - own names
                    [workspace.id, ids],
                )
