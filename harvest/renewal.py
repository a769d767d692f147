"""Tokens that stay fresh: renewed ahead of time by one worker at a time, or said to be dead.

One worker renews: it writes on the connection until when the others wait for it, asks Harvest ID outside any
transaction, and commits what came back before anybody uses it. The others read the row again until it shows a new
token. A refused refresh token means that only a person can help; anything else is tried again later, and not at once.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection as database
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from accounts.notices import Remedy, tell
from accounts.selectors import admins_of, member
from accounts.services import record_audit
from accounts.tenancy import SPAN_SWEEP, span, tenant_scope
from harvest import oauth
from harvest.errors import HarvestAuthError, HarvestError, HarvestUnavailable
from integrations.models import Connection, ConnectionStatus

logger = logging.getLogger("harvest.renewal")

LEASE = timedelta(seconds=45)  # longer than Harvest ID may take to answer
PAUSE = timedelta(minutes=1)  # after a failure that passes
LONG_PAUSE = timedelta(minutes=15)  # after one that somebody must put right
GLANCE = 0.2  # seconds between two looks while another worker renews
MOST_AT_ONCE = 500


@sensitive_variables()
def current_token(connection: Connection) -> str:
    """The token to use now, renewed first where that is due. Outside any transaction.

    Raises HarvestAuthError, HarvestUnavailable; while the old token is still good, only the former.
    """
    now = timezone.now()
    if connection.token_renew_at is None or now < connection.token_renew_at:
        return connection.access_token
    try:
        return renewed_token(connection, instead_of=connection.access_token)
    except HarvestAuthError:
        raise
    except HarvestError:
        if connection.token_expires_at is not None and now < connection.token_expires_at:
            return connection.access_token
        raise


@sensitive_variables()
def renewed_token(connection: Connection, *, instead_of: str) -> str:
    """A newer token than `instead_of`: the one that is there already, or one that is asked for.

    Outside any transaction. Raises HarvestAuthError (the connection is marked then, and its person told) or
    HarvestUnavailable.
    """
    patient_until = time.monotonic() + LEASE.total_seconds()
    while True:
        with tenant_scope(connection.workspace_id):
            row = Connection.objects.select_for_update().filter(pk=connection.pk).first()
            now = timezone.now()
            if row is None or not row.connected or row.connected_at != connection.connected_at:
                raise HarvestAuthError("Harvest was disconnected, or connected anew, meanwhile.")
            if row.access_token != instead_of:
                _take_over(connection, row)
                return row.access_token
            if not row.refresh_token:
                raise HarvestAuthError(
                    "Harvest says that this token is no longer valid: connect again to resume."
                )
            if row.renew_not_before is not None and now < row.renew_not_before:
                raise HarvestUnavailable(
                    "Harvest could not renew this connection's access just now: try again later.",
                    retry_after_seconds=(row.renew_not_before - now).total_seconds(),
                )
            mine = row.renewing_until is None or row.renewing_until <= now
            if mine:
                row.renewing_until = now + LEASE
                row.save(update_fields=["renewing_until"])
        if mine:
            return _renew(connection, row)
        if time.monotonic() > patient_until:
            raise HarvestUnavailable("Another worker is renewing this connection's access: try again later.")
        time.sleep(GLANCE)


@sensitive_variables()
def _renew(connection: Connection, row: Connection) -> str:
    """Spend the row's refresh token and keep what comes back. The caller has the lease that `row.renewing_until` is."""
    try:
        tokens = oauth.refresh(row.refresh_token)
    except HarvestAuthError as error:
        with tenant_scope(row.workspace_id):
            if _unchanged(row) is not None:
                mark_reconnect_needed(row, error.message)
        raise
    except HarvestError as error:
        broken = isinstance(error, oauth.OAuthMisconfigured)
        logger.log(
            logging.ERROR if broken else logging.WARNING,
            "connection %s: renewal failed: %s",
            row.pk,
            error.message,
        )
        with tenant_scope(row.workspace_id):
            if (held := _unchanged(row)) is not None:
                held.renewing_until = None
                held.renew_not_before = timezone.now() + (LONG_PAUSE if broken else PAUSE)
                held.save(update_fields=["renewing_until", "renew_not_before"])
        raise HarvestUnavailable(error.message, status=error.status) from None
    with tenant_scope(row.workspace_id):
        held = _unchanged(row)
        if held is None:
            raise HarvestAuthError("Harvest was disconnected, or connected anew, meanwhile.")
        keep_tokens(held, tokens)
        held.save(update_fields=TOKEN_FIELDS)
    # Committed: only now is it used.
    logger.info("connection %s: access renewed until %s", row.pk, tokens.expires_at)
    _take_over(connection, held)
    return tokens.access_token


@sensitive_variables()
def _unchanged(row: Connection) -> Connection | None:
    """The row, locked, while it is still the connection whose refresh token was spent. Inside the scope."""
    held = Connection.objects.select_for_update().filter(pk=row.pk, connected_at=row.connected_at).first()
    return held if held is not None and held.refresh_token == row.refresh_token else None


TOKEN_FIELDS = [
    "access_token",
    "refresh_token",
    "token_expires_at",
    "token_renew_at",
    "renewing_until",
    "renew_not_before",
]


def keep_tokens(connection: Connection, tokens: oauth.Tokens | None) -> None:
    """Put tokens on a connection (unsaved), and forget all that concerned those before."""
    connection.access_token = tokens.access_token if tokens else ""
    connection.refresh_token = tokens.refresh_token if tokens else ""
    connection.token_expires_at = tokens.expires_at if tokens else None
    connection.token_renew_at = tokens.renew_at if tokens else None
    connection.renewing_until = connection.renew_not_before = None


def _take_over(connection: Connection, row: Connection) -> None:
    for name in TOKEN_FIELDS:
        setattr(connection, name, getattr(row, name))


class Renewal:
    """What a client calls when Harvest refuses its token, from whatever thread it works in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._thread = threading.get_ident()

    def __call__(self) -> str:
        try:
            return renewed_token(self._connection, instead_of=self._connection.access_token)
        finally:
            if threading.get_ident() != self._thread:
                database.close()  # a reading thread has a database connection for this alone


# --- Dead credentials ------------------------------------------------------------------------------------------------
def mark_reconnect_needed(connection: Connection, detail: str) -> None:
    """Harvest refused the credentials: nothing asks it again until somebody reconnects. Later calls do nothing.

    Inside the scope. Who connected it is told once; the admins where that person is not here any more.
    """
    marked = Connection.objects.filter(
        pk=connection.pk, status=ConnectionStatus.CONNECTED, connected_at=connection.connected_at
    ).update(status=ConnectionStatus.RECONNECT_NEEDED, status_detail=detail, renewing_until=None)
    if not marked:
        return
    row = Connection.objects.select_related("workspace", "connected_by").get(pk=connection.pk)
    record_audit(
        workspace=row.workspace,
        actor=None,
        action="harvest.reconnect_needed",
        target=row.account_name,
        account_id=row.account_id,
    )
    tell(
        workspace=row.workspace,
        people=_who_connected(row),
        incident=death_of(row),
        title="Reconnect Harvest",
        text=f"Harvest no longer accepts the access that Timebridge has to {row.account_name or row.account_id}. "
        "Automated sync is paused and nothing comes in until somebody connects again. Mappings and history are kept.",
        remedy=Remedy("Connect again", reverse("harvest")),
    )


def death_of(connection: Connection) -> str:
    """The incident of these credentials having died, for notices: those of another connecting are another one's."""
    return f"harvest.reconnect:{connection.connected_at:%Y-%m-%dT%H:%M:%S.%f}"


def _who_connected(row: Connection) -> list[User]:
    person = row.connected_by
    if person is not None and person.is_active and member(row.workspace, person.pk) is not None:
        return [person]
    return admins_of(row.workspace)


# --- Ahead of time ---------------------------------------------------------------------------------------------------
def due_renewals() -> list[tuple[UUID, UUID]]:
    """(workspace id, connection id) of tokens to renew now, also of idle connections, the most urgent first."""
    now: datetime = timezone.now()
    with span(SPAN_SWEEP, "tokens"):
        return list(
            Connection.objects.filter(status=ConnectionStatus.CONNECTED, token_renew_at__lte=now)
            .exclude(renew_not_before__gt=now)
            .exclude(renewing_until__gt=now)
            .order_by("token_renew_at")
            .values_list("workspace_id", "id")[:MOST_AT_ONCE]
        )


@sensitive_variables()
def renew_ahead(*, workspace_id: UUID, connection_id: UUID) -> None:
    """Renew one connection's token where that is still due. What goes wrong is on the row, or passes."""
    with tenant_scope(workspace_id):
        row = Connection.objects.filter(pk=connection_id, status=ConnectionStatus.CONNECTED).first()
    if row is None or row.token_renew_at is None or row.token_renew_at > timezone.now():
        return
    try:
        renewed_token(row, instead_of=row.access_token)
    except HarvestError as error:
        logger.info("connection %s: not renewed: %s", connection_id, error.message)
