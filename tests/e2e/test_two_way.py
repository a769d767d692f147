"""Two-way sync in a real browser: switching, what is held, conflicts, by keyboard and without JavaScript, its looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from harvest.importing import execute_run
from harvest.sandbox import Sandbox
from integrations.models import SyncRun
from tests.conftest import ARTIFACTS
from tests.e2e.conftest import assert_accessible, assert_no_sideways_scroll
from tests.harvest.conftest import build_studio, sandbox  # noqa: F401  (a fixture)
from tests.harvest.outbound import Both, go_both_ways
from timelogs.models import TimeLog

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SETTINGS, HELD, CONFLICTS = (f"/integrations/harvest/{page}" for page in ("", "held/", "conflicts/"))


@pytest.fixture
def both(transactional_db: None, sandbox: Sandbox) -> Both:  # noqa: F811
    return go_both_ways(build_studio(sandbox))


def enter(page: Page, url: str, both: Both, path: str) -> None:
    page.goto(f"{url}/accounts/login/?next={path}")
    page.get_by_label("E-mail address").fill(both.studio.admin.user.email)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{url}{path}")


def contested(both: Both, count: int) -> list[TimeLog]:
    both.set(conflict_policy="ask")
    logs = [both.log(notes=f"Agreed on {n}") for n in range(count)]
    both.send_all()
    for entry in both.entries():
        both.account.edit_entry(entry["id"], notes=f"Theirs: {entry['notes']}", hours="2.00")
    for log in logs:
        both.edit(log, notes=f"Ours: {log.notes}", seconds=3600)
    both.send_all()
    return logs


def held(both: Both) -> list[TimeLog]:
    """One that Harvest approved meanwhile, one of a task that is not on its project, one too short."""
    late = both.log(notes="Posters for the summer fair", spent_date=timezone.now().date())
    both.send_all()
    both.account.approve(both.entries()[-1]["id"])
    both.edit(late, notes="Posters for the summer fair, and a second round of corrections")
    ids = both.studio.harvest
    both.account.remove("task_assignments", both.account.assign_task(ids["Website"], ids["Code"]))
    unassigned = both.log(activity_type=both.studio.types["Code"], notes="Script for the form")
    short = both.log(seconds=12, notes="A click")
    both.send_all()
    return [late, unassigned, short]


def test_switching_pushing_and_settling_by_keyboard(live_server: Any, both: Both, page: Page) -> None:
    both.set(direction="import")
    both.log(notes="From before")
    enter(page, live_server.url, both, SETTINGS)
    expect(page.get_by_role("group", name="Where both sides changed the same")).to_be_hidden()
    page.get_by_role("radio", name="Harvest → Timebridge").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Both ways")).to_be_checked()
    page.get_by_role("group", name="Where both sides changed the same").get_by_role(
        "radio", name="Ask"
    ).check()
    page.locator("#direction").get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_role("heading", name="Sync both ways with Northlight?")).to_be_visible()
    expect(page.get_by_text("1 older log, 1.5 h")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Sync both ways").press("Enter")
    expect(page.locator("#notices")).to_contain_text("Time goes both ways now")
    page.get_by_role("button", name="Push older logs").press("Enter")
    flow = page.locator("#flow")
    expect(flow).to_contain_text("Waiting to be pushed1")
    both.send_all()
    expect(flow).to_contain_text("Waiting to be pushed0")  # by itself

    contested(both, 2)
    page.goto(f"{live_server.url}{CONFLICTS}")
    tab = page.locator("#harvest-tabs").get_by_role("link", name="Conflicts")
    expect(tab).to_contain_text("2")
    first, second = page.locator(".conflict").all()
    first.get_by_role("button", name="Keep ours").press("Enter")
    expect(page.locator(".conflict.settled")).to_contain_text("Our version stays")
    expect(page.locator(".conflict.settled span")).to_be_focused()
    expect(tab).to_contain_text("1")
    second.get_by_role("button", name="Keep Harvest’s").press("Enter")
    expect(page.locator(".conflict.settled")).to_have_count(2)
    both.send_all()
    assert sorted(one["notes"][:6] for one in both.entries() if "Agreed" in one["notes"]) == [
        "Ours: ",
        "Theirs",
    ]


def test_held_by_clicks(live_server: Any, both: Both, page: Page) -> None:
    held(both)
    enter(page, live_server.url, both, HELD)
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    rows.filter(has_text="Script").get_by_role("button", name="Assign in Harvest").click()
    expect(rows.filter(has_text="Assigned in Harvest")).to_have_count(1)
    expect(page.locator("#harvest-tabs").get_by_role("link", name="Held")).to_contain_text("2")
    page.get_by_label("Why").select_option("Approved in Harvest")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(1)
    both.account.unlock_entries(both.entries()[0]["id"])
    page.get_by_role("button", name="Retry it").click()
    expect(page.locator("#notices")).to_contain_text("1 is tried again.")
    both.send_all()
    page.get_by_role("link", name="Acme / Website").click()
    expect(page.locator("#harvest-state")).to_contain_text("It rounds to 0.00 hours in Harvest")
    page.get_by_role("link", name="Edit the time").click()
    expect(page.get_by_label("Notes")).to_have_value("A click")


def test_sync_now_asks_and_is_answered(live_server: Any, both: Both, page: Page) -> None:
    today = timezone.now().date()
    for n in range(8):
        both.log(spent_date=today - timedelta(days=n % 3), notes=f"Lately {n}")
    both.send_all()
    for entry in both.entries():
        both.account.delete_entry(entry["id"])
    enter(page, live_server.url, both, SETTINGS)

    def work() -> None:
        with both.studio.scope():
            run = SyncRun.objects.order_by("-id")[0]
        execute_run(workspace_id=both.studio.workspace_id, run_id=run.id)

    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("#run")).to_contain_text("Syncing")
    work()
    expect(page.locator("#run .question")).to_contain_text("8 linked entries")
    page.get_by_role("button", name="Go on: delete them here too").click()
    expect(page.locator("#run")).to_contain_text("Syncing")
    work()
    expect(page.locator("#run")).to_contain_text("8 entries are gone from Harvest")
    page.locator("#run").get_by_text("Deleted: 8").click()
    expect(page.locator("#group-deleted")).to_contain_text("Lately 7")


def test_without_javascript(live_server: Any, both: Both, browser: Browser) -> None:
    (log,) = contested(both, 1)
    held(both)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        enter(page, live_server.url, both, CONFLICTS)
        page.get_by_role("button", name="Keep Harvest’s").click()
        expect(page.locator("#notices")).to_contain_text("Harvest’s version stays")
        expect(page.get_by_text("No conflicts")).to_be_visible()
        page.get_by_role("link", name="Held").click()
        page.get_by_role("button", name="Retry Acme").first.click()
        expect(page.locator("#notices")).to_contain_text("It is tried again.")
        expect(page.locator("tbody tr")).to_have_count(2)
    finally:
        context.close()
    both.send_all()
    assert both.reload(log).notes.startswith("Theirs")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_looks(scheme: Any, width: int, live_server: Any, both: Both, page: Page, settings: Any) -> None:
    logs = contested(both, 2)
    stuck = held(both)
    both.set(direction="import")
    both.log(project=None, client=both.studio.clients["Acme"], seconds=10800, notes="From before")
    both.set(direction="two_way", auto_sync=True)
    settings.HARVEST_RATE_LIMIT = 1
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    enter(page, live_server.url, both, SETTINGS)
    spots = {
        "settings": SETTINGS,
        "held": HELD,
        "conflicts": CONFLICTS,
        "log-conflict": f"/time-logs/{logs[0].id}/",
        "log-held": f"/time-logs/{stuck[0].id}/",
        "logs": "/time-logs/",
    }
    for name, path in spots.items():
        page.goto(f"{live_server.url}{path}")
        page.screenshot(path=ARTIFACTS / f"two-way-{name}-{scheme}-{width}.png", full_page=True)
        assert_no_sideways_scroll(page)
        assert_accessible(page)
