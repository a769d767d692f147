"""The ground's pages in a real browser: logging time, filters, undo, workspaces, keyboard, phone, dark mode."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from accounts.tenancy import tenant_scope
from tests.e2e.conftest import Studio, assert_accessible, assert_no_sideways_scroll
from timelogs.models import TimeLog, WorkItem

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]


def total(page: Page, name: str) -> Locator:
    return page.locator("#totals > div").filter(has_text=re.compile(f"^{name}")).locator("dd")


def log_form(page: Page) -> Locator:
    return page.locator("#log-form")


def test_time_is_logged_edited_deleted_and_brought_back_in_place(
    studio: Studio, page: Page, sign_in: SignIn
) -> None:
    sign_in(page, "/time-logs/")
    expect(total(page, "Logs")).to_have_text("7")
    form = log_form(page)
    place = form.get_by_label("Client, project or work item")
    place.focus()
    expect(page.locator("#places option").first).to_be_attached()
    assert "Acme / Website" in page.locator("#places option").all_text_contents()
    place.fill("Acme / Website")
    form.get_by_label("Duration").fill("1h 45")
    expect(form.locator("output")).to_have_text("1 h 45 m")
    form.get_by_label("Activity type").select_option("Design")
    form.get_by_label("Notes").fill("Sketches of the hero")
    form.get_by_role("button", name="Log time").click()
    expect(page.locator("#toasts")).to_contain_text("Logged 1 h 45 m for Website.")
    row = page.locator("#list tbody tr").filter(has_text="Sketches of the hero")
    expect(row).to_contain_text("USD175.00")
    expect(total(page, "Logs")).to_have_text("8")
    expect(place).to_have_value("")  # ready for the next one
    expect(place).to_be_focused()

    row.get_by_role("link", name="Edit").click()
    editing = page.locator("tr.editing")
    editing.get_by_label("Notes").fill("Never mind")
    editing.get_by_role("button", name="Cancel").click()
    expect(row.get_by_role("link", name="Edit")).to_be_focused()
    row.get_by_role("link", name="Edit").click()
    duration = editing.get_by_label("Duration")
    expect(duration).to_have_value("1:45")
    expect(editing.get_by_label("Client, project or work item")).to_be_focused()  # typing begins there
    duration.fill("2")
    editing.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("2 h 00 m")
    expect(row.get_by_role("link", name="Edit")).to_be_focused()
    assert page.url == f"{studio.url}/time-logs/"

    expect(total(page, "Time")).to_have_text("12 h 45 m")
    row.get_by_role("button", name="Delete").click()
    gone = page.locator("tr.gone")
    expect(gone).to_contain_text("Deleted 2 h 00 m for Acme / Website.")
    expect(total(page, "Logs")).to_have_text("7")
    gone.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text("2 h 00 m")
    expect(total(page, "Time")).to_have_text("12 h 45 m")
    with tenant_scope(studio.admin.workspace_id):
        log = TimeLog.objects.get(notes="Sketches of the hero")
    assert (log.seconds, log.deleted_at, log.project_id) == (7200, None, studio.website.id)


def test_bad_input_is_said_at_its_field_without_losing_the_rest(
    page: Page, sign_in: SignIn, allowed_errors: list[str]
) -> None:
    allowed_errors.append("status of 422")
    sign_in(page, "/time-logs/")
    form = log_form(page)
    form.get_by_label("Client, project or work item").fill("Nobody")
    form.get_by_label("Duration").fill("soon")
    form.get_by_label("Notes").fill("Kept")
    form.get_by_role("button", name="Log time").click()
    expect(form.get_by_text("Nothing active is called that.")).to_be_visible()
    expect(form.get_by_text("Type it like 1:30, 1.5, 90m or 1h 30m.")).to_be_visible()
    expect(form.get_by_label("Notes")).to_have_value("Kept")
    assert_accessible(page)


def test_filters_are_live_and_in_the_address(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, "/time-logs/")
    filters = page.locator("#filters")
    filters.get_by_label("Client").select_option("Acme")
    expect(total(page, "Logs")).to_have_text("3")
    expect(page).to_have_url(f"{studio.url}/time-logs/?client={studio.acme.id}")
    filters.get_by_label("Project").select_option("Website")
    expect(total(page, "Logs")).to_have_text("1")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.go_back()
    expect(total(page, "Logs")).to_have_text("3")
    expect(filters.get_by_label("Client")).to_have_value(str(studio.acme.id))
    page.reload()
    expect(total(page, "Logs")).to_have_text("3")
    page.get_by_role("link", name="Clear filters").click()
    expect(total(page, "Logs")).to_have_text("7")
    filters.get_by_label("In notes").press_sequentially("day 4")
    expect(total(page, "Logs")).to_have_text("1")
    expect(filters.get_by_label("In notes")).to_be_focused()
    filters.get_by_label("In notes").fill("nothing like it")
    expect(page.get_by_text("No time matches")).to_be_visible()
    page.get_by_role("link", name="Clear filters").click()
    expect(total(page, "Logs")).to_have_text("7")
    page.get_by_role("link", name="Today").click()
    expect(total(page, "Logs")).to_have_text("2")


def test_what_is_pressed_beside_the_words_typed_is_not_taken_away(
    studio: Studio, page: Page, sign_in: SignIn
) -> None:
    """Leaving a field that was asked as it was typed asks nothing again: a press of half a second still is a click."""
    sign_in(page, "/time-logs/")
    page.locator("#filters").get_by_label("In notes").press_sequentially("day 4")
    expect(total(page, "Logs")).to_have_text("1")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("link", name="Clear filters").click(delay=500)
    expect(total(page, "Logs")).to_have_text("7")
    assert page.url == f"{studio.url}/time-logs/"
    assert [url for url in asked if "q=" in url] == []


@pytest.mark.parametrize("press", ["short", "held"])
def test_an_answer_waits_until_a_press_is_over(
    studio: Studio, page: Page, sign_in: SignIn, press: str
) -> None:
    """A list drawn anew under the finger would swallow the click; one that is held for long is not waited for."""
    sign_in(page, "/time-logs/")
    page.goto(f"{studio.url}/time-logs/?q=day+4")
    link = page.get_by_role("link", name="Clear filters")
    link.hover()
    page.evaluate("document.querySelector('#list').dataset.old = ''")
    old = page.locator("#list[data-old]")
    page.mouse.down()
    with page.expect_response(lambda answer: "time-logs" in answer.url):
        page.evaluate("htmx.trigger(document.body, 'time-logs-added')")
    page.wait_for_timeout(200)
    expect(old).to_have_count(1)
    if press == "held":
        expect(old).to_have_count(0)
    page.mouse.up()
    if press == "short":
        expect(total(page, "Logs")).to_have_text("7")
        assert page.url == f"{studio.url}/time-logs/"


def test_a_press_that_is_no_click_holds_nothing_back(studio: Studio, page: Page, sign_in: SignIn) -> None:
    """The mouse is let go elsewhere than it was pressed, so no click follows: what is asked next is shown as ever."""
    sign_in(page, "/time-logs/")
    page.get_by_role("link", name="Today").hover()
    page.mouse.down()
    page.get_by_label("In notes").hover()
    page.mouse.up()
    page.get_by_label("In notes").focus()
    page.keyboard.type("day 4")
    expect(total(page, "Logs")).to_have_text("1")


def test_older_and_newer(studio: Studio, page: Page, sign_in: SignIn) -> None:
    with tenant_scope(studio.admin.workspace_id):
        first = TimeLog.objects.order_by("spent_date")[0]
        from accounts.ids import uuid7

        TimeLog.objects.bulk_create(
            TimeLog(id=uuid7(), workspace=first.workspace, client_id=first.client_id, owner_id=first.owner_id,
                    spent_date=first.spent_date, seconds=60)
            for _ in range(60)
        )  # fmt: skip
    sign_in(page, "/time-logs/")
    expect(page.locator("#list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#list tbody tr")).to_have_count(17)
    expect(total(page, "Logs")).to_have_text("67")
    page.get_by_role("link", name="Newer").click()
    expect(page.locator("#list tbody tr")).to_have_count(50)


def test_workspace_is_switched_from_the_rail(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, f"/clients/{studio.acme.id}/")
    page.locator(".switcher summary").click()
    page.get_by_role("button", name="Second Studio").click()
    expect(page).to_have_url(f"{studio.url}/clients/")
    expect(page.locator(".switcher summary")).to_contain_text("Second Studio")
    expect(page.get_by_text("No clients yet")).to_be_visible()


def test_client_is_made_and_deleted_after_a_dialog(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, "/clients/")
    page.get_by_role("link", name="Add client").click()
    page.get_by_label("Name").fill("Passing Trade")
    page.get_by_role("button", name="Add client").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Passing Trade")
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete Passing Trade?")
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("#notices")).to_contain_text("Passing Trade is deleted.")
    search = page.get_by_label("Find a client")
    search.press_sequentially("acm")
    expect(page.locator("#clients tbody tr")).to_have_count(1)
    expect(page).to_have_url(f"{studio.url}/clients/?q=acm")


def test_proposals_are_decided(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page, "/inbound/")
    expect(page.locator(".proposal")).to_have_count(3)
    page.locator(".proposal").first.get_by_role("button", name="Accept on ACME-12").click()
    expect(page.locator("#said")).to_have_text("1 h 00 m is on ACME-12 now.")
    page.locator(".proposal").nth(1).get_by_role("button", name="Dismiss").click()
    page.locator(".proposal").nth(1).get_by_role("button", name="Let it wait again").click()
    expect(page.locator(".proposal input[type=checkbox]")).to_have_count(2)
    for box in page.locator(".proposal input[type=checkbox]").all():
        box.check()
    field = page.get_by_label("Put the chosen ones on")
    field.fill("ACME-12")
    field.press("Enter")
    expect(page.locator("#notices")).to_contain_text("Accepted 2 of 2.")
    expect(page.get_by_text("Nothing waits")).to_be_visible()
    with tenant_scope(studio.admin.workspace_id):
        assert TimeLog.objects.filter(work_item=WorkItem.objects.get(key="ACME-12")).count() == 4


def test_theme_is_chosen_and_kept(studio: Studio, page: Page, sign_in: SignIn) -> None:
    sign_in(page)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.goto(f"{studio.url}/clients/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_keyboard_alone_signs_in_logs_time_and_edits_it(studio: Studio, page: Page) -> None:
    page.goto(f"{studio.url}/accounts/login/?next=/time-logs/")
    keys = page.keyboard

    def tab_to(name: str, most: int = 60) -> None:
        """Tab until the element that has this accessible name is focused, which must then be seen to be."""
        for _ in range(most):
            keys.press("Tab")
            focused = page.evaluate(
                """() => { const one = document.activeElement;
                  return [(one.labels?.[0] ?? one).textContent.trim(), getComputedStyle(one).outlineStyle] }"""
            )
            if focused[0].startswith(name):
                assert focused[1] != "none", name
                return
        raise AssertionError(f"{name} is not reached by Tab")

    page.get_by_label("E-mail address").focus()
    keys.type("ada@northlight.test")
    tab_to("Password")
    keys.type("correct-horse-9")
    keys.press("Enter")
    page.wait_for_url(f"{studio.url}/time-logs/")
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    keys.press("Enter")
    tab_to("Client, project or work item")
    keys.type("ACME-12")
    tab_to("Duration")
    keys.type("30m")
    tab_to("Notes")
    keys.type("By keyboard")
    tab_to("Log time")
    keys.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Logged 30 m for Website.")
    row = page.locator("#list tbody tr").filter(has_text="By keyboard")
    row.get_by_role("link", name="Edit").focus()
    keys.press("Enter")
    expect(page.locator("tr.editing")).to_be_visible()
    tab_to("Duration")
    keys.press("Control+a")
    keys.type("0:45")
    keys.press("Enter")
    expect(row).to_contain_text("45 m")
    expect(row.get_by_role("link", name="Edit")).to_be_focused()


def test_drawer_on_a_phone(studio: Studio, new_page: Callable[..., Page], sign_in: SignIn) -> None:
    page = sign_in(new_page(viewport={"width": 360, "height": 740}, has_touch=True))
    place = page.get_by_role("link", name="Clients")
    expect(place).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(place).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(place).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    place.click()
    expect(page).to_have_url(f"{studio.url}/clients/")


def test_pages_do_their_work_without_javascript(
    studio: Studio, new_page: Callable[..., Page], sign_in: SignIn
) -> None:
    page = sign_in(new_page(java_script_enabled=False), "/time-logs/")
    form = log_form(page)
    form.get_by_label("Client, project or work item").fill("acme")
    form.get_by_label("Duration").fill("1.5")
    form.get_by_label("Notes").fill("No scripts")
    form.get_by_role("button", name="Log time").click()
    expect(page.locator("#notices")).to_contain_text("Logged 1 h 30 m for Acme.")
    row = page.locator("#list tbody tr").filter(has_text="No scripts")
    row.get_by_role("link", name="Edit").click()
    page.get_by_label("Duration").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("2 h 00 m")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text("2 h 00 m")
    filters = page.locator("#filters")
    filters.get_by_label("Client").select_option("Acme")
    filters.get_by_role("button", name="Filter").click()
    expect(total(page, "Logs")).to_have_text("4")


def paths(studio: Studio) -> list[str]:
    """Every page of the ground."""
    client = f"/clients/{studio.acme.id}/"
    with tenant_scope(studio.admin.workspace_id):
        log = TimeLog.objects.filter(client=studio.acme)[0]
        item = WorkItem.objects.get()
    return [
        "/", "/?who=me", "/time-logs/", "/time-logs/new/", f"/time-logs/{log.id}/edit/", "/time-logs/deleted/",
        f"/time-logs/?client={studio.acme.id}&activity_type={studio.design.id}", "/inbound/",
        "/inbound/?status=dismissed", "/inbound/adjustments/", "/clients/", "/clients/?archived=1", "/clients/new/",
        client, f"{client}edit/", f"{client}delete/",
        f"{client}projects/new/", f"{client}projects/{studio.website.id}/", f"{client}contacts/new/",
        f"{client}work-items/", f"{client}work-items/new/", f"{client}work-items/{item.id}/",
        "/settings/activity-types/", "/settings/activity-types/new/", "/settings/people/", "/settings/api-keys/",
        "/settings/workspace/", f"/settings/people/{studio.member.id}/remove/", "/accounts/password/change/",
    ]  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_every_page_is_accessible_and_fits(
    scheme: str,
    width: int,
    studio: Studio,
    new_page: Callable[..., Page],
    sign_in: SignIn,
    allowed_errors: list[str],
) -> None:
    allowed_errors.append("status of 404")
    page = new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path in (
        "/accounts/login/",
        "/accounts/password/reset/",
        "/accounts/password/reset/done/",
        "/no/such/page/",
    ):
        page.goto(studio.url + path)
        assert_accessible(page)
        assert_no_sideways_scroll(page)
    sign_in(page)
    for path in [*paths(studio), "/no/such/page/"]:
        page.goto(studio.url + path)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert_accessible(page)
        assert_no_sideways_scroll(page)
    page.goto(f"{studio.url}/time-logs/")
    page.locator("#list tbody").get_by_role("link", name="Edit").first.click()
    expect(page.locator("tr.editing")).to_be_visible()
    assert_accessible(page)
    assert_no_sideways_scroll(page)
