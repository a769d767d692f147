"""Pages of people, API keys and the workspace; switching workspace and theme."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts import services
from accounts.api_keys import make_api_key, revoke_api_key
from accounts.forms import ROLES, ApiKeyForm, PersonForm, WorkspaceForm
from accounts.middleware import SESSION_WORKSPACE, WorkspaceRequest
from accounts.models import Role
from accounts.pages import (
    admins_only,
    back,
    confirm_page,
    form_status,
    notify,
    safe_path,
    submit,
    unlocked,
    workspace_page,
)
from accounts.security_views import unconfirmed
from accounts.selectors import api_keys_of, members_of, memberships_of

THEME_DAYS = 365


@unlocked
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie. (With JavaScript the page does this by itself.)"""
    chosen = request.POST.get("theme", "system")
    response = redirect(back(request))
    if chosen in ("light", "dark"):
        response.set_cookie(
            settings.THEME_COOKIE_NAME,
            chosen,
            max_age=THEME_DAYS * 86_400,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
        )
    else:
        response.delete_cookie(settings.THEME_COOKIE_NAME, samesite="Lax")
    return response


@unlocked
@require_POST
@workspace_page
def switch_workspace(request: WorkspaceRequest) -> HttpResponse:
    """Go to another workspace of one's own; to the same list there, but not to a row, which it does not have."""
    chosen = request.POST.get("workspace")
    membership = next((one for one in memberships_of(request.user) if str(one.workspace_id) == chosen), None)
    if membership is None:
        notify(request, "You are not a member of that workspace any more.", "warn")
        return redirect("home")
    request.session[SESSION_WORKSPACE] = str(membership.workspace_id)
    return redirect(list_of(safe_path(request, request.POST.get("next")) or "/"))


def list_of(path: str) -> str:
    """The list that a page belongs to, without what names rows of one workspace: /clients/123/ -> /clients/."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    kept = parts[: 2 if parts[:1] in (["settings"], ["integrations"]) else 1]
    return "/" + "".join(f"{part}/" for part in kept)


# --- People ----------------------------------------------------------------------------------------------------------
@workspace_page
def people(request: WorkspaceRequest) -> HttpResponse:
    return render(request, "accounts/people.html", _people(request, PersonForm()))


@require_POST
@admins_only
def add_person(request: WorkspaceRequest) -> HttpResponse:
    form = PersonForm(request.POST)
    workspace, actor = request.tenancy.workspace, request.user
    membership = submit(form, services.add_member, workspace=workspace, actor=actor)
    if membership is None:
        return render(request, "accounts/people.html", _people(request, form), status=form_status(form))
    notify(request, f"{membership.user} is a member now, and can sign in as {membership.user.email}.")
    return redirect("people")


def _people(request: WorkspaceRequest, form: PersonForm) -> dict[str, object]:
    members = members_of(request.tenancy.workspace).order_by("user__name", "user__email")
    return {"members": members, "form": form, "roles": ROLES, "role_choices": Role.choices}


@require_POST
@admins_only
def change_role(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    membership = get_object_or_404(members_of(request.tenancy.workspace), id=id)
    services.change_role(membership=membership, role=request.POST.get("role", ""), actor=request.user)
    notify(request, f"{membership.user} is now: {membership.get_role_display()}.")
    return redirect("people")


@admins_only
def remove_person(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    membership = get_object_or_404(members_of(request.tenancy.workspace), id=id)
    if request.method != "POST":
        return confirm_page(
            request,
            heading=f"Remove {membership.user}?",
            text=f"They lose access to {request.tenancy.workspace} at once, and their API keys here end."
            " The time they logged stays.",
            button=f"Remove {membership.user}",
            up=("People", reverse("people")),
        )
    services.remove_member(membership=membership, actor=request.user)
    notify(request, f"{membership.user} is no longer a member. Their time stays.")
    return redirect("people" if membership.user_id != request.user.id else "home")


# --- API keys --------------------------------------------------------------------------------------------------------
@workspace_page
def api_keys(request: WorkspaceRequest) -> HttpResponse:
    """List keys; make one, whose secret is in this answer only."""
    tenancy = request.tenancy
    form = ApiKeyForm(request.POST if request.method == "POST" else None)
    made = key = None
    if form.is_bound and form.is_valid():
        if asked := unconfirmed(request, reverse("api-keys")):
            return asked
        made, key = make_api_key(
            workspace=tenancy.workspace,
            user=tenancy.user,
            name=form.cleaned_data["name"],
            access=form.cleaned_data["access"],
            expires_at=form.expires_at(),
        )
        form = ApiKeyForm()
    keys = api_keys_of(tenancy.workspace, viewer=tenancy.membership).order_by("-id")
    context = {"keys": keys, "form": form, "made": made, "key": key}
    return render(request, "accounts/api_keys.html", context, status=form_status(form))


@require_POST
@workspace_page
def revoke_key(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    tenancy = request.tenancy
    key = get_object_or_404(api_keys_of(tenancy.workspace, viewer=tenancy.membership), id=id)
    revoke_api_key(key)
    notify(request, f"The key “{key.name}” is revoked. Whatever used it gets 401 from now on.")
    return redirect("api-keys")


# --- Workspace -------------------------------------------------------------------------------------------------------
@workspace_page
def workspace_settings(request: WorkspaceRequest) -> HttpResponse:
    """What everybody may see, and admins change."""
    workspace = request.tenancy.workspace
    if request.method == "POST":
        return save_workspace(request)  # type: ignore[return-value]  # a wrapped view answers as it does
    values = {field: getattr(workspace, field) for field in WorkspaceForm.base_fields}
    context = {"form": WorkspaceForm(initial=values), "zones": WorkspaceForm.zones()}
    return render(request, "accounts/workspace.html", context)


@admins_only
def save_workspace(request: WorkspaceRequest) -> HttpResponse:
    form = WorkspaceForm(request.POST)
    workspace = request.tenancy.workspace
    if submit(form, services.save_workspace, workspace=workspace, actor=request.user) is None:
        context = {"form": form, "zones": WorkspaceForm.zones()}
        return render(request, "accounts/workspace.html", context, status=form_status(form))
    notify(request, "Saved.")
    return redirect("workspace-settings")
