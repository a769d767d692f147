"""Pages of one's data: exporting it, deleting the workspace, deleting one's account."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import logout
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts import deletion
from accounts.data_forms import NameForm
from accounts.errors import InUse
from accounts.export import exports_of, file_name, file_of, request_export
from accounts.middleware import WorkspaceRequest
from accounts.models import DataExport, ExportKind, ExportState, Workspace
from accounts.pages import UNPROCESSABLE, admins_only, form_page, form_status, notify, submit, workspace_page
from accounts.security_views import unconfirmed
from accounts.tenancy import tenant_scope

NEWEST = 20


@require_GET
@workspace_page
def data(request: WorkspaceRequest) -> HttpResponse:
    """What can be taken away, and what was; what can be deleted."""
    exports = exports_of(request.tenancy.membership).order_by("-created_at", "-id")[:NEWEST]
    return render(request, "accounts/data.html", {"exports": exports, "grace": deletion.GRACE.days})


# --- Exports ---------------------------------------------------------------------------------------------------------
@require_POST
@workspace_page
def export_own(request: WorkspaceRequest) -> HttpResponse:
    return _export(request, ExportKind.PERSON)


@require_POST
@admins_only
def export_workspace(request: WorkspaceRequest) -> HttpResponse:
    return _export(request, ExportKind.WORKSPACE)


def _export(request: WorkspaceRequest, kind: str) -> HttpResponse:
    if asked := unconfirmed(request, reverse("data")):
        return asked
    request_export(by=request.tenancy.membership, kind=kind)
    notify(request, "The export is being made. You are told here and by e-mail when it can be fetched.")
    return redirect("data")


@require_GET
@workspace_page
def export_file(request: WorkspaceRequest, id: UUID) -> HttpResponseBase:
    """The ZIP, given piece by piece."""
    rows = exports_of(request.tenancy.membership).filter(state=ExportState.READY)
    return as_download(get_object_or_404(rows, id=id), request.tenancy.workspace)


def as_download(export: DataExport, workspace: Workspace) -> StreamingHttpResponse:
    response = StreamingHttpResponse(file_of(export), content_type="application/zip")
    response["Content-Length"] = str(export.size)
    response["Content-Disposition"] = f'attachment; filename="{file_name(export, workspace)}"'
    return response


# --- The workspace ---------------------------------------------------------------------------------------------------
@admins_only
def delete_workspace(request: WorkspaceRequest) -> HttpResponse:
    """Asks for the workspace's name, and has it deleted once the grace is over."""
    if asked := unconfirmed(request, reverse("data")):
        return asked
    workspace = request.tenancy.workspace
    form = NameForm(request.POST if request.method == "POST" else None, label="The workspace's name")
    if form.is_bound and (done := submit(form, deletion.request_deletion, by=request.tenancy.membership)):
        notify(
            request, f"{done} will be deleted in {deletion.GRACE.days} days. Everybody here is told.", "warn"
        )
        return redirect("data")
    return form_page(
        request,
        form,
        heading=f"Delete {workspace}?",
        up=("Data", reverse("data")),
        about=f"In {deletion.GRACE.days} days everything in it is deleted for good: time, clients, statements, people's"
        " access. Its members are told now. Until then it can be read and exported, Harvest is not synced, and any"
        f" admin can call it off. To go on, type its name: {workspace.name}",
        button="Delete the workspace",
        tone="danger",
    )


@require_POST
@admins_only
def keep_workspace(request: WorkspaceRequest) -> HttpResponse:
    workspace = deletion.call_off(by=request.tenancy.membership)
    notify(request, f"{workspace} stays. Automated syncs go on as they were set.")
    return redirect("data")


# --- One's account ---------------------------------------------------------------------------------------------------
@workspace_page
def delete_account(request: WorkspaceRequest) -> HttpResponse:
    """Asks for one's e-mail address, and forgets who one is."""
    user, workspace = request.user, request.tenancy.workspace
    with tenant_scope(workspace.id):
        if asked := unconfirmed(request, reverse("data")):
            return asked
    form = NameForm(request.POST if request.method == "POST" else None, label="Your e-mail address")
    if form.is_bound and form.is_valid():
        if form.cleaned_data["name"].strip().lower() != user.email.lower():
            form.add_error("name", f"Type your address as it stands here: {user.email}")
        else:
            try:
                deletion.delete_account(user)
            except InUse as error:
                form.add_error(None, error.detail)
            else:
                logout(request)
                return render(request, "accounts/account_deleted.html")
    # Outside of any scope (it goes through all one's workspaces): the page's frame wants one again.
    with tenant_scope(workspace.id):
        response = form_page(
            request,
            form,
            heading="Delete your account?",
            up=("Data", reverse("data")),
            about="You leave every workspace at once, your API keys end, and your name and address are forgotten. The"
            " time you logged stays with the workspaces, as that of a former member. To go on, type your address:"
            f" {user.email}",
            button="Delete my account",
            tone="danger",
        )
    response.status_code = UNPROCESSABLE if form.errors else form_status(form)
    return response


delete_account.unscoped = True  # type: ignore[attr-defined]
