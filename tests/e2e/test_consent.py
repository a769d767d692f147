"""Connecting by consent in the browser: allow, deny, reconnect, the toggle, a notice, disconnect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from harvest.errors import HarvestAuthError
from harvest.renewal import renewed_token
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox, SandboxServer
from integrations.models import Connection
from tests.e2e.conftest import PASSWORD, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_workspace
from tests.harvest.pages import PAGE

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

EMAIL = "ada@northlight.test"
SHOTS = os.environ.get("SHOTS")


@pytest.fixture
def sandbox(settings: Any) -> Any:
    with SandboxServer(Sandbox.empty(name="Northlight", rate_limit=False)) as server:
        settings.HARVEST_API_URL, settings.HARVEST_ID_URL = server.api_url, server.base_url
        settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
        yield server.sandbox


@pytest.fixture
def admin(transactional_db: None, sandbox: Sandbox) -> Membership:
    return make_workspace("Northlight", email=EMAIL, password=PASSWORD, person_name="Ada Admin")


@pytest.fixture
def entered(page: Page, live_server: Any, admin: Membership) -> Page:
    return enter(page, live_server)


def enter(page: Page, live_server: Any) -> Page:
    page.set_default_timeout(30_000)
    expect.set_options(timeout=15_000)
    page.goto(f"{live_server.url}/accounts/login/?next={PAGE}")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{live_server.url}{PAGE}")
    return page


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def consent(page: Page, button: str = "Authorize app") -> None:
    """Press *Connect Harvest*, and decide on Harvest's page."""
    page.get_by_role("button", name="Connect Harvest").click()
    page.wait_for_url("**/oauth2/authorize**")
    page.get_by_role("button", name=button).click()


def stored(admin: Membership) -> Connection:
    with tenant_scope(admin.workspace_id):
        return Connection.objects.get()


def test_consent_and_what_follows(
    entered: Page,
    live_server: Any,
    admin: Membership,
    sandbox: Sandbox,
    new_page: Callable[..., Page],
    allowed_errors: list[str],
) -> None:
    allowed_errors.append("status of 400")  # the page that says that it was not allowed
    page, connection = entered, entered.locator("#connection")
    assert_accessible(page)
    shot(page, "not-connected")

    # Not allowed: a page of ours says so, and starts again.
    consent(page, "Deny")
    expect(page.get_by_role("heading", name="Harvest is not connected")).to_be_visible()
    expect(page.get_by_text("You did not allow it in Harvest")).to_be_visible()
    assert_accessible(page)
    shot(page, "denied")

    # Allowed, from there.
    consent(page)
    page.wait_for_url(f"{live_server.url}{PAGE}")
    expect(connection.locator(".badge").first).to_have_text("Connected")
    expect(connection).to_contain_text("OAuth of Ada Admin")

    # The switch acts at once, also by keyboard.
    switch = page.get_by_role("switch", name="Automated sync")
    expect(switch).not_to_be_checked()
    switch.focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("Automated sync is on.")).to_be_visible()
    assert stored(admin).auto_sync
    page.reload()
    expect(switch).to_be_checked()
    assert_accessible(page)
    assert_no_sideways_scroll(page)
    shot(page, "connected")

    # Harvest withdraws it: told once, and one way back, with everything kept.
    sandbox.revoke_grants()
    row = stored(admin)
    with pytest.raises(HarvestAuthError):
        renewed_token(row, instead_of=row.access_token)
    page.goto(live_server.url)
    expect(page.get_by_text("Reconnect Harvest", exact=True)).to_be_visible()
    assert_accessible(page)
    shot(page, "home-notice")
    page.get_by_role("button", name="Connect again").click()
    expect(connection.locator(".badge").first).to_have_text("Reconnect needed")
    expect(connection).to_contain_text("Paused until Harvest is connected again")
    shot(page, "reconnect-needed")
    consent(page)
    page.wait_for_url(f"{live_server.url}{PAGE}")
    expect(connection.locator(".badge").first).to_have_text("Connected")
    expect(switch).to_be_checked()
    page.goto(f"{live_server.url}/notices/")
    assert_accessible(page)
    shot(page, "notices")
    page.goto(f"{live_server.url}/settings/audit/")
    expect(page.get_by_text("harvest.reconnect_needed")).to_be_visible()
    assert_accessible(page)
    shot(page, "audit")

    phone = enter(new_page(viewport={"width": 360, "height": 740}, color_scheme="dark"), live_server)
    for path in (PAGE, "/notices/", "/settings/audit/"):
        phone.goto(f"{live_server.url}{path}")
        assert_accessible(phone)
        assert_no_sideways_scroll(phone)
        shot(phone, f"phone{path.replace('/', '-')}")

    page.goto(f"{live_server.url}{PAGE}")
    page.get_by_role("link", name="Disconnect").click()
    page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text("Harvest offers no way to revoke a token from outside").first).to_be_visible()
    expect(connection.locator(".badge").first).to_have_text("Not connected")
    assert (stored(admin).access_token, stored(admin).refresh_token, stored(admin).auto_sync) == (
        "",
        "",
        False,
    )


def test_choosing_among_accounts(
    entered: Page, live_server: Any, admin: Membership, sandbox: Sandbox
) -> None:
    other = sandbox.add_account("Fjord & Daughters")
    sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", account=other)
    page = entered
    page.get_by_role("button", name="Connect Harvest").click()
    page.wait_for_url("**/oauth2/authorize**")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Authorize app").click()
    expect(page.get_by_role("heading", name="Choose the Harvest account")).to_be_visible()
    assert_accessible(page)
    shot(page, "choose")
    page.get_by_role("radio", name="Fjord & Daughters").check()
    page.get_by_role("button", name="Connect this account").click()
    page.wait_for_url(f"{live_server.url}{PAGE}")
    expect(page.locator("#connection")).to_contain_text("Fjord & Daughters")
