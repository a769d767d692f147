"""What waits for a person: changes that are held, and conflicts; how a click settles each."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, QuerySet

from accounts.errors import Forbidden, ServiceError, UpstreamUnavailable
from accounts.models import User, Workspace
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from harvest.credentials import INTERACTIVE, open_client, usable_connection
from harvest.errors import HarvestAuthError
from harvest.places import Places
from harvest.renewal import mark_reconnect_needed
from harvest.side import HarvestAway, HarvestRefused, translated
from integrations import outgoing
from integrations.models import OPEN_CHANGES, ChangeState, Connection, Direction, OutboundChange

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


def _going_both_ways(workspace: Workspace) -> Connection:
    connection = usable_connection(workspace)
    if connection.direction != Direction.TWO_WAY:
        raise ServiceError("This connection only imports. Switch it to both ways first.")
    return connection
