"""API keys: made, shown once, looked up, revoked.

A key reads `tb_PREFIX_SECRET`. The prefix (in clear) finds the row, the SHA-256 of the secret proves it: the secret has
256 random bits, so a slow hash would protect nothing more. Looking a key up is one of the named spans across
workspaces: it sees the one row with that prefix.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from accounts.audit import origin, record_audit
from accounts.models import ApiKey, ApiKeyAccess, Membership, User, Workspace
from accounts.tenancy import SPAN_API_KEY, SPAN_USER, span, tenant_scope

if TYPE_CHECKING:
    from accounts.middleware import Tenancy

LAST_USED_GRAIN = timedelta(minutes=1)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def make_api_key(
    *,
    workspace: Workspace,
    user: User,
    name: str,
    access: str = ApiKeyAccess.WRITE,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for a person in a workspace (inside its scope). Returns the row and the key, which is not kept."""
    prefix = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        workspace=workspace,
        user=user,
        name=name,
        prefix=prefix,
        secret_hash=_hash(secret),
        access=access,
        expires_at=expires_at,
    )
    record_audit(
        workspace=workspace,
        actor=user,
        action="api_key.made",
        target=prefix,
        name=name,
        access=access,
        expires_at=expires_at,
    )
    return row, f"tb_{prefix}_{secret}"


def revoke_api_key(key: ApiKey) -> None:
    """End a key, at once and for good."""
    ended = ApiKey.objects.filter(pk=key.pk, workspace_id=key.workspace_id, revoked_at=None).update(
        revoked_at=timezone.now()
    )
    if ended:
        record_audit(
            workspace=key.workspace_id,
            actor=origin().actor,
            action="api_key.revoked",
            target=key.prefix,
            name=key.name,
        )


def tenancy_of(key: str) -> Tenancy | None:
    """Who a key speaks for, or None where it is unknown, revoked, expired, or its person is no longer a member."""
    from accounts.middleware import Tenancy

    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if marker != "tb" or not prefix.isalnum() or not secret or not key.isascii():
        return None
    now = timezone.now()
    with span(SPAN_API_KEY, prefix):
        row = ApiKey.objects.filter(prefix=prefix, revoked_at=None).select_related("user").first()
    if row is None or not hmac.compare_digest(row.secret_hash, _hash(secret)):
        return None
    if (row.expires_at and row.expires_at <= now) or not row.user.is_active:
        return None
    with span(SPAN_USER, str(row.user_id)):
        membership = (
            Membership.objects.filter(user_id=row.user_id, workspace_id=row.workspace_id)
            .select_related("workspace", "user")
            .first()
        )
    if membership is None:
        return None
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_GRAIN:
        with tenant_scope(row.workspace_id):
            ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)
    return Tenancy(
        user=membership.user,
        workspace=membership.workspace,
        membership=membership,
        memberships=(membership,),
        api_key=row,
    )
