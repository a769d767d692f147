"""Second factors in a real browser: a passkey, made and used alone or after the password; an app; codes; sessions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from playwright.sync_api import CDPSession, Page, expect

from accounts.tenancy import tenant_scope
from tests.e2e.conftest import PASSWORD, Studio, assert_accessible, assert_no_sideways_scroll

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]


@pytest.fixture
def studio(studio: Studio) -> Studio:
    """At localhost: a passkey belongs to a name, and refuses a bare address."""
    return Studio(**{**vars_of(studio), "url": f"http://localhost:{urlsplit(studio.url).port}"})


def vars_of(studio: Studio) -> dict[str, object]:
    return {name: getattr(studio, name) for name in studio.__dataclass_fields__}


def authenticator(page: Page, *, resident: bool = True) -> tuple[CDPSession, str]:
    """A device of this browser that keeps passkeys, and whose person is always there."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal" if resident else "usb",
        "hasResidentKey": resident,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    added = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, added["authenticatorId"]


def confirm(page: Page) -> None:
    """The page that asks who one is, before what is delicate."""
    expect(page.get_by_role("heading", name="Confirm it is you")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def sign_out(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/accounts/login/"))


def code_of(key: str) -> str:
    """The code that an app shows, with enough of its half minute left to type it."""
    if (left := 30 - time.time() % 30) < 5:
        time.sleep(left)
    [counter] = yield_hotp_counters_from_time()
    return str(format_hotp_value(hotp_value(key, counter)))


def test_passkey_is_made_and_signs_in_alone(studio: Studio, page: Page, sign_in: SignIn) -> None:
    authenticator(page)
    sign_in(page, "/settings/security/")
    page.get_by_role("link", name="Add a passkey").click()
    confirm(page)
    page.get_by_label("Name").fill("This laptop")
    assert_accessible(page)
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    assert len(page.locator("#codes").inner_text().split()) == 10
    assert_accessible(page)
    page.goto(f"{studio.url}/settings/security/")
    expect(page.locator("#second-factor")).to_contain_text("This laptop")
    expect(page.locator("#second-factor")).to_contain_text("10 left")

    sign_out(page, studio)
    page.goto(f"{studio.url}/accounts/login/?next=/clients/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{studio.url}/clients/")

    # After the password it is the second step.
    sign_out(page, studio)
    page.get_by_label("E-mail address").fill("ada@northlight.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    assert_accessible(page)
    page.goto(f"{studio.url}/clients/")
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()  # nobody is in by half
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{studio.url}/")


def test_workspace_that_requires_one_is_entered_by_setting_one_up(
    studio: Studio, page: Page, sign_in: SignIn
) -> None:
    authenticator(page)
    workspace = studio.admin.workspace
    workspace.require_second_factor = True
    with tenant_scope(workspace.id):
        workspace.save(update_fields=["require_second_factor"])
    page.goto(f"{studio.url}/accounts/login/?next=/clients/")
    page.get_by_label("E-mail address").fill("ada@northlight.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Northlight requires a second factor")).to_be_visible()
    expect(page.get_by_role("link", name="Inbound")).to_have_count(0)
    look(page)
    page.get_by_role("link", name="Add a passkey").click()
    confirm(page)
    page.get_by_role("button", name="Add passkey").click()
    page.get_by_role("link", name="I have them").click()
    expect(page.get_by_role("link", name="Inbound")).to_be_visible()


def test_passkey_that_is_not_given_is_said_in_words(studio: Studio, page: Page) -> None:
    devtools, device = authenticator(page)
    page.goto(f"{studio.url}/accounts/login/")
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("#toasts")).to_contain_text("No passkey was given.")


def test_app_is_set_up_asked_for_and_switched_off(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, "/settings/security/")
    page.get_by_role("link", name="Set up an authenticator app").click()
    confirm(page)
    expect(page.get_by_role("img", name="A QR code")).to_be_visible()
    assert page.locator(".qr").evaluate("one => one.naturalWidth") > 0  # the policy lets it be shown
    assert_accessible(page)
    page.get_by_text("Or type the key").click()
    key = page.locator("#totp-key").inner_text()
    page.get_by_label("Type the code").fill("000000")
    page.get_by_role("button", name="Switch it on").click()
    expect(page.locator(".errors")).to_contain_text("This is not the code.")
    page.get_by_text("Or type the key").click()
    assert page.locator("#totp-key").inner_text() == key
    page.get_by_label("Type the code").fill(code_of(key))
    page.get_by_role("button", name="Switch it on").click()
    recovery = page.locator("#codes").inner_text().split()[0]

    sign_out(page, studio)
    page.get_by_label("E-mail address").fill("ada@northlight.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Code").fill(recovery)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{studio.url}/")
    page.goto(f"{studio.url}/settings/security/")
    expect(page.locator("#second-factor")).to_contain_text("9 left")
    page.get_by_role("link", name="Switch off the authenticator app").click()
    confirm(page)
    page.get_by_role("button", name="Switch it off").click()
    expect(page.locator("#second-factor")).to_contain_text("Off")


def test_session_elsewhere_is_seen_and_ended(
    studio: Studio, new_page: Callable[..., Page], sign_in: SignIn
) -> None:
    here = new_page(viewport={"width": 1280, "height": 800})
    there = new_page(user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605.1")
    sign_in(there)
    sign_in(here, "/settings/security/")
    row = here.locator("#sessions tbody tr").filter(has_text="Safari on iPhone")
    expect(row).to_contain_text("127.0.0.1")
    row.get_by_role("button", name="End").click()
    expect(here.locator("#notices")).to_contain_text("That session is ended.")
    expect(row).to_have_count(0)
    there.goto(f"{studio.url}/clients/")
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()


def test_documentation_of_the_api_works_under_the_policy(studio: Studio, page: Page, sign_in: SignIn) -> None:
    """Any refusal of the browser would be an error on the console, which fails the test."""
    sign_in(page)
    page.goto(f"{studio.url}/api/docs/")
    page.locator(".opblock").first.wait_for(timeout=60_000)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_pages_of_signing_in_are_sound(
    scheme: str, width: int, studio: Studio, new_page: Callable[..., Page], sign_in: SignIn
) -> None:
    page = new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(f"{studio.url}/accounts/login/")
    expect(page.get_by_role("button", name="Use a passkey")).to_be_visible()
    look(page)
    page.goto(f"{studio.url}/accounts/password/reset/")
    look(page)
    sign_in(page, "/settings/security/")
    look(page)
    page.goto(f"{studio.url}/accounts/email/")
    look(page)
    page.goto(f"{studio.url}/accounts/password/change/")
    look(page)
    page.goto(f"{studio.url}/accounts/2fa/totp/activate/")
    look(page)
    confirm(page)
    look(page)
    page.get_by_text("Or type the key").click()
    page.get_by_label("Type the code").fill(code_of(page.locator("#totp-key").inner_text()))
    page.get_by_role("button", name="Switch it on").click()
    look(page)
    page.goto(f"{studio.url}/settings/security/")
    look(page)
    page.goto(f"{studio.url}/accounts/2fa/webauthn/add/")
    look(page)


def look(page: Page) -> None:
    assert_accessible(page)
    assert_no_sideways_scroll(page)
