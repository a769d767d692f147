"""How the home page looks: accessible, no wider than the screen, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.tenancy import tenant_scope
from integrations.models import Connection, RunKind, SyncRun
from settlement.models import Budget
from tests.conftest import ARTIFACTS
from tests.e2e.conftest import PASSWORD, Studio, assert_accessible, assert_no_sideways_scroll
from tests.factories import make_adjustment, make_time_log, make_workspace

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]

looks = pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])


@pytest.fixture
def busy(studio: Studio) -> Studio:
    """The studio with budgets, a connection that has run, and an adjustment that waits."""
    workspace, today = studio.admin.workspace, studio.admin.workspace.today()
    with tenant_scope(workspace.id):
        owned: dict[str, Any] = {"workspace": workspace, "client": studio.acme, "period": "monthly"}
        Budget.objects.create(unit="hours", amount=Decimal("6.00"), **owned)
        Budget.objects.create(unit="money", amount=Decimal("2500.00"), project=studio.website, **owned)
        Budget.objects.create(unit="hours", amount=Decimal("0.20"), project=studio.website, **owned)
        connected = Connection.objects.create(
            workspace=workspace,
            status="connected",
            account_id="1",
            account_name="Northlight Harvest",
            auto_sync=True,
            watermark_at=timezone.now() - timedelta(hours=4),
        )
        SyncRun.objects.create(
            workspace=workspace,
            connection=connected,
            kind=RunKind.AUTO,
            state="succeeded",
            account_id="1",
            finished_at=timezone.now(),
        )
    make_adjustment(make_time_log(studio.member, studio.acme, on=today, notes="A call with\nBo and Di"))
    return studio


def check(page: Page, name: str, scheme: str, width: int) -> None:
    assert_no_sideways_scroll(page)
    assert_accessible(page)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}-{scheme}-{width}.png", full_page=True)


@looks
def test_home(scheme: str, width: int, busy: Studio, new_page: Callable[..., Page], sign_in: SignIn) -> None:
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    sign_in(page)
    expect(page.get_by_role("heading", name="Budgets")).to_be_visible()
    check(page, "home", scheme, width)


@looks
def test_home_of_a_new_workspace(
    scheme: str, width: int, live_server: Any, transactional_db: None, new_page: Callable[..., Page]
) -> None:
    make_workspace("Fresh", email="fay@fresh.test", password=PASSWORD)
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"{live_server.url}/accounts/login/?next=/")
    page.get_by_label("E-mail address").fill("fay@fresh.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("link", name="Add client").wait_for()
    check(page, "home-new", scheme, width)
    page.get_by_role("link", name="Add client").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Add a client")
