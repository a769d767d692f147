from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from harvest.sandbox import ADMIN_TOKEN, Sandbox, SandboxServer

from .conftest import Api, Clock

REASON = "The access token provided is expired, revoked, malformed or invalid for other reasons."
INVALID_TOKEN = {"error": "invalid_token", "error_description": REASON}
AGENT = {"User-Agent": "tests (tests@timebridge.example)"}


def test_me_is_the_owner_of_the_token(api: Api) -> None:
    me = api.ok("GET", "/users/me")
    assert (me["first_name"], me["email"], me["access_roles"]) == (
        "Ada",
        "ada@sandbox.example",
        ["administrator"],
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Harvest-Account-Id": "880123"},
        {"Authorization": "Bearer wrong", "Harvest-Account-Id": "880123"},
        {"Authorization": f"Basic {ADMIN_TOKEN}", "Harvest-Account-Id": "880123"},
        {"Authorization": f"Bearer {ADMIN_TOKEN}"},
        {"Authorization": f"Bearer {ADMIN_TOKEN}", "Harvest-Account-Id": "999"},
        {"Authorization": f"Bearer {ADMIN_TOKEN}", "Harvest-Account-Id": "abc"},
    ],
    ids=["no token", "wrong token", "not a bearer", "no account", "foreign account", "no number"],
)
def test_bad_credentials_are_one_and_the_same_401(server: SandboxServer, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{server.api_url}/users/me", headers=headers | AGENT)
    assert (answer.status_code, answer.json()) == (401, INVALID_TOKEN)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="Rack::OAuth2 Protected Resources", error="invalid_token"')
    assert f'error_description="{REASON}"' in challenge


def test_a_missing_user_agent_is_a_400_on_both_hosts(server: SandboxServer) -> None:
    with httpx.Client(
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Harvest-Account-Id": "880123"}
    ) as client:
        del client.headers["User-Agent"]
        assert client.get(f"{server.api_url}/users/me").status_code == 400
        assert client.get(f"{server.base_url}/api/v2/accounts").status_code == 400


def test_credentials_in_the_query_are_accepted_and_not_logged(server: SandboxServer) -> None:
    query = {"access_token": ADMIN_TOKEN, "account_id": "880123", "per_page": "5"}
    answer = httpx.get(f"{server.api_url}/time_entries", params=query, headers=AGENT)
    assert answer.status_code == 200
    assert ADMIN_TOKEN not in answer.text
    assert all(ADMIN_TOKEN not in record.query for record in server.sandbox.seen())


def test_the_older_prefix_works(server: SandboxServer, api: Api) -> None:
    answer = api.get(f"{server.base_url}/api/v2/users/me")
    assert answer.json()["first_name"] == "Ada"


def test_unknown_places_are_an_html_404(api: Api) -> None:
    for path in ("/nowhere", "/time_entries/", "/time_entries/abc", "/time_entries/1/nothing"):
        answer = api.get(path)
        if path == "/time_entries/":  # an empty id is the list
            assert answer.status_code == 200
            continue
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "Can't find page" in answer.text


def test_answers_carry_the_sandbox_s_own_date(api: Api, clock: Clock) -> None:
    answer = api.get("/users/me")
    assert answer.headers["Date"] == "Fri, 12 Jun 2026 12:00:00 GMT"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_a_revoked_token_ends_at_once(sandbox: Sandbox, api: Api) -> None:
    api.ok("GET", "/users/me")
    sandbox.revoke(ADMIN_TOKEN)
    assert api.get("/users/me").status_code == 401


def test_losing_the_account_or_being_archived_ends_access(
    sandbox: Sandbox, speak_as: Callable[..., Api]
) -> None:
    for email, lose in (
        ("gone@sandbox.example", lambda user: sandbox.leave("gone@sandbox.example", 880123)),
        ("old@sandbox.example", lambda user: sandbox.account.archive("users", user)),
    ):
        user = sandbox.add_person("Gone", "Person", email, token=f"1.pt.{email}")
        theirs = speak_as(f"1.pt.{email}")
        theirs.ok("GET", "/users/me")
        lose(user)
        assert theirs.get("/users/me").status_code == 401


def test_the_account_list_names_both_products_and_may_be_empty(
    sandbox: Sandbox, server: SandboxServer
) -> None:
    sandbox.add_person("Nobody", "Yet", "nobody@sandbox.example", token="2.pt.nobody")
    sandbox.leave("nobody@sandbox.example", 880123)
    sandbox.add_forecast_account("Plan", [sandbox.person("ada@sandbox.example")], account_id=880124)
    url = f"{server.base_url}/api/v2/accounts"
    body = httpx.get(url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}", **AGENT}).json()
    assert body["accounts"] == [
        {"id": 880123, "name": "Sandbox Studio", "product": "harvest"},
        {"id": 880124, "name": "Plan", "product": "forecast"},
    ]
    assert body["user"]["email"] == "ada@sandbox.example"
    assert body["user"]["id"] != sandbox.account.ids("users")[0]
    empty = httpx.get(url, headers={"Authorization": "Bearer 2.pt.nobody", **AGENT}).json()
    assert empty["accounts"] == []
    assert httpx.get(url, headers=AGENT).status_code == 401
