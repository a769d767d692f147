"""Whatever runs enters a scope explicitly, each exception has a name, and every tenant table turns a stranger away."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.db import IntegrityError, connection, transaction
from django.db.utils import ProgrammingError
from django.test import Client as Browser

from accounts import tenancy
from accounts.audit import ERASING
from accounts.models import Membership
from accounts.registry import tenant_models
from accounts.tenancy import TenantModel, tenant_scope
from config.celery import app
from tests.factories import make_client, make_key, make_workspace
from tests.security.everything import fill

pytestmark = pytest.mark.django_db

SPANS = {name: value for name, value in vars(tenancy).items() if name.startswith("SPAN_")}
SETTINGS = ("timebridge.workspace", ERASING, *SPANS.values())

# Every policy beside the scope itself: table, policy -> the span that opens it, and why it must.
EXCEPTIONS = {
    ("accounts_workspace", "member"): ("SPAN_USER", "signing in: the workspaces of one's memberships"),
    ("accounts_membership", "member"): ("SPAN_USER", "signing in: one's own memberships"),
    ("accounts_apikey", "key_holder"): ("SPAN_API_KEY", "looking up the one key with this prefix"),
    ("settlement_clientlink", "client_link"): ("SPAN_CLIENT_LINK", "looking up the one link with this hash"),
    ("accounts_workspace", "sweep"): ("SPAN_SWEEP", "plans of what is due; deletions that are due"),
    ("accounts_dataexport", "sweep"): ("SPAN_SWEEP", "exports that wait, or whose days are over"),
    ("harvest_consent", "sweep"): ("SPAN_SWEEP", "consents that nobody came back to"),
    ("integrations_connection", "sweep"): ("SPAN_SWEEP", "the night; tokens to renew; changes to read"),
    ("integrations_syncrun", "sweep"): ("SPAN_SWEEP", "runs that wait, or whose worker died"),
    ("integrations_outboundchange", "sweep"): ("SPAN_SWEEP", "changes that wait to be pushed"),
    ("settlement_budget", "sweep"): ("SPAN_SWEEP", "budgets whose alerts are to be looked at"),
    ("timelogs_monthchange", "sweep"): ("SPAN_SWEEP", "sums of time that are to be followed"),
}


# --- Exceptions ------------------------------------------------------------------------------------------------------
def test_each_exception_is_named_reads_only_and_opens_by_its_own_span() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, policyname, cmd, qual FROM pg_policies"
            " WHERE schemaname = current_schema() AND policyname <> 'tenant'"
        )
        found = {(table, name): (cmd, condition) for table, name, cmd, condition in cursor.fetchall()}
    assert found.keys() == EXCEPTIONS.keys(), "name it in EXCEPTIONS, with its span and its reason"
    for where, (cmd, condition) in found.items():
        assert cmd == "SELECT", where
        opened_by = {name for name, value in SPANS.items() if f"'{value}'" in condition}
        assert opened_by == {EXCEPTIONS[where][0]}, where


@pytest.mark.parametrize("name", SPANS)
def test_a_span_shows_the_tables_that_name_it_alone(name: str, admin: Membership) -> None:
    """Opened with whatever value, and with a row in every table: no table shows more than it is named for."""
    fill(admin, "ours")
    allowed = {table for (table, _), (span_name, _) in EXCEPTIONS.items() if span_name == name}
    value = str(admin.user_id) if name == "SPAN_USER" else "on"
    with tenancy.span(SPANS[name], value):
        seen = {model._meta.db_table for model in tenant_models() if model._base_manager.exists()}
        for model in tenant_models():
            assert model._base_manager.all()._raw_delete("default") == 0, model
    assert seen <= allowed


# --- Whoever enters --------------------------------------------------------------------------------------------------
# Tasks without a workspace: what they read over all of them they read in a span, and they write in scopes.
SWEEPS = {
    "accounts.tasks.sweep",
    "config.tasks.look_at_packages",  # asks the database nothing
    "harvest.tasks.harvest_nightly",
    "harvest.tasks.read_changes",
    "harvest.tasks.sweep_pushes",
    "harvest.tasks.sweep_runs",
    "harvest.tasks.sweep_tokens",
    "settlement.tasks.follow_time",  # takes the ids of several, and enters each
    "settlement.tasks.look_at_budgets",
    "settlement.tasks.sweep_budgets",
}
COMMANDS = {
    "create_workspace": "enters the scope of the workspace that it makes",
    "end_sessions": "is about people, who belong to no workspace",
    "demo": "makes a workspace, and enters its scope",
    "harvest_nightly": "does what the task of that name does",
    "harvest_sandbox": "has no database",
    "reset_second_factor": "is about a person, who belongs to no workspace",
    "reencrypt": "reads whose rows there are in the sweep's span, and enters each scope",
}
FLOORS = ("accounts", "clients", "config", "harvest", "inbound", "integrations", "settlement", "timelogs")


def test_each_task_takes_its_workspace_or_is_a_sweep() -> None:
    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if name.startswith(FLOORS)}
    assert len(ours) > 8
    for name, task in ours.items():
        first = next(iter(inspect.signature(task.run).parameters), None)
        assert first == "workspace_id" or name in SWEEPS, (
            f"{name}: take workspace_id first, or name it a sweep"
        )


def test_each_command_is_known() -> None:
    assert {name for name, where in get_commands().items() if where in FLOORS} == set(COMMANDS)


def test_there_is_no_admin_site() -> None:
    """It would be one more way in, over all workspaces: none is installed (see tests/security/test_matrix.py)."""
    assert "django.contrib.admin" not in settings.INSTALLED_APPS


# Who writes the settings that open something.
OPENERS = {
    "accounts/tenancy.py": "scopes and spans",
    "accounts/migrations/0005_api_key_holder.py": "a key's look-up in one question: its spans",
    "accounts/migrations/0006_places.py": "a person's places in one question: its span",
    "accounts/migrations/0010_session_in_one.py": "a session, with its person's places: their span",
    "timelogs/migrations/0003_month_totals.py": "sums what was there before, then forces the walls again",
    "timelogs/migrations/0008_whole_totals.py": "the same, once more",
}


def test_no_code_passes_by_the_scope() -> None:
    """The settings that open it are written in a place or two, and no role is changed anywhere."""
    root = Path(__file__).parent.parent.parent
    for floor in FLOORS:
        for path in (root / floor).rglob("*.py"):
            text = path.read_text()
            place = path.relative_to(root).as_posix()
            if place not in OPENERS:
                assert "set_config(" not in text, place
            for words in (
                "SET ROLE",
                "SET SESSION AUTHORIZATION",
                "DISABLE ROW LEVEL",
                "NO FORCE",
                "row_security",
            ):
                assert words not in text or place in OPENERS, f"{place}: {words}"


# --- A connection given back -----------------------------------------------------------------------------------------
def open_settings() -> dict[str, str]:
    found = {}
    with connection.cursor() as cursor:
        for name in SETTINGS:
            cursor.execute("SELECT coalesce(current_setting(%s, true), '')", [name])
            row = cursor.fetchone()
            if row and row[0]:
                found[name] = row[0]
    return found


@pytest.mark.django_db(transaction=True)
def test_requests_and_tasks_give_back_a_connection_without_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the connection that they used: good and refused answers, errors, streams half-read, tasks that fail."""
    from accounts import export
    from accounts.export import request_export
    from accounts.tasks import make_export

    admin = make_workspace()
    client = make_client(admin.workspace)
    api = Browser(headers={"Authorization": f"Bearer {make_key(admin)}"}, raise_request_exception=False)
    browser = Browser()
    browser.force_login(admin.user)

    def clean(what: object) -> None:
        assert not connection.in_atomic_block, what
        assert open_settings() == {}, what
        assert not any(model._base_manager.exists() for model in tenant_models()), what

    for http, method, url in (
        (api, "GET", "/api/v1/clients/"),
        (api, "GET", f"/api/v1/clients/{client.id}/"),
        (api, "GET", "/api/v1/clients/nothing/"),
        (api, "POST", "/api/v1/clients/"),
        (api, "DELETE", f"/api/v1/members/{admin.id}/"),
        (api, "GET", "/api/v1/integrations/harvest/connection/"),
        (browser, "GET", "/"),
        (browser, "GET", "/integrations/harvest/"),
        (browser, "GET", "/settings/data/delete-account/"),
        (browser, "GET", "/nothing/"),
        (Browser(), "GET", "/accounts/login/"),
        (Browser(headers={"Authorization": "Bearer tb_0000_x"}), "GET", "/api/v1/me/"),
    ):
        http.generic(method, url, b"{}", content_type="application/json")
        clean((method, url))
    stream = api.get("/api/v1/audit/export/").streaming_content
    next(stream)
    clean("a stream that is half-read")
    with monkeypatch.context() as patch:
        patch.setattr("clients.api.clients_of", lambda *args: 1 / 0)
        patch.setattr("clients.api.ClientViewSet.selector", staticmethod(lambda *args: 1 / 0))
        assert api.get("/api/v1/clients/").status_code == 500
    clean("an error")
    with tenant_scope(admin.workspace_id):
        row = request_export(by=admin, kind="workspace")
    with monkeypatch.context() as patch:
        patch.setattr(export, "_write", lambda *args: 1 / 0)
        assert make_export.apply(args=(str(admin.workspace_id), str(row.id))).state == "FAILURE"
    clean("a task that failed")
    assert make_export.apply(args=(str(admin.workspace_id), str(row.id))).state == "SUCCESS"
    clean("a task")


# --- Every table -----------------------------------------------------------------------------------------------------
@pytest.fixture
def rows(admin: Membership, stranger: Membership) -> dict[type[TenantModel], Any]:
    fill(admin, "ours")
    return fill(stranger, "theirs")


def test_every_tenant_table_turns_a_stranger_away(
    admin: Membership, stranger: Membership, rows: dict[type[TenantModel], Any]
) -> None:
    """By SQL, as an injected query would ask: no row of theirs is seen, changed, deleted, taken over or planted."""
    assert rows.keys() == set(tenant_models())
    for model, id in rows.items():
        table = model._meta.db_table

        def run(sql: str, *values: object) -> int:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return int(cursor.rowcount)

        def refused(sql: str, *values: object) -> bool:
            try:
                with transaction.atomic():
                    return run(sql, *values) == 0
            except (ProgrammingError, IntegrityError):
                return True

        with tenant_scope(admin.workspace_id):
            assert run(f"SELECT 1 FROM {table} WHERE id = %s", id) == 0, table
            assert run(f"SELECT 1 FROM {table} WHERE workspace_id = %s", stranger.workspace_id) == 0, table
            assert run(f"UPDATE {table} SET id = id WHERE id = %s", id) == 0, table
            assert run(f"DELETE FROM {table} WHERE id = %s", id) == 0, table
            assert refused(f"UPDATE {table} SET workspace_id = %s", stranger.workspace_id), table
            columns = [field.column for field in model._meta.local_concrete_fields]
            values = ", ".join("%s" if one == "workspace_id" else one for one in columns)
            assert refused(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}",
                stranger.workspace_id,
            ), table
        assert run(f"SELECT 1 FROM {table}") == 0, f"{table}: outside of any scope"
        with tenant_scope(stranger.workspace_id):
            assert run(f"SELECT 1 FROM {table} WHERE id = %s", id) == 1, table


def test_every_reference_refuses_a_row_of_another_workspace(
    admin: Membership, rows: dict[type[TenantModel], Any]
) -> None:
    """Each column that refers to a tenant table, pointed at the other's row: the composite key refuses it."""
    tried = 0
    for model in tenant_models():
        for field in model._meta.local_fields:
            target = field.related_model
            if not (isinstance(target, type) and issubclass(target, TenantModel)):
                continue

            def point(model: Any = model, field: Any = field, target: Any = target) -> int:
                with transaction.atomic(), tenant_scope(admin.workspace_id), connection.cursor() as cursor:
                    cursor.execute(
                        f"UPDATE {model._meta.db_table} SET {field.column} = %s WHERE workspace_id = %s",
                        [rows[target], admin.workspace_id],
                    )
                    count = cursor.rowcount
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    return int(count)

            with pytest.raises(IntegrityError):
                point()
            tried += 1
    assert tried > 40
