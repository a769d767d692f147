"""Who asks: the middleware has resolved it (`request.tenancy`); these classes say so in REST framework's words.

`request.user` is the person and `request.auth` the `Tenancy`. Wrong credentials are a 401, a workspace that one is not
in is a 404, a session without any workspace a 403.
"""

from __future__ import annotations

from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.middleware import Tenancy
from accounts.models import User
from accounts.rest.problems import Problem


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer KEY`. Any Authorization header must be good: it never falls back to the cookie."""

    def authenticate(self, request: Request) -> tuple[User, Tenancy] | None:
        if not request.headers.get("Authorization"):
            return None
        tenancy: Tenancy | None = request._request.tenancy  # type: ignore[attr-defined]
        if tenancy is None:
            raise AuthenticationFailed("This API key is not valid: unknown, revoked or expired.")
        refuse_other_workspace(request, tenancy)
        return tenancy.user, tenancy

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Timebridge"'


class WorkspaceSessionAuthentication(authentication.SessionAuthentication):
    """The session cookie of a person who signed in, with CSRF; `X-Workspace` chooses among several workspaces."""

    def authenticate(self, request: Request) -> tuple[User, Tenancy] | None:
        person = request._request.user
        if not person.is_authenticated:
            return None
        self.enforce_csrf(request)
        tenancy: Tenancy | None = request._request.tenancy  # type: ignore[attr-defined]
        if tenancy is None:
            refuse_other_workspace(request, None)
            raise Problem(403, "no-workspace", "You are in no workspace. Ask an admin to add you to theirs.")
        return tenancy.user, tenancy


def refuse_other_workspace(request: Request, tenancy: Tenancy | None) -> None:
    """404 where `X-Workspace` names a workspace that these credentials do not open."""
    slug = request.headers.get("X-Workspace")
    if slug and (tenancy is None or tenancy.workspace.slug != slug):
        raise Problem(404, "workspace-not-found", "You are in no workspace with this name (X-Workspace).")
