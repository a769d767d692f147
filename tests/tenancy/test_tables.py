"""Walks the model registry: every table is a tenant's, and held so by the database, or on the list of global ones."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection, models

from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel, TenantOneToOneField

pytestmark = pytest.mark.django_db

# Tables that belong to no workspace: people and how they sign in, Django's and allauth's own.
GLOBAL = {
    "accounts_user",
    "accounts_user_groups",
    "accounts_user_user_permissions",
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
    "django_session",
    "django_migrations",
    "account_emailaddress",
    "account_emailconfirmation",
    "mfa_authenticator",  # a person's second factors serve in every workspace they are in
    "usersessions_usersession",  # as does a session
}
# The workspace's own table is protected by its id instead of a workspace_id.
WORKSPACE = "accounts_workspace"

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
TENANT_TABLES = {model._meta.db_table for model in TENANT_MODELS}


def rows(query: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def test_every_table_is_a_tenants_or_on_the_list() -> None:
    tables = {
        str(name) for (name,) in rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    }
    assert tables == TENANT_TABLES | {WORKSPACE} | GLOBAL


@pytest.mark.parametrize("table", sorted(TENANT_TABLES | {WORKSPACE}))
def test_row_level_security_is_on_and_forced_with_its_policy(table: str) -> None:
    assert rows("SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = %s", table) == [
        (True, True)
    ]
    column = "id" if table == WORKSPACE else "workspace_id"
    condition = f"({column} = (NULLIF(current_setting('timebridge.workspace'::text, true), ''::text))::uuid)"
    assert rows(
        "SELECT permissive, cmd, qual, with_check FROM pg_policies WHERE tablename = %s AND policyname = 'tenant'",
        table,
    ) == [("PERMISSIVE", "ALL", condition, condition)]


def test_further_policies_only_read() -> None:
    """Spans across workspaces: each one named in accounts.tenancy, for SELECT only."""
    found = rows(
        "SELECT tablename, policyname, cmd, qual FROM pg_policies WHERE policyname <> 'tenant' ORDER BY 1, 2"
    )
    assert {cmd for _, _, cmd, _ in found} == {"SELECT"}
    for table, name, _, condition in found:
        settings = ("timebridge.user", "timebridge.api_key", "timebridge.client_link", "timebridge.sweep")
        assert any(setting in str(condition) for setting in settings), f"{table}: {name}"


def constraints(model: type[models.Model], kind: str) -> set[str]:
    return {
        str(definition)
        for (definition,) in rows(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = %s",
            model._meta.db_table,
            kind,
        )
    }


def references(model: type[models.Model]) -> list[models.ForeignKey]:  # type: ignore[type-arg]
    return [
        field
        for field in model._meta.local_fields
        if isinstance(field, models.ForeignKey) and field.related_model._meta.db_table in TENANT_TABLES
    ]


REFERRED_TO = {field.related_model for model in TENANT_MODELS for field in references(model)}


@pytest.mark.parametrize(
    "model", sorted(REFERRED_TO, key=lambda model: model._meta.label), ids=lambda model: model._meta.label
)
def test_id_is_unique_with_its_workspace_where_others_refer_to_it(model: type[TenantModel]) -> None:
    assert "UNIQUE (workspace_id, id)" in constraints(model, "u")


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.label)
def test_workspace_is_one_that_exists(model: type[TenantModel]) -> None:
    """By a foreign key; a child's is implied by the composite one to its parent."""
    if issubclass(model, TenantChild):
        assert references(model)
    else:
        keys = constraints(model, "f")
        assert any(key.startswith(f"FOREIGN KEY (workspace_id) REFERENCES {WORKSPACE}(id)") for key in keys)


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.label)
def test_each_reference_to_a_tenant_table_is_composite(model: type[TenantModel]) -> None:
    definitions = constraints(model, "f")
    for field in references(model):
        assert isinstance(field, (TenantForeignKey, TenantOneToOneField)), f"{field}: use TenantForeignKey"
        target = field.related_model._meta.db_table
        expected = f"FOREIGN KEY (workspace_id, {field.column}) REFERENCES {target}(workspace_id, id)"
        assert any(one.startswith(expected) for one in definitions), f"{field}: {definitions}"
    plain = [one for one in definitions if "(workspace_id" not in one]
    targets = {one.partition("REFERENCES ")[2].partition("(")[0] for one in plain}
    assert targets <= {"accounts_user", WORKSPACE}


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.label)
def test_no_rows_are_related_many_to_many(model: type[TenantModel]) -> None:
    """A through table made by Django would be no tenant table."""
    assert model._meta.local_many_to_many == []


def test_applications_role_cannot_pass_by_the_policies() -> None:
    assert rows(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = current_user"
    ) == [(False, False, False, False)]
    assert (
        rows(
            "SELECT rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER') AND (rolsuper OR rolbypassrls)"
        )
        == []
    )


def test_nothing_that_runs_as_another_role_reads_them() -> None:
    """Views read as their owner and functions may be SECURITY DEFINER: there are none of either."""
    assert rows("SELECT viewname FROM pg_views WHERE schemaname = current_schema()") == []
    assert (
        rows(
            "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
            " WHERE n.nspname = current_schema() AND prosecdef"
        )
        == []
    )
