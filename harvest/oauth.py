"""Harvest ID's OAuth 2, by Authlib's Django client: the consent page's address, a code for tokens, new tokens for old.

State is kept by `harvest/consents.py` instead of by Authlib in the browser's session alone: it is bound to a workspace
too, and good once, whatever number of requests return at the same time.

Source: Harvest API v2, "Authentication". Whether a refresh ends the old refresh token is not documented, so whatever
comes back is kept before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import requests
from authlib.integrations.django_client import DjangoOAuth2App, OAuth, OAuthError
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
    return str(_harvest_id().create_authorization_url(redirect_uri, state=state)["url"])


@sensitive_variables()
def exchange(*, code: str, redirect_uri: str) -> Tokens:
    """Tokens for a code from the consent page. Raises as `refresh` does; HarvestAuthError: used, expired, not ours."""
    return _asked("authorization_code", redirect_uri=redirect_uri, code=code)


@sensitive_variables()
def refresh(refresh_token: str) -> Tokens:
    """New tokens for a refresh token, outside any transaction; asked once, as asking may spend it.

    Raises HarvestAuthError (`invalid_grant`: only consent helps), OAuthMisconfigured, HarvestUnavailable,
    HarvestContractError.
    """
    return _asked("refresh_token", refresh_token=refresh_token)


def _harvest_id() -> DjangoOAuth2App:
    """The client, made anew each time: the settings say where Harvest ID is and who this installation is there."""
    return OAuth().register(
        "harvest",
        client_id=settings.HARVEST_CLIENT_ID,
        client_secret=settings.HARVEST_CLIENT_SECRET,
        authorize_url=f"{settings.HARVEST_ID_URL}/oauth2/authorize",
        access_token_url=f"{settings.HARVEST_ID_URL}/api/v2/oauth2/token",
        client_kwargs={"token_endpoint_auth_method": "client_secret_post"},
        user_agent=settings.HARVEST_USER_AGENT,
    )


@sensitive_variables()
def _asked(grant: str, **given: str) -> Tokens:
    asked_at = timezone.now()  # before asking, so that the token is never thought to live longer than it does
    try:
        # Nobody but Harvest ID is given the secret: a redirect is not followed.
        answer = _harvest_id().fetch_access_token(
            grant_type=grant, timeout=TIMEOUT, allow_redirects=False, **given
        )
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
    # Harvest may send no new refresh token: then the one that was given stays.
    return Tokens(
        access, new or given.get("refresh_token", ""), asked_at, _lifetime(answer.get("expires_in"))
    )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 4000 and value.isascii() and value.isprintable()


def _lifetime(value: object) -> timedelta | None:
    """expires_in, a number of seconds that may come as text."""
    try:
        seconds = int(str(value))
    except ValueError:
        return None
    return min(timedelta(seconds=seconds), LONGEST_LIFE) if 0 < seconds < 10**9 else None
