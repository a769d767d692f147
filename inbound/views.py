"""The Inbound page: time proposals that wait for somebody to say where they belong."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts import keyset
from accounts.errors import Invalid
from accounts.middleware import WorkspaceRequest
from accounts.pages import managers_only, notify, workspace_page
from accounts.templatetags.ui import duration_text
from clients.models import Client
from inbound import services
from inbound.models import ProposalStatus, TimeProposal
from inbound.selectors import proposals_of, suggestions_for
from timelogs.places import UnknownPlace, find, places_of
from timelogs.selectors import choosable_activity_types, work_items_of

PAGE = 50
SUGGESTED = 3
SHOWN = (ProposalStatus.PENDING, ProposalStatus.ACCEPTED, ProposalStatus.DISMISSED, ProposalStatus.WITHDRAWN)


@workspace_page
def inbound(request: WorkspaceRequest) -> HttpResponse:
    """Proposals of one `status`, newest first; those that wait with their best suggestions."""
    workspace = request.tenancy.workspace
    chosen = request.GET.get("status")
    status = next((one for one in SHOWN if one == chosen), ProposalStatus.PENDING)
    proposals = proposals_of(workspace).filter(status=status)
    page = keyset.page(
        proposals.select_related("owner", "client", "activity_type", "decided_by"),
        order=("-spent_date", "-id"),
        cursor=request.GET.get("cursor"),
        size=PAGE,
    )
    suggestions = suggestions_for(workspace, page.rows)
    context = {
        "page": page,
        "rows": [(one, suggestions.get(one.id, [])[:SUGGESTED]) for one in page.rows],
        "status": status,
        "shown": SHOWN,
        "types": choosable_activity_types(workspace),
    }
    return render(request, "inbound/inbound.html", context)


@require_POST
@managers_only
def accept(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Accept one proposal on the work item whose button was pressed."""
    proposal = _proposal(request, id)
    items = work_items_of(request.tenancy.workspace).filter(client_id=proposal.client_id)
    item = get_object_or_404(items, id=_uuid(request.POST.get("work_item")))
    services.accept_proposal(proposal=proposal, by=request.tenancy.membership, work_item=item)
    notify(request, f"{duration_text(proposal.seconds)} is on {item.key} now.")
    return redirect("inbound")


@require_POST
@managers_only
def dismiss(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    proposal = services.dismiss_proposal(proposal=_proposal(request, id), by=request.tenancy.membership)
    said = f"Dismissed {duration_text(proposal.seconds)} for {proposal.client}. It stays out for good."
    notify(request, said, action="Undo", url=reverse("inbound-restore", args=[id]))
    return redirect("inbound")


@require_POST
@managers_only
def restore(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    proposal = services.restore_proposal(proposal=_proposal(request, id), by=request.tenancy.membership)
    notify(request, f"{duration_text(proposal.seconds)} for {proposal.client} waits again.")
    return redirect("inbound")


@require_POST
@managers_only
def decide(request: WorkspaceRequest) -> HttpResponse:
    """Accept the chosen proposals on one work item or project, or dismiss them."""
    by = request.tenancy.membership
    ids = [id for text in request.POST.getlist("ids") if (id := _uuid(text))]
    if not ids:
        raise Invalid({"ids": ["Choose proposals first, by the boxes at their left."]})
    accepting = request.POST.get("action") == services.Decision.ACCEPT
    target = _target(request) if accepting else {}
    action = services.Decision.ACCEPT if accepting else services.Decision.DISMISS
    done, failed = services.decide_proposals(ids=ids, by=by, action=action, **target)
    if done:
        notify(request, f"{'Accepted' if accepting else 'Dismissed'} {done} of {len(set(ids))}.")
    for detail in dict.fromkeys(one.detail for one in failed):
        count = sum(one.detail == detail for one in failed)
        notify(request, f"Not decided ({count}): {detail}", "bad")
    return redirect("inbound")


def _target(request: WorkspaceRequest) -> dict[str, Any]:
    """What to accept on, as the fields of the bar name it. Raises Invalid."""
    workspace = request.tenancy.workspace
    try:
        place = find(places_of(workspace), request.POST.get("place", ""))
    except UnknownPlace as error:
        raise Invalid({"place": [str(error)]}) from error
    if isinstance(place.row, Client):
        raise Invalid({"place": ["Choose a work item or a project: the client is known already."]})
    types = choosable_activity_types(workspace)
    chosen = _uuid(request.POST.get("activity_type"))
    activity_type = types.filter(id=chosen).first() if chosen else None
    return {name: row for name, row in place.values().items() if row} | {"activity_type": activity_type}


def _proposal(request: WorkspaceRequest, id: UUID) -> TimeProposal:
    return get_object_or_404(proposals_of(request.tenancy.workspace).select_related("client"), id=id)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
