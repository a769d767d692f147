"""Reading the proposals and adjustments of one workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from accounts.models import Workspace
from inbound.models import Adjustment, AdjustmentStatus, ProposalStatus, TimeProposal
from inbound.suggestions import LONGEST_LINE, Candidate, Candidates, Earlier, Suggestion
from timelogs.models import WorkItem, WorkItemStatus
from timelogs.selectors import with_words

MOST_EARLIER = 50  # of a person's accepted proposals for a client, the latest are compared


def proposals_of(workspace: Workspace) -> QuerySet[TimeProposal]:
    """Every proposal, decided ones too, with its owner."""
    return TimeProposal.objects.filter(workspace=workspace).select_related("owner")


def waiting(workspace: Workspace) -> QuerySet[TimeProposal]:
    """Those that wait for a decision."""
    return proposals_of(workspace).filter(status=ProposalStatus.PENDING)


def adjustments_of(workspace: Workspace) -> QuerySet[Adjustment]:
    """Every adjustment, decided ones too."""
    return Adjustment.objects.filter(workspace=workspace)


def adjustments_waiting(workspace: Workspace) -> QuerySet[Adjustment]:
    """Those that wait for a decision."""
    return adjustments_of(workspace).filter(status=AdjustmentStatus.PENDING)


def narrowed_proposals(rows: QuerySet[TimeProposal], conditions: Mapping[str, Any]) -> QuerySet[TimeProposal]:
    """Proposals that meet every condition given, by the names of the wire: `client`, `owner`, `from`, `to`, `q`."""
    return _narrowed(rows, conditions, owner="owner_id", notes="notes")


def narrowed_adjustments(rows: QuerySet[Adjustment], conditions: Mapping[str, Any]) -> QuerySet[Adjustment]:
    """Adjustments that meet every condition given; whose it is and what its notes are is the settled log's."""
    return _narrowed(rows, conditions, owner="time_log__owner_id", notes="time_log__notes")


def _narrowed(rows: QuerySet[Any], conditions: Mapping[str, Any], *, owner: str, notes: str) -> QuerySet[Any]:
    lookups = {
        "client": "client_id",
        "owner": owner,
        "from": "spent_date__gte",
        "to": "spent_date__lte",
    }
    rows = rows.filter(**{lookups[name]: value for name, value in conditions.items() if name in lookups})
    return with_words(rows, conditions["q"], field=notes) if conditions.get("q") else rows


def suggestions_for(workspace: Workspace, proposals: Iterable[TimeProposal]) -> dict[UUID, list[Suggestion]]:
    """Proposal id -> suggested work items, best first, for those that wait. Two queries, however many there are."""
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
    pairs = sorted({(one.client_id, one.owner_id) for one in pending})
    earlier = _earlier(workspace, pairs)
    return {
        one.id: candidates[one.client_id].suggest(one.notes, earlier[one.client_id, one.owner_id])
        for one in pending
    }


def _earlier(
    workspace: Workspace, pairs: Sequence[tuple[UUID, UUID]]
) -> dict[tuple[UUID, UUID], list[Earlier]]:
    """(client, owner) -> what that person's latest accepted proposals for that client were put on, and are still."""
    found: dict[tuple[UUID, UUID], list[Earlier]] = defaultdict(list)
    # One probe of an index a pair: a window over all that was ever accepted would read all of it.
    query = """
        SELECT pair.client_id, pair.owner_id, past.work_item_id, past.notes
        FROM unnest(%s::uuid[], %s::uuid[]) AS pair (client_id, owner_id)
        CROSS JOIN LATERAL (
            SELECT log.work_item_id, left(proposal.notes, %s) AS notes
            FROM inbound_timeproposal proposal
            JOIN timelogs_timelog log
                ON log.workspace_id = proposal.workspace_id AND log.id = proposal.time_log_id
            WHERE proposal.workspace_id = %s AND proposal.status = 'accepted'
                AND proposal.client_id = pair.client_id AND proposal.owner_id = pair.owner_id
                AND log.work_item_id IS NOT NULL AND log.deleted_at IS NULL
            ORDER BY proposal.decided_at DESC
            LIMIT %s
        ) past
    """
    clients, owners = [client for client, _ in pairs], [owner for _, owner in pairs]
    with connection.cursor() as cursor:
        cursor.execute(query, [clients, owners, 4 * LONGEST_LINE, workspace.id, MOST_EARLIER])
        for client_id, owner_id, work_item_id, notes in cursor.fetchall():
            found[client_id, owner_id].append(Earlier(work_item_id, notes))
    return found
