from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox, SandboxServer

from .conftest import Api, Clock

CALLBACK = "http://localhost:8000/integrations/harvest/callback/"
ASK = {"client_id": CLIENT_ID, "redirect_uri": CALLBACK, "response_type": "code", "state": "s&1"}


@pytest.fixture
def identity(server: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, headers={"User-Agent": "tests (a@b.example)"}) as client:
        yield client


def query_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(CALLBACK)
    return {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def code_of(sandbox: Sandbox, **more: Any) -> str:
    return parse_qs(urlsplit(sandbox.consent(redirect_uri=CALLBACK, **more)).query)["code"][0]


def exchange(identity: httpx.Client, code: str, **more: str) -> httpx.Response:
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    return identity.post("/api/v2/oauth2/token", data=body | more)


def refresh(identity: httpx.Client, token: str, **more: str) -> httpx.Response:
    body = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return identity.post("/api/v2/oauth2/token", json=body | {"refresh_token": token} | more)


def works(server: SandboxServer, token: str, account: int = 880123) -> bool:
    with Api(server, token, account) as api:
        return api.get("/users/me").status_code == 200


def test_consent_gives_a_code_and_the_code_a_token(server: SandboxServer, identity: httpx.Client) -> None:
    page = identity.get("/oauth2/authorize", params=ASK)
    assert page.status_code == 200
    assert "Ada Admin" in page.text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    assert fields["state"] == "s&amp;1"
    person = fields["person"]
    form = ASK | {"person": person, "account": "880123", "decision": "allow"}
    back = query_of(identity.post("/oauth2/authorize", data=form))
    assert (back["state"], back["scope"]) == ("s&1", "harvest:880123")
    answer = exchange(identity, back["code"], redirect_uri=CALLBACK)
    body = answer.json()
    assert (answer.status_code, set(body)) == (
        200,
        {"access_token", "refresh_token", "token_type", "expires_in"},
    )
    assert (body["token_type"], body["expires_in"]) == ("bearer", 1209600)
    assert works(server, body["access_token"])
    again = exchange(identity, back["code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert "mismatching authorization code and redirection URI" in again.json()["error_description"]


def test_denial_and_no_account(identity: httpx.Client) -> None:
    assert query_of(identity.post("/oauth2/authorize", data=ASK | {"decision": "deny"})) == {
        "error": "access_denied", "state": "s&1",
    }  # fmt: skip
    page = identity.post("/oauth2/authorize", data=ASK | {"decision": "allow"})
    assert page.status_code == 200
    assert "Choose at least one account" in page.text


@pytest.mark.parametrize(
    "change",
    [{"client_id": "x"}, {"redirect_uri": "ftp://x/"}, {"redirect_uri": ""}, {"response_type": "magic"}],
    ids=str,
)
def test_requests_that_cannot_be_trusted_go_nowhere(identity: httpx.Client, change: dict[str, str]) -> None:
    for answer in (
        identity.get("/oauth2/authorize", params=ASK | change),
        identity.post("/oauth2/authorize", data=ASK | change | {"decision": "allow", "account": "880123"}),
    ):
        assert answer.status_code == 400
        assert "Location" not in answer.headers


def test_only_the_chosen_accounts_are_reached(
    sandbox: Sandbox, server: SandboxServer, identity: httpx.Client
) -> None:
    other = sandbox.add_account("Other")
    sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", account=other)
    token = exchange(identity, code_of(sandbox, account_ids=[880123])).json()["access_token"]
    assert works(server, token)
    assert not works(server, token, other.id)
    accounts = identity.get("/api/v2/accounts", headers={"Authorization": f"Bearer {token}"}).json()[
        "accounts"
    ]
    assert [account["id"] for account in accounts] == [880123]
    link = sandbox.consent(redirect_uri=CALLBACK, account_ids=[880123, other.id])
    assert parse_qs(urlsplit(link).query)["scope"] == [f"harvest:880123 harvest:{other.id}"]
    assert f"scope=harvest%3A880123+harvest%3A{other.id}" in link


def test_a_form_cannot_reach_accounts_of_somebody_else(sandbox: Sandbox, identity: httpx.Client) -> None:
    other = sandbox.add_account("Not hers")
    sandbox.add_person("Eve", "Else", "eve@sandbox.example", account=other)
    form = ASK | {"account": str(other.id), "decision": "allow"}
    assert identity.post("/oauth2/authorize", data=form).status_code == 200  # asked again
    assert sandbox.identity.codes == {}


def test_codes_and_tokens_expire(
    sandbox: Sandbox, server: SandboxServer, identity: httpx.Client, clock: Clock
) -> None:
    stale = code_of(sandbox)
    clock.advance(seconds=601)
    assert exchange(identity, stale).json()["error"] == "invalid_grant"
    body = exchange(identity, code_of(sandbox)).json()
    clock.advance(seconds=1209599)
    assert works(server, body["access_token"])
    clock.advance(seconds=1)
    assert not works(server, body["access_token"])
    assert works(server, refresh(identity, body["refresh_token"]).json()["access_token"])


def test_refresh_without_rotation_keeps_the_refresh_token(
    sandbox: Sandbox, server: SandboxServer, identity: httpx.Client
) -> None:
    first = exchange(identity, code_of(sandbox)).json()
    second = refresh(identity, first["refresh_token"]).json()
    assert second["refresh_token"] == first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert works(server, first["access_token"])
    assert refresh(identity, first["refresh_token"]).status_code == 200


def test_refresh_with_rotation_ends_the_old_refresh_token(sandbox: Sandbox, identity: httpx.Client) -> None:
    sandbox.identity.rotate = True
    first = exchange(identity, code_of(sandbox)).json()
    second = refresh(identity, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    used = refresh(identity, first["refresh_token"])
    assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")
    assert refresh(identity, second["refresh_token"]).status_code == 200


def test_wrong_client_and_grant_type(sandbox: Sandbox, identity: httpx.Client) -> None:
    code = code_of(sandbox)
    wrong = exchange(identity, code, client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    odd = exchange(identity, code, grant_type="password")
    assert (odd.status_code, odd.json()["error"]) == (400, "unsupported_grant_type")
    elsewhere = exchange(identity, code, redirect_uri="http://localhost/other/")
    assert elsewhere.json()["error"] == "invalid_grant"
    assert refresh(identity, "unknown").json()["error"] == "invalid_grant"


def test_withdrawing_the_app_ends_every_token_of_the_grant(
    sandbox: Sandbox, server: SandboxServer, identity: httpx.Client
) -> None:
    first = exchange(identity, code_of(sandbox)).json()
    second = refresh(identity, first["refresh_token"]).json()
    sandbox.revoke(second["access_token"])
    assert not works(server, first["access_token"])
    assert refresh(identity, first["refresh_token"]).status_code == 400
    third = exchange(identity, code_of(sandbox)).json()
    assert sandbox.revoke_grants() == 1
    assert not works(server, third["access_token"])


def test_the_implicit_flow_answers_in_the_query(server: SandboxServer, identity: httpx.Client) -> None:
    form = ASK | {"response_type": "token", "account": "880123", "decision": "allow"}
    back = query_of(identity.post("/oauth2/authorize", data=form))
    assert "refresh_token" not in back
    assert (back["token_type"], back["expires_in"], back["state"]) == ("bearer", "1209600", "s&1")
    assert works(server, back["access_token"])
