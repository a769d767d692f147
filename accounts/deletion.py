"""Deleting a workspace whole, after a time of grace; and an account.

A workspace: an admin types its name, its members are told, and from then on its syncs pause while everything can still
be read and exported. For `GRACE` any admin may call it off. Then the sweep erases it: first what opens anything
(tokens, keys, memberships), then every tenant table, each before those it refers to, in transactions of `ROWS` rows,
and last the workspace itself. Whatever stops it half-way, the next sweep goes on: the workspace's own row is what says
that there is something left to do.

An account: its person leaves every workspace (their time stays), is made nameless, and can never sign in again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.audit import ERASING, record_audit
from accounts.errors import Forbidden, InUse, Invalid
from accounts.models import ApiKey, DataExportChunk, IdempotencyRecord, Membership, Role, User, Workspace
from accounts.notices import Remedy, tell
from accounts.registry import tenant_models
from accounts.selectors import members_of, memberships_of
from accounts.services import remove_member
from accounts.signals import workspace_ending
from accounts.tenancy import SPAN_SWEEP, TenantModel, _local_setting, span, tenant_scope

logger = logging.getLogger("accounts.deletion")

GRACE = timedelta(days=14)
ROWS = 5000  # erased in one transaction
NAMELESS = "Former member"


# --- Of a workspace: asking, calling off -----------------------------------------------------------------------------
def request_deletion(*, by: Membership, name: str) -> Workspace:
    """Have the workspace deleted once the grace is over, inside its scope. Raises Forbidden, Invalid (name), InUse."""
    workspace = _own(by)
    if name.strip() != workspace.name:
        raise Invalid({"name": [f"Type the workspace's name as it stands here: {workspace.name}"]})
    if workspace.deletes_at is not None:
        raise InUse("This workspace is to be deleted already.")
    workspace.deletes_at = timezone.now() + GRACE
    workspace.save(update_fields=["deletes_at"])
    record_audit(
        workspace=workspace,
        actor=by.user,
        action="workspace.deletion_requested",
        target=workspace.name,
        at=workspace.deletes_at,
    )
    day = f"{workspace.deletes_at.astimezone(workspace.zone):%Y-%m-%d}"
    tell(
        workspace=workspace,
        people=[one.user for one in members_of(workspace)],
        incident=f"deletion:{workspace.deletes_at.isoformat()}",
        title=f"{workspace} will be deleted on {day}",
        text=f"{by.user} asked for it. Until then everything can be read and exported, Harvest is not synced, and any"
        " admin can call it off. Afterwards nothing of it can be brought back.",
        remedy=Remedy("See what can be done", reverse("data")),
    )
    return workspace


def call_off(*, by: Membership) -> Workspace:
    """Keep the workspace. Raises Forbidden. Calling it off twice changes nothing."""
    workspace = _own(by)
    if workspace.deletes_at is None:
        return workspace
    if workspace.deletes_at <= timezone.now():
        raise InUse("The deletion has begun, and cannot be called off any more.")
    was, workspace.deletes_at = workspace.deletes_at, None
    workspace.save(update_fields=["deletes_at"])
    record_audit(
        workspace=workspace, actor=by.user, action="workspace.deletion_called_off", target=workspace.name
    )
    tell(
        workspace=workspace,
        people=[one.user for one in members_of(workspace)],
        incident=f"deletion-off:{was.isoformat()}",
        title=f"{workspace} will not be deleted",
        text=f"{by.user} called it off. Automated syncs go on as they were set.",
    )
    return workspace


def _own(by: Membership) -> Workspace:
    if not by.is_admin:
        raise Forbidden("Only admins may delete the workspace, or keep it from being deleted.")
    return Workspace.objects.select_for_update().get(pk=by.workspace_id)


# --- Of a workspace: erasing -----------------------------------------------------------------------------------------
def due_deletions(*, now: datetime | None = None) -> list[UUID]:
    """The workspaces whose grace is over."""
    with span(SPAN_SWEEP, "deletions"):
        due = Workspace.objects.filter(deletes_at__lte=now or timezone.now())
        return list(due.order_by("deletes_at").values_list("id", flat=True))


def erase(workspace_id: UUID, *, now: datetime | None = None) -> int:
    """Erase a workspace whose grace is over, or what is left of it. Returns how many rows that were."""
    with _part(workspace_id):
        row = Workspace.objects.select_for_update().filter(pk=workspace_id).first()
        if row is None or row.deletes_at is None or row.deletes_at > (now or timezone.now()):
            return 0
        workspace_ending.send(sender=Workspace, workspace_id=workspace_id)
        count = sum(
            model.objects.filter(workspace_id=workspace_id)._raw_delete("default")
            for model in (ApiKey, IdempotencyRecord, Membership)
        )
    models = tenant_models()
    for target in models:
        # What refers to it first, and again: a trigger may have written some meanwhile, as it does totals of time.
        for model in (*(one for one in models if _refers(one, target)), target):
            count += _erase_all(model, workspace_id)
    for model in models:
        count += _erase_all(model, workspace_id)
    with _part(workspace_id):
        count += Workspace.objects.filter(pk=workspace_id)._raw_delete("default")
    logger.info("workspace %s: erased, %d rows", workspace_id, count)
    return count


def _refers(model: type[TenantModel], target: type[TenantModel]) -> bool:
    return model is not target and any(field.related_model is target for field in model._meta.local_fields)


@contextmanager
def _part(workspace_id: UUID) -> Iterator[None]:
    """One transaction of the erasing, in which the trail lets go too."""
    with tenant_scope(workspace_id), _local_setting(ERASING, str(workspace_id)):
        yield


def _erase_all(model: type[TenantModel], workspace_id: UUID) -> int:
    count = 0
    while erased := _erase_some(model, workspace_id):
        count += erased
    return count


def _erase_some(model: type[TenantModel], workspace_id: UUID) -> int:
    """Erase some rows of a table, in one transaction: where rows refer to older ones of their own table, the newest."""
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    own = any(field.related_model is model for field in model._meta.local_fields)
    newest = "ORDER BY id DESC " if own else ""
    most = ROWS if model is not DataExportChunk else 50
    with _part(workspace_id), connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE workspace_id = %s AND id IN"  # noqa: S608  (a name from the registry)
            f" (SELECT id FROM {table} WHERE workspace_id = %s {newest}LIMIT %s)",
            [workspace_id, workspace_id, most],
        )
        return int(cursor.rowcount)


# --- Of an account ---------------------------------------------------------------------------------------------------
def delete_account(user: User) -> None:
    """Take a person out of every workspace and forget who they are. Their time stays, as that of a former member.

    Runs outside of any scope: it goes through the workspaces one by one, in one transaction. Raises InUse where they
    are the last admin of one.
    """
    memberships = memberships_of(user)
    with transaction.atomic():
        for one in memberships:
            with tenant_scope(one.workspace_id):
                try:
                    remove_member(membership=one, actor=user)
                except InUse as error:
                    raise InUse(
                        f"You are the only admin of {one.workspace}. Make somebody else one, or delete the workspace."
                    ) from error
        for relation in User._meta.related_objects:
            model = relation.related_model
            # What the whole installation keeps of them: addresses, second factors, sessions. A workspace's rows stay.
            if (
                not issubclass(model, TenantModel)
                and not model._meta.auto_created
                and relation.field.concrete
            ):
                model._base_manager.filter(**{relation.field.name: user}).delete()
        row = User.objects.select_for_update().get(pk=user.pk)
        row.name, row.email = NAMELESS, f"former-{row.pk}@removed.invalid"
        row.is_active = row.is_staff = row.is_superuser = False
        row.set_unusable_password()
        row.save()
        row.groups.clear()
        row.user_permissions.clear()


def is_last_admin_anywhere(user: User) -> list[Workspace]:
    """The workspaces that have no admin but this person."""
    found = []
    for one in memberships_of(user):
        if one.role == Role.ADMIN:
            with tenant_scope(one.workspace_id):
                admins = Membership.objects.filter(workspace_id=one.workspace_id, role=Role.ADMIN)
                if not admins.exclude(user=user).exists():
                    found.append(one.workspace)
    return found
