"""Who may open and send what: nobody, a stranger, each role; for every page there is."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from accounts.models import DataExport, Membership, Role
from accounts.notices import notices_of, tell
from accounts.tenancy import tenant_scope
from accounts.urls import urlpatterns as accounts_urls
from clients.urls import urlpatterns as clients_urls
from inbound.urls import urlpatterns as inbound_urls
from settlement.budget_urls import urlpatterns as budget_urls
from settlement.link_urls import urlpatterns as link_urls
from settlement.links import make_link
from settlement.statement_urls import urlpatterns as statement_urls
from tests.factories import (
    make_activity_type,
    make_adjustment,
    make_budget,
    make_client,
    make_contact,
    make_key,
    make_member,
    make_project,
    make_proposal,
    make_session,
    make_time_log,
    make_work_item,
)
from tests.fixtures import make_northlight
from tests.pages.conftest import Visit
from tests.settlement.statements import draft
from timelogs.urls import urlpatterns as timelogs_urls

pytestmark = pytest.mark.django_db

ANYBODY, MANAGERS, ADMINS = "anybody", "managers", "admins"


@dataclass(frozen=True)
class Spot:
    """A page: its name, what its address names, who may open it, and whether it is only sent (POST)."""

    name: str
    ids: tuple[str, ...] = ()
    who: str = ANYBODY
    post: bool = False


SPOTS = [
    Spot("home"),
    Spot("time-logs"),
    Spot("time-log-new"),
    Spot("places"),
    Spot("time-logs-deleted"),
    Spot("time-log", ("log",)),
    Spot("time-log-edit", ("log",)),
    Spot("time-log-delete", ("log",), post=True),
    Spot("time-log-restore", ("log",), post=True),
    Spot("activity-types"),
    Spot("activity-type-new", who=MANAGERS),
    Spot("activity-type-edit", ("type",), MANAGERS),
    Spot("activity-type-delete", ("type",), MANAGERS),
    Spot("clients"),
    Spot("client-new", who=MANAGERS),
    Spot("client", ("client",)),
    Spot("client-edit", ("client",), MANAGERS),
    Spot("client-archive", ("client",), MANAGERS, post=True),
    Spot("client-delete", ("client",), MANAGERS),
    Spot("project-new", ("client",), MANAGERS),
    Spot("project-edit", ("client", "project"), MANAGERS),
    Spot("project-archive", ("client", "project"), MANAGERS, post=True),
    Spot("project-delete", ("client", "project"), MANAGERS),
    Spot("contact-new", ("client",), MANAGERS),
    Spot("contact-edit", ("client", "contact"), MANAGERS),
    Spot("contact-delete", ("client", "contact"), MANAGERS),
    Spot("client-work-items", ("client",)),
    Spot("work-item-new", ("client",), MANAGERS),
    Spot("work-item-edit", ("client", "item"), MANAGERS),
    Spot("work-item-delete", ("client", "item"), MANAGERS),
    Spot("inbound"),
    Spot("inbound-decide", who=MANAGERS, post=True),
    Spot("inbound-accept", ("proposal",), MANAGERS, post=True),
    Spot("inbound-dismiss", ("proposal",), MANAGERS, post=True),
    Spot("inbound-restore", ("proposal",), MANAGERS, post=True),
    Spot("inbound-undo", ("proposal",), MANAGERS, post=True),
    Spot("inbound-adjustments"),
    Spot("inbound-adjustment-accept", ("adjustment",), MANAGERS, post=True),
    Spot("inbound-adjustment-dismiss", ("adjustment",), MANAGERS, post=True),
    Spot("inbound-adjustment-restore", ("adjustment",), MANAGERS, post=True),
    Spot("budgets"),
    Spot("client-budgets", ("client",)),
    Spot("budget-new", ("client",), MANAGERS),
    Spot("budget-edit", ("client", "budget"), MANAGERS),
    Spot("budget-delete", ("client", "budget"), MANAGERS),
    Spot("statements"),
    Spot("statement-new", who=MANAGERS),
    Spot("statement", ("statement",)),
    Spot("statement-edit", ("statement",), MANAGERS),
    Spot("statement-issue", ("statement",), MANAGERS),
    Spot("statement-void", ("statement",), MANAGERS),
    Spot("statement-delete", ("statement",), MANAGERS),
    Spot("statement-export", ("statement",)),
    Spot("client-links", ("client",)),
    Spot("client-link-revoke", ("client", "client_link"), MANAGERS, post=True),
    Spot("notices"),
    Spot("notices-read", post=True),
    Spot("notice-read", ("notice",), post=True),
    Spot("audit"),
    Spot("audit-csv", who=ADMINS),
    Spot("audit-json", who=ADMINS),
    Spot("people"),
    Spot("person-add", who=ADMINS, post=True),
    Spot("person-role", ("membership",), ADMINS, post=True),
    Spot("person-remove", ("membership",), ADMINS),
    Spot("api-keys"),
    Spot("api-key-revoke", ("key",), post=True),
    Spot("workspace-settings"),
    Spot("data"),
    Spot("data-export", who=ADMINS, post=True),
    Spot("data-export-own", post=True),
    Spot("data-export-file", ("export",)),
    Spot("workspace-delete", who=ADMINS),
    Spot("workspace-keep", who=ADMINS, post=True),
    Spot("account-delete"),
    Spot("security"),
    Spot("second-factor"),
    Spot("sessions-end", post=True),
    Spot("session-end", ("session",), post=True),
]
# theme and a client's link are anybody's; the switch is tested with the switcher.
OPEN = {"shared", "shared-client", "theme", "workspace-switch"}
named = pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: spot.name)


@pytest.fixture(scope="module")
def made(once: None) -> tuple[Membership, dict[str, object]]:
    """The admin, and the id of one row of each kind, the time being the admin's."""
    admin = make_northlight()
    workspace = admin.workspace
    client = make_client(workspace, "Acme")
    log = make_time_log(admin, client)
    make_key(admin)
    with tenant_scope(workspace.id):
        from accounts.models import ApiKey

        key = ApiKey.objects.get()
        link, _ = make_link(by=admin, client=client)
        tell(workspace=workspace, people=[admin.user], incident="it", title="It", text="It happened.")
        notice = notices_of(workspace, admin.user).get()
        export = DataExport.objects.create(
            workspace=workspace, kind="workspace", state="ready", requested_by=admin.user
        )
    ids = {
        "client": client.id,
        "project": make_project(client).id,
        "contact": make_contact(client).id,
        "item": make_work_item(client).id,
        "type": make_activity_type(workspace).id,
        "proposal": make_proposal(admin, client).id,
        "adjustment": make_adjustment(make_time_log(admin, client)).id,
        "client_link": link.id,
        "log": log.id,
        "budget": make_budget(client).id,
        "statement": draft(admin, client).id,
        "membership": make_member(workspace, Role.MEMBER).id,
        "key": key.id,
        "notice": notice.id,
        "export": export.id,
        "session": make_session(admin).pk,
    }
    return admin, ids


@pytest.fixture
def admin(made: tuple[Membership, dict[str, object]]) -> Membership:
    return deepcopy(made[0])


@pytest.fixture
def ids(made: tuple[Membership, dict[str, object]]) -> dict[str, object]:
    return dict(made[1])


def address(spot: Spot, ids: dict[str, object]) -> str:
    return reverse(spot.name, args=[ids[name] for name in spot.ids])


def test_every_page_is_in_the_table() -> None:
    patterns = [
        *accounts_urls,
        *clients_urls,
        *inbound_urls,
        *budget_urls,
        *statement_urls,
        *timelogs_urls,
        *link_urls,
    ]
    names = {one.name for one in patterns if isinstance(one, URLPattern)} | {"home"}
    assert names - OPEN == {spot.name for spot in SPOTS}
    assert names <= set(get_resolver().reverse_dict)


@named
def test_nobody_is_asked_to_sign_in(spot: Spot, ids: dict[str, object]) -> None:
    client = Client()
    url = address(spot, ids)
    answer = client.post(url) if spot.post else client.get(url)
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=" + ("/" if spot.post else url)


@named
def test_api_key_opens_no_page(spot: Spot, ids: dict[str, object], admin: Membership) -> None:
    url = address(spot, ids)
    client = Client(headers={"Authorization": f"Bearer {make_key(admin)}"})
    client.force_login(admin.user)
    assert (client.post(url) if spot.post else client.get(url)).status_code == 302


@named
def test_stranger_finds_nothing(
    spot: Spot, ids: dict[str, object], stranger: Membership, visit: Visit
) -> None:
    """Another workspace's rows are not there for its admin; the lists are there, and name none of them."""
    client = visit(stranger)
    url = address(spot, ids)
    answer = client.post(url, {"work_item": ids["item"]}) if spot.post else client.get(url)
    if spot.ids:
        assert answer.status_code == 404
        assert "There is nothing here" in answer.content.decode()
    else:
        assert answer.status_code in (200, 302, 422)
        assert "Acme" not in answer.getvalue().decode()


@named
@pytest.mark.parametrize("role", [Role.MEMBER, Role.DESIGNER, Role.ADMIN])
def test_role_opens_or_is_told_why_not(
    spot: Spot, role: str, ids: dict[str, object], admin: Membership, visit: Visit
) -> None:
    person = admin if role == Role.ADMIN else make_member(admin.workspace, role)
    client = visit(person)
    url = address(spot, ids)
    answer = client.post(url, {"work_item": ids["item"], "role": "member"}) if spot.post else client.get(url)
    may = {ANYBODY: True, MANAGERS: role != Role.MEMBER, ADMINS: role == Role.ADMIN}[spot.who]
    if spot.name in ("time-log-edit", "time-log-delete", "time-log-restore"):
        may = role != Role.MEMBER  # the log is somebody else's
    if spot.name in ("api-key-revoke", "notice-read", "session-end"):
        assert answer.status_code == (302 if role == Role.ADMIN else 404)  # others do not see it
    elif spot.name == "data-export-file":
        assert answer.status_code == (200 if role == Role.ADMIN else 404)  # the whole workspace's
    elif may:
        assert answer.status_code in (200, 302, 422)
    else:
        assert answer.status_code == 403
        assert "You may not do this" in answer.content.decode()
        assert re.search(r"Only admins|Members write their own time only", answer.content.decode())


def test_workspace_settings_are_changed_by_admins_only(
    admin: Membership, designer: Membership, visit: Visit
) -> None:
    url = reverse("workspace-settings")
    values = {"name": "Renamed", "timezone": "Europe/Oslo", "currency": "nok", "plan": "pro"}
    assert visit(designer).post(url, values).status_code == 403
    assert visit(admin).post(url, values).status_code == 302
    page = visit(admin).get(url).content.decode()
    assert "Renamed" in page
    assert 'value="NOK"' in page


def test_person_in_no_workspace_is_told(stranger: Membership, db: None) -> None:
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user("alone@example.com", "x"))
    answer = client.get("/")
    assert answer.status_code == 403
    assert "You are in no workspace" in answer.content.decode()
