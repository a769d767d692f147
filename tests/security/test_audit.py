"""The trail: what is written of a deed, that nobody takes it back, who may read and take away what."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from accounts.api_keys import revoke_api_key
from accounts.audit import NOWHERE, WATCHED, Origin, acting, address_of, origin, record_audit, without_secrets
from accounts.models import ApiKey, AuditEvent, Membership
from accounts.tenancy import tenant_scope
from config.celery import app
from tests.factories import make_client, make_key, make_member, make_project, make_time_log
from tests.pages.conftest import Visit, visit
from tests.rest.client import Api

__all__ = ["visit"]  # a fixture

pytestmark = pytest.mark.django_db


def events(person: Membership, action: str = "") -> list[AuditEvent]:
    with tenant_scope(person.workspace_id):
        return list(AuditEvent.objects.filter(action__startswith=action).order_by("id"))


# --- Append-only -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("deed", ["update", "delete"])
def test_nobody_changes_or_deletes_a_line(deed: str, admin: Membership) -> None:
    def attempt() -> None:
        with tenant_scope(admin.workspace_id):
            rows = AuditEvent.objects.all()
            assert rows.exists()
            if deed == "update":
                rows.update(action="nothing.happened")
            else:
                rows.delete()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        attempt()
    assert [one.action for one in events(admin)] == ["workspace.created"]


def test_nobody_empties_the_trail(admin: Membership) -> None:
    """Tests of whole transactions have that trigger off, or they could not end (tests/conftest.py)."""

    def attempt() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing may be pending where a table is altered
            cursor.execute("ALTER TABLE accounts_auditevent ENABLE TRIGGER accounts_auditevent_keep_whole")
            cursor.execute("TRUNCATE accounts_workspace CASCADE")

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        attempt()
    assert events(admin)


def test_erasing_another_workspace_opens_nothing(admin: Membership, stranger: Membership) -> None:
    def attempt() -> None:
        with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('timebridge.erasing', %s, true)", [str(stranger.workspace_id)])
            AuditEvent.objects.all().delete()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        attempt()


# --- What is written -------------------------------------------------------------------------------------------------
def test_a_change_has_before_and_after_who_and_where_from(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    api = Api(admin)
    prefix = api.headers["Authorization"].split("_")[1]
    api.http.defaults["REMOTE_ADDR"] = "203.0.113.9"
    assert api.patch(f"clients/{client.id}/", {"name": "Zenith", "archived": False}).status_code == 200
    assert api.patch(f"clients/{client.id}/", {"name": "Zenith"}).status_code == 200  # no change, no line
    (event,) = events(admin, "client.changed")
    assert (event.actor_id, event.address, event.agent) == (admin.user_id, "203.0.113.9", f"key {prefix}")
    assert event.target == "Zenith"
    assert event.data == {"id": str(client.id), "before": {"name": "Acme"}, "after": {"name": "Zenith"}}


def test_a_session_says_so_and_a_reference_has_its_name(admin: Membership) -> None:
    acme, zenith = make_client(admin.workspace, "Acme"), make_client(admin.workspace, "Zenith")
    project = make_project(acme, "Site")
    api = Api(admin, session=True)
    assert api.patch(f"projects/{project.id}/", {"client": str(zenith.id)}).status_code == 200
    assert api.delete(f"projects/{project.id}/").status_code == 204
    changed, deleted = events(admin, "project.")[-2:]
    assert changed.data["before"] == {"client": {"id": str(acme.id), "name": "Acme"}}
    assert changed.data["after"] == {"client": {"id": str(zenith.id), "name": "Zenith"}}
    assert (changed.agent, deleted.action) == ("session", "project.deleted")
    assert deleted.data["before"]["client"]["name"] == "Zenith"


def test_time_is_recorded_when_a_person_changes_it_and_not_when_it_is_logged(admin: Membership) -> None:
    log = make_time_log(admin, make_client(admin.workspace))
    api = Api(admin)
    api.patch(f"time-logs/{log.id}/", {"seconds": 60, "notes": "x" * 900})
    api.delete(f"time-logs/{log.id}/")
    api.post(f"time-logs/{log.id}/restore/")
    found = events(admin, "time_log.")
    assert [one.action for one in found] == ["time_log.changed", "time_log.deleted", "time_log.restored"]
    assert found[0].data["before"] == {"seconds": 3600, "notes": ""}
    assert found[0].data["after"] == {"seconds": 60, "notes": "x" * 500 + "…"}
    with tenant_scope(admin.workspace_id), acting(Origin(agent="task sync")):
        log.seconds = 5
        log.save()  # a sync's own change: its run tells of it
    assert len(events(admin, "time_log.")) == 3


def test_refused_requests_leave_no_line(admin: Membership) -> None:
    client = make_client(admin.workspace)
    make_project(client)
    assert Api(admin).delete(f"clients/{client.id}/").status_code == 409
    assert events(admin, "client.deleted") == []


def test_every_watched_field_is_there_and_none_is_a_secret() -> None:
    assert len(WATCHED) >= 6
    for model, watch in WATCHED.items():
        for name in watch.fields:
            assert model._meta.get_field(name)
            assert without_secrets({name: "value"}) == {name: "value"}, f"{model}: {name} is called a secret"


def test_no_secret_is_kept() -> None:
    said = without_secrets(
        {"access_token": "s3cret", "after": {"secret_hash": "s3cret", "name": "Script"}, "password": "s3cret"}
    )
    assert "s3cret" not in json.dumps(said)
    assert said["after"] == {"secret_hash": "(not kept)", "name": "Script"}


def test_keys_are_recorded_by_prefix_however_they_are_made_and_revoked(
    admin: Membership, visit: Visit
) -> None:
    browser = visit(admin)
    answer = browser.post("/settings/api-keys/", {"name": "Script", "access": "read", "lifetime": ""})
    key = answer.context["key"]
    with tenant_scope(admin.workspace_id):
        row = ApiKey.objects.get()
    browser.post(f"/settings/api-keys/{row.id}/revoke/")
    made, revoked = events(admin, "api_key.")
    assert (made.action, made.target, made.actor_id) == ("api_key.made", row.prefix, admin.user_id)
    assert (revoked.action, revoked.actor_id) == ("api_key.revoked", admin.user_id)
    assert key.rpartition("_")[2] not in json.dumps([made.data, revoked.data])
    with tenant_scope(admin.workspace_id):
        revoke_api_key(row)  # again: nothing happened
    assert len(events(admin, "api_key.")) == 2


# --- Where from ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("proxied", "headers", "expected"),
    [
        (False, {"X-Forwarded-For": "6.6.6.6"}, "127.0.0.1"),
        (True, {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}, "203.0.113.7"),
        (True, {"X-Forwarded-For": "<script>"}, None),
        (True, {}, "127.0.0.1"),
        (True, {"X-Forwarded-For": "2001:db8::1"}, "2001:db8::1"),
    ],
)
def test_address_is_the_one_that_cannot_be_forged(
    proxied: bool, headers: dict[str, str], expected: str | None, settings: Any, rf: Any
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if proxied else None
    assert address_of(rf.get("/", headers=headers)) == expected


def test_a_request_leaves_no_origin_behind(admin: Membership) -> None:
    assert Api(admin).get("me/").status_code == 200
    assert Browser().get("/healthz").status_code == 200
    assert origin() == NOWHERE
    seen: list[Origin] = []
    with acting(Origin(agent="session")):
        thread = threading.Thread(target=lambda: seen.append(origin()))
        thread.start()
        thread.join()
    assert seen == [NOWHERE]


def test_a_task_says_that_it_is_one() -> None:
    seen: list[Origin] = []

    @app.task(name="tests.look")
    def look() -> None:
        seen.append(origin())

    try:
        look.apply()
    finally:
        app.tasks.unregister("tests.look")
    assert seen == [Origin(agent="task tests.look")]
    assert origin() == NOWHERE


# --- Reading ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def told(admin: Membership, member: Membership) -> None:
    """Three deeds, on three days, of three kinds."""
    with tenant_scope(admin.workspace_id):
        for day, action, actor, target in (
            (1, "client.made", admin.user, "Acme"),
            (2, "harvest.connected", member.user, "=HYPERLINK(1)"),
            (3, "project.deleted", None, "Site"),
        ):
            at = datetime(2026, 3, day, 23, 30, tzinfo=UTC)
            AuditEvent.objects.create(
                workspace=admin.workspace, action=action, actor=actor, target=target, at=at,
                address="203.0.113.9", agent="session", data={"before": {"name": "+1"}, "after": {"name": "@x"}},
            )  # fmt: skip


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"action": "client."}, ["client.made"]),
    ({"from": "2026-03-02", "to": "2026-03-02"}, ["harvest.connected"]),
    ({"to": "2026-03-03"}, ["project.deleted", "harvest.connected", "client.made"]),
    ({"q": "ACME"}, ["client.made"]),
    ({"q": "mel mem", "to": "2026-03-09"}, ["harvest.connected"]),
    ({"to": "0001-01-01"}, []),
    ({"from": "9999-12-31"}, []),
]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=str)
def test_filters_by_api_and_page(
    query: dict[str, str], expected: list[str], admin: Membership, visit: Visit
) -> None:
    given = {f"{name}_" if name == "from" else name: value for name, value in query.items()}
    rows = Api(admin).get("audit/", **given).json()["results"]
    assert [row["action"] for row in rows if "api_key" not in row["action"]] == expected
    page = visit(admin).get("/settings/audit/", query)
    assert page.status_code == 200
    assert [
        row["event"].action for row in page.context["rows"] if "api_key" not in row["event"].action
    ] == expected


@pytest.mark.usefixtures("told")
def test_days_of_the_page_are_the_workspaces(admin: Membership, visit: Visit) -> None:
    with tenant_scope(admin.workspace_id):
        admin.workspace.timezone = "Asia/Tokyo"  # 23:30 UTC is the next morning there
        admin.workspace.save()
    page = visit(admin).get("/settings/audit/", {"from": "2026-03-03", "to": "2026-03-03"})
    assert [row["event"].action for row in page.context["rows"]] == ["harvest.connected"]


@pytest.mark.parametrize(
    "query", [{"actor": "x"}, {"from": "2026-02-30"}, {"to": "soon"}, {"q": "x" * 201}, {"nothing": "1"}]
)
def test_bad_filters_are_named(query: dict[str, str], admin: Membership, visit: Visit) -> None:
    given = {f"{name}_" if name == "from" else name: value for name, value in query.items()}
    answer = Api(admin).get("audit/", **given)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == set(query)
    if "nothing" not in query:
        assert visit(admin).get("/settings/audit/", query).status_code == 422


def test_addresses_are_for_admins(admin: Membership, member: Membership, visit: Visit) -> None:
    make_client(admin.workspace)
    with tenant_scope(admin.workspace_id):
        AuditEvent.objects.create(
            workspace=admin.workspace, action="harvest.connected", address="203.0.113.9", agent="session"
        )
    (mine,) = Api(admin).get("audit/", action="harvest.").json()["results"]
    (theirs,) = Api(member).get("audit/", action="harvest.").json()["results"]
    assert (mine["address"], mine["agent"]) == ("203.0.113.9", "session")
    assert (theirs["address"], theirs["agent"]) == (None, None)
    assert "203.0.113.9" in visit(admin).get("/settings/audit/").content.decode()
    assert "203.0.113.9" not in visit(member).get("/settings/audit/").content.decode()


@pytest.mark.usefixtures("told")
def test_export_holds_what_the_filters_leave_and_no_formula(admin: Membership, visit: Visit) -> None:
    answer = Api(admin).get("audit/export/", to="2026-03-03")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["action"] for row in rows] == ["project.deleted", "harvest.connected", "client.made"]
    assert rows[1]["target"] == "'=HYPERLINK(1)"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    by_page = visit(admin).get("/settings/audit/audit.json", {"to": "2026-03-03"})
    whole = json.loads(b"".join(by_page.streaming_content))
    assert whole[1]["target"] == "=HYPERLINK(1)"
    assert [row["at"] for row in whole] == sorted((row["at"] for row in whole), reverse=True)
    assert "attachment" in by_page["Content-Disposition"]
    assert Api(admin).get("audit/export/", format="xml").status_code == 400


def test_export_pages_through_everything_with_a_bounded_number_of_queries(
    admin: Membership, stranger: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.audit_list.AT_ONCE", 10)
    with tenant_scope(admin.workspace_id):
        for number in range(25):
            record_audit(
                workspace=admin.workspace, actor=admin.user, action="it.happened", target=str(number)
            )
    api = Api(admin)
    with CaptureQueriesContext(connection) as queries:
        answer = api.get("audit/export/", format="json", action="it.")
        whole = json.loads(b"".join(answer.streaming_content))
    assert [row["target"] for row in whole] == [str(number) for number in reversed(range(25))]
    readings = [one for one in queries if 'FROM "accounts_auditevent"' in one["sql"]]
    assert len(readings) == 3
    nothing = Api(stranger).get("audit/export/", format="json", action="it.")
    assert json.loads(b"".join(nothing.streaming_content)) == []


def test_list_takes_as_many_queries_for_many_rows(admin: Membership) -> None:
    api = Api(admin)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert api.get("audit/").status_code == 200
        return len(found)

    queries()
    before = queries()
    for _ in range(3):
        person = make_member(admin.workspace)
        with tenant_scope(admin.workspace_id):
            for number in range(33):
                record_audit(workspace=admin.workspace, actor=person.user, action="it.happened", n=number)
    assert queries() == before


def test_export_is_for_admins(member: Membership, designer: Membership, visit: Visit) -> None:
    for person in (member, designer):
        assert Api(person).get("audit/export/").status_code == 403
        assert visit(person).get("/settings/audit/audit.csv").status_code == 403
    assert Browser().get("/settings/audit/audit.csv").status_code == 302
    assert make_key(member)
