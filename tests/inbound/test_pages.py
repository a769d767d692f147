"""The pages of Inbound: filters, decisions by form and by htmx, adjustments side by side."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from inbound.adjustments import accept_adjustment, note_difference, withdraw_difference
from inbound.models import Adjustment, TimeProposal
from inbound.views import signed_duration
from tests.factories import (
    make_activity_type,
    make_adjustment,
    make_client,
    make_project,
    make_proposal,
    make_time_log,
    make_work_item,
)
from tests.pages.conftest import Visit, visit  # noqa: F401  (a fixture)
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


@pytest.fixture
def browser(admin: Membership, visit: Visit) -> Browser:  # noqa: F811
    return visit(admin)


def shown(browser: Browser, path: str = "/inbound/", **query: Any) -> list[str]:
    answer = browser.get(path, query)
    assert answer.status_code == 200
    return re.findall(r'data-row="([^"]+)"', answer.content.decode())


def htmx(browser: Browser, path: str, **values: Any) -> Any:
    return browser.post(path, values, headers={"HX-Request": "true"})


def said(answer: Any) -> str:
    text: str = json.loads(answer["HX-Trigger-After-Settle"])["inbound-decided"]["text"]
    return text


# --- Filters ---------------------------------------------------------------------------------------------------------
def test_filters(admin: Membership, member: Membership, acme: Client, browser: Browser) -> None:
    other = make_client(admin.workspace, "Brook", archived=True)
    rows = [
        make_proposal(owner, client, notes, on=date(2026, 6, 1) + timedelta(days=days))
        for days, (owner, client, notes) in enumerate(
            [(admin, acme, "Header fix"), (member, acme, "Footer"), (admin, other, "Header again")]
        )
    ]

    def found(**query: Any) -> list[int]:
        order = [str(row.id) for row in rows]
        return [order.index(id) for id in shown(browser, **query)]

    assert found() == [2, 1, 0]
    assert found(client=acme.id) == [1, 0]
    assert found(client=other.id) == [2]
    assert found(owner=member.user_id) == [1]
    assert found(**{"from": "2026-06-02"}) == [2, 1]
    assert found(to="2026-06-01") == [0]
    assert found(q="head") == [2, 0]
    assert found(q="header fi") == [0]
    assert found(q="nothing") == []
    assert found(client=acme.id, owner=admin.user_id, q="fix", to="2026-06-30") == [0]
    assert found(client="x", **{"from": "soon"}) == [2, 1, 0]  # said at the field, and no filter
    assert "Enter a valid date" in browser.get("/inbound/?from=soon").content.decode()
    assert "Nothing matches" in browser.get("/inbound/?q=nothing").content.decode()
    assert (
        f'<option value="{other.id}" selected>Brook'
        in browser.get(f"/inbound/?client={other.id}").content.decode()
    )


def test_pages_keep_the_filters(admin: Membership, acme: Client, browser: Browser) -> None:
    first = [make_proposal(admin, acme, "kept") for _ in range(51)]
    make_proposal(admin, acme, "other", on=date(2026, 6, 2))
    page = browser.get("/inbound/?q=kept").content.decode()
    assert len(re.findall(r'data-row="', page)) == 50
    (older,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert "q=kept" in older
    rest = shown(browser, "/inbound/" + older.replace("&amp;", "&"))
    assert rest == [str(first[0].id)]


def test_what_is_no_status_shows_what_waits(admin: Membership, acme: Client, browser: Browser) -> None:
    waits = make_proposal(admin, acme)
    assert shown(browser, status="nonsense") == [str(waits.id)]
    assert shown(browser, status="dismissed") == []


@pytest.mark.parametrize("path", ["/inbound/", "/inbound/adjustments/"])
def test_page_takes_as_many_queries_for_50_as_for_1(
    path: str, admin: Membership, member: Membership, browser: Browser
) -> None:
    def fill(count: int) -> None:
        for _ in range(count):
            client = make_client(admin.workspace)
            make_work_item(client, "Fix the logo", project=make_project(client))
            make_proposal(member, client, "Fix the logo")
            make_adjustment(make_time_log(member, client, activity_type=make_activity_type(admin.workspace)))

    def ask() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as captured:
            found = len(shown(browser, path))
        return found, len(captured)

    fill(1)
    browser.get(path)
    few, queries_for_few = ask()
    fill(49)
    many, queries_for_many = ask()
    assert (few, many) == (1, 50)
    assert queries_for_many == queries_for_few
    assert queries_for_few <= 25


# --- Deciding --------------------------------------------------------------------------------------------------------
def test_decisions_by_htmx_answer_with_the_row_as_it_is_now(
    admin: Membership, acme: Client, browser: Browser
) -> None:
    item = make_work_item(acme, "Fix the logo")
    path = f"/inbound/{make_proposal(admin, acme, 'Fix the logo').id}"
    answer = htmx(browser, f"{path}/accept/", work_item=item.id)
    assert said(answer) == f"1 h 00 m is on {item.key} now."
    page = answer.content.decode()
    assert page.strip().startswith("<li")
    assert f"Accepted on {item.key}" in page
    assert 'data-state="accepted"' in page
    answer = htmx(browser, f"{path}/undo/")
    assert said(answer) == "1 h 00 m for Acme waits again."
    assert 'data-state="pending"' in answer.content.decode()
    assert f'value="{item.id}"' in answer.content.decode()
    assert "Dismissed" in said(htmx(browser, f"{path}/dismiss/"))
    assert "waits again" in said(htmx(browser, f"{path}/undo/"))


def test_refusal_by_htmx_is_a_toast_and_changes_nothing(
    admin: Membership, acme: Client, browser: Browser
) -> None:
    proposal = make_proposal(admin, acme, status="withdrawn")
    answer = htmx(browser, f"/inbound/{proposal.id}/dismiss/")
    assert answer.status_code == 409
    assert "its entry is gone in Harvest" in json.loads(answer["HX-Trigger"])["notice"]["text"]


def test_without_scripts_a_decision_leads_back_to_the_filtered_list(
    admin: Membership, acme: Client, browser: Browser
) -> None:
    item = make_work_item(acme)
    proposal = make_proposal(admin, acme)
    here = f"/inbound/?client={acme.id}"
    answer = browser.post(f"/inbound/{proposal.id}/accept/", {"work_item": item.id, "next": here})
    assert answer["Location"] == here
    page = browser.get(here).content.decode()
    assert f'action="/inbound/{proposal.id}/undo/"' in page
    answer = browser.post(f"/inbound/{proposal.id}/undo/", {"next": "https://elsewhere.test/"})
    assert answer["Location"] == "/inbound/"
    with tenant_scope(admin.workspace_id):
        assert TimeProposal.objects.get().status == "pending"
        assert not TimeLog.objects.exists()


def test_undo_is_offered_while_it_works(admin: Membership, acme: Client, browser: Browser) -> None:
    proposal = make_proposal(admin, acme)
    browser.post(f"/inbound/{proposal.id}/accept/", {"work_item": make_work_item(acme).id})
    button = f'formaction="/inbound/{proposal.id}/undo/"'
    assert button in browser.get("/inbound/?status=accepted").content.decode()
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.update(updated_at=timezone.now())
    assert button not in browser.get("/inbound/?status=accepted").content.decode()
    assert (
        "has been changed since"
        in browser.post(f"/inbound/{proposal.id}/undo/", follow=True).content.decode()
    )


def test_members_see_and_cannot_decide(
    admin: Membership,
    member: Membership,
    acme: Client,
    visit: Visit,  # noqa: F811
) -> None:
    make_work_item(acme, "Fix the logo")
    make_proposal(admin, acme, "Fix the logo")
    make_adjustment(make_time_log(admin, acme))
    for path in ("/inbound/", "/inbound/adjustments/"):
        page = visit(member).get(path).content.decode()
        assert "Acme" in page
        assert "data-decide" not in page
        assert 'type="checkbox"' not in page


def test_notes_are_text(admin: Membership, acme: Client, browser: Browser) -> None:
    notes = '<img src=x onerror="alert(1)">'
    make_proposal(admin, acme, notes)
    make_adjustment(make_time_log(admin, acme), notes=notes, seconds=1)
    for path in ("/inbound/", "/inbound/adjustments/"):
        page = browser.get(path).content.decode()
        assert "<img" not in page
        assert "&lt;img" in page


# --- Adjustments -----------------------------------------------------------------------------------------------------
def cells(page: str) -> dict[str, list[str]]:
    """The table of the two sides: what -> [settled, in Harvest now]."""
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', page)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in rows}


def test_adjustment_shows_what_differs_side_by_side(
    admin: Membership, acme: Client, browser: Browser
) -> None:
    design = make_activity_type(admin.workspace, "Design", rate="100.00")
    log = make_time_log(admin, acme, activity_type=design, notes="Header")
    make_adjustment(log, seconds=5400, notes="Header and footer", spent_date=date(2026, 6, 3))
    page = browser.get("/inbound/adjustments/").content.decode()
    assert cells(page) == {
        "Date": ["Mon 1 Jun 2026", "Wed 3 Jun 2026"],
        "Time": ["1 h 00 m (1.00 h)", "1 h 30 m (1.50 h)"],
        "Notes": ["Header", "Header and footer"],
    }
    assert "+30 m" in page
    assert '<data class="money" value="50.00">' in page
    assert '<small>1<span class="visually-hidden"> waiting' in page


def test_withdrawn_adjustment_does_not_say_that_harvest_holds_it_now(
    admin: Membership, acme: Client, browser: Browser
) -> None:
    log = make_time_log(admin, acme)
    make_adjustment(log, seconds=5400)
    assert "In Harvest now" in browser.get("/inbound/adjustments/").content.decode()
    with tenant_scope(admin.workspace_id):
        withdraw_difference(workspace_id=admin.workspace_id, time_log_id=log.id)
    page = browser.get("/inbound/adjustments/?status=withdrawn").content.decode()
    assert cells(page)["Time"] == ["1 h 00 m (1.00 h)", "1 h 30 m (1.50 h)"]
    assert "In Harvest then" in page
    assert "Harvest has changed again since" in page
    assert "Harvest now" not in page


def test_gone_entry_shows_all_there_was(admin: Membership, acme: Client, browser: Browser) -> None:
    log = make_time_log(admin, acme, notes="Header")
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.update(settled_at=timezone.now())
        note_difference(workspace_id=admin.workspace_id, time_log_id=log.id, external_id="4711", after=None)
    page = browser.get("/inbound/adjustments/").content.decode()
    found = cells(page)
    assert list(found) == [
        "Client", "Project", "Activity type", "Person", "Date", "Time", "Rate", "Billable", "Notes",
    ]  # fmt: skip
    assert found["Notes"] == ["Header"]
    assert "Deleted" in found["Client"][1]
    assert "−1 h 00 m" in page


def test_adjustments_are_decided_and_undone(admin: Membership, acme: Client, browser: Browser) -> None:
    row = make_adjustment(make_time_log(admin, acme))
    path = f"/inbound/adjustments/{row.id}"
    assert said(htmx(browser, f"{path}/accept/")) == "+30 m goes onto Acme's next statement."
    assert shown(browser, "/inbound/adjustments/") == []
    assert shown(browser, "/inbound/adjustments/", status="accepted") == [str(row.id)]
    assert said(htmx(browser, f"{path}/restore/")) == "+30 m for Acme waits again."
    answer = browser.post(f"{path}/dismiss/", follow=True)
    assert "+30 m for Acme is dismissed." in answer.content.decode()
    assert f'action="{path}/restore/"' in answer.content.decode()
    browser.post(f"{path}/restore/")
    with tenant_scope(admin.workspace_id):
        assert Adjustment.objects.get().status == "pending"
        accept_adjustment(adjustment=row, by=admin)
    assert "is accepted already" in browser.post(f"{path}/dismiss/", follow=True).content.decode()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 m"), (1800, "+30 m"), (-5400, "−1 h 30 m"), (-29, "−0 m"), (90000, "+25 h 00 m")],
)
def test_signed_duration(seconds: int, text: str) -> None:
    assert signed_duration(seconds) == text
