"""Connecting by consent: there and back, and everything that may come back instead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import responses
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Role, Workspace
from accounts.tenancy import tenant_scope
from clients.services import save_client, save_project
from harvest.consents import forget_old_consents
from harvest.models import Consent
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox
from integrations.models import Connection
from tests.factories import make_key, make_member, make_workspace
from tests.harvest.conftest import Studio, make_admin

pytestmark = pytest.mark.django_db

PAGE = "/integrations/harvest/"
AUTHORIZE = f"{PAGE}authorize/"
CALLBACK = f"{PAGE}callback/"
API = "/api/v1/integrations/harvest/"


@pytest.fixture(autouse=True)
def registered(settings: Any, sandbox: Sandbox) -> None:
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET


@pytest.fixture
def admin() -> Membership:
    return make_admin()


def browser_of(person: Membership) -> Client:
    client = Client()
    client.force_login(person.user)
    return client


@pytest.fixture
def browser(admin: Membership) -> Client:
    return browser_of(admin)


def begun(browser: Client) -> dict[str, str]:
    """Press *Connect Harvest*: what is asked of Harvest's consent page."""
    answer = browser.post(AUTHORIZE)
    assert answer.status_code == 302
    return asked_of(answer["Location"])


def asked_of(url: str) -> dict[str, str]:
    assert urlsplit(url).path == "/oauth2/authorize"
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def allowed(sandbox: Sandbox, asked: dict[str, str], **more: Any) -> str:
    """Allow it: the path and query that the browser comes back with."""
    back = urlsplit(sandbox.consent(redirect_uri=asked["redirect_uri"], state=asked["state"], **more))
    return f"{back.path}?{back.query}"


def stored(person: Membership) -> Connection | None:
    with tenant_scope(person.workspace_id):
        return Connection.objects.filter(status="connected").first()


def consents(person: Membership) -> list[Consent]:
    with tenant_scope(person.workspace_id):
        return list(Consent.objects.order_by("created_at"))


def refused(answer: HttpResponse, words: str, status: int = 400) -> None:
    """A page of ours that says what happened, and offers to start again."""
    text = answer.content.decode()
    assert answer.status_code == status
    assert words in text
    assert "Harvest is not connected" in text
    assert "Connect Harvest" in text


def test_there_and_back(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    asked = begun(browser)
    assert asked == {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "redirect_uri": f"http://testserver{CALLBACK}",
        "state": asked["state"],
    }
    answer = browser.get(allowed(sandbox, asked))
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    row = stored(admin)
    assert row is not None
    assert (row.auth, row.account_id, row.account_name) == ("oauth", "880123", "Northlight")
    assert row.connected_by_id == admin.user_id
    assert row.token_expires_at is not None
    assert row.refresh_token in sandbox.identity.refresh_tokens
    page = browser.get(PAGE).content.decode()
    assert "Connected to Northlight" in page
    for secret in (row.access_token, row.refresh_token):
        assert secret not in page
    [consent] = consents(admin)
    assert (consent.access_token, consent.refresh_token) == ("", "")


def test_the_page_lets_its_form_be_redirected_to_harvest(
    browser: Client, settings: Any, sandbox: Sandbox
) -> None:
    policy = browser.get(CALLBACK)["Content-Security-Policy"]
    [directive] = [part for part in policy.split("; ") if part.startswith("form-action")]
    assert directive == f"form-action 'self' {settings.HARVEST_ID_URL}"
    assert settings.HARVEST_ID_URL not in browser.get("/")["Content-Security-Policy"]


def test_a_denial_says_so_and_connects_nothing(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    asked = begun(browser)
    back = f"{CALLBACK}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
    refused(browser.get(back), "You did not allow it in Harvest")
    assert stored(admin) is None
    # That answer is used up too.
    refused(browser.get(allowed(sandbox, asked)), "used already")


def test_a_replay_is_refused(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    asked = begun(browser)
    back = allowed(sandbox, asked)
    browser.get(back)
    first = stored(admin)
    refused(browser.get(back), "used already")
    refused(browser.get(allowed(sandbox, asked)), "used already")  # also with another code
    again = stored(admin)
    assert first is not None
    assert again is not None
    assert again.connected_at == first.connected_at


@pytest.mark.parametrize(
    "query", ["", "code=x", "state=x", "code=x&state=x", "state=%00&code=%00", "error=odd"]
)
def test_what_was_never_asked_for_is_refused(browser: Client, admin: Membership, query: str) -> None:
    refused(browser.get(f"{CALLBACK}?{query}"), "not an answer to something that was started here")
    assert stored(admin) is None


def test_a_strangers_answer_is_refused(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    """Somebody lures an admin to the end of a consent that they began: the admin's workspace stays as it is."""
    attacker = make_member(admin.workspace, Role.DESIGNER)
    theirs = browser_of(attacker)
    back = allowed(sandbox, begun(theirs))
    refused(browser.get(back), "started by somebody else, or in another browser")
    outsider = make_admin(name="Elsewhere")
    refused(browser.get(allowed(sandbox, begun(browser_of(outsider)))), "started for another workspace")
    assert stored(admin) is None
    # It was not used up by them: who began may still finish.
    assert theirs.get(back)["Location"] == PAGE


def test_the_same_person_in_another_browser_is_refused(
    browser: Client, admin: Membership, sandbox: Sandbox
) -> None:
    back = allowed(sandbox, begun(browser))
    refused(browser_of(admin).get(back), "in another browser")
    assert browser.get(back)["Location"] == PAGE


def test_nobody_signed_in_is_asked_to_sign_in(browser: Client, sandbox: Sandbox) -> None:
    back = allowed(sandbox, begun(browser))
    answer = Client().get(back)
    assert (answer.status_code, urlsplit(answer["Location"]).path) == (302, "/accounts/login/")


def test_code_is_carried_to_no_address_of_ours(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    """Neither to where one signs in, nor to where one sets up a second factor: it is begun anew from there."""
    back = allowed(sandbox, begun(browser))
    for asked in (Client(), browser):
        with tenant_scope(admin.workspace_id):
            Workspace.objects.filter(pk=admin.workspace_id).update(require_second_factor=asked is browser)
        place = asked.get(back)["Location"]
        assert parse_qs(urlsplit(place).query) == {"next": [urlsplit(back).path]}
    with tenant_scope(admin.workspace_id):
        Workspace.objects.filter(pk=admin.workspace_id).update(require_second_factor=False)
    refused(browser.get(urlsplit(back).path), "not an answer to something that was started here")


def test_ten_minutes_is_the_end(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    asked = begun(browser)
    with time_machine.travel(timezone.now() + timedelta(minutes=9, seconds=50), tick=True):
        back = allowed(sandbox, asked)
    with time_machine.travel(timezone.now() + timedelta(minutes=10, seconds=1), tick=True):
        refused(browser.get(back), "longer than ten minutes")
    assert stored(admin) is None


def test_a_code_that_harvest_does_not_know_is_refused(browser: Client, admin: Membership) -> None:
    state = begun(browser)["state"]
    refused(
        browser.get(f"{CALLBACK}?{urlencode({'code': 'wrong', 'state': state})}"), "used up or has expired"
    )
    assert stored(admin) is None


def test_harvest_id_being_away_says_so(
    browser: Client, admin: Membership, sandbox: Sandbox, settings: Any
) -> None:
    back = allowed(sandbox, begun(browser))
    with responses.RequestsMock() as mocked:
        mocked.post(f"{settings.HARVEST_ID_URL}/api/v2/oauth2/token", status=503)
        refused(browser.get(back), "Nothing was connected", 503)
    assert stored(admin) is None


def test_a_person_with_no_account_is_told(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    back = allowed(sandbox, begun(browser), account_ids=[])
    refused(browser.get(back), "belongs to no Harvest account")
    assert stored(admin) is None


def test_forecast_alone_is_no_harvest_account(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    sandbox.add_forecast_account("Plan", [sandbox.person("ada@sandbox.example")], account_id=990_001)
    refused(browser.get(allowed(sandbox, begun(browser), account_ids=[990_001])), "no Harvest account")


@pytest.fixture
def other(sandbox: Sandbox) -> int:
    """A second account of the same person."""
    account = sandbox.add_account("Fjord & Daughters")
    sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", account=account)
    return account.id


def test_of_several_accounts_one_is_chosen_never_the_first(
    browser: Client, admin: Membership, sandbox: Sandbox, other: int
) -> None:
    answer = browser.get(allowed(sandbox, begun(browser), account_ids=[880123, other]))
    place = answer["Location"]
    assert place.startswith(f"{PAGE}choose/")
    assert stored(admin) is None
    page = browser.get(place).content.decode()
    assert "Northlight" in page
    assert "Fjord &amp; Daughters" in page
    assert " checked" not in page
    assert browser.post(place, {}).status_code == 422
    assert browser.post(place, {"account": "1"}).status_code == 422
    assert browser_of(make_member(admin.workspace, Role.DESIGNER)).get(place).status_code == 400
    assert browser_of(make_admin()).post(place, {"account": str(other)}).status_code == 400
    assert browser.post(place, {"account": str(other)})["Location"] == PAGE
    row = stored(admin)
    assert row is not None
    assert (row.account_id, row.account_name) == (str(other), "Fjord & Daughters")
    refused(browser.post(place, {"account": "880123"}), "finished already")


def test_a_choice_that_nobody_makes_is_forgotten(
    browser: Client, admin: Membership, sandbox: Sandbox, other: int
) -> None:
    place = browser.get(allowed(sandbox, begun(browser), account_ids=[880123, other]))["Location"]
    assert consents(admin)[0].access_token
    forget_old_consents()
    assert consents(admin)[0].access_token
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        refused(browser.get(place), "longer than ten minutes")
        refused(browser.post(place, {"account": str(other)}), "longer than ten minutes")
        forget_old_consents()
    assert (consents(admin)[0].access_token, consents(admin)[0].refresh_token) == ("", "")
    with time_machine.travel(timezone.now() + timedelta(minutes=61), tick=True):
        forget_old_consents()
    assert consents(admin) == []


def test_another_account_is_refused_until_one_asks_to_start_afresh(
    studio: Studio, sandbox: Sandbox, other: int
) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-11", "1.00")
    studio.import_window()
    browser = browser_of(studio.admin)
    place = browser.get(allowed(sandbox, begun(browser), account_ids=[other]))["Location"]
    assert place.startswith(f"{PAGE}choose/")
    page = browser.get(place).content.decode()
    assert "What is here is from another Harvest account (Northlight)" in page
    answer = browser.post(place, {"account": str(other)})
    assert answer.status_code == 422
    assert "Time from another Harvest account" in answer.content.decode()
    row = stored(studio.admin)
    assert row is not None
    assert row.account_id == "880123"
    browser.post(place, {"account": str(other), "replace": "on"})
    row = stored(studio.admin)
    assert row is not None
    assert (row.account_id, row.auth) == (str(other), "oauth")


def test_of_several_accounts_the_one_that_was_connected_is_marked(
    studio: Studio, sandbox: Sandbox, other: int
) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    browser = browser_of(studio.admin)
    place = browser.get(allowed(sandbox, begun(browser), account_ids=[other, 880123]))["Location"]
    page = browser.get(place).content.decode()
    assert 'value="880123" required checked' in page
    assert "Connected before" in page
    assert page.count(" checked") == 1
    # Nothing came in yet, but its mappings would be lost.
    answer = browser.post(place, {"account": str(other)})
    assert answer.status_code == 422
    assert "Mappings from another Harvest account (Northlight) are here." in answer.content.decode()
    assert browser.post(place, {"account": "880123"})["Location"] == PAGE
    assert "Projects <small>1 of 3 mapped" in browser.get(PAGE).content.decode()


def test_without_a_client_id_only_tokens_connect(browser: Client, admin: Membership, settings: Any) -> None:
    settings.HARVEST_CLIENT_ID = ""
    assert AUTHORIZE not in browser.get(PAGE).content.decode()
    assert AUTHORIZE not in browser.get(CALLBACK).content.decode()
    browser.post(AUTHORIZE)
    assert "Connect with a personal access token" in browser.get(PAGE).content.decode()
    answer = Client().post(f"{API}authorize/", headers={"Authorization": f"Bearer {make_key(admin)}"})
    assert (answer.status_code, answer.json()["type"]) == (409, "oauth-not-available")
    assert consents(admin) == []


# --- By the API ------------------------------------------------------------------------------------------------------
def test_a_front_end_sends_its_browser_itself(browser: Client, admin: Membership, sandbox: Sandbox) -> None:
    answer = browser.post(f"{API}authorize/")
    assert answer.status_code == 200
    back = allowed(sandbox, asked_of(answer.json()["authorize_url"]))
    refused(browser_of(admin).get(back), "in another browser")
    assert browser.get(back)["Location"] == PAGE
    assert browser.get(f"{API}connection/").json()["auth"] == "oauth"


def test_a_script_may_ask_and_its_person_finish(admin: Membership, sandbox: Sandbox) -> None:
    answer = Client().post(f"{API}authorize/", headers={"Authorization": f"Bearer {make_key(admin)}"})
    back = allowed(sandbox, asked_of(answer.json()["authorize_url"]))
    refused(browser_of(make_member(admin.workspace, Role.ADMIN)).get(back), "somebody else")
    assert browser_of(admin).get(back)["Location"] == PAGE


def test_who_may_begin(admin: Membership, sandbox: Sandbox) -> None:
    member, free = make_member(admin.workspace), make_workspace(plan="free")
    for person, status, kind in ((member, 403, "forbidden"), (free, 403, "plan-required")):
        answer = Client().post(f"{API}authorize/", headers={"Authorization": f"Bearer {make_key(person)}"})
        assert (answer.status_code, answer.json()["type"]) == (status, kind)
        assert browser_of(person).post(AUTHORIZE).status_code == 403
    assert Client().post(f"{API}authorize/").status_code == 401
    assert browser_of(member).get(CALLBACK).status_code == 403


def test_the_first_mapping_survives_reconnecting(studio: Studio, sandbox: Sandbox) -> None:
    with studio.scope():
        client = save_client(workspace=studio.admin.workspace, name="Loose")
        save_project(workspace=studio.admin.workspace, client=client, name="Loose ends")
    studio.map("projects", {"Website": studio.projects["Website"]})
    browser = browser_of(studio.admin)
    browser.get(allowed(sandbox, begun(browser)))
    rows = browser.get(f"{API}mappings/projects/").json()["results"]
    assert [row["harvest_name"] for row in rows if row["target"]] == ["Website"]
