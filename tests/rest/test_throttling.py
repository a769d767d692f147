"""How often an API key may ask: by its own count, told in every answer, with and without Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.api_keys import revoke_api_key
from accounts.ids import uuid7
from accounts.models import ApiKey, Membership
from accounts.rest import throttling
from accounts.rest.docs import document
from accounts.rest.throttling import Rate, parse_rate, take
from accounts.tenancy import tenant_scope
from tests.factories import make_key
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _limit(settings: Any) -> None:
    settings.API_RATE_LIMIT = "3/minute"


@pytest.fixture
def without_redis(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """A Redis that nobody answers for; what the process counts by itself begins anew."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(throttling, "_alone", throttling._Alone())
    yield
    throttling._counter.cache_clear()


def standing(answer: Any) -> tuple[str, str]:
    return answer.headers["RateLimit-Policy"], answer.headers["RateLimit"].rpartition(";t=")[0]


def test_every_answer_says_how_the_key_stands(admin: Membership) -> None:
    api = Api(admin)
    policy = '"key";q=3;w=60'
    assert standing(api.get("me/")) == (policy, '"key";r=2')
    assert standing(api.post("clients/", {"name": ""})) == (policy, '"key";r=1')  # refusals too
    assert standing(api.get("nothing/")) == (policy, '"key";r=0')
    left = int(api.get("me/").headers["RateLimit"].rpartition("=")[2])
    assert 50 < left <= 60


def test_one_too_many_is_a_problem_and_changes_nothing(admin: Membership) -> None:
    api = Api(admin)
    for _ in range(3):
        assert api.get("me/").status_code == 200
    answer = api.post("clients/", {"name": "Late"})
    assert answer.status_code == 429
    assert answer.json()["type"] == "too-many-requests"
    assert 50 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit"].startswith('"key";r=0;t=')
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Late" not in str(Api(admin).get("clients/").json())


def test_keys_are_counted_each_by_itself_and_apart_from_sessions(
    admin: Membership, member: Membership
) -> None:
    api = Api(admin)
    for _ in range(4):
        last = api.get("me/")
    assert last.status_code == 429
    assert Api(admin).get("me/").status_code == 200
    assert Api(member).get("me/").status_code == 200
    by_session = Api(admin, session=True)
    for _ in range(5):
        answer = by_session.get("me/")
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers  # none is set here


def test_sessions_of_a_person_are_counted_together_pages_and_api(
    admin: Membership, member: Membership, settings: Any
) -> None:
    settings.SESSION_RATE_LIMIT = "4/minute"
    api, browser = Api(admin, session=True), Client()
    browser.force_login(admin.user)
    assert [api.get("me/").status_code for _ in range(2)] == [200, 200]
    assert [browser.get("/clients/").status_code for _ in range(3)] == [200, 200, 429]
    page = browser.post("/clients/new/", {"name": "Late"})
    assert (page.status_code, page["Cache-Control"]) == (429, "no-store")
    assert 50 < int(page["Retry-After"]) <= 60
    assert "Wait" in page.content.decode()
    problem = api.post("clients/", {"name": "Late"})
    assert (problem.status_code, problem.json()["type"]) == (429, "too-many-requests")
    assert problem.headers["RateLimit-Policy"] == '"person";q=4;w=60'
    other = Client()
    other.force_login(member.user)
    assert other.get("/clients/").status_code == 200
    assert Api(admin).get("me/").status_code == 200  # a key has its own
    assert Client().get("/accounts/login/").status_code == 200
    settings.SESSION_RATE_LIMIT = ""
    assert "Late" not in browser.get("/clients/").content.decode()


def test_a_window_ends_and_refusals_do_not_prolong_it(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = "2/second"
    api = Api(admin)
    began = time.monotonic()
    while api.get("me/").status_code == 200:
        pass
    while api.get("me/").status_code == 429:
        assert time.monotonic() - began < 3
    assert time.monotonic() - began < 2.5


def test_no_limit_where_none_is_set(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = ""
    api = Api(admin)
    for _ in range(5):
        assert "RateLimit" not in api.get("me/").headers


def test_many_at_once_get_no_more_than_the_limit() -> None:
    key, rate = str(uuid7()), Rate(20, 60)
    with ThreadPoolExecutor(8) as pool:
        used = list(pool.map(lambda _: take(key, rate).used, range(60)))
    assert sorted(used) == list(range(1, 61))


def test_costs_one_round_trip(admin: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    send = redis.Connection.send_packed_command

    def counting(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(self, command, *args, **kwargs)

    api = Api(admin)
    api.get("me/")  # connects, and makes the script known
    monkeypatch.setattr(redis.Connection, "send_packed_command", counting)
    api.get("me/")
    assert len(sent) == 1


def test_refused_request_does_not_reach_the_view(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = "1/minute"
    api = Api(admin)
    with CaptureQueriesContext(connection) as answered:
        api.get("clients/")
    with CaptureQueriesContext(connection) as refused:
        assert api.get("clients/").status_code == 429
    assert "clients_client" in str(answered.captured_queries)
    assert "clients_client" not in str(refused.captured_queries)


def test_without_redis_a_process_counts_by_itself(admin: Membership, without_redis: None) -> None:
    api, other = Api(admin), Api(admin)
    assert [api.get("me/").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert other.get("me/").status_code == 200
    assert standing(other.get("me/"))[1] == '"key";r=1'


def test_redis_that_is_away_is_not_asked_with_every_request(
    without_redis: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = throttling._counter

    def counter_of(url: str) -> Any:
        asked.append(url)
        return real(url)

    counter_of.cache_clear = real.cache_clear  # type: ignore[attr-defined]
    monkeypatch.setattr(throttling, "_counter", counter_of)
    began = time.monotonic()
    for _ in range(50):
        take("a", Rate(100, 60))
    assert len(asked) == 1
    assert time.monotonic() - began < 1.0
    throttling._alone.until = 0.0
    assert take("a", Rate(100, 60)).used == 51
    assert len(asked) == 2


def test_what_a_process_keeps_is_bounded(without_redis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "MOST_KEPT", 10)
    alone = throttling._Alone()
    for number in range(30):
        alone.take(f"key{number}", Rate(1, 60), now=0.0)
    assert len(alone._counts) == 10
    assert alone.take("key3", Rate(1, 60), now=1.0).used == 2
    alone.take("new", Rate(1, 60), now=61.0)  # the windows of the others are over
    assert len(alone._counts) == 1


@pytest.mark.parametrize(
    ("text", "rate"),
    [("600/minute", Rate(600, 60)), ("1/second", Rate(1, 1)), ("9/hour", Rate(9, 3600)), ("", None)],
)
def test_limit_is_read_from_the_settings(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0/minute", "600", "600/fortnight", "-1/second", "a/day", "6 / minute"])
def test_bad_limit_is_said_at_once(text: str, settings: Any) -> None:
    settings.API_RATE_LIMIT = text
    with pytest.raises(ImproperlyConfigured, match="600/minute"):
        throttling.ThrottleMiddleware(lambda request: None)  # type: ignore[arg-type,return-value]


def test_document_says_it_of_every_operation() -> None:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            answer = operation["responses"]["429"]
            assert answer["headers"].keys() == {"Retry-After", "RateLimit", "RateLimit-Policy"}, (
                f"{method} {path}"
            )


# --- Keys ------------------------------------------------------------------------------------------------------------
def row_of(key: str) -> ApiKey:
    from accounts.tenancy import SPAN_API_KEY, span

    with span(SPAN_API_KEY, key.split("_")[1]):
        return ApiKey.objects.get(prefix=key.split("_")[1])


def test_key_ends_at_its_time(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = ""
    key = make_key(admin, expires_at=timezone.now() + timedelta(seconds=1))
    assert Api(admin, key=key).get("me/").status_code == 200
    time.sleep(1.1)
    answer = Api(admin, key=key).get("me/")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="Timebridge"')
    assert "RateLimit" not in answer.headers


def test_key_ends_when_it_is_revoked_or_its_person_leaves(
    admin: Membership, member: Membership, settings: Any
) -> None:
    settings.API_RATE_LIMIT = ""
    keys = [make_key(member), make_key(member)]
    with tenant_scope(admin.workspace_id):
        revoke_api_key(row_of(keys[0]))
    assert [Api(member, key=key).get("me/").status_code for key in keys] == [401, 200]
    member.user.is_active = False
    member.user.save()
    assert Api(member, key=keys[1]).get("me/").status_code == 401


def test_last_use_is_written_once_a_minute(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = ""
    key = make_key(admin)
    api = Api(admin, key=key)
    assert row_of(key).last_used_at is None

    def writes() -> int:
        with CaptureQueriesContext(connection) as found:
            assert api.get("me/").status_code == 200
        return sum(query["sql"].startswith("UPDATE") for query in found.captured_queries)

    assert [writes() for _ in range(3)] == [1, 0, 0]
    first = row_of(key).last_used_at
    with tenant_scope(admin.workspace_id):
        ApiKey.objects.filter(pk=row_of(key).pk).update(last_used_at=first - timedelta(seconds=61))
    assert writes() == 1
    assert row_of(key).last_used_at >= first


def test_key_is_kept_as_a_hash_and_shown_once(admin: Membership, settings: Any) -> None:
    settings.API_RATE_LIMIT = ""
    api = Api(admin)
    made = api.post("api-keys/", {"name": "Script"}).json()
    secret = made["key"].split("_", 2)[2]
    assert secret not in str(api.get("api-keys/").json())
    assert secret not in str(vars(row_of(made["key"])))
    client = Client()
    client.force_login(admin.user)
    assert secret not in client.get("/settings/api-keys/").content.decode()
