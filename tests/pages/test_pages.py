"""What pages do: forms and their refusals, queries and sizes that do not grow, headers, words for every error."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import ApiKey, Membership, Role
from accounts.tenancy import tenant_scope
from inbound.models import ProposalStatus, TimeProposal
from tests.factories import (
    make_activity_type,
    make_client,
    make_contact,
    make_key,
    make_member,
    make_project,
    make_proposal,
    make_time_log,
    make_work_item,
    make_workspace,
)
from tests.fragments import TO_RESET, follow, link_in
from tests.pages.conftest import Visit
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def words(page: Any) -> str:
    """The text of an answer, or of a piece of one, without its tags, its spaces joined."""
    html = (page if isinstance(page, bytes) else page.content).decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def logs_of(person: Membership) -> list[TimeLog]:
    with tenant_scope(person.workspace_id):
        return list(TimeLog.objects.order_by("id"))


# --- Growth ----------------------------------------------------------------------------------------------------------
def fill(person: Membership, count: int) -> None:
    """`count` of everything, with long notes, in one workspace."""
    workspace = person.workspace
    kind = make_activity_type(workspace, "Design")
    client = make_client(workspace, "Acme")
    for number in range(count):
        make_client(workspace)
        make_contact(client)
        project = make_project(client)
        item = make_work_item(client, "Title " * 8, project=project)
        make_time_log(
            person, client, on=date(2026, 6, 1) - timedelta(days=number), work_item=item, activity_type=kind,
            notes="Words of a usual note about what was done today. " * 2,
        )  # fmt: skip
        make_proposal(person, client, notes=f"Something about {item.key}")
        make_activity_type(workspace)
        make_key(person)
        make_member(workspace, Role.MEMBER)
    # As many deleted ones, for their own list.
    with tenant_scope(workspace.id):
        for log in list(TimeLog.objects.all()):
            log.id, log.deleted_at = uuid7(), timezone.now()
            log.save(force_insert=True)


LISTS: dict[str, Callable[[Membership], str]] = {
    "home": lambda person: "/",
    "time-logs": lambda person: "/time-logs/",
    "filtered": lambda person: f"/time-logs/?q=words&from=2020-01-01&owner={person.user_id}",
    "deleted": lambda person: "/time-logs/deleted/",
    "places": lambda person: "/time-logs/places/",
    "clients": lambda person: "/clients/",
    "activity types": lambda person: "/settings/activity-types/",
    "inbound": lambda person: "/inbound/",
    "people": lambda person: "/settings/people/",
    "api keys": lambda person: "/settings/api-keys/",
}


@pytest.fixture
def filled(db: None) -> tuple[Membership, Membership]:
    """One workspace with one of everything, one with a hundred."""
    small, large = make_workspace("Small"), make_workspace("Large")
    fill(small, 1)
    fill(large, 100)
    return small, large


def test_pages_ask_as_much_for_a_hundred_rows_as_for_one_and_stay_small(
    filled: tuple[Membership, Membership], visit: Visit
) -> None:
    """All in one test, since the hundred of everything are made once."""
    found: dict[str, list[int]] = {}
    for person in filled:
        client = visit(person)
        client.get("/")  # the session's first request writes it
        with tenant_scope(person.workspace_id):
            acme = TimeLog.objects.all()[0].client_id
        lists = LISTS | {
            "client": lambda _, acme=acme: f"/clients/{acme}/",
            "work items": lambda _, acme=acme: f"/clients/{acme}/work-items/",
            "client's time": lambda _, acme=acme: f"/time-logs/?client={acme}",
        }
        for name, url in lists.items():
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(url(person))
            assert answer.status_code == 200, name
            assert len(answer.content) < 100_000, (name, len(answer.content))
            found.setdefault(name, []).append(len(queries))
    assert {name: counts for name, counts in found.items() if counts[0] != counts[1]} == {}
    assert max(counts[0] for counts in found.values()) < 30


def test_styles_and_scripts_are_small(client: Client) -> None:
    page = client.get(reverse("account_login")).content.decode()
    names = re.findall(r'(?:href|src)="/static/([^"]+\.(?:css|js))"', page)
    assert {"app.css", "app.js"} <= set(names)
    assert len(names) >= 3  # htmx too
    sizes = [len(gzip.compress(Path(str(finders.find(name))).read_bytes())) for name in names]
    assert sum(sizes) < 80_000
    assert len(Path(str(finders.find("app.js"))).read_bytes()) < 10_000


def test_no_page_carries_code_or_styles_of_its_own() -> None:
    """The policy would refuse them; the templates are read so that no rare branch hides one."""
    root = Path(settings.BASE_DIR)
    found = [
        str(path)
        for path in root.glob("*/templates/**/*.html")
        if re.search(
            r"<style|\sstyle=|\son\w{3,}=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3)", path.read_text()
        )
    ]
    assert found == []


def test_pages_forbid_foreign_code_and_are_one_persons(admin: Membership, visit: Visit) -> None:
    answer = visit(admin).get("/")
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "unsafe" not in policy
    assert "private" in answer["Cache-Control"]
    assert {"HX-Request", "Cookie"} <= set(answer["Vary"].replace(" ", "").split(","))


# --- Errors in words -------------------------------------------------------------------------------------------------
def test_error_pages_have_words_and_the_frame(admin: Membership, visit: Visit) -> None:
    answer = visit(admin).get("/nothing/here/")
    assert answer.status_code == 404
    assert "There is nothing here" in words(answer)
    assert "Time logs" in words(answer)
    answer = Client().get("/nothing/here/")
    assert answer.status_code == 404
    assert "Time logs" not in words(answer)


def test_forged_form_is_refused_in_words(admin: Membership) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin.user)
    answer = client.post("/clients/new/", {"name": "Forged"})
    assert answer.status_code == 403
    assert "Please send it again" in words(answer)


def test_fault_of_ours_is_said_without_a_database() -> None:
    from django.views.defaults import server_error

    answer = server_error(RequestFactory().get("/"))
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.content.decode()


@pytest.mark.parametrize("cursor", ["x", "%00", "a.b"])
def test_damaged_cursor_is_a_page_in_words(cursor: str, admin: Membership, visit: Visit) -> None:
    answer = visit(admin).get(f"/time-logs/?cursor={cursor}")
    assert answer.status_code == 400
    assert "Begin at its first page" in words(answer)


@pytest.mark.parametrize(
    "query",
    ["client=x", "from=yesterday", "q=%00", "q=%5C%27%21%28&", "billable=perhaps", "source=1", "to=0000-00-00",
     "client=%F0%9F%92%A5", "project=1", "q=" + "a" * 300],
)  # fmt: skip
def test_odd_filter_is_no_fault(query: str, admin: Membership, visit: Visit) -> None:
    make_time_log(admin, make_client(admin.workspace))
    assert visit(admin).get(f"/time-logs/?{query}").status_code == 200


# --- Time ------------------------------------------------------------------------------------------------------------
def test_time_is_logged_edited_deleted_and_restored_without_javascript(
    admin: Membership, visit: Visit
) -> None:
    client = visit(admin)
    kind = make_activity_type(admin.workspace, "Design", rate="90.00", billable=False)
    acme = make_client(admin.workspace, "Acme")
    site = make_project(acme, "Website")
    values = {
        "place": "Acme / Website", "spent_date": "2026-06-01", "seconds": "1:30", "activity_type": str(kind.id),
        "billable": "", "owner": str(admin.user_id), "notes": "Sketches",
    }  # fmt: skip
    answer = client.post("/time-logs/new/", values, follow=True)
    assert "Logged 1 h 30 m for Website." in words(answer)
    [log] = logs_of(admin)
    assert (log.project_id, log.client_id, log.seconds, log.notes) == (site.id, acme.id, 5400, "Sketches")
    assert (log.billable, log.hourly_rate) == (False, kind.hourly_rate)

    answer = client.post(
        f"/time-logs/{log.id}/edit/", values | {"seconds": "2h", "billable": "true"}, follow=True
    )
    assert "Saved." in words(answer)
    [log] = logs_of(admin)
    assert (log.seconds, log.billable, log.project_id) == (7200, True, site.id)

    answer = client.post(f"/time-logs/{log.id}/delete/", follow=True)
    assert "Deleted 2 h 00 m for Website." in words(answer)
    assert f'action="/time-logs/{log.id}/restore/"' in answer.content.decode()
    assert logs_of(admin)[0].deleted_at is not None
    answer = client.post(f"/time-logs/{log.id}/restore/", follow=True)
    assert "is back" in words(answer)
    assert logs_of(admin)[0].deleted_at is None


def test_refused_time_says_why_at_its_field_and_writes_nothing(admin: Membership, visit: Visit) -> None:
    make_client(admin.workspace, "Acme")
    answer = visit(admin).post(
        "/time-logs/new/",
        {"place": "Acne", "spent_date": "1900-01-01", "seconds": "soon", "owner": str(admin.user_id)},
    )
    assert answer.status_code == 422
    html = answer.content.decode()
    assert "Nothing active is called that." in html
    assert "Type it like 1:30, 1.5, 90m or 1h 30m." in html
    assert 'aria-describedby="id_log_place_error"' in html
    assert 'id="id_log_place_error"' in html
    answer = visit(admin).post(
        "/time-logs/new/",
        {"place": "Acme", "spent_date": "1900-01-01", "seconds": "25:00", "owner": str(admin.user_id)},
    )
    assert "Give a date between 1970 and 2199." in words(answer)
    assert "Give a duration from 0 to 24 hours." in words(answer)
    assert logs_of(admin) == []


def test_edit_leaves_alone_what_it_does_not_change(admin: Membership, visit: Visit) -> None:
    """An archived client, a former member's time and a rate of the past survive an edit of the notes."""
    workspace = admin.workspace
    kind = make_activity_type(workspace, rate="50.00")
    acme = make_client(workspace, "Acme")
    left = make_member(workspace)
    log = make_time_log(left, acme, activity_type=kind, billable=False)
    with tenant_scope(workspace.id):
        from accounts.services import remove_member
        from clients.services import save_client
        from timelogs.services import save_activity_type

        save_client(workspace=workspace, client=acme, archived=True)
        save_activity_type(workspace=workspace, activity_type=kind, hourly_rate=kind.hourly_rate * 2)
        remove_member(membership=left, actor=admin.user)
    answer = visit(admin).post(
        f"/time-logs/{log.id}/edit/",
        {"place": "Acme", "spent_date": "2026-06-01", "seconds": "1:00", "activity_type": str(kind.id),
         "billable": "false", "owner": str(log.owner_id), "notes": "New words"},
    )  # fmt: skip
    assert answer.status_code == 302
    [after] = logs_of(admin)
    assert after.notes == "New words"
    assert (after.client_id, after.owner_id, after.billable) == (acme.id, log.owner_id, False)
    assert after.hourly_rate == log.hourly_rate


def test_members_edit_their_own_time_only_and_see_so(
    admin: Membership, member: Membership, visit: Visit
) -> None:
    acme = make_client(admin.workspace)
    mine, theirs = make_time_log(member, acme), make_time_log(admin, acme)
    page = visit(member).get("/time-logs/").content.decode()
    assert f"/time-logs/{mine.id}/edit/" in page
    assert f"/time-logs/{theirs.id}/edit/" not in page
    assert 'name="owner"' not in page.partition('id="filters"')[0]


def test_settled_time_is_locked(admin: Membership, visit: Visit) -> None:
    log = make_time_log(admin, make_client(admin.workspace))
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.update(settled_at=timezone.now())
    client = visit(admin)
    page = client.get("/time-logs/").content.decode()
    assert "Settled" in page
    assert f"/time-logs/{log.id}/edit/" not in page
    assert client.get(f"/time-logs/{log.id}/edit/").status_code == 409
    answer = client.post(f"/time-logs/{log.id}/delete/", follow=True)
    assert "This time is on an issued statement" in words(answer)
    assert logs_of(admin)[0].deleted_at is None


def test_filters_and_totals_are_of_the_same_set(admin: Membership, member: Membership, visit: Visit) -> None:
    workspace = admin.workspace
    acme, brook = make_client(workspace, "Acme"), make_client(workspace, "Brook")
    site = make_project(acme, "Website")
    design = make_activity_type(workspace, rate="100.00")
    make_time_log(admin, acme, on=date(2026, 6, 1), seconds=5400, activity_type=design, notes="Homepage hero")
    make_time_log(member, acme, on=date(2026, 6, 2), seconds=1800, project=site, billable=False)
    make_time_log(member, brook, on=date(2026, 6, 3), seconds=3600, notes="Shop hero")
    client = visit(admin)

    def totals(query: str) -> str:
        page = client.get("/time-logs/?" + query).content.decode()
        bar = re.search(r'<dl class="totals".*?</dl>', page, re.S)
        assert bar
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bar[0])).strip()

    assert totals("") == "Logs 3 Time 3 h 00 m Billable 2 h 30 m Amount USD 150.00"
    assert totals(f"client={acme.id}") == "Logs 2 Time 2 h 00 m Billable 1 h 30 m Amount USD 150.00"
    assert totals(f"client={acme.id}&project={site.id}").startswith("Logs 1 Time 30 m Billable 0 m")
    assert totals(f"owner={member.user_id}").startswith("Logs 2 Time 1 h 30 m")
    assert totals("from=2026-06-02&to=2026-06-02").startswith("Logs 1")
    assert totals("q=her").startswith("Logs 2")
    assert totals("q=home+her").startswith("Logs 1")
    assert totals("billable=false").startswith("Logs 1 Time 30 m")
    assert totals(f"activity_type={design.id}").startswith("Logs 1")
    assert totals("source=harvest").startswith("Logs 0")


def test_list_by_htmx_is_a_piece_with_a_clean_address(admin: Membership, visit: Visit) -> None:
    acme = make_client(admin.workspace, "Acme")
    make_project(acme, "Website")
    make_time_log(admin, acme)
    answer = visit(admin).get(
        f"/time-logs/?q=&from=&client={acme.id}&source=", headers=HTMX | {"HX-Target": "list"}
    )
    html = answer.content.decode()
    assert "<html" not in html
    assert answer["HX-Push-Url"] == f"/time-logs/?client={acme.id}"
    assert 'id="project-filter" hx-swap-oob="true"' in html
    assert "Website" in html
    assert "csrfmiddlewaretoken" in html


def test_service_refusal_by_htmx_is_a_toast_and_writes_nothing(
    admin: Membership, member: Membership, visit: Visit
) -> None:
    log = make_time_log(admin, make_client(admin.workspace))
    answer = visit(member).post(f"/time-logs/{log.id}/delete/", headers=HTMX)
    assert answer.status_code == 403
    assert "Members write their own time only" in answer["HX-Trigger"]
    assert logs_of(admin)[0].deleted_at is None


def test_session_that_ended_sends_htmx_to_sign_in() -> None:
    answer = Client().get("/time-logs/", headers=HTMX)
    assert answer["HX-Redirect"].startswith("/accounts/login/")


# --- Clients and their things ----------------------------------------------------------------------------------------
def test_client_with_its_projects_contacts_and_work_items(designer: Membership, visit: Visit) -> None:
    client = visit(designer)
    answer = client.post("/clients/new/", {"name": "  Acme  "}, follow=True)
    assert "Acme is a client now." in words(answer)
    url = answer.redirect_chain[-1][0]
    client.post(f"{url}projects/new/", {"name": "Website", "code": "WEB"})
    client.post(f"{url}contacts/new/", {"name": "Ada", "email": "ada@acme.test"})
    answer = client.get(url)
    assert '<a href="' + url + '" aria-current="page">Projects and contacts' in answer.content.decode()
    page = words(answer)
    assert "Website" in page
    assert "ada@acme.test" in page
    answer = client.post(f"{url}work-items/new/", {"title": "Fix the logo", "status": "open"}, follow=True)
    assert "ACME-1 is made." in words(answer)
    answer = client.post(f"{url}work-items/new/", {"title": "Again", "key": "acme-1", "status": "open"})
    assert answer.status_code == 422
    assert "Another work item has this key." in words(answer)
    answer = client.post(f"{url}delete/", follow=True)
    assert "Acme is in use, so it cannot be deleted. Archive it instead." in words(answer)
    client.post(f"{url}archive/", {"archived": "1"})
    assert "Acme" not in words(client.get("/clients/").content.partition(b"<h1>")[2])
    assert "Acme" in words(client.get("/clients/?archived=1"))


def test_names_are_text_and_never_markup(admin: Membership, visit: Visit) -> None:
    evil = '<img src=x onerror="alert(1)">'
    acme = make_client(admin.workspace, evil)
    make_time_log(admin, acme, notes=evil)
    make_proposal(admin, acme, notes=evil)
    make_work_item(acme, evil)
    make_activity_type(admin.workspace, evil)
    client = visit(admin)
    one = f"/clients/{acme.id}/"
    for url in ("/", "/time-logs/", "/time-logs/places/", "/clients/", one, f"{one}edit/", f"{one}work-items/",
                "/inbound/", "/settings/activity-types/"):  # fmt: skip
        html = client.get(url).content.decode()
        assert "<img" not in html, url
        assert "&lt;img" in html, url


# --- Inbound ---------------------------------------------------------------------------------------------------------
def test_proposals_are_accepted_dismissed_and_restored(designer: Membership, visit: Visit) -> None:
    workspace = designer.workspace
    acme = make_client(workspace, "Acme")
    site = make_project(acme, "Website")
    kind = make_activity_type(workspace, "Design")
    item = make_work_item(acme, "Fix the logo")
    first = make_proposal(designer, acme, notes="Fix the logo")
    second, third = make_proposal(designer, acme), make_proposal(designer, acme)
    client = visit(designer)
    page = client.get("/inbound/").content.decode()
    assert f'formaction="/inbound/{first.id}/accept/" name="work_item" value="{item.id}"' in page
    assert '<span class="count">3' in page

    client.post(f"/inbound/{first.id}/accept/", {"work_item": item.id})
    answer = client.post(
        "/inbound/decide/", {"ids": [second.id], "action": "accept", "place": "Acme"}, follow=True
    )
    assert "Choose a work item or a project" in words(answer)
    bulk = {
        "ids": [second.id, third.id],
        "action": "accept",
        "place": "Acme / Website",
        "activity_type": kind.id,
    }
    assert "Accepted 2 of 2." in words(client.post("/inbound/decide/", bulk, follow=True))
    logs = logs_of(designer)
    assert [log.work_item_id for log in logs] == [item.id, None, None]
    assert [log.project_id for log in logs] == [None, site.id, site.id]

    fourth = make_proposal(designer, acme)
    answer = client.post(f"/inbound/{fourth.id}/dismiss/", follow=True)
    assert f'action="/inbound/{fourth.id}/restore/"' in answer.content.decode()
    client.post(f"/inbound/{fourth.id}/restore/")
    with tenant_scope(workspace.id):
        assert TimeProposal.objects.get(id=fourth.id).status == ProposalStatus.PENDING
    assert "Choose proposals first" in words(
        client.post("/inbound/decide/", {"action": "dismiss"}, follow=True)
    )


# --- People, keys, workspaces ----------------------------------------------------------------------------------------
def test_people_are_added_changed_and_removed_but_one_admin_stays(admin: Membership, visit: Visit) -> None:
    client = visit(admin)
    answer = client.post(
        "/settings/people/add/", {"email": "New@Studio.test", "name": "Nia", "role": "member"}
    )
    assert answer.status_code == 302
    answer = client.post("/settings/people/add/", {"email": "new@studio.test", "role": "member"})
    assert answer.status_code == 422
    assert "This person is already a member." in words(answer)
    with tenant_scope(admin.workspace_id):
        nia = Membership.objects.get(user__email="new@studio.test")
    assert "is now: Designer" in words(
        client.post(f"/settings/people/{nia.id}/role/", {"role": "designer"}, follow=True)
    )
    answer = client.post(f"/settings/people/{admin.id}/role/", {"role": "member"}, follow=True)
    assert "A workspace keeps at least one admin." in words(answer)
    assert "no longer a member" in words(client.post(f"/settings/people/{nia.id}/remove/", follow=True))
    assert "A workspace keeps at least one admin." in words(
        client.post(f"/settings/people/{admin.id}/remove/", follow=True)
    )


def test_key_is_shown_once_and_works_until_revoked(
    member: Membership, admin: Membership, visit: Visit
) -> None:
    client = visit(member)
    answer = client.post("/settings/api-keys/", {"name": "Script", "access": "read", "lifetime": "30"})
    found = re.search(r"tb_[0-9a-f]{12}_[\w-]{43}", answer.content.decode())
    assert found
    assert found[0] not in client.get("/settings/api-keys/").content.decode()
    bearer = {"Authorization": f"Bearer {found[0]}"}
    assert Client(headers=bearer).get("/api/v1/me/").status_code == 200
    with tenant_scope(member.workspace_id):
        key = ApiKey.objects.get()
    assert key.expires_at is not None
    assert "Mel Member" in words(visit(admin).get("/settings/api-keys/"))
    client.post(f"/settings/api-keys/{key.id}/revoke/")
    assert Client(headers=bearer).get("/api/v1/me/").status_code == 401


def test_switching_goes_to_the_same_list_of_the_other_workspace(admin: Membership, visit: Visit) -> None:
    second = make_workspace("Second", email=admin.user.email)
    stranger = make_workspace("Third")
    client = visit(admin)
    acme = make_client(admin.workspace)
    url = f"/clients/{acme.id}/projects/new/?x=1"
    answer = client.post("/switch-workspace/", {"workspace": str(second.workspace_id), "next": url})
    assert answer["Location"] == "/clients/"
    assert "Second" in words(client.get("/"))
    for evil in ("https://evil.test/", "//evil.test/x", "/\\evil.test"):
        answer = client.post("/switch-workspace/", {"workspace": str(second.workspace_id), "next": evil})
        assert answer["Location"] == "/"
    client.post("/switch-workspace/", {"workspace": str(stranger.workspace_id), "next": "/"})
    assert "Third" not in words(client.get("/"))


def test_theme_is_kept_in_a_cookie_and_drawn_from_the_start(admin: Membership, visit: Visit) -> None:
    client = visit(admin)
    assert client.post("/theme/", {"theme": "dark", "next": "/clients/"})["Location"] == "/clients/"
    assert '<html lang="en" data-theme="dark">' in client.get("/").content.decode()
    client.post("/theme/", {"theme": "system"})
    assert '<html lang="en">' in client.get("/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in client.get("/").content.decode()


# --- Signing in ------------------------------------------------------------------------------------------------------
def test_signing_in_and_out(db: None, settings: Any) -> None:
    make_workspace("Studio", email="ada@studio.test", password="correct-horse-9")
    client = Client()
    page = client.get("/accounts/login/?next=/clients/").content.decode()
    assert "This is a demo" not in page
    answer = client.post("/accounts/login/", {"login": "ada@studio.test", "password": "wrong"})
    assert "not correct" in words(answer)
    answer = client.post(
        "/accounts/login/", {"login": "ADA@studio.test", "password": "correct-horse-9", "next": "/clients/"}
    )
    assert answer["Location"] == "/clients/"
    assert client.post("/accounts/logout/").status_code == 302
    assert client.get("/").status_code == 302
    settings.DEMO = True
    assert "This is a demo" in words(Client().get("/accounts/login/"))


def test_password_is_reset_by_mail(db: None, mailoutbox: list[Any]) -> None:
    make_workspace("Studio", email="ada@studio.test", password="correct-horse-9")
    client = Client()
    assert "Look into your mail" in words(
        client.post("/accounts/password/reset/", {"email": "ada@studio.test"}, follow=True)
    )
    link = link_in(mailoutbox[-1].body, TO_RESET)
    place = follow(client, link)["Location"]
    assert "Set a new password" in words(client.get(place))
    new = {"password1": "another-horse-10", "password2": "another-horse-10"}
    answer = client.post(place, new, follow=True)
    assert "Your new password is set" in words(answer)
    assert client.login(email="ada@studio.test", password="another-horse-10")
    assert "This link is used up" in words(follow(Client(), link))


def test_change_that_crossed_another_is_said_in_words(
    admin: Membership, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constraint that refuses what looked good when it was checked: here a second client with the first one's id."""
    acme = make_client(admin.workspace, "Acme")
    from clients import models

    monkeypatch.setattr(models.Client._meta.pk, "_get_default", lambda: acme.id)
    client = visit(admin)
    answer = client.post("/clients/new/", {"name": "Brook"})
    assert answer.status_code == 409
    assert "Somebody changed this at the same moment" in words(answer)
    answer = client.post("/clients/new/", {"name": "Brook"}, headers=HTMX)
    assert answer.status_code == 409
    assert "load it again" in answer["HX-Trigger"]
    with tenant_scope(admin.workspace_id):
        assert [one.name for one in models.Client.objects.all()] == ["Acme"]
