"""What a signed-in person belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Membership, User, Workspace
from accounts.selectors import memberships_of
from accounts.tenancy import tenant_scope
from tests.factories import make_member, make_workspace

pytestmark = pytest.mark.django_db


def test_memberships_are_ones_own_by_name_and_leave_no_span_open(
    admin: Membership, stranger: Membership, django_assert_num_queries: Any
) -> None:
    second = make_member(stranger.workspace, "designer", email=admin.user.email)
    third = make_member(make_workspace("Aardvark").workspace, email=admin.user.email)
    with django_assert_num_queries(1):
        found = memberships_of(admin.user)
    assert found == [third, second, admin]
    assert [one.workspace.name for one in found] == ["Aardvark", "Elsewhere", "Northlight"]
    assert [one.role for one in found] == ["member", "designer", "admin"]
    assert all(one.user is admin.user for one in found)
    with tenant_scope(stranger.workspace_id):
        stored = Workspace.objects.get()
    assert vars(found[1].workspace).items() >= {
        (name, value) for name, value in vars(stored).items() if name != "_state"
    }
    assert not Membership.objects.exists()
    assert not Workspace.objects.exists()
    assert memberships_of(stranger.user) == [stranger]


def test_nothing_opens_to_somebody_who_is_not_active(admin: Membership) -> None:
    User.objects.filter(id=admin.user_id).update(is_active=False)
    assert memberships_of(User.objects.get(id=admin.user_id)) == []
