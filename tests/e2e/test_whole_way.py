"""From an entry to money, in a browser: proposal, budget, statement, a change in Harvest, the next statement."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts.tenancy import tenant_scope
from harvest.sandbox import Sandbox
from inbound.models import TimeProposal
from integrations.models import SyncRun
from settlement.models import Budget
from tests.factories import make_work_item
from tests.harvest.conftest import Studio, build_studio, sandbox  # noqa: F401  (a fixture)
from tests.rest.client import Api
from timelogs.models import TimeLog

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def settle(page: Page, url: str, studio: Studio, number: int) -> None:
    """Make a draft of the last 30 days and issue it."""
    today = studio.admin.workspace.today()
    page.goto(f"{url}/settlement/new/?client={studio.clients['Acme'].id}")
    page.get_by_label("From").fill(str(today - timedelta(days=30)))
    page.get_by_label("To", exact=True).fill(str(today))
    page.get_by_role("button", name="Make draft").click()
    page.get_by_role("link", name="Issue").click()
    page.get_by_role("dialog").get_by_role("button", name="Issue").click()
    expect(page.get_by_role("heading", name=f"Statement {number}")).to_be_visible()


def test_entry_ends_on_the_right_statements(
    live_server: Any,
    transactional_db: None,
    sandbox: Sandbox,  # noqa: F811
    page: Page,
) -> None:
    studio = build_studio(sandbox)
    acme, workspace, url = studio.clients["Acme"], studio.admin.workspace, live_server.url
    today = workspace.today()
    studio.map("clients", {"Acme": acme})
    studio.map("tasks", {"Design": studio.types["Design"]})
    item = make_work_item(acme, "Spring campaign")
    with studio.scope():
        Budget.objects.create(
            workspace=workspace, client=acme, unit="hours", amount=Decimal(10), period="monthly"
        )

    # An entry that names no work item of its client waits in Inbound.
    entry = studio.add_entry("Loose", "Design", today, "2.00", "Campaign poster")
    studio.import_window(today - timedelta(days=2), today)
    page.goto(f"{url}/accounts/login/?next=/inbound/")
    page.get_by_label("E-mail address").fill(studio.admin.user.email)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in", exact=True).click()
    row = page.locator("#pipeline > li")
    expect(row).to_contain_text("Campaign poster")
    # While it waits, it follows its entry.
    sandbox.account.edit_entry(entry, hours="2.50", notes="Spring campaign, poster")
    studio.import_window(today - timedelta(days=2), today)
    page.reload()
    expect(row).to_contain_text("2 h 30 m")
    row.get_by_role("button", name=f"Accept on {item.key}").click()
    expect(page.locator("#said")).to_have_text(f"2 h 30 m is on {item.key} now.")

    # The budget moves with it, and it is settled.
    page.goto(f"{url}/")
    expect(page.locator(".budget-line")).to_contain_text("7.50 h of 10.00 h left")
    settle(page, url, studio, 1)
    expect(page.locator("#amount")).to_contain_text("300.00")
    with studio.scope():
        log = TimeLog.objects.get()
        proposal = TimeProposal.objects.get()
    assert (log.work_item_id, log.seconds, proposal.time_log_id) == (item.id, 9000, log.id)
    api = Api(studio.admin)
    for refused in (
        api.patch(f"time-logs/{log.id}/", {"notes": "Other"}),
        api.delete(f"time-logs/{log.id}/"),
    ):
        assert (refused.status_code, refused.json()["type"]) == (409, "settled")

    # Harvest changes: the log does not, the difference waits, and the next statement carries it.
    sandbox.account.edit_entry(entry, hours="4.00")
    studio.import_window(today - timedelta(days=2), today)
    page.goto(f"{url}/inbound/adjustments/")
    expect(row).to_contain_text("+1 h 30 m")
    expect(row.get_by_role("row", name="Time")).to_contain_text("2 h 30 m (2.50 h)")
    expect(row.get_by_role("row", name="Time")).to_contain_text("4 h 00 m (4.00 h)")
    row.get_by_role("button", name="Accept for the next statement").click()
    expect(page.locator("#said")).to_contain_text("goes onto Acme's next statement.")
    settle(page, url, studio, 2)
    expect(page.locator("#amount")).to_contain_text("180.00")
    expect(page.get_by_text("Adjustment").first).to_be_visible()
    with studio.scope():
        log.refresh_from_db()
        adjustment = log.adjustments.get()
    assert log.seconds == 9000
    refused = api.post(f"inbound/adjustments/{adjustment.id}/restore/")
    assert refused.status_code == 409
    assert "Statement 2" in refused.json()["detail"]

    # Nothing is left over: another import of the same window notes nothing.
    studio.import_window(today - timedelta(days=2), today)
    with tenant_scope(workspace.id):
        assert log.adjustments.count() == 1
        assert SyncRun.objects.count() == 4
