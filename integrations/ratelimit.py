"""One rate limit for a provider's account, shared by every process, thread and machine, through Redis.

**The limit.** Redis keeps the times of the newest `limit` grants of an account. A grant is given only when the
`limit`-th newest is at least one *window* old, and the script runs alone. So grant k + limit comes at least a
window after grant k, for every k: no interval shorter than a window, wherever it begins, holds more than `limit`.

**What arrives.** The provider counts arrivals, not grants. The requests that arrive within one `period` (Harvest:
100 in 15 s) were granted within period + s, where s is by how much the slowest way from grant to arrival exceeds the
quickest. With window = period + SPREAD, at most `limit` arrive in any period while s < SPREAD. SPREAD is 0.6 s: an
answer of Redis may take 0.4 s (a later one is a timeout, and its grant goes unused), which leaves 0.2 s for the
differences of the way to the provider. The price: 100 in 15.6 s are 96.2 % of 100 in 15 s. A process that is stopped
for longer between grant and request can still be late; paced grants (below) leave room for three such in a period.

**Whose turn.** Who has to wait stands in a line, ordered by when he first asked; a background caller counts as asking
HANDICAP later. So interactive callers go first, and a background caller that has waited that long goes before all
that came after: nobody starves. The r-th of the line is told when r slots will be free. Who will not wait that long
leaves it, and who does not come back a second after his time is struck off it. Background callers are also paced
evenly (a few at once, then window ÷ limit apart, the interactive grants counted in), until they have waited HANDICAP:
they never use up the limit in a burst, so that an interactive caller beside them finds the next slot within window ÷
limit.

**Time** is Redis's own: workers' clocks do not matter. Put back, it stands still until it has caught up, which only
makes intervals longer; put back by more than a window, the account starts anew, as full. Put forward, it forgets that
much: nothing in Redis can tell. Then the provider's 429 does, and `hold` stops everyone at once.

**An emptied Redis** knows of no grants. It is known by its epoch, the time of its first call, which every grant
carries: who was granted something within a window under another epoch says so, and the account counts as full from
that moment. Until somebody says so (nobody can where all processes are new too), an account's first window counts as
three quarters used: 25 requests may come on top of those forgotten, not 100.

**Without Redis** a process asks it again every half second and sends nothing for one window: what others were granted
just before is unknown. Then it sends at most limit // processes in a window, evenly: all of them together stay
within the limit. When Redis is back, the first to ask says that it sent alone, and the account counts as full from
then. Not covered: Redis out of reach for some processes only, which adds their shares to what the others are granted.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

LIMIT: Final = 100  # requests of an account …
PERIOD: Final = 15.0  # … in any so many seconds. Source: Harvest API v2, "Rate limiting"
SPREAD: Final = 0.6  # seconds by which the ways from grant to arrival may differ
HANDICAP: Final = 15.0  # seconds by which a background caller counts as later than it is
PROCESSES: Final = 16  # that may send for one account when each is on its own
LONGEST_HOLD: Final = (
    3600.0  # seconds; a longer Retry-After is a mistake, and must not stop an account for years
)

_REDIS_TIMEOUT: Final = 0.4  # seconds; also the greatest age of a grant when it comes
_ASK_AGAIN: Final = 0.5  # seconds between two attempts to reach Redis
_WARN_EVERY: Final = 60.0  # seconds

# Times are whole microseconds. KEYS: log (grants, newest first), state (hash: hold, the end of a 429; tat, when the
# next paced grant is due; sure, since when the log is known to be complete), line (waiting, by rank), due (waiting, by
# when they are struck off), epoch. ARGV: me, handicap, limit, window, the epoch of my last grant, its age.
# Returns the wait, 0 for a grant, and the epoch.
ACQUIRE: Final = """
local log, state, line, due, epoch = unpack(KEYS)
local me, handicap, limit, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local seen, age = ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local keep = 2 * window

local function grant(count)
    for _ = 1, count do redis.call('LPUSH', log, now) end
    redis.call('LTRIM', log, 0, limit - 1)
    redis.call('PEXPIRE', log, math.ceil(keep / 1000))
end

local newest = tonumber(redis.call('LINDEX', log, 0) or 0)
-- Redis's clock was put back: a little, and it stands still; far, and nothing here can be believed.
local put_back = math.max(newest, tonumber(redis.call('GET', epoch) or 0)) > now + window
if put_back then redis.call('DEL', unpack(KEYS)) else now = math.max(now, newest) end

redis.call('SET', epoch, now, 'NX')
local born = redis.call('GET', epoch)
local sure = tonumber(redis.call('HGET', state, 'sure') or 0)
-- My last grant is not in this log: nor may those of others be. Said again of the same time, it changes nothing.
if put_back or (seen ~= born and age < window and now - age > sure) then
    redis.call('HSET', state, 'sure', now)
    grant(limit)
elseif redis.call('EXISTS', log) == 0 and now - born < window then
    grant(math.floor(limit * 3 / 4))
end

-- The line: strike off who did not come, stand in it, count who is ahead.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now)) do
    redis.call('ZREM', line, gone)
    redis.call('ZREM', due, gone)
end
redis.call('ZADD', line, 'NX', now + handicap, me)
local ahead = redis.call('ZRANK', line, me)

-- When a slot is free for me and all ahead of me; by my pace, while I count as later than I am; and not in a hold.
local rounds, place = math.floor(ahead / limit), ahead % limit
local ready = (redis.call('LINDEX', log, limit - 1 - place) or now - window) + window * (rounds + 1)
local step = window / limit
local tat = math.max(tonumber(redis.call('HGET', state, 'tat') or 0), now - 4 * step)
local pace = math.min(tat + ahead * step, tonumber(redis.call('ZSCORE', line, me)))
ready = math.ceil(math.max(ready, pace, tonumber(redis.call('HGET', state, 'hold') or 0)))

if ready <= now then
    grant(1)
    redis.call('HSET', state, 'tat', math.ceil(tat + step))
    redis.call('ZREM', line, me)
    redis.call('ZREM', due, me)
else
    redis.call('ZADD', due, ready + 1000000, me)
end
local life = math.ceil((math.max(ready - now, 0) + keep) / 1000)
for _, key in ipairs({state, line, due}) do redis.call('PEXPIRE', key, life) end
return {math.max(ready - now, 0), born}
"""

# KEYS: state. ARGV: how long, and how long to keep the key after that. The longest hold of all stands.
HOLD: Final = """
local time = redis.call('TIME')
local till = time[1] * 1000000 + time[2] + ARGV[1]
if till > tonumber(redis.call('HGET', KEYS[1], 'hold') or 0) then
    redis.call('HSET', KEYS[1], 'hold', till)
    redis.call('PEXPIRE', KEYS[1], math.ceil((ARGV[1] + ARGV[2]) / 1000))
end
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """An account's limit at this moment.

    used: grants within the last `period`, of `limit`, with what counts as used because it is unknown.
    held_until: aware UTC, by Redis's clock: nobody sends before, for a 429; None when there is no such hold.
    """

    used: int
    limit: int
    held_until: datetime | None


class SharedThrottle:
    """The turns of one caller under the limit that all processes share: `Throttle` of `harvest.client`.

    account_id: the provider's id of the account; only its hash is kept. interactive: a person waits for it, or soon
    looks for it. processes: how many may send for this account at most, all machines together; at most `limit`.
    limit, period: the provider's, requests and seconds; spread: see above, seconds. They must be the same everywhere.

    For one thread at a time; make it in the process that uses it. Never raises for a Redis that is away or wrong.
    """

    def __init__(
        self,
        account_id: str | int,
        *,
        redis_url: str,
        interactive: bool,
        provider: str = "harvest",
        processes: int = PROCESSES,
        limit: int = LIMIT,
        period: float = PERIOD,
        spread: float = SPREAD,
    ) -> None:
        if not 1 <= processes <= limit:
            raise ValueError(f"processes must be between 1 and {limit}, not {processes}")
        self._redis = _connection(redis_url)
        self._keys = _keys(provider, account_id)
        self._window = period + spread
        self._gap = self._window / (limit // processes)
        self._me = uuid.uuid4().hex
        self._rule = (_micro(0 if interactive else HANDICAP), limit, _micro(self._window))
        self._own = _STANDINGS.setdefault((os.getpid(), redis_url, self._keys[0]), _Standing())

    def acquire(self) -> float:
        """Take the right to send one request, now, and return 0; or return the seconds to wait before asking again."""
        own = self._own
        if (held := own.held_until - time.monotonic()) > 0:
            return held
        seen, age = own.last_grant()
        try:
            wait, epoch = self._run(ACQUIRE, self._keys, [self._me, *self._rule, seen, _micro(age)])
        except redis.RedisError as error:
            return own.wait_alone(self._window, self._gap, error)
        own.reached()
        if wait == 0:
            own.granted(epoch)
        return int(wait) / 1_000_000

    def leave(self) -> None:
        """Give up waiting: without this, the place in the line is kept, and a slot with it, until the time told."""
        try:
            with self._redis.pipeline() as pipeline:
                for key in self._keys[2:4]:
                    pipeline.zrem(key, self._me)
                pipeline.execute()
        except redis.RedisError as error:
            self._own.missed(error)

    def hold(self, seconds: float) -> None:
        """Let nobody send for this account for so long (an hour at most): it answered 429."""
        seconds = min(seconds, LONGEST_HOLD)
        if not seconds > 0:
            return
        self._own.held_until = max(self._own.held_until, time.monotonic() + seconds)
        try:
            self._run(HOLD, self._keys[1:2], [_micro(seconds), _micro(2 * self._window)])
        except redis.RedisError as error:
            self._own.missed(error)

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return self._redis.register_script(script)(keys=keys, args=arguments)


def usage(
    account_id: str | int,
    *,
    redis_url: str,
    provider: str = "harvest",
    limit: int = LIMIT,
    period: float = PERIOD,
) -> Usage | None:
    """How much of an account's limit is in use, for people; None while Redis does not answer."""
    log, state, *_ = _keys(provider, account_id)
    pipeline = _connection(redis_url).pipeline()
    pipeline.time()
    pipeline.lrange(log, 0, limit - 1)
    pipeline.hget(state, "hold")
    try:
        (seconds, micros), grants, hold = pipeline.execute()
    except redis.RedisError:
        return None
    now = seconds * 1_000_000 + micros
    held = int(hold or 0)
    return Usage(
        used=sum(int(at) > now - _micro(period) for at in grants),
        limit=limit,
        held_until=datetime.fromtimestamp(held / 1_000_000, UTC) if held > now else None,
    )


class _Standing:
    """What one process knows of an account by itself; seconds are of the monotonic clock."""

    def __init__(self) -> None:
        self.held_until = -math.inf
        self._lock = threading.Lock()
        self._epoch = ""  # of the last grant; empty where it was given without Redis
        self._granted_at = -math.inf
        self._away_since: float | None = None
        self._warned_at = -math.inf

    def last_grant(self) -> tuple[str, float]:
        """The epoch that knows of it, and its age in seconds (a million when there was none)."""
        with self._lock:
            return self._epoch, min(time.monotonic() - self._granted_at, 1e6)

    def granted(self, epoch: str) -> None:
        with self._lock:
            self._epoch, self._granted_at = epoch, time.monotonic()

    def reached(self) -> None:
        """Redis answered."""
        with self._lock:
            if self._away_since is not None and self._away_since <= self._warned_at:
                logger.info("the shared rate limit is back after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None

    def missed(self, error: redis.RedisError) -> float:
        """Redis did not answer, or not as it should. Returns since when; says so once a minute at most."""
        with self._lock:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
                if now - self._warned_at > _WARN_EVERY:
                    self._warned_at = now
                    logger.warning(
                        "the shared rate limit is out of reach (%s): going slowly", type(error).__name__
                    )
            return self._away_since

    def wait_alone(self, window: float, gap: float, error: redis.RedisError) -> float:
        """Seconds to wait without Redis: a window from its loss, then a gap between two requests of this process."""
        away_since = self.missed(error)
        with self._lock:
            now = time.monotonic()
            wait = max(away_since + window, self._granted_at + gap) - now
            if wait > 0:
                return min(wait, _ASK_AGAIN)
            self._epoch, self._granted_at = "", now
            return 0.0


# By process, Redis and account. The process, as one that is forked must not find a lock that another thread held.
_STANDINGS: Final[dict[tuple[int, str, str], _Standing]] = {}


@cache
def _connection(redis_url: str) -> redis.Redis:
    """Connections for all throttles of a process. One more attempt, as a restarted Redis has closed the old ones."""
    return redis.Redis.from_url(
        redis_url,
        decode_responses=True,
        socket_timeout=_REDIS_TIMEOUT,
        socket_connect_timeout=_REDIS_TIMEOUT,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def _keys(provider: str, account_id: str | int) -> list[str]:
    """log, state, line, due, epoch; the last is shared by all accounts of a Redis."""
    account = hashlib.sha256(f"{provider}:{account_id}".encode()).hexdigest()[:32]
    return [f"timebridge:rate:{account}:{part}" for part in ("log", "state", "line", "due")] + [
        "timebridge:rate:epoch"
    ]


def _micro(seconds: float) -> int:
    return math.ceil(seconds * 1_000_000)
