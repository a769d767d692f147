"""The pages of notices and of the trail."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Membership
from accounts.notices import Remedy, notices_of, tell, unread_of
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from tests.factories import make_member
from tests.pages.conftest import Visit

pytestmark = pytest.mark.django_db


def told(person: Membership, count: int = 1) -> None:
    with tenant_scope(person.workspace_id):
        for number in range(count):
            tell(
                workspace=person.workspace,
                people=[person.user],
                incident=f"incident {number}",
                title=f"Trouble <{number}>",
                text="Somebody must look.",
                remedy=Remedy("Put it right", "/integrations/harvest/"),
            )


def test_a_notice_is_on_the_home_page_until_it_is_read(admin: Membership, visit: Visit) -> None:
    told(admin)
    client = visit(admin)
    for path in ("/", "/notices/"):
        page = client.get(path).content.decode()
        assert "Trouble &lt;0&gt;" in page
        assert "Put it right" in page
        assert '<span class="count">1' in page
    with tenant_scope(admin.workspace_id):
        notice = notices_of(admin.workspace, admin.user).get()
    answer = client.post(f"/notices/{notice.id}/read/", {"follow": ""})
    assert answer["Location"] == "/integrations/harvest/"
    assert "Trouble" not in client.get("/").content.decode()
    page = client.get("/notices/").content.decode()
    assert "Trouble &lt;0&gt;" in page
    assert "Mark as read" not in page
    assert '<span class="count">' not in page


def test_all_are_marked_at_once_and_pages_are_turned(
    admin: Membership, visit: Visit, django_assert_max_num_queries: Any
) -> None:
    told(admin, 35)
    told(other := make_member(admin.workspace), 2)
    client = visit(admin)
    with django_assert_max_num_queries(25):
        page = client.get("/notices/").content.decode()
    assert page.count("Somebody must look.") == 30
    assert "Older" in page
    assert client.post("/notices/read/")["Location"] == "/notices/"
    with tenant_scope(admin.workspace_id):
        assert unread_of(admin.workspace, admin.user).count() == 0
        assert unread_of(admin.workspace, other.user).count() == 2


def test_the_trail_names_what_who_and_when(admin: Membership, visit: Visit) -> None:
    member = make_member(admin.workspace, name="Mel Member")
    with tenant_scope(admin.workspace_id):
        record_audit(
            workspace=admin.workspace, actor=admin.user, action="harvest.connected", target="<Northlight>"
        )
        record_audit(workspace=admin.workspace, actor=None, action="harvest.reconnect_needed")
        record_audit(workspace=admin.workspace, actor=admin.user, action="api_key.made", target="k3y")
    page = visit(admin).get("/settings/audit/").content.decode()
    for words in ("harvest.connected", "&lt;Northlight&gt;", str(admin.user), "Timebridge itself", "k3y"):
        assert words in page
    assert "k3y" not in visit(member).get("/settings/audit/").content.decode()
