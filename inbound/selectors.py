"""Reading the proposals of one workspace."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import Workspace
from inbound.models import ProposalStatus, TimeProposal
from inbound.suggestions import Candidate, Candidates, Suggestion
from timelogs.models import WorkItem, WorkItemStatus


def proposals_of(workspace: Workspace) -> QuerySet[TimeProposal]:
    """Every proposal, decided ones too, with its owner."""
    return TimeProposal.objects.filter(workspace=workspace).select_related("owner")


def waiting(workspace: Workspace) -> QuerySet[TimeProposal]:
    """Those that wait for a decision."""
    return proposals_of(workspace).filter(status=ProposalStatus.PENDING)


def suggestions_for(workspace: Workspace, proposals: Iterable[TimeProposal]) -> dict[UUID, list[Suggestion]]:
    """Proposal id -> suggested work items, best first, for those that wait. One query, however many there are."""
    pending = [one for one in proposals if one.status == ProposalStatus.PENDING]
    if not pending:
        return {}
    items: dict[UUID, list[Candidate]] = {one.client_id: [] for one in pending}
    rows = (
        WorkItem.objects.filter(workspace=workspace, client_id__in=items.keys())
        .order_by("id")
        .values_list("client_id", "id", "key", "title", "status")
    )
    for client_id, item_id, key, title, status in rows:
        items[client_id].append(Candidate(item_id, key, title, done=status == WorkItemStatus.DONE))
    candidates = {client_id: Candidates(found) for client_id, found in items.items()}
    return {one.id: candidates[one.client_id].suggest(one.notes) for one in pending}
