"""Harvest ID: people, the accounts they reach, personal access tokens, and the OAuth 2 code flow.

Source: Harvest API v2, Authentication. Whether a refresh rotates the refresh token is undocumented: a switch.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from .wire import ApiError, Json, Reply, encode

CLIENT_ID: Final = "timebridge-sandbox"
CLIENT_SECRET: Final = "timebridge-sandbox-secret"  # noqa: S105  # opens nothing but the sandbox
TOKEN_SECONDS: Final = 1_209_600  # 14 days
CODE_SECONDS: Final = 600
REDIRECT_PREFIXES: Final = ("http://localhost", "http://127.0.0.1", "http://testserver", "https://")

_INVALID_GRANT = (
    "The provided access grant is invalid, expired, or revoked (e.g. invalid assertion, expired "
    "authorization token, bad end-user password credentials, or mismatching authorization code and redirection URI)."
)
_INVALID_CLIENT = (
    "The client identifier provided is invalid, the client failed to authenticate, the client did not "
    "include its credentials, provided multiple client credentials, or used unsupported credentials type."
)
_UNSUPPORTED = (
    "The access grant included - its type or another attribute - is not supported by the authorization "
    "server."
)


@dataclass(frozen=True, slots=True)
class AccountName:
    id: int
    name: str
    product: str  # "harvest" or "forecast"


@dataclass(slots=True)
class Person:
    """A Harvest ID. Their user id differs in every account."""

    id: int
    first_name: str
    last_name: str
    email: str
    users: dict[int, int] = field(default_factory=dict)  # account id -> user id there
    forecast_ids: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True)
class Token:
    """An access token; `account_ids` None reaches all of the person's accounts."""

    value: str
    person_id: int
    account_ids: frozenset[int] | None = None
    expires_at: int | None = None
    refresh_token: str = ""
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code or a refresh token stands for."""

    person_id: int
    account_ids: frozenset[int]
    client_id: str
    redirect_uri: str = ""
    expires_at: int | None = None


class OAuthProblem(Exception):
    """A request for consent that cannot be sent back to its redirect address; its text is for the page."""


class Identity:
    """The caller holds the sandbox's lock. `now` gives epoch seconds."""

    def __init__(self, now: Callable[[], int], *, rotate: bool = False) -> None:
        self.now = now
        self.rotate = rotate
        self.client_id = CLIENT_ID
        self.client_secret = CLIENT_SECRET
        self.redirect_prefixes: tuple[str, ...] = REDIRECT_PREFIXES
        self.token_seconds = TOKEN_SECONDS
        self.accounts: dict[int, AccountName] = {}
        self.people: dict[int, Person] = {}
        self.tokens: dict[str, Token] = {}
        self.codes: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self._next_person = 3_077_001

    def add_person(self, first_name: str, last_name: str, email: str) -> Person:
        person = Person(self._next_person, first_name, last_name, email)
        self.people[person.id] = person
        self._next_person += 1
        return person

    def add_token(self, person: Person, value: str) -> str:
        """A personal access token: all of the person's accounts, no expiry."""
        self.tokens[value] = Token(value, person.id, personal=True)
        return value

    def token(self, value: str) -> Token | None:
        """The token, where it is known and has not expired."""
        token = self.tokens.get(value)
        if token is None or (token.expires_at is not None and token.expires_at <= self.now()):
            return None
        return token

    def revoke(self, value: str) -> None:
        """Makes a token invalid; an OAuth token takes its grant along, as when a person withdraws an app."""
        token = self.tokens.pop(value, None)
        if token and token.refresh_token:
            self.refresh_tokens.pop(token.refresh_token, None)
            for other in [t for t in self.tokens.values() if t.refresh_token == token.refresh_token]:
                del self.tokens[other.value]

    def revoke_grants(self) -> int:
        """Withdraws the app for everybody; personal tokens stay. Returns how many tokens that ended."""
        ended = [token.value for token in self.tokens.values() if not token.personal]
        for value in ended:
            del self.tokens[value]
        self.refresh_tokens.clear()
        self.codes.clear()
        return len(ended)

    def accounts_of(self, token: Token) -> Json:
        """The body of GET /api/v2/accounts: Harvest and Forecast accounts side by side, possibly none."""
        person = self.people[token.person_id]
        ids = [*person.users, *person.forecast_ids]
        if token.account_ids is not None:
            ids = [account_id for account_id in ids if account_id in token.account_ids]
        names = [self.accounts[account_id] for account_id in ids]
        return {
            "user": {
                "id": person.id,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
            },
            "accounts": [{"id": name.id, "name": name.name, "product": name.product} for name in names],
        }

    # --- the code flow ---

    def check_request(self, params: Mapping[str, str]) -> str:
        """The redirect address of a request for consent. Raises OAuthProblem where there is none to trust."""
        if params.get("client_id") != self.client_id:
            raise OAuthProblem("No app is registered under this client id.")
        redirect = params.get("redirect_uri", "")
        if not redirect:
            raise OAuthProblem("This sandbox needs a redirect_uri: its app registers a choice of prefixes.")
        if not redirect.startswith(self.redirect_prefixes):
            raise OAuthProblem("The redirect_uri does not begin with the app's registered redirect URL.")
        if params.get("response_type") not in ("code", "token"):
            raise OAuthProblem("The response_type must be code or token.")
        return redirect

    def allow(self, params: Mapping[str, str], person: Person, account_ids: frozenset[int]) -> str:
        """The address that consent sends the browser back to."""
        redirect = self.check_request(params)
        grant = Grant(person.id, account_ids, self.client_id, redirect, self.now() + CODE_SECONDS)
        scope = " ".join(
            f"{self.accounts[account_id].product}:{account_id}" for account_id in sorted(account_ids)
        )
        if params["response_type"] == "token":
            token = self._issue(grant, "")
            answer = {
                "access_token": token.value,
                "token_type": "bearer",
                "expires_in": str(self.token_seconds),
                "scope": scope,
            }
        else:
            code = secrets.token_urlsafe(24)
            self.codes[code] = grant
            answer = {"code": code, "scope": scope}
        return _back(redirect, answer, params)

    def deny(self, params: Mapping[str, str]) -> str:
        return _back(self.check_request(params), {"error": "access_denied"}, params)

    def exchange(self, params: Mapping[str, str]) -> Json:
        """The body of POST /api/v2/oauth2/token. Raises ApiError with rack-oauth2's bodies."""
        known = (self.client_id, self.client_secret)
        if (params.get("client_id"), params.get("client_secret")) != known:
            raise _oauth_error(401, "invalid_client", _INVALID_CLIENT)
        match params.get("grant_type"):
            case "authorization_code":
                grant = self.codes.pop(params.get("code", ""), None)  # a code works once
                redirect = params.get("redirect_uri")
                if (
                    grant is None
                    or (grant.expires_at or 0) <= self.now()
                    or redirect not in (None, grant.redirect_uri)
                ):
                    raise _oauth_error(400, "invalid_grant", _INVALID_GRANT)
                refresh = self._new_refresh(grant)
            case "refresh_token":
                refresh = params.get("refresh_token", "")
                grant = self.refresh_tokens.get(refresh)
                if grant is None:
                    raise _oauth_error(400, "invalid_grant", _INVALID_GRANT)
                if self.rotate:
                    del self.refresh_tokens[refresh]
                    refresh = self._new_refresh(grant)
            case _:
                raise _oauth_error(400, "unsupported_grant_type", _UNSUPPORTED)
        token = self._issue(grant, refresh)
        return {
            "access_token": token.value,
            "refresh_token": refresh,
            "token_type": "bearer",
            "expires_in": self.token_seconds,
        }

    def _new_refresh(self, grant: Grant) -> str:
        value = f"{grant.person_id}.rt.{secrets.token_urlsafe(32)}"
        self.refresh_tokens[value] = grant
        return value

    def _issue(self, grant: Grant, refresh: str) -> Token:
        value = f"{grant.person_id}.at.{secrets.token_urlsafe(32)}"
        token = Token(value, grant.person_id, grant.account_ids, self.now() + self.token_seconds, refresh)
        self.tokens[value] = token
        return token


def _back(redirect: str, answer: dict[str, str], params: Mapping[str, str]) -> str:
    if "state" in params:
        answer["state"] = params["state"]
    return f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(answer)}"


def _oauth_error(status: int, error: str, description: str) -> ApiError:
    return ApiError(Reply(status, encode({"error": error, "error_description": description})))


__all__ = ["CLIENT_ID", "CLIENT_SECRET", "AccountName", "Identity", "OAuthProblem", "Person", "Token"]
