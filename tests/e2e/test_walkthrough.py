"""Harvest in the browser, with a real worker: connect, map, import, look into it, disconnect, connect again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from harvest.sandbox import ADMIN_TOKEN, Sandbox, SandboxServer
from harvest.sandbox import studio as believable
from integrations.models import Connection, ConnectionStatus
from tests.e2e.conftest import PASSWORD, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_activity_type, make_client, make_project, make_workspace
from tests.harvest.pages import PAGE
from tests.worker import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.worker, pytest.mark.django_db(transaction=True)]

EMAIL = "ada@northlight.test"
REFUSED = r"status of 422"


@pytest.fixture
def sandbox(settings: Any) -> Any:
    with SandboxServer(Sandbox.empty(name="Northlight", rate_limit=False)) as server:
        settings.HARVEST_API_URL, settings.HARVEST_ID_URL = server.api_url, server.base_url
        yield server.sandbox


@pytest.fixture
def admin(transactional_db: None) -> Membership:
    """A workspace with two clients, three projects and two activity types."""
    admin = make_workspace("Northlight", email=EMAIL, password=PASSWORD, person_name="Ada Admin")
    acme = make_client(admin.workspace, "Acme")
    for name in ("Website", "Second"):
        make_project(acme, name)
    make_project(make_client(admin.workspace, "Birch"), "App for Birch")
    for name in ("Design", "Code"):
        make_activity_type(admin.workspace, name, "100.00")
    return admin


@pytest.fixture
def remote(sandbox: Sandbox) -> dict[str, int]:
    """The same in Harvest, with fourteen entries in June: twelve of them new to come, one in already, one unmapped."""
    account = sandbox.account
    acme, birch = account.add_client("Acme"), account.add_client("Birch")
    ids = {
        "Website": account.add_project(acme, "Website"),
        "App": account.add_project(birch, "App"),
        "Design": account.add_task("Design"),
    }
    for day in range(1, 14):
        add(sandbox, ids, "Website", f"2026-06-{min(day, 12):02d}", "2.11", f"Work number {day}")
    return ids


def add(sandbox: Sandbox, ids: dict[str, int], project: str, on: str, hours: str, notes: str) -> None:
    sandbox.account.add_entry(project=ids[project], task=ids["Design"], spent_on=on, hours=hours, notes=notes)


@pytest.fixture
def enter(live_server: Any) -> Callable[[Page, str], Page]:
    """Sign in by the form and go on to a page."""

    def sign_in(page: Page, path: str = PAGE) -> Page:
        expect.set_options(timeout=15_000)
        page.set_default_timeout(30_000)  # the first page of a server waits for all that it imports
        page.goto(f"{live_server.url}/accounts/login/?next={path}")
        page.get_by_label("E-mail address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(f"{live_server.url}{path}")
        return page

    return sign_in


def connect(page: Page, token: str = ADMIN_TOKEN) -> None:
    page.get_by_label("Account ID").fill("880123")
    page.get_by_label("Personal access token").fill(token)
    page.locator(".connect").get_by_role("button", name=re.compile("^Connect")).click()


def save(page: Page, changes: str) -> None:
    bar = page.locator("[data-bar]")
    expect(bar).to_contain_text(changes)
    bar.get_by_role("button", name="Save mappings").click()
    expect(page.locator("#mappings")).to_contain_text("Saved")
    expect(bar).to_be_hidden()


def tab(page: Page, name: str) -> None:
    page.get_by_label("Mapping tables").get_by_role("link", name=name).click()


def import_window(page: Page, first: str, last: str) -> float:
    """Import these days; returns the seconds from the click to the result."""
    page.get_by_label("From", exact=True).fill(first)
    page.get_by_label("To", exact=True).fill(last)
    heading = page.locator("#run.done h3")
    began = time.monotonic()
    page.get_by_role("button", name="Import from Harvest").click()
    page.wait_for_function(
        "days => document.querySelector('#run.done h3')?.textContent.includes(days)",
        arg=f"({first} → {last})",
    )
    expect(heading).to_be_visible()
    return time.monotonic() - began


def test_the_walkthrough(
    page: Page,
    enter: Callable[..., Page],
    admin: Membership,
    sandbox: Sandbox,
    remote: dict[str, int],
    celery_worker_process: Worker,
    allowed_errors: list[str],
) -> None:
    allowed_errors.append(REFUSED)
    enter(page, "/integrations/")
    page.get_by_role("link", name="Integrate").click()
    connection, mappings, run = page.locator("#connection"), page.locator("#mappings"), page.locator("#run")

    # A wrong token is an error on that form.
    connect(page, "123.pt.wrong")
    expect(connection).to_contain_text("Harvest does not accept these credentials")
    expect(page.get_by_label("Personal access token")).to_have_value("")
    expect(mappings).to_have_count(0)

    # The right one: Connected, and the tables at once.
    connect(page)
    expect(connection.locator(".badge")).to_have_text("Connected")
    expect(connection).to_contain_text("by Ada Admin")
    expect(mappings).to_contain_text("0 of 2 mapped")

    # Map by hand in one table, by name in another: one bar for both, and nothing is lost between them.
    tab(page, "Projects")
    page.get_by_label("AppBirch").fill("Website")
    tab(page, "Tasks")
    page.get_by_role("button", name="Match by name").locator("visible=true").click()
    expect(mappings).to_contain_text("1 matched by name")
    expect(page.get_by_label("Design", exact=True)).to_have_value("Design")
    tab(page, "Projects")
    expect(page.get_by_label("AppBirch")).to_have_value("Website")
    save(page, "2 changes")

    # One to one: what had to go is named.
    page.get_by_label("WebsiteAcme").fill("Website")
    save(page, "1 change")
    expect(mappings).to_contain_text("“App” is no longer mapped: “Website” went to “Website”.")

    # One entry is in already; of fourteen, twelve come in.
    import_window(page, "2026-06-01", "2026-06-01")
    expect(run).to_contain_text("Imported 1 of 1 entry (2026-06-01 → 2026-06-01)")
    add(sandbox, remote, "App", "2026-06-05", "3.00", "Not mapped yet")
    import_window(page, "2026-06-01", "2026-06-12")
    said = run.inner_text()
    assert "Imported 12 of 14 entries (2026-06-01 → 2026-06-12)" in said
    assert said.index("Skipped:") < said.index("Project not mapped: 1") < said.index("Already imported: 1")

    # A group opens to its entries, with the remedy beside it.
    run.get_by_text("Project not mapped: 1").click()
    expect(run).to_contain_text("Not mapped yet")
    run.get_by_role("link", name="Map this project").click()
    expect(page.get_by_label("AppBirch")).to_be_visible()
    expect(page.get_by_label("WebsiteAcme")).to_be_hidden()
    page.get_by_label("AppBirch").fill("App for Birch")
    save(page, "1 change")
    expect(mappings).to_contain_text("1 entry, 3 h, that was skipped can come in now.")
    mappings.get_by_role("button", name="Bring them in").click()
    expect(run).to_contain_text("Imported 1 of 1 entry")
    expect(page.locator("#history tbody tr")).to_have_count(3)

    # The time is on the Time logs page.
    page.goto(f"{page.url.split('/integrations')[0]}/time-logs/?from=2026-06-01&to=2026-06-12")
    expect(page.locator("main")).to_contain_text("Work number 7")
    expect(page.locator("main")).to_contain_text("Not mapped yet")
    expect(page.locator(".totals")).to_contain_text("14")

    # History: a run opens to its entries, filterable.
    page.goto(page.url.split("/time-logs")[0] + PAGE)
    page.locator("#history tbody tr").nth(1).get_by_role("link").click()
    page.get_by_label("Which entries").get_by_role("link", name="Imported 12", exact=True).click()
    expect(page.locator("#entries tbody tr")).to_have_count(12)
    page.get_by_role("link", name="Harvest", exact=True).click()

    # Disconnect: a question with its consequence, then what was done.
    page.locator("#connection").get_by_role("link", name="Disconnect").click()
    page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(page.locator("#notices")).to_contain_text("withdraw it at https://id.getharvest.com/developers")
    expect(connection.locator(".badge")).to_have_text("Not connected")

    # Again: nothing comes in twice.
    connect(page)
    tab(page, "Projects")
    page.get_by_label("WebsiteAcme").fill("Website")
    tab(page, "Tasks")
    page.get_by_label("Design", exact=True).fill("Design")
    save(page, "2 changes")
    import_window(page, "2026-06-01", "2026-06-12")
    expect(run).to_contain_text("Imported 0 of 14 entries")
    expect(run).to_contain_text("Already imported: 14")


def test_preview_import_exactly_this_and_undo(
    page: Page,
    enter: Callable[..., Page],
    admin: Membership,
    sandbox: Sandbox,
    remote: dict[str, int],
    celery_worker_process: Worker,
) -> None:
    enter(page)
    connect(page)
    run = page.locator("#run")
    tab(page, "Projects")
    page.get_by_role("button", name="Create App here").click()
    expect(page.locator("#mappings")).to_contain_text("Created and mapped: “App”.")
    page.get_by_role("button", name="Match by name").locator("visible=true").click()
    expect(page.get_by_label("WebsiteAcme")).to_have_value("Website")
    tab(page, "Tasks")
    page.get_by_label("Design", exact=True).fill("Design")
    save(page, "2 changes")
    page.get_by_label("From", exact=True).fill("2026-06-01")
    page.get_by_label("To", exact=True).fill("2026-06-12")
    page.get_by_role("button", name="Preview").click()
    expect(run).to_contain_text("An import would bring in 13 of 13 entries (2026-06-01 → 2026-06-12)")
    expect(run.get_by_role("row", name=re.compile("^Acme"))).to_contain_text("2,743.00")
    run.get_by_role("button", name="Import exactly this").click()
    expect(run).to_contain_text("Imported 13 of 13 entries")
    run.get_by_role("link", name="Undo this import").click()
    page.get_by_role("button", name="Undo the import").click()
    expect(page.locator("#notices")).to_contain_text("Taken back: 13 entries.")
    page.goto(f"{page.url.split('/integrations')[0]}/time-logs/?from=2026-06-01&to=2026-06-12")
    expect(page.locator("main")).to_contain_text("No time matches")


def test_by_keyboard_alone(
    page: Page,
    enter: Callable[..., Page],
    admin: Membership,
    remote: dict[str, int],
    celery_worker_process: Worker,
) -> None:
    enter(page)
    keys = page.keyboard
    page.get_by_label("Account ID").focus()
    keys.type("880123")
    keys.press("Tab")
    keys.type(ADMIN_TOKEN)
    keys.press("Enter")
    expect(page.locator("#mappings")).to_be_visible()
    page.get_by_label("Mapping tables").get_by_role("link", name="Clients").focus()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_label("WebsiteAcme")).to_be_visible()
    page.get_by_label("Filter projects").focus()
    keys.type("web")
    expect(page.get_by_label("AppBirch")).to_be_hidden()
    keys.press("Enter")  # filters, and saves nothing
    page.get_by_label("WebsiteAcme").focus()
    keys.type("Website")
    keys.press("Enter")
    expect(page.locator("#mappings")).to_contain_text("Saved 1 mapping.")
    page.get_by_label("To", exact=True).focus()
    keys.press("Enter")
    expect(page.locator("#run h3")).to_be_visible()


def test_a_long_import_shows_how_far_it_is(
    page: Page, enter: Callable[..., Page], admin: Membership, sandbox: Sandbox, remote: dict[str, int]
) -> None:
    """No worker: it waits, a second start points to it, and the page keeps asking."""
    enter(page)
    connect(page)
    page.get_by_role("button", name="Import from Harvest").click()
    run = page.locator("#run")
    expect(run.locator("progress")).to_be_visible()
    expect(run).to_contain_text("Waiting for a worker.")
    with page.expect_response(lambda answer: "/panel/" in answer.url):
        pass
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#toasts")).to_contain_text("An import or sync is running already.")
    expect(run.locator("progress")).to_be_visible()


def test_without_javascript(
    new_page: Callable[..., Page],
    enter: Callable[..., Page],
    admin: Membership,
    remote: dict[str, int],
    celery_worker_process: Worker,
) -> None:
    page = enter(new_page(java_script_enabled=False, viewport={"width": 1280, "height": 800}))
    connect(page)
    tab(page, "Tasks")
    page.get_by_role("button", name="Match by name").locator("visible=true").click()
    expect(page.get_by_label("Design", exact=True)).to_have_value("Design")
    page.get_by_role("button", name="Save mappings").locator("visible=true").click()
    expect(page.locator("#notices")).to_contain_text("Saved 1 mapping.")
    tab(page, "Projects")
    page.get_by_label("WebsiteAcme").fill("Website")
    page.get_by_role("button", name="Save mappings").locator("visible=true").click()
    page.get_by_label("From", exact=True).fill("2026-06-01")
    page.get_by_label("To", exact=True).fill("2026-06-12")
    page.get_by_role("button", name="Import from Harvest").click()
    for _ in range(60):
        page.wait_for_timeout(500)
        page.goto(page.url.partition("#")[0])
        if not page.get_by_role("link", name="See how far it is").count():
            break
    expect(page.locator("#run")).to_contain_text("Imported 13 of 13 entries (2026-06-01 → 2026-06-12)")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_every_state_is_accessible(
    new_page: Callable[..., Page],
    enter: Callable[..., Page],
    admin: Membership,
    sandbox: Sandbox,
    remote: dict[str, int],
    celery_worker_process: Worker,
    allowed_errors: list[str],
    scheme: str,
    width: int,
) -> None:
    allowed_errors.append(REFUSED)
    page = new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    looked: list[str] = []

    def look(state: str) -> None:
        assert_accessible(page)
        assert_no_sideways_scroll(page)
        looked.append(state)

    enter(page, "/integrations/")
    look("cards")
    page.goto(page.url + "harvest/")
    look("not connected")
    connect(page, "123.pt.wrong")
    look("refused")
    connect(page)
    look("nothing mapped")
    tab(page, "Projects")
    page.get_by_role("button", name="Match by name").locator("visible=true").click()
    expect(page.locator(".suggested")).to_have_count(1)
    page.get_by_label("AppBirch").fill("Nonsense")
    look("suggested")
    page.locator("[data-bar]").get_by_role("button", name="Save mappings").click()
    expect(page.locator("#mappings")).to_contain_text("There is no project “Nonsense” here.")
    look("a wrong row")
    page.get_by_label("AppBirch").fill("")
    save(page, "1 change")
    import_window(page, "2026-06-01", "2026-06-12")
    page.get_by_text("Task not mapped: 13").click()
    expect(page.locator("#run tbody tr")).to_have_count(13)
    look("a result with a group open")
    page.locator("#history tbody").get_by_role("link").first.click()
    expect(page.locator("#entries tbody tr")).to_have_count(13)
    look("a run")
    with tenant_scope(admin.workspace_id):
        Connection.objects.update(status=ConnectionStatus.RECONNECT_NEEDED)
    page.goto(page.url.split("runs/")[0])
    expect(page.locator("#connection .badge")).to_have_text("Reconnect needed")
    look("reconnect needed")
    page.locator("#connection").get_by_role("link", name="Disconnect").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    look("the question")
    assert len(looked) == 10


def test_the_demo_studio_is_in_within_five_seconds(
    page: Page,
    enter: Callable[..., Page],
    admin: Membership,
    sandbox: Sandbox,
    celery_worker_process: Worker,
) -> None:
    believable.build_studio(sandbox, entries=3000)
    enter(page)
    connect(page)
    for name in ("Projects", "Tasks"):
        tab(page, name)
        page.get_by_role("button", name=re.compile("Create and map")).locator("visible=true").click()
        expect(page.locator("#mappings")).to_contain_text("Created and mapped")
    first, last = (page.get_by_label(name, exact=True).input_value() for name in ("From", "To"))
    took = import_window(page, first, last)
    assert took < 5
