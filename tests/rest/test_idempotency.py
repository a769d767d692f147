"""`Idempotency-Key`: one deed a key, also when two requests come at once, also for views outside of a transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import InUse
from accounts.middleware import resolve
from accounts.models import ApiKey, IdempotencyRecord, Membership
from accounts.rest import idempotency
from accounts.rest.problems import Problem
from accounts.rest.views import WorkspaceView
from accounts.tenancy import tenant_scope
from clients import services
from clients.models import Client
from tests.factories import make_client, make_key, make_member, make_workspace
from tests.rest.client import Api

KEY = {"Idempotency-Key": "one-deed"}


def names(person: Membership) -> list[str]:
    with tenant_scope(person.workspace_id):
        return list(Client.objects.order_by("id").values_list("name", flat=True))


def records(person: Membership) -> list[IdempotencyRecord]:
    with tenant_scope(person.workspace_id):
        return list(IdempotencyRecord.objects.order_by("id"))


@pytest.mark.django_db
class TestInOneTransaction:
    def test_second_request_gets_the_first_answer(self, admin: Membership) -> None:
        api = Api(admin)
        first = api.post("clients/", {"name": "Acme", "archived": True}, headers=KEY)
        # The same JSON, spelled differently.
        second = api.post("clients/", b'{ "archived":true,\n "name": "Acme" }', headers=KEY)
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert second.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Location"] == first.headers["Location"]
        assert second.headers["Content-Type"] == "application/json"
        assert names(admin) == ["Acme"]

    def test_other_body_or_path_is_a_409(self, admin: Membership) -> None:
        api = Api(admin)
        api.post("clients/", {"name": "Acme"}, headers=KEY)
        for path, body in (("clients/", {"name": "Bolt"}), ("activity-types/", {"name": "Acme"})):
            refused = api.post(path, body, headers=KEY)
            assert refused.status_code == 409
            assert refused.json()["type"] == "idempotency-key-reused"
        assert names(admin) == ["Acme"]

    def test_keys_are_of_one_person_in_one_workspace(
        self, admin: Membership, designer: Membership, stranger: Membership
    ) -> None:
        for person in (admin, designer, stranger):
            made = Api(person).post("clients/", {"name": "Acme"}, headers=KEY)
            assert made.status_code == 201
            assert "Idempotency-Replayed" not in made.headers
        assert names(admin) == ["Acme", "Acme"]

    def test_error_is_not_kept(self, admin: Membership) -> None:
        api = Api(admin)
        assert api.post("clients/", {"name": ""}, headers=KEY).status_code == 400
        assert records(admin) == []
        assert api.post("clients/", {"name": "Acme"}, headers=KEY).status_code == 201

    def test_kept_for_24_hours_and_then_forgotten(self, admin: Membership) -> None:
        api = Api(admin)
        api.post("clients/", {"name": "Acme"}, headers=KEY)
        api.post("clients/", {"name": "Other"}, headers={"Idempotency-Key": "other"})

        def age(hours: float) -> None:
            with tenant_scope(admin.workspace_id):
                IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(hours=hours))

        age(23.9)
        assert api.post("clients/", {"name": "Bolt"}, headers=KEY).status_code == 409
        age(24)
        assert api.post("clients/", {"name": "Bolt"}, headers=KEY).status_code == 201
        assert names(admin) == ["Acme", "Other", "Bolt"]
        assert [record.key for record in records(admin)] == ["one-deed"]

    @pytest.mark.parametrize("key", [" ", "x" * 256, "a\tb", "schlüssel", "a\x00b"])
    def test_key_that_is_none_is_a_400(self, key: str, admin: Membership) -> None:
        response = Api(admin).post("clients/", {"name": "Acme"}, headers={"Idempotency-Key": key})
        if key == " ":
            assert response.status_code in (201, 400)  # servers strip it; an empty one is refused
            return
        assert response.status_code == 400
        assert list(response.json()["errors"]) == ["Idempotency-Key"]
        assert names(admin) == []

    def test_new_api_key_is_shown_again_but_not_kept_in_clear(self, admin: Membership) -> None:
        api = Api(admin)
        first = api.post("api-keys/", {"name": "Script"}, headers=KEY).json()
        assert api.post("api-keys/", {"name": "Script"}, headers=KEY).json() == first
        (record,) = records(admin)
        _marker, prefix, secret = first["key"].split("_", 2)
        assert len(bytes(record.body)) > 100
        assert secret.encode() not in bytes(record.body)
        assert prefix.encode() not in bytes(record.body)
        with tenant_scope(admin.workspace_id):
            assert ApiKey.objects.filter(name="Script").count() == 1

    def test_replay_asks_for_credentials_and_role_again(self, admin: Membership, workspace: Any) -> None:
        designer = make_member(workspace, "designer")
        api = Api(designer)
        assert api.post("clients/", {"name": "Acme"}, headers=KEY).status_code == 201
        with tenant_scope(workspace.id):
            Membership.objects.filter(pk=designer.pk).update(role="member")
        assert api.post("clients/", {"name": "Acme"}, headers=KEY).status_code == 403

    def test_other_methods_pass_the_key_by(self, admin: Membership) -> None:
        client = make_client(admin.workspace, "Acme")
        api = Api(admin)
        assert api.patch(f"clients/{client.id}/", {"name": "Bolt"}, headers=KEY).status_code == 200
        assert api.get("clients/", headers=KEY).status_code == 200
        assert records(admin) == []


def both(deed: Callable[[int], Any]) -> list[Any]:
    """Do it in two threads, each on a connection of its own, started together."""
    barrier = threading.Barrier(2)
    answers: dict[int, Any] = {}

    def run(number: int) -> None:
        try:
            barrier.wait(10)
            answers[number] = deed(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [0, 1]
    return [answers[0], answers[1]]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one_deed() -> None:
    admin = make_workspace()
    key = make_key(admin)
    for attempt in range(5):
        headers = {"Idempotency-Key": f"at once {attempt}"}

        def post(number: int, headers: dict[str, str] = headers, name: str = f"Acme {attempt}") -> Any:
            return Api(admin, key=key).post("clients/", {"name": name}, headers=headers)

        first, second = both(post)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        replayed = [one.headers.get("Idempotency-Replayed") for one in (first, second)]
        assert sorted(replayed, key=str) == [None, "true"]
    assert names(admin) == [f"Acme {attempt}" for attempt in range(5)]


@pytest.mark.django_db(transaction=True)
def test_second_takes_over_where_the_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = make_workspace()
    key = make_key(admin)
    save_client, calls = services.save_client, []

    def fail_once(**values: Any) -> Client:
        calls.append(values["name"])
        if len(calls) == 1:
            time.sleep(0.3)  # long enough for the other to wait on the key
            raise InUse("Not now.")
        return save_client(**values)

    monkeypatch.setattr(services, "save_client", fail_once)
    answers = both(lambda number: Api(admin, key=key).post("clients/", {"name": "Acme"}, headers=KEY))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert [answer.json()["type"] for answer in answers if answer.status_code == 409] == ["in-use"]
    assert calls == ["Acme", "Acme"]
    assert names(admin) == ["Acme"]


class Outside(WorkspaceView):
    """A view that calls another server, as far as idempotency is concerned."""

    unscoped = True
    calls: list[str] = []
    during: Callable[[], Any] | None = None
    fail = False

    def post(self, request: Request) -> Response:
        assert not connection.in_atomic_block
        self.calls.append(request.data["name"])
        if Outside.during:
            Outside.during()
        if Outside.fail:
            raise Problem(503, "harvest-unavailable", "Harvest did not answer.")
        with self.scope():
            client = Client.objects.create(workspace=self.workspace, name=request.data["name"])
        return Response({"id": str(client.id)}, status=202)


@pytest.mark.django_db(transaction=True)
class TestOutsideOfATransaction:
    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        Outside.calls, Outside.during, Outside.fail = [], None, False
        yield
        Outside.during = None

    @pytest.fixture
    def post(self) -> Callable[..., Any]:
        admin = make_workspace()
        key = make_key(admin)

        def send(name: str = "Acme", idempotency_key: str = "k") -> Any:
            request = RequestFactory().post(
                "/api/v1/outside/",
                {"name": name},
                content_type="application/json",
                headers={"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key},
            )
            request.user = admin.user
            request.tenancy = resolve(request)  # type: ignore[attr-defined]
            response = Outside.as_view()(request)
            return response.render() if hasattr(response, "render") else response

        send.admin = admin  # type: ignore[attr-defined]
        return send

    def test_second_request_gets_the_first_answer(self, post: Any) -> None:
        first, second = post(), post()
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.content == second.content
        assert Outside.calls == ["Acme"]
        assert post("Bolt").status_code == 409

    def test_request_meanwhile_is_told_to_wait(self, post: Any) -> None:
        meanwhile: list[Any] = []

        def again() -> None:
            Outside.during = None
            meanwhile.append(post())

        Outside.during = again
        assert post().status_code == 202
        assert b"idempotency-in-progress" in meanwhile[0].content
        assert meanwhile[0].status_code == 409
        assert Outside.calls == ["Acme"]

    def test_error_gives_the_key_back(self, post: Any) -> None:
        Outside.fail = True
        assert post().status_code == 503
        assert records(post.admin) == []
        Outside.fail = False
        assert post().status_code == 202

    def test_claim_of_a_process_that_died_is_taken_over(self, post: Any) -> None:
        Outside.fail = True

        def die() -> None:
            raise KeyboardInterrupt

        Outside.during = die
        with pytest.raises(KeyboardInterrupt):
            post()
        Outside.during, Outside.fail = None, False
        assert post().status_code == 409
        with tenant_scope(post.admin.workspace_id):
            died = timezone.now() - timedelta(seconds=idempotency.CLAIM_SECONDS)
            IdempotencyRecord.objects.update(created_at=died)
        assert post().status_code == 202
        assert names(post.admin) == ["Acme"]
