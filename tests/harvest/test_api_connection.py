"""The connection by REST: connecting, what is refused and kept, preferences, disconnecting; the catalogue."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Plan, Role
from accounts.services import save_workspace
from accounts.tenancy import tenant_scope
from harvest.sandbox import Sandbox
from harvest.sandbox.state import ADMIN_TOKEN
from integrations.models import Connection, RunKind, RunState, SyncRun
from integrations.runs import start_run
from tests.factories import make_key, make_member, make_workspace
from tests.harvest.conftest import Studio
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

CONNECTION = "integrations/harvest/connection/"
GOOD = {"account_id": "880123", "access_token": ADMIN_TOKEN}
SECRET = "1000009.pt.somebody-elses-secret"


def set_plan(person: Membership, plan: str) -> None:
    with tenant_scope(person.workspace_id):
        save_workspace(workspace=person.workspace, actor=person.user, plan=plan)


def test_not_connected_at_first(admin: Membership) -> None:
    shown = Api(admin).get(CONNECTION).json()
    assert (shown["connected"], shown["status"], shown["direction"]) == (False, "not_connected", "import")
    assert shown["auth"] is shown["account_id"] is shown["connected_by"] is shown["last_auto_sync"] is None
    card = {one["provider"]: one for one in Api(admin).get("integrations/").json()}["harvest"]
    assert (card["available"], card["connected"], card["detail"]) == (True, False, "Not connected.")


def test_a_wrong_token_is_refused_and_nothing_kept(
    sandbox: Sandbox, admin: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = Api(admin).put(CONNECTION, {**GOOD, "access_token": SECRET})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["access_token"]
    assert SECRET not in answer.content.decode() + caplog.text
    assert Api(admin).get(CONNECTION).json()["status"] == "not_connected"
    with tenant_scope(admin.workspace_id):
        assert Connection.objects.count() == 0


def test_connecting_shows_the_account_and_never_the_token(
    sandbox: Sandbox, admin: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = Api(admin).put(CONNECTION, GOOD)
    shown = answer.json()
    assert answer.status_code == 200
    assert (shown["connected"], shown["status"], shown["auth"]) == (True, "connected", "token")
    assert (shown["account_id"], shown["account_name"]) == ("880123", "Northlight")
    assert (shown["connected_by"], shown["connected_by_email"]) == (str(admin.user_id), admin.user.email)
    assert (shown["harvest_role"], shown["sees_all"]) == ("administrator", True)
    assert (
        ADMIN_TOKEN not in answer.content.decode() + Api(admin).get(CONNECTION).content.decode() + caplog.text
    )
    card = Api(admin).get("integrations/").json()[0]
    assert (card["connected"], card["detail"]) == (True, "Connected to Northlight.")
    with tenant_scope(admin.workspace_id):
        connection = Connection.objects.get()
        assert ADMIN_TOKEN not in repr(connection) + str(connection)
        with database.cursor() as cursor:
            cursor.execute("SELECT access_token FROM integrations_connection")
            assert ADMIN_TOKEN not in str(cursor.fetchall())
    # The lists are read on connecting: mapping can begin with the first request.
    assert sandbox.seen("GET", "/v2/projects")


def test_a_number_will_do_for_the_account(sandbox: Sandbox, admin: Membership) -> None:
    assert Api(admin).put(CONNECTION, {**GOOD, "account_id": 880123}).status_code == 200


def test_harvest_away_is_a_503_and_nothing_kept(sandbox: Sandbox, admin: Membership) -> None:
    sandbox.fault("503", times=None)
    answer = Api(admin).put(CONNECTION, GOOD)
    assert (answer.status_code, answer.json()["type"]) == (503, "harvest-unavailable")
    with tenant_scope(admin.workspace_id):
        assert Connection.objects.count() == 0


def test_connected_although_the_lists_cannot_be_read(sandbox: Sandbox, admin: Membership) -> None:
    sandbox.fault("503", times=None, path="/v2/(clients|projects|tasks|users$)")
    assert Api(admin).put(CONNECTION, GOOD).json()["connected"] is True
    sandbox.clear_faults()
    sandbox.account.add_client("Acme")
    rows = Api(admin).get("integrations/harvest/mappings/clients/").json()
    assert [row["harvest_name"] for row in rows["results"]] == ["Acme"]


def test_another_account_needs_a_replace(studio: Studio) -> None:
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-02", "1.00")
    studio.import_window()
    other = studio.sandbox.add_account("Elsewhere")
    studio.sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", account=other)
    api, body = Api(studio.admin), {**GOOD, "account_id": str(other.id)}
    refused = api.put(CONNECTION, body)
    assert (refused.status_code, refused.json()["type"]) == (409, "account-mismatch")
    assert refused.json()["account_id"] == "880123"
    assert api.get(CONNECTION).json()["account_id"] == "880123"
    assert api.put(CONNECTION, {**body, "replace": True}).json()["account_name"] == "Elsewhere"
    mapped = api.get("integrations/harvest/mappings/projects/").json()["results"]
    assert mapped == []
    assert api.get("time-logs/summary/").json()["count"] == 1


def test_preferences(studio: Studio) -> None:
    api, task = Api(studio.admin), str(studio.harvest["Design"])
    shown = api.patch(
        CONNECTION, {"conflict_policy": "newest", "default_task": task, "direction": "import"}
    ).json()
    assert (shown["conflict_policy"], shown["default_task"], shown["auto_sync"]) == ("newest", task, False)
    assert api.patch(CONNECTION, {"default_task": None}).json()["default_task"] is None
    assert api.patch(CONNECTION, {**shown, "default_task": ""}).json()["conflict_policy"] == "newest"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("direction", None, "may not be null"),
        ("direction", "sideways", "not a valid choice"),
        ("default_task", "999999", "Harvest has no such task here."),
        ("default_task", "\0", "Null characters"),
        ("default_task", 5, "Not a valid string"),
        ("conflict_policy", None, "may not be null"),
        ("conflict_policy", {}, "not a valid choice"),
        ("auto_sync", [], "Must be a valid boolean"),
        ("token", "x", "There is no such field"),
    ],
)
def test_preferences_refused_change_nothing(studio: Studio, field: str, value: Any, words: str) -> None:
    api = Api(studio.admin)
    before = api.get(CONNECTION).json()
    answer = api.patch(CONNECTION, {"conflict_policy": "ask", field: value})
    assert answer.status_code == 400
    assert words in " ".join(answer.json()["errors"][field])
    assert api.get(CONNECTION).json() == before


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        "x",
        {},
        {"account_id": None, "access_token": None},
        {"account_id": "880123"},
        {"account_id": ["880123"], "access_token": {"a": 1}},
        {"account_id": True, "access_token": ADMIN_TOKEN},
        {"account_id": "88\00123", "access_token": ADMIN_TOKEN},
        {"account_id": "880123", "access_token": "a\0b"},
        {"account_id": "880123", "access_token": "\ud800"},
        {"account_id": "880123", "access_token": "tök en\nX: y"},
        {"account_id": "880123/../1", "access_token": ADMIN_TOKEN},
        {"account_id": "9" * 400, "access_token": ADMIN_TOKEN},
        {"account_id": 10**400, "access_token": ADMIN_TOKEN},
        {"account_id": "880123", "access_token": "a" * 100_000},
        {**GOOD, "replace": "perhaps"},
        {**GOOD, "refresh_token": "x"},
    ],
)
def test_bad_bodies_of_connect_are_400(sandbox: Sandbox, admin: Membership, body: Any) -> None:
    answer = Api(admin).put(CONNECTION, json.dumps(body))
    assert answer.status_code == 400
    assert answer.json()["type"] in ("validation-error", "malformed-request")
    assert ADMIN_TOKEN not in answer.content.decode()
    assert sandbox.seen() == []


def test_disconnect_forgets_and_cannot_be_done_twice(studio: Studio) -> None:
    api = Api(studio.admin)
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    with studio.scope():
        Connection.objects.update(watermark_at=timezone.now())
    answer = api.delete(CONNECTION)
    assert (answer.status_code, answer.content) == (204, b"")
    gone = api.get(CONNECTION).json()
    assert (gone["status"], gone["complete_up_to"]) == ("not_connected", None)
    assert api.get("integrations/harvest/mappings/clients/").json()["results"] == []
    again = api.delete(CONNECTION)
    assert (again.status_code, again.json()["type"]) == (409, "not-connected")
    with studio.scope():
        connection = Connection.objects.get()
        assert connection.access_token == connection.refresh_token == ""


def test_reconnect_needed_is_shown(studio: Studio) -> None:
    studio.sandbox.revoke(ADMIN_TOKEN)
    api = Api(studio.admin)
    assert api.post("integrations/harvest/mappings/refresh/").status_code == 503
    shown = api.get(CONNECTION).json()
    assert (shown["connected"], shown["status"]) == (False, "reconnect_needed")
    assert shown["detail"]
    assert api.get("integrations/").json()[0]["detail"].startswith("Reconnect needed")
    for path in ("imports/", "mappings/refresh/"):
        answer = api.post(f"integrations/harvest/{path}")
        assert (answer.status_code, answer.json()["type"]) == (409, "not-connected")


def test_a_members_token_connects_and_maps_what_it_sees(sandbox: Sandbox, admin: Membership) -> None:
    account = sandbox.account
    client = account.add_client("Acme")
    project = account.add_project(client, "Website")
    hidden = account.add_project(client, "Secret")
    person = sandbox.add_person("Mel", "Member", "mel@sandbox.example", "member", token=SECRET)
    account.assign_user(project, person)
    api = Api(admin)
    shown = api.put(CONNECTION, {**GOOD, "access_token": SECRET}).json()
    assert (shown["connected"], shown["harvest_role"], shown["sees_all"]) == (True, "member", False)
    rows = api.get("integrations/harvest/mappings/projects/").json()["results"]
    assert [row["harvest_id"] for row in rows] == [str(project)]
    assert str(hidden) not in str(rows)
    people = api.get("integrations/harvest/mappings/people/").json()["results"]
    assert [row["harvest_id"] for row in people] == [str(person)]
    body = {"mappings": [{"harvest_id": str(person), "target": str(admin.user_id)}]}
    assert api.put("integrations/harvest/mappings/people/", body).status_code == 200


def test_last_auto_sync_is_the_newest_automated_run(studio: Studio) -> None:
    with studio.scope():
        for _ in range(2):
            run = start_run(connection=studio.connection, kind=RunKind.AUTO)
            SyncRun.objects.filter(id=run.id).update(state=RunState.FAILED, finished_at=run.created_at)
    assert Api(studio.admin).get(CONNECTION).json()["last_auto_sync"]["id"] == str(run.id)


# --- Who may -------------------------------------------------------------------------------------------------
HARVEST = "integrations/harvest/"
WRITES = [
    ("PUT", "connection/", GOOD),
    ("PATCH", "connection/", {"conflict_policy": "ask"}),
    ("PUT", "mappings/clients/", {"mappings": []}),
    ("POST", "mappings/clients/suggest/", None),
    ("POST", "mappings/tasks/create/", {"harvest_ids": []}),
    ("POST", "mappings/refresh/", None),
    ("POST", "mappings/incoming/", None),
    ("POST", "imports/", {}),
]
READS = [
    "connection/",
    "mappings/clients/",
    "mappings/projects/",
    "mappings/tasks/",
    "mappings/people/",
    "mappings/incoming/",
    "runs/",
]


def test_nobody_is_asked_to_sign_in(db: None) -> None:
    for path in READS:
        assert Api(None).get(HARVEST + path).status_code == 401
    for method, path, body in [*WRITES, ("DELETE", "connection/", None)]:
        assert Api(None).send(method, HARVEST + path, body).status_code == 401


def test_members_look_and_do_not_touch(studio: Studio) -> None:
    api = Api(make_member(studio.admin.workspace))
    for path in READS:
        assert api.get(HARVEST + path).status_code == 200, path
    for method, path, body in [*WRITES, ("DELETE", "connection/", None)]:
        answer = api.send(method, HARVEST + path, body)
        assert (answer.status_code, answer.json()["type"]) == (403, "forbidden"), path
    assert api.get("integrations/").status_code == 200


def test_designers_write_and_read_only_keys_do_not(studio: Studio) -> None:
    designer = make_member(studio.admin.workspace, Role.DESIGNER)
    for method, path, body in WRITES:
        assert Api(designer).send(method, HARVEST + path, body).status_code != 403, path
    read_only = Api(designer, key=make_key(designer, access="read"))
    for path in READS:
        assert read_only.get(HARVEST + path).status_code == 200, path
    for method, path, body in WRITES:
        answer = read_only.send(method, HARVEST + path, body)
        assert (answer.status_code, answer.json()["type"]) == (403, "read-only-key"), path


def test_plan_free_may_look_and_disconnect(studio: Studio) -> None:
    run = studio.import_window()
    set_plan(studio.admin, Plan.FREE)
    api = Api(studio.admin)
    studio.sandbox.forget_requests()
    for path in READS:
        assert api.get(HARVEST + path).status_code == 200, path
    for method, path, body in WRITES:
        answer = api.send(method, HARVEST + path, body)
        assert (answer.status_code, answer.json()["type"]) == (403, "plan-required"), path
    card = api.get("integrations/").json()[0]
    assert (card["available"], card["connected"]) == (False, True)
    assert "Pro plan" in card["detail"]
    assert api.post(f"{HARVEST}runs/{run.id}/apply/").json()["type"] == "plan-required"
    assert api.post(f"{HARVEST}runs/{run.id}/undo/").status_code == 200
    assert studio.sandbox.seen() == []
    assert api.delete(HARVEST + "connection/").status_code == 204


def test_a_stranger_sees_nothing_of_it(studio: Studio, stranger: Membership) -> None:
    run = studio.import_window()
    api = Api(stranger)
    assert api.get(CONNECTION).json()["account_id"] is None
    assert api.get(HARVEST + "runs/").json()["results"] == []
    for method, path in (
        ("GET", ""),
        ("GET", "entries/"),
        ("GET", "amounts/"),
        ("POST", "undo/"),
        ("POST", "apply/"),
    ):
        assert api.send(method, f"{HARVEST}runs/{run.id}/{path}").status_code == 404, path
        assert Api(studio.admin).send(method, f"{HARVEST}runs/nonsense/{path}").status_code == 404, path


def test_sessions_work_with_csrf(sandbox: Sandbox) -> None:
    person = make_workspace("Northlight")
    assert Api(person, session=True).put(CONNECTION, GOOD).status_code == 200
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(person.user)
    assert careful.put("/api/v1/" + CONNECTION, GOOD, content_type="application/json").status_code == 403
