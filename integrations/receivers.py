"""What the floors below have to tell."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from inbound.models import TimeProposal
from inbound.signals import proposal_accepted
from integrations.models import SyncLink
from timelogs.models import TimeLog


@receiver(proposal_accepted)
def point_link_to_log(
    sender: type[TimeProposal], proposal: TimeProposal, time_log: TimeLog, **rest: Any
) -> None:
    """The entry that was a proposal is a time log from now on. The link keeps the proposal too, for the look-up."""
    SyncLink.objects.filter(workspace_id=proposal.workspace_id, proposal=proposal).update(time_log=time_log)
