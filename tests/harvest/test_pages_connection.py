"""The Harvest page's connection: connecting, what is said of it, disconnecting; and who may do what."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Membership, Plan, Role, Workspace
from accounts.tenancy import tenant_scope
from harvest.credentials import WITHDRAW_URL
from harvest.models import ProjectMapping
from harvest.sandbox import ADMIN_TOKEN, Sandbox
from integrations.models import Connection, ConnectionStatus, SyncLink, SyncRun
from tests.factories import make_member
from tests.harvest.conftest import Studio, connect, make_admin
from tests.harvest.pages import HTMX, INTEGRATIONS, PAGE, browse, text_of

pytestmark = pytest.mark.django_db

PAIR = {"account_id": "880123", "access_token": ADMIN_TOKEN}
WRONG = {"account_id": "880123", "access_token": "123.pt.surely-not-a-token"}


def change(person: Membership, **values: Any) -> None:
    """Change the connection's row, as time would."""
    with tenant_scope(person.workspace_id):
        Connection.objects.update(**values)


# --- Connecting ------------------------------------------------------------------------------------------------------
def test_not_connected_offers_the_form(sandbox: Sandbox) -> None:
    admin = make_admin()
    page = browse(admin).get(PAGE)
    assert "Not connected" in text_of(page)
    assert b'type="password" name="access_token"' in page.content
    assert b'id="mappings"' not in page.content
    assert b'id="sync"' not in page.content
    assert "Integrate" in text_of(browse(admin).get(INTEGRATIONS))


def test_a_wrong_token_is_an_error_on_the_form_and_nothing_is_kept(sandbox: Sandbox) -> None:
    admin = make_admin()
    browser = browse(admin)
    page = browser.post(f"{PAGE}connect/", WRONG)
    assert page.status_code == 422
    assert "Harvest does not accept these credentials" in text_of(page)
    assert b'value="880123"' in page.content
    assert WRONG["access_token"].encode() not in page.content
    assert "Not connected" in text_of(browser.get(PAGE))


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({}, "Fill in the account ID"),
        ({"account_id": "880123"}, "Paste the token"),
        ({"account_id": "eight", "access_token": "1.pt.x"}, "The account ID is a number"),
        ({"account_id": "880123", "access_token": "1.pt.x y\u20ac"}, "without spaces"),
        ({"account_id": "8" * 400, "access_token": "x" * 4000}, "at most 20 characters"),
        ({"account_id": "88\x000123", "access_token": "1.pt.x"}, "Null characters are not allowed"),
    ],
)
def test_a_form_filled_in_badly_says_what_to_do(sandbox: Sandbox, pair: dict[str, str], words: str) -> None:
    page = browse(make_admin()).post(f"{PAGE}connect/", pair)
    assert page.status_code == 422
    assert words in text_of(page)
    assert not sandbox.requests


def test_connecting_shows_account_person_and_the_tables_at_once(sandbox: Sandbox) -> None:
    admin = make_admin()
    client = sandbox.account.add_client("Acme")
    sandbox.account.add_project(client, "Website")
    browser = browse(admin)
    answer = browser.post(f"{PAGE}connect/", PAIR)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    page = browser.get(PAGE)
    said = text_of(page)
    assert "Connected to Northlight." in said
    assert "Northlight 880123" in said
    assert f"by {admin.user}" in said
    assert "Personal access token of Ada Admin" in said
    assert "Projects 0 of 1 mapped" in said
    assert "Website" in said
    assert ADMIN_TOKEN not in page.content.decode()


def test_harvest_that_does_not_answer_is_said_on_the_form(settings: Any) -> None:
    settings.HARVEST_API_URL = "http://127.0.0.1:9/v2"
    page = browse(make_admin()).post(f"{PAGE}connect/", PAIR)
    assert page.status_code == 422
    assert "Harvest could not be asked, so nothing was changed." in text_of(page)


def test_a_members_token_is_said_to_see_only_their_time(sandbox: Sandbox) -> None:
    admin = make_admin()
    token = "777.pt.member"
    sandbox.add_person("Mo", "Member", "mo@northlight.example", "member", token=token)
    browser = browse(admin)
    browser.post(f"{PAGE}connect/", {"account_id": "880123", "access_token": token})
    said = text_of(browser.get(PAGE))
    assert "This token sees only your own time, where you are Mo Member" in said


def test_another_account_is_connected_only_when_that_is_meant(studio: Studio) -> None:
    studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.import_window()
    change(studio.admin, account_id="1", account_name="Former Ltd")
    with studio.scope():
        SyncLink.objects.update(account_id="1")
    browser = browse(studio.admin)
    page = browser.post(f"{PAGE}connect/", PAIR)
    assert page.status_code == 422
    said = text_of(page)
    assert "Time from another Harvest account (Former Ltd) is here." in said
    assert "Start afresh with this account" in said
    assert browser.post(f"{PAGE}connect/", {**PAIR, "replace": "on"}).status_code == 302
    assert "Projects 0 of 3 mapped" in text_of(browser.get(PAGE))


def test_a_connection_changes_hands_without_losing_its_mappings(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.sandbox.add_person("Bea", "New", "bea@northlight.example", "administrator", token="880.pt.of-bea")
    browser = browse(studio.admin)
    page = browser.get(PAGE).content.decode()
    assert "Connect by another person or token" in page
    assert page.count('class="button primary"') == 2  # saving mappings, importing: not this
    wrong = browser.post(f"{PAGE}connect/", WRONG)
    assert wrong.status_code == 422
    assert b'<details class="more" open>' in wrong.content
    browser.post(f"{PAGE}connect/", {**PAIR, "access_token": "880.pt.of-bea"})
    said = text_of(browser.get(PAGE))
    assert "Personal access token of Bea New" in said
    assert "Projects 1 of 3 mapped" in said


# --- What is said of it ----------------------------------------------------------------------------------------------
def test_reconnect_needed_says_what_to_do_and_keeps_the_mappings(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    change(studio.admin, status=ConnectionStatus.RECONNECT_NEEDED)
    browser = browse(studio.admin)
    page = browser.get(PAGE)
    said = text_of(page)
    assert "Reconnect needed" in said
    assert "Connect again to resume; your mappings are kept." in said
    assert b'name="access_token"' in page.content
    assert b'id="sync-form"' not in page.content
    assert "Reconnect needed" in text_of(browser.get(INTEGRATIONS))
    browser.post(f"{PAGE}connect/", PAIR)
    assert "Projects 1 of 3 mapped" in text_of(browser.get(PAGE))


@pytest.mark.django_db(transaction=True)  # refusals roll back, as they do for a visitor
def test_the_free_plan_may_look_and_disconnect(studio: Studio) -> None:
    with studio.scope():
        Workspace.objects.filter(id=studio.workspace_id).update(plan=Plan.FREE)
    browser = browse(studio.admin)
    page = browser.get(PAGE)
    said = text_of(page)
    assert "Integrations need the Pro plan. Until then nothing comes in" in said
    assert "Change the plan" in said
    for shown in (b'name="access_token"', b'id="sync-form"', b'value="save"', b'list="p"'):
        assert shown not in page.content
    assert b'data-dialog="disconnect"' in page.content
    for url in ("connect/", "mappings/", "refresh/", "runs/"):
        assert browser.post(PAGE + url, PAIR).status_code == 403
    assert browser.post(f"{PAGE}disconnect/").status_code == 302
    assert "Integrations need the Pro plan." in text_of(browser.get(INTEGRATIONS))


# --- Disconnecting ---------------------------------------------------------------------------------------------------
def test_disconnecting_asks_forgets_and_tells_where_to_withdraw(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    browser = browse(studio.admin)
    asked = text_of(browser.get(f"{PAGE}disconnect/"))
    assert "Disconnect Northlight?" in asked
    assert "makes no duplicates" in asked
    assert browser.post(f"{PAGE}disconnect/").status_code == 302
    said = text_of(browser.get(PAGE))
    assert "Disconnected from Northlight." in said
    assert f"withdraw it at {WITHDRAW_URL}" in said
    with studio.scope():
        row = Connection.objects.get()
        assert (row.status, row.access_token) == (ConnectionStatus.NOT_CONNECTED, "")
        assert not ProjectMapping.objects.exists()
    assert browser.post(f"{PAGE}disconnect/").status_code == 302  # again: said, not done
    assert "Harvest is not connected." in text_of(browser.get(PAGE))


# --- Who may ---------------------------------------------------------------------------------------------------------
POSTS = ("connect/", "disconnect/", "mappings/", "refresh/", "runs/")


@pytest.mark.django_db(transaction=True)  # refusals roll back, as they do for a visitor
def test_a_member_looks_and_does_not_touch(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    run = studio.import_window()
    member = browse(make_member(studio.admin.workspace, Role.MEMBER))
    page = member.get(PAGE)
    assert page.status_code == 200
    assert "Website" in text_of(page)
    main = page.content.partition(b'id="main"')[2]
    for shown in (b'method="post"', b"hx-post", b"data-dialog", b'list="'):
        assert shown not in main
    assert member.get(f"{PAGE}runs/{run.id}/").status_code == 200
    for url in (*POSTS, f"runs/{run.id}/apply/", f"runs/{run.id}/undo/"):
        answer = member.post(PAGE + url, PAIR)
        assert answer.status_code == 403
        assert "Only admins and designers may do this." in text_of(answer)
    with studio.scope():
        assert Connection.objects.get().connected
        assert SyncRun.objects.count() == 1


def test_a_designer_may(studio: Studio) -> None:
    designer = browse(make_member(studio.admin.workspace, Role.DESIGNER))
    assert designer.post(f"{PAGE}runs/", {"from": "2026-06-01", "to": "2026-06-02"}).status_code == 302
    with studio.scope():
        assert SyncRun.objects.count() == 1


def test_a_stranger_finds_nothing(studio: Studio) -> None:
    studio.add_entry("Website", "Design", "2026-06-02", "1.00", "A secret")
    run = studio.import_window()
    stranger = browse(make_admin(name="Elsewhere"))
    page = stranger.get(PAGE)
    assert "Not connected" in text_of(page)
    for secret in (b"Northlight", b"Website", str(run.id).encode()):
        assert secret not in page.content.partition(b'id="main"')[2]
    runs = f"{PAGE}runs/{run.id}/"
    for url in (runs, f"{runs}panel/", f"{runs}undo/"):
        assert stranger.get(url).status_code == 404
    for url in (f"{runs}apply/", f"{runs}undo/"):
        assert stranger.post(url).status_code == 404
    assert stranger.get(f"{PAGE}runs/{uuid4()}/").status_code == 404


def test_nobody_signs_in_first(studio: Studio) -> None:
    nobody = Client()
    for url in (PAGE, INTEGRATIONS, f"{PAGE}runs/{uuid4()}/"):
        answer = nobody.get(url)
        assert (answer.status_code, answer["Location"].startswith("/accounts/login/")) == (302, True)
    for url in POSTS:
        assert nobody.post(PAGE + url).status_code == 302
    assert nobody.get(PAGE, headers=HTMX)["HX-Redirect"].startswith("/accounts/login/")


def test_the_page_of_a_connection_of_nobody_any_more(studio: Studio) -> None:
    change(studio.admin, connected_by=None)
    assert "by somebody who has left" in text_of(browse(studio.admin).get(PAGE))


def test_wrong_methods_are_refused(studio: Studio) -> None:
    browser = browse(studio.admin)
    assert browser.post(PAGE).status_code == 405
    for url in ("connect/", "mappings/", "refresh/", "runs/"):
        assert browser.get(PAGE + url).status_code == 405


def test_the_members_connection_stays_theirs(sandbox: Sandbox) -> None:
    """Two workspaces may be connected to one account; neither sees the other's."""
    first, second = make_admin(name="First"), make_admin(name="Second")
    connect(first)
    assert "Not connected" in text_of(browse(second).get(PAGE))
    connect(second)
    assert f"by {second.user}" in text_of(browse(second).get(PAGE))
