"""Reading workspaces and people."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.functions import Parts, ask
from accounts.models import ApiKey, AuditEvent, Membership, User, Workspace

PLACES: Parts = (("membership", Membership), ("workspace", Workspace))


def memberships_of(user: User) -> list[Membership]:
    """A person's memberships with their workspaces, by workspace name. Spans workspaces: it is how one signs in.

    None of somebody who is not active. One question, as it comes before each answer to a session: the span is opened,
    and closed, by a function of the database (migration 0006).
    """
    places: list[Membership] = []
    for membership, workspace in ask("accounts_places", PLACES, user.id) if user.is_active else ():
        membership.user, membership.workspace = user, workspace
        places.append(membership)
    return places


def members_of(workspace: Workspace) -> QuerySet[Membership]:
    """The people of a workspace."""
    return Membership.objects.filter(workspace=workspace).select_related("user")


def member(workspace: Workspace, user_id: UUID) -> Membership | None:
    """The membership of a user id in this workspace, if they are a member."""
    return members_of(workspace).filter(user_id=user_id).first()


def admins_of(workspace: Workspace) -> list[User]:
    """The workspace's admins, for what only they are told."""
    return [one.user for one in members_of(workspace).filter(role="admin").order_by("id")]


def api_keys_of(workspace: Workspace, *, viewer: Membership) -> QuerySet[ApiKey]:
    """API keys that are not revoked: an admin's view is of all, everybody else's of their own."""
    keys = ApiKey.objects.filter(workspace=workspace, revoked_at=None).select_related("user")
    return keys if viewer.is_admin else keys.filter(user_id=viewer.user_id)


def audit_of(workspace: Workspace, *, viewer: Membership) -> QuerySet[AuditEvent]:
    """The trail. Who is no admin sees of API keys their own alone, as in the list of keys."""
    events = AuditEvent.objects.filter(workspace=workspace).select_related("actor")
    if viewer.is_admin:
        return events
    return events.exclude(Q(action__startswith="api_key.") & ~Q(actor_id=viewer.user_id))
