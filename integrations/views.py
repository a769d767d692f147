"""The Integrations page: the providers as cards, each leading to its settings page."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.middleware import WorkspaceRequest
from accounts.models import Plan
from accounts.pages import workspace_page
from integrations.catalogue import cards_of


@require_GET
@workspace_page
def integrations(request: WorkspaceRequest) -> HttpResponse:
    """Every provider; a provider's settings page has the URL name of its slug."""
    workspace = request.tenancy.workspace
    context = {"cards": cards_of(workspace), "pro": workspace.plan == Plan.PRO}
    return render(request, "integrations/integrations.html", context)
