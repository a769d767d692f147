"""The sandbox as a whole: accounts, Harvest ID, rate limit, faults and request log, behind one lock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from .account import Account, locked
from .faults import Fault, FaultKind, Faults
from .identity import AccountName, Identity, Person
from .ratelimit import RateLimit

MAIN_ACCOUNT_ID = 880_123
ADMIN_TOKEN = "1000001.pt.sandbox-admin"  # noqa: S105  # opens nothing but the sandbox


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it came in. `query` has no tokens; `fault` names what was done to it."""

    at: datetime
    method: str
    path: str
    query: str
    status: int  # 0 where no answer was given
    milliseconds: float
    account_id: int | None
    fault: str | None


class Sandbox:
    """A Harvest to try things on, its data in memory. `account` is the main one.

    now: the clock for stamps, timers and token expiry (aware datetimes). timer: seconds for the rate limit.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        timer: Callable[[], float] = time.monotonic,
        rate_limit: bool = True,
        rotate_refresh: bool = False,
        build: Callable[[Sandbox], None] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.clock = now or (lambda: datetime.now(UTC))
        self._build = build
        self.rate_limit = RateLimit(timer, enabled=rate_limit)
        self._rotate_at_first = rotate_refresh
        self.reset()

    @classmethod
    def empty(
        cls,
        *,
        name: str = "Sandbox Studio",
        account_id: int = MAIN_ACCOUNT_ID,
        now: Callable[[], datetime] | None = None,
        timer: Callable[[], float] = time.monotonic,
        rate_limit: bool = True,
        rotate_refresh: bool = False,
    ) -> Sandbox:
        """One account with one administrator (Ada Admin, token ADMIN_TOKEN) and nothing else."""

        def build(sandbox: Sandbox) -> None:
            sandbox.add_account(name, account_id=account_id)
            sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", token=ADMIN_TOKEN)

        return cls(now=now, timer=timer, rate_limit=rate_limit, rotate_refresh=rotate_refresh, build=build)

    @classmethod
    def studio(
        cls, *, today: date | None = None, entries: int = 3000, seed: int = 7, **options: Any
    ) -> Sandbox:
        """A believable studio with time up to `today` (the clock's day at first). Options as `Sandbox`."""
        from .studio import build_studio  # here, for that module builds on this one

        return cls(
            build=lambda sandbox: build_studio(sandbox, today=today, entries=entries, seed=seed), **options
        )

    @classmethod
    def bulk(cls, entries: int, **options: Any) -> Sandbox:
        """A large account for measurements: 20 clients, 60 projects, 40 people, three years of time."""
        from .bulk import build_bulk

        return cls(build=lambda sandbox: build_bulk(sandbox, entries), **options)

    def now(self) -> int:
        """Epoch seconds."""
        return int(self.clock().timestamp())

    @locked
    def reset(self) -> None:
        """Back to how it was made: data, tokens, faults, switches and log (the clock stays)."""
        self.accounts: dict[int, Account] = {}
        self.identity = Identity(self.now, rotate=self._rotate_at_first)
        self.faults = Faults()
        self.requests: deque[RequestRecord] = deque(maxlen=20_000)
        self.rate_limit.reset()
        if self._build:
            self._build(self)

    # --- accounts and people ---

    @property
    def account(self) -> Account:
        """The main account: the first one made."""
        return next(iter(self.accounts.values()))

    @locked
    def add_account(self, name: str, *, account_id: int | None = None) -> Account:
        account_id = account_id or MAIN_ACCOUNT_ID + 7 * len(self.accounts)
        account = self.accounts[account_id] = Account(account_id, name, lock=self.lock, now=self.now)
        self.identity.accounts[account_id] = AccountName(account_id, name, "harvest")
        return account

    @locked
    def add_forecast_account(self, name: str, people: Iterable[Person], *, account_id: int) -> None:
        """A Forecast account: it stands in the account list and answers nothing here."""
        self.identity.accounts[account_id] = AccountName(account_id, name, "forecast")
        for person in people:
            person.forecast_ids.append(account_id)

    @locked
    def add_person(
        self,
        first: str,
        last: str,
        email: str,
        role: str = "member",
        *,
        account: Account | None = None,
        token: str | None = None,
        **fields: Any,
    ) -> int:
        """Adds a person who can sign in, and returns their user id in `account` (the main one unless given).

        role: administrator, manager or member; `permissions=[...]` adds a manager's.
        token: a personal access token, once for each person.
        The same e-mail in a second account is the same Harvest ID.
        """
        account = account or self.account
        user_id = account.add_user(first, last, email, role, **fields)
        person = self._person(email) or self.identity.add_person(first, last, email)
        person.users[account.id] = user_id
        if token:
            self.identity.add_token(person, token)
        return user_id

    @locked
    def add_token(self, email: str, token: str) -> str:
        """Gives a person one more personal access token. Raises KeyError for an unknown e-mail."""
        return self.identity.add_token(self.person(email), token)

    def person(self, email: str) -> Person:
        found = self._person(email)
        if found is None:
            raise KeyError(email)
        return found

    def _person(self, email: str) -> Person | None:
        return next((p for p in self.identity.people.values() if p.email == email), None)

    @locked
    def leave(self, email: str, account_id: int) -> None:
        """Takes an account away from a person; their tokens answer 401 there from now on."""
        del self.person(email).users[account_id]

    # --- OAuth ---

    @locked
    def consent(
        self,
        *,
        redirect_uri: str,
        state: str = "",
        email: str | None = None,
        account_ids: Iterable[int] | None = None,
    ) -> str:
        """Allows the app as a person would on the consent page; returns the address of the callback."""
        person = self.person(email) if email else next(iter(self.identity.people.values()))
        chosen = frozenset(account_ids if account_ids is not None else list(person.users)[:1])
        params = {"client_id": self.identity.client_id, "redirect_uri": redirect_uri, "response_type": "code"}
        return self.identity.allow(params | ({"state": state} if state else {}), person, chosen)

    @locked
    def revoke(self, token: str) -> None:
        """Makes an access token (and its grant, for OAuth) invalid."""
        self.identity.revoke(token)

    @locked
    def revoke_grants(self) -> int:
        return self.identity.revoke_grants()

    # --- faults and the log ---

    @locked
    def fault(self, kind: FaultKind | str, **conditions: Any) -> int:
        """Puts a fault in force; conditions as in `Fault`. Returns its id."""
        return self.faults.add(Fault(FaultKind(kind), **conditions))

    @locked
    def clear_faults(self) -> None:
        self.faults.clear()

    @locked
    def record(self, record: RequestRecord) -> None:
        self.requests.append(record)

    @locked
    def seen(self, method: str | None = None, path: str | None = None) -> list[RequestRecord]:
        """Requests so far, oldest first; `path` is a part of the path, such as "/time_entries"."""
        return [
            record
            for record in self.requests
            if (method is None or record.method == method) and (path is None or path in record.path)
        ]

    @locked
    def forget_requests(self) -> None:
        self.requests.clear()
