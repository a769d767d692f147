"""Data and the trail in a browser: exporting, deleting and calling it off, filtering what was done; on any screen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts import tasks
from accounts.models import DataExport
from accounts.tenancy import tenant_scope
from tests.e2e.conftest import Studio, assert_accessible, assert_no_sideways_scroll

pytestmark = pytest.mark.e2e
SHOTS = os.environ.get("SHOTS")  # a directory for pictures of every page


def look(page: Page, name: str) -> None:
    assert_accessible(page)
    assert_no_sideways_scroll(page)
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.make_export, "delay", lambda *ids: None)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_export_and_deletion(
    scheme: Any,
    width: int,
    studio: Studio,
    new_page: Callable[..., Page],
    sign_in: Callable[..., Page],
    allowed_errors: list[str],
) -> None:
    allowed_errors.append("422")  # the wrong name
    page = new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    sign_in(page, "/settings/data/")
    page.get_by_role("button", name="Export the whole workspace").click()
    expect(page.get_by_text("The export is being made.")).to_be_visible()
    with tenant_scope(studio.admin.workspace_id):
        row = DataExport.objects.get()
    tasks.make_export(str(row.workspace_id), str(row.id))
    page.reload()
    expect(page.get_by_text("Ready", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Fetch").click()
    assert download.value.suggested_filename.startswith("northlight-workspace-")
    look(page, f"data-{scheme}-{width}")
    page.get_by_role("link", name="Delete the workspace…").click()
    page.get_by_label("The workspace's name").fill("Southlight")
    page.get_by_role("button", name="Delete the workspace").click()
    expect(page.get_by_text("Type the workspace's name as it stands here")).to_be_visible()
    look(page, f"delete-{scheme}-{width}")
    page.get_by_label("The workspace's name").fill("Northlight")
    page.get_by_role("button", name="Delete the workspace").click()
    expect(page.get_by_text("Northlight will be deleted").first).to_be_visible()
    look(page, f"deleting-{scheme}-{width}")
    page.get_by_role("button", name="Keep Northlight").click()
    expect(page.get_by_text("Northlight stays.")).to_be_visible()
    page.goto(f"{studio.url}/settings/audit/?action=workspace.")
    page.get_by_text("Details").first.click()
    expect(page.get_by_text("workspace.deletion_called_off")).to_be_visible()
    look(page, f"audit-{scheme}-{width}")


def test_trail_is_filtered_without_javascript(
    studio: Studio, new_page: Callable[..., Page], sign_in: Callable[..., Page]
) -> None:
    page = new_page(viewport={"width": 1280, "height": 844}, java_script_enabled=False)
    sign_in(page, "/settings/audit/")
    page.get_by_label("Search").fill("acme")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/settings/audit/?q=acme*")
    rows = page.locator("tbody tr")
    assert rows.count() >= 2
    page.get_by_label("Search").fill("no such deed")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    assert page.locator("tbody tr").count() > 5
