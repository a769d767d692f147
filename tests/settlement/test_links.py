"""Client links: who makes and revokes them, what one opens, and what it never shows."""

from __future__ import annotations

import logging
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.signing import Signer
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.fragments import key_in
from accounts.models import AuditEvent, Membership
from accounts.rest.throttling import Count
from accounts.tenancy import SPAN_CLIENT_LINK, span, tenant_scope
from clients.models import Client
from settlement import link_views
from settlement.link_selectors import month_of, report_of
from settlement.link_views import COOKIE, MOST_OPEN
from settlement.links import make_link, open_link, revoke_link
from settlement.models import Budget, ClientLink
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_work_item,
    make_workspace,
)
from tests.fragments import follow
from tests.pages.conftest import Visit, visit  # noqa: F401  (a fixture)
from tests.rest.client import Api
from timelogs.models import TimeLog
from timelogs.services import delete_time_log

pytestmark = pytest.mark.django_db

GONE = "This link does not open"


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


@pytest.fixture(autouse=True)
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count by address would be shared by all tests of an hour."""
    monkeypatch.setattr(link_views, "take", lambda key, rate: Count(1, 30.0))


def link_of(by: Membership, client: Client, **values: Any) -> tuple[ClientLink, str]:
    with tenant_scope(by.workspace_id):
        return make_link(by=by, client=client, **values)


def enter(token: str, browser: Browser | None = None) -> tuple[Browser, Any]:
    """A browser that was led to a link, and what the server answered to its token."""
    browser = browser or Browser()
    return browser, browser.post("/shared/", {"key": token})


def opened(token: str, **query: Any) -> Any:
    """The page that a link opens, or the answer that there is none."""
    browser, answer = enter(token)
    return browser.get(answer["Location"], query) if answer.status_code == 303 else answer


def text(answer: Any) -> str:
    """The page's words."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def budget(client: Client, amount: str, unit: str = "hours", **values: Any) -> Budget:
    with tenant_scope(client.workspace_id):
        return Budget.objects.create(
            workspace=client.workspace,
            client=client,
            unit=unit,
            amount=Decimal(amount),
            period=values.pop("period", "monthly"),
            **values,
        )


# --- What it shows ---------------------------------------------------------------------------------------------------
def test_link_shows_what_is_left_and_what_was_done(admin: Membership, acme: Client) -> None:
    today = admin.workspace.today()
    site = make_project(acme, "Website")
    budget(acme, "10.00")
    budget(acme, "500.00", "money", project=site)
    kind = make_activity_type(admin.workspace, "Secret craft", rate="100.00")
    make_time_log(admin, acme, on=today, seconds=5400, project=site, activity_type=kind, notes="Header drawn")
    make_time_log(admin, acme, on=today, seconds=900, project=site, activity_type=kind, notes="Header drawn")
    make_time_log(admin, acme, on=today, seconds=1800, notes="Phone")
    _, token = link_of(admin, acme)
    page = text(opened(token))
    assert "Northlight for Acme" in page
    assert "7.75 h left" in page
    assert "2.25 h of 10.00 h used (22 %)" in page
    assert "USD 325.00 left" in page
    budget(acme, "2.00")
    assert "0.25 h over" in text(opened(token))
    assert "What was done 2 h 15 m" in page
    assert re.search(r"Other work 30 m .*Website 1 h 45 m", page)
    assert "Header" not in page
    _, token = link_of(admin, acme, show_notes=True)
    page = text(opened(token))
    assert page.count("Header drawn") == 1
    assert "Phone" in page


def test_link_shows_nothing_else(
    admin: Membership, member: Membership, stranger: Membership, acme: Client
) -> None:
    """No person, no rate, no other client, no deleted time, no other month, and nothing of another workspace."""
    today = admin.workspace.today()
    kind = make_activity_type(admin.workspace, "Secret craft", rate="123.45")
    item = make_work_item(acme, "Secret title", key="SECRET-1")
    make_time_log(member, acme, on=today, activity_type=kind, work_item=item, notes="n", seconds=60)
    gone = make_time_log(member, acme, on=today, notes="Deleted words", seconds=7200)
    with tenant_scope(admin.workspace_id):
        delete_time_log(log=gone, by=admin)
    other = make_client(admin.workspace, "Brook")
    make_time_log(member, other, on=today, notes="Other words", seconds=7200)
    budget(other, "77.00")
    make_time_log(admin, acme, on=today.replace(day=1) - timedelta(days=1), notes="Earlier", seconds=7200)
    theirs = make_client(stranger.workspace, "Theirs")
    make_time_log(stranger, theirs, on=today, notes="Strange words", seconds=7200)
    _, token = link_of(admin, acme, show_notes=True)
    html = opened(token).content.decode()
    for word in (
        "Mel", "Ada", "@", "123.45", "Secret craft", "SECRET", "Secret title", "Deleted words", "Brook",
        "Other words", "77.00", "Earlier", "Theirs", "Strange words", "csrf", "<script", "2 h 00 m",
    ):  # fmt: skip
        assert word not in html, word
    assert not re.search(r'(?:href|action|src)="(?!/static/|\?month=)', html)


def test_months_back(admin: Membership, acme: Client) -> None:
    today = admin.workspace.today()
    before = today.replace(day=1) - timedelta(days=1)
    make_time_log(admin, acme, on=before, seconds=7200)
    budget(acme, "10.00")
    _, token = link_of(admin, acme)
    page = text(opened(token))
    assert "No time in" in page
    page = text(opened(token, month=f"{before:%Y-%m}"))
    assert "8.00 h left" in page
    assert f"{before:%B %Y}" in page
    for nonsense in ("", "x", "2026-13", "1900-01", "9999-12", "0000-00", "2026-06-01", "\x00"):
        assert f"{today:%B %Y}" in text(opened(token, month=nonsense)), nonsense


@pytest.mark.parametrize(
    ("query", "month"),
    [
        (None, "2026-06-01"), ("2026-06", "2026-06-01"), ("2026-05", "2026-05-01"), ("2025-07", "2025-07-01"),
        ("2025-06", "2026-06-01"), ("2026-07", "2026-06-01"), ("26-05", "2026-06-01"),
    ],
)  # fmt: skip
def test_month_of(query: str | None, month: str) -> None:
    assert month_of(query, date(2026, 6, 15)) == date.fromisoformat(month)


def test_report_has_the_months_around_it(admin: Membership, acme: Client) -> None:
    today = admin.workspace.today()
    with tenant_scope(admin.workspace_id):
        now = report_of(admin.workspace, acme, month=today.replace(day=1), show_notes=False)
        assert (now.next, now.days) == (None, [])
        assert now.previous is not None
        back = report_of(admin.workspace, acme, month=now.previous, show_notes=False)
        assert back.next == now.first


def test_page_takes_as_many_queries_for_much_as_for_little(admin: Membership, acme: Client) -> None:
    today = admin.workspace.today()
    _, token = link_of(admin, acme, show_notes=True)
    browser, entered = enter(token)

    def ask() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(entered["Location"]).status_code == 200
        return len(captured)

    ask()

    make_time_log(admin, acme, on=today)
    budget(acme, "1.00")
    few = ask()
    for number in range(30):
        project = make_project(acme)
        budget(acme, "1.00", project=project)
        make_time_log(admin, acme, on=today, project=project, notes=f"Note {number}")
    assert ask() == few <= 18


def test_answer_says_what_browsers_and_crawlers_must_not_do(admin: Membership, acme: Client) -> None:
    _, token = link_of(admin, acme)
    browser, entered = enter(token)
    for answer in (entered, opened(token), opened("nonsense"), browser.get("/shared/")):
        assert answer["X-Robots-Tag"] == "noindex, nofollow, noarchive"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert "private" in answer["Cache-Control"]
        assert "no-store" in answer["Cache-Control"]
        if answer is not entered:
            assert not answer.cookies
            assert '<meta name="robots" content="noindex' in answer.content.decode()
    for path in ("/shared/", entered["Location"]):
        assert browser.head(path).status_code == 200
        assert browser.put(path).status_code == 405
    assert browser.post(entered["Location"]).status_code == 405


def test_whoever_is_signed_in_sees_the_same(
    admin: Membership,
    stranger: Membership,
    acme: Client,
    visit: Visit,  # noqa: F811
) -> None:
    make_time_log(admin, acme, on=admin.workspace.today())
    _, token = link_of(admin, acme)
    expected = opened(token).content
    for person in (admin, stranger):
        browser = visit(person)
        before = set(browser.cookies)
        _, answer = enter(token, browser)
        assert browser.get(answer["Location"]).content == expected
        assert {name for name in browser.cookies if not name.startswith(COOKIE)} == before


def test_notes_are_text(admin: Membership, acme: Client) -> None:
    make_time_log(admin, acme, on=admin.workspace.today(), notes='<img src=x onerror="alert(1)">\nnext')
    _, token = link_of(admin, acme, show_notes=True)
    html = opened(token).content.decode()
    assert "<img" not in html
    assert "&lt;img src=x" in html


# --- How long it opens -----------------------------------------------------------------------------------------------
def test_unknown_revoked_and_expired_are_the_same_page(admin: Membership, acme: Client) -> None:
    row, token = link_of(admin, acme)
    late, expired = link_of(admin, acme)
    signed = Signer(salt="settlement.client-link", sep=".").sign("never-given-out")
    with tenant_scope(admin.workspace_id):
        revoke_link(link=row, by=admin)
        ClientLink.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    pages = set()
    for bad in (token, expired, signed, "nonsense", f"{token}x", token[:-1], "x" * 5000, "é.ü", "a.b.c"):
        answer = opened(bad)
        assert answer.status_code == 404, bad
        assert GONE in answer.content.decode()
        pages.add(answer.content)
    assert len(pages) == 1


def test_token_that_was_never_given_out_costs_no_query(db: None) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert opened("A" * 43 + "." + "B" * 43).status_code == 404
    assert [one["sql"] for one in captured if "link" in one["sql"]] == []
    assert open_link("A" * 43 + "." + "B" * 43) is None


def test_no_token_is_kept(admin: Membership, acme: Client) -> None:
    _, token = link_of(admin, acme)
    secret = token.partition(".")[0]
    with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
        for table in ("settlement_clientlink", "accounts_auditevent"):
            cursor.execute(f"SELECT t::text FROM {table} t")
            rows = " ".join(row for (row,) in cursor.fetchall())
            assert rows
            assert secret not in rows
    with tenant_scope(admin.workspace_id):
        actions = list(
            AuditEvent.objects.filter(action__startswith="client_link").values_list("data", flat=True)
        )
        assert len(actions) == 1
        assert "hash" not in str(actions)


def test_last_use_is_noted_to_the_minute(admin: Membership, acme: Client) -> None:
    row, token = link_of(admin, acme)
    opened(token)
    with tenant_scope(admin.workspace_id):
        row.refresh_from_db()
        first = row.last_used_at
        assert first is not None
        opened_again = opened(token)
        assert opened_again.status_code == 200
        row.refresh_from_db()
        assert row.last_used_at == first


def test_address_that_asks_too_often_waits(
    admin: Membership, acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, token = link_of(admin, acme)
    monkeypatch.setattr(link_views, "take", lambda key, rate: Count(rate.limit + 1, 30.0))
    browser, entered = enter(token)
    for answer in (entered, browser.get(f"/shared/{row.id}/")):
        assert answer.status_code == 429
        assert answer["Retry-After"] == "31"
        assert "Acme" not in answer.content.decode()
        assert not answer.cookies


# --- What a browser keeps of it --------------------------------------------------------------------------------------
def test_cookie_is_of_one_link_and_ends_with_it(admin: Membership, acme: Client, settings: Any) -> None:
    row, token = link_of(admin, acme, expires_at=timezone.now() + timedelta(days=3))
    _, answer = enter(token)
    assert (answer.status_code, answer["Location"]) == (303, f"/shared/{row.id}/")
    assert [*answer.cookies] == [f"link-key-{row.id.hex}"]
    (cookie,) = answer.cookies.values()
    assert cookie.value == token
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    assert (
        timedelta(days=3) - timedelta(minutes=1) < timedelta(seconds=cookie["max-age"]) <= timedelta(days=3)
    )
    assert not cookie["secure"]
    settings.SESSION_COOKIE_SECURE = True
    (cookie,) = enter(token)[1].cookies.values()
    assert cookie["secure"]


def test_page_opens_to_the_cookie_of_its_own_link_alone(
    admin: Membership, stranger: Membership, acme: Client
) -> None:
    """Without it, with another link's, or with a token that is good elsewhere: as if there were no such link."""
    row, token = link_of(admin, acme)
    beside, other = link_of(admin, make_client(admin.workspace, "Brook"))
    _, theirs = link_of(stranger, make_client(stranger.workspace))
    unknown = Browser().get("/shared/00000000-0000-7000-8000-000000000000/")
    assert unknown.status_code == 404
    for name, value in [
        (None, ""),
        (f"{COOKIE}{beside.id.hex}", other),
        (f"{COOKIE}{beside.id.hex}", token),
        (f"{COOKIE}{row.id.hex}", other),
        (f"{COOKIE}{row.id.hex}", theirs),
        (f"{COOKIE}{row.id.hex}", "x"),
        (f"{COOKIE}{row.id.hex}", f"{token}x"),
        (f"{COOKIE}{row.id}", token),
    ]:
        browser = Browser()
        if name:
            browser.cookies[name] = value
        answer = browser.get(f"/shared/{row.id}/")
        assert (answer.status_code, answer.content) == (404, unknown.content), name
    browser.cookies[f"{COOKIE}{row.id.hex}"] = token
    assert browser.get(f"/shared/{row.id}/").status_code == 200


def test_links_are_open_side_by_side(admin: Membership, acme: Client) -> None:
    """As a browser sends them: one cookie each, so that two that are opened at once do not take each other's place."""
    brook = make_client(admin.workspace, "Brook")
    browser, first = enter(link_of(admin, acme)[1])
    _, second = enter(link_of(admin, brook)[1], browser)
    for answer, name in ((first, "Acme"), (second, "Brook")):
        for query in ({}, {"month": f"{admin.workspace.today():%Y-%m}"}):
            assert name in text(browser.get(answer["Location"], query))


def test_browser_forgets_the_oldest_of_many(admin: Membership, acme: Client) -> None:
    browser = Browser()
    browser.cookies["theme"] = "dark"
    browser.cookies[f"{COOKIE}no-id"] = "x"
    made = [link_of(admin, acme) for _ in range(MOST_OPEN + 2)]
    for _, token in made:
        assert enter(token, browser)[1].status_code == 303
    kept = {name for name, one in browser.cookies.items() if one.value}
    assert kept == {"theme", f"{COOKIE}no-id"} | {f"{COOKIE}{row.id.hex}" for row, _ in made[2:]}
    assert browser.get(f"/shared/{made[0][0].id}/").status_code == 404
    assert browser.get(f"/shared/{made[2][0].id}/").status_code == 200


def test_revoked_link_is_shut_at_once_and_forgotten(admin: Membership, acme: Client) -> None:
    row, token = link_of(admin, acme)
    late, expired = link_of(admin, acme)
    browser, _ = enter(token)
    enter(expired, browser)
    for one in (row, late):
        assert browser.get(f"/shared/{one.id}/").status_code == 200
    with tenant_scope(admin.workspace_id):
        revoke_link(link=row, by=admin)
        ClientLink.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    for one in (row, late):
        answer = browser.get(f"/shared/{one.id}/")
        assert answer.status_code == 404
        assert GONE in answer.content.decode()
        assert not browser.cookies[f"{COOKIE}{one.id.hex}"].value


def test_no_address_has_the_token(
    admin: Membership, acme: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where it leads, nor in any page, nor in the log, whatever becomes of it."""
    caplog.set_level(logging.DEBUG)
    row, token = link_of(admin, acme)
    browser, answer = enter(token)
    answers = [answer, browser.get(answer["Location"]), browser.get("/shared/")]
    with tenant_scope(admin.workspace_id):
        revoke_link(link=row, by=admin)
    answers += [browser.get(answer["Location"]), enter(token)[1]]
    monkeypatch.setattr(link_views, "take", lambda key, rate: Count(rate.limit + 1, 30.0))
    answers.append(enter(token, browser)[1])
    assert [one.status_code for one in answers] == [303, 200, 200, 404, 404, 429]
    secret = token.partition(".")[0]
    for one in answers:
        assert secret not in one.content.decode()
        assert secret not in str(one.headers)
    assert caplog.records
    assert not [line for line in caplog.messages if secret in line]


@pytest.mark.parametrize(
    "pasted",
    [
        "{url}", "{token}", "  {url}\n", "<{url}>", "{url}.", "({url})", "#{token}", "{broken}", "{escaped}",
        "Your link: {url}",
    ],
)  # fmt: skip
def test_link_is_read_however_it_was_pasted(pasted: str, admin: Membership, acme: Client) -> None:
    row, token = link_of(admin, acme)
    url = f"https://time.example.com/shared/#{token}"
    broken, escaped = f"{url[:70]}\r\n {url[70:]}", url.replace("#", "%23")
    given = pasted.format(url=url, token=token, broken=broken, escaped=escaped)
    assert enter(given)[1].headers.get("Location") == f"/shared/{row.id}/"


@pytest.mark.parametrize(
    "pasted", ["", "#", "  ", "x" * 5000, "\x00", "https://time.example.com/shared/#", "é.ü"]
)
def test_what_is_no_link_is_answered_like_one_that_is_gone(pasted: str) -> None:
    assert key_in(pasted) == ""
    _, answer = enter(pasted)
    assert answer.status_code == 404
    assert answer.content == enter("never.given-out")[1].content


def test_form_needs_no_token_as_it_touches_nothing_else(admin: Membership, acme: Client) -> None:
    """Whoever could forge it may as well send a link: it opens that link, and leaves what is open and who is in."""
    row, token = link_of(admin, acme)
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(admin.user)
    enter(link_of(admin, make_client(admin.workspace, "Brook"))[1], browser)
    before = {name: one.value for name, one in browser.cookies.items()}
    _, answer = enter(token, browser)
    assert answer.status_code == 303
    after = {name: one.value for name, one in browser.cookies.items()}
    assert after == before | {f"{COOKIE}{row.id.hex}": token}


# --- The span --------------------------------------------------------------------------------------------------------
def test_span_sees_the_one_link_and_writes_nothing(
    admin: Membership, stranger: Membership, acme: Client
) -> None:
    row, _ = link_of(admin, acme)
    link_of(admin, acme)
    link_of(stranger, make_client(stranger.workspace))
    with span(SPAN_CLIENT_LINK, row.token_hash):
        assert ClientLink.objects.get() == row
        assert not Client.objects.exists()
        assert not TimeLog.objects.exists()
        assert ClientLink.objects.update(revoked_at=None, expires_at=timezone.now()) == 0
        assert ClientLink.objects.filter(pk=row.pk).delete()[0] == 0
    for other in ("0" * 64, "x", "%"):
        with span(SPAN_CLIENT_LINK, other):
            assert not ClientLink.objects.exists()
    assert not ClientLink.objects.exists()


# --- The API ---------------------------------------------------------------------------------------------------------
def test_api_makes_lists_and_revokes(admin: Membership, acme: Client) -> None:
    api = Api(admin)
    made = api.post("client-links/", {"client": str(acme.id), "show_notes": True})
    assert made.status_code == 201
    body = made.json()
    assert re.fullmatch(r"http://testserver/shared/#[\w-]{43}\.[\w-]{43}", body["url"])
    ends = datetime.fromisoformat(body["expires_at"])
    assert timedelta(days=89) < ends - timezone.now() <= timedelta(days=90)
    assert follow(Browser(), body["url"])["Location"] == f"/shared/{body['id']}/"
    (listed,) = api.get("client-links/").json()["results"]
    assert "url" not in listed
    assert listed["created_by"] == str(admin.user_id)
    assert listed["last_used_at"] is not None
    assert api.get(f"client-links/{listed['id']}/").json() == listed
    assert api.get("client-links/", client=str(make_client(admin.workspace).id)).json()["results"] == []
    for _ in range(2):
        assert api.delete(f"client-links/{listed['id']}/").status_code == 204
    assert follow(Browser(), body["url"]).status_code == 404
    assert api.get(f"client-links/{listed['id']}/").json()["revoked_at"] is not None
    assert api.patch(f"client-links/{listed['id']}/", {"show_notes": False}).status_code == 405


def test_api_refuses_bad_input(admin: Membership, stranger: Membership, acme: Client) -> None:
    api, now = Api(admin), datetime.now(UTC)
    for body, field in [
        ({}, "client"),
        ({"client": str(make_client(stranger.workspace).id)}, "client"),
        ({"client": str(acme.id), "expires_at": now.isoformat()}, "expires_at"),
        ({"client": str(acme.id), "expires_at": (now + timedelta(days=400)).isoformat()}, "expires_at"),
        ({"client": str(acme.id), "expires_at": "soon"}, "expires_at"),
        ({"client": str(acme.id), "show_notes": "maybe"}, "show_notes"),
        ({"client": str(acme.id), "token": "x"}, "token"),
    ]:
        answer = api.post("client-links/", body)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field]), body


def test_api_by_role(
    admin: Membership, designer: Membership, member: Membership, stranger: Membership, acme: Client
) -> None:
    row, _ = link_of(admin, acme)
    for person, see, make, revoke in [
        (member, 200, 403, 403), (stranger, 404, 400, 404), (designer, 200, 201, 204),
    ]:  # fmt: skip
        api = Api(person)
        assert api.get(f"client-links/{row.id}/").status_code == see
        assert api.post("client-links/", {"client": str(acme.id)}).status_code == make
        assert api.delete(f"client-links/{row.id}/").status_code == revoke
    assert Api(stranger).get("client-links/").json()["results"] == []


# --- The page --------------------------------------------------------------------------------------------------------
def test_page_makes_shows_once_and_revokes(admin: Membership, acme: Client, visit: Visit) -> None:  # noqa: F811
    browser = visit(admin)
    path = f"/clients/{acme.id}/links/"
    today = admin.workspace.today()
    answer = browser.post(path, {"until": str(today), "show_notes": "on"})
    assert answer.status_code == 200
    (url,) = re.findall(r'<code id="new-link">http://testserver(.*?)</code>', answer.content.decode())
    anybody = Browser()
    shown = text(anybody.get(follow(anybody, url)["Location"]))
    assert shown.startswith("Acme")
    assert f"good until {today.day} {today:%B %Y}" in shown
    page = browser.get(path).content.decode()
    assert url.partition("#")[2] not in page
    assert "Hours and notes" in page
    with tenant_scope(admin.workspace_id):
        row = ClientLink.objects.get()
    assert timezone.now() < row.expires_at <= timezone.now() + timedelta(days=1)
    answer = browser.post(f"{path}{row.id}/revoke/", follow=True)
    assert "is revoked" in answer.content.decode()
    assert follow(Browser(), url).status_code == 404
    for until in ("", "soon", str(today - timedelta(days=1)), str(today + timedelta(days=366))):
        answer = browser.post(path, {"until": until})
        assert answer.status_code == 422, until
        assert "new-link" not in answer.content.decode()


def test_last_day_ends_by_the_workspaces_clock(visit: Visit) -> None:  # noqa: F811
    admin = make_workspace(timezone="Pacific/Auckland")
    client = make_client(admin.workspace)
    today = admin.workspace.today()
    visit(admin).post(f"/clients/{client.id}/links/", {"until": str(today)})
    with tenant_scope(admin.workspace_id):
        row = ClientLink.objects.get()
    ends = row.expires_at.astimezone(admin.workspace.zone)
    assert (ends.date(), ends.hour) == (today + timedelta(days=1), 0)
    assert row.last_day(admin.workspace.zone) == today


def test_members_see_links_and_make_none(
    admin: Membership,
    acme: Client,
    visit: Visit,  # noqa: F811
) -> None:
    row, _ = link_of(admin, acme)
    browser = visit(make_member(admin.workspace))
    path = f"/clients/{acme.id}/links/"
    page = browser.get(path).content.decode()
    assert "Make link" not in page
    assert "Revoke" not in page
    assert browser.post(path, {"until": "2027-01-01"}).status_code == 403
    assert browser.post(f"{path}{row.id}/revoke/").status_code == 403


def test_link_is_revoked_on_its_clients_page_alone(
    admin: Membership,
    stranger: Membership,
    acme: Client,
    visit: Visit,  # noqa: F811
) -> None:
    row, _ = link_of(admin, acme)
    other = make_client(admin.workspace)
    assert visit(admin).post(f"/clients/{other.id}/links/{row.id}/revoke/").status_code == 404
    assert visit(stranger).post(f"/clients/{acme.id}/links/{row.id}/revoke/").status_code == 404
    assert visit(stranger).get(f"/clients/{acme.id}/links/").status_code == 404
