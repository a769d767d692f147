"""What the floors below have to tell."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from accounts.errors import InUse
from inbound.models import TimeProposal
from inbound.signals import proposal_accepted, proposal_reopening
from integrations.models import ChangeState, OutboundChange, SyncEvent, SyncLink
from timelogs.models import TimeLog


@receiver(proposal_accepted)
def point_link_to_log(
    sender: type[TimeProposal], proposal: TimeProposal, time_log: TimeLog, **rest: Any
) -> None:
    """The entry that was a proposal is a time log from now on. The link keeps the proposal too, for the look-up."""
    SyncLink.objects.filter(workspace_id=proposal.workspace_id, proposal=proposal).update(time_log=time_log)


@receiver(proposal_reopening)
def let_go_of_log(sender: type[TimeProposal], proposal: TimeProposal, time_log: TimeLog, **rest: Any) -> None:
    """The entry is a proposal again, and its log was never there. Raises InUse where a sync has dealt with it since."""
    changes = OutboundChange.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    events = SyncEvent.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    if changes.filter(state=ChangeState.SENDING).exists() or events.exists():
        raise InUse("This time has been synced since it was accepted, so that cannot be undone.")
    changes.delete()
    links = SyncLink.objects.filter(workspace_id=proposal.workspace_id, time_log=time_log)
    links.filter(proposal=proposal).update(time_log=None)
