"""Pages of what one was told."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.notices import mark_read, notices_of, unread_of
from accounts.pages import workspace_page

NOTICES = 30


@require_GET
@workspace_page
def notices(request: WorkspaceRequest) -> HttpResponse:
    """Everything that one was told, newest first."""
    mine = notices_of(request.tenancy.workspace, request.user)
    page = keyset.page(mine, order=("-created_at", "-id"), cursor=request.GET.get("cursor"), size=NOTICES)
    return render(request, "accounts/notices.html", {"page": page})


@require_POST
@workspace_page
def read_notice(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Mark one as read, and go where it can be put right (`follow`), or back to the list."""
    notice = get_object_or_404(notices_of(request.tenancy.workspace, request.user), id=id)
    mark_read(notice)
    if "follow" in request.POST and notice.remedy_path:
        return redirect(notice.remedy_path)
    return redirect("notices")


@require_POST
@workspace_page
def read_all(request: WorkspaceRequest) -> HttpResponse:
    for notice in unread_of(request.tenancy.workspace, request.user).select_for_update():
        mark_read(notice)
    return redirect("notices")
