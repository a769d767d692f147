"""Harvest ID's OAuth 2, by Authlib: the consent page's address, a code for tokens, a refresh token for new ones.

The session that Authlib's Django client drives, with state kept by `harvest/consents.py` instead of in the browser's
session alone: it is bound to a workspace too, and good once, whatever number of requests return at the same time.

Source: Harvest API v2, "Authentication". Whether a refresh ends the old refresh token is not documented, so whatever
comes back is kept before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from harvest.errors import (
    HarvestAuthError,
    HarvestContractError,
    HarvestError,
    HarvestUnavailable,
    plain_text,
)

TIMEOUT = (5, 15)  # seconds to connect, and between two pieces of an answer
LONGEST_LIFE = timedelta(days=3650)


class OAuthMisconfigured(HarvestError):
    """Harvest ID does not accept this installation's own client id and secret: for whoever runs it to put right."""


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """What Harvest ID gave. lifetime: of the access token, None where it does not say."""

    access_token: str
    refresh_token: str
    received_at: datetime
    lifetime: timedelta | None

    def __repr__(self) -> str:
        return f"Tokens(received_at={self.received_at!r}, lifetime={self.lifetime!r})"

    @property
    def expires_at(self) -> datetime | None:
        return self.received_at + self.lifetime if self.lifetime is not None else None

    @property
    def renew_at(self) -> datetime | None:
        """When to ask for the next one: after three quarters of the life, which leaves days to a fortnight's token."""
        if self.lifetime is None or not self.refresh_token:
            return None
        return self.received_at + self.lifetime * 3 / 4


def is_available() -> bool:
    """Whether this installation is registered with Harvest ID as an OAuth application."""
    return bool(settings.HARVEST_CLIENT_ID and settings.HARVEST_CLIENT_SECRET)


def authorize_url(*, redirect_uri: str, state: str) -> str:
    """Where to send a browser for consent."""
    with _session(redirect_uri=redirect_uri) as session:
        url, _ = session.create_authorization_url(
            f"{settings.HARVEST_ID_URL}/oauth2/authorize", state=state, response_type="code"
        )
    return str(url)


@sensitive_variables()
def exchange(*, code: str, redirect_uri: str) -> Tokens:
    """Tokens for a code from the consent page. Raises as `refresh` does; HarvestAuthError: used, expired, not ours."""
    with _session(redirect_uri=redirect_uri) as session:
        return _asked(
            lambda: session.fetch_token(grant_type="authorization_code", code=code, **_how()),
            refresh_token="",
        )


@sensitive_variables()
def refresh(refresh_token: str) -> Tokens:
    """New tokens for a refresh token, outside any transaction; asked once, as asking may spend it.

    Raises HarvestAuthError (`invalid_grant`: only consent helps), OAuthMisconfigured, HarvestUnavailable,
    HarvestContractError.
    """
    with _session() as session:
        return _asked(
            lambda: session.refresh_token(refresh_token=refresh_token, **_how()), refresh_token=refresh_token
        )


def _session(**more: Any) -> OAuth2Session:
    session = OAuth2Session(
        client_id=settings.HARVEST_CLIENT_ID,
        client_secret=settings.HARVEST_CLIENT_SECRET,
        token_endpoint=f"{settings.HARVEST_ID_URL}/api/v2/oauth2/token",
        token_endpoint_auth_method="client_secret_post",  # noqa: S106 - the name of a method
        **more,
    )
    session.headers["User-Agent"] = settings.HARVEST_USER_AGENT
    return session


def _how() -> dict[str, Any]:
    # Nobody but Harvest ID is given the secret: a redirect is not followed.
    return {"timeout": TIMEOUT, "allow_redirects": False}


@sensitive_variables()
def _asked(ask: Any, *, refresh_token: str) -> Tokens:
    asked_at = timezone.now()  # before asking, so that the token is never thought to live longer than it does
    try:
        answer = ask()
    except OAuthError as error:
        if error.error in ("invalid_client", "unauthorized_client"):
            raise OAuthMisconfigured(
                "Harvest does not accept this installation's client id and secret: whoever runs it must check them."
            ) from None
        if error.error == "invalid_grant":
            raise HarvestAuthError(
                "Harvest says that this access was withdrawn or has expired: connect again to resume.",
                status=400,
            ) from None
        raise HarvestContractError(
            f"Harvest ID refused the request ({plain_text(str(error.error))[:60]})."
        ) from None
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else None
        raise HarvestUnavailable(
            "Harvest ID did not answer as it should: try again later.", status=status
        ) from None
    except ValueError:
        raise HarvestContractError("Harvest ID's answer cannot be read.") from None
    access, new = answer.get("access_token"), answer.get("refresh_token")
    if not _is_token(access) or not (new is None or _is_token(new)):
        raise HarvestContractError("Harvest ID's answer holds no token.")
    return Tokens(access, new or refresh_token, asked_at, _lifetime(answer.get("expires_in")))


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 4000 and value.isascii() and value.isprintable()


def _lifetime(value: object) -> timedelta | None:
    """expires_in, a number of seconds that may come as text."""
    try:
        seconds = int(str(value))
    except ValueError:
        return None
    return min(timedelta(seconds=seconds), LONGEST_LIFE) if 0 < seconds < 10**9 else None
