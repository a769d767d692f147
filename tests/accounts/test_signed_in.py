"""What comes along with a session: one question, of the right person, and never more than a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import signed_in
from accounts.models import Membership, Role, User, Workspace
from accounts.selectors import memberships_of
from accounts.services import change_role, remove_member
from accounts.signed_in import FORMER_BACKEND, SessionStore, places_of, user_of
from accounts.tenancy import tenant_scope
from tests.factories import make_member, make_session, make_workspace

pytestmark = pytest.mark.django_db

BEFORE = re.compile(r"accounts_session|accounts_places|accounts_user|django_session|usersessions_usersession")


def browser_of(listed: UserSession) -> Client:
    client = Client()
    client.cookies["sessionid"] = listed.session_key
    return client


def signed_in_as(person: Membership) -> Client:
    return browser_of(make_session(person))


def a_request(key: str) -> HttpRequest:
    request = HttpRequest()
    request.session = SessionStore(key)
    return request


def asked(ask: Callable[[], object]) -> list[str]:
    """Which questions come before an answer, by what they are about."""
    with CaptureQueriesContext(connection) as found:
        ask()
    about = [BEFORE.findall(re.sub(r"^PREPARE.*?;", "", one["sql"])) for one in found]
    return [words[0] for words in about if words]


def me(client: Client) -> Any:
    return client.get("/api/v1/me/")


def test_a_session_is_one_question(admin: Membership) -> None:
    client = signed_in_as(admin)
    client.get("/clients/")  # notes where it was last seen, this once
    for get in (lambda: client.get("/clients/"), lambda: me(client)):
        assert asked(get) == ["accounts_session"]


def test_nobody_costs_no_question_and_a_stale_cookie_one(admin: Membership) -> None:
    nobody, stale = Client(), signed_in_as(admin)
    Session.objects.all().delete()
    assert asked(lambda: nobody.get("/accounts/login/")) == []
    assert asked(lambda: me(stale)) == ["accounts_session"]
    assert me(stale).status_code == 401


def test_what_comes_along_is_what_the_plain_ways_find(
    admin: Membership, stranger: Membership, django_assert_num_queries: Any
) -> None:
    second = make_member(stranger.workspace, "designer", email=admin.user.email)
    third = make_member(make_workspace("Aardvark").workspace, email=admin.user.email)
    request = a_request(make_session(admin).session_key)
    with django_assert_num_queries(1):
        user: Any = user_of(request)
        places = places_of(request, user)
    assert user == admin.user
    assert user.is_authenticated
    assert places == memberships_of(user) == [third, second, admin]
    stored = [User.objects.get(pk=user.pk)]
    for place in places:
        with tenant_scope(place.workspace_id):
            stored += [Membership.objects.get(pk=place.pk), Workspace.objects.get()]
    for row, same in zip(
        [user, *(row for one in places for row in (one, one.workspace))], stored, strict=True
    ):
        names = [field.attname for field in row._meta.concrete_fields]
        assert [getattr(row, name) for name in names] == [getattr(same, name) for name in names]
        assert not row._state.adding


def test_no_span_stays_open_and_nothing_is_left_behind(admin: Membership) -> None:
    user_of(a_request(make_session(admin).session_key))
    assert not Membership.objects.exists()
    assert not Workspace.objects.exists()
    assert signed_in._asked.get() is None


def test_one_who_is_not_listed_yet_is_asked_for_plainly(admin: Membership) -> None:
    client = Client()
    client.force_login(admin.user)
    UserSession.objects.all().delete()
    assert asked(lambda: me(client)) == ["accounts_session", "accounts_user", "accounts_places"]
    assert me(client).json()["user"]["email"] == admin.user.email


def test_the_list_of_sessions_signs_nobody_in(admin: Membership, stranger: Membership) -> None:
    """Where the list names somebody else, the session itself is right, and where it has nobody, nobody is."""
    listed = make_session(admin)
    UserSession.objects.filter(pk=listed.pk).update(user=stranger.user)
    request = a_request(listed.session_key)
    user: Any = user_of(request)
    assert user == admin.user
    assert places_of(request, user) == [admin]
    assert me(browser_of(listed)).json()["workspace"]["id"] == str(admin.workspace_id)

    loner = User.objects.create_user(email="loner@sessions.test", password="x")
    UserSession.objects.filter(pk=listed.pk).update(user=loner)  # who has no places: still not Ada's
    assert me(browser_of(listed)).status_code == 200

    nobody = SessionStore()
    nobody["basket"] = 1
    nobody.save()
    UserSession.objects.filter(pk=listed.pk).update(session_key=nobody.session_key)
    request = a_request(str(nobody.session_key))
    assert not user_of(request).is_authenticated
    assert request.session["basket"] == 1


def test_places_are_given_to_their_person_alone(admin: Membership, stranger: Membership) -> None:
    request = a_request(make_session(admin).session_key)
    user_of(request)
    assert places_of(request, stranger.user) == [stranger]


@pytest.mark.parametrize("change", ["hash", "no hash", "backend", "person", "data"])
def test_a_session_that_proves_nothing_opens_nothing(
    change: str, admin: Membership, stranger: Membership
) -> None:
    listed = make_session(admin)
    store = SessionStore(listed.session_key)
    if change == "data":
        Session.objects.update(session_data="nonsense")
    else:
        if change == "hash":
            store[HASH_SESSION_KEY] = stranger.user.get_session_auth_hash()
        elif change == "no hash":
            del store[HASH_SESSION_KEY]
        elif change == "backend":
            store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        else:
            store[SESSION_KEY] = str(stranger.user_id)
        store.save()
    assert me(browser_of(listed)).status_code == 401


def test_a_session_from_before_goes_on(admin: Membership) -> None:
    listed = make_session(admin)
    store = SessionStore(listed.session_key)
    store[BACKEND_SESSION_KEY] = FORMER_BACKEND
    store.save()
    assert me(browser_of(listed)).status_code == 200


def test_a_new_password_and_the_end_of_a_person_count_with_the_next_request(admin: Membership) -> None:
    first, second = signed_in_as(admin), signed_in_as(admin)
    assert [me(client).status_code for client in (first, second)] == [200, 200]
    User.objects.filter(pk=admin.user_id).update(is_active=False)
    assert [me(client).status_code for client in (first, second)] == [401, 401]
    User.objects.filter(pk=admin.user_id).update(is_active=True)
    assert me(first).status_code == 200
    admin.user.set_password("another-horse-10")
    admin.user.save()
    assert [me(client).status_code for client in (first, second)] == [401, 401]
    assert not Session.objects.exists(), "Django ends a session whose hash is of another password"


def test_an_ended_and_an_expired_session_are_over_with_the_next_request(admin: Membership) -> None:
    ended, expired = make_session(admin), make_session(admin)
    clients = [browser_of(one) for one in (ended, expired)]
    assert [me(client).status_code for client in clients] == [200, 200]
    ended.end()
    Session.objects.filter(session_key=expired.session_key).update(expire_date=timezone.now())
    assert [me(client).status_code for client in clients] == [401, 401]


def test_a_role_and_a_place_change_with_the_next_request(
    admin: Membership, member: Membership, stranger: Membership
) -> None:
    client = signed_in_as(member)
    assert me(client).json()["role"] == "member"
    with tenant_scope(admin.workspace_id):
        change_role(membership=member, role=Role.ADMIN, actor=admin.user)
    assert me(client).json()["role"] == "admin"
    make_member(stranger.workspace, email=member.user.email)
    elsewhere = {"X-Workspace": stranger.workspace.slug}
    assert client.get("/api/v1/me/", headers=elsewhere).status_code == 200
    with tenant_scope(admin.workspace_id):
        remove_member(membership=member, actor=admin.user)
    assert me(client).json()["workspace"]["id"] == str(stranger.workspace_id)
    assert client.get("/api/v1/me/", headers={"X-Workspace": admin.workspace.slug}).status_code == 404
