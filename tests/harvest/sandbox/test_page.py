"""The sandbox's own page: once over plain HTTP, once in a browser."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from harvest.sandbox import CLIENT_ID, Sandbox, SandboxServer

from .conftest import Api, World

CONSENT = "/oauth2/authorize?client_id={}&response_type=code&state=7&redirect_uri={}"


def test_every_word_from_outside_is_escaped(server: SandboxServer, world: World) -> None:
    world.account.edit("clients", world.ids.client, name="<b>Acme</b>")
    entry = world.entry(notes="<script>alert(1)</script>")
    for path in ("/", f"/_sandbox/entries/880123/{entry}", "/?q=<script>"):
        page = httpx.get(server.base_url + path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<b>Acme" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_filters_and_pages_without_a_browser(server: SandboxServer, world: World) -> None:
    for number in range(30):
        world.entry(notes=f"Note {number:02}", spent_on=f"2026-05-{number + 1:02}")
    first = httpx.get(server.base_url + "/").text
    assert "Note 29" in first
    assert "Note 04" not in first
    assert "Note 04" in httpx.get(server.base_url + "/?page=2").text
    found = httpx.get(server.base_url + "/?q=note 07&from=2026-05-01").text
    assert ("Note 07" in found, "Note 08" in found) == (True, False)
    assert httpx.get(server.base_url + "/?from=soon").status_code == 400
    assert httpx.get(server.base_url + "/_sandbox/entries/880123/1").status_code == 404


@pytest.mark.e2e
def test_a_person_works_with_the_page(
    new_page: Callable[..., Page], server: SandboxServer, sandbox: Sandbox, world: World, api: Api
) -> None:
    page = new_page(viewport={"width": 1280, "height": 900})
    page.goto(server.base_url)
    page.get_by_text("Add time").click()
    page.locator(".add").get_by_label("Hours").fill("2.75")
    page.locator(".add").get_by_label("Notes").fill("Made on the page")
    page.get_by_role("button", name="Add entry").click()
    row = page.get_by_role("row").filter(has_text="Made on the page")
    expect(row).to_contain_text("2.75")
    row.get_by_role("button", name="Lock").click()
    expect(row).to_contain_text("locked")
    row.get_by_role("button", name="Unlock").click()
    row.get_by_role("link", name="Edit").click()
    page.get_by_label("Hours").fill("3.00")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("3.00")
    row.get_by_role("link", name="Edit").click()
    page.get_by_role("button", name="Start timer").click()
    expect(row).to_contain_text("running")
    row.get_by_role("button", name="Stop").click()
    row.get_by_role("link", name="Edit").click()
    page.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)

    page.get_by_label("Kind").select_option("503")
    page.get_by_role("button", name="Put in force").click()
    expect(page.get_by_role("status")).to_contain_text("1 fault in force")
    assert api.get("/company").status_code == 503
    page.reload()
    expect(page.get_by_role("row").filter(has_text="/v2/company")).to_contain_text("503")
    page.get_by_label("Rotate refresh tokens").check()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_label("Rotate refresh tokens")).to_be_checked()
    assert sandbox.identity.rotate
    page.get_by_role("button", name="Revoke").first.click()
    expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
    assert api.get("/company").status_code == 401


@pytest.mark.e2e
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(
    new_page: Callable[..., Page],
    allowed_errors: list[str],
    server: SandboxServer,
    sandbox: Sandbox,
    world: World,
    scheme: str,
) -> None:
    allowed_errors.append("404")  # the last page
    entry = world.entry(notes="W" * 300)
    sandbox.fault("slow", path="/a-rather-long-path-that-goes-on-and-on-and-on-and-on", times=None)
    page = new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    consent = CONSENT.format(CLIENT_ID, "http://localhost:8000/" + "callback" * 12)
    for path in ("/", f"/_sandbox/entries/880123/{entry}", consent, "/_sandbox/entries/880123/1"):
        page.goto(server.base_url + path)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path


@pytest.mark.e2e
def test_consent_in_a_browser(new_page: Callable[..., Page], server: SandboxServer, sandbox: Sandbox) -> None:
    sandbox.add_person("Bob", "Member", "bob@sandbox.example")
    page = new_page()
    # The app's callback is a page of this server, that the browser may end up somewhere.
    page.goto(server.base_url + CONSENT.format(CLIENT_ID, server.base_url + "/?q="))
    page.get_by_label("Signed in as").select_option("Bob Member")
    page.get_by_role("button", name="Switch").click()
    expect(page.get_by_role("main")).to_contain_text("bob@sandbox.example")
    page.get_by_role("button", name="Authorize app").click()
    page.wait_for_url("**/?q=&code=*&scope=harvest%3A880123&state=7")
    (grant,) = sandbox.identity.codes.values()
    assert sandbox.identity.people[grant.person_id].first_name == "Bob"
