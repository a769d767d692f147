"""The server's log of signing in and of what was refused: an event a line, without passwords, codes, keys or addresses
of e-mail.

    2026-06-01T09:00:00.120Z INFO timebridge.security signed-in account=3f1c… user=01a1… by=password,totp address=…
    2026-06-01T09:00:09.400Z WARNING timebridge.security refused status=403 method=POST path=/api/v1/clients/ user=…

`account` stands for an e-mail address that was typed: the same for the same address, and nothing to read it from, as
people now and then type a password there. What a workspace's people do in it is in its audit trail (accounts/audit.py).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from allauth.account import signals as account_signals
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa import signals as factor_signals
from allauth.mfa.models import Authenticator
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from accounts.audit import address_of
from accounts.models import User

if TYPE_CHECKING:
    from accounts.middleware import Tenancy

logger = logging.getLogger("timebridge.security")

REFUSALS = frozenset({401, 403, 429})


def note(event: str, request: HttpRequest | None, *, bad: bool = False, **values: object) -> None:
    """Write a line. values: whatever tells of it, and is no secret; what is empty is left out."""
    values["address"] = address_of(request) if request is not None else None
    words = " ".join(f"{name}={value}" for name, value in values.items() if value)
    logger.log(logging.WARNING if bad else logging.INFO, "%s %s", event, words)


def note_refusal(request: HttpRequest, tenancy: Tenancy | None, status: int) -> None:
    """Write down that something was refused: to whom, and what they asked for.

    Without its query, which holds what people search for; a path has no secret (tests/security/test_addresses.py).
    """
    values: dict[str, object] = {"status": status, "method": request.method, "path": request.path}
    if tenancy is not None:
        values |= {"user": tenancy.user.pk, "workspace": tenancy.workspace.pk}
        values |= {"key": tenancy.api_key.prefix} if tenancy.api_key else {}
    note("refused", request, bad=True, **values)


def account_of(email: str) -> str:
    """What stands for an e-mail address in the log."""
    return salted_hmac(__name__, email.strip().lower(), algorithm="sha256").hexdigest()[:16]


# --- Receivers -------------------------------------------------------------------------------------------------------
def connect() -> None:
    """Have what Django and allauth tell written down."""
    user_logged_in.connect(_signed_in)
    user_logged_out.connect(_signed_out)
    user_login_failed.connect(_failed)
    factor_signals.authentication_failed.connect(_factor_failed)
    for signal, event in (
        (account_signals.password_changed, "password-changed"),
        (account_signals.password_reset, "password-reset"),
        (account_signals.email_changed, "email-changed"),
        (factor_signals.authenticator_added, "factor-added"),
        (factor_signals.authenticator_removed, "factor-removed"),
        (factor_signals.authenticator_reset, "factor-reset"),
        (factor_signals.authenticator_used, "factor-used"),
    ):
        signal.connect(_teller(event), weak=False)


def _signed_in(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    records = get_authentication_records(request, user) if request is not None else []
    by = ",".join(str(one.get("type") or one.get("method")) for one in records)
    note("signed-in", request, account=account_of(user.email), user=user.pk, by=by)


def _signed_out(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        note("signed-out", request, user=user.pk)


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    email = str(credentials.get("email") or credentials.get("username") or "")
    note("sign-in-failed", request, bad=True, account=account_of(email), by="password")


def _factor_failed(
    request: HttpRequest, user: User, authenticator: Authenticator | None = None, **kwargs: Any
) -> None:
    kind = authenticator.type if authenticator else None
    note("sign-in-failed", request, bad=True, account=account_of(user.email), user=user.pk, by=kind)


def _teller(event: str) -> Any:
    def tell(
        request: HttpRequest, user: User, authenticator: Authenticator | None = None, **kwargs: Any
    ) -> None:
        note(event, request, user=user.pk, by=authenticator.type if authenticator else None)

    return tell
