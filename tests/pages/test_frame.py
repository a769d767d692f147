"""The frame of every page: what it counts, how often it asks, where its links lead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import set_script_prefix
from django.utils import timezone

from accounts.models import Membership, Notice
from accounts.notices import tell, unread_of
from accounts.templatetags import ui
from accounts.tenancy import tenant_scope
from inbound.models import AdjustmentStatus, ProposalStatus
from inbound.selectors import adjustments_waiting, waiting
from tests.factories import make_adjustment, make_client, make_member, make_proposal, make_time_log
from tests.pages.conftest import Visit

pytestmark = pytest.mark.django_db


def counts(page: Any) -> dict[str, int]:
    """What the frame says of each place that counts: {"inbound": 3}."""
    found = re.findall(r'href="/(\w+)/"[^>]*>(?:(?!</a>).)*<span class="count">(\d+)', page.content.decode())
    return {place: int(number) for place, number in found}


def asked(queries: CaptureQueriesContext) -> list[str]:
    """The statements that count what waits."""
    return [one["sql"] for one in queries if "EXECUTE frame_counts" in one["sql"]]


def fill(person: Membership, *, waits: int, unread: int) -> None:
    """So many proposals, one adjustment and so many notices that count; and one of each that is done with."""
    client = make_client(person.workspace)
    for _ in range(waits + 1):
        proposal = make_proposal(person, client)
    adjustments = [make_adjustment(make_time_log(person, client)) for _ in range(2)]
    with tenant_scope(person.workspace_id):
        for number in range(unread + 1):
            tell(workspace=person.workspace, people=[person.user], incident=str(number), title="T", text="t")
        Notice.objects.filter(user=person.user, incident="0").update(read_at=timezone.now())
        proposal.status = ProposalStatus.DISMISSED
        proposal.save()
        adjustments[0].status = AdjustmentStatus.DISMISSED
        adjustments[0].save()


def test_frame_counts_what_waits_for_this_person_in_this_workspace(
    admin: Membership, stranger: Membership, visit: Visit
) -> None:
    fill(admin, waits=3, unread=5)
    fill(stranger, waits=1, unread=2)
    colleague = make_member(admin.workspace)
    assert counts(visit(admin).get("/clients/")) == {"inbound": 4, "notices": 5}
    assert counts(visit(stranger).get("/clients/")) == {"inbound": 2, "notices": 2}
    assert counts(visit(colleague).get("/clients/")) == {"inbound": 4}
    with tenant_scope(admin.workspace_id):
        workspace = admin.workspace
        assert waiting(workspace).count() + adjustments_waiting(workspace).count() == 4
        assert unread_of(workspace, admin.user).count() == 5


@pytest.mark.django_db(transaction=True)  # else the test's own transaction passes for a view's
def test_frame_counts_outside_a_view_too(admin: Membership, visit: Visit) -> None:
    """An error page is drawn when the view's scope has ended, or before any began."""
    fill(admin, waits=3, unread=5)
    for path in ("/nowhere/", "/clients/00000000-0000-0000-0000-000000000000/"):
        page = visit(admin).get(path)
        assert page.status_code == 404
        assert counts(page) == {"inbound": 4, "notices": 5}


def test_frame_asks_once_and_pieces_of_a_page_do_not(admin: Membership, visit: Visit) -> None:
    fill(admin, waits=1, unread=1)
    browser = visit(admin)
    for path in ("/clients/", "/notices/", "/time-logs/"):
        with CaptureQueriesContext(connection) as queries:
            page = browser.get(path)
        assert counts(page) == {"inbound": 2, "notices": 1}
        assert len(asked(queries)) == 1, path
    with CaptureQueriesContext(connection) as queries:
        browser.get("/time-logs/", headers={"HX-Request": "true", "HX-Target": "list"})
    assert asked(queries) == []


# --- Links -----------------------------------------------------------------------------------------------------------
def links(page: Any) -> dict[str, str]:
    """The menu: address -> the words of the link."""
    found = re.findall(r'<a class="place" href="([^"]+)"[^>]*>(.*?)</a>', page.content.decode())
    return {address: " ".join(re.sub(r"<[^>]+>", " ", words).split()) for address, words in found}


def here(page: Any) -> list[str]:
    return re.findall(r'<a class="place" href="([^"]+)" aria-current="page"', page.content.decode())


def test_menu_leads_to_every_place(admin: Membership, visit: Visit) -> None:
    browser = visit(admin)
    found = links(browser.get("/"))
    assert found == {
        "/": "Home",
        "/time-logs/": "Time logs",
        "/inbound/": "Inbound",
        "/notices/": "Notices",
        "/clients/": "Clients",
        "/settlement/": "Settlement",
        "/integrations/": "Integrations",
        "/settings/activity-types/": "Activity types",
        "/settings/people/": "People",
        "/settings/api-keys/": "API keys",
        "/settings/audit/": "Audit trail",
        "/settings/data/": "Data",
        "/settings/workspace/": "Workspace",
    }
    for address in found:
        page = browser.get(address)
        assert page.status_code == 200, address
        assert here(page) == [address]


def test_menu_marks_where_a_page_below_a_place_is(admin: Membership, visit: Visit) -> None:
    browser = visit(admin)
    client = make_client(admin.workspace)
    assert here(browser.get(f"/clients/{client.id}/")) == ["/clients/"]
    assert here(browser.get("/budgets/")) == ["/clients/"]
    assert here(browser.get("/time-logs/deleted/")) == ["/time-logs/"]
    assert here(browser.get("/settings/security/")) == []


def test_addresses_follow_the_settings(settings: Any) -> None:
    """They are kept for the life of a process, and a test is none."""
    assert '"/static/icons.svg#plus"' in ui.icon("plus")
    assert ui.icon("<", "<").count("&lt;") == 2
    assert ui.asset("app.css") == "/static/app.css"
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {
            "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
            "OPTIONS": {"base_url": "/elsewhere/"},
        },
    }
    assert '"/elsewhere/icons.svg#plus"' in ui.icon("plus")
    assert ui.asset("app.css") == "/elsewhere/app.css"
    assert 'src="/elsewhere/' in ui.htmx()
    assert ui.address("time-logs") == "/time-logs/"
    set_script_prefix("/below/")
    try:
        assert ui.address("time-logs") == "/below/time-logs/"
    finally:
        set_script_prefix("/")
    assert ui.address("time-logs") == "/time-logs/"
