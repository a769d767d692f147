"""Faults on demand: what a network, a proxy or an overloaded Harvest does to a request."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .ratelimit import too_many
from .wire import Reply, encode, integer, invalid_token


class FaultKind(StrEnum):
    """Each value is its name on the control API and on the page."""

    RATE_LIMITED = "429"  # with Retry-After, an empty body
    RATE_LIMITED_BARE = "429-bare"  # text/html, empty, without Retry-After
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    UNAUTHORIZED = "401"
    SLOW = "slow"  # answers after `seconds`
    TRUNCATED = "truncated"  # 200 and the full length announced, half of the body sent
    CUT_JSON = "cut-json"  # 200, a well-formed HTTP answer whose JSON ends in the middle
    GARBAGE = "garbage"  # 200 with a page of HTML
    CUT = "cut"  # the connection is closed before anything was done
    LOST = "lost"  # the work is done, then the connection is closed without an answer


LABELS = {
    FaultKind.RATE_LIMITED: "429 with Retry-After",
    FaultKind.RATE_LIMITED_BARE: "429, empty HTML, no Retry-After",
    FaultKind.SERVER_ERROR: "500 server error",
    FaultKind.UNAVAILABLE: "503 unavailable",
    FaultKind.UNAUTHORIZED: "401 invalid token",
    FaultKind.SLOW: "Slow answer",
    FaultKind.TRUNCATED: "Body cut off in transit",
    FaultKind.CUT_JSON: "JSON that ends in the middle",
    FaultKind.GARBAGE: "HTML in place of JSON",
    FaultKind.CUT: "Connection cut before the work",
    FaultKind.LOST: "Work done, answer lost",
}


@dataclass(slots=True)
class Fault:
    """What goes wrong, and for which requests. Every condition that is set must hold.

    times: how many requests it hits (None: all); after: how many matching ones it lets pass first.
    path: a regular expression searched in the path; page: the `page` parameter (1 where there is none).
    seconds: the delay of `slow`, the Retry-After of `429`.
    """

    kind: FaultKind
    times: int | None = 1
    after: int = 0
    method: str = ""
    path: str = ""
    page: int | None = None
    probability: float = 1.0
    seconds: float = 2.0
    id: int = 0
    hits: int = 0

    @classmethod
    def read(cls, values: dict[str, Any]) -> Fault:
        """From JSON or a form. Raises ValueError, KeyError or re.error for what makes no sense."""
        times, page = values.get("times", 1), values.get("page")
        fault = cls(
            kind=FaultKind(values["kind"]),
            times=None if times in (None, "", "all") else integer(times),
            after=integer(values.get("after") or 0),
            method=str(values.get("method") or "").upper(),
            path=str(values.get("path") or ""),
            page=None if page in (None, "") else integer(page),
            probability=float(values.get("probability") or 1),
            seconds=float(values.get("seconds") or 2),
        )
        re.compile(fault.path)
        if not (
            0 < fault.probability <= 1
            and 0 <= fault.seconds <= 600
            and (fault.times is None or fault.times > 0)
        ):
            raise ValueError("times from 1, probability above 0 up to 1, seconds up to 600")
        return fault

    def matches(self, method: str, path: str, page: int) -> bool:
        return (
            (not self.method or self.method == method)
            and (self.page is None or self.page == page)
            and (not self.path or re.search(self.path, path) is not None)
        )

    def instead(self) -> Reply | None:
        """The answer that replaces the work; None for faults that let the work be done, or give no answer."""
        match self.kind:
            case FaultKind.RATE_LIMITED:
                return too_many(self.seconds)
            case FaultKind.RATE_LIMITED_BARE:
                return too_many(None)
            case FaultKind.SERVER_ERROR:
                return Reply(500, encode({"status": 500, "error": "Internal Server Error"}))
            case FaultKind.UNAVAILABLE:
                return Reply(
                    503, b"<html><title>503 Service Temporarily Unavailable</title></html>", "text/html"
                )
            case FaultKind.UNAUTHORIZED:
                return invalid_token().reply
        return None


@dataclass(slots=True)
class Faults:
    """The faults in force, oldest first. A spent one disappears. The caller holds the sandbox's lock."""

    active: list[Fault] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(20260101))  # noqa: S311
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, fault: Fault) -> int:
        fault.id = next(self._ids)
        self.active.append(fault)
        return fault.id

    def remove(self, fault_id: int) -> None:
        self.active = [fault for fault in self.active if fault.id != fault_id]

    def clear(self) -> None:
        self.active.clear()

    def strike(self, method: str, path: str, page: int) -> Fault | None:
        """The fault that hits this request, if any; counts the hit."""
        for fault in self.active:
            if not fault.matches(method, path, page):
                continue
            if fault.after:
                fault.after -= 1
                continue
            if self.chance.random() >= fault.probability:
                continue
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self.remove(fault.id)
            return fault
        return None
