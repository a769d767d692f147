from __future__ import annotations

from collections.abc import Callable

from harvest.sandbox import ADMIN_TOKEN, Sandbox

from .conftest import Api, Clock


def statuses(api: Api, count: int) -> list[int]:
    return [api.get("/company").status_code for _ in range(count)]


def test_a_hundred_requests_in_fifteen_seconds(api: Api, sandbox: Sandbox, clock: Clock) -> None:
    assert statuses(api, 60) == [200] * 60
    clock.advance(seconds=10)
    assert statuses(api, 41) == [200] * 40 + [429]
    assert sandbox.rate_limit.used(880123) == 100
    refused = api.get("/company")
    assert (refused.status_code, refused.headers["Retry-After"], refused.content) == (429, "5", b"")
    clock.advance(seconds=4.9)
    assert api.get("/company").status_code == 429
    clock.advance(seconds=0.1)  # the first sixty leave the window: it slides
    assert statuses(api, 61) == [200] * 60 + [429]
    assert sandbox.rate_limit.refused == 4


def test_the_bare_shape(api: Api, sandbox: Sandbox) -> None:
    sandbox.rate_limit.with_retry_after = False
    statuses(api, 100)
    refused = api.get("/company")
    assert (refused.status_code, refused.content) == (429, b"")
    assert refused.headers["Content-Type"].startswith("text/html")
    assert "Retry-After" not in refused.headers


def test_the_limit_is_an_account_s_own(sandbox: Sandbox, speak_as: Callable[..., Api]) -> None:
    other = sandbox.add_account("Other")
    sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", account=other)
    sandbox.add_person("Bob", "Member", "bob@sandbox.example", token="3.pt.bob")
    statuses(speak_as(), 100)
    assert statuses(speak_as(ADMIN_TOKEN, other.id), 2) == [200, 200]
    assert statuses(speak_as("3.pt.bob"), 1) == [429]  # shared by all tokens of the account


def test_it_can_be_switched_off(api: Api, sandbox: Sandbox) -> None:
    sandbox.rate_limit.enabled = False
    assert set(statuses(api, 130)) == {200}
