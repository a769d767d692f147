"""The sessions of a person: where they are signed in, and ending them.

allauth keeps a row a session. Its own way of telling when one was last seen writes with every request; here it is
written once a minute, which Redis remembers for all processes. Each of them asks it once a minute for a session, so a
row is two minutes behind at most.

A session ends by itself when it was not used for a week (SESSION_COOKIE_AGE; it is saved once a day, which puts that
off), and in any case a month after its person signed in. Signing in begins a new one, and so does confirming once more
who one is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from allauth.account import app_settings as account_settings
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.core.cache import cache
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from accounts.models import User

SEEN_SECONDS = 60
MOST_ASKED = 10_000  # sessions that a process remembers to have asked Redis for
DAY = 86_400
LONGEST = 30 * DAY  # from signing in, however much it is used
BEGAN, USED = "began", "used"  # what a session remembers of itself, in seconds since 1970

# First match names it: browsers claim to be one another.
BROWSERS = (
    ("Edge", r"Edg(e|A|iOS)?/"),
    ("Opera", r"OPR/|Opera"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/"),
    ("Safari", r"Safari/"),
)
SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("ChromeOS", r"CrOS"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("Linux", r"Linux|X11"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A session as the page shows it."""

    id: int
    device: str
    address: str
    began_at: datetime
    seen_at: datetime
    current: bool


class LastSeenMiddleware:
    """Notes, once a minute, when and from where a session was last used; ends one that has lasted long enough.

    Signing in counts its attempts in Redis. While that is away nobody may guess, and so nobody signs in: a page says
    so, and who is signed in goes on.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.session.session_key
        inside = bool(key) and request.user.is_authenticated
        if inside and _is_over(request):
            logout(request)
        elif inside and _first_in_a_while(str(key)):
            UserSession.objects.create_from_request(request)
        user = request.user  # the API's views put their own in its place
        shown = len(get_authentication_records(request, user)) if inside else 0
        response = self.get_response(request)
        confirmed = inside and len(get_authentication_records(request, user)) > shown
        if confirmed and request.session.session_key == key:
            _renew(request)
        if inside and SESSION_KEY not in request.session:
            response.headers["Clear-Site-Data"] = (
                '"cache", "storage"'  # signed out: nothing stays in the browser
            )
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return render(request, "503.html", status=503) if isinstance(exception, redis.RedisError) else None


def _is_over(request: HttpRequest) -> bool:
    """Whether a session has lasted as long as any may. Where it is used for the first time in a day, it is saved."""
    now, session = int(time.time()), request.session
    if now - session.get(USED, 0) >= DAY:
        session[USED] = now
    return bool(now - session.setdefault(BEGAN, now) >= LONGEST)


def _renew(request: HttpRequest) -> None:
    """Go on under a new key, which ends the old one: who had come by that has nothing of what was confirmed.

    Stopped half-way, or with the answer lost, the session is ended and its person signs in again.
    """
    old = request.session.session_key
    with transaction.atomic():
        request.session.cycle_key()
        new = request.session.session_key
        UserSession.objects.filter(session_key=old).update(session_key=new)
    _first_in_a_while(str(new))  # the row is there: not again within the minute


# session key -> when this process asked Redis for it last, in seconds since 1970
_asked: dict[str, float] = {}


def _first_in_a_while(session_key: str) -> bool:
    now = time.time()
    if 0 <= now - _asked.get(session_key, 0) < SEEN_SECONDS:
        return False
    try:
        first = bool(cache.add(f"session-seen:{session_key}", 1, SEEN_SECONDS))
    except redis.RedisError:
        return False  # a page does not wait for it, nor fail
    if len(_asked) >= MOST_ASKED:
        _asked.clear()  # they are asked for once more
    _asked[session_key] = now
    return first


@receiver(user_logged_in)
def note_beginning(request: HttpRequest | None = None, **kwargs: Any) -> None:
    """A session that begins is written down as such: not again within the minute."""
    if request is None:
        return
    request.session[BEGAN] = request.session[USED] = int(time.time())
    if request.session.session_key:
        _first_in_a_while(request.session.session_key)


def confirmed_of_late(request: HttpRequest) -> bool:
    """Whether a session's person has shown of late who they are, as what is delicate asks. To have signed in will do.

    Who has no way to show it (no password, no second factor) is not asked.
    """
    records = get_authentication_records(request, request.user)
    if records and time.time() - records[-1]["at"] < account_settings.REAUTHENTICATION_TIMEOUT:
        return True
    return not get_adapter().get_reauthentication_methods(request.user)


def places_of(user: User, *, current_key: str | None) -> list[Place]:
    """Where a person is signed in, this session first, then by when last seen. What has ended is cleared away."""
    places = [
        Place(
            id=one.pk,
            device=device_of(one.user_agent),
            address=one.ip,
            began_at=one.created_at,
            seen_at=one.last_seen_at,
            current=one.session_key == current_key,
        )
        for one in UserSession.objects.purge_and_list(user)
    ]
    return sorted(places, key=lambda place: (place.current, place.seen_at), reverse=True)


def end_session(user: User, id: int, *, current_key: str | None) -> bool:
    """End another session of a person, at once. False where there is none with this id."""
    row = UserSession.objects.filter(user=user, pk=id).exclude(session_key=current_key).first()
    if row is None:
        return False
    row.end()
    return True


def end_other_sessions(user: User, *, current_key: str | None = None) -> int:
    """End every session of a person but this one; returns how many."""
    rows = list(UserSession.objects.filter(user=user).exclude(session_key=current_key))
    for row in rows:
        row.end()
    return len(rows)


def device_of(user_agent: str) -> str:
    """A browser and its system in words, as far as it says: "Firefox on Windows"."""
    browser, system = (
        next((name for name, pattern in names if re.search(pattern, user_agent)), "")
        for names in (BROWSERS, SYSTEMS)
    )
    return " on ".join(filter(None, (browser or "A browser", system))) if browser or system else "A program"
