"""Harvest's HTTP API: one method per call, frozen payloads out, `harvest.errors` raised. httpx stops here.

Reads are repeated (bounded in number and in time) after a 429, a 5xx, a broken connection or an unreadable
body. A write is repeated only when it surely was not done (a 429, a refused connection); when its answer is
lost it raises HarvestAnswerLost, and the caller looks before writing again. A listing is complete, says by
how much it is not, or raises; it never ends early in silence.

Log lines ("harvest.client") name method, path, status and duration: no headers, tokens, queries or notes.

Source: Harvest API v2, "Overview", "Pagination", "Authentication" and the page of each resource.
"""

import logging
import random
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import httpx

from harvest import payloads
from harvest.decoding import parse_entries, parse_ids
from harvest.errors import (
    HarvestAnswerLost,
    HarvestAuthError,
    HarvestContractError,
    HarvestError,
    HarvestForbidden,
    HarvestNotFound,
    HarvestRateLimited,
    HarvestRejected,
    HarvestUnavailable,
    field_hints,
    message_in,
)
from harvest.payloads import (
    AccountPayload,
    ClientPayload,
    CompanyPayload,
    ExternalReference,
    ProjectAssignmentPayload,
    ProjectPayload,
    TaskAssignmentPayload,
    TaskPayload,
    TimeEntryPayload,
    UnreadableEntry,
    UserAssignmentPayload,
    UserPayload,
)

logger = logging.getLogger("harvest.client")

USER_AGENT: Final = "Timebridge (https://timebridge.example/contact)"
LARGEST_PAGE: Final = 2000  # Harvest's maximum and default; larger is a 422
SMALLEST_PAGE: Final = 100  # the maximum of earlier years, taken everywhere
CHECK_CREDENTIALS: Final = (
    "Harvest does not accept these credentials: check the account id and the token, and connect again."
)

# Seconds. `read` is between two pieces of an answer; a whole call is bounded by Patience.
_TIMEOUT: Final = httpx.Timeout(connect=10, read=45, write=30, pool=10)
_LONGEST_NAP: Final = 10.0  # seconds slept at once, so that `on_wait` is heard from in between
_MOST_PAGES_WITHOUT_TOTAL: Final = 100_000
_LIST_READINGS: Final = 3

T = TypeVar("T")
JSON = dict[str, Any]


class Throttle(Protocol):
    """The rate limit that all workers share for one Harvest account."""

    def acquire(self) -> float:
        """Take the right to send one request and return 0, or return the seconds to wait first."""

    def leave(self) -> None:
        """Nobody waits any more: whoever was told to wait gives his place in the line away."""

    def hold(self, seconds: float) -> None:
        """Harvest answered 429: let nobody send for that long."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call is tried. Seconds; a wait that would pass `total` is not begun: it raises at once."""

    attempts: int = 6
    total: float = 180.0
    first_wait: float = 1.0  # after a 5xx or a broken connection; doubles
    first_rate_wait: float = 15.0  # after a 429 without Retry-After: Harvest's window; doubles
    longest_wait: float = 60.0
    longest_turn: float | None = None  # to wait for a turn under the shared limit; None: within `total`


@dataclass(frozen=True, slots=True)
class EntryPage:
    """One page of time entries, newest spent date first.

    total_entries, total_pages: as Harvest counts them at this page; None where it does not say.
    server_date: Harvest's clock at the answer: of the first page, the watermark for the next incremental
    read. shortfall: on the last page, how many entries the walk missed, at the least (rows shift across page
    borders when entries come and go meanwhile); 0 on all others. Only a `complete` walk may say that
    something is gone.
    """

    entries: Sequence[TimeEntryPayload]
    bad: Sequence[UnreadableEntry]
    number: int
    total_entries: int | None
    total_pages: int | None
    server_date: datetime | None
    is_last: bool
    shortfall: int

    @property
    def complete(self) -> bool:
        """True on the last page of a walk that saw every entry."""
        return self.is_last and self.shortfall == 0


@dataclass(frozen=True, slots=True)
class IdPage:
    """The ids on one page of a listing of time entries, as text.

    total: how many entries Harvest says the whole listing has, 0 where it does not say. The largest of all pages counts
    (`_entry_pages` tells why), against the different ids on them.
    """

    ids: Sequence[str]
    total: int


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    data: Any  # parsed JSON; None for a deletion, whose body is the deleted object or nothing
    server_date: datetime | None


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[Any]
    number: int
    total_entries: int | None
    total_pages: int | None
    server_date: datetime | None
    is_last: bool


class _Bearer(httpx.Auth):
    """The token, where neither a repr nor a traceback's variables show it."""

    def __init__(self, token: str) -> None:
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise HarvestAuthError("That is not a Harvest access token: copy it again, without spaces.")
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The certificates to trust, read once a process: that takes longer than all the rest of a night's run."""
    return httpx.create_ssl_context()


class _Wire:
    """One Harvest host: sends, waits, retries; whatever happens becomes an _Answer or a HarvestError."""

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        throttle: Throttle | None = None,
        transport: httpx.BaseTransport | None = None,
        patience: Patience | None = None,
        on_wait: Callable[[float, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.base_url = httpx.URL(base_url.rstrip("/") + "/")
        if self.base_url.scheme not in ("http", "https") or not self.base_url.host:
            raise ValueError(f"not a web address: {base_url!r}")
        self._throttle = throttle
        self._patience = patience or Patience()
        self._on_wait = on_wait
        self._clock, self._now, self._sleep, self._jitter = clock, now, sleep, jitter
        self._http = httpx.Client(
            headers={"Accept": "application/json", **headers},
            timeout=_TIMEOUT,
            verify=_trust(),
            transport=transport,
            follow_redirects=False,
        )

    def close(self) -> None:
        self._http.close()

    def url(self, path: str, params: Mapping[str, str | int] | None = None) -> httpx.URL:
        return self.base_url.join(path).copy_merge_params(params or {})

    def own_link(self, link: str) -> httpx.URL:
        """A link out of an answer, when it stays on this host: the token goes nowhere else."""
        try:
            url = self.base_url.join(link)
        except (httpx.InvalidURL, ValueError):
            raise HarvestContractError("Harvest's link to the next page is no web address.") from None
        ours = self.base_url
        if (url.scheme, url.host, url.port, url.userinfo) != (ours.scheme, ours.host, ours.port, b""):
            raise HarvestContractError(f"Harvest's link to the next page leads to another host, {url.host}.")
        return url

    def send(
        self,
        method: str,
        url: httpx.URL,
        auth: _Bearer,
        *,
        body: JSON | None = None,
        expect: Callable[[Any], bool] = lambda data: isinstance(data, dict),
        smaller: Callable[[httpx.URL], httpx.URL | None] | None = None,
        parse: Callable[[bytes], Any] = payloads.parse_json,
    ) -> _Answer:
        """Send until there is an answer fit for use, or raise.

        expect: whether the parsed body has the promised shape; one that has not is asked for again, as a
        broken one is. smaller: the same question put for fewer rows, for an answer that is too big to come;
        None when it cannot.
        """
        deadline = self._clock() + self._patience.total
        failures = 0
        while True:
            self._await_turn(deadline)
            try:
                return self._once(method, url, auth, body, expect, parse, deadline)
            except _Failed as failed:
                failures += 1
                trouble = failed
            wait = self._wait_after(trouble, failures)
            if trouble.rate_limited and self._throttle:
                self._throttle.hold(wait)
            if method != "GET" and not trouble.not_done:
                raise HarvestAnswerLost(
                    f"Harvest's answer was lost ({trouble.reason}): the change may have been made, or not.",
                    status=trouble.status,
                ) from None
            if failures >= self._patience.attempts or self._clock() + wait > deadline:
                raise trouble.as_error(wait) from None
            self._rest(wait, trouble.reason)
            if smaller and failures > 1 and trouble.perhaps_too_big:
                url = smaller(url) or url

    def _once(
        self,
        method: str,
        url: httpx.URL,
        auth: _Bearer,
        body: JSON | None,
        expect: Callable[[Any], bool],
        parse: Callable[[bytes], Any],
        deadline: float,
    ) -> _Answer:
        """One request. Raises _Failed for what may pass, HarvestError for what will not."""
        began = self._clock()
        status: int | str = "no answer"
        try:
            with self._http.stream(method, url, json=body, auth=auth) as response:
                status = response.status_code
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if self._clock() > deadline:
                        raise httpx.ReadTimeout("too slow")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            status = type(error).__name__
            raise _Failed("Harvest cannot be reached", not_done=True) from None
        except httpx.TimeoutException as error:
            status = type(error).__name__
            raise _Failed("Harvest took too long", perhaps_too_big=True) from None
        except httpx.RequestError as error:
            status = type(error).__name__
            raise _Failed("the connection to Harvest broke", perhaps_too_big=True) from None
        finally:
            logger.info("%s %s %s %.0f ms", method, url.path, status, (self._clock() - began) * 1000)
        return self._judge(response, bytes(content), expect, parse, deletion=method == "DELETE")

    def _judge(
        self,
        response: httpx.Response,
        content: bytes,
        expect: Callable[[Any], bool],
        parse: Callable[[bytes], Any],
        *,
        deletion: bool,
    ) -> _Answer:
        status = response.status_code
        server_date = _http_date(response.headers.get("Date"))
        data: Any = None
        readable = True
        try:
            data = parse(content) if content.strip() else None
        except ValueError:
            readable = False
        if 200 <= status < 300:
            if deletion:
                return _Answer(status, None, server_date)
            if not readable or data is None:
                raise _Failed("Harvest's answer was not readable", status=status, perhaps_too_big=True)
            if not expect(data):
                raise _Failed("Harvest's answer was not of the known shape", status=status, misshapen=True)
            return _Answer(status, data, server_date)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            seconds = _retry_after(response.headers.get("Retry-After"), server_date or self._now())
            raise _Failed(
                "Harvest's rate limit", status=status, not_done=True, rate_limited=True, retry_after=seconds
            )
        if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:
            seconds = _retry_after(response.headers.get("Retry-After"), server_date or self._now())
            raise _Failed(
                f"Harvest answered {status}", status=status, perhaps_too_big=True, retry_after=seconds
            )
        raise _refusal(status, message_in(data, "" if data else content.decode("utf-8", "replace")))

    def _wait_after(self, failed: "_Failed", failures: int) -> float:
        """Seconds: what Harvest asked for, else doubling from the first with up to a tenth more by chance."""
        if failed.retry_after is not None:
            return max(failed.retry_after, 1.0)
        patience = self._patience
        first = patience.first_rate_wait if failed.rate_limited else patience.first_wait
        return min(first * 2 ** (failures - 1), patience.longest_wait) * (1 + self._jitter() / 10)

    def _await_turn(self, deadline: float) -> None:
        turn = self._patience.longest_turn
        if turn is not None:
            deadline = min(deadline, self._clock() + turn)
        while self._throttle and (wait := self._throttle.acquire()) > 0:
            if self._clock() + wait > deadline:
                self._throttle.leave()
                raise HarvestRateLimited(
                    f"Harvest's rate limit is used up for another {wait:.0f} seconds.",
                    retry_after_seconds=wait,
                )
            self._rest(wait, "Harvest's rate limit")

    def _rest(self, seconds: float, reason: str) -> None:
        logger.info("waiting %.1f s: %s", seconds, reason)
        left = seconds
        while left > 0:
            if self._on_wait:
                self._on_wait(left, reason)
            nap = min(left, _LONGEST_NAP)
            self._sleep(nap)
            left -= nap


class _Failed(Exception):
    """An attempt that may fare better later. `not_done`: Harvest surely did nothing, so even a write may."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        not_done: bool = False,
        rate_limited: bool = False,
        perhaps_too_big: bool = False,
        misshapen: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.not_done = not_done
        self.rate_limited = rate_limited
        self.perhaps_too_big = perhaps_too_big
        self.misshapen = misshapen
        self.retry_after = retry_after

    def as_error(self, wait: float) -> HarvestError:
        if self.rate_limited:
            return HarvestRateLimited(
                f"Harvest's rate limit is reached: try again in {wait:.0f} seconds.",
                status=self.status,
                retry_after_seconds=wait,
            )
        if self.misshapen:
            return HarvestContractError(f"{_sentence(self.reason)}.", status=self.status)
        return HarvestUnavailable(
            f"{_sentence(self.reason)}: try again later.",
            status=self.status,
            retry_after_seconds=self.retry_after,
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _refusal(status: int, message: str) -> HarvestError:
    """The error for an answer that no retry changes."""
    if status == HTTPStatus.UNAUTHORIZED:
        return HarvestAuthError(
            "Harvest says that this token is no longer valid: connect again to resume.", status=status
        )
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.PAYMENT_REQUIRED):
        return HarvestForbidden(
            f"Harvest does not let this token's person do that ({message or status}).", status=status
        )
    if status == HTTPStatus.NOT_FOUND:
        return HarvestNotFound("Harvest has nothing by that id, or this token cannot see it.", status=status)
    if 400 <= status < 500:
        words = message or f"Harvest refused this ({status})."
        return HarvestRejected(words, status=status, fields=field_hints(words))
    return HarvestContractError(f"Harvest answered {status}, which is not expected here.", status=status)


class _Caller:
    """What HarvestClient and HarvestIdentity share: a wire that is closed at the end."""

    _wire: _Wire

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The object is of no use afterwards."""
        self._wire.close()


class HarvestClient(_Caller):
    """One Harvest account, seen with one token. For one thread at a time; use it as a context manager.

    base_url: with its version, as "https://api.harvestapp.com/v2".
    refresh: called once for a request that was answered 401; returns a new access token, or raises
    HarvestAuthError. on_wait: told the seconds left and the reason before each nap of at most ten seconds, so
    that a lease can be kept alive; what it raises ends the call. clock: monotonic seconds; now: aware UTC;
    both, sleep and jitter (0 to 1) stand in for time and chance in tests. Raises HarvestAuthError for an
    account id or a token that cannot be one.
    """

    def __init__(
        self,
        *,
        base_url: str,
        account_id: str | int,
        access_token: str,
        user_agent: str = USER_AGENT,
        throttle: Throttle | None = None,
        transport: httpx.BaseTransport | None = None,
        refresh: Callable[[], str] | None = None,
        on_wait: Callable[[float, str], None] | None = None,
        patience: Patience | None = None,
        page_size: int = LARGEST_PAGE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.account_id = str(account_id).strip()
        if not (self.account_id.isascii() and self.account_id.isdigit()):
            raise HarvestAuthError("A Harvest account id is a number: copy it from beside the token.")
        self._auth = _Bearer(access_token)
        self._refresh = refresh
        self._page_size = page_size
        self._wire = _Wire(
            base_url=base_url,
            headers={"Harvest-Account-Id": self.account_id, "User-Agent": user_agent},
            throttle=throttle,
            transport=transport,
            patience=patience,
            on_wait=on_wait,
            clock=clock,
            now=now,
            sleep=sleep,
            jitter=jitter,
        )

    def __repr__(self) -> str:
        return f"<HarvestClient of account {self.account_id} at {self._wire.base_url.host}>"

    # Reading

    def me(self) -> UserPayload:
        """The token's own person: the test of a connection.

        Raises HarvestAuthError when the account id and the token do not fit; Harvest says 401, or perhaps
        404, for both, and does not tell which is wrong.
        """
        try:
            return _read(payloads.read_user, self._get("users/me").data)
        except (HarvestAuthError, HarvestNotFound) as error:
            raise HarvestAuthError(CHECK_CREDENTIALS, status=error.status) from None

    def company(self) -> CompanyPayload | None:
        """The account's settings, or None where this person may not read them."""
        try:
            return _read(payloads.read_company, self._get("company").data)
        except HarvestForbidden:
            return None

    def clients(self, *, is_active: bool | None = None) -> list[ClientPayload]:
        """All clients. Members: HarvestForbidden; `my_project_assignments` tells what they can see."""
        return self._list("clients", "clients", payloads.read_client, is_active=is_active)

    def projects(
        self, *, is_active: bool | None = None, client_id: int | None = None
    ) -> list[ProjectPayload]:
        """All projects, or a client's; for a manager the managed ones. Members: HarvestForbidden."""
        return self._list(
            "projects", "projects", payloads.read_project, is_active=is_active, client_id=client_id
        )

    def tasks(self, *, is_active: bool | None = None) -> list[TaskPayload]:
        """All tasks. Members: HarvestForbidden."""
        return self._list("tasks", "tasks", payloads.read_task, is_active=is_active)

    def users(self, *, is_active: bool | None = None) -> list[UserPayload]:
        """All people; for a manager the assigned teammates. Members: HarvestForbidden."""
        return self._list("users", "users", payloads.read_user, is_active=is_active)

    def task_assignments(
        self, project_id: int | None = None, *, is_active: bool | None = None
    ) -> list[TaskAssignmentPayload]:
        """Which tasks may be used on which projects: of one project, or of all."""
        path = "task_assignments" if project_id is None else f"projects/{project_id:d}/task_assignments"
        return self._list(path, "task_assignments", payloads.read_task_assignment, is_active=is_active)

    def user_assignments(
        self, project_id: int, *, user_id: int | None = None, is_active: bool | None = None
    ) -> list[UserAssignmentPayload]:
        """Who may track time on a project."""
        return self._list(
            f"projects/{project_id:d}/user_assignments",
            "user_assignments",
            payloads.read_user_assignment,
            user_id=user_id,
            is_active=is_active,
        )

    def my_project_assignments(self) -> list[ProjectAssignmentPayload]:
        """The active projects of the token's person with their clients and tasks: open to every role."""
        return self._list(
            "users/me/project_assignments", "project_assignments", payloads.read_project_assignment
        )

    def time_entry_pages(
        self,
        *,
        from_date: date | None = None,
        to_date: date | None = None,
        updated_since: datetime | None = None,
        user_id: int | None = None,
        client_id: int | None = None,
        project_id: int | None = None,
        is_running: bool | None = None,
    ) -> Iterator[EntryPage]:
        """Yield the time entries that this token sees, page by page, newest spent date first.

        from_date, to_date: of spent_date, both inclusive. updated_since: aware; whole seconds of it are used,
        so overlap and expect entries seen before. A row may come twice; an unreadable one is in `bad`, and
        stops nothing. The last page says whether the walk was complete. With updated_since alone an entry not
        listed is unchanged, never gone. Raises HarvestAuthError, HarvestForbidden, HarvestRateLimited,
        HarvestUnavailable, HarvestContractError. Source: Harvest API v2, "List all time entries".
        """
        return self._entry_pages(
            {
                "from": from_date,
                "to": to_date,
                "updated_since": updated_since,
                "user_id": user_id,
                "client_id": client_id,
                "project_id": project_id,
                "is_running": is_running,
            }
        )

    def time_entry_ids(self, *, from_date: date, to_date: date) -> Iterator[IdPage]:
        """Yield the ids of the time entries of these days, page by page, and decode nothing else of them.

        Raises as time_entry_pages; a row without an id makes its page unreadable.
        """
        filters = {"from": from_date, "to": to_date}
        for page in self._walk("time_entries", "time_entries", filters, parse=parse_ids):
            yield IdPage(page.rows, page.total_entries or 0)

    def find_by_external_reference(self, reference_id: str) -> list[TimeEntryPayload]:
        """The entries whose external reference has this id: the look before a create is repeated.

        Harvest promises no uniqueness, and looks at neither group nor host: check the permalink. An
        unreadable entry among them is a HarvestContractError, as leaving it out could make a second one.
        """
        entries: dict[int, TimeEntryPayload] = {}
        for page in self._entry_pages({"external_reference_id": reference_id}):
            if page.bad:
                raise HarvestContractError(f"Harvest sent an unreadable entry: {page.bad[0].reason}.")
            entries |= {entry.id: entry for entry in page.entries}
        return list(entries.values())

    def time_entry(self, entry_id: int) -> TimeEntryPayload:
        """One entry. Raises HarvestNotFound: it was deleted, or this token no longer sees it."""
        return _read(payloads.read_time_entry, self._get(f"time_entries/{entry_id:d}").data)

    # Writing

    def create_time_entry(
        self,
        *,
        project_id: int,
        task_id: int,
        spent_date: date,
        hours: Decimal | None = None,
        started_time: str | None = None,
        ended_time: str | None = None,
        user_id: int | None = None,
        notes: str = "",
        external_reference: ExternalReference | None = None,
    ) -> TimeEntryPayload:
        """Make a stopped entry and return it as Harvest keeps it.

        Give hours (duration accounts; hundredths) or started_time and ended_time (the account's clock style):
        without them Harvest would start a timer, so that is a ValueError here. An account of the other kind
        may ignore what it does not use and run a timer all the same: look at `is_running` of what comes back.
        Raises HarvestRejected, HarvestForbidden or HarvestNotFound when the target cannot be written to (no
        assignment, archived, locked: Harvest uses all three), and HarvestAnswerLost: then look for the
        external reference first.
        """
        if (hours is None) == (started_time is None) or (started_time is None) != (ended_time is None):
            raise ValueError("give either hours, or started_time and ended_time")
        body = _given(
            project_id=project_id,
            task_id=task_id,
            spent_date=spent_date.isoformat(),
            hours=hours,
            started_time=started_time,
            ended_time=ended_time,
            user_id=user_id,
            notes=notes or None,
            external_reference=external_reference,
        )
        return self._write("POST", "time_entries", body, payloads.read_time_entry)

    def update_time_entry(
        self,
        entry_id: int,
        *,
        project_id: int | None = None,
        task_id: int | None = None,
        spent_date: date | None = None,
        hours: Decimal | None = None,
        started_time: str | None = None,
        ended_time: str | None = None,
        notes: str | None = None,
        external_reference: ExternalReference | None = None,
    ) -> TimeEntryPayload:
        """Change the fields given and no other (sending hours beside notes harms start/end entries); notes=""
        clears.

        Harvest cannot change the person, and has no optimistic locking. Raises HarvestNotFound: deleted in
        Harvest.
        """
        body = _given(
            project_id=project_id,
            task_id=task_id,
            spent_date=spent_date.isoformat() if spent_date else None,
            hours=hours,
            started_time=started_time,
            ended_time=ended_time,
            notes=notes,
            external_reference=external_reference,
        )
        if not body:
            raise ValueError("nothing to change")
        return self._write("PATCH", f"time_entries/{entry_id:d}", body, payloads.read_time_entry)

    def delete_time_entry(self, entry_id: int) -> None:
        """Delete an entry. Raises HarvestNotFound: it is gone already."""
        self._send("DELETE", self._wire.url(f"time_entries/{entry_id:d}"))

    def stop_timer(self, entry_id: int) -> TimeEntryPayload:
        """Stop a running timer. One that is stopped already is a HarvestRejected."""
        return self._write("PATCH", f"time_entries/{entry_id:d}/stop", {}, payloads.read_time_entry)

    def create_project(
        self,
        *,
        client_id: int,
        name: str,
        code: str = "",
        is_billable: bool = True,
        bill_by: str = "none",
        budget_by: str = "none",
    ) -> ProjectPayload:
        """Make a project under a client. A name in use is a HarvestRejected ("… already been taken")."""
        body = _given(
            client_id=client_id,
            name=name,
            code=code or None,
            is_billable=is_billable,
            bill_by=bill_by,
            budget_by=budget_by,
        )
        return self._write("POST", "projects", body, payloads.read_project)

    def create_task_assignment(
        self, *, project_id: int, task_id: int, billable: bool | None = None
    ) -> TaskAssignmentPayload:
        """Let a task be used on a project. Give `billable`: sources differ on what Harvest assumes."""
        return self._write(
            "POST",
            f"projects/{project_id:d}/task_assignments",
            _given(task_id=task_id, billable=billable),
            payloads.read_task_assignment,
        )

    def create_user_assignment(self, *, project_id: int, user_id: int) -> UserAssignmentPayload:
        """Let a person track time on a project."""
        return self._write(
            "POST",
            f"projects/{project_id:d}/user_assignments",
            {"user_id": user_id},
            payloads.read_user_assignment,
        )

    def activate_assignment(self, kind: str, *, project_id: int, assignment_id: int) -> None:
        """Take an archived assignment of a project back into use. kind: "task_assignments" or "user_assignments"."""
        path = f"projects/{project_id:d}/{kind}/{assignment_id:d}"
        self._send("PATCH", self._wire.url(path), body={"is_active": True})

    # How

    def _get(self, path: str) -> _Answer:
        return self._send("GET", self._wire.url(path))

    def _write(self, method: str, path: str, body: JSON, reader: Callable[[Any], T]) -> T:
        answer = self._send(method, self._wire.url(path), body=body)
        try:
            return reader(answer.data)
        except payloads.Unreadable as error:
            raise HarvestAnswerLost(
                f"Harvest made the change, but its answer cannot be read: {error}.", status=answer.status
            ) from None

    def _send(
        self,
        method: str,
        url: httpx.URL,
        *,
        body: JSON | None = None,
        expect: Callable[[Any], bool] = lambda data: isinstance(data, dict),
        smaller: Callable[[httpx.URL], httpx.URL | None] | None = None,
        parse: Callable[[bytes], Any] = payloads.parse_json,
    ) -> _Answer:
        def send() -> _Answer:
            return self._wire.send(
                method, url, self._auth, body=body, expect=expect, smaller=smaller, parse=parse
            )

        try:
            return send()
        except HarvestAuthError:
            if not self._refresh:
                raise
        self._auth = _Bearer(self._refresh())
        return send()

    def _entry_pages(self, filters: Mapping[str, object]) -> Iterator[EntryPage]:
        seen: set[int | str] = set()
        most = 0
        for page in self._walk("time_entries", "time_entries", filters, parse=parse_entries):
            entries, bad = payloads.read_entries(page.rows)
            seen.update(entry.id for entry in entries)
            # One without an id cannot be known again: it counts as itself.
            seen.update(each.remote_id or f"?{page.number}.{index}" for index, each in enumerate(bad))
            # The largest total counts: when an entry read before is deleted meanwhile, the rows after it move
            # up, one of them over a page border, unread, and the last total looks right.
            most = max(most, page.total_entries or 0)
            yield EntryPage(
                entries=entries,
                bad=bad,
                number=page.number,
                total_entries=page.total_entries,
                total_pages=page.total_pages,
                server_date=page.server_date,
                is_last=page.is_last,
                shortfall=max(0, most - len(seen)) if page.is_last else 0,
            )

    def _list(self, path: str, key: str, reader: Callable[[Any], T], **filters: object) -> list[T]:
        """All rows of a catalogue, once each; read again while it changes under the reading, then raise."""
        for _ in range(_LIST_READINGS):
            rows: dict[object, T] = {}
            most = 0
            for page in self._walk(path, key, filters):
                for row in page.rows:
                    payload = _read(reader, row)
                    rows[row["id"]] = payload
                most = max(most, page.total_entries or 0)
            if len(rows) >= most:
                return list(rows.values())
            logger.warning("%s: read %d of %d rows, reading again", path, len(rows), most)
        raise HarvestUnavailable(f"Harvest's {key.replace('_', ' ')} kept changing: try again later.")

    def _walk(
        self,
        path: str,
        key: str,
        filters: Mapping[str, object],
        parse: Callable[[bytes], Any] = payloads.parse_json,
    ) -> Iterator[_Page]:
        """Every page of a listing in either of Harvest's styles, by `links.next` alone.

        Cursor listings have null page numbers in the middle, so a walk by `next_page` would end there in
        silence.
        """
        query = {name: _query_value(value) for name, value in filters.items() if value is not None}

        def has_rows(data: Any) -> bool:
            return isinstance(data, dict) and isinstance(data.get(key), list)

        def first_page() -> _Answer:
            url = self._wire.url(path, {**query, "per_page": self._page_size})
            return self._send("GET", url, expect=has_rows, smaller=_halved, parse=parse)

        try:
            answer = first_page()
        except HarvestRejected as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or self._page_size <= SMALLEST_PAGE:
                raise
            self._page_size, refused = SMALLEST_PAGE, self._page_size
            try:
                answer = first_page()
            except HarvestRejected:
                self._page_size = refused  # it was not about the page's size
                raise
        visited: set[str] = set()
        number = 1
        while True:
            data = answer.data
            total_pages = _count(data.get("total_pages"))
            link = _next_link(data)
            yield _Page(
                rows=data[key],
                number=number,
                total_entries=_count(data.get("total_entries")),
                total_pages=total_pages,
                server_date=answer.server_date,
                is_last=link is None,
            )
            if link is None:
                return
            # Pages may be added meanwhile, hence some grace; a server that always knows a next one is
            # stopped.
            limit = _MOST_PAGES_WITHOUT_TOTAL if total_pages is None else total_pages + 20
            if link in visited or number >= limit:
                raise HarvestContractError(f"Harvest's pages of {key.replace('_', ' ')} do not end.")
            visited.add(link)
            number += 1
            answer = self._send(
                "GET", self._wire.own_link(link), expect=has_rows, smaller=_halved, parse=parse
            )


class HarvestIdentity(_Caller):
    """Harvest ID, the identity host. base_url: as "https://id.getharvest.com"."""

    def __init__(
        self,
        base_url: str,
        *,
        user_agent: str = USER_AGENT,
        transport: httpx.BaseTransport | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._wire = _Wire(
            base_url=base_url,
            headers={"User-Agent": user_agent},
            transport=transport,
            patience=patience,
            clock=clock,
            now=now,
            sleep=sleep,
            jitter=jitter,
        )

    def __repr__(self) -> str:
        return f"<HarvestIdentity at {self._wire.base_url.host}>"

    def accounts(self, access_token: str) -> list[AccountPayload]:
        """The Harvest accounts that a token reaches (Forecast's left out); there may be none.

        Raises HarvestAuthError when Harvest does not know the token.
        """
        answer = self._wire.send(
            "GET",
            self._wire.url("api/v2/accounts"),
            _Bearer(access_token),
            expect=lambda data: isinstance(data, dict) and isinstance(data.get("accounts"), list),
        )
        accounts = (_read(payloads.read_account, row) for row in answer.data["accounts"])
        return [account for account in accounts if account.product == "harvest"]


def _read(reader: Callable[[Any], T], data: Any) -> T:
    try:
        return reader(data)
    except payloads.Unreadable as error:
        raise HarvestContractError(f"Harvest sent something that cannot be read: {error}.") from None


def _given(**fields: object) -> JSON:
    """A request's body: what is not None, in Harvest's forms."""
    return {name: _body_value(value) for name, value in fields.items() if value is not None}


def _body_value(value: object) -> object:
    match value:
        case Decimal():
            if value != round(value, 2):
                raise ValueError(f"Harvest keeps hundredths of an hour, not {value}")
            return float(value)  # exact on the wire: its shortest form is the two decimals
        case ExternalReference():
            reference = {
                "id": value.id,
                "group_id": value.group_id,
                "account_id": value.account_id,
                "permalink": value.permalink,
            }
            return {name: text for name, text in reference.items() if text}
        case _:
            return value


def _query_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            if value.tzinfo is None:
                raise ValueError("updated_since must be aware")
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _halved(url: httpx.URL) -> httpx.URL | None:
    """The same place in a listing with half as many rows a page, or None when that is not possible.

    Page p of n rows begins where page 2p - 1 of n/2 rows does, so nothing is skipped or read twice; a cursor
    stands for its place by itself.
    """
    size = _count(url.params.get("per_page"))
    if size is None or size % 2 or size // 2 < SMALLEST_PAGE:
        return None
    smaller = url.copy_set_param("per_page", size // 2)
    page = _count(url.params.get("page"))
    if page is not None and "cursor" not in url.params:
        smaller = smaller.copy_set_param("page", 2 * page - 1)
    return smaller


def _next_link(data: JSON) -> str | None:
    links = data.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    if link is None or isinstance(link, str):
        if link is None and not isinstance(links, dict) and data.get("next_page"):
            raise HarvestContractError("Harvest names a next page without a link to it.")
        return link or None
    raise HarvestContractError("Harvest's link to the next page is no text.")


def _count(value: object) -> int | None:
    """A whole number, or None; Harvest may send numbers as strings."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _http_date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header in either of its forms; None where it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    moment = _http_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())
