"""Entries that are time already here: this product's own, whose answer was lost, and time logged in both systems.

An entry without a link is *own* where its external reference is the id of a live log without one. It is a *twin* where
exactly one unlinked manual log equals it in owner, project, activity type, date, hundredths of an hour and notes. A log
is one entry's at most: what Harvest made of a push a second time (`made_late`) is its log's too, and is deleted there.
Linking is taken back by `unlink_entry`: the log is an unlinked log again, and the entry a new one, which comes in by
the next reading that lists it. The history remembers the pair, which is never joined again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.errors import InUse, ServiceError, Settled
from accounts.models import User, Workspace
from accounts.services import record_audit
from harvest.agreement import lock_logs, refresh_state
from harvest.payloads import TimeEntryPayload
from harvest.terms import Terms, hours_of, hundredths, load_terms
from integrations.logs_side import values_of
from integrations.models import (
    OPEN_CHANGES,
    ChangeState,
    Connection,
    Deed,
    OutboundChange,
    Outcome,
    RunEntry,
    SyncEvent,
    SyncLink,
)
from integrations.sync.types import Field, NoCounterpart, Value
from timelogs.models import Source, TimeLog

Joins = Callable[[TimeEntryPayload], UUID | None]

# From when an entry was looked for in vain to when it was made all the same, by the clocks of both.
LATE = timedelta(hours=1)


def own_or_twin(connection: Connection, entries: Sequence[TimeEntryPayload]) -> Joins | None:
    """For the intake: which log each of these unlinked entries is, None where none can be. Inside the scope.

    Two queries, and a fixed number more where there are logs to compare with.
    """
    if not entries:
        return None
    of_workspace = TimeLog.objects.filter(
        workspace_id=connection.workspace_id, deleted_at=None, sync_link=None
    ).order_by("id")
    references = {one for entry in entries if (one := _uuid(entry.external_reference_id))}
    late = made_late(connection.workspace_id, entries) if references else {}
    own = (
        set(of_workspace.filter(id__anyof=list(references)).values_list("id", flat=True))
        if references
        else set()
    )
    alike = [
        log
        for log in of_workspace.filter(
            source=Source.MANUAL,
            spent_date__in={entry.spent_date for entry in entries if not entry.is_running},
        )
        if log.id not in own
    ]
    if not references and not alike:
        return None
    candidates = [*own, *(log.id for log in alike)]
    parted = set(
        SyncEvent.objects.filter(
            workspace_id=connection.workspace_id, time_log__id__anyof=candidates, deed=Deed.UNLINKED
        ).values_list("time_log_id", "external_id")
    )
    # One that is being created in Harvest is about to be an entry of its own, and the queue sees to what it makes.
    begun = set(
        OutboundChange.objects.filter(
            Q(state=ChangeState.SENDING) | Q(begun__isnull=False),
            workspace_id=connection.workspace_id,
            time_log__id__anyof=[*references, *(log.id for log in alike)],
        ).values_list("time_log_id", flat=True)
    )
    twins: dict[tuple[Value, ...], list[UUID]] = {}
    for log in alike:
        if log.id not in begun:
            twins.setdefault(_key_of_log(log), []).append(log.id)
    terms = load_terms(connection)
    taken: set[UUID] = set()

    def find(entry: TimeEntryPayload) -> UUID | None:
        external_id, found = str(entry.id), _uuid(entry.external_reference_id)
        if found not in own and external_id in late:
            return late[external_id]
        if found in begun and (found not in own or found in taken):
            return found  # left alone: its log is another entry already
        if found not in own:
            key = None if entry.is_running else _key_of_entry(entry, terms)
            logs = twins.get(key, []) if key else []
            found = logs[0] if len(logs) == 1 else None
        if found is None or found in taken or (found, external_id) in parted:
            return None
        taken.add(found)
        return found

    return find


def made_late(workspace_id: UUID, entries: Sequence[TimeEntryPayload]) -> dict[str, UUID]:
    """Entries that Harvest made of a push after all, when they had been looked for in vain. Inside the scope.

    One query. Returns external id -> the log that they carry the id of. Only what nobody in Harvest has touched, and
    what was made about when it was looked for: people who copy an entry there may copy its reference too, and mean it.
    """
    logs = {str(one.id): log for one in entries if (log := _uuid(one.external_reference_id))}
    sought: dict[UUID, list[datetime]] = {}
    for log_id, at in SyncEvent.objects.filter(
        workspace_id=workspace_id, time_log__id__anyof=list(set(logs.values())), deed=Deed.SOUGHT
    ).values_list("time_log_id", "created_at"):
        sought.setdefault(log_id, []).append(at)
    return {
        str(one.id): logs[str(one.id)]
        for one in entries
        if str(one.id) in logs
        and one.created_at is not None
        and one.created_at == one.updated_at
        and any(abs(one.created_at - at) < LATE for at in sought.get(logs[str(one.id)], ()))
    }


def _key_of_log(log: TimeLog) -> tuple[Value, ...]:
    values = values_of(log)
    return (
        values[Field.OWNER], values[Field.PLACEMENT], values[Field.ACTIVITY], log.spent_date, hours_of(log.seconds),
        log.notes,
    )  # fmt: skip


def _key_of_entry(entry: TimeEntryPayload, terms: Terms) -> tuple[Value, ...] | None:
    abroad = terms.there(entry, None).abroad
    values: list[Value] = []
    for name in (Field.OWNER, Field.PLACEMENT, Field.ACTIVITY):
        value = abroad[name]
        if isinstance(value, NoCounterpart):
            return None
        values.append(value)
    return (*values, entry.spent_date, hundredths(entry.hours), entry.notes)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def unlink_entry(*, workspace: Workspace, by: User, entry: RunEntry) -> TimeLog:
    """Part an entry and the log that a run linked it to, inside the scope; returns the log, unlinked again.

    Raises ServiceError where this run did not link it, or it no longer is; Settled, InUse (its change is being sent).
    """
    with transaction.atomic():
        if entry.outcome != Outcome.LINKED or entry.time_log_id is None or entry.run.dry_run:
            raise ServiceError("Only an entry that was linked to time already here can be unlinked.")
        log = lock_logs(workspace.id, [entry.time_log_id])[entry.time_log_id]
        link = SyncLink.objects.filter(
            workspace=workspace, account_id=entry.run.account_id, external_id=entry.external_id, time_log=log
        ).first()
        if link is None:
            raise ServiceError("This entry is not linked to that time any more.")
        if log.settled:
            raise Settled("This time is on an issued statement, so its link stays. Void the statement first.")
        changes = OutboundChange.objects.filter(workspace=workspace, time_log=log)
        if changes.filter(state=ChangeState.SENDING).exists():
            raise InUse("This time is on its way to Harvest. Try again in a moment.")
        now = timezone.now()
        link.delete()
        changes.filter(state__in=OPEN_CHANGES).update(
            state=ChangeState.CANCELLED, detail="Unlinked.", updated_at=Now(), finished_at=now
        )
        log.external_id = None
        TimeLog.objects.filter(workspace_id=workspace.id, pk=log.pk).update(external_id=None)
        SyncEvent.objects.create(
            workspace_id=workspace.id,
            time_log=log,
            external_id=entry.external_id,
            deed=Deed.UNLINKED,
            detail=f"{by.name or by.email} said that this is other time than Harvest's entry.",
            run=entry.run,
        )
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.unlinked",
            target=entry.external_id,
            time_log=str(log.id),
        )
        refresh_state(workspace.id, [log.id])
    return log
