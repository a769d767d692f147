"""The Harvest client: over scripted answers, over raw sockets for what HTTP libraries cannot fake, over the sandbox."""

import json
import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx

from harvest import errors
from harvest.client import EntryPage, HarvestClient, HarvestIdentity, Patience
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
)
from harvest.payloads import AccountPayload, ExternalReference
from harvest.sandbox import ADMIN_TOKEN, MAIN_ACCOUNT_ID, FaultKind, Sandbox, SandboxServer

API = "https://api.harvestapp.com/v2"
TOKEN = "1234567.pt.very-secret"
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ME = {"id": 71, "first_name": "Ines", "last_name": "Okoro", "email": "ines@studio.example"}


class Clock:
    """Time that passes only when slept."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds


class Script:
    """A Harvest that answers by a list, its last answer for ever, and keeps the requests."""

    def __init__(
        self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
    ) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)


def reply(status: int = 200, body: object = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return httpx.Response(
        status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


OK = reply(200, ME)
DOWN = reply(503, b"<html><head><title>x</title></head><body>Down for maintenance</body></html>")


@contextmanager
def talking_to(
    script: Callable[[httpx.Request], httpx.Response], clock: Clock | None = None, **options: Any
) -> Iterator[HarvestClient]:
    clock = clock or Clock()
    options = {"base_url": API, "account_id": 880123, "access_token": TOKEN, "jitter": lambda: 0.0} | options
    options |= {"clock": clock.monotonic, "now": clock.now, "sleep": clock.sleep}
    with HarvestClient(transport=httpx.MockTransport(script), **options) as client:
        yield client


def row(entry_id: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": entry_id,
        "spent_date": "2026-06-01",
        "hours": 1.5,
        "notes": f"note {entry_id}",
        "user": {"id": 71, "name": "Ines Okoro"},
        "client": {"id": 11, "name": "Acme"},
        "project": {"id": 21, "name": "Website", "code": "ACME-1"},
        "task": {"id": 31, "name": "Design"},
        "billable": True,
        "updated_at": "2026-06-01T09:00:00Z",
    } | changes


def page(
    rows: list[Any], *, total: int | None = None, pages: int = 1, following: str | None = None
) -> dict[str, Any]:
    return {
        "time_entries": rows,
        "total_entries": len(rows) if total is None else total,
        "total_pages": pages,
        "links": {"next": following},
    }


# What is sent


def test_every_call_carries_what_harvest_asks_for() -> None:
    script = Script(OK)
    with talking_to(script, user_agent="Timebridge (ops@studio.example)") as client:
        client.me()
        client.company()
    for request, path in zip(script.requests, ["/v2/users/me", "/v2/company"], strict=True):
        assert request.url.path == path
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.headers["Harvest-Account-Id"] == "880123"
        assert request.headers["User-Agent"] == "Timebridge (ops@studio.example)"
        assert request.headers["Accept"] == "application/json"


def test_filters_of_time_entries_are_in_harvests_forms() -> None:
    script = Script(reply(200, page([])))
    summer = timezone(timedelta(hours=2))
    with talking_to(script) as client:
        list(
            client.time_entry_pages(
                from_date=date(2026, 6, 1),
                to_date=date(2026, 6, 12),
                updated_since=datetime(2026, 6, 1, 11, 30, 0, 999, tzinfo=summer),
                user_id=71,
                is_running=False,
            )
        )
    assert dict(script.requests[0].url.params) == {
        "from": "2026-06-01",
        "to": "2026-06-12",
        "updated_since": "2026-06-01T09:30:00Z",
        "user_id": "71",
        "is_running": "false",
        "per_page": "2000",
    }


def test_a_naive_instant_is_refused() -> None:
    with talking_to(Script(OK)) as client, pytest.raises(ValueError, match="aware"):
        list(client.time_entry_pages(updated_since=datetime(2026, 6, 1)))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("token", ["", "  ", "two words", "n\u00f6n-ascii", "line\nbreak"])
def test_what_cannot_be_a_token_is_told_at_once(token: str) -> None:
    with pytest.raises(HarvestAuthError, match="not a Harvest access token"):
        HarvestClient(base_url=API, account_id=1, access_token=token)


@pytest.mark.parametrize("account_id", ["", "abc", "12 3", "-5", "\u0661\u0662"])
def test_what_cannot_be_an_account_id_is_told_at_once(account_id: str) -> None:
    with pytest.raises(HarvestAuthError, match="account id is a number"):
        HarvestClient(base_url=API, account_id=account_id, access_token=TOKEN)


# Secrets


def test_the_token_is_in_no_repr_error_traceback_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "harvest.client")
    secret_note = "the client is about to be sold"
    script = Script(reply(500, {"message": "x"}), reply(401, {"error": "invalid_token"}))
    with talking_to(script) as client:
        assert TOKEN not in repr(client)
        assert "880123" in repr(client)
        with pytest.raises(HarvestError) as caught:
            client.find_by_external_reference("tb-secret-reference")
        error = caught.value
        with pytest.raises(HarvestError):
            client.update_time_entry(7, notes=secret_note)
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    told = "".join(frames.format()) + repr(error) + str(vars(error)) + caplog.text
    assert error.__cause__ is None
    assert "very-secret" not in told
    assert secret_note not in caplog.text
    assert "tb-secret-reference" not in caplog.text
    assert "GET /v2/time_entries 500" in caplog.text
    assert "PATCH /v2/time_entries/7 401" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        HarvestAuthError("a", status=401),
        HarvestForbidden("b", status=403),
        HarvestNotFound("c", status=404),
        HarvestRejected("d", status=422, fields={"hours": "Hours can't be blank"}),
        HarvestRateLimited("e", status=429, retry_after_seconds=7.0),
        HarvestUnavailable("f", status=503),
        HarvestAnswerLost("g"),
        HarvestContractError("h", status=200),
    ],
)
def test_errors_survive_pickling(error: HarvestError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


# Refusals


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_account_id_or_token_says_what_to_check(status: int) -> None:
    with (
        talking_to(Script(reply(status, {"status": status, "error": "x"}))) as client,
        pytest.raises(HarvestAuthError, match="check the account id and the token"),
    ):
        client.me()


def test_members_may_not_read_the_company() -> None:
    with talking_to(Script(reply(403, {"message": "Not authorized!"}))) as client:
        assert client.company() is None
        with pytest.raises(HarvestForbidden, match="Not authorized!"):
            client.projects()


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (reply(400, b""), HarvestRejected, "Harvest refused this (400)."),
        (reply(402, {"message": "Trial ended"}), HarvestForbidden, None),
        (reply(404, b"<html><title>HARVEST: Can't find page</title></html>"), HarvestNotFound, None),
        (reply(422, {"message": "Hours is not a number"}), HarvestRejected, "Hours is not a number"),
        (
            reply(
                422,
                {"message": "You cannot track time to <strong>[A] Site</strong>, it&#39;s <b>approved</b>"},
            ),
            HarvestRejected,
            "You cannot track time to [A] Site, it's approved",
        ),
        (reply(302, b"", Location="https://elsewhere.example/"), HarvestContractError, None),
        (reply(304, b""), HarvestContractError, None),
    ],
)
def test_what_no_retry_changes_is_asked_once(
    answer: httpx.Response, kind: type[HarvestError], message: str | None
) -> None:
    script = Script(answer)
    with talking_to(script) as client, pytest.raises(kind) as caught:
        client.time_entry(7)
    assert type(caught.value) is kind
    assert caught.value.status == answer.status_code
    assert message is None or caught.value.message == message
    assert len(script.requests) == 1


def test_a_rejection_says_which_fields() -> None:
    message = "Project can't be blank, Task can't be blank, Spent date can't be blank, Spent date is not a valid date"
    with (
        talking_to(Script(reply(422, {"message": message}))) as client,
        pytest.raises(HarvestRejected) as caught,
    ):
        client.create_time_entry(project_id=1, task_id=2, spent_date=date(2026, 6, 1), hours=Decimal(1))
    assert caught.value.message == message
    assert caught.value.fields == {
        "project_id": "Project can't be blank",
        "task_id": "Task can't be blank",
        "spent_date": "Spent date can't be blank, Spent date is not a valid date",
    }


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a < b & c > d", "a < b & c > d"),
        ("<p>One</p>\n\n<p>two</p>", "One two"),
        ("<script>alert(1)</script>Hours &amp; minutes", "Hours & minutes"),
        ("x" * 600, "x" * 499 + "…"),
        ("", ""),
    ],
)
def test_plain_text(text: str, plain: str) -> None:
    assert errors.plain_text(text) == plain


# 401 and refreshing


def test_an_expired_token_is_refreshed_once_and_the_request_repeated() -> None:
    script = Script(reply(401), OK)
    asked: list[None] = []
    with talking_to(script, refresh=lambda: asked.append(None) or "fresh") as client:
        assert client.me().id == 71
        client.me()
    assert [request.headers["Authorization"] for request in script.requests] == [
        f"Bearer {TOKEN}",
        "Bearer fresh",
        "Bearer fresh",
    ]
    assert len(asked) == 1


def test_a_fresh_token_that_is_refused_too_is_an_auth_error() -> None:
    script = Script(reply(401))
    with talking_to(script, refresh=lambda: "fresh") as client, pytest.raises(HarvestAuthError):
        client.projects()
    assert len(script.requests) == 2


def test_a_write_is_repeated_after_a_refresh() -> None:
    script = Script(reply(401), reply(201, row(9)))
    with talking_to(script, refresh=lambda: "fresh") as client:
        made = client.create_time_entry(
            project_id=1, task_id=2, spent_date=date(2026, 6, 1), hours=Decimal("1.50")
        )
    assert made.id == 9


# 429


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": " 12 "}, 12.0),
        ({"Retry_After": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9.0),
        # Harvest's own clock counts, where it differs from ours
        (
            {
                "Retry_After": format_datetime(NOW + timedelta(seconds=69), usegmt=True),
                "Date": format_datetime(NOW + timedelta(seconds=60), usegmt=True),
            },
            9.0,
        ),
        ({"Retry_After": "0"}, 1.0),
        ({"Retry_After": format_datetime(NOW - timedelta(hours=1), usegmt=True)}, 1.0),
        ({}, 15.0),
        ({"Retry_After": "soon"}, 15.0),
        ({"Retry_After": "-5"}, 15.0),
    ],
)
def test_a_429_is_obeyed_to_the_second(headers: dict[str, str], seconds: float) -> None:
    clock = Clock()
    with talking_to(Script(reply(429, b"", **headers), OK), clock) as client:
        assert client.me().id == 71
    assert clock.seconds == seconds


def test_a_429_without_retry_after_backs_off_from_fifteen_seconds() -> None:
    clock = Clock()
    bare = reply(429, b"", Content_Type="text/html")
    with talking_to(Script(bare, bare, bare, OK), clock, jitter=lambda: 1.0) as client:
        client.me()
    assert clock.seconds == pytest.approx((15 + 30 + 60) * 1.1)


def test_a_429_longer_than_the_patience_goes_back_to_the_caller() -> None:
    clock = Clock()
    with (
        talking_to(Script(reply(429, b"", Retry_After="3600")), clock) as client,
        pytest.raises(HarvestRateLimited, match="3600 seconds") as caught,
    ):
        client.me()
    assert caught.value.retry_after_seconds == 3600
    assert clock.naps == []


def test_a_429_for_ever_ends() -> None:
    clock, script = Clock(), Script(reply(429, b"", Retry_After="3"))
    with talking_to(script, clock) as client, pytest.raises(HarvestRateLimited) as caught:
        client.me()
    assert caught.value.retry_after_seconds == 3
    assert (len(script.requests), clock.seconds) == (6, 15)


def test_a_throttled_write_was_not_done_and_is_repeated() -> None:
    script = Script(reply(429, b"", Retry_After="2"), reply(201, row(9)))
    with talking_to(script) as client:
        made = client.create_time_entry(
            project_id=1, task_id=2, spent_date=date(2026, 6, 1), hours=Decimal(1)
        )
    assert made.id == 9
    assert len(script.requests) == 2


def test_long_waits_let_the_caller_be_heard_from() -> None:
    clock = Clock()
    heard: list[tuple[float, str]] = []
    answers = Script(reply(429, b"", Retry_After="25"), OK)
    with talking_to(answers, clock, on_wait=lambda seconds, why: heard.append((seconds, why))) as client:
        client.me()
    assert clock.naps == [10, 10, 5]
    assert heard == [(25, "Harvest's rate limit"), (15, "Harvest's rate limit"), (5, "Harvest's rate limit")]


def test_the_caller_can_end_a_wait() -> None:
    def lost(seconds: float, why: str) -> None:
        raise RuntimeError("the lease is lost")

    with talking_to(Script(DOWN), on_wait=lost) as client, pytest.raises(RuntimeError, match="lease"):
        client.me()


class SharedLimit:
    """A throttle that says how long to wait, by a list; then nothing stands in the way."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.asked = self.left = 0
        self.held: list[float] = []

    def acquire(self) -> float:
        self.asked += 1
        return self.waits.pop(0) if self.waits else 0.0

    def leave(self) -> None:
        self.left += 1

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)


def test_the_shared_limit_is_asked_before_every_request_and_told_of_a_429() -> None:
    clock, limit = Clock(), SharedLimit(4.0, 2.0)
    script = Script(reply(429, b"", Retry_After="7"), DOWN, OK)
    with talking_to(script, clock, throttle=limit) as client:
        client.me()
    assert limit.asked == 5  # twice "wait", then once for each request
    assert (limit.held, limit.left) == ([7.0], 0)
    assert clock.seconds == 4 + 2 + 7 + 2


def test_a_shared_limit_beyond_the_patience_goes_back_to_the_caller() -> None:
    script, limit = Script(OK), SharedLimit(500.0)
    with (
        talking_to(script, throttle=limit) as client,
        pytest.raises(HarvestRateLimited) as caught,
    ):
        client.me()
    assert caught.value.retry_after_seconds == 500
    assert limit.left == 1  # it does not keep others waiting behind it
    assert script.requests == []


# Broken answers to reads


BROKEN = [
    DOWN,
    reply(500, {"message": "oops"}),
    reply(502, b""),
    reply(408, b""),
    reply(200, b"<html><body>Sign in</body></html>"),
    reply(200, b'{"id": 71, "first_na'),
    reply(200, b""),
    reply(200, b"null"),
    reply(200, [ME]),
    reply(200, b"\xff\xfe"),
    httpx.ReadTimeout("x"),
    httpx.WriteTimeout("x"),
    httpx.ConnectTimeout("x"),
    httpx.PoolTimeout("x"),
    httpx.ConnectError("x"),
    httpx.ReadError("x"),
    httpx.WriteError("x"),
    httpx.CloseError("x"),
    httpx.RemoteProtocolError("x"),
    httpx.LocalProtocolError("x"),
    httpx.ProxyError("x"),
    httpx.DecodingError("x"),
]


def name(answer: httpx.Response | Exception) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else f"{answer.status_code}"


@pytest.mark.parametrize("answer", BROKEN, ids=name)
def test_a_read_is_repeated_after_a_broken_answer(answer: httpx.Response | Exception) -> None:
    clock, script = Clock(), Script(answer, answer, OK)
    with talking_to(script, clock) as client:
        assert client.me().email == "ines@studio.example"
    assert len(script.requests) == 3
    assert clock.seconds == 1 + 2


@pytest.mark.parametrize("answer", BROKEN, ids=name)
def test_a_read_that_stays_broken_ends_in_a_sentence(answer: httpx.Response | Exception) -> None:
    clock, script = Clock(), Script(answer)
    with (
        talking_to(script, clock) as client,
        pytest.raises((HarvestUnavailable, HarvestContractError)) as caught,
    ):
        client.time_entry(7)
    misshapen = isinstance(answer, httpx.Response) and answer.content == reply(200, [ME]).content
    assert type(caught.value) is (HarvestContractError if misshapen else HarvestUnavailable)
    assert caught.value.message.endswith(".")
    assert (len(script.requests), clock.seconds) == (6, 1 + 2 + 4 + 8 + 16)


@pytest.mark.parametrize("body", [{}, {"clients": None}, {"clients": {}}, {"projects": []}, {"clients": "x"}])
def test_a_list_without_its_rows_is_no_empty_list(body: object) -> None:
    with talking_to(Script(reply(200, body))) as client, pytest.raises(HarvestContractError):
        client.clients()


def test_the_time_of_a_call_is_bounded() -> None:
    clock = Clock()

    def slow(request: httpx.Request) -> httpx.Response:
        clock.seconds += 50
        raise httpx.ReadTimeout("x")

    script = Script(slow)
    with (
        talking_to(script, clock, patience=Patience(attempts=100, total=120)) as client,
        pytest.raises(HarvestUnavailable, match="took too long"),
    ):
        client.me()
    assert len(script.requests) == 3
    assert clock.seconds < 200


# Writes whose answer is lost


def write(client: HarvestClient) -> object:
    return client.create_time_entry(
        project_id=1, task_id=2, spent_date=date(2026, 6, 1), hours=Decimal("2.11")
    )


WRITES: list[Callable[[HarvestClient], object]] = [
    write,
    lambda client: client.update_time_entry(7, notes="x"),
    lambda client: client.create_project(client_id=11, name="General"),
    lambda client: client.create_task_assignment(project_id=21, task_id=31, billable=True),
    lambda client: client.create_user_assignment(project_id=21, user_id=71),
]
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("answer", [a for a in BROKEN if not isinstance(a, NOT_SENT)], ids=name)
def test_a_write_is_never_repeated_blindly(
    call: Callable[[HarvestClient], object], answer: httpx.Response | Exception
) -> None:
    script = Script(answer)
    with talking_to(script) as client, pytest.raises(HarvestAnswerLost, match="may have been made, or not"):
        call(client)
    assert len(script.requests) == 1


def test_a_deletion_whose_answer_is_lost_is_not_repeated_either() -> None:
    script = Script(httpx.ReadTimeout("x"))
    with talking_to(script) as client, pytest.raises(HarvestAnswerLost):
        client.delete_time_entry(7)
    assert len(script.requests) == 1


@pytest.mark.parametrize("error", NOT_SENT)
def test_a_write_that_never_left_is_repeated(error: type[httpx.RequestError]) -> None:
    script = Script(error("x"), reply(201, row(9)))
    with talking_to(script) as client:
        write(client)
    assert len(script.requests) == 2
    with talking_to(Script(error("x"))) as client, pytest.raises(HarvestUnavailable):
        write(client)


def test_a_write_that_answers_an_unknown_entry_was_done() -> None:
    with (
        talking_to(Script(reply(201, {"id": 9}))) as client,
        pytest.raises(HarvestAnswerLost, match="made the change"),
    ):
        write(client)


# Writes


def test_an_entry_is_created_stopped_with_what_was_given() -> None:
    script = Script(reply(201, row(9, hours=2.11)))
    reference = ExternalReference("tb-9f21", "acme", permalink="https://timebridge.example/logs/9f21")
    with talking_to(script) as client:
        made = client.create_time_entry(
            project_id=21,
            task_id=31,
            spent_date=date(2026, 6, 1),
            hours=Decimal("2.11"),
            user_id=71,
            notes="ACME-12",
            external_reference=reference,
        )
    assert made.hours == Decimal("2.11")
    assert script.requests[0].method == "POST"
    assert json.loads(script.requests[0].content, parse_float=Decimal) == {
        "project_id": 21,
        "task_id": 31,
        "spent_date": "2026-06-01",
        "hours": Decimal("2.11"),
        "user_id": 71,
        "notes": "ACME-12",
        "external_reference": {
            "id": "tb-9f21",
            "group_id": "acme",
            "permalink": "https://timebridge.example/logs/9f21",
        },
    }


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"started_time": "9:00am"},
        {"ended_time": "9:00am"},
        {"hours": Decimal(1), "started_time": "9:00am", "ended_time": "10:00am"},
        {"hours": Decimal("0.005")},
    ],
)
def test_what_would_start_a_timer_or_lose_time_is_not_sent(given: dict[str, Any]) -> None:
    script = Script(reply(201, row(9)))
    with talking_to(script) as client, pytest.raises(ValueError):
        client.create_time_entry(project_id=1, task_id=2, spent_date=date(2026, 6, 1), **given)
    assert script.requests == []


def test_an_update_sends_what_changed_and_nothing_else() -> None:
    script = Script(reply(200, row(9)))
    with talking_to(script) as client:
        client.update_time_entry(9, notes="")
        client.update_time_entry(9, hours=Decimal("0.10"), spent_date=date(2026, 6, 2))
        with pytest.raises(ValueError, match="nothing to change"):
            client.update_time_entry(9)
    assert [json.loads(request.content) for request in script.requests] == [
        {"notes": ""},
        {"hours": 0.1, "spent_date": "2026-06-02"},
    ]


@pytest.mark.parametrize("answer", [reply(200, row(9)), reply(200, b""), reply(204, b""), reply(200, b" \n")])
def test_a_deletion_may_answer_with_the_entry_or_with_nothing(answer: httpx.Response) -> None:
    script = Script(answer)
    with talking_to(script) as client:
        client.delete_time_entry(9)
    assert (script.requests[0].method, script.requests[0].url.path) == ("DELETE", "/v2/time_entries/9")


def test_a_deletion_of_what_is_gone_says_so() -> None:
    with (
        talking_to(Script(reply(404, {"status": 404, "error": "Not Found"}))) as client,
        pytest.raises(HarvestNotFound),
    ):
        client.delete_time_entry(9)


# Listings


def test_pages_are_followed_by_their_links_alone() -> None:
    script = Script(
        reply(
            200,
            page([row(3), row(2)], total=3, pages=2, following=f"{API}/time_entries?cursor=abc&per_page=2"),
            Date="Mon, 15 Jun 2026 12:00:00 GMT",
        ),
        reply(200, page([row(1)], total=3, pages=2)),
    )
    with talking_to(script) as client:
        pages = list(client.time_entry_pages())
    assert [[entry.id for entry in each.entries] for each in pages] == [[3, 2], [1]]
    assert [each.number for each in pages] == [1, 2]
    assert [each.is_last for each in pages] == [False, True]
    assert [each.complete for each in pages] == [False, True]
    assert pages[0].server_date == NOW
    assert pages[1].server_date is None
    assert str(script.requests[1].url) == f"{API}/time_entries?cursor=abc&per_page=2"


def test_a_relative_link_is_followed_on_the_same_host() -> None:
    script = Script(
        reply(200, page([row(2)], total=2, pages=2, following="/v2/time_entries?page=2")),
        reply(200, page([row(1)], total=2, pages=2)),
    )
    with talking_to(script) as client:
        assert len(list(client.time_entry_pages())) == 2


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v2/time_entries?page=2",
        "http://api.harvestapp.com/v2/time_entries?page=2",
        "https://api.harvestapp.com:8443/v2/time_entries?page=2",
        "https://api.harvestapp.com@evil.example/v2/time_entries?page=2",
        "https://user:pass@api.harvestapp.com/v2/time_entries?page=2",
        "https://api.harvestapp.com.evil.example/v2/time_entries?page=2",
        "//evil.example/v2/time_entries?page=2",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(link: str) -> None:
    script = Script(reply(200, page([row(2)], total=2, pages=2, following=link)))
    with talking_to(script) as client, pytest.raises(HarvestContractError):
        list(client.time_entry_pages())
    assert len(script.requests) == 1


def test_a_redirect_is_not_followed() -> None:
    script = Script(reply(301, b"", Location=f"{API}/users/me?there"))
    with talking_to(script) as client, pytest.raises(HarvestContractError):
        client.me()
    assert len(script.requests) == 1


def test_pages_that_lead_in_a_circle_are_an_error() -> None:
    script = Script(
        reply(200, page([row(2)], total=9, pages=9, following=f"{API}/time_entries?page=2")),
        reply(200, page([row(1)], total=9, pages=9, following=f"{API}/time_entries?page=3")),
        reply(200, page([row(1)], total=9, pages=9, following=f"{API}/time_entries?page=2")),
    )
    with talking_to(script) as client, pytest.raises(HarvestContractError, match="do not end"):
        list(client.time_entry_pages())
    assert len(script.requests) == 3


def test_pages_without_an_end_are_an_error() -> None:
    def more(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 1))
        return reply(200, page([row(1)], total=3, pages=3, following=f"{API}/time_entries?page={number + 1}"))

    with talking_to(Script(more)) as client, pytest.raises(HarvestContractError, match="do not end"):
        list(client.time_entry_pages())


@pytest.mark.parametrize("links", [{"next": 7}, None])
def test_a_next_page_without_a_usable_link_is_no_end(links: object) -> None:
    body = page([row(1)], total=2, pages=2) | {"links": links, "next_page": 2}
    with talking_to(Script(reply(200, body))) as client, pytest.raises(HarvestContractError):
        list(client.time_entry_pages())


def test_a_page_that_fails_in_the_middle_raises() -> None:
    script = Script(
        reply(200, page([row(2)], total=2, pages=2, following=f"{API}/time_entries?page=2&per_page=1")), DOWN
    )
    seen: list[EntryPage] = []
    with talking_to(script) as client, pytest.raises(HarvestUnavailable):
        seen.extend(client.time_entry_pages())
    assert not any(each.is_last for each in seen)


def test_unreadable_entries_stop_no_other_and_count_as_seen() -> None:
    rows = [row(5), row(4, hours=None), row(3, user=None), {"odd": True}, "junk", row(1)]
    with talking_to(Script(reply(200, page(rows)))) as client:
        (only,) = client.time_entry_pages()
    assert [entry.id for entry in only.entries] == [5, 1]
    assert [each.remote_id for each in only.bad] == ["4", "3", "", ""]
    assert only.complete


def test_numbers_as_text_are_understood_in_the_envelope() -> None:
    body = page([row(1)]) | {"total_entries": "1", "total_pages": "1"}
    with talking_to(Script(reply(200, body))) as client:
        (only,) = client.time_entry_pages()
    assert (only.total_entries, only.total_pages, only.complete) == (1, 1, True)


class Shifting:
    """Entries in page-based pages of two, among which something changes after the first page was read."""

    def __init__(self, ids: list[int], then: list[int]) -> None:
        self.ids, self.then = ids, then

    def __call__(self, request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 1))
        shown = self.ids[2 * number - 2 : 2 * number]
        following = f"{API}/time_entries?page={number + 1}" if 2 * number < len(self.ids) else None
        answer = reply(
            200,
            page(
                [row(n) for n in shown],
                total=len(self.ids),
                pages=-(-len(self.ids) // 2),
                following=following,
            ),
        )
        self.ids = self.then
        return answer


@pytest.mark.parametrize(
    ("ids", "then", "shortfall"),
    [
        ([5, 4, 3, 2, 1], [5, 4, 3, 2, 1], 0),
        ([5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], 1),  # one came: 4 is seen twice, 6 not at all
        ([5, 4, 3, 2, 1], [4, 3, 2, 1], 1),  # one went: 3 slipped over the border, unread
        ([5, 4, 3, 2, 1], [6, 5, 4, 3, 2], 1),
    ],
)
def test_a_listing_that_shifts_says_how_much_is_missing(
    ids: list[int], then: list[int], shortfall: int
) -> None:
    with talking_to(Script(Shifting(ids, then))) as client:
        pages = list(client.time_entry_pages())
    assert pages[-1].shortfall == shortfall
    assert pages[-1].complete is (shortfall == 0)
    assert all(each.shortfall == 0 for each in pages[:-1])


def test_a_catalogue_that_shifts_is_read_again_until_it_is_whole() -> None:
    def clients(ids: list[int], total: int) -> httpx.Response:
        rows = [{"id": n, "name": f"Client {n}"} for n in ids]
        return reply(200, {"clients": rows, "total_entries": total, "links": {"next": None}})

    script = Script(clients([1], 2), clients([1, 2, 2], 2))
    with talking_to(script) as client:
        assert [each.id for each in client.clients()] == [1, 2]
    script = Script(clients([1], 2))
    with talking_to(script) as client, pytest.raises(HarvestUnavailable, match="kept changing"):
        client.clients()
    assert len(script.requests) == 3


def numbered(total: int, *, bearable: int, cursor: bool = False) -> Callable[[httpx.Request], httpx.Response]:
    """A server of `total` entries that breaks down over pages of more than `bearable`, unless they are the first."""

    def serve(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        size, number = int(params["per_page"]), int(params.get("page", 1))
        start = int(params["cursor"]) if "cursor" in params else (number - 1) * size
        if size > bearable and start > 0:
            return reply(504, b"")
        ids = list(range(total, 0, -1))[start : start + size]
        more = f"cursor={start + size}" if cursor else f"page={number + 1}"
        following = f"{API}/time_entries?{more}&per_page={size}" if start + size < total else None
        return reply(
            200, page([row(n) for n in ids], total=total, pages=-(-total // size), following=following)
        )

    return serve


@pytest.mark.parametrize("cursor", [False, True])
def test_pages_too_big_to_come_are_halved_in_place(cursor: bool) -> None:
    script = Script(numbered(5000, bearable=500, cursor=cursor))
    with talking_to(script) as client:
        pages = list(client.time_entry_pages())
    ids = [entry.id for each in pages for entry in each.entries]
    assert ids == list(range(5000, 0, -1))
    assert pages[-1].complete
    sizes = [request.url.params["per_page"] for request in script.requests]
    assert sizes == ["2000", "2000", "2000", "1000", "500", "500", "500", "500", "500", "500"]


def test_a_page_is_never_halved_below_a_hundred() -> None:
    script = Script(DOWN)
    with (
        talking_to(script, patience=Patience(attempts=12, total=10_000)) as client,
        pytest.raises(HarvestUnavailable),
    ):
        client.clients()
    sizes = [int(request.url.params["per_page"]) for request in script.requests]
    assert sizes == [2000, 2000, 1000, 500, 250, *[125] * 7]


def test_an_account_of_the_old_page_size_is_read_by_hundreds() -> None:
    def old(request: httpx.Request) -> httpx.Response:
        if int(request.url.params["per_page"]) > 100:
            return reply(422, {"message": "per_page must be at most 100"})
        return reply(200, page([row(1)]))

    script = Script(old)
    with talking_to(script) as client:
        assert len(list(client.time_entry_pages())) == 1
        assert len(list(client.time_entry_pages())) == 1
    assert [request.url.params["per_page"] for request in script.requests] == ["2000", "100", "100"]


def test_a_422_about_something_else_is_a_rejection_and_changes_no_page_size() -> None:
    script = Script(reply(422, {"message": "Invalid from date"}))
    with talking_to(script) as client:
        with pytest.raises(HarvestRejected, match="Invalid from date"):
            list(client.time_entry_pages())
        script.answers = [reply(200, page([]))]
        list(client.time_entry_pages())
    assert script.requests[-1].url.params["per_page"] == "2000"


def test_an_unreadable_entry_alone_or_by_reference_is_an_error() -> None:
    with (
        talking_to(Script(reply(200, row(9, hours=None)))) as client,
        pytest.raises(HarvestContractError, match="hours is missing"),
    ):
        client.time_entry(9)
    with (
        talking_to(Script(reply(200, page([row(9, hours=None)])))) as client,
        pytest.raises(HarvestContractError, match="hours is missing"),
    ):
        client.find_by_external_reference("tb-1")


# Harvest ID


@respx.mock
def test_the_account_list_needs_no_account_and_leaves_forecast_out() -> None:
    route = respx.get("https://id.getharvest.com/api/v2/accounts").respond(
        json={
            "user": {"id": 7, "first_name": "Ines"},
            "accounts": [
                {"id": 880123, "name": "Northlight", "product": "harvest"},
                {"id": 880124, "name": "Northlight plan", "product": "forecast"},
            ],
        }
    )
    with HarvestIdentity(
        "https://id.getharvest.com", user_agent="Timebridge (ops@studio.example)"
    ) as identity:
        assert identity.accounts(TOKEN) == [AccountPayload(880123, "Northlight", "harvest")]
    request = route.calls.last.request
    assert "Harvest-Account-Id" not in request.headers
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"] == "Timebridge (ops@studio.example)"


@respx.mock
def test_the_account_list_may_be_empty_or_refused() -> None:
    route = respx.get("https://id.getharvest.com/api/v2/accounts").respond(json={"accounts": []})
    with HarvestIdentity("https://id.getharvest.com") as identity:
        assert identity.accounts(TOKEN) == []
        route.respond(401, json={"error": "invalid_token"})
        with pytest.raises(HarvestAuthError):
            identity.accounts(TOKEN)


# Over raw sockets: what goes wrong between two machines


def http(body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


@contextmanager
def raw_server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answers each connection with the next bytes (the last for ever) and closes it. Yields address, requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []
    script = list(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(script.pop(0) if len(script) > 1 else script[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v2", requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


BODY = json.dumps(ME).encode()
GOOD = http(BODY)
CUT = [
    pytest.param(b"", id="closed without an answer"),
    pytest.param(http(BODY, length=len(BODY) + 10), id="shorter than announced"),
    pytest.param(http(BODY, length=len(BODY) - 10), id="longer than announced"),
    pytest.param(GOOD[:60], id="cut in the headers"),
    pytest.param(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"', id="cut in a chunk"),
    pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="no HTTP"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk", id="bad gzip"
    ),
]


@contextmanager
def plain_client(base_url: str) -> Iterator[HarvestClient]:
    with HarvestClient(
        base_url=base_url, account_id=1, access_token=TOKEN, sleep=lambda seconds: None
    ) as client:
        yield client


@pytest.mark.parametrize("answer", CUT)
def test_a_read_that_is_cut_on_the_wire_is_repeated(answer: bytes) -> None:
    with raw_server(answer, GOOD) as (base_url, requests), plain_client(base_url) as client:
        assert client.me().id == 71
        assert len(requests) == 2


@pytest.mark.parametrize("answer", CUT)
def test_a_write_that_is_cut_on_the_wire_is_not(answer: bytes) -> None:
    with raw_server(answer, GOOD) as (base_url, requests), plain_client(base_url) as client:
        with pytest.raises(HarvestAnswerLost):
            write(client)
        assert len(requests) == 1


def test_an_answer_that_only_drips_ends_with_the_patience() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # the client hangs up
            connection.recv(65536)
            connection.sendall(http(b"", length=1000))
            while not stop.wait(0.02):
                connection.sendall(b" ")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v2"
    try:
        with (
            HarvestClient(
                base_url=base_url, account_id=1, access_token=TOKEN, patience=Patience(attempts=1, total=0.3)
            ) as client,
            pytest.raises(HarvestUnavailable, match="took too long"),
        ):
            client.me()
    finally:
        stop.set()
        listener.close()
        thread.join(5)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with plain_client(f"http://127.0.0.1:{port}/v2") as client:
        with pytest.raises(HarvestUnavailable, match="cannot be reached"):
            client.me()
        with pytest.raises(HarvestUnavailable, match="cannot be reached"):
            write(client)


# Over the sandbox


@pytest.fixture(scope="module")
def studio() -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox.studio(today=date(2026, 6, 15), rate_limit=False)) as server:
        yield server


@pytest.fixture
def calm(studio: SandboxServer) -> Iterator[SandboxServer]:
    """The studio without faults, and with its request log emptied."""
    studio.sandbox.clear_faults()
    studio.sandbox.forget_requests()
    yield studio
    studio.sandbox.clear_faults()


def sandbox_client(server: SandboxServer, token: str = ADMIN_TOKEN, **options: Any) -> HarvestClient:
    options = {"sleep": lambda seconds: None} | options
    return HarvestClient(base_url=server.api_url, account_id=MAIN_ACCOUNT_ID, access_token=token, **options)


@pytest.mark.parametrize("page_size", [2000, 137])
def test_the_whole_studio_is_read(calm: SandboxServer, page_size: int) -> None:
    account = calm.sandbox.account
    with sandbox_client(calm, page_size=page_size) as client:
        pages = list(client.time_entry_pages())
        assert pages[-1].complete
        entries = {entry.id: entry for each in pages for entry in each.entries}
        assert entries.keys() == account.timesheet.entries.keys()
        assert {entry.id: entry.hours for entry in entries.values() if not entry.is_running} == {
            one.id: Decimal(one.hundredths) / 100
            for one in account.timesheet.entries.values()
            if one.timer_started_at is None
        }
        assert {each.id for each in client.clients()} == account.tables["clients"].keys()
        assert {each.id for each in client.projects()} == account.tables["projects"].keys()
        assert {each.id for each in client.tasks()} == account.tables["tasks"].keys()
        assert {each.id for each in client.users()} == account.tables["users"].keys()
        assert {each.id for each in client.task_assignments()} == account.tables["task_assignments"].keys()
        project = client.projects()[0]
        assert {each.project_id for each in client.task_assignments(project.id)} == {project.id}
        assert client.my_project_assignments()
        company = client.company()
        assert company is not None
        assert company.wants_timestamp_timers is False
        assert client.me().is_administrator


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.RATE_LIMITED,
        FaultKind.RATE_LIMITED_BARE,
        FaultKind.SERVER_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.TRUNCATED,
        FaultKind.CUT_JSON,
        FaultKind.GARBAGE,
        FaultKind.CUT,
        FaultKind.LOST,
    ],
)
def test_a_walk_over_a_fault_reads_everything_once(calm: SandboxServer, kind: FaultKind) -> None:
    calm.sandbox.fault(kind, path="/time_entries", page=3, times=2)
    with sandbox_client(calm, page_size=500) as client:
        ids = [entry.id for each in client.time_entry_pages() for entry in each.entries]
    assert len(ids) == len(set(ids))
    assert set(ids) == calm.sandbox.account.timesheet.entries.keys()
    assert len(calm.sandbox.seen("GET", "/time_entries")) > 7


def test_a_write_whose_answer_is_lost_is_found_by_its_reference(calm: SandboxServer) -> None:
    account = calm.sandbox.account
    with sandbox_client(calm) as client:
        project = next(each for each in client.my_project_assignments() if each.is_active)
        task = next(each for each in project.task_assignments if each.is_active)
        calm.sandbox.fault(FaultKind.LOST, method="POST", path="/time_entries")
        before = set(account.timesheet.entries)
        with pytest.raises(HarvestAnswerLost):
            client.create_time_entry(
                project_id=project.project_id,
                task_id=task.task_id,
                spent_date=date(2026, 6, 15),
                hours=Decimal("0.25"),
                external_reference=ExternalReference("tb-lost-1", permalink="https://timebridge.example/1"),
            )
        made = set(account.timesheet.entries) - before
        assert len(made) == 1
        found = client.find_by_external_reference("tb-lost-1")
        assert [entry.id for entry in found] == list(made)
        assert found[0].hours == Decimal("0.25")
        assert client.find_by_external_reference("tb-never") == []
        client.delete_time_entry(found[0].id)
        with pytest.raises(HarvestNotFound):
            client.time_entry(found[0].id)


def test_an_entry_is_made_changed_read_and_deleted(calm: SandboxServer) -> None:
    with sandbox_client(calm) as client:
        client_id = client.clients(is_active=True)[0].id
        task_id = client.tasks(is_active=True)[0].id
        person = client.me().id
        project = client.create_project(client_id=client_id, name="General of the client's tests")
        assert project.client_id == client_id
        client.create_task_assignment(project_id=project.id, task_id=task_id, billable=True)
        made = client.create_time_entry(
            project_id=project.id,
            task_id=task_id,
            spent_date=date(2026, 6, 12),
            hours=Decimal("2.11"),
            user_id=person,
            notes="one\ntwo",
        )
        assert (made.hours, made.notes, made.is_running) == (Decimal("2.11"), "one\ntwo", False)
        changed = client.update_time_entry(made.id, hours=Decimal("0.01"), notes="")
        assert (changed.hours, changed.notes) == (Decimal("0.01"), "")
        assert client.time_entry(made.id) == changed
        client.delete_time_entry(made.id)
        with pytest.raises(HarvestNotFound):
            client.delete_time_entry(made.id)


def test_a_member_reads_what_a_member_may(calm: SandboxServer) -> None:
    account = calm.sandbox.account
    member = next(row for row in account.tables["users"].values() if row["access_roles"] == ["member"])
    token = calm.sandbox.add_token(member["email"], "7654321.pt.member-of-the-client-tests")
    with sandbox_client(calm, token) as client:
        assert client.me().id == member["id"]
        for listing in (client.clients, client.projects, client.tasks, client.users):
            with pytest.raises(HarvestForbidden):
                listing()
        assert client.my_project_assignments()
        seen = {entry.user_id for each in client.time_entry_pages() for entry in each.entries}
        assert seen <= {member["id"]}


def test_the_sandbox_refuses_a_bad_pair(calm: SandboxServer) -> None:
    with (
        sandbox_client(calm, "1.pt.unknown") as client,
        pytest.raises(HarvestAuthError, match="check the account id"),
    ):
        client.me()
    with (
        HarvestClient(base_url=calm.api_url, account_id=1, access_token=ADMIN_TOKEN) as client,
        pytest.raises(HarvestAuthError, match="check the account id"),
    ):
        client.me()


def test_the_rate_limit_of_the_sandbox_is_obeyed() -> None:
    clock = Clock()
    sandbox = Sandbox.studio(today=date(2026, 6, 15), entries=50, timer=clock.monotonic)
    with SandboxServer(sandbox) as server:
        with sandbox_client(server, sleep=clock.sleep, clock=clock.monotonic) as client:
            for _ in range(230):
                client.me()
        assert sandbox.rate_limit.refused == 2
    assert clock.seconds == 30
