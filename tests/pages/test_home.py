"""The home page: what is said of budgets, time, Inbound, Harvest and notices; and what a new workspace is told."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import Membership, Plan
from accounts.notices import tell
from accounts.tenancy import tenant_scope
from config.charts import step_for
from integrations.models import Connection, OutboundChange, RunKind, SyncRun
from settlement.models import Budget
from tests.factories import (
    make_activity_type,
    make_adjustment,
    make_client,
    make_member,
    make_project,
    make_proposal,
    make_time_log,
    make_workspace,
)
from tests.pages.conftest import Visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(admin: Membership, visit: Visit) -> Browser:
    return visit(admin)


def words(browser: Browser, path: str = "/") -> str:
    """The words of the page's own part."""
    html = browser.get(path).content.decode()
    main = html[html.index("<main") : html.index("</main>")]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def connect(person: Membership, **values: Any) -> Connection:
    with tenant_scope(person.workspace_id):
        return Connection.objects.create(
            workspace=person.workspace,
            status=values.pop("status", "connected"),
            account_id="1",
            account_name="Northlight Harvest",
            **values,
        )


def ended(connected: Connection, kind: str, state: str) -> SyncRun:
    with tenant_scope(connected.workspace_id):
        return SyncRun.objects.create(
            workspace=connected.workspace,
            connection=connected,
            kind=kind,
            state=state,
            account_id="1",
            finished_at=timezone.now(),
        )


# --- A new workspace -------------------------------------------------------------------------------------------------
def test_new_workspace_is_told_what_to_do_first(admin: Membership, browser: Browser) -> None:
    page = words(browser)
    assert "Begin here" in page
    html = browser.get("/").content.decode()
    for url in ("/integrations/harvest/", "/clients/new/", "/settings/activity-types/new/"):
        assert f'<a class="button small" href="{url}">' in html
    assert "The last two weeks" not in page
    acme = make_client(admin.workspace, "Acme")
    make_activity_type(admin.workspace)
    connect(admin)
    html = browser.get("/").content.decode()
    assert html.count('class="step done"') == 3
    assert re.findall(r'<a class="button small" href="([^"]+)">', html) == ["/time-logs/new/"]
    make_time_log(admin, acme, on=admin.workspace.today())
    page = words(browser)
    assert "Begin here" not in page
    assert "The last two weeks" in page


def test_member_of_a_new_workspace_is_sent_nowhere_closed(admin: Membership, visit: Visit) -> None:
    browser = visit(make_member(admin.workspace))
    html = browser.get("/").content.decode()
    assert "An admin or designer does this" in html
    assert "/clients/new/" not in html


def test_free_workspace_is_not_sent_to_connect(visit: Visit) -> None:
    browser = visit(make_workspace(plan=Plan.FREE))
    assert "It needs the Pro plan" in words(browser)
    assert '<a class="button small" href="/integrations/harvest/">' not in browser.get("/").content.decode()


# --- A workspace at work ---------------------------------------------------------------------------------------------
def test_budgets_at_a_glance(admin: Membership, browser: Browser) -> None:
    acme = make_client(admin.workspace, "Acme")
    make_time_log(admin, acme, on=admin.workspace.today(), seconds=9 * 3600)
    with tenant_scope(admin.workspace_id):
        for amount in ("8.00", "100.00"):
            Budget.objects.create(
                workspace=admin.workspace, client=acme, unit="hours", amount=Decimal(amount), period="monthly"
            )
    page = words(browser)
    assert "1 used up" in page
    assert "91.00 h of 100.00 h left" in page
    assert "All 2" in page


def test_chart_has_a_text_alternative_and_a_table(admin: Membership, browser: Browser) -> None:
    acme, today = make_client(admin.workspace), admin.workspace.today()
    make_time_log(admin, acme, on=today, seconds=5400)
    make_time_log(admin, acme, on=today - timedelta(days=13), seconds=1800)
    make_time_log(admin, acme, on=today - timedelta(days=14), seconds=7200)  # too long ago
    html = browser.get("/").content.decode()
    label = f"2 h 00 m in 14 days; most on {today:%A} {today.day} {today:%B}, 1 h 30 m."
    assert html.count(f'role="img" aria-label="Everybody&#x27;s time, the last 14 days: {label}"') == 2
    assert "style=" not in html
    assert "Everybody" not in browser.get("/?who=me").content.decode()


@pytest.mark.parametrize(
    ("hours", "step"), [(0, 1), (8, 2), (33, 10), (400, 100), (401, 200), (4001, 2000), (20_001, 10_000)]
)
def test_steps_of_the_chart_are_round_and_at_most_four(hours: float, step: int) -> None:
    assert step_for(hours) == step


def test_what_waits(admin: Membership, browser: Browser) -> None:
    acme = make_client(admin.workspace, "Acme")
    log = make_time_log(admin, acme)
    assert "Nothing waits" in words(browser)
    make_adjustment(log)
    page = words(browser)
    assert "1 adjustment of settled time" in page
    assert "Nothing waits" not in page
    for number in range(6):
        make_proposal(admin, acme, f"Note {number}")
    page = words(browser)
    assert "All 7" in page
    assert "Note 5" in page
    assert "Note 0" not in page


def test_sync_health(admin: Membership, browser: Browser) -> None:
    log = make_time_log(admin, make_client(admin.workspace))
    assert "Not connected" in words(browser)
    connected = connect(admin, auto_sync=True)
    page = words(browser)
    assert "Connected" in page
    assert "Northlight Harvest" in page
    assert "Last auto-sync Not yet" in page
    assert "Complete up to Not known yet" in page
    auto = ended(connected, RunKind.AUTO, "partial")
    manual = ended(connected, RunKind.IMPORT, "succeeded")
    with tenant_scope(admin.workspace_id):
        Connection.objects.update(watermark_at=timezone.now() - timedelta(hours=3))
        for state in ("pending", "held", "conflict"):
            OutboundChange.objects.create(
                workspace=admin.workspace,
                connection=connected,
                time_log=log if state == "pending" else make_time_log(admin, make_client(admin.workspace)),
                state=state,
            )
    page = words(browser)
    assert "Last auto-sync just now Partly done" in page
    assert "Last run just now Succeeded" in page
    assert "Complete up to 3 hours ago" in page
    assert "To be pushed 1 Held 1 Conflicts 1" in page
    html = browser.get("/").content.decode()
    assert f'href="/integrations/harvest/runs/{auto.id}/"' in html
    assert f'href="/integrations/harvest/runs/{manual.id}/"' in html


@pytest.mark.parametrize(
    ("status", "plan", "badge", "said"),
    [
        ("reconnect_needed", Plan.PRO, "Reconnect needed", "no longer takes the credentials"),
        ("connected", Plan.FREE, "Paused", "Sync pauses on the Free plan"),
        ("not_connected", Plan.PRO, "Not connected", "Connected, time logged in Harvest appears here"),
    ],
)
def test_sync_health_in_trouble(status: str, plan: str, badge: str, said: str, visit: Visit) -> None:
    person = make_workspace(plan=plan)
    make_time_log(person, make_client(person.workspace))
    connect(person, status=status)
    page = words(visit(person))
    assert f"Harvest {badge}" in page
    assert said in page


def test_open_notices(admin: Membership, browser: Browser) -> None:
    make_time_log(admin, make_client(admin.workspace))
    with tenant_scope(admin.workspace_id):
        for number in range(4):
            tell(
                workspace=admin.workspace,
                people=[admin.user],
                incident=str(number),
                title=f"Incident {number}",
                text="It happened.",
            )
    page = words(browser)
    assert [f"Incident {number}" in page for number in range(4)] == [False, True, True, True]
    assert "All notices" in page


def test_stranger_sees_none_of_it(admin: Membership, stranger: Membership, visit: Visit) -> None:
    acme = make_client(admin.workspace, "Acme")
    make_time_log(admin, acme, on=admin.workspace.today(), notes="Secret words")
    make_proposal(admin, acme, "Secret notes")
    connect(admin)
    page = words(visit(stranger))
    for word in ("Acme", "Secret", "Northlight Harvest"):
        assert word not in page


def test_page_takes_as_many_queries_for_much_as_for_little(
    admin: Membership, member: Membership, browser: Browser
) -> None:
    connected = connect(admin)
    today = admin.workspace.today()

    def fill(count: int) -> None:
        for _ in range(count):
            client = make_client(admin.workspace)
            project = make_project(client)
            log = make_time_log(member, client, on=today, project=project)
            make_proposal(member, client)
            make_adjustment(make_time_log(admin, client, on=today))
            ended(connected, RunKind.AUTO, "succeeded")
            with tenant_scope(admin.workspace_id):
                OutboundChange.objects.create(
                    workspace=admin.workspace, connection=connected, time_log=log, state="held"
                )
                Budget.objects.create(
                    workspace=admin.workspace,
                    client=client,
                    project=project,
                    unit="money",
                    amount=Decimal(1),
                    period="monthly",
                )
                tell(
                    workspace=admin.workspace, people=[admin.user], incident=str(uuid7()), title="T", text="t"
                )

    def ask() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get("/").status_code == 200
        return len(captured)

    fill(1)
    browser.get("/")
    few = ask()
    fill(20)
    assert ask() == few <= 30
