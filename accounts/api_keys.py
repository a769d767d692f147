"""API keys: made, shown once, looked up, revoked.

A key reads `tb_PREFIX_SECRET`. The prefix (in clear) finds the row, the SHA-256 of the secret proves it: the secret has
256 random bits, so a slow hash would protect nothing more. Looking a key up is one of the named spans across
workspaces: it sees the one row with that prefix.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from accounts.audit import origin, record_audit
from accounts.functions import Parts, ask
from accounts.models import ApiKey, ApiKeyAccess, Membership, User, Workspace
from accounts.tenancy import tenant_scope

if TYPE_CHECKING:
    from accounts.middleware import Tenancy

LAST_USED_GRAIN = timedelta(minutes=1)
HOLDER: Parts = (("key", ApiKey), ("membership", Membership), ("workspace", Workspace), ("person", User))


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
    """Who a key speaks for, or None where it is unknown, revoked, expired, or its person is no longer a member.

    One question of the database, before each answer to a key: a function of its own (migration 0005) opens the spans,
    one after the other. It compares hashes, so how long it takes to find two unlike says nothing of any secret.
    """
    from accounts.middleware import Tenancy

    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if marker != "tb" or not prefix.isalnum() or not secret or not key.isascii():
        return None
    now = timezone.now()
    found = ask("accounts_api_key_holder", HOLDER, prefix, _hash(secret), now)
    if not found:
        return None
    row, membership, workspace, user = found[0]
    row.user = membership.user = user
    membership.workspace = workspace
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_GRAIN:
        with tenant_scope(row.workspace_id):
            ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)
    return Tenancy(
        user=user, workspace=workspace, membership=membership, memberships=(membership,), api_key=row
    )
