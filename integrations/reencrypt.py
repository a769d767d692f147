"""Writing every encrypted field anew under the newest key, so that an older one can be taken out of FIELD_KEYS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.views.decorators.debug import sensitive_variables
from psycopg import sql

from accounts.models import Workspace
from accounts.rest.idempotency import answers_under_older_keys
from accounts.tenancy import SPAN_SWEEP, TenantModel, span, tenant_scope
from integrations.fields import EncryptedTextField, cipher

BATCH = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column that holds Fernet tokens."""

    table: str
    name: str


def columns() -> list[Column]:
    """Every encrypted column. Raises TypeError for one outside the tenants' tables, which nothing here would reach."""
    found = []
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField):
                if not issubclass(model, TenantModel):
                    raise TypeError(f"{field}: only tenant tables hold secrets.")
                found.append(Column(model._meta.db_table, str(field.column)))
    return found


def reencrypt_all() -> int:
    """Bring every secret of every workspace under the newest key; returns how many were written anew.

    A batch a transaction, its rows locked: whoever writes one at the same moment waits, and nothing is overwritten with
    what it was. What is under the newest key already is left alone, so it may be repeated, and stopped at any time.
    Raises InvalidToken where no key opens a value.
    """
    return sum(_reencrypt(workspace_id, column) for workspace_id in _workspaces() for column in columns())


@sensitive_variables()
def count_under_older_keys() -> int:
    """How many secrets of all workspaces are not under the newest key, and so need an older one."""
    found = 0
    for workspace_id in _workspaces():
        with tenant_scope(workspace_id), connection.cursor() as cursor:
            for column in columns():
                kept = sql.SQL("SELECT {name} FROM {table} WHERE workspace_id = %s AND {name} <> ''").format(
                    table=sql.Identifier(column.table), name=sql.Identifier(column.name)
                )
                cursor.execute(kept, [workspace_id])
                found += sum(not _is_newest(token) for (token,) in cursor.fetchall())
            found += answers_under_older_keys()
    return found


def _workspaces() -> Iterator[UUID]:
    last: UUID | None = None
    while True:
        with span(SPAN_SWEEP, "secrets"):
            rows = Workspace.objects.order_by("id")
            page = list((rows.filter(id__gt=last) if last else rows).values_list("id", flat=True)[:1000])
        yield from page
        if len(page) < 1000:
            return
        last = page[-1]


@sensitive_variables()
def _reencrypt(workspace_id: UUID, column: Column) -> int:
    table, name = sql.Identifier(column.table), sql.Identifier(column.name)
    batch = sql.SQL(
        "SELECT id, {name} FROM {table} WHERE workspace_id = %s AND id > %s AND {name} <> '' ORDER BY id LIMIT %s"
        " FOR UPDATE"
    ).format(table=table, name=name)
    update = sql.SQL("UPDATE {table} SET {name} = %s WHERE workspace_id = %s AND id = %s").format(
        table=table, name=name
    )
    written, last = 0, UUID(int=0)
    while True:
        with tenant_scope(workspace_id), connection.cursor() as cursor:
            cursor.execute(batch, [workspace_id, last, BATCH])
            rows = cursor.fetchall()
            for pk, token in rows:
                if not _is_newest(token):
                    cursor.execute(update, [_anew(token), workspace_id, pk])
                    written += 1
        if len(rows) < BATCH:
            return written
        last = rows[-1][0]


def _is_newest(token: str) -> bool:
    try:
        Fernet(settings.FIELD_KEYS[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def _anew(token: str) -> str:
    """The same secret under the newest key, with the time it was first encrypted."""
    return cipher().rotate(token.encode()).decode()
