"""What waits for a person: changes that are held, conflicts, settled time that differs; how a click settles each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.dispatch import receiver

from accounts.errors import Forbidden, ServiceError, UpstreamUnavailable
from accounts.models import User, Workspace
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from harvest.agreement import DELETED_SINCE
from harvest.credentials import INTERACTIVE, open_client, usable_connection
from harvest.errors import HarvestAuthError
from harvest.places import Places
from harvest.renewal import mark_reconnect_needed
from harvest.side import HarvestAway, HarvestRefused, translated
from inbound.adjustments import withdraw_difference
from inbound.models import Adjustment, AdjustmentStatus
from integrations import outgoing
from integrations.models import (
    OPEN_CHANGES,
    ChangeState,
    Connection,
    ConnectionStatus,
    Direction,
    OutboundChange,
)
from settlement.models import Statement
from settlement.signals import time_released
from timelogs.models import SyncState, TimeLog

# Holds that no mapping lifts: they are about Harvest's own rules.
NOT_OF_MAPPINGS = (
    "timer_running",
    "invoiced",
    "approved",
    "locked",
    "no_permission",
    "not_visible",
    "past_midnight",
)


def held_of(workspace: Workspace) -> QuerySet[OutboundChange]:
    """The workspace's held changes, with what a list shows of each log."""
    return waiting_of(workspace).filter(state=ChangeState.HELD)


def conflicts_of(workspace: Workspace) -> QuerySet[OutboundChange]:
    """The workspace's conflicts, likewise."""
    return waiting_of(workspace).filter(state=ChangeState.CONFLICT)


def waiting_in(connection: Connection) -> dict[str, int]:
    """How many logs wait, by how. One query."""
    rows = OutboundChange.objects.filter(workspace_id=connection.workspace_id, connection=connection)
    counted = dict(
        rows.filter(state__in=(*OPEN_CHANGES, ChangeState.SENDING))
        .order_by()
        .values_list("state")
        .annotate(n=Count("time_log", distinct=True))
    )
    return {
        "pending": counted.get(ChangeState.PENDING, 0) + counted.get(ChangeState.SENDING, 0),
        "held": counted.get(ChangeState.HELD, 0),
        "conflicts": counted.get(ChangeState.CONFLICT, 0),
    }


def waiting_of(workspace: Workspace) -> QuerySet[OutboundChange]:
    """The workspace's changes, whatever became of them, with what is shown of each log."""
    return OutboundChange.objects.filter(workspace=workspace).select_related(
        "time_log__client", "time_log__project", "time_log__owner", "time_log__activity_type"
    )


def retry_change(*, workspace: Workspace, by: User, change: OutboundChange) -> OutboundChange:
    """Try a held change again, inside the scope. One that is not held any more stays as it is.

    Raises NotConnected, PlanRequired, ServiceError.
    """
    _going_both_ways(workspace)
    if outgoing.retry(held_of(workspace).filter(pk=change.pk)):
        record_audit(workspace=workspace, actor=by, action="harvest.retried", target=str(change.time_log_id))
    return waiting_of(workspace).get(pk=change.pk)


def retry_held(*, workspace: Workspace, by: User, changes: QuerySet[OutboundChange]) -> int:
    """Try all of these (of `held_of`) again, inside the scope. Returns how many. Raises as retry_change."""
    _going_both_ways(workspace)
    count = outgoing.retry(changes)
    if count:
        record_audit(
            workspace=workspace, actor=by, action="harvest.retried", target=f"{count} time logs", count=count
        )
    return count


def resolve_conflict(*, workspace: Workspace, by: User, change: OutboundChange, keep: str) -> OutboundChange:
    """Settle a conflict by one side's version, inside the scope. One that is settled already stays as it is.

    Raises NotConnected, PlanRequired, ServiceError.
    """
    _going_both_ways(workspace)
    rows = conflicts_of(workspace).filter(pk=change.pk)
    if OutboundChange.objects.filter(pk__in=rows.values("pk")).update(keep=keep):
        outgoing.retry(rows)
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.resolved",
            target=str(change.time_log_id),
            keep=keep,
        )
    return waiting_of(workspace).get(pk=change.pk)


def assign_in_harvest(*, workspace: Workspace, by: User, change_id: UUID) -> None:
    """Do in Harvest what a held change lacks there, outside any transaction, and try it again.

    Raises NotConnected, PlanRequired, ServiceError (nothing to assign, or one way), Forbidden where the token may not,
    UpstreamUnavailable.
    """
    with tenant_scope(workspace.id):
        connection = _going_both_ways(workspace)
        remedy = held_of(workspace).filter(pk=change_id).values_list("remedy", flat=True).first()
    if not remedy or remedy.get("kind") != "assign":
        raise ServiceError("Nothing is to be assigned for this change. Retry it.")
    try:
        with translated(), open_client(connection, patience=INTERACTIVE, interactive=True) as client:
            Places(client, connection).assign(remedy["project"], remedy["task"], remedy["user"])
    except HarvestRefused as refused:
        raise Forbidden(refused.detail) from refused
    except HarvestAuthError as error:
        with tenant_scope(workspace.id):
            mark_reconnect_needed(connection, error.message)
        raise UpstreamUnavailable(error.message) from error
    except HarvestAway as away:
        raise UpstreamUnavailable(f"Harvest could not be asked. {away.detail}") from away
    with tenant_scope(workspace.id):
        outgoing.retry(held_of(workspace).filter(remedy=remedy))
        record_audit(
            workspace=workspace, actor=by, action="harvest.assigned", target=str(change_id), **remedy
        )


def retry_mapped(connection: Connection) -> int:
    """Mappings were saved: try again what they may lift, inside the scope. Returns how many changes."""
    if connection.direction != Direction.TWO_WAY:
        return 0
    rows = OutboundChange.objects.filter(
        workspace_id=connection.workspace_id, connection=connection, state=ChangeState.HELD
    )
    return outgoing.retry(rows.exclude(reason__in=NOT_OF_MAPPINGS))


@receiver(time_released)
def reconsider_released(
    sender: type[Statement], workspace_id: UUID, time_log_ids: Sequence[UUID], **rest: Any
) -> None:
    """A statement was voided: what Harvest changed of its time is no adjustment any more, but a change to take over.

    Both ways, the queue does that at once; else the next sync, which asks for these entries by their ids
    (`sweep.linked_in`). So does it for those that are gone from Harvest: nothing else may delete.
    """
    of_logs = {"workspace_id": workspace_id, "time_log__id__anyof": list(time_log_ids)}
    waiting = Adjustment.objects.filter(**of_logs, status=AdjustmentStatus.PENDING)
    for log_id in waiting.order_by("time_log_id").values_list("time_log_id", flat=True):
        withdraw_difference(workspace_id=workspace_id, time_log_id=log_id)
    connection = (
        Connection.objects.filter(workspace_id=workspace_id, direction=Direction.TWO_WAY)
        .exclude(status=ConnectionStatus.NOT_CONNECTED)
        .first()
    )
    if connection is None:
        return
    differing = TimeLog.objects.filter(
        Q(sync_state=SyncState.DIFFERS) & ~Q(sync_detail=DELETED_SINCE)
        | Q(sync_state__in=(SyncState.HELD, SyncState.CONFLICT)),
        workspace_id=workspace_id,
        id__anyof=list(time_log_ids),
        sync_link__account_id=connection.account_id,
    )
    outgoing.enqueue(
        workspace_id=workspace_id,
        connection_id=connection.id,
        time_log_ids=list(differing.values_list("id", flat=True)),
    )


def _going_both_ways(workspace: Workspace) -> Connection:
    connection = usable_connection(workspace)
    if connection.direction != Direction.TWO_WAY:
        raise ServiceError("This connection only imports. Switch it to both ways first.")
    return connection
