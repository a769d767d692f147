"""Who gets in: keys, sessions with CSRF, workspaces; and what each refusal says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import tenancy_of
from accounts.models import ApiKey, ApiKeyAccess, Membership, Role, User, Workspace
from accounts.services import add_member, remove_member
from accounts.tenancy import tenant_scope
from tests.factories import make_key, make_member
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def get_me(key: str) -> Any:
    return Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {key}"})


def change_key(person: Membership, **values: Any) -> None:
    with tenant_scope(person.workspace_id):
        assert ApiKey.objects.update(**values) == 1


def assert_unauthorized(response: Any) -> None:
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="Timebridge"'
    assert response.json()["type"] == "not-authenticated"


def test_key_speaks_for_its_person_in_its_workspace(designer: Membership) -> None:
    assert Api(designer).get("me/").json() == {
        "user": {"id": str(designer.user_id), "email": "dora@northlight.test", "name": "Dora Designer"},
        "workspace": {
            "id": str(designer.workspace_id),
            "slug": "northlight",
            "name": "Northlight",
            "plan": "pro",
            "timezone": "UTC",
            "currency": "USD",
        },
        "role": "designer",
    }


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer tb_",
        "Bearer tb__",
        "Bearer tb_0000_0000",
        "Bearer tb_a\x00b_c",
        "Bearer tb_ÄÖ_c",
        "Bearer " + "x" * 5000,
        "Basic YWRhOmFkYQ==",
        "Token x",
    ],
)
def test_bad_credentials_are_401(authorization: str, admin: Membership) -> None:
    assert_unauthorized(Client().get("/api/v1/me/", headers={"Authorization": authorization}))


def test_nobody_is_401() -> None:
    assert_unauthorized(Api(None).get("me/"))
    assert_unauthorized(Api(None).post("clients/", {"name": "Acme"}))


def test_bad_key_never_falls_back_to_the_cookie(admin: Membership) -> None:
    http = Client()
    http.force_login(admin.user)
    assert http.get("/api/v1/me/").status_code == 200
    assert_unauthorized(http.get("/api/v1/me/", headers={"Authorization": "Bearer nonsense"}))


def test_secret_half_of_a_key_counts(admin: Membership) -> None:
    key = make_key(admin)
    assert get_me(key).status_code == 200
    assert_unauthorized(get_me(key[:-1] + ("A" if key[-1] != "A" else "B")))


def test_revoked_expired_and_orphaned_keys_are_401(admin: Membership, member: Membership) -> None:
    key = make_key(admin)
    change_key(admin, expires_at=timezone.now() + timedelta(minutes=1))
    assert get_me(key).status_code == 200
    change_key(admin, expires_at=timezone.now() - timedelta(seconds=1))
    assert_unauthorized(get_me(key))
    change_key(admin, expires_at=None, revoked_at=timezone.now())
    assert_unauthorized(get_me(key))


def test_looking_a_key_up_is_one_question_and_leaves_no_span_open(
    admin: Membership, stranger: Membership, django_assert_num_queries: Any
) -> None:
    key, theirs = make_key(admin), make_key(stranger)
    assert tenancy_of(key) is not None  # notes its use, this once
    for text, found in ((key, True), (key[:-1] + "-", False), ("tb_000000000000_x", False)):
        with django_assert_num_queries(1):
            tenancy = tenancy_of(text)
        assert (tenancy is not None) is found
        assert not ApiKey.objects.exists()
        assert not Membership.objects.exists()
        assert not Workspace.objects.exists()
    tenancy = tenancy_of(theirs)
    assert tenancy is not None
    assert tenancy.api_key is not None
    assert tenancy.membership == stranger
    assert tenancy.membership.user is tenancy.api_key.user is tenancy.user
    assert tenancy.membership.workspace is tenancy.workspace
    assert (tenancy.user, tenancy.workspace) == (stranger.user, stranger.workspace)
    with tenant_scope(stranger.workspace_id):
        for row in (tenancy.api_key, tenancy.membership, tenancy.workspace, tenancy.user):
            stored = type(row)._default_manager.get(pk=row.pk)
            assert all(
                getattr(row, field.attname) == getattr(stored, field.attname)
                for field in row._meta.concrete_fields
                if field.attname != "last_used_at"  # noted after it was read
            )


def test_key_ends_with_the_membership_and_with_the_person(admin: Membership, member: Membership) -> None:
    key = make_key(member)
    User.objects.filter(pk=member.user_id).update(is_active=False)
    assert_unauthorized(get_me(key))
    User.objects.filter(pk=member.user_id).update(is_active=True)
    assert get_me(key).status_code == 200
    with tenant_scope(admin.workspace_id):
        remove_member(membership=member, actor=admin.user)
    assert_unauthorized(get_me(key))


def test_read_only_key_reads_and_writes_nothing(admin: Membership) -> None:
    api = Api(admin, key=make_key(admin, access=ApiKeyAccess.READ))
    assert api.get("clients/").status_code == 200
    for refused in (api.post("clients/", {"name": "Acme"}), api.patch("workspace/", {"name": "Other"})):
        assert refused.status_code == 403
        assert refused.json()["type"] == "read-only-key"


def test_session_reads_and_writes_with_its_csrf_token(admin: Membership) -> None:
    http = Client(enforce_csrf_checks=True)
    http.force_login(admin.user)
    assert http.get("/api/v1/me/").json()["role"] == "admin"
    refused = http.post("/api/v1/clients/", {"name": "Acme"}, content_type="application/json")
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "CSRF" in refused.json()["detail"]
    token = "a" * 32
    http.cookies["csrftoken"] = token
    accepted = http.post(
        "/api/v1/clients/", {"name": "Acme"}, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert accepted.status_code == 201


def test_key_needs_no_csrf_token(admin: Membership) -> None:
    assert Api(admin).post("clients/", {"name": "Acme"}).status_code == 201


def test_session_in_several_workspaces_names_one(admin: Membership, stranger: Membership) -> None:
    with tenant_scope(stranger.workspace_id):
        add_member(workspace=stranger.workspace, email=admin.user.email, role=Role.MEMBER, actor=None)
    http = Client()
    http.force_login(admin.user)

    def role_in(slug: str) -> tuple[str, str]:
        me = http.get("/api/v1/me/", headers={"X-Workspace": slug}).json()
        return me["workspace"]["slug"], me["role"]

    assert role_in("northlight") == ("northlight", "admin")
    assert role_in("elsewhere") == ("elsewhere", "member")


@pytest.mark.parametrize("session", [True, False])
@pytest.mark.parametrize("slug", ["elsewhere", "no-such-workspace", "\u00e4"])
def test_naming_a_workspace_that_one_is_not_in_is_a_404(
    slug: str, session: bool, admin: Membership, stranger: Membership
) -> None:
    response = Api(admin, session=session).get("clients/", headers={"X-Workspace": slug})
    assert response.status_code == 404
    assert response.json()["type"] == "workspace-not-found"


def test_person_without_a_workspace_is_told_so(db: None) -> None:
    person = User.objects.create_user("nobody@nowhere.test")
    http = Client()
    http.force_login(person)
    response = http.get("/api/v1/me/")
    assert response.status_code == 403
    assert response.json()["type"] == "no-workspace"


def test_answers_are_not_cached(admin: Membership) -> None:
    assert Api(admin).get("me/").headers["Cache-Control"] == "no-store"


def test_use_of_a_key_is_noted_to_the_minute(admin: Membership) -> None:
    api = Api(admin)
    first = api.get("api-keys/").json()["results"][0]["last_used_at"]
    assert first is not None
    assert api.get("api-keys/").json()["results"][0]["last_used_at"] == first
    change_key(admin, last_used_at=timezone.now() - timedelta(minutes=2))
    assert api.get("api-keys/").json()["results"][0]["last_used_at"] > first


def test_member_of_another_role_is_another_role(workspace: Any) -> None:
    for role in Role.values:
        assert Api(make_member(workspace, role)).get("me/").json()["role"] == role
