"""What a role, a read-only key or a plan allows: one declaration on the view, read here.

A view declares `roles`: who may `read`, who may `write`, and, where one of its actions differs, that action by name
(`{"write": MANAGERS, "create": ADMINS}`). `needs_plan` likewise names what the pro plan is needed for, and `delicate`
what a session is asked for once more, as on the pages: to have shown of late who one is. A key is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.errors import Forbidden, PlanRequired
from accounts.middleware import Tenancy
from accounts.models import Plan, Role
from accounts.rest.problems import Problem
from accounts.sessions import confirmed_of_late

Roles = frozenset[str]
EVERYONE: Roles = frozenset(Role.values)
MANAGERS: Roles = frozenset({Role.ADMIN, Role.DESIGNER})
ADMINS: Roles = frozenset({Role.ADMIN})

DEFAULT_ROLES: Mapping[str, Roles] = {"read": EVERYONE, "write": MANAGERS}


class WorkspacePermission(BasePermission):
    """Signed in, in a workspace, by role, plan and the key's access. Rows need no check: they come from the scope."""

    def has_permission(self, request: Request, view: Any) -> bool:
        tenancy = request.auth
        if not isinstance(tenancy, Tenancy):
            return False  # REST framework answers 401
        if not hasattr(view, str(request.method).lower()):
            return True  # and then 405
        kind = "read" if request.method in SAFE_METHODS else "write"
        if kind == "write" and tenancy.read_only:
            raise Problem(403, "read-only-key", "This API key may only read.")
        action = getattr(view, "action", None) or str(request.method).lower()
        roles = {**DEFAULT_ROLES, **getattr(view, "roles", {})}
        if tenancy.membership.role not in roles.get(action, roles[kind]):
            raise Forbidden("Your role in this workspace does not allow this.")
        if {action, kind} & getattr(view, "needs_plan", frozenset()) and tenancy.workspace.plan != Plan.PRO:
            raise PlanRequired("Integrations need the pro plan.")
        asked = action in getattr(view, "delicate", frozenset()) and tenancy.api_key is None
        if asked and not confirmed_of_late(request._request):
            detail = "Confirm that it is you, at /accounts/reauthenticate/, then send this again."
            raise Problem(403, "confirmation-required", detail)
        return True
