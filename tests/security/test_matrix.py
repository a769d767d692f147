"""Who may pass which door: role × plan × key × operation × whose workspace, for every operation and page there is.

The operations come from the OpenAPI document and the pages from the URL resolver; what each is to answer comes from the
tables below, a line a group, the first that fits. An operation or page that no line fits fails with a sentence that
says what to add. Doors only: each is knocked at with an id that names nothing and without a body, so that what answers
is the door (401, 403, a way to sign in) or what is behind it (anything else below 500). What is behind them, with rows
of one's own and of another workspace, stands in tests/rest/test_roles.py, tests/pages/test_access.py and
test_crossing.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.ids import uuid7
from accounts.models import ApiKeyAccess, Membership, Plan, Role, Workspace
from accounts.rest.docs import document
from accounts.tenancy import tenant_scope
from tests.factories import make_key
from tests.security.everything import fill
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
    Door(r"/clients/ID/(work-items/|budgets/|links/)?"),
    Door(r"/clients/.*", read=MANAGERS),
    Door(r"/inbound/.*"),
    Door(r"/settlement/ID/(export/)?"),
    Door(r"/settlement/.*", read=MANAGERS),
    Door(r"/integrations/(harvest/(runs/ID/(panel/)?|held/|conflicts/|waiting/)?)?"),
    Door(
        r"/integrations/harvest/(authorize|auto-sync|connect|direction|held/retry|mappings|push-older|refresh|runs)/",
        read=MANAGERS,
        plan=frozenset({"POST"}),
    ),
    Door(r"/integrations/harvest/.*", read=MANAGERS),
]
# Neither pages of a workspace nor operations: what anybody may ask. A shared page asks for the secret in its address.
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

Wall = Callable[[str, str], Membership]


@pytest.fixture
def people(admin: Membership, designer: Membership, member: Membership) -> dict[str, Membership]:
    return {Role.ADMIN: admin, Role.DESIGNER: designer, Role.MEMBER: member}


def on_plan(workspace: Workspace, plan: str) -> None:
    with tenant_scope(workspace.id):
        Workspace.objects.update(plan=plan)


def knock(http: Browser, method: str, url: str) -> Any:
    """Ask, and leave no trace."""
    with transaction.atomic():
        answer = http.generic(method, url, b"", content_type="application/json")
        transaction.set_rollback(True)
    return answer


# --- The API ---------------------------------------------------------------------------------------------------------
def test_every_operation_asks_for_role_plan_and_key(people: dict[str, Membership], settings: Any) -> None:
    """Each of several hundred combinations; what is wrong is told all at once."""
    settings.HARVEST_API_URL = settings.HARVEST_ID_URL = "http://127.0.0.1:9"
    wrong = []
    workspace = people[Role.ADMIN].workspace
    keys = {
        (role, access): make_key(person, access=access)
        for role, person in people.items()
        for access in ApiKeyAccess.values
    }
    for place, method in OPERATIONS:
        door = door_of(API, place, "API")
        url = "/api/v1/" + re.sub(r"{\w+}", str(uuid7()), place)
        assert knock(Browser(), method, url).status_code == 401, (method, place)
        bad = Browser(headers={"Authorization": "Bearer tb_0000_nothing"})
        assert knock(bad, method, url).status_code == 401, (method, place)
        for plan in Plan.values:
            on_plan(workspace, plan)
            for (role, access), key in keys.items():
                answer = knock(Browser(headers={"Authorization": f"Bearer {key}"}), method, url)
                reading = method == "GET"
                may = door.may(method, role, plan) and (reading or access == ApiKeyAccess.WRITE)
                passed = answer.status_code != 403
                if passed != may or answer.status_code in (401, 500):
                    wrong.append(f"{method} {place} {role} {access} {plan}: {answer.status_code}, not {may}")
                elif not passed:
                    kind = answer.json()["type"]
                    if not reading and access == ApiKeyAccess.READ:
                        expected = "read-only-key"
                    else:
                        allowed = door.read if reading else door.write
                        expected = "plan-required" if role in allowed else "forbidden"
                    if kind != expected:
                        wrong.append(f"{method} {place} {role} {access} {plan}: {kind}, not {expected}")
    assert not wrong, "\n".join(wrong)


def test_every_row_of_another_workspace_is_a_404(admin: Membership, stranger: Membership) -> None:
    """Each operation on a row, with the id of each row that another workspace has: whatever it may be the id of."""
    fill(admin, OURS)
    theirs = fill(stranger, THEIRS)
    http = Browser(headers={"Authorization": f"Bearer {make_key(admin)}"})
    found = []
    for place, method in OPERATIONS:
        if "{id}" not in place:
            continue
        noun = place.split("/{id}")[0].rpartition("/")[2]
        for model, id in theirs.items():
            if method != "GET" and not noun.replace("-", "").startswith(model.__name__.lower()[:4]):
                continue  # a read of every kind; a write of its own
            url = "/api/v1/" + re.sub(r"{\w+}", str(uuid7()), place.replace("{id}", str(id)))
            answer = knock(http, method, url)
            if answer.status_code < 400 or THEIRS in answer.content.decode():
                found.append(f"{method} {url}: {answer.status_code}")
            elif answer.status_code not in (400, 404, 409):
                found.append(f"{method} {url}: {answer.status_code} rather than a 404")
    assert not found, "\n".join(found)


# --- Pages -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("plan", Plan.values)
def test_every_page_asks_for_a_session_and_a_role(
    plan: str, people: dict[str, Membership], settings: Any
) -> None:
    settings.HARVEST_API_URL = settings.HARVEST_ID_URL = "http://127.0.0.1:9"
    on_plan(people[Role.ADMIN].workspace, plan)
    browsers = {}
    for role, person in people.items():
        browsers[role] = Browser()
        browsers[role].force_login(person.user)
    key = make_key(people[Role.ADMIN])
    wrong = []
    for place in PLACES:
        door = door_of(PAGES, place, "PAGES")
        url = place.replace("ID", "1" if "sessions" in place else str(uuid7()))
        for method in ("GET", "POST"):
            for nobody in (Browser(), Browser(headers={"Authorization": f"Bearer {key}"})):
                answer = knock(nobody, method, url)
                closed = answer.status_code == 405 or (
                    answer.status_code == 302 and answer["Location"].startswith("/accounts/login/")
                )
                if not closed:
                    wrong.append(f"{method} {place} nobody: {answer.status_code}")
            for role, http in browsers.items():
                status = knock(http, method, url).status_code
                may = door.may(method, role, plan)
                if status >= 500 or (status not in (404, 405) and (status != 403) != may):
                    wrong.append(f"{method} {place} {role} {plan}: {status}, not {may}")
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
