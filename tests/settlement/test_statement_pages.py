"""Pages of statements without a browser: what they say, what they take, how often they ask the database."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from settlement.models import Statement
from settlement.statement_forms import last_month
from tests.factories import make_activity_type, make_client, make_project, make_time_log
from tests.pages.conftest import Visit, visit
from tests.settlement.statements import days, draft, fresh, issued, make_adjustment

__all__ = ["visit"]  # a fixture

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme <b>")


@pytest.mark.parametrize(
    ("today", "first", "last"),
    [
        (date(2026, 6, 15), date(2026, 5, 1), date(2026, 5, 31)),
        (date(2026, 1, 1), date(2025, 12, 1), date(2025, 12, 31)),
        (date(2028, 3, 31), date(2028, 2, 1), date(2028, 2, 29)),
    ],
)
def test_last_month(today: date, first: date, last: date) -> None:
    assert last_month(today) == (first, last)


def test_draft_is_made_issued_and_voided(admin: Membership, client: Client, visit: Visit) -> None:
    browser = visit(admin)
    make_time_log(
        admin, client, seconds=5400, activity_type=make_activity_type(admin.workspace, rate="99.99")
    )
    new = reverse("statement-new")
    page = browser.get(f"{new}?client={client.id}").content.decode()
    first, last = last_month(admin.workspace.today())
    assert f'value="{first}"' in page
    assert f'value="{last}"' in page
    assert f'<option value="{client.id}" selected>' in page
    made = browser.post(new, {"client": client.id, "from": "2026-06-01", "to": "2026-06-30"})
    with tenant_scope(admin.workspace_id):
        one = Statement.objects.get()
    url = reverse("statement", args=[one.id])
    assert made["Location"] == url
    page = browser.get(url).content.decode()
    assert "Acme &lt;b&gt;" in page
    assert '<span class="currency">USD</span>149.99' in page  # 149.985
    answer = browser.post(reverse("statement-issue", args=[one.id]), follow=True)
    assert "Statement 1 for Acme &lt;b&gt; is issued." in answer.content.decode()
    refused = browser.post(reverse("statement-issue", args=[one.id]), follow=True)
    assert "Statement 1 is issued: it cannot be issued again." in refused.content.decode()
    for name in ("statement-edit", "statement-issue", "statement-delete"):
        assert browser.get(reverse(name, args=[one.id]))["Location"] == url
    answer = browser.post(reverse("statement-void", args=[one.id]), follow=True)
    assert "Statement 1 is void." in answer.content.decode()
    assert browser.get(reverse("statement-void", args=[one.id]))["Location"] == url


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"from": "2026-06-30", "to": "2026-06-01"}, "The period ends before it begins."),
        ({"from": "", "to": "2026-06-01"}, "This field is required."),
        ({"from": "1900-01-01", "to": "2026-06-01"}, "Give a date between 1970 and 2199."),
    ],
)
def test_bad_period_is_said_at_its_field(
    admin: Membership, client: Client, visit: Visit, values: dict[str, str], words: str
) -> None:
    browser = visit(admin)
    answer = browser.post(reverse("statement-new"), {"client": client.id, **values})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    one = draft(admin, client)
    answer = browser.post(reverse("statement-edit", args=[one.id]), values)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert fresh(admin.workspace, one).from_date == one.from_date


def test_second_draft_and_strangers_client_are_refused(
    admin: Membership, stranger: Membership, client: Client, visit: Visit
) -> None:
    browser, june = visit(admin), {"from": "2026-06-01", "to": "2026-06-30"}
    draft(admin, client)
    answer = browser.post(reverse("statement-new"), {"client": client.id, **june})
    assert answer.status_code == 422
    assert "has a draft already" in answer.content.decode()
    foreign = make_client(stranger.workspace, "Foreign")
    assert browser.post(reverse("statement-new"), {"client": foreign.id, **june}).status_code == 422
    page = browser.get(f"{reverse('statement-new')}?client={foreign.id}").content.decode()
    assert "Foreign" not in page


def test_empty_draft_says_what_to_do_and_cannot_be_issued(
    admin: Membership, client: Client, visit: Visit
) -> None:
    browser, one = visit(admin), draft(admin, client)
    page = browser.get(reverse("statement", args=[one.id])).content.decode()
    assert "Nothing to settle" in page
    assert reverse("statement-edit", args=[one.id]) in page
    assert reverse("statement-issue", args=[one.id]) not in page
    answer = browser.post(reverse("statement-issue", args=[one.id]), follow=True)
    assert "There is nothing to settle" in answer.content.decode()
    answer = browser.post(reverse("statement-delete", args=[one.id]), follow=True)
    assert "is deleted" in answer.content.decode()


def test_members_look_and_are_offered_nothing_else(
    admin: Membership, member: Membership, client: Client, visit: Visit
) -> None:
    make_time_log(admin, client)
    one = draft(admin, client)
    browser = visit(member)
    page = browser.get(reverse("statement", args=[one.id])).content.decode()
    for name in ("statement-issue", "statement-edit", "statement-delete"):
        assert reverse(name, args=[one.id]) not in page
    assert reverse("statement-new") not in browser.get(reverse("statements")).content.decode()
    assert browser.get(reverse("statement-export", args=[one.id]) + "?format=csv").status_code == 200
    assert browser.get(reverse("statement-export", args=[one.id]) + "?format=exe").status_code == 404


def test_list_filters_by_client_and_state(admin: Membership, client: Client, visit: Visit) -> None:
    browser = visit(admin)
    make_time_log(admin, client)
    issued(admin, client)
    other = make_client(admin.workspace, "Other")
    draft(admin, other)

    def found(query: str) -> tuple[bool, bool]:
        page = browser.get(f"{reverse('statements')}{query}").content.decode()
        return (">Statement 1</a>" in page, ">Draft<span" in page)

    assert found("") == (True, True)
    assert found("?status=issued") == (True, False)
    assert found("?status=draft") == (False, True)
    assert found(f"?client={other.id}") == (False, True)
    assert found("?status=nonsense&client=x") == (True, True)
    nothing = browser.get(f"{reverse('statements')}?status=void").content.decode()
    assert "No statement matches" in nothing


def test_pages_take_as_many_queries_for_many_rows_as_for_one(
    admin: Membership, client: Client, visit: Visit
) -> None:
    browser = visit(admin)

    def count(url: str, rows: int) -> int:
        browser.get(url)
        with CaptureQueriesContext(connection) as queries:
            page = browser.get(url).content.decode()
        assert page.count("<tr>") == rows
        return len(queries)

    def add() -> None:
        one = make_client(admin.workspace)
        log = make_time_log(admin, one, project=make_project(one))
        issued(admin, one)
        make_adjustment(log, (1, "1.00"))
        draft(admin, one)

    add()
    few = count(reverse("statements"), 3)
    for _ in range(20):
        add()
    assert count(reverse("statements"), 43) == few
    kind = make_activity_type(admin.workspace)
    make_time_log(admin, client, activity_type=kind)
    url = reverse("statement", args=[draft(admin, client).id])
    few = count(url, 4)
    for on in days(30) * 2:
        make_time_log(admin, client, on=on, activity_type=kind)
    assert count(url, 64) == few


def test_entries_are_paged(admin: Membership, client: Client, visit: Visit) -> None:
    browser = visit(admin)
    for on in days(30) * 4:
        make_time_log(admin, client, on=on)
    url = reverse("statement", args=[draft(admin, client).id])
    page = browser.get(url)
    assert page.content.decode().count('<td class="lead">') == 100
    older = browser.get(f"{url}?cursor={page.context['page'].next}")
    assert older.content.decode().count('<td class="lead">') == 20
    assert "<dd>120</dd>" in older.content.decode()
