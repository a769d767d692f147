"""The Inbound page: time proposals that wait for somebody to say where they belong."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import workspace_page
from inbound.models import ProposalStatus, TimeProposal

PAGE = 50
SHOWN = (ProposalStatus.PENDING, ProposalStatus.ACCEPTED, ProposalStatus.DISMISSED)


@workspace_page
def inbound(request: WorkspaceRequest) -> HttpResponse:
    """Proposals of one status, newest first."""
    chosen = request.GET.get("status")
    status = next((one for one in SHOWN if one == chosen), ProposalStatus.PENDING)
    proposals = TimeProposal.objects.filter(
        workspace=request.tenancy.workspace, status=status
    ).select_related("client", "owner", "activity_type")
    page = keyset.page(proposals, order=("-spent_date", "-id"), cursor=request.GET.get("cursor"), size=PAGE)
    return render(request, "inbound/inbound.html", {"page": page, "status": status, "shown": SHOWN})
