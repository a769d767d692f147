"""What the floors below have to tell."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.dispatch import receiver

from accounts.errors import InUse
from accounts.models import User, Workspace
from accounts.notices import Remedy, tell
from accounts.selectors import admins_of
from accounts.signals import member_left, workspace_ending
from inbound.models import TimeProposal
from inbound.signals import proposal_accepted, proposal_reopening
from integrations.logs_side import values_of
from integrations.models import (
    ChangeState,
    Connection,
    ConnectionStatus,
    OutboundChange,
    SyncEvent,
    SyncLink,
)
from integrations.sync.types import Pair, dump_base, load_base
from timelogs.models import TimeLog


@receiver(workspace_ending)
def forget_tokens(sender: type[Workspace], workspace_id: UUID, **rest: Any) -> None:
    """A workspace is about to be erased: what opens another system goes first."""
    Connection.objects.filter(workspace_id=workspace_id).update(
        access_token="", refresh_token="", status=ConnectionStatus.NOT_CONNECTED, auto_sync=False
    )


@receiver(member_left)
def tell_of_missing_owner(sender: type[Any], workspace_id: UUID, user: User, **rest: Any) -> None:
    """Who connected Harvest has left: entries of people who are nobody's here have no owner to fall back to."""
    connection = (
        Connection.objects.filter(workspace_id=workspace_id, connected_by=user)
        .exclude(status=ConnectionStatus.NOT_CONNECTED)
        .select_related("workspace")
        .first()
    )
    if connection is None:
        return
    tell(
        workspace=connection.workspace,
        people=admins_of(connection.workspace),
        incident=f"fallback-owner:{connection.id}:{user.id}",
        title="Somebody else should connect Harvest again",
        text=f"{user}, who connected Harvest, is no longer a member. Until somebody else connects it again, entries of"
        " Harvest people who are mapped to nobody here are skipped: no fallback owner.",
        remedy=Remedy("Open the Harvest settings", "/integrations/harvest/"),
    )


@receiver(proposal_accepted)
def point_link_to_log(
    sender: type[TimeProposal], proposal: TimeProposal, time_log: TimeLog, **rest: Any
) -> None:
    """The entry that was a proposal is a time log from now on. The link keeps the proposal too, for the look-up.

    What Harvest holds and what the log was made of is what both agree on: accepting is no edit.
    """
    link = (
        SyncLink.objects.select_for_update()
        .filter(workspace_id=proposal.workspace_id, proposal=proposal)
        .first()
    )
    if link is None:
        return
    link.time_log = time_log
    if link.base is not None:
        ours, theirs = values_of(time_log), load_base(link.base)
        link.base = dump_base({name: Pair(ours[name], pair.remote) for name, pair in theirs.items()})
    link.save(update_fields=["time_log", "base"])


@receiver(proposal_reopening)
def let_go_of_log(sender: type[TimeProposal], proposal: TimeProposal, time_log: TimeLog, **rest: Any) -> None:
    """The entry is a proposal again, and its log was never there. Raises InUse where a sync has dealt with it since."""
    changes = OutboundChange.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    events = SyncEvent.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    if changes.filter(state=ChangeState.SENDING).exists() or events.exists():
        raise InUse("This time has been synced since it was accepted, so that cannot be undone.")
    changes.delete()
    links = SyncLink.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    for link in links.filter(proposal=proposal):
        link.time_log = None
        if link.base is not None:
            theirs = load_base(link.base)
            link.base = dump_base({name: Pair(None, pair.remote) for name, pair in theirs.items()})
        link.save(update_fields=["time_log", "base"])
