"""Being told once: in the product, by mail, and by the API; and the trail of who did what."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core import mail
from django.db import connection as database

from accounts.models import Membership, Notice, Role
from accounts.notices import Remedy, notices_of, tell, unread_of
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from tests.factories import make_key, make_member, make_workspace
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def told(person: Membership, incident: str = "harvest.night:2026-06-12", *others: Membership) -> int:
    with tenant_scope(person.workspace_id):
        return len(
            tell(
                workspace=person.workspace,
                people=[person.user, *(one.user for one in others)],
                incident=incident,
                title="Something\nhappened",
                text="What happened, and what to do.",
                remedy=Remedy("Put it right", "/integrations/harvest/"),
            )
        )


def test_each_person_is_told_once_an_incident(
    mailoutbox: list[Any], django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    admin = make_workspace("Northlight")
    second = make_member(admin.workspace, Role.ADMIN)
    with django_capture_on_commit_callbacks(execute=True):
        assert told(admin) == 1
        assert told(admin, "harvest.night:2026-06-12", second) == 1  # the second one alone
        assert told(admin) == 0
        assert told(admin, "harvest.night:2026-06-13") == 1
    assert [(one.to, one.subject) for one in mailoutbox] == [
        ([admin.user.email], "Northlight: Something happened"),
        ([second.user.email], "Northlight: Something happened"),
        ([admin.user.email], "Northlight: Something happened"),
    ]
    assert mailoutbox[0].body == (
        f"What happened, and what to do.\n\nPut it right: {settings.BASE_URL}/integrations/harvest/\n"
    )


def test_nothing_is_mailed_of_what_was_rolled_back(
    mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    admin = make_workspace()

    def fail() -> None:
        with tenant_scope(admin.workspace_id):
            told(admin)
            raise RuntimeError

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError):
        fail()
    with tenant_scope(admin.workspace_id):
        assert not Notice.objects.exists()
    assert mailoutbox == []


def test_a_mail_server_that_fails_undoes_no_notice(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = make_workspace()

    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError("no mail today")

    monkeypatch.setattr(mail.EmailMessage, "send", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        told(admin)
    with tenant_scope(admin.workspace_id):
        assert unread_of(admin.workspace, admin.user).count() == 1


def test_many_workers_that_come_upon_it_at_once_tell_once(
    transactional_db: None, mailoutbox: list[Any]
) -> None:
    admin = make_workspace()
    gate = threading.Barrier(8)
    found: list[int] = []

    def one() -> None:
        try:
            gate.wait()
            found.append(told(admin))
        finally:
            database.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [0] * 7 + [1]
    assert len(mailoutbox) == 1


def test_notices_by_the_api() -> None:
    admin = make_workspace()
    member = make_member(admin.workspace)
    stranger = make_workspace()
    told(admin, "a", member)
    told(admin, "b")
    api = Api(admin)
    found = api.get("notices/").json()["results"]
    assert len(found) == 2
    assert found[0] | {"id": "", "created_at": ""} == {
        "id": "",
        "title": "Something\nhappened",
        "text": "What happened, and what to do.",
        "remedy": {"words": "Put it right", "path": "/integrations/harvest/"},
        "created_at": "",
        "read_at": None,
    }
    newest = found[0]["id"]
    read = api.post(f"notices/{newest}/read/").json()
    assert read["read_at"] is not None
    assert api.post(f"notices/{newest}/read/").json() == read
    assert [one["id"] for one in api.get("notices/", read="true").json()["results"]] == [newest]
    assert [one["id"] for one in api.get("notices/", read="false").json()["results"]] == [found[1]["id"]]
    assert len(Api(member).get("notices/").json()["results"]) == 1
    assert Api(stranger).get("notices/").json()["results"] == []
    for other in (member, stranger):
        assert Api(other).post(f"notices/{newest}/read/").status_code == 404
    assert Api(admin, key=make_key(admin, access="read")).post(f"notices/{newest}/read/").status_code == 403
    assert Api(None).get("notices/").status_code == 401
    with tenant_scope(admin.workspace_id):
        assert notices_of(admin.workspace, member.user).get().read_at is None


def test_the_trail_by_the_api(django_assert_num_queries: Any) -> None:
    admin = make_workspace()
    member, stranger = make_member(admin.workspace), make_workspace()
    with tenant_scope(admin.workspace_id):
        for action, actor in (
            ("harvest.connected", admin.user),
            ("harvest.reconnect_needed", None),
            ("api_key.revoked", admin.user),
            ("api_key.revoked", member.user),
        ):
            record_audit(workspace=admin.workspace, actor=actor, action=action, target="it", run="7")
    rows = Api(admin).get("audit/", action="harvest.").json()["results"]
    assert [(row["action"], row["actor"], row["actor_email"]) for row in rows] == [
        ("harvest.reconnect_needed", None, None),
        ("harvest.connected", str(admin.user_id), admin.user.email),
    ]
    assert rows[0]["data"] == {"run": "7"}
    keys = {"action": "api_key.revoked"}
    assert len(Api(admin).get("audit/", **keys).json()["results"]) == 2
    assert [row["actor"] for row in Api(member).get("audit/", **keys).json()["results"]] == [
        str(member.user_id)
    ]
    assert [
        row["action"] for row in Api(admin).get("audit/", actor=str(member.user_id)).json()["results"]
    ] == ["api_key.made", "api_key.revoked"]
    assert Api(stranger).get("audit/", action="harvest.").json()["results"] == []
    assert Api(None).get("audit/").status_code == 401
    assert Api(admin).post("audit/", {}).status_code == 405
