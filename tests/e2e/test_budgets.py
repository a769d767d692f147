"""Budgets in the browser: one is added by its form, time moves it, its chart is there in words and figures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Studio, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_budget, make_client, make_time_log

pytestmark = pytest.mark.e2e

PICTURES = os.environ.get("BUDGET_PICTURES")  # a directory to leave pictures in, to look at


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def test_a_budget_is_added_and_moves_with_the_time(
    studio: Studio, page: Page, sign_in: Callable[..., Page]
) -> None:
    today = studio.admin.workspace.today()
    first = today.replace(day=1)
    sign_in(page, f"/clients/{studio.acme.id}/budgets/")
    expect(page.get_by_text("No budgets yet")).to_be_visible()
    page.get_by_role("link", name="Add budget").click()
    assert_accessible(page)
    page.get_by_label("For").select_option("Website")
    page.get_by_label("Amount").fill("10")
    page.get_by_label("Period").select_option("Once")
    page.get_by_label("First day").fill(first.isoformat())
    page.get_by_label("Last day").fill((first + timedelta(days=60)).isoformat())
    page.get_by_label("Tell the admins at").fill("50, 90 %")
    page.get_by_role("button", name="Add budget").click()
    card = page.locator("section.card", has=page.get_by_role("heading", name="Website"))
    before = 0.25  # what the studio's work item on it brought
    expect(card.get_by_text(f"{10 - before:.2f} h", exact=True)).to_be_visible()
    make_time_log(studio.admin, studio.acme, on=today, seconds=6 * 3600, project=studio.website)
    page.reload()
    expect(card.get_by_text("62 % of")).to_be_visible()
    chart = card.get_by_role("img").first
    last = first + timedelta(days=60)
    title = f"Acme / Website: the budget from {first.day} {first:%B %Y} to {last.day} {last:%B %Y}"
    expect(chart).to_have_accessible_name(title)
    expect(chart).to_have_accessible_description(re.compile(r"^6\.25 h of 10\.00 h used; an even pace"))
    card.get_by_text("Show the figures as a table").click()
    assert_accessible(page)
    card.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Tell the admins at")).to_have_value("50, 90")
    page.get_by_label("Amount").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(card.get_by_text("More was used than there was")).to_be_visible()
    page.goto(f"{studio.url}/budgets/")
    row = page.get_by_role("row", name="Acme / Website")
    expect(row.get_by_text("Over")).to_be_visible()
    page.goto(f"{studio.url}/notices/")
    expect(page.get_by_text("Acme / Website: 90 % of the budget is used", exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_budgets_are_accessible_and_fit(
    studio: Studio, new_page: Callable[..., Page], sign_in: Callable[..., Page], scheme: str
) -> None:
    workspace = studio.admin.workspace
    today = workspace.today()
    brook = make_client(workspace, "Brook & Daughters of the Very Long Company Name in Several Words")
    start = today - timedelta(days=400)
    for number in range(0, 400, 9):
        make_time_log(
            studio.admin, brook, on=start + timedelta(days=number), seconds=7200, activity_type=studio.design
        )
    for day in range(today.day):
        make_time_log(
            studio.member,
            studio.acme,
            on=today.replace(day=day + 1),
            seconds=4000,
            activity_type=studio.design,
        )
    make_budget(studio.acme)
    make_budget(studio.acme, project=studio.website, unit="money", amount=Decimal("12.50"))
    make_budget(
        studio.acme, unit="money", amount=Decimal(2500), rollover="all", starts_on=date(today.year - 1, 1, 1)
    )
    make_budget(
        brook,
        unit="money",
        amount=Decimal(12000),
        period="once",
        starts_on=start,
        ends_on=today + timedelta(days=120),
    )
    make_budget(brook, amount=Decimal(0))
    for name, size in (("desk", {"width": 1280, "height": 800}), ("phone", {"width": 390, "height": 844})):
        page = new_page(viewport=size, color_scheme=scheme)
        sign_in(page, "/budgets/")
        paths = {
            "all": "/budgets/",
            "acme": f"/clients/{studio.acme.id}/budgets/",
            "brook": f"/clients/{brook.id}/budgets/",
            "new": f"/clients/{studio.acme.id}/budgets/new/",
        }
        for place, path in paths.items():
            page.goto(f"{studio.url}{path}")
            assert_accessible(page)
            picture(page, f"{place}-{name}-{scheme}")
            if name == "phone":
                page.set_viewport_size({"width": 360, "height": 800})
            assert_no_sideways_scroll(page)
            page.set_viewport_size(size)
