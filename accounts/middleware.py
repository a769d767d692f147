"""Which workspace a request speaks for, and its scope around the view.

It finds the person (session or API key), the workspace and the role, then runs the view inside
that workspace's scope, which is one transaction. An answer of 400 or more rolls it back: bad input changes nothing.
A view that calls another server sets `unscoped = True` (on the function or its class) and opens short scopes itself;
allauth's views, which are about a person and no workspace, run outside of any.

Where the workspace requires a second factor and none was used in the session, nothing of the workspace opens: only
allauth's views, and those that say `unlocked = True` because they show nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from accounts import api_keys
from accounts.audit import acting, origin_of
from accounts.models import ApiKey, Membership, User, Workspace
from accounts.second_factor import used_second_factor
from accounts.security_log import REFUSALS, note_refusal
from accounts.signed_in import places_of
from accounts.tenancy import tenant_scope

SESSION_WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Who asks, for which workspace, in which role.

    memberships: all of a signed-in person's, for the switcher. locked: the workspace requires a second factor, and the
    session has none.
    """

    user: User
    workspace: Workspace
    membership: Membership
    memberships: tuple[Membership, ...] = ()
    api_key: ApiKey | None = None
    locked: bool = False

    @property
    def read_only(self) -> bool:
        return self.api_key is not None and self.api_key.access == "read"


class WorkspaceRequest(HttpRequest):
    """What views get: a request of somebody, in a workspace (for types only)."""

    tenancy: Tenancy
    user: User
    htmx: Any


class WorkspaceMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.tenancy = tenancy = resolve(request)  # type: ignore[attr-defined]
        with acting(origin_of(request, tenancy)):
            response = self.get_response(request)
        if response.status_code in REFUSALS:
            note_refusal(request, tenancy, response.status_code)
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        tenancy: Tenancy | None = request.tenancy  # type: ignore[attr-defined]
        holder = getattr(view, "cls", None) or getattr(view, "view_class", None) or view
        theirs = str(holder.__module__).startswith("allauth.")
        if tenancy is not None and tenancy.locked and not theirs and not getattr(holder, "unlocked", False):
            return locked_out(request)
        if tenancy is None or theirs or getattr(holder, "unscoped", False):
            return None
        try:
            with tenant_scope(tenancy.workspace.id):
                response = view(request, *args, **kwargs)
                # Templates are lazy: they are rendered here, where their queries still see the workspace's rows.
                if hasattr(response, "render") and callable(response.render):
                    response = response.render()
                if response.status_code >= 400:
                    transaction.set_rollback(True)
                return response
        except IntegrityError as error:
            # Two requests crossed: one of them deleted or took what the other was about to use. Nothing was written.
            return crossed(request, error)


def locked_out(request: HttpRequest) -> HttpResponse:
    """The answer to a session without the second factor that the workspace requires."""
    if request.path.startswith("/api/"):
        from accounts.rest.problems import problem_response

        detail = (
            "This workspace requires a second factor. Set one up, or sign in with it, on the page Security."
        )
        return problem_response(403, "second-factor-required", detail)
    place = reverse("second-factor")
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(place)
    if request.method == "GET":
        place += "?" + urlencode({"next": asked_for(request)})
    return redirect(place)


def asked_for(request: HttpRequest) -> str:
    """The address of a request, to come back to. A view whose query is for it alone says so: `secret_query = True`."""
    asked = request.resolver_match
    secret = asked is not None and getattr(asked.func, "secret_query", False)
    return request.path if secret else request.get_full_path()


def crossed(request: HttpRequest, error: IntegrityError) -> HttpResponse:
    """The answer when the database's constraints refuse a write that looked good when it was checked."""
    detail = "Somebody changed this at the same moment. Nothing was saved: load it again and repeat."
    if request.path.startswith("/api/"):
        from accounts.rest.problems import problem_response

        return problem_response(409, "conflict", detail)
    from accounts.pages import toast

    if request.htmx:  # type: ignore[attr-defined]
        return toast(HttpResponse(status=409), detail, "bad")
    return render(request, "409.html", {"detail": detail}, status=409)


def resolve(request: HttpRequest) -> Tenancy | None:
    """Find the person and the workspace of a request, or None where it has none (or asks for one it may not see)."""
    authorization = request.headers.get("Authorization", "")
    if authorization:
        scheme, _, key = authorization.partition(" ")
        return api_keys.tenancy_of(key.strip()) if scheme.lower() == "bearer" else None
    if not request.user.is_authenticated:
        return None
    user: User = request.user
    memberships = places_of(request, user)
    chosen = _choose(request, memberships)
    if chosen is None:
        return None
    return Tenancy(
        user=user,
        workspace=chosen.workspace,
        membership=chosen,
        memberships=tuple(memberships),
        locked=(settings.REQUIRE_SECOND_FACTOR or chosen.workspace.require_second_factor)
        and not used_second_factor(request),
    )


def _choose(request: HttpRequest, memberships: list[Membership]) -> Membership | None:
    slug = request.headers.get("X-Workspace")
    if slug:
        return next((one for one in memberships if one.workspace.slug == slug), None)
    wanted = request.session.get(SESSION_WORKSPACE)
    for one in memberships:
        if wanted and one.workspace_id == UUID(wanted):
            return one
    # The first one they joined, until they choose.
    return min(memberships, key=lambda one: one.id, default=None)
