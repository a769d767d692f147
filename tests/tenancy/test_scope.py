"""What is visible and writable in a scope, outside of one, and in a span; and that a connection keeps none."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.db.utils import ProgrammingError
from django.test.utils import CaptureQueriesContext

from accounts.ids import uuid7
from accounts.models import ApiKey, Membership, Workspace
from accounts.tenancy import (
    SPAN_API_KEY,
    SPAN_CLIENT_LINK,
    SPAN_SWEEP,
    SPAN_USER,
    ScopeError,
    TenantModel,
    _local_setting,
    current_workspace_id,
    span,
    tenant_scope,
)
from clients.models import Client, Project
from integrations.models import Connection, RunKind, SyncRun
from settlement.links import make_link
from settlement.models import ClientLink
from tests.factories import make_client, make_key, make_member, make_project, make_time_log, make_workspace
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db

TENANT_MODELS: list[Any] = [model for model in apps.get_models() if issubclass(model, TenantModel)]


def counts() -> dict[str, int]:
    """Rows of each tenant table that can be seen now, and of the workspaces."""
    found = {model._meta.label: model.objects.count() for model in TENANT_MODELS}
    found["accounts.Workspace"] = Workspace.objects.count()
    return {label: count for label, count in found.items() if count}


@pytest.fixture
def filled(admin: Membership, stranger: Membership) -> None:
    """Rows in both workspaces; the stranger's has a connection with a run that is due."""
    for person in (admin, stranger):
        client = make_client(person.workspace)
        make_project(client)
        make_time_log(person, client)
        make_key(person)
    with tenant_scope(stranger.workspace_id):
        kept = Connection.objects.create(workspace=stranger.workspace)
        SyncRun.objects.create(
            workspace=stranger.workspace, connection=kept, kind=RunKind.IMPORT, account_id="1"
        )


@pytest.mark.usefixtures("filled")
def test_outside_a_scope_nothing_is_visible() -> None:
    assert current_workspace_id() is None
    assert counts() == {}


@pytest.mark.usefixtures("filled")
def test_scope_sees_its_own_rows_only(admin: Membership, stranger: Membership) -> None:
    for person in (admin, stranger):
        with tenant_scope(person.workspace_id):
            assert current_workspace_id() == person.workspace_id
            assert Workspace.objects.get() == person.workspace
            for model in TENANT_MODELS:
                assert set(model.objects.values_list("workspace_id", flat=True)) <= {person.workspace_id}
            assert TimeLog.objects.get().workspace_id == person.workspace_id
    assert counts() == {}


def insert(workspace_id: UUID, name: str = "Acme") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO clients_client (id, workspace_id, name, archived, created_at)"
            " VALUES (%s, %s, %s, false, now())",
            [uuid7(), workspace_id, name],
        )


def test_insert_is_refused_outside_a_scope_and_for_another_workspace(
    admin: Membership, stranger: Membership
) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        insert(admin.workspace_id)
    with pytest.raises(ProgrammingError, match="row-level security"), tenant_scope(admin.workspace_id):
        insert(stranger.workspace_id)
    with tenant_scope(admin.workspace_id):
        insert(admin.workspace_id)
        assert Client.objects.get().name == "Acme"


def test_update_and_delete_reach_no_other_workspace(admin: Membership, stranger: Membership) -> None:
    theirs = make_client(stranger.workspace, "Theirs")
    with tenant_scope(admin.workspace_id):
        assert Client.objects.filter(pk=theirs.pk).update(name="Taken") == 0
        assert Client.objects.filter(pk=theirs.pk).delete()[0] == 0
    with tenant_scope(stranger.workspace_id):
        assert Client.objects.get().name == "Theirs"


def test_row_cannot_be_moved_to_another_workspace(admin: Membership, stranger: Membership) -> None:
    client = make_client(admin.workspace)
    with pytest.raises(ProgrammingError, match="row-level security"), tenant_scope(admin.workspace_id):
        Client.objects.filter(pk=client.pk).update(workspace_id=stranger.workspace_id)


def test_another_workspaces_id_is_refused_by_the_composite_key(
    admin: Membership, stranger: Membership
) -> None:
    """Foreign keys look past row-level security: a plain one would accept it."""
    theirs = make_client(stranger.workspace)

    def refer() -> None:
        with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO clients_project (id, workspace_id, client_id, name, code, archived, created_at)"
                " VALUES (%s, %s, %s, 'Site', '', false, now())",
                [uuid7(), admin.workspace_id, theirs.id],
            )
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match="clients_project_client_id_tenant_fk"), transaction.atomic():
        refer()


def test_reference_to_a_row_of_ones_own_is_accepted(admin: Membership) -> None:
    project = make_project(make_client(admin.workspace))
    with tenant_scope(admin.workspace_id), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert Project.objects.get() == project


def test_scopes_of_two_workspaces_do_not_nest(admin: Membership, stranger: Membership) -> None:
    with tenant_scope(admin.workspace_id):
        with tenant_scope(admin.workspace_id):
            assert Membership.objects.count() == 1
        with pytest.raises(ScopeError), tenant_scope(stranger.workspace_id):
            pass
        assert current_workspace_id() == admin.workspace_id


def test_scope_that_fails_leaves_nothing(admin: Membership) -> None:
    def fail() -> None:
        with tenant_scope(admin.workspace_id):
            make_client(admin.workspace)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert current_workspace_id() is None
    with tenant_scope(admin.workspace_id):
        assert not Client.objects.exists()


# --- Spans -----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("filled")
def test_user_span_sees_a_persons_memberships_and_their_workspaces(
    admin: Membership, stranger: Membership
) -> None:
    make_member(stranger.workspace, email=admin.user.email)
    with span(SPAN_USER, str(admin.user_id)):
        assert set(Membership.objects.values_list("user_id", flat=True)) == {admin.user_id}
        assert set(Workspace.objects.all()) == {admin.workspace, stranger.workspace}
        assert counts() == {"accounts.Membership": 2, "accounts.Workspace": 2}
    with span(SPAN_USER, str(stranger.user_id)):
        assert counts() == {"accounts.Membership": 1, "accounts.Workspace": 1}
    assert counts() == {}


@pytest.mark.usefixtures("filled")
def test_api_key_span_sees_the_one_key(admin: Membership) -> None:
    key = make_key(admin)
    with span(SPAN_API_KEY, key.split("_")[1]):
        assert counts() == {"accounts.ApiKey": 1}
        assert ApiKey.objects.get().user_id == admin.user_id
    with span(SPAN_API_KEY, "no-such-prefix"):
        assert counts() == {}


@pytest.mark.usefixtures("filled")
def test_client_link_span_sees_the_one_link(admin: Membership, stranger: Membership) -> None:
    for person in (admin, stranger):
        with tenant_scope(person.workspace_id):
            link, _ = make_link(by=person, client=Client.objects.get())
    with span(SPAN_CLIENT_LINK, link.token_hash):
        assert counts() == {"settlement.ClientLink": 1}
        assert ClientLink.objects.get() == link
        assert ClientLink.objects.update(show_notes=True) == 0
    with span(SPAN_CLIENT_LINK, "0" * 64):
        assert counts() == {}


@pytest.mark.usefixtures("filled")
def test_sweep_span_sees_connections_runs_and_whose_they_are(stranger: Membership) -> None:
    with span(SPAN_SWEEP, "on"):
        seen = counts()
    assert seen == {
        "accounts.Workspace": 2,
        "integrations.Connection": 1,
        "integrations.SyncRun": 1,
        "timelogs.MonthChange": 2,
    }


@pytest.mark.usefixtures("filled")
def test_spans_write_nothing(admin: Membership) -> None:
    with span(SPAN_USER, str(admin.user_id)):
        assert Membership.objects.update(role="member") == 0
        assert Workspace.objects.update(name="Taken") == 0
        assert Membership.objects.filter(user_id=admin.user_id).delete()[0] == 0
    with span(SPAN_SWEEP, "on"):
        assert SyncRun.objects.update(error="x") == 0
        assert Workspace.objects.update(name="Taken") == 0


def test_unknown_span_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown span"), span("timebridge.workspace", "x"):
        pass


# --- Connections -----------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails", [False, True])
def test_connection_given_back_carries_no_scope(fails: bool) -> None:
    admin = make_workspace()
    try:
        with tenant_scope(admin.workspace_id):
            make_client(admin.workspace)
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert not connection.in_atomic_block
    assert counts() == {}
    with connection.cursor() as cursor:
        for setting in ("timebridge.workspace", SPAN_USER, SPAN_API_KEY, SPAN_CLIENT_LINK, SPAN_SWEEP):
            cursor.execute("SELECT coalesce(current_setting(%s, true), '')", [setting])
            assert cursor.fetchone() == ("",), setting


@pytest.mark.django_db(transaction=True)
def test_a_scope_takes_two_messages_besides_its_statements() -> None:
    with CaptureQueriesContext(connection) as found, tenant_scope(uuid7()):
        Client.objects.count()
    assert [one["sql"].split()[0] for one in found] == ["BEGIN", "SELECT", "COMMIT"]


@pytest.mark.django_db(transaction=True)
def test_a_setting_may_hold_anything() -> None:
    value = "it's a \\ \" value"
    with span(SPAN_API_KEY, value), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [SPAN_API_KEY])
        assert cursor.fetchone() == (value,)


@pytest.mark.django_db(transaction=True)
def test_a_scope_that_cannot_begin_says_so_and_leaves_nothing() -> None:
    id = uuid7()
    with (
        pytest.raises(DatabaseError, match="unrecognized configuration parameter"),
        _local_setting("no", "x"),
    ):
        pytest.fail("the block must not run")
    with tenant_scope(id):
        assert current_workspace_id() == id
    assert current_workspace_id() is None


@pytest.mark.django_db(transaction=True)
def test_a_scope_on_a_lost_connection_says_so() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    given = {
        key: value for key, value in connection.get_connection_params().items() if key != "cursor_factory"
    }
    with psycopg.connect(**{**given, "context": None}, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(OperationalError), tenant_scope(uuid7()):
        pytest.fail("the block must not run")
    connection.close()
    with tenant_scope(uuid7()):
        assert current_workspace_id() is not None
