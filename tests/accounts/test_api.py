"""me/, workspace/, members/, api-keys/."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, AuditEvent, Membership, User
from accounts.tenancy import tenant_scope
from tests.factories import make_client, make_key, make_member, make_time_log
from tests.fragments import TO_RESET, follow, link_in
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def trail(person: Membership) -> list[tuple[str, str]]:
    with tenant_scope(person.workspace_id):
        return list(AuditEvent.objects.order_by("id").values_list("action", "target"))


# --- Workspace -------------------------------------------------------------------------------------------------------
def test_admin_changes_the_workspace(admin: Membership) -> None:
    api = Api(admin)
    changed = api.patch(
        "workspace/",
        {"name": " Northlight GmbH ", "timezone": "Europe/Berlin", "currency": "EUR", "plan": "free"},
    )
    assert changed.status_code == 200
    assert changed.json() == {
        "id": str(admin.workspace_id),
        "slug": "northlight",
        "name": "Northlight GmbH",
        "plan": "free",
        "timezone": "Europe/Berlin",
        "currency": "EUR",
        "require_second_factor": False,
    }
    assert api.get("workspace/").json() == changed.json()
    assert trail(admin)[-1][0] == "workspace.changed"


def test_workspace_may_be_sent_back_as_it_was_read(admin: Membership) -> None:
    api = Api(admin)
    read = api.get("workspace/").json()
    assert api.patch("workspace/", read).json() == read
    assert [action for action, _ in trail(admin)] == ["workspace.created", "api_key.made"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "localtime"),
        ("currency", "euro"),
        ("currency", "eur"),
        ("currency", "ÄÖÜ"),
        ("plan", "gold"),
        ("name", "   "),
        ("name", "x" * 121),
    ],
)
def test_workspace_refuses_what_it_cannot_be(field: str, value: str, admin: Membership) -> None:
    response = Api(admin).patch("workspace/", {field: value})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


# --- Members ---------------------------------------------------------------------------------------------------------
def test_added_person_is_a_member_and_invited_by_mail(
    admin: Membership, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = Api(admin).post(
            "members/", {"email": "New@Person.test", "name": "Nia New", "role": "designer"}
        )
    assert response.status_code == 201
    made = response.json()
    assert (made["email"], made["name"], made["role"]) == ("new@person.test", "Nia New", "designer")
    with tenant_scope(admin.workspace_id):
        membership = Membership.objects.get(pk=made["id"])
    assert str(membership.user_id) == made["user"]
    assert Api(membership).get("me/").json()["role"] == "designer"
    (letter,) = mail.outbox
    assert letter.to == ["new@person.test"]
    assert letter.subject == "You are in the workspace Northlight"
    assert "Ada Admin has added you" in letter.body
    # The link sets the first password.
    link = link_in(letter.body, TO_RESET)
    assert link.startswith(settings.BASE_URL)
    http = Client()
    form = follow(http, link)
    set_password = http.post(
        form.headers["Location"], {"password1": "violet-otter-9", "password2": "violet-otter-9"}
    )
    assert set_password.status_code == 302
    assert User.objects.get(pk=made["user"]).check_password("violet-otter-9")


def test_person_with_a_password_is_told_to_sign_in(
    admin: Membership, stranger: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    stranger.user.set_password("violet-otter-9")
    stranger.user.save()
    with django_capture_on_commit_callbacks(execute=True):
        response = Api(admin).post("members/", {"email": "SAM@elsewhere.test", "name": "Renamed"})
    assert (response.json()["name"], response.json()["role"]) == ("Sam Stranger", "member")
    assert "/accounts/login/" in mail.outbox[0].body
    assert "/password/reset/link/" not in mail.outbox[0].body


def test_nobody_is_invited_by_a_request_that_fails(
    admin: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for body in (
            {"email": "no address"},
            {"email": "ada@northlight.test"},
            {"email": "a@b.test", "role": "king"},
            {},
        ):
            assert Api(admin).post("members/", body).status_code == 400
    assert mail.outbox == []


def test_mail_server_that_fails_does_not_undo_the_membership(
    admin: Membership, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "no.such.Backend"
    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        assert Api(admin).post("members/", {"email": "a@b.test"}).status_code == 201
    assert len(callbacks) == 1
    with tenant_scope(admin.workspace_id):
        assert Membership.objects.filter(user__email="a@b.test").exists()


def test_person_is_added_once(admin: Membership, member: Membership) -> None:
    response = Api(admin).post("members/", {"email": member.user.email})
    assert response.status_code == 400
    assert response.json()["errors"] == {"email": ["This person is already a member."]}


def test_patch_changes_the_role_alone(admin: Membership, member: Membership) -> None:
    api = Api(admin)
    read = api.get(f"members/{member.id}/").json()
    changed = api.patch(
        f"members/{member.id}/", {**read, "role": "designer", "name": "X", "email": "x@y.test"}
    )
    assert changed.json() == {**read, "role": "designer"}
    assert trail(admin)[-1] == ("member.role", member.user.email)


def test_last_admin_stays_one(admin: Membership, member: Membership) -> None:
    api = Api(admin)
    for refused in (
        api.patch(f"members/{admin.id}/", {"role": "member"}),
        api.delete(f"members/{admin.id}/"),
    ):
        assert refused.status_code == 409
        assert refused.json()["type"] == "in-use"
    assert api.patch(f"members/{member.id}/", {"role": "admin"}).status_code == 200
    assert api.patch(f"members/{admin.id}/", {"role": "member"}).status_code == 200


def test_removed_member_loses_keys_and_keeps_time(admin: Membership, member: Membership) -> None:
    log = make_time_log(member, make_client(admin.workspace))
    key = make_key(member)
    api = Api(admin)
    assert api.delete(f"members/{member.id}/").status_code == 204
    assert Api(member, key=key).get("me/").status_code == 401
    assert api.get(f"time-logs/{log.id}/").json()["owner_email"] == member.user.email
    assert api.get(f"members/{member.id}/").status_code == 404
    # Their time can be edited, but not given to them again.
    assert api.patch(f"time-logs/{log.id}/", {"notes": "x"}).status_code == 200
    refused = api.patch(f"time-logs/{log.id}/", {"owner": str(member.user_id)})
    assert refused.json()["errors"] == {"owner": ["There is nothing with this id."]}


# --- API keys --------------------------------------------------------------------------------------------------------
def test_key_is_shown_once_works_and_is_revoked(member: Membership) -> None:
    api = Api(member)
    until = timezone.now() + timedelta(days=30)
    response = api.post("api-keys/", {"name": "Script", "access": "read", "expires_at": until.isoformat()})
    assert response.status_code == 201
    made = response.json()
    assert made["key"].startswith(f"tb_{made['prefix']}_")
    assert made["user"] == str(member.user_id)
    assert made["expires_at"] == until.isoformat().replace("+00:00", "Z")
    shown = api.get(f"api-keys/{made['id']}/").json()
    assert "key" not in shown
    assert shown["prefix"] == made["prefix"]
    with tenant_scope(member.workspace_id):
        row = ApiKey.objects.get(pk=made["id"])
        assert made["key"].split("_", 2)[2] not in f"{vars(row)}"
    script = Api(member, key=made["key"])
    assert script.get("me/").status_code == 200
    assert script.post("api-keys/", {"name": "Another"}).status_code == 403
    assert api.delete(f"api-keys/{made['id']}/").status_code == 204
    assert script.get("me/").status_code == 401
    assert api.get(f"api-keys/{made['id']}/").status_code == 404


def test_key_that_is_over_already_is_refused(member: Membership) -> None:
    response = Api(member).post("api-keys/", {"name": "Old", "expires_at": "2020-01-01T00:00:00Z"})
    assert response.json()["errors"] == {"expires_at": ["Give a time in the future, or none."]}


def test_patch_of_a_key_changes_its_name_alone(admin: Membership) -> None:
    api = Api(admin)
    made = api.post("api-keys/", {"name": "Script", "access": "read"}).json()
    made.pop("key")
    changed = api.patch(f"api-keys/{made['id']}/", {"name": "Robot", "access": "write", "expires_at": None})
    assert changed.json() == {**made, "name": "Robot"}


def test_everyone_sees_their_own_keys_and_admins_all(admin: Membership, member: Membership) -> None:
    others = make_member(admin.workspace)
    make_key(others)
    assert {key["user"] for key in Api(member).get("api-keys/").json()["results"]} == {str(member.user_id)}
    seen = {key["user"] for key in Api(admin).get("api-keys/").json()["results"]}
    assert seen == {str(person.user_id) for person in (admin, member, others)}
