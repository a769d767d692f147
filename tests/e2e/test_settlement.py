"""Settling in a real browser: a draft is made, looked over, issued, voided; its files; on a phone and in the dark."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.tenancy import tenant_scope
from clients.models import Client
from settlement.models import Budget
from tests.e2e.conftest import Studio, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_time_log
from tests.settlement.statements import draft, issued, make_adjustment, void

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]


@pytest.fixture
def dates(studio: Studio) -> tuple[str, str]:
    """A period with all of the studio's time in it."""
    today = studio.admin.workspace.today()
    return str(today - timedelta(days=30)), str(today)


def test_statement_from_the_client_to_a_file_and_back(
    studio: Studio, page: Page, sign_in: SignIn, dates: tuple[str, str]
) -> None:
    sign_in(page, f"/clients/{studio.acme.id}/")
    page.get_by_role("link", name="Statements").click()
    expect(
        page.get_by_text("No statements yet").or_(page.get_by_text("No statement matches"))
    ).to_be_visible()
    page.get_by_role("link", name="New statement").click()
    expect(page.get_by_label("Client")).to_have_value(str(studio.acme.id))
    page.get_by_label("From").fill(dates[0])
    page.get_by_label("To", exact=True).fill(dates[1])
    page.get_by_role("button", name="Make draft").click()
    expect(page.get_by_role("heading", name="Draft statement")).to_be_visible()
    amount = page.locator("#amount")
    before = amount.inner_text()
    make_time_log(studio.admin, studio.acme, on=studio.admin.workspace.today(), activity_type=studio.design)
    page.reload()
    expect(amount).not_to_have_text(before)
    shown = amount.inner_text()
    assert_accessible(page)

    page.get_by_role("link", name="Issue").click()
    dialog = page.get_by_role("dialog", name="Issue the statement?")
    expect(dialog).to_contain_text("It gets the next number")
    dialog.get_by_role("button", name="Not yet").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Issue").click()
    dialog.get_by_role("button", name="Issue").click()
    expect(page.get_by_role("heading", name="Statement 1")).to_be_visible()
    expect(amount).to_have_text(shown)

    for link, name in (("CSV", "csv"), ("Excel", "xlsx"), ("PDF", "pdf")):
        with page.expect_download() as event:
            page.get_by_role("link", name=link, exact=True).click()
        file = event.value
        assert re.fullmatch(rf"statement-1-acme-{dates[0]}-{dates[1]}\.{name}", file.suggested_filename)
        content = Path(file.path()).read_bytes()
        assert content.startswith({"csv": b"\xef\xbb\xbf", "xlsx": b"PK", "pdf": b"%PDF"}[name])
        if name == "csv":
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
            [total] = [row for row in rows if row["row"] == "total"]
            assert f"USD{total['amount']}" == shown

    page.goto(f"{studio.url}/time-logs/?client={studio.acme.id}")
    rows = page.locator("#list tbody tr")
    expect(rows.get_by_text("Settled").first).to_be_visible()
    expect(rows.get_by_role("link", name="Edit")).to_have_count(0)

    page.get_by_role("link", name="Settlement").click()
    page.get_by_role("link", name="Statement 1").click()
    page.get_by_role("link", name="Void").click()
    page.get_by_role("dialog").get_by_role("button", name="Void").click()
    expect(page.get_by_text("Statement 1 is void. Its time is free for another one.")).to_be_visible()
    page.goto(f"{studio.url}/time-logs/?client={studio.acme.id}")
    expect(rows.get_by_role("link", name="Edit").first).to_be_visible()


def test_list_is_filtered_in_place(studio: Studio, page: Page, sign_in: SignIn) -> None:
    today = studio.admin.workspace.today()
    issued(studio.admin, studio.acme, today - timedelta(days=30), today)
    draft(studio.admin, studio.acme)
    draft(studio.admin, other_client(studio))
    sign_in(page, "/settlement/")
    rows = page.locator("#statements tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_label("Client").focus()
    page.get_by_label("Client").select_option("Acme")
    expect(rows).to_have_count(2)
    expect(page).to_have_url(f"{studio.url}/settlement/?client={studio.acme.id}")
    expect(page.get_by_label("Client")).to_be_focused()
    page.get_by_role("link", name="Issued").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_label("Client")).to_have_value(str(studio.acme.id))
    page.get_by_role("link", name="Void").click()
    expect(page.get_by_text("No statement matches")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390), ("light", 360)])
def test_pages_fit_and_are_accessible(
    studio: Studio, new_page: Callable[..., Page], sign_in: SignIn, tmp_path: Path, scheme: str, width: int
) -> None:
    workspace, today = studio.admin.workspace, studio.admin.workspace.today()
    with tenant_scope(workspace.id):
        Budget.objects.create(workspace=workspace, client=studio.acme, unit="hours", amount=10)
        Budget.objects.create(
            workspace=workspace, client=studio.acme, project=studio.website, unit="money", amount=500
        )
    first = today - timedelta(days=30)
    old = issued(studio.admin, studio.acme, first, today)
    with tenant_scope(workspace.id):
        log = old.entries.first().time_log
    make_adjustment(log, (-1800, "100.00"))
    make_time_log(
        studio.member, studio.acme, on=today, project=studio.website, activity_type=studio.design,
        notes="A very long note about " + "everything " * 30 + "https://example.com/" + "x" * 90,
    )  # fmt: skip
    new = draft(studio.admin, studio.acme, first, today)
    gone = void(studio.admin, issued(studio.admin, other_client(studio), first, today))
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    sign_in(page, "/settlement/")
    places = {
        "list": "/settlement/",
        "new": "/settlement/new/",
        "draft": f"/settlement/{new.id}/",
        "issued": f"/settlement/{old.id}/",
        "void": f"/settlement/{gone.id}/",
        "ask": f"/settlement/{new.id}/issue/",
    }
    for name, path in places.items():
        page.goto(f"{studio.url}{path}")
        assert_accessible(page)
        assert_no_sideways_scroll(page)
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)


def other_client(studio: Studio) -> Client:
    """The studio's other client, which has time too."""
    with tenant_scope(studio.admin.workspace_id):
        return Client.objects.exclude(pk=studio.acme.pk).get()
