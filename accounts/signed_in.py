"""What comes before every answer to a session, in one question: its row, its person, and where they belong.

Django asks for the first two one after the other, and then come the memberships. Here a function of the database
(migration 0010) answers all three. It knows the person by allauth's list of sessions, so what it brings of them is no
proof but a hint: Django goes on to read who is signed in from the session itself, and takes the person that came along
only where that is the same one; it looks at the session's hash and whether the person is active as ever. Anybody else,
and somebody whom that list does not have yet, is asked for as Django does it.

It hangs on the request's session, and is gone with the request.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from allauth.account.auth_backends import AuthenticationBackend as AllauthBackend
from django.contrib.auth import BACKEND_SESSION_KEY, get_user
from django.contrib.auth import middleware as auth
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts.functions import Parts, ask
from accounts.models import Membership, User, Workspace
from accounts.selectors import memberships_of

ANSWER: Parts = (("session", Session), ("person", User), ("membership", Membership), ("workspace", Workspace))
BACKEND = "accounts.signed_in.AuthenticationBackend"
# Of sessions that began before this one.
FORMER_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@dataclass(frozen=True, slots=True)
class Brought:
    """Who is said to be signed in by a session, and their memberships as `memberships_of` gives them."""

    person: User
    places: list[Membership]


class SessionStore(db.SessionStore):
    """Django's, in the same table, and what comes along as it is read."""

    _brought: Brought | None = None

    def load(self) -> dict[str, Any]:
        rows = ask("accounts_session", ANSWER, self.session_key, timezone.now())
        if not rows:
            self._session_key = None
            return {}
        (held, person, *_), *others = rows
        for _, _, membership, workspace in others:
            membership.user, membership.workspace = person, workspace
        self._brought = Brought(person, [one[2] for one in others]) if person is not None else None
        data: dict[str, Any] = self.decode(held.session_data)
        if data.get(BACKEND_SESSION_KEY) == FORMER_BACKEND:
            data[BACKEND_SESSION_KEY] = BACKEND
        return data

    def brought(self, user_id: UUID) -> Brought | None:
        """What came along, where it is of this person."""
        found = self._brought
        return found if found is not None and found.person.pk == user_id else None


# Set while Django asks whose session it is.
_asked: ContextVar[SessionStore | None] = ContextVar("asked", default=None)


class AuthenticationBackend(AllauthBackend):
    """allauth's; it need not ask for a person who came along with the session."""

    def get_user(self, user_id: UUID) -> User | None:
        session = _asked.get()
        brought = session.brought(user_id) if session is not None else None
        if brought is None:
            found: User | None = super().get_user(user_id)
            return found
        return brought.person if self.user_can_authenticate(brought.person) else None


class AuthenticationMiddleware(auth.AuthenticationMiddleware):
    """Django's; its look at the session sees what came along."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: user_of(request))  # type: ignore[assignment]


def user_of(request: HttpRequest) -> User | AnonymousUser:
    """Whose session this is, as Django finds and proves it."""
    session: Any = request.session
    before = _asked.set(session)
    try:
        found: Any = get_user(request)
    finally:
        _asked.reset(before)
    return found


def places_of(request: HttpRequest, user: User) -> list[Membership]:
    """The memberships of who is signed in: `memberships_of`, for the most part without a question."""
    session: Any = request.session
    brought: Brought | None = session.brought(user.pk)
    return memberships_of(user) if brought is None else brought.places
