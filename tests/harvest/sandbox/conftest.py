"""A sandbox over real HTTP, with a clock that a test moves, and clients that speak as one person each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harvest.sandbox import ADMIN_TOKEN, MAIN_ACCOUNT_ID, Account, Sandbox, SandboxServer

NOON = datetime(2026, 6, 12, 12, 0, tzinfo=UTC)  # a Friday


@dataclass
class Clock:
    """What the sandbox takes for now (`moment`), and for the rate limit's seconds (`ticks`)."""

    moment: datetime = NOON
    ticks: float = 1000.0

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        step = timedelta(**by)
        self.moment += step
        self.ticks += step.total_seconds()


class Api(httpx.Client):
    """Speaks to the API as the owner of a token; checks the status of what it expects to work."""

    def __init__(
        self, server: SandboxServer, token: str = ADMIN_TOKEN, account: int = MAIN_ACCOUNT_ID
    ) -> None:
        headers = {
            "Authorization": f"Bearer {token}",
            "Harvest-Account-Id": str(account),
            "User-Agent": "Timebridge tests (tests@timebridge.example)",
        }
        super().__init__(base_url=server.api_url, headers=headers, timeout=10)

    def ok(self, method: str, path: str, status: int | None = None, **more: Any) -> Any:
        answer = self.request(method, path, **more)
        assert answer.status_code == (status or (201 if method == "POST" else 200)), answer.text
        return answer.json()


@dataclass
class World:
    """One project with a task in an account, an administrator (Ada) on it, and their ids by name."""

    account: Account
    ids: SimpleNamespace = field(default_factory=SimpleNamespace)

    def entry(self, **more: Any) -> int:
        return self.account.add_entry(**{"project": self.ids.project, "task": self.ids.task, **more})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox.empty(now=clock, timer=lambda: clock.ticks)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    with SandboxServer(sandbox) as server:
        yield server


@pytest.fixture
def speak_as(server: SandboxServer) -> Iterator[Callable[..., Api]]:
    """Make a client for a token (the administrator's unless given)."""
    with ExitStack() as stack:
        yield lambda token=ADMIN_TOKEN, account=MAIN_ACCOUNT_ID: stack.enter_context(
            Api(server, token, account)
        )


@pytest.fixture
def api(speak_as: Callable[..., Api]) -> Api:
    return speak_as()


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    account = sandbox.account
    world = World(account)
    world.ids.ada = account.ids("users")[0]
    world.ids.client = account.add_client("Acme")
    world.ids.project = account.add_project(world.ids.client, "Website", "ACME-1", bill_by="Tasks")
    world.ids.task = account.add_task("Design", default_hourly_rate=120)
    account.assign_user(world.ids.project, world.ids.ada)
    account.assign_task(world.ids.project, world.ids.task)
    return world
