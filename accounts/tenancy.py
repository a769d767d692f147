"""The tenant scope: every row is reached through its workspace, and PostgreSQL sees to it.

Vocabulary
- A *tenant table* has a `workspace` column, a row-level security policy that compares it with the setting
  `timebridge.workspace`, and composite foreign keys (workspace, id) to other tenant tables. Security is forced on the
  owner too, and the application's role is neither superuser nor exempt: outside a scope a query returns nothing and
  an insert is refused.
- A *scope* (`tenant_scope`) is a transaction in which that setting names one workspace. It ends with the
  transaction, so a connection given back to the pool carries none.
- A *span* is one of the few narrow reads across workspaces, each named here and granted, for SELECT only, by a policy
  of its own on the tables that need it: signing in, looking an API key or a client's link up, finding work to sweep.

How a model becomes a tenant table: inherit `TenantModel`, use `TenantForeignKey` for references to other tenant
tables, and put `ProtectTenant("ModelName")` into the migration that creates it. A test walks the model registry and
fails where any of this is missing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import generators
from psycopg.errors import error_from_result
from psycopg.pq import Escaping, ExecStatus

from accounts.ids import uuid7

# Span name -> the setting that opens it. The value is what the policy compares with. The first two are opened by the
# database's own functions, which look up what comes before every answer (accounts/functions.py).
SPAN_USER = "timebridge.user"  # a signed-in person's own memberships, and the workspaces of those
SPAN_API_KEY = "timebridge.api_key"  # the one API key with this prefix
SPAN_CLIENT_LINK = "timebridge.client_link"  # the one client link whose token has this SHA-256
SPAN_SWEEP = "timebridge.sweep"  # what is due, over all workspaces: connections and runs, read only


class ScopeError(RuntimeError):
    """A scope of one workspace was opened inside the scope of another."""


def _setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true)", [name])
        row = cursor.fetchone()
    return (row[0] if row else None) or ""


def _set_local(name: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def _begin_with(name: str, value: str) -> None:
    """Begin the transaction that `atomic` has announced, and set `name` in it: one message, as each answer begins so.

    psycopg would send BEGIN by itself, a round trip before the first statement. It goes by what the server says of the
    transaction, and sends no second one. (Django's log of queries has the BEGIN, from `atomic`.)
    """
    driver: Any = connection.connection
    escaped = map(Escaping(driver.pgconn).escape_literal, (name.encode(), value.encode()))
    text = b"BEGIN; SELECT set_config(%b, %b, true)" % tuple(map(bytes, escaped))
    with connection.wrap_database_errors:
        for result in driver.wait(_told(driver.pgconn, text)):
            if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                raise error_from_result(result)


def _told(server: Any, text: bytes) -> Generator[Any, Any, Any]:
    """Send statements to the server, as psycopg's own waiting does it; their results."""
    server.send_query(text)
    return (yield from generators.execute(server))


@contextmanager
def _local_setting(name: str, value: str) -> Iterator[None]:
    """A transaction (or savepoint) in which the setting `name` holds `value`; it held nothing, or the same, before.

    A setting local to a transaction is gone with it. It outlives a released savepoint, though: inside an outer
    transaction it is looked at before, and put back after.
    """
    if connection.get_autocommit():
        with transaction.atomic():
            _begin_with(name, value)
            yield
        return
    with transaction.atomic():
        before = _setting(name)
        if before not in ("", value):
            raise ScopeError(f"{name} is already set to another value in this transaction.")
        if before != value:
            _set_local(name, value)
        yield
        if before != value and not connection.needs_rollback:
            _set_local(name, before)


@contextmanager
def tenant_scope(workspace_id: UUID) -> Iterator[None]:
    """Run the block in one transaction that sees and writes the rows of one workspace only."""
    with _local_setting("timebridge.workspace", str(workspace_id)):
        yield


@contextmanager
def span(name: str, value: str) -> Iterator[None]:
    """Run the block in one transaction with a named exception to the scope (see the `SPAN_` constants)."""
    if name not in (SPAN_USER, SPAN_API_KEY, SPAN_CLIENT_LINK, SPAN_SWEEP):
        raise ValueError(f"Unknown span: {name}")
    with _local_setting(name, value):
        yield


def current_workspace_id() -> UUID | None:
    """The workspace whose scope is open on this connection, if any."""
    value = _setting("timebridge.workspace")
    return UUID(value) if value else None


class TenantForeignKey(models.ForeignKey):
    """A reference to a row of the same workspace.

    The database holds it by a composite foreign key on (workspace, id), made by `ProtectTenant`, instead of Django's
    plain one: foreign keys look past row-level security, so a plain one would accept another workspace's id.
    """

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)


class TenantOneToOneField(models.OneToOneField):
    """`TenantForeignKey`, at most one a target."""

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)


class TenantModel(models.Model):
    """A row of one workspace. Its id is a UUIDv7, given before the row is written.

    Every table has an index on (workspace, id). One on the workspace alone would not only be one too many: of a table
    without statistics the planner takes it for the check of a reference, which then walks all rows of the workspace.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", editable=False, db_index=False
    )

    class Meta:
        abstract = True


class TenantChild(TenantModel):
    """A tenant row that always refers to another one, which holds its workspace: the composite reference implies it.

    Hot tables are made of it: each constraint and index costs every row of an import. Its queries find rows by indexes
    that begin with the workspace.
    """

    workspace = models.ForeignKey(
        "accounts.Workspace",
        on_delete=models.CASCADE,
        related_name="+",
        editable=False,
        db_constraint=False,
        db_index=False,
    )

    class Meta:
        abstract = True


class ProtectTenant(Operation):
    """Make a model's table a tenant table: row-level security, policy, (workspace, id) unique, composite references.

    spans: further SELECT policies, name -> SQL condition. Running it again after a field was added is fine: it
    replaces the policies and adds what is missing.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, spans: dict[str, str] | None = None) -> None:
        self.model_name = model_name
        self.spans = spans or {}

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        kwargs = {"spans": self.spans} if self.spans else {}
        return (self.__class__.__qualname__, [self.model_name], kwargs)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models' state is unchanged: this is about the database alone."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        table = model._meta.db_table
        quote = schema_editor.quote_name
        schema_editor.execute(f"ALTER TABLE {quote(table)} ENABLE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {quote(table)} FORCE ROW LEVEL SECURITY")
        column = "id" if table == "accounts_workspace" else "workspace_id"
        scope = f"{column} = nullif(current_setting('timebridge.workspace', true), '')::uuid"
        schema_editor.execute(f"DROP POLICY IF EXISTS tenant ON {quote(table)}")
        schema_editor.execute(f"CREATE POLICY tenant ON {quote(table)} USING ({scope}) WITH CHECK ({scope})")
        for name, condition in self.spans.items():
            schema_editor.execute(f"DROP POLICY IF EXISTS {quote(name)} ON {quote(table)}")
            schema_editor.execute(
                f"CREATE POLICY {quote(name)} ON {quote(table)} FOR SELECT USING ({condition})"
            )
        if column == "id":
            return
        self._add_constraint(schema_editor, table, f"{table}_tenant_key", "UNIQUE (workspace_id, id)")
        for field in model._meta.local_fields:
            if isinstance(field, (TenantForeignKey, TenantOneToOneField)):
                target = field.related_model._meta.db_table
                self._add_constraint(
                    schema_editor,
                    table,
                    f"{table}_{field.column}_tenant_fk",
                    f"FOREIGN KEY (workspace_id, {quote(field.column)}) "
                    f"REFERENCES {quote(target)} (workspace_id, id) DEFERRABLE INITIALLY DEFERRED",
                )

    @staticmethod
    def _add_constraint(editor: BaseDatabaseSchemaEditor, table: str, name: str, definition: str) -> None:
        name = name[:63]  # PostgreSQL's limit
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [name])
            if cursor.fetchone() is None:
                quote = editor.quote_name
                editor.execute(f"ALTER TABLE {quote(table)} ADD CONSTRAINT {quote(name)} {definition}")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        quote = schema_editor.quote_name
        for name in ("tenant", *self.spans):
            schema_editor.execute(f"DROP POLICY IF EXISTS {quote(name)} ON {quote(table)}")
        schema_editor.execute(f"ALTER TABLE {quote(table)} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {quote(table)} DISABLE ROW LEVEL SECURITY")

    def describe(self) -> str:
        return f"Protect the tenant table of {self.model_name}"
