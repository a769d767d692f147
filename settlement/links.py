"""Client links: made, shown once, opened by anybody who has one, revoked.

A token reads `SECRET.SIGNATURE`, and stands behind the # of the link's address (accounts/fragments.py says why). The
signature, of the server's own key, is looked at first: what was never given out costs no query. Then the SHA-256 of the
whole finds the row, by one of the named spans across workspaces, which shows that one row and nothing else; all that
the page shows is read in the scope of the link's workspace.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record_audit
from accounts.errors import Forbidden, Invalid
from accounts.models import Membership
from accounts.tenancy import SPAN_CLIENT_LINK, span, tenant_scope
from clients.models import Client
from settlement.models import ClientLink

LIFETIME = timedelta(days=90)
LONGEST = timedelta(days=366)
LAST_USED_GRAIN = timedelta(minutes=1)
_signer = Signer(salt="settlement.client-link", sep=".")


def make_link(
    *, by: Membership, client: Client, expires_at: datetime | None = None, show_notes: bool = False
) -> tuple[ClientLink, str]:
    """Make a link for a client. Returns the row and the token, which is not kept.

    expires_at: 90 days from now unless given, at most a year. Raises Forbidden, Invalid.
    """
    _check_may_write(by)
    now = timezone.now()
    expires_at = expires_at or now + LIFETIME
    if not now < expires_at <= now + LONGEST:
        raise Invalid({"expires_at": ["Give a time in the future, at most a year from now."]})
    token = _signer.sign(secrets.token_urlsafe(32))
    row = ClientLink.objects.create(
        workspace_id=by.workspace_id,
        client=client,
        token_hash=_hash(token),
        show_notes=show_notes,
        expires_at=expires_at,
        created_by=by.user,
    )
    record_audit(
        workspace=by.workspace_id,
        actor=by.user,
        action="client_link.made",
        target=client.name,
        link=str(row.id),
        expires_at=expires_at.isoformat(timespec="seconds"),
        show_notes=show_notes,
    )
    return row, token


def path_of(token: str) -> str:
    """Where a link leads."""
    return f"{reverse('shared')}#{token}"


def revoke_link(*, link: ClientLink, by: Membership) -> None:
    """End a link, at once and for good. Raises Forbidden."""
    _check_may_write(by)
    changed = ClientLink.objects.filter(pk=link.pk, workspace_id=by.workspace_id, revoked_at=None).update(
        revoked_at=timezone.now()
    )
    if changed:
        record_audit(
            workspace=by.workspace_id,
            actor=by.user,
            action="client_link.revoked",
            target=link.client.name,
            link=str(link.id),
        )


def open_link(token: str, *, id: UUID | None = None) -> ClientLink | None:
    """The link that a token opens, outside any scope; None for an unknown, expired or revoked one.

    id: the one that it must be.
    """
    try:
        _signer.unsign(token)
    except BadSignature:
        return None
    token_hash, now = _hash(token), timezone.now()
    with span(SPAN_CLIENT_LINK, token_hash):
        row = ClientLink.objects.filter(token_hash=token_hash).first()
    if row is None or not row.good(now) or id not in (None, row.id):
        return None
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_GRAIN:
        with tenant_scope(row.workspace_id):
            ClientLink.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


def _check_may_write(by: Membership) -> None:
    if not by.can_manage:
        raise Forbidden("Admins and designers make and revoke links for clients.")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
