"""Links with a secret behind their #: a client's, and those of our mail, from the click to where they lead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Page, Request, expect

from accounts.tenancy import tenant_scope
from settlement.links import make_link, revoke_link
from settlement.models import Budget
from tests.conftest import ARTIFACTS
from tests.e2e.conftest import PASSWORD, Studio, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_client, make_time_log
from tests.fragments import TO_CONFIRM, TO_RESET, link_in

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]
NEW = "a lantern in the 9th window"

looks = pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])


def check(page: Page, name: str, scheme: str, width: int) -> None:
    assert_no_sideways_scroll(page)
    assert_accessible(page)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}-{scheme}-{width}.png", full_page=True)


@dataclass
class Told:
    """What a server was told of a secret: where it belongs (a body, the cookie), and in addresses or other headers."""

    rightly: list[str] = field(default_factory=list)
    wrongly: list[str] = field(default_factory=list)


def watch(page: Page, secret: str) -> Told:
    """Filled as the page goes on."""
    told = Told()

    def look(sent: Request) -> None:
        for name, value in sent.all_headers().items():
            if secret in unquote(value):
                (told.rightly if name == "cookie" else told.wrongly).append(f"{name}: {value}")
        if secret in unquote(sent.url.partition("#")[0]):
            told.wrongly.append(sent.url)
        if secret in unquote(sent.post_data or ""):
            told.rightly.append("body")

    page.context.on("requestfinished", look)
    return told


@pytest.fixture
def shown(studio: Studio) -> Studio:
    """The studio with budgets, and time in the month before."""
    workspace, today = studio.admin.workspace, studio.admin.workspace.today()
    with tenant_scope(workspace.id):
        owned: dict[str, Any] = {"workspace": workspace, "client": studio.acme, "period": "monthly"}
        Budget.objects.create(unit="hours", amount=Decimal("6.00"), **owned)
        Budget.objects.create(unit="money", amount=Decimal("2500.00"), project=studio.website, **owned)
    make_time_log(studio.member, studio.acme, on=today, notes="A call with\nBo and Di")
    make_time_log(
        studio.member, studio.acme, on=today.replace(day=1) - timedelta(days=1), notes="Month before"
    )
    return studio


# --- A client's link -------------------------------------------------------------------------------------------------
@looks
def test_clients_link(
    scheme: str,
    width: int,
    shown: Studio,
    new_page: Callable[..., Page],
    sign_in: SignIn,
    allowed_errors: list[str],
) -> None:
    """Made on the client's page, opened by somebody who is nobody here; its address keeps no secret."""
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    sign_in(page, f"/clients/{shown.acme.id}/links/")
    page.get_by_label("Show notes").check()
    page.get_by_role("button", name="Make link").click()
    url = page.locator("#new-link").inner_text()
    check(page, "links", scheme, width)

    other = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    secret = urlsplit(url).fragment
    told = watch(other, secret)
    other.goto(url)
    other.wait_for_url(re.compile(r"/shared/[-0-9a-f]{36}/$"))
    place = other.url
    expect(other.get_by_role("heading", name="What is left")).to_be_visible()
    expect(other.get_by_text("Bo and Di")).to_be_visible()
    check(other, "shared", scheme, width)
    (cookie,) = other.context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == (secret, True, "Lax")
    assert other.evaluate("document.cookie") == ""
    other.reload()
    expect(other.get_by_text("Bo and Di")).to_be_visible()
    other.get_by_role("link", name=re.compile(r"^\s*\w+$")).first.click()
    expect(other.get_by_text("Month before")).to_be_visible()
    assert re.fullmatch(re.escape(place) + r"\?month=\d{4}-\d\d", other.url)

    # The way back passes by nothing that has it.
    history = other.context.new_cdp_session(other).send("Page.getNavigationHistory")
    assert [one["url"] for one in history["entries"][1:]] == [place, other.url]
    assert told.rightly
    assert told.wrongly == []

    bookmark = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    allowed_errors.append("status of 404")
    bookmark.goto(place)
    expect(bookmark.get_by_role("heading", level=1)).to_have_text("This link does not open")
    check(bookmark, "link-gone", scheme, width)
    bookmark.get_by_role("link", name="Paste the link").click()
    check(bookmark, "link-paste", scheme, width)

    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#notices")).to_contain_text("is revoked")
    for gone in (place, url):
        other.goto(gone)
        expect(other.get_by_role("heading", level=1)).to_have_text("This link does not open")
    assert other.context.cookies() == []


def test_second_link_is_opened_from_the_address_bar_of_the_same_page(shown: Studio, page: Page) -> None:
    """There a browser loads nothing anew, as only what stands behind the # is another."""
    brook = make_client(shown.admin.workspace, "Cove")
    with tenant_scope(shown.admin.workspace_id):
        tokens = [make_link(by=shown.admin, client=client)[1] for client in (shown.acme, brook)]
    page.goto(f"{shown.url}/shared/")
    for token, name in zip(tokens, ("Acme", "Cove"), strict=True):
        page.evaluate("token => { location.href = `/shared/#${token}`; }", token)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.goto(f"{shown.url}/shared/")
    assert len(page.context.cookies()) == 2
    entries = page.context.new_cdp_session(page).send("Page.getNavigationHistory")["entries"]
    assert len(entries) >= 5
    assert not [one["url"] for one in entries if "#" in one["url"]]


def test_link_is_pasted_where_there_is_no_script(
    shown: Studio, new_page: Callable[..., Page], allowed_errors: list[str]
) -> None:
    with tenant_scope(shown.admin.workspace_id):
        link, token = make_link(by=shown.admin, client=shown.acme, show_notes=True)
    page = new_page(java_script_enabled=False)
    told = watch(page, token)
    page.goto(f"{shown.url}/shared/#{token}")
    page.get_by_label("Link").fill(f"{shown.url}/shared/#{token}")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("Bo and Di")).to_be_visible()
    assert page.url == f"{shown.url}/shared/{link.id}/"
    assert told.rightly
    assert told.wrongly == []
    with tenant_scope(shown.admin.workspace_id):
        revoke_link(link=link, by=shown.admin)
    allowed_errors.append("status of 404")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("This link does not open")
    page.get_by_role("link", name="Paste the link").click()
    page.get_by_label("Link").fill("of an old mail")
    page.get_by_label("Link").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link does not open")


# --- Mail ------------------------------------------------------------------------------------------------------------
def here(studio: Studio, link: str) -> str:
    """A link of a mail, which begins with BASE_URL, at the server of the tests."""
    assert link.startswith(settings.BASE_URL)
    return studio.url + link.removeprefix(settings.BASE_URL)


@looks
def test_forgotten_password_from_the_click_to_a_new_one(
    scheme: str,
    width: int,
    studio: Studio,
    new_page: Callable[..., Page],
    sign_in: SignIn,
    mailoutbox: list[Any],
) -> None:
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"{studio.url}/accounts/login/")
    page.get_by_role("link", name="Forgot it?").click()
    page.get_by_label("E-mail address").fill("mel@northlight.test")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look into your mail")
    link = here(studio, link_in(mailoutbox[-1].body, TO_RESET))
    told = watch(page, urlsplit(link).fragment.partition("-")[2])
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Set a new password")
    assert page.url.endswith("-set-password/")
    page.get_by_label("New password").fill(NEW)
    page.get_by_label("The same again").fill(NEW)
    check(page, "new-password", scheme, width)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new password is set")
    page.goto(f"{studio.url}/accounts/login/")
    page.get_by_label("E-mail address").fill("mel@northlight.test")
    page.get_by_label("Password").fill(NEW)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{studio.url}/")
    # Used up, and asked for where it has lost what stands behind its #.
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text("This link is used up")
    check(page, "link-used-up", scheme, width)
    page.goto(link.partition("#")[0])
    expect(page.get_by_label("Link")).to_be_visible()
    check(page, "mail-link", scheme, width)
    assert told.rightly
    assert told.wrongly == []


def test_address_is_confirmed_by_mail(
    studio: Studio, page: Page, new_page: Callable[..., Page], sign_in: SignIn, mailoutbox: list[Any]
) -> None:
    sign_in(page, "/accounts/email/", "mel@northlight.test")
    page.get_by_label("New address").fill("melanie@northlight.test")
    page.get_by_role("button", name="Send the link").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.goto(f"{studio.url}/accounts/email/")
    page.get_by_label("New address").fill("melanie@northlight.test")
    page.get_by_role("button", name="Send the link").last.click()
    expect(page.locator("main")).to_contain_text("We have sent a link to melanie@northlight.test")
    link = here(studio, link_in(mailoutbox[-1].body, TO_CONFIRM))
    # On the telephone that the mail is read on.
    other = new_page(viewport={"width": 390, "height": 844})
    told = watch(other, urlsplit(link).fragment)
    other.goto(link)
    expect(other.get_by_role("heading", level=1)).to_have_text("Is this your address?")
    assert other.url == link.partition("#")[0]
    check(other, "confirm-address", "light", 390)
    other.get_by_role("button", name="Yes, it is mine").click()
    other.wait_for_url(re.compile("/accounts/login/"))
    page.goto(f"{studio.url}/settings/security/")
    expect(page.locator("main")).to_contain_text("melanie@northlight.test")
    assert told.rightly
    assert told.wrongly == []


def test_link_of_a_mail_is_pasted_where_there_is_no_script(
    studio: Studio, new_page: Callable[..., Page], mailoutbox: list[Any]
) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{studio.url}/accounts/password/reset/")
    page.get_by_label("E-mail address").fill("mel@northlight.test")
    page.get_by_role("button", name="Send the link").click()
    link = here(studio, link_in(mailoutbox[-1].body, TO_RESET))
    page.goto(link)
    page.get_by_label("Link").fill(link)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("New password").fill(NEW)
    page.get_by_label("The same again").fill(NEW)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new password is set")
