"""How often an API key may ask: `API_RATE_LIMIT` requests in a window that begins with the first of them. And how often
a person may by their sessions, all of them together, pages and API: `SESSION_RATE_LIMIT`, more than hands can do.

Counted in Redis, by one atomic script and so one round trip a request. Every answer to a key, and of the API to a
session, says how it stands, in the header fields of the IETF's draft (draft-ietf-httpapi-ratelimit-headers):

    RateLimit-Policy: "key";q=3000;w=60
    RateLimit: "key";r=2999;t=60

`q` requests in `w` seconds; `r` of them are left, for `t` seconds to come. Once none is left the answer is a 429
problem, or page, with `Retry-After`, and the view does not run. Refused requests do not prolong the wait.

Without Redis a process counts by itself, so that a failure of the counter stops nobody, and a key has at most its limit
in each process.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.middleware import Tenancy
from accounts.rest.problems import problem_response

logger = logging.getLogger(__name__)

UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
REDIS_TIMEOUT: Final = 0.2  # seconds
ASK_AGAIN: Final = 1.0  # seconds after which a Redis that failed is asked again
MOST_KEPT: Final = 10_000  # keys that a process counts by itself

# KEYS: the count. ARGV: the window in milliseconds. Returns the count and the milliseconds that are left of the window.
COUNT: Final = """
local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {used, redis.call('PTTL', KEYS[1])}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a window of so many seconds."""

    limit: int
    window: int


@dataclass(frozen=True, slots=True)
class Count:
    """used: requests in this window, the present one among them; left: seconds until it ends."""

    used: int
    left: float


@lru_cache
def parse_rate(text: str) -> Rate | None:
    """`600/minute` -> Rate(600, 60); None for an empty text, which is no limit. Raises ImproperlyConfigured."""
    if not text:
        return None
    match = re.fullmatch(r"([1-9]\d*)/(second|minute|hour|day)", text)
    if match is None:
        raise ImproperlyConfigured(
            f"A limit of requests is a number a unit, such as 600/minute, and not {text!r}."
        )
    return Rate(int(match[1]), UNITS[match[2]])


class ThrottleMiddleware:
    """Counts the requests of API keys and of signed-in people, refuses those that are too many, and tells programs how
    they stand."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        for text in (settings.API_RATE_LIMIT, settings.SESSION_RATE_LIMIT):
            parse_rate(text)  # a bad one is said at once

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        tenancy: Tenancy | None = request.tenancy  # type: ignore[attr-defined]
        key = tenancy.api_key if tenancy is not None else None
        if key is None and not request.user.is_authenticated:
            return self.get_response(request)
        rate = parse_rate(settings.API_RATE_LIMIT if key else settings.SESSION_RATE_LIMIT)
        if rate is None:
            return self.get_response(request)
        count = take(str(key.id) if key else f"person:{request.user.pk}", rate)
        name, program = "key" if key else "person", request.path.startswith("/api/")
        wait = max(1, math.ceil(count.left))
        response: HttpResponseBase
        if count.used > rate.limit:
            who = "This API key has" if key else "You have"
            detail = f"{who} sent more than {rate.limit} requests in {rate.window} seconds. Wait {wait}."
            headers = {"Retry-After": str(wait), "Cache-Control": "no-store"}
            if program:
                response = problem_response(429, "too-many-requests", detail, headers=headers)
            else:
                response = render(request, "429.html", status=429)
                for header, value in headers.items():
                    response.headers[header] = value
        else:
            response = self.get_response(request)
        if not program:
            return response
        response.headers["RateLimit-Policy"] = f'"{name}";q={rate.limit};w={rate.window}'
        response.headers["RateLimit"] = f'"{name}";r={max(0, rate.limit - count.used)};t={wait}'
        return response


def take(key_id: str, rate: Rate) -> Count:
    """Count one more request of a key. Never raises for a Redis that is away or wrong."""
    now = time.monotonic()
    if now >= _alone.until:
        try:
            count = _counter(settings.REDIS_URL)
            used, left = count(keys=[f"timebridge:api:{key_id}:{rate.window}"], args=[rate.window * 1000])
            return Count(int(used), max(0, int(left)) / 1000)
        except redis.RedisError as error:
            if now - _alone.until > 60:
                logger.warning(
                    "requests of API keys are counted by each process itself (%s)", type(error).__name__
                )
            _alone.until = now + ASK_AGAIN
    return _alone.take(key_id, rate, now)


class _Alone:
    """What one process counts by itself. until: when Redis is to be asked again; seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.until = -math.inf
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}  # used, end of the window

    def take(self, key_id: str, rate: Rate, now: float) -> Count:
        with self._lock:
            used, end = self._counts.get(key_id, (0, 0.0))
            if end <= now:
                used, end = 0, now + rate.window
                if len(self._counts) >= MOST_KEPT:
                    self._counts = {key: row for key, row in self._counts.items() if row[1] > now}
            if len(self._counts) < MOST_KEPT or key_id in self._counts:
                self._counts[key_id] = (used + 1, end)
            return Count(used + 1, end - now)


_alone: Final = _Alone()


@cache
def _counter(redis_url: str) -> Any:
    """The script, on connections of a process. One more attempt, as a restarted Redis has closed the old ones."""
    connections = redis.Redis.from_url(
        redis_url,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    return connections.register_script(COUNT)
