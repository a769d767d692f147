"""What the browser tests share: a studio with some of everything, signing in, axe, no sideways scrolling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from accounts.models import Membership, Role
from clients.models import Client, Project
from tests.factories import (
    make_activity_type,
    make_client,
    make_contact,
    make_key,
    make_member,
    make_project,
    make_proposal,
    make_time_log,
    make_work_item,
    make_workspace,
)
from timelogs.models import ActivityType

PASSWORD = "correct-horse-9"


@dataclass(frozen=True)
class Studio:
    """A workspace with clients, projects, time and proposals; its admin is in a second one too."""

    url: str
    admin: Membership
    member: Membership
    second: Membership
    acme: Client
    website: Project
    design: ActivityType


@pytest.fixture
def studio(live_server: Any, transactional_db: None) -> Studio:
    admin = make_workspace(
        "Northlight", email="ada@northlight.test", password=PASSWORD, person_name="Ada Admin"
    )
    workspace = admin.workspace
    member = make_member(workspace, Role.MEMBER, email="mel@northlight.test", name="Mel Member")
    member.user.set_password(PASSWORD)
    member.user.save(update_fields=["password"])
    second = make_workspace("Second Studio", email=admin.user.email, plan="free")
    acme, brook = (
        make_client(workspace, "Acme"),
        make_client(workspace, "Brook & Daughters of the Long Name Company"),
    )
    website = make_project(acme, "Website", code="WEB")
    make_contact(acme, "Ada of Acme", email="ada@acme.test")
    design = make_activity_type(workspace, "Design", rate="100.00")
    item = make_work_item(acme, "Fix the logo", project=website, key="ACME-12")
    today = workspace.today()
    for days in range(6):
        make_time_log(
            admin if days % 2 else member,
            brook if days % 3 else acme,
            on=today - timedelta(days=days),
            seconds=1800 * (days + 1),
            activity_type=design,
            notes=f"Day {days}: words about what was done",
            billable=bool(days % 4),
        )
    make_time_log(admin, acme, on=today, seconds=900, work_item=item, activity_type=design)
    for _ in range(3):
        make_proposal(member, acme, notes="Fix the logo", on=today)
    make_key(admin)
    return Studio(live_server.url, admin, member, second, acme, website, design)


@pytest.fixture
def sign_in(studio: Studio) -> Callable[..., Page]:
    """`sign_in(page, path)`: sign in (as the admin, or the e-mail address given) by the form, and go on to a page."""

    def enter(page: Page, path: str = "/", email: str = "ada@northlight.test") -> Page:
        page.goto(f"{studio.url}/accounts/login/?next={path}")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(f"{studio.url}{path}")
        return page

    return enter


def assert_accessible(page: Page) -> None:
    """No finding of axe against WCAG 2.2 A and AA, on the page as it is now."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    # To name what passed, and where, would take axe twice as long.
    options = {
        "runOnly": {"type": "tag", "values": tags},
        "resultTypes": ["violations"],
        "selectors": False,
    }
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
    assert [
        (one["id"], one["help"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found
    ] == [], page.url


def assert_no_sideways_scroll(page: Page) -> None:
    """The page is not wider than the screen, and nothing in it but tables' own boxes reaches beyond."""
    wide = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth > width) return ["the page itself"];
          return [...document.querySelectorAll("main *")]
            .filter((one) => one.getBoundingClientRect().right > width + 1)
            .filter((one) => !one.closest(".table-wrap, .tabs, .visually-hidden, svg"))
            .map((one) => one.outerHTML.slice(0, 120));
        }"""
    )
    assert wide == [], page.url
