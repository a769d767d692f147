"""Taking data away, deleting a workspace whole, leaving: what is in the file, what is left, who may."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone

from accounts import deletion, export
from accounts.errors import Forbidden, InUse, Invalid
from accounts.export import LEFT_OUT, exports_of, request_export, sweep_exports, write_zip
from accounts.models import (
    AuditEvent,
    DataExport,
    DataExportChunk,
    ExportKind,
    ExportState,
    Membership,
    Notice,
    Role,
    User,
    Workspace,
)
from accounts.registry import columns_of, tenant_models
from accounts.services import change_role, remove_member
from accounts.tasks import sweep
from accounts.tenancy import TenantModel, tenant_scope
from harvest.credentials import check_plan
from harvest.night import enabled
from integrations.models import Connection
from tests.factories import make_client, make_key, make_member, make_time_log, make_workspace
from tests.pages.conftest import Visit, visit
from tests.rest.client import Api
from tests.security.everything import fill
from timelogs.models import TimeLog

__all__ = ["visit"]  # a fixture

pytestmark = pytest.mark.django_db

PLANTED = "pl4nted-s3cret"
Capture = Any


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Tasks are run by the tests themselves; this notes what was sent to a worker."""
    from accounts import tasks

    sent: list[tuple[str, ...]] = []
    for task in (tasks.make_export, tasks.erase_workspace):
        monkeypatch.setattr(task, "delay", lambda *ids, name=task.name: sent.append((name, *ids)))
    return sent


def make(row: DataExport) -> DataExport:
    """Do a worker's part, and read the row again."""
    export.make(workspace_id=row.workspace_id, export_id=row.id)
    with tenant_scope(row.workspace_id):
        return DataExport.objects.get(pk=row.pk)


def requested(by: Membership, kind: str = ExportKind.WORKSPACE) -> DataExport:
    with tenant_scope(by.workspace_id):
        return request_export(by=by, kind=kind)


def opened(row: DataExport) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(export.file_of(row))))
    assert archive.testzip() is None
    return archive, json.loads(archive.read("manifest.json"))


# --- What is in an export --------------------------------------------------------------------------------------------
def test_export_holds_every_table_whole_and_its_sums_are_true(
    admin: Membership, stranger: Membership
) -> None:
    fill(admin, "ours")
    fill(stranger, "theirs")
    row = make(requested(admin))
    assert row.state == ExportState.READY
    content = b"".join(export.file_of(row))
    assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size, row.sha256)
    archive, manifest = opened(row)
    assert manifest["format_version"] == 1
    tables = {model._meta.db_table for model in tenant_models()} - set(LEFT_OUT)
    assert set(manifest["tables"]) == tables | {"accounts_workspace", "people"}
    for name, one in manifest["tables"].items():
        by_csv = list(csv.DictReader(io.StringIO(archive.read(f"csv/{name}.csv").decode())))
        by_json = json.loads(archive.read(f"json/{name}.json"))
        assert len(by_csv) == len(by_json) == one["rows"] >= 1, name
        assert [row["id"] for row in by_csv] == [row["id"] for row in by_json]
        for file in one["files"]:
            found = archive.read(file["path"])
            assert (len(found), hashlib.sha256(found).hexdigest()) == (file["bytes"], file["sha256"])
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"ours" in everything
    assert b"theirs" not in everything
    assert sum(one["rows"] for one in manifest["tables"].values()) == row.rows


def test_no_secret_leaves_the_house(admin: Membership) -> None:
    """Whatever a column may be called: each that holds a secret is filled with one, and none of them comes out."""
    fill(admin, "ours")
    left_out = []
    with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
        for model in tenant_models():
            kept = {field.name for field in columns_of(model)} | {"workspace"}
            for field in model._meta.local_concrete_fields:
                if field.name not in kept:
                    left_out.append(f"{model._meta.label}.{field.name}")
                elif re.search("hash|token|secret|password", field.name):
                    pytest.fail(f"{field} goes into exports")
        cursor.execute("UPDATE accounts_apikey SET secret_hash = %s", [PLANTED])
        Connection.objects.update(access_token=PLANTED, refresh_token=PLANTED)
    assert {
        "accounts.ApiKey.secret_hash",
        "integrations.Connection.access_token",
        "integrations.Connection.refresh_token",
        "accounts.IdempotencyRecord.body",
    } <= set(left_out)
    archive, _ = opened(make(requested(admin)))
    assert PLANTED.encode() not in b"".join(archive.read(name) for name in archive.namelist())


def test_cells_are_never_formulas_and_json_is_exact(admin: Membership) -> None:
    nasty = '=HYPERLINK("http://evil.example")'
    make_client(admin.workspace, nasty)
    archive, _ = opened(make(requested(admin)))
    (cell,) = [
        row["name"] for row in csv.DictReader(io.StringIO(archive.read("csv/clients_client.csv").decode()))
    ]
    assert cell == f"'{nasty}"
    (one,) = json.loads(archive.read("json/clients_client.json"))
    assert one["name"] == nasty


def test_ones_own_data_is_what_names_one(admin: Membership, member: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    mine = make_time_log(member, client, notes="mine")
    make_time_log(admin, client, notes="somebody else's")
    make_key(admin)
    row = make(requested(member, ExportKind.PERSON))
    archive, manifest = opened(row)
    assert manifest["person"] == str(member.user_id)
    (log,) = json.loads(archive.read("json/timelogs_timelog.json"))
    assert (log["id"], log["owner_id"]) == (str(mine.id), str(member.user_id))
    assert "json/clients_client.json" not in archive.namelist()
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"somebody else" not in everything
    assert admin.user.email.encode() not in everything
    assert member.user.email.encode() in everything


def test_large_table_is_read_in_pieces(admin: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK", 2000)
    monkeypatch.setattr(export, "ROWS", 10)
    for number in range(60):
        make_client(admin.workspace, f"Client {number} {hashlib.sha256(str(number).encode()).hexdigest()}")
    row = make(requested(admin))
    with tenant_scope(admin.workspace_id):
        sizes = [len(one.content) for one in DataExportChunk.objects.order_by("number")]
    assert len(sizes) > 3
    assert set(sizes[:-1]) == {2000}
    archive, _ = opened(row)
    assert len(json.loads(archive.read("json/clients_client.json"))) == 60


# --- How it is made --------------------------------------------------------------------------------------------------
def test_who_asked_is_told_once_and_the_file_is_kept_for_a_week(
    admin: Membership, no_broker: list[Any], django_capture_on_commit_callbacks: Capture
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        row = requested(admin)
    assert no_broker == [("accounts.tasks.make_export", str(admin.workspace_id), str(row.id))]
    with django_capture_on_commit_callbacks(execute=True):
        row = make(row)
        make(row)  # delivered twice
    with tenant_scope(admin.workspace_id):
        (notice,) = Notice.objects.all()
    assert notice.title == "The export of Northlight is ready"
    assert notice.remedy_path == "/settings/data/"
    assert len(mail.outbox) == 1
    assert row.expires_at - row.finished_at == timedelta(days=7)
    assert sweep_exports() == []
    sweep_exports(now=timezone.now() + timedelta(days=7, minutes=1))
    with tenant_scope(admin.workspace_id):
        assert not DataExport.objects.exists()
        assert not DataExportChunk.objects.exists()


def test_second_request_meanwhile_is_refused(admin: Membership) -> None:
    requested(admin)
    with pytest.raises(export.ExportInProgress):
        requested(admin)
    requested(admin, ExportKind.PERSON)  # another kind is another file


def test_lost_export_is_found_by_the_sweep(admin: Membership, no_broker: list[Any]) -> None:
    row = requested(admin)
    assert sweep_exports() == []  # it was just sent
    with tenant_scope(admin.workspace_id):
        DataExport.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    sweep()
    assert no_broker[-1] == ("accounts.tasks.make_export", str(admin.workspace_id), str(row.id))


def test_export_that_dies_leaves_nothing_and_is_given_up_in_the_end(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = requested(admin)
    monkeypatch.setattr(export, "CHUNK", 10)

    def die(*args: Any, **kwargs: Any) -> int:
        write_zip(*args, **kwargs)
        raise MemoryError

    monkeypatch.setattr(export, "write_zip", die)
    for _ in range(export.MOST_ATTEMPTS):
        with pytest.raises(MemoryError):
            make(row)
        with tenant_scope(admin.workspace_id):
            assert not DataExportChunk.objects.exists()
    assert make(row).state == ExportState.FAILED


@pytest.mark.django_db(transaction=True)
def test_two_workers_make_one_in_a_snapshot() -> None:
    """While one worker is at it, another finds the lock taken; what comes in meanwhile is not half in the file."""
    from concurrent.futures import ThreadPoolExecutor

    admin = make_workspace()
    make_client(admin.workspace, "Before")
    row = requested(admin)
    inner: list[int] = []
    real = export.write_zip

    def write(target: Any, **given: Any) -> int:
        def meanwhile() -> None:
            try:
                make_client(admin.workspace, "Meanwhile")
                export.make(workspace_id=row.workspace_id, export_id=row.id)
                with tenant_scope(row.workspace_id):
                    inner.append(DataExport.objects.get(pk=row.pk).attempts)
            finally:
                connection.close()

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM clients_client")  # the snapshot is taken by the first look
        with ThreadPoolExecutor(1) as pool:
            pool.submit(meanwhile).result(30)
        return real(target, **given)

    export.write_zip = write
    try:
        done = make(row)
    finally:
        export.write_zip = real
    assert inner == [1]
    assert done.state == ExportState.READY
    archive, _ = opened(done)
    assert [one["name"] for one in json.loads(archive.read("json/clients_client.json"))] == ["Before"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert cursor.fetchone() == (0,)


# --- Who may fetch it ------------------------------------------------------------------------------------------------
def test_who_may_ask_and_fetch(
    admin: Membership, designer: Membership, member: Membership, stranger: Membership, visit: Visit
) -> None:
    for person in (designer, member):
        with pytest.raises(Forbidden):
            requested(person)
        assert Api(person).post("exports/", {"kind": "workspace"}).status_code == 403
        assert visit(person).post("/settings/data/export/").status_code == 403
    whole = make(requested(admin))
    own = make(requested(member, ExportKind.PERSON))
    second = make_member(admin.workspace, Role.ADMIN)
    for person, expected in (
        (admin, {whole.id: 200, own.id: 404}),
        (second, {whole.id: 200, own.id: 404}),
        (member, {whole.id: 404, own.id: 200}),
        (designer, {whole.id: 404, own.id: 404}),
        (stranger, {whole.id: 404, own.id: 404}),
    ):
        for id, status in expected.items():
            assert Api(person).get(f"exports/{id}/").status_code == status
            assert Api(person).get(f"exports/{id}/file/").status_code == status
            assert visit(person).get(f"/settings/data/export/{id}/").status_code == status
    assert Api(None).get(f"exports/{whole.id}/file/").status_code == 401
    assert Browser().get(f"/settings/data/export/{whole.id}/").status_code == 302


def test_export_by_the_api(admin: Membership) -> None:
    api = Api(admin)
    answer = api.post("exports/", {"kind": "workspace"})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    id = answer.json()["id"]
    assert api.post("exports/", {"kind": "workspace"}).json()["type"] == "export-in-progress"
    assert api.get(f"exports/{id}/file/").status_code == 404
    with tenant_scope(admin.workspace_id):
        make(DataExport.objects.get(pk=id))
    answer = api.get(f"exports/{id}/file/")
    assert answer["Content-Type"] == "application/zip"
    content = b"".join(answer.streaming_content)
    assert hashlib.sha256(content).hexdigest() == api.get(f"exports/{id}/").json()["sha256"]
    assert api.post("exports/", {"kind": "everything"}).json()["errors"].keys() == {"kind"}
    assert [one["id"] for one in api.get("exports/", state="ready").json()["results"]] == [id]


def test_exports_are_listed_by_the_page(admin: Membership, visit: Visit) -> None:
    browser = visit(admin)
    browser.post("/settings/data/export/")
    assert "Being made" in browser.get("/settings/data/").content.decode()
    with tenant_scope(admin.workspace_id):
        row = make(exports_of(admin).get())
    page = browser.get("/settings/data/").content.decode()
    assert f"/settings/data/export/{row.id}/" in page
    assert browser.get(f"/settings/data/export/{row.id}/")["Content-Length"] == str(row.size)


# --- Deleting a workspace --------------------------------------------------------------------------------------------
def ask(by: Membership, name: str | None = None) -> Workspace:
    with tenant_scope(by.workspace_id):
        return deletion.request_deletion(by=by, name=by.workspace.name if name is None else name)


def rows_left(workspace_id: Any) -> dict[str, int]:
    with tenant_scope(workspace_id):
        found = {model._meta.label: model._base_manager.count() for model in tenant_models()}
        found["accounts.Workspace"] = Workspace.objects.count()
    return {label: count for label, count in found.items() if count}


def test_deletion_is_asked_for_by_name_and_members_are_told(
    admin: Membership, member: Membership, django_capture_on_commit_callbacks: Capture
) -> None:
    with pytest.raises(Invalid) as caught:
        ask(admin, "North")
    assert "name" in caught.value.errors
    with pytest.raises(Forbidden):
        ask(member)
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        workspace = ask(admin)
    assert timedelta(days=13, hours=23) < workspace.deletes_at - timezone.now() <= timedelta(days=14)
    assert {message.to[0] for message in mail.outbox} == {admin.user.email, member.user.email}
    with pytest.raises(InUse):
        ask(admin)
    assert deletion.due_deletions() == []
    assert deletion.erase(admin.workspace_id) == 0
    with tenant_scope(admin.workspace_id):
        assert AuditEvent.objects.filter(action="workspace.deletion_requested", actor=admin.user).exists()


def test_until_then_all_is_readable_syncs_pause_and_it_can_be_called_off(
    admin: Membership, visit: Visit
) -> None:
    ids = fill(admin, "ours")
    with tenant_scope(admin.workspace_id):
        Connection.objects.update(auto_sync=True)
        assert enabled().exists()
    answer = Api(admin).post("workspace/deletion/", {"name": "Northlight"})
    assert answer.status_code == 200
    assert answer.json()["deletes_at"]
    with tenant_scope(admin.workspace_id):
        assert not enabled().exists()
        with pytest.raises(Forbidden, match="to be deleted"):
            check_plan(Workspace.objects.get())
    assert Api(admin).get(f"time-logs/{ids[TimeLog]}/").status_code == 200
    page = visit(admin).get("/settings/data/").content.decode()
    assert "Keep Northlight" in page
    assert "will be deleted" in visit(admin).get("/clients/").content.decode()
    assert visit(admin).post("/settings/data/keep-workspace/").status_code == 302
    with tenant_scope(admin.workspace_id):
        assert enabled().exists()
    assert Api(admin).get("workspace/deletion/").json() == {"deletes_at": None}
    assert Api(admin).delete("workspace/deletion/").json() == {"deletes_at": None}


def test_nothing_of_an_erased_workspace_is_left_and_another_is_untouched(
    admin: Membership, stranger: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "ROWS", 2)
    fill(admin, "ours")
    client = make_client(admin.workspace)
    for _ in range(5):
        make_time_log(admin, client)
    fill(stranger, "theirs")
    make_key(admin)
    before = rows_left(stranger.workspace_id)
    assert before.keys() == {model._meta.label for model in tenant_models()} | {"accounts.Workspace"}
    ask(admin)
    count = sum(rows_left(admin.workspace_id).values())
    later = timezone.now() + timedelta(days=15)
    assert deletion.due_deletions(now=later) == [admin.workspace_id]
    assert deletion.erase(admin.workspace_id, now=later) >= count  # more where totals are kept by triggers
    assert rows_left(admin.workspace_id) == {}
    assert deletion.due_deletions(now=later) == []
    assert deletion.erase(admin.workspace_id, now=later) == 0
    assert rows_left(stranger.workspace_id) == before
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert User.objects.filter(pk=admin.user_id).exists()  # people are not the workspace's


def test_erasing_begins_with_what_opens_anything_and_goes_on_after_a_crash(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(admin, "ours")
    with tenant_scope(admin.workspace_id):
        Connection.objects.update(access_token=PLANTED)
    key = make_key(admin)
    ask(admin)
    later = timezone.now() + timedelta(days=15)
    some, steps = deletion._erase_some, iter(range(1000))

    def crash(model: type[TenantModel], workspace_id: Any) -> int:
        erased = some(model, workspace_id)
        if erased and next(steps) % 3 == 0:
            raise RuntimeError("killed")
        return erased

    monkeypatch.setattr(deletion, "_erase_some", crash)
    crashes = 0
    while deletion.due_deletions(now=later):
        try:
            deletion.erase(admin.workspace_id, now=later)
        except RuntimeError:
            crashes += 1
            if crashes == 1:
                assert Api(admin, key=key).get("me/").status_code == 401
                with tenant_scope(admin.workspace_id):
                    assert not Membership.objects.exists()
                    assert not Connection.objects.exclude(access_token="").exists()
        assert crashes < 100
    assert crashes > 3
    assert rows_left(admin.workspace_id) == {}


def test_deletion_that_has_begun_is_not_called_off(admin: Membership) -> None:
    ask(admin)
    with tenant_scope(admin.workspace_id):
        Workspace.objects.update(deletes_at=timezone.now() - timedelta(minutes=1))
        with pytest.raises(InUse, match="begun"):
            deletion.call_off(by=admin)


def test_deletion_is_the_admins(designer: Membership, member: Membership, visit: Visit) -> None:
    for person in (designer, member):
        assert Api(person).post("workspace/deletion/", {"name": "Northlight"}).status_code == 403
        assert Api(person).delete("workspace/deletion/").status_code == 403
        assert visit(person).get("/settings/data/delete-workspace/").status_code == 403
        assert visit(person).post("/settings/data/keep-workspace/").status_code == 403
        page = visit(person).get("/settings/data/").content.decode()
        assert "Delete the workspace" not in page
        assert "Export the whole workspace" not in page


def test_deletion_by_the_page(admin: Membership, visit: Visit) -> None:
    browser = visit(admin)
    refused = browser.post("/settings/data/delete-workspace/", {"name": "Southlight"})
    assert refused.status_code == 422
    assert "Type the workspace" in refused.content.decode()
    assert browser.post("/settings/data/delete-workspace/", {"name": "Northlight"}).status_code == 302
    assert "Keep Northlight" in browser.get("/settings/data/").content.decode()


# --- People who leave ------------------------------------------------------------------------------------------------
def test_removed_person_keeps_time_and_name_and_loses_access_at_once(
    admin: Membership, member: Membership, visit: Visit
) -> None:
    log = make_time_log(member, make_client(admin.workspace))
    key, browser = make_key(member), visit(member)
    assert browser.get("/time-logs/").status_code == 200
    with tenant_scope(admin.workspace_id):
        remove_member(membership=member, actor=admin.user)
    assert browser.get("/time-logs/").status_code == 403
    assert Api(member, key=key).get("me/").status_code == 401
    found = Api(admin).get(f"time-logs/{log.id}/").json()
    assert (found["owner"], found["owner_email"]) == (str(member.user_id), member.user.email)
    assert "Mel Member" in visit(admin).get("/time-logs/").content.decode()


def test_admins_are_told_when_who_connected_harvest_leaves(
    admin: Membership, member: Membership, django_capture_on_commit_callbacks: Capture
) -> None:
    with tenant_scope(admin.workspace_id):
        Connection.objects.create(
            workspace=admin.workspace, status="connected", access_token="x", connected_by=member.user
        )
        remove_member(membership=member, actor=admin.user)
        (notice,) = Notice.objects.all()
    assert notice.user_id == admin.user_id
    assert "no fallback owner" in notice.text


def test_last_admin_stays(admin: Membership, member: Membership, visit: Visit) -> None:
    with tenant_scope(admin.workspace_id), pytest.raises(InUse):
        remove_member(membership=admin, actor=admin.user)
    browser = visit(admin)
    refused = browser.post("/settings/data/delete-account/", {"name": admin.user.email})
    assert refused.status_code == 422
    assert "only admin of Northlight" in refused.content.decode()
    assert User.objects.get(pk=admin.user_id).email == admin.user.email
    with tenant_scope(admin.workspace_id):
        change_role(membership=member, role=Role.ADMIN, actor=admin.user)
    assert browser.post("/settings/data/delete-account/", {"name": admin.user.email}).status_code == 200


def test_deleted_account_is_nameless_and_signs_in_no_more(
    admin: Membership, member: Membership, stranger: Membership, visit: Visit
) -> None:
    elsewhere = make_member(stranger.workspace, email=member.user.email)
    assert elsewhere.user_id == member.user_id
    log = make_time_log(member, make_client(admin.workspace))
    member.user.set_password("correct horse battery")
    member.user.save()
    key, browser, second = make_key(member), visit(member), visit(member)
    asked = browser.post("/settings/data/delete-account/", {"name": member.user.email})
    assert asked["Location"].startswith("/accounts/reauthenticate/"), (
        "only for who has shown of late who they are"
    )
    browser.post(
        "/accounts/reauthenticate/", {"password": "correct horse battery", "next": "/settings/data/"}
    )
    wrong = browser.post("/settings/data/delete-account/", {"name": "somebody@else.test"})
    assert wrong.status_code == 422
    answer = browser.post("/settings/data/delete-account/", {"name": "MEL@northlight.test"})
    assert "Your account is deleted" in answer.content.decode()
    user = User.objects.get(pk=member.user_id)
    assert (user.name, user.is_active, user.has_usable_password()) == ("Former member", False, False)
    assert user.email.endswith("@removed.invalid")
    for one in (browser, second):
        assert one.get("/").status_code == 302
    assert Api(member, key=key).get("me/").status_code == 401
    found = Api(admin).get(f"time-logs/{log.id}/").json()
    assert found["owner"] == str(member.user_id)
    for workspace in (admin.workspace, stranger.workspace):
        with tenant_scope(workspace.id):
            assert not Membership.objects.filter(user_id=member.user_id).exists()
    for model in User._meta.related_objects:
        if not issubclass(model.related_model, TenantModel):
            rows = model.related_model._base_manager.filter(**{model.field.name: user})
            assert not rows.exists(), model.related_model
    # The address is free again, for a new person.
    again = make_member(admin.workspace, email="mel@northlight.test")
    assert again.user_id != member.user_id
