"""Who may pass which door: role × plan × key × operation × own or foreign row, for every operation and page there is.

The operations come from the OpenAPI document and the pages from the URL resolver; what each is to answer comes from the
tables below, a line a group, the first that fits. An operation or page that no line fits fails with a sentence that
says what to add. Each is knocked at without a body, with the ids of rows of one's own workspace and of another's, made
from the model registry: what answers is the door (401, 403, a way to sign in), or what is behind it. One's own row is
then found; another's is not, whoever asks. What bodies do stands in tests/rest/test_roles.py and test_crossing.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import ApiKeyAccess, Membership, Plan, Role, Workspace
from accounts.rest.docs import document
from accounts.tenancy import TenantModel, tenant_scope
from tests.security.conftest import key_in_use
from tests.security.everything import fill, filled
from tests.security.test_crossing import OURS, THEIRS

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.timeout(900)]

EVERYONE = frozenset(Role.values)
MANAGERS = frozenset({Role.ADMIN, Role.DESIGNER})
ADMINS = frozenset({Role.ADMIN})


@dataclass(frozen=True)
class Door:
    """What a group of operations asks for. where: a pattern of the whole address; plan: methods that need pro."""

    where: str
    read: frozenset[str] = EVERYONE
    write: frozenset[str] = MANAGERS
    plan: frozenset[str] = frozenset()

    def may(self, method: str, role: str, plan: str) -> bool:
        allowed = self.read if method == "GET" else self.write
        return role in allowed and (plan == Plan.PRO or method not in self.plan)


WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# --- The API: addresses after /api/v1/, first match ------------------------------------------------------------------
API = [
    Door(r"me/"),
    Door(r"workspace/(deletion/)?", write=ADMINS),
    Door(r"members/({id}/)?", write=ADMINS),
    Door(r"(api-keys|notices|exports|time-logs)/.*", write=EVERYONE),  # one's own; the services see to it
    Door(r"audit/export/", read=ADMINS),
    Door(r"audit/({id}/)?"),
    Door(r"(clients|contacts|projects|activity-types|work-items|budgets|client-links)/.*"),
    Door(r"inbound/.*"),
    Door(r"settlement/.*"),
    Door(r"integrations/"),
    Door(
        r"integrations/harvest/connection/", plan=frozenset({"PUT", "PATCH"})
    ),  # disconnecting is always possible
    Door(r"integrations/harvest/runs/{id}/(undo/|leave/|entries/{entry}/unlink/)"),  # ask nothing of Harvest
    Door(r"integrations/harvest/.*", plan=WRITES),
]

# --- Pages: addresses, first match -----------------------------------------------------------------------------------
PAGES = [
    Door(r"/|/theme/|/switch-workspace/|/notices/.*", write=EVERYONE),
    # Lists, which everybody reads; sent a form that they have no use for, they are shown all the same.
    Door(
        r"/(clients|inbound|inbound/adjustments|budgets|settlement|settings/activity-types|settings/people)/",
        write=EVERYONE,
    ),
    Door(r"/time-logs/.*", write=EVERYONE),
    Door(r"/settings/audit/audit\.(csv|json)", read=ADMINS),
    Door(r"/settings/audit/"),
    Door(r"/settings/people/.*", read=ADMINS, write=ADMINS),
    Door(r"/settings/(api-keys|security)/.*", write=EVERYONE),
    Door(r"/settings/data/(export/|delete-workspace/|keep-workspace/)", read=ADMINS, write=ADMINS),
    Door(r"/settings/data/.*", write=EVERYONE),
    Door(r"/settings/workspace/", write=ADMINS),
    Door(r"/settings/activity-types/.*", read=MANAGERS),
    Door(r"/clients/ID/(work-items/|budgets/)?", write=EVERYONE),  # read, as the lists are
    Door(r"/clients/ID/links/"),
    Door(r"/clients/.*", read=MANAGERS),
    Door(r"/inbound/.*"),
    Door(r"/settlement/ID/(export/)?", write=EVERYONE),  # likewise
    Door(r"/settlement/.*", read=MANAGERS),
    Door(r"/integrations/(harvest/(runs/ID/(panel/)?|held/|conflicts/|waiting/)?)?"),
    Door(
        r"/integrations/harvest/"
        r"(authorize|auto-sync|connect|direction|held/(ID/)?(retry|assign)|mappings|push-older|refresh|runs"
        r"|runs/ID/apply)/",
        read=MANAGERS,
        plan=frozenset({"POST"}),
    ),
    Door(r"/integrations/harvest/.*", read=MANAGERS),
]
# Neither pages of a workspace nor operations: what anybody may ask. A shared page asks for its link.
OPEN = re.compile(r"/(healthz|readyz|metrics|theme/|mail/.*|accounts/.*|api/.*)|/shared/.*")


def door_of(doors: list[Door], place: str, table: str) -> Door:
    found = next((door for door in doors if re.fullmatch(door.where, place)), None)
    if found is None:
        pytest.fail(
            f"{place} is in no group of {table} in tests/security/test_matrix.py: add a Door that says who may read"
            " and write there, and for what the pro plan is needed."
        )
    return found


# --- What there is ---------------------------------------------------------------------------------------------------
OPERATIONS = sorted(
    (path.removeprefix("/api/v1/"), method.upper())
    for path, methods in document()["paths"].items()
    for method in methods
)


def addresses(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + re.sub(r"<[^>]+>", "ID", str(one.pattern))
        if isinstance(one, URLResolver):
            yield from addresses(one.url_patterns, route)
        elif isinstance(one, URLPattern):
            yield route, one.callback


PLACES = sorted({place for place, _ in addresses() if not OPEN.fullmatch(place)})

Rows = dict[type[TenantModel], UUID]


@pytest.fixture
def people(
    admin: Membership, designer: Membership, member: Membership, in_thousands: None
) -> dict[str, Membership]:
    return {Role.ADMIN: admin, Role.DESIGNER: designer, Role.MEMBER: member}


@pytest.fixture
def rows(people: dict[str, Membership], stranger: Membership) -> dict[str, Rows]:
    """A row in every table, the admin's own and the stranger's."""
    return {"own": fill(people[Role.ADMIN], OURS), "foreign": fill(stranger, THEIRS)}


def on_plan(workspace: Workspace, plan: str) -> None:
    with tenant_scope(workspace.id):
        Workspace.objects.update(plan=plan)


def knock(http: Browser, method: str, url: str) -> Any:
    """Ask, and leave no trace."""
    with transaction.atomic():
        answer = http.generic(method, url, b"", content_type="application/json")
        if not answer.streaming and not getattr(answer, "is_rendered", True):
            answer.render()
        transaction.set_rollback(True)
    return answer


def addressed(place: str, rows: dict[str, Rows]) -> Iterator[tuple[str, str]]:
    """(whose, address): of one's own rows, and where there is a place for an id of another's too."""
    for whose, made in rows.items():
        if whose == "own" or "{" in place or "/ID/" in place:
            yield whose, filled(place, made)


# --- The API ---------------------------------------------------------------------------------------------------------
# Where a row of one's own is not found as it is: it has no file, wants a parameter, is in no conflict, came by no run.
NOT_AS_IT_IS = {
    "exports/{id}/file/",
    "settlement/statements/{id}/export/",
    "integrations/harvest/conflicts/{id}/resolve/",
    "integrations/harvest/runs/{id}/entries/{entry}/unlink/",
}


def test_every_operation_asks_for_role_plan_and_key(
    people: dict[str, Membership], rows: dict[str, Rows]
) -> None:
    """Each of a few thousand combinations; what is wrong is told all at once."""
    wrong = []
    https = {
        (role, access): Browser(
            headers={"Authorization": f"Bearer {key_in_use(person, access=access)}"},
            raise_request_exception=False,
        )
        for role, person in people.items()
        for access in ApiKeyAccess.values
    }
    outside = [Browser(), Browser(headers={"Authorization": "Bearer tb_0000_nothing"})]
    for plan in Plan.values:
        on_plan(people[Role.ADMIN].workspace, plan)
        for place, method in OPERATIONS:
            door, reading = door_of(API, place, "API"), method == "GET"
            for whose, path in addressed(place, rows):
                url = f"/api/v1/{path}"
                if plan == Plan.PRO:
                    assert {knock(http, method, url).status_code for http in outside} == {401}, (
                        method,
                        place,
                    )
                for (role, access), http in https.items():
                    if access == ApiKeyAccess.READ and (plan, whose) != (Plan.PRO, "own"):
                        continue  # what it may read it may read like the other; what it may not, it may nowhere
                    answer = knock(http, method, url)
                    status = answer.status_code
                    kind = answer.json()["type"] if status == 403 else ""
                    if not reading and access == ApiKeyAccess.READ:
                        good = kind == "read-only-key"
                    elif not door.may(method, role, plan):
                        allowed = door.read if reading else door.write
                        good = kind == ("plan-required" if role in allowed else "forbidden")
                    elif whose == "foreign":
                        good = status in (400, 404) and THEIRS not in answer.content.decode()
                    elif reading and role == Role.ADMIN:
                        good = status == 200 or (place in NOT_AS_IT_IS and status in (400, 404))
                    elif door.write == EVERYONE and role != Role.ADMIN:
                        good = status in (200, 201, 202, 204, 400, 403, 404)  # the rows are the admin's
                    else:
                        good = status not in (401, 403, 404) and (status < 500 or status == 503)
                        good |= place in NOT_AS_IT_IS and status == 404
                    if not good:
                        wrong.append(f"{method} {place} {whose} {role} {access} {plan}: {status} {kind}")
    assert not wrong, "\n".join(wrong)


# --- Pages -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("plan", Plan.values)
def test_every_page_asks_for_a_session_and_a_role(
    plan: str, people: dict[str, Membership], rows: dict[str, Rows]
) -> None:
    on_plan(people[Role.ADMIN].workspace, plan)
    browsers = {}
    for role, person in people.items():
        browsers[role] = Browser(raise_request_exception=False)
        browsers[role].force_login(person.user)
    key = key_in_use(people[Role.ADMIN])
    outside = [Browser(), Browser(headers={"Authorization": f"Bearer {key}"})]
    wrong = []
    for place in PLACES:
        door = door_of(PAGES, place, "PAGES")
        for whose, url in addressed(place.replace("sessions/ID", "sessions/1"), rows):
            for method in ("GET", "POST"):
                for nobody in outside if (plan, whose) == (Plan.PRO, "own") else ():
                    answer = knock(nobody, method, url)
                    closed = answer.status_code == 405 or (
                        answer.status_code == 302 and answer["Location"].startswith("/accounts/login/")
                    )
                    if not closed:
                        wrong.append(f"{method} {place} nobody: {answer.status_code}")
                for role, http in browsers.items():
                    answer = knock(http, method, url)
                    status, may = answer.status_code, door.may(method, role, plan)
                    good = status == 405 or (status == 403) != may
                    if whose == "foreign":
                        good = status in (400, 404, 405) or (status == 403 and not may)
                    elif door.write == EVERYONE and role != Role.ADMIN and "/ID/" in place:
                        good |= status in (403, 404)  # the rows are the admin's
                    if not good or status >= 500 or (whose == "foreign" and THEIRS in text_of(answer)):
                        wrong.append(f"{method} {place} {whose} {role} {plan}: {status}, not {may}")
    assert not wrong, "\n".join(wrong)


def text_of(answer: Any) -> str:
    return "" if answer.streaming else answer.content.decode()


# --- Reading ---------------------------------------------------------------------------------------------------------
WRITES_SQL = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|COPY) |\bFOR (UPDATE|SHARE)\b")


def test_reading_changes_nothing(people: dict[str, Membership], rows: dict[str, Rows]) -> None:
    """A GET is sent by whatever leads people to it: none writes, of the API or of the pages.

    Save when a key or a session was last used, which is noted by now; and a consent comes back from Harvest by a GET,
    whose state is its token.
    """
    api = Browser(headers={"Authorization": f"Bearer {key_in_use(people[Role.ADMIN])}"})
    browser = Browser()
    browser.force_login(people[Role.ADMIN].user)
    asked = [(api, f"/api/v1/{place}") for place, method in OPERATIONS if method == "GET"]
    asked += [(browser, place) for place in PLACES]
    wrong = []
    for http, place in asked:
        url = filled(place.replace("sessions/ID", "sessions/1"), rows["own"])
        with CaptureQueriesContext(connection) as queries:
            knock(http, "GET", url)
        for query in queries:
            if WRITES_SQL.search(query["sql"]):
                wrong.append(f"{place}: {query['sql'][:200]}")
    assert not wrong, "\n".join(wrong)


def test_every_door_leads_somewhere() -> None:
    """A line that nothing fits is a slip of the pen, or about what was taken away."""
    places = [place for place, _ in OPERATIONS]
    assert [door.where for door in API if not any(re.fullmatch(door.where, one) for one in places)] == []
    assert [door.where for door in PAGES if not any(re.fullmatch(door.where, one) for one in PLACES)] == []


def test_there_is_no_admin_site() -> None:
    """Django's admin site would be one more way in, across workspaces: it is not installed, and nowhere mounted."""
    from django.conf import settings

    assert "django.contrib.admin" not in settings.INSTALLED_APPS
    assert [place for place, view in addresses() if "admin" in str(getattr(view, "__module__", ""))] == []
    assert Browser().get("/admin/").status_code == 404
