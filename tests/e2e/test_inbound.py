"""Inbound in a real browser: triage by keyboard and by mouse, without JavaScript, adjustments, phone and dark mode."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from accounts.tenancy import tenant_scope
from inbound.models import Adjustment, TimeProposal
from tests.conftest import ARTIFACTS
from tests.e2e.conftest import PASSWORD, Studio, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_adjustment, make_proposal, make_time_log, make_work_item
from timelogs.models import TimeLog

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]


def rows(page: Page) -> Locator:
    return page.locator("#pipeline > li")


def states(page: Page) -> list[str | None]:
    return [one.get_attribute("data-state") for one in rows(page).all()]


@pytest.fixture
def pipeline(studio: Studio) -> Studio:
    """Six proposals: three like ACME-12 of the studio, one like a second item, two like nothing. Newest last made."""
    make_work_item(studio.acme, "Newsletter spring", key="ACME-13")
    today = studio.admin.workspace.today()
    for notes in ("Newsletter spring: pictures", "Weekly call", "Weekly call"):
        make_proposal(studio.member, studio.acme, notes=notes, on=today)
    return studio


def test_whole_pipeline_by_keyboard(pipeline: Studio, page: Page, sign_in: SignIn) -> None:
    """From the top: two calls without a suggestion, the newsletter, three logos."""
    sign_in(page, "/inbound/")
    said, press = page.locator("#said"), page.keyboard.press
    expect(rows(page)).to_have_count(6)
    press("j")
    expect(rows(page).nth(0)).to_be_focused()
    press("ArrowDown")
    press("j")
    expect(rows(page).nth(2)).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("k")
    expect(rows(page).nth(1)).to_be_focused()
    press("a")
    expect(said).to_have_text("No work item is suggested. Press o to say where it goes.")
    press("j")
    press("Enter")
    expect(said).to_have_text("1 h 00 m is on ACME-13 now.")
    expect(rows(page).nth(2)).to_contain_text("Accepted on ACME-13")
    expect(rows(page).nth(3)).to_be_focused()  # the next that waits
    press("1")
    expect(said).to_have_text("1 h 00 m is on ACME-12 now.")
    expect(rows(page).nth(4)).to_be_focused()
    press("3")
    expect(said).to_have_text("There is no suggestion 3.")
    press("d")
    expect(said).to_contain_text("Dismissed 1 h 00 m for Acme.")
    assert states(page) == ["pending", "pending", "accepted", "accepted", "dismissed", "pending"]
    press("u")
    expect(said).to_have_text("1 h 00 m for Acme waits again.")
    expect(rows(page).nth(4)).to_be_focused()
    press("u")
    expect(rows(page).nth(3)).to_be_focused()
    assert states(page) == ["pending", "pending", "accepted", "pending", "pending", "pending"]
    with tenant_scope(pipeline.admin.workspace_id):
        assert TimeProposal.objects.filter(status="accepted").count() == 1
        assert TimeLog.objects.filter(source="harvest").count() == 1

    page.locator("#pipeline > li").first.focus()
    press("x")
    expect(said).to_have_text("Chosen: 1 in all.")
    press("j")
    press("o")
    place = page.get_by_label("Put the chosen ones on")
    expect(place).to_be_focused()
    page.keyboard.type("ajdux ACME-12")  # keys are the field's own there
    expect(place).to_have_value("ajdux ACME-12")
    place.fill("ACME-12")
    press("Enter")
    expect(page.locator("#notices")).to_contain_text("Accepted 2 of 2.")
    expect(rows(page)).to_have_count(3)
    # Suggestions have learnt where the calls go.
    make_proposal(pipeline.member, pipeline.acme, notes="weekly call", on=pipeline.admin.workspace.today())
    page.reload()
    expect(rows(page)).to_have_count(4)
    press("j")
    for _ in range(4):  # faster than the answers come
        press("a")
    expect(page.locator('#pipeline > li[data-state="pending"]')).to_have_count(0)
    expect(page.get_by_text("All of these are decided.")).to_be_visible()
    page.get_by_role("link", name="See what waits next").click()
    expect(page.get_by_text("Nothing waits")).to_be_visible()


def test_help_and_turning_keys_off(pipeline: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, "/inbound/")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("j")  # not while it is open
    dialog.get_by_role("button", name="Turn keys off").click()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("j")
    page.keyboard.press("d")
    assert page.locator("#pipeline > li:focus").count() == 0
    page.reload()
    page.get_by_role("button", name="Keyboard").click()
    dialog.get_by_role("button", name="Turn keys on").click()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(rows(page).nth(0)).to_be_focused()
    assert states(page) == ["pending"] * 6


def test_clicks_filters_and_refusals(
    pipeline: Studio, page: Page, sign_in: SignIn, allowed_errors: list[str]
) -> None:
    allowed_errors.append("409")
    sign_in(page, "/inbound/")
    page.get_by_label("In notes").press_sequentially("logo")
    expect(rows(page)).to_have_count(3)
    expect(page).to_have_url(re.compile(r"[?&]q=logo"))
    first = rows(page).first
    first.get_by_role("button", name="Accept on ACME-12").click()
    expect(first).to_contain_text("Accepted on ACME-12")
    first.get_by_role("button", name="Undo").click()
    expect(first).to_have_attribute("data-state", "pending")
    with tenant_scope(pipeline.admin.workspace_id):
        TimeProposal.objects.filter(id=first.get_attribute("data-row")).update(status="withdrawn")
    first.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#toasts")).to_contain_text("its entry is gone in Harvest")
    page.get_by_role("link", name="Clear filters").click()
    expect(rows(page)).to_have_count(5)


def test_without_javascript(pipeline: Studio, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        page.goto(f"{pipeline.url}/accounts/login/?next=/inbound/")
        page.get_by_label("E-mail address").fill("ada@northlight.test")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_label("In notes").fill("logo")
        page.get_by_role("button", name="Filter").click()
        expect(rows(page)).to_have_count(3)
        expect(page.get_by_role("button", name="Keyboard")).to_be_hidden()
        rows(page).first.get_by_role("button", name="Accept on ACME-12").click()
        expect(page.locator("#notices")).to_contain_text("1 h 00 m is on ACME-12 now.")
        expect(rows(page)).to_have_count(2)
        page.locator("#notices").get_by_role("button", name="Undo").click()
        expect(page.locator("#notices")).to_contain_text("waits again")
        for box in page.locator("#pipeline input[type=checkbox]").all():
            box.check()
        page.get_by_role("button", name="Dismiss chosen").click()
        expect(page.locator("#notices")).to_contain_text("Dismissed 3 of 3.")
    finally:
        context.close()


def test_adjustments(pipeline: Studio, page: Page, sign_in: SignIn) -> None:
    logs = [make_time_log(pipeline.member, pipeline.acme, activity_type=pipeline.design) for _ in range(2)]
    make_adjustment(logs[0], seconds=5400, notes="Longer")
    make_adjustment(logs[1], billable=False)
    sign_in(page, "/inbound/")
    page.get_by_role("link", name="Adjustments").click()
    expect(rows(page)).to_have_count(2)
    longer = rows(page).filter(has_text="Longer")
    expect(longer).to_contain_text("+30 m")
    expect(longer.get_by_role("row", name="Time")).to_contain_text("1 h 30 m")
    longer.get_by_role("button", name="Accept for the next statement").click()
    expect(page.locator("#said")).to_have_text("+30 m goes onto Acme's next statement.")
    page.keyboard.press("d")
    expect(page.locator("#said")).to_contain_text("is dismissed.")
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(page.locator('#pipeline > li[data-state="pending"]')).to_have_count(2)
    assert_accessible(page)
    with tenant_scope(pipeline.admin.workspace_id):
        assert set(Adjustment.objects.values_list("status", flat=True)) == {"pending"}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_looks(scheme: Any, width: int, pipeline: Studio, page: Page, sign_in: SignIn) -> None:
    log = make_time_log(pipeline.member, pipeline.acme, activity_type=pipeline.design, notes="Header")
    make_adjustment(log, seconds=5400, notes="Header and footer, and a call about both")
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    sign_in(page, "/inbound/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#said")).to_contain_text("ACME-13")
    for name, path in [("pipeline", ""), ("adjustments", "/inbound/adjustments/")]:
        if path:
            page.goto(f"{pipeline.url}{path}")
        assert_no_sideways_scroll(page)
        assert_accessible(page)
        page.screenshot(path=ARTIFACTS / f"inbound-{name}-{scheme}-{width}.png", full_page=True)
