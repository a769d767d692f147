"""Harvest's rate limit: 100 requests in 15 seconds for an account, in a sliding window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from .wire import Reply

LIMIT = 100
WINDOW_SECONDS = 15.0


class RateLimit:
    """Counts admitted requests by account. `timer` gives seconds from any start, and never goes back."""

    def __init__(self, timer: Callable[[], float], *, enabled: bool = True) -> None:
        self.timer = timer
        self.enabled = enabled
        self.limit = LIMIT
        self.window_seconds = WINDOW_SECONDS
        self.with_retry_after = True
        self.refused = 0
        self._admitted: dict[int, deque[float]] = {}

    def admit(self, account_id: int) -> Reply | None:
        """None where the request may go on, else the 429 to answer."""
        if not self.enabled:
            return None
        times = self._recent(account_id)
        if len(times) < self.limit:
            times.append(self.timer())
            return None
        self.refused += 1
        return too_many(times[0] + self.window_seconds - self.timer() if self.with_retry_after else None)

    def used(self, account_id: int) -> int:
        """Requests of the account within the window now."""
        return len(self._recent(account_id))

    def reset(self) -> None:
        self._admitted.clear()
        self.refused = 0

    def _recent(self, account_id: int) -> deque[float]:
        times = self._admitted.setdefault(account_id, deque())
        oldest = self.timer() - self.window_seconds
        while times and times[0] <= oldest:
            times.popleft()
        return times


def too_many(wait_seconds: float | None) -> Reply:
    """A 429 in either known shape: the documented Retry-After, or (None) the bare HTML one seen in 2020."""
    if wait_seconds is None:
        return Reply(429, b"", "text/html; charset=utf-8")
    return Reply(429, b"", headers={"Retry-After": str(max(1, math.ceil(wait_seconds)))})
