"""The pages of budgets without a browser: what they say, what they refuse, how little they ask the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Membership, Notice, Workspace
from accounts.tenancy import tenant_scope
from clients.services import save_client, save_project
from settlement.budget_math import Period
from settlement.budget_selectors import budgets_at_a_glance, budgets_of, statement_budget
from settlement.models import Budget
from settlement.templatetags.budgets import days_text
from tests.factories import make_activity_type, make_budget, make_client, make_project, make_time_log
from tests.pages.conftest import Visit, visit
from timelogs.models import TimeLog

__all__ = ["visit"]  # a fixture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _june() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 6, 12, 12, tzinfo=UTC), tick=False):
        yield


def text_of(answer: Any) -> str:
    """The words of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


FORM = {
    "project": "", "amount": "40", "unit": "hours", "period": "monthly", "starts_on": "", "ends_on": "",
    "rollover": "none", "rollover_cap": "", "alert_at": "80, 100",
}  # fmt: skip


def test_a_budget_is_added_changed_and_deleted_by_forms(designer: Membership, visit: Visit) -> None:
    client = make_client(designer.workspace, "Acme")
    site = make_project(client, "Site")
    browser = visit(designer)
    new = reverse("budget-new", args=[client.id])
    assert "All time of Acme" in browser.get(new).content.decode()
    answer = browser.post(new, {**FORM, "project": str(site.id), "alert_at": "90; 50 %", "amount": "0"})
    assert answer.status_code == 302
    with tenant_scope(client.workspace_id):
        made = Budget.objects.get()
    assert (made.project_id, made.amount, made.alert_at) == (site.id, Decimal(0), [50, 90])
    edit = reverse("budget-edit", args=[client.id, made.id])
    form = browser.get(edit).content.decode()
    assert 'value="0.00"' in form
    assert 'value="50, 90"' in form
    browser.post(edit, {**FORM, "rollover": "capped", "rollover_cap": "5.5", "alert_at": ""})
    with tenant_scope(client.workspace_id):
        made.refresh_from_db()
    assert (made.project_id, made.amount, made.rollover_cap, made.alert_at) == (
        None,
        Decimal(40),
        Decimal("5.50"),
        [],
    )
    assert made.starts_on == date(2026, 6, 1)
    delete = reverse("budget-delete", args=[client.id, made.id])
    assert "The time stays" in text_of(browser.get(delete))
    assert browser.post(delete).status_code == 302
    with tenant_scope(client.workspace_id):
        assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": ""}, "Give an amount. Zero is one; without any there is no budget."),
        ({"amount": "-1"}, "greater than or equal to 0"),
        ({"amount": "1.234"}, "2 decimal places"),
        ({"period": "once"}, "A budget for once needs its first and its last day."),
        ({"period": "once", "rollover": "all"}, "Only a monthly budget can roll over."),
        ({"rollover": "capped"}, "Give the most that is carried over."),
        ({"alert_at": "lots"}, "Give whole numbers, such as 80, 100."),
        ({"alert_at": "0"}, "each from 1 to 1000"),
        ({"project": "00000000-0000-7000-8000-000000000000"}, "Select a valid choice"),
    ],
)
def test_what_a_form_refuses_is_said_in_words(
    designer: Membership, visit: Visit, change: dict[str, str], words: str
) -> None:
    client = make_client(designer.workspace)
    answer = visit(designer).post(reverse("budget-new", args=[client.id]), {**FORM, **change})
    assert answer.status_code == 422
    assert words in text_of(answer)
    with tenant_scope(client.workspace_id):
        assert not Budget.objects.exists()


def test_a_client_with_its_budgets(admin: Membership, member: Membership, visit: Visit) -> None:
    client = make_client(admin.workspace, "Acme")
    kind = make_activity_type(admin.workspace, rate="100")
    make_budget(client, unit="money", amount=Decimal(1000), rollover="all", starts_on=date(2026, 5, 1))
    make_time_log(admin, client, on=date(2026, 5, 4), seconds=4 * 3600, activity_type=kind)
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=8 * 3600, activity_type=kind)
    page = visit(member).get(reverse("client-budgets", args=[client.id]))
    words = text_of(page)
    assert "USD 1,000.00 every month; what is left is carried over" in words
    assert "Used, 1 – 30 Jun 2026 USD 800.00 50 % of USD 1,600.00 , USD 600.00 of it carried over" in words
    assert "An even pace would have used USD 640.00" in words
    assert "Runs out 24 Jun 2026 At the present pace" in words
    assert "Edit" not in words
    html = page.content.decode()
    assert html.count('<svg class="chart') == 2
    assert "style=" not in html
    assert "USD800.00 of USD1,600.00 used; an even pace would have used USD640.00." in words
    assert "At the present pace it runs out on 24 June 2026" in words


def test_all_budgets_in_order_with_their_state(admin: Membership, visit: Visit) -> None:
    workspace = admin.workspace
    bolt, acme, gone = (make_client(workspace, name) for name in ("bolt", "Acme", "Zed"))
    site, old = make_project(acme, "Site"), make_project(acme, "Old")
    for client, values in (
        (bolt, {"amount": Decimal(1)}),
        (acme, {"project": site}),
        (acme, {}),
        (acme, {"project": old}),
        (gone, {}),
    ):
        make_budget(client, **values)
    make_time_log(admin, bolt, on=date(2026, 6, 2), seconds=2 * 3600)
    with tenant_scope(workspace.id):
        save_project(workspace=workspace, project=old, archived=True)
        save_client(workspace=workspace, client=gone, archived=True)
    browser = visit(admin)
    answer = browser.get(reverse("budgets"))
    assert 'href="/clients/" aria-current="page"' in answer.content.decode()  # its place in the frame
    active = text_of(answer)
    assert re.findall(r"(Acme / Old|Acme / Site|Acme|bolt|Zed) (?:Over )?1 – 30 Jun", active) == [
        "Acme", "Acme / Site", "bolt",
    ]  # fmt: skip
    assert "bolt Over 1 – 30 Jun 2026 every month 2.00 h · 200 % 1.00 h -1.00 h" in active
    archived = text_of(browser.get(reverse("budgets") + "?archived=1"))
    assert "Acme / Old" in archived
    assert "Zed" in archived
    assert "bolt" not in archived


@pytest.mark.parametrize("name", ["budgets", "client-budgets"])
def test_a_page_of_many_takes_the_queries_of_one(admin: Membership, visit: Visit, name: str) -> None:
    browser = visit(admin)
    client = make_client(admin.workspace)
    url = reverse(name, args=[client.id] if name == "client-budgets" else [])
    counts = []
    for number in (1, 9 if name == "client-budgets" else 99):
        with tenant_scope(admin.workspace_id):
            Budget.objects.bulk_create(
                Budget(workspace=admin.workspace, client=client, amount=Decimal(one)) for one in range(number)
            )
        with CaptureQueriesContext(connection) as found:
            page = browser.get(url)
        counts.append(len(found))
        assert page.status_code == 200
    assert counts[0] == counts[1]
    assert len(page.content) < 100_000 * (1 if name == "budgets" else 2)
    if name == "budgets":
        sums = [one for one in found if "timelogs_monthtotal" in one["sql"]]
        assert len(sums) == 1  # one query for all of them


# --- At a glance -----------------------------------------------------------------------------------------------------
def test_glance_shows_the_tightest_first(admin: Membership, django_assert_num_queries: Any) -> None:
    workspace = admin.workspace
    clients = {
        name: make_client(workspace, name)
        for name in ("calm", "near", "over", "zero", "idle", "gone", "later")
    }
    amounts = {"calm": 40, "near": 5, "over": 2, "zero": 0, "idle": 10, "gone": 1, "later": 1}
    for name, client in clients.items():
        later = {"period": "once", "starts_on": date(2026, 7, 1), "ends_on": date(2026, 7, 2)}
        make_budget(client, amount=Decimal(amounts[name]), **(later if name == "later" else {}))
        if name != "idle":
            make_time_log(admin, client, on=date(2026, 6, 12), seconds=4 * 3600)
    with tenant_scope(workspace.id):
        save_client(workspace=workspace, client=clients["gone"], archived=True)
        with django_assert_num_queries(2):
            glance = budgets_at_a_glance(workspace)
        assert [one.name for one in glance.tightest] == ["zero", "over", "near", "calm", "idle"]
        assert (glance.count, glance.over, glance.near) == (5, 2, 1)
        html = Template('{% include "settlement/_budgets_glance.html" with glance=glance only %}').render(
            Context({"glance": glance})
        )
    assert "2 used up" in html
    assert "1 near" in html


def test_glance_of_nothing(workspace: Workspace) -> None:
    with tenant_scope(workspace.id):
        glance = budgets_at_a_glance(workspace)
        assert (glance.tightest, glance.count) == ([], 0)


# --- For a statement -------------------------------------------------------------------------------------------------
def test_before_and_after_a_statement(admin: Membership, django_assert_num_queries: Any) -> None:
    client, other = make_client(admin.workspace, "Acme"), make_client(admin.workspace)
    site = make_project(client, "Site")
    kind = make_activity_type(admin.workspace, rate="100")
    make_budget(client, unit="money", amount=Decimal(5000), rollover="all", starts_on=date(2026, 4, 1))
    make_budget(client, project=site, period="once", starts_on=date(2026, 5, 10), ends_on=date(2026, 12, 31))
    make_budget(client, period="once", starts_on=date(2026, 1, 1), ends_on=date(2026, 4, 30))
    make_budget(other)
    for on, hours, project in (
        (date(2026, 4, 30), 10, None),
        (date(2026, 5, 12), 3, site),
        (date(2026, 5, 31), 4, None),
        (date(2026, 6, 1), 5, site),
        (date(2026, 5, 9), 1, site),
    ):
        make_time_log(admin, client, on=on, seconds=hours * 3600, activity_type=kind, project=project)
    with tenant_scope(admin.workspace_id):
        with django_assert_num_queries(3):
            money, hours = statement_budget(client, date(2026, 5, 10), date(2026, 5, 31))
        assert money.as_json() == {
            "budget_id": str(money.budget_id), "name": "Acme", "project_id": None, "unit": "money", "currency": "USD",
            "first": "2026-05-01", "last": "2026-05-31", "amount": "5000.00", "carried": "4000.00",
            "available": "9000.00", "used_before": "100.00", "used_after": "800.00", "remaining_before": "8900.00",
            "remaining_after": "8200.00",
        }  # fmt: skip
        assert (hours.name, hours.first, hours.used_before, hours.used_after) == (
            "Acme / Site", date(2026, 5, 10), Decimal(0), Decimal(3),
        )  # fmt: skip
        # A statement of some of the days' logs: the others were there before.
        late = TimeLog.objects.filter(spent_date=date(2026, 5, 31))
        money, hours = statement_budget(client, date(2026, 5, 1), date(2026, 5, 31), logs=late)
        assert (money.used_before, money.used_after) == (Decimal(400), Decimal(800))
        assert (hours.used_before, hours.used_after) == (Decimal(3), Decimal(3))
        # Of several months: each month on its own.
        found = statement_budget(client, date(2026, 4, 1), date(2026, 6, 30))
        assert sorted((one.unit, one.first, one.used_before, one.used_after) for one in found) == [
            ("hours", date(2026, 1, 1), Decimal(0), Decimal(10)),
            ("hours", date(2026, 5, 10), Decimal(0), Decimal(8)),
            ("money", date(2026, 4, 1), Decimal(0), Decimal(1000)),
            ("money", date(2026, 5, 1), Decimal(0), Decimal(800)),
            ("money", date(2026, 6, 1), Decimal(0), Decimal(500)),
        ]
        assert statement_budget(other, date(2026, 6, 1), date(2026, 6, 30))[0].remaining_after == 40
        assert statement_budget(make_client(admin.workspace), date(2026, 6, 1), date(2026, 6, 30)) == []


def test_days_are_said_shortly() -> None:
    for first, last, text in (
        ("2026-06-01", "2026-06-30", "1 – 30 Jun 2026"),
        ("2026-06-01", "2026-06-01", "1 Jun 2026"),
        ("2026-05-20", "2026-07-10", "20 May – 10 Jul 2026"),
        ("2025-10-17", "2027-03-21", "17 Oct 2025 – 21 Mar 2027"),
    ):
        assert days_text(Period(date.fromisoformat(first), date.fromisoformat(last))) == text


def test_a_notice_leads_to_the_clients_budgets(admin: Membership, visit: Visit) -> None:
    client = make_client(admin.workspace, "Acme")
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=2 * 3600)
    make_budget(client, amount=Decimal(1))
    with tenant_scope(admin.workspace_id):
        notice = Notice.objects.get()
        assert budgets_of(admin.workspace).count() == 1
    answer = visit(admin).post(reverse("notice-read", args=[notice.id]), {"follow": "1"})
    assert answer["Location"] == reverse("client-budgets", args=[client.id])
