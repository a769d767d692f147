"""Data to take away: a ZIP of CSV and JSON, one pair a table, with a manifest that says what is in it.

    manifest.json             format_version, kind, workspace, made_at; of each table its rows, of each file its SHA-256
    csv/clients_client.csv    for people; no cell is ever taken for a formula
    json/clients_client.json  for programs: an array of objects, each value as the API writes it
    csv/people.csv, json/…    the people whom the rows name: id, name, e-mail address

An export of a workspace holds every tenant table, save for what is in `LEFT_OUT`; one of a person those rows that name
them. No token, key or hash leaves the house (`accounts.registry.columns_of`).

How it is made: a worker reads each table by a server-side cursor, all in one snapshot of the database, and writes the
ZIP as it goes in pieces to `DataExportChunk`, whence any web server can give it; no more than a piece is in memory.
It is one transaction, under a lock: a worker that dies leaves nothing, and the sweep has another one start again. The
file is kept for `KEPT`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record_audit
from accounts.errors import Forbidden, ServiceError
from accounts.models import (
    DataExport,
    DataExportChunk,
    ExportKind,
    ExportState,
    Membership,
    User,
    Workspace,
)
from accounts.notices import Remedy, tell
from accounts.registry import columns_of, people_columns, tenant_models
from accounts.tabular import csv_line
from accounts.tenancy import SPAN_SWEEP, TenantModel, span, tenant_scope

logger = logging.getLogger("accounts.export")

FORMAT_VERSION = 1
KEPT = timedelta(days=7)
CHUNK = 1 << 20  # bytes
ROWS = 2000  # fetched at once
MOST_ATTEMPTS = 3
LOST_AFTER = timedelta(seconds=15)

# Tables whose rows are the product's own workings, each with its reason.
LEFT_OUT = {
    "accounts_idempotencyrecord": "answers given a moment ago, kept for a day",
    "accounts_dataexport": "exports themselves",
    "accounts_dataexportchunk": "exports themselves",
    "harvest_consent": "a consent that is under way, secret throughout",
}


class ExportInProgress(ServiceError):
    slug = "export-in-progress"


# --- Asking for one --------------------------------------------------------------------------------------------------
def exports_of(viewer: Membership) -> QuerySet[DataExport]:
    """What a viewer may fetch: one's own data; admins also the workspace's."""
    mine = Q(kind=ExportKind.PERSON, requested_by_id=viewer.user_id)
    if viewer.is_admin:
        mine |= Q(kind=ExportKind.WORKSPACE)
    return DataExport.objects.filter(mine, workspace_id=viewer.workspace_id).select_related("requested_by")


def request_export(*, by: Membership, kind: str) -> DataExport:
    """Queue an export, inside the scope; a worker makes it. Raises Forbidden, ExportInProgress."""
    from accounts.tasks import make_export

    if kind == ExportKind.WORKSPACE and not by.is_admin:
        raise Forbidden("Only admins may export the whole workspace. Everybody may export their own data.")
    # Locked, so that pressing twice makes one.
    Membership.objects.select_for_update().get(pk=by.pk)
    if exports_of(by).filter(kind=kind, state=ExportState.QUEUED).exists():
        raise ExportInProgress("This export is being made already. You are told when it is ready.")
    row = DataExport.objects.create(workspace_id=by.workspace_id, kind=kind, requested_by=by.user)
    record_audit(
        workspace=by.workspace_id, actor=by.user, action="export.requested", target=row.get_kind_display()
    )
    workspace_id, export_id = str(row.workspace_id), str(row.id)
    # A broker that is away is no reason to fail: the sweep finds it.
    transaction.on_commit(lambda: make_export.delay(workspace_id, export_id), robust=True)
    return row


def file_of(export: DataExport) -> Iterator[bytes]:
    """The pieces of a finished file, each read in a short scope of its own as it is sent."""
    number = 0
    while True:
        with tenant_scope(export.workspace_id):
            chunk = DataExportChunk.objects.filter(
                workspace_id=export.workspace_id, export=export, number=number
            ).first()
        if chunk is None:
            return
        yield bytes(chunk.content)
        number += 1


def file_name(export: DataExport, workspace: Workspace) -> str:
    return f"{workspace.slug}-{export.kind}-{export.created_at:%Y-%m-%d}.zip"


# --- Making one ------------------------------------------------------------------------------------------------------
def make(*, workspace_id: UUID, export_id: UUID) -> None:
    """Make a queued export. Delivered twice, or while another worker is at it, it does nothing."""
    with _alone(export_id) as alone:
        if not alone:
            return
        with tenant_scope(workspace_id):
            queued = DataExport.objects.filter(pk=export_id, state=ExportState.QUEUED)
            if not queued.update(attempts=F("attempts") + 1):
                return
            worn_out = queued.filter(attempts__gt=MOST_ATTEMPTS).exists()
            if worn_out:
                until = timezone.now() + KEPT
                queued.update(state=ExportState.FAILED, finished_at=timezone.now(), expires_at=until)
                logger.error("export %s: given up after %d attempts", export_id, MOST_ATTEMPTS)
        if not worn_out:
            with _snapshot(), tenant_scope(workspace_id):
                _write(DataExport.objects.select_related("workspace", "requested_by").get(pk=export_id))


@contextmanager
def _alone(export_id: UUID) -> Iterator[bool]:
    """Whether this worker alone is at it: a lock of the connection, which ends with it at the latest."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"export/{export_id}"])
        row = cursor.fetchone()
    alone = bool(row and row[0])
    try:
        yield alone
    finally:
        if alone and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"export/{export_id}"])


@contextmanager
def _snapshot() -> Iterator[None]:
    """A transaction in which every table is seen as of one moment (where it is the outermost one)."""
    outermost = connection.get_autocommit()
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _write(export: DataExport) -> None:
    """Write the file and say that it is there."""
    pieces = Pieces(export)
    person = export.requested_by if export.kind == ExportKind.PERSON else None
    rows = write_zip(pieces, workspace=export.workspace, person=person)
    pieces.finish()
    now = timezone.now()
    export.state, export.rows, export.size = ExportState.READY, rows, pieces.size
    export.sha256, export.finished_at, export.expires_at = pieces.sha256.hexdigest(), now, now + KEPT
    export.save(update_fields=["state", "rows", "size", "sha256", "finished_at", "expires_at"])
    what = "Your data" if person else f"The export of {export.workspace}"
    tell(
        workspace=export.workspace,
        people=[export.requested_by],
        incident=f"export:{export.id}",
        title=f"{what} is ready",
        text=f"{what} can be fetched until {export.expires_at:%Y-%m-%d}. Then it is removed from here.",
        remedy=Remedy("Fetch it", reverse("data")),
    )


class Pieces(io.RawIOBase):
    """A file that is only written, forwards, and lands in the database a piece at a time."""

    def __init__(self, export: DataExport) -> None:
        super().__init__()
        self.export = export
        self.sha256 = hashlib.sha256()
        self.size = 0
        self._buffer = bytearray()
        self._number = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._buffer += content
        while len(self._buffer) >= CHUNK:
            self._keep(bytes(self._buffer[:CHUNK]))
            del self._buffer[:CHUNK]
        return len(content)

    def finish(self) -> None:
        if self._buffer:
            self._keep(bytes(self._buffer))
            self._buffer.clear()

    def _keep(self, content: bytes) -> None:
        DataExportChunk.objects.create(
            workspace_id=self.export.workspace_id, export=self.export, number=self._number, content=content
        )
        self._number += 1
        self.size += len(content)
        self.sha256.update(content)


# --- What is in it ---------------------------------------------------------------------------------------------------
Row = list[Any]


def write_zip(target: Any, *, workspace: Workspace, person: User | None = None) -> int:
    """Write the whole ZIP to a binary file, inside the workspace's scope; what names one person, where one is given.

    Returns how many rows are in it. (The CSV and the JSON of a table are read one after the other: a ZIP takes one file
    at a time, and both see the same snapshot.)
    """
    people: set[UUID] = {person.id} if person else set()
    tables: dict[str, Any] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        names = ("id", "name", "slug", "plan", "timezone", "currency", "created_at")
        own = [[getattr(workspace, name) for name in names]]
        tables["accounts_workspace"] = _table(archive, "accounts_workspace", names, lambda: iter(own))
        for model in reversed(tenant_models()):
            table = model._meta.db_table
            if table in LEFT_OUT:
                continue
            rows = _rows_of(model, workspace, person)
            if rows is None:
                continue
            columns = [field.attname for field in columns_of(model)]
            persons = [columns.index(field.attname) for field in people_columns(model)]
            tables[table] = _table(archive, table, columns, _reader(rows, columns, persons, people))
        found = User.objects.filter(id__in=people).order_by("id").values_list("id", "name", "email")
        listed = [list(row) for row in found]
        tables["people"] = _table(archive, "people", ("id", "name", "email"), lambda: iter(listed))
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": ExportKind.PERSON if person else ExportKind.WORKSPACE,
            "workspace": {"id": str(workspace.id), "slug": workspace.slug, "name": workspace.name},
            "person": str(person.id) if person else None,
            "made_at": _plain(timezone.now()),
            "tables": tables,
            "left_out": LEFT_OUT,
        }
        archive.writestr("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False))
    return sum(int(one["rows"]) for one in tables.values())


def _rows_of(
    model: type[TenantModel], workspace: Workspace, person: User | None
) -> QuerySet[TenantModel] | None:
    rows = model._base_manager.filter(workspace_id=workspace.id).order_by("id")
    if person is None:
        return rows
    naming = [Q(**{field.name: person}) for field in people_columns(model)]
    if not naming:
        return None
    mine = naming[0]
    for one in naming[1:]:
        mine |= one
    return rows.filter(mine)


def _reader(
    rows: QuerySet[TenantModel], columns: list[str], persons: list[int], people: set[UUID]
) -> Callable[[], Iterator[Row]]:
    """Reads the rows, by a cursor on the server, noting the people whom they name."""

    def read() -> Iterator[Row]:
        for row in rows.values_list(*columns).iterator(chunk_size=ROWS):
            people.update(row[place] for place in persons if row[place])
            yield list(row)

    return read


def _table(
    archive: zipfile.ZipFile, name: str, columns: Sequence[str], read: Callable[[], Iterator[Row]]
) -> dict[str, Any]:
    """Write a table twice. Returns its part of the manifest."""
    count = 0

    def as_csv() -> Iterator[str]:
        nonlocal count
        yield csv_line(columns)
        for row in read():
            count += 1
            yield csv_line([json.dumps(one) if isinstance(one, (dict, list)) else one for one in row])

    def as_json() -> Iterator[str]:
        before = "[\n"
        for row in read():
            values = dict(zip(columns, map(_plain, row), strict=True))
            yield before + json.dumps(values, ensure_ascii=False)
            before = ",\n"
        yield "[]\n" if before == "[\n" else "\n]\n"

    files = [_file(archive, f"csv/{name}.csv", as_csv()), _file(archive, f"json/{name}.json", as_json())]
    return {"rows": count, "columns": list(columns), "files": files}


def _file(archive: zipfile.ZipFile, path: str, texts: Iterator[str]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with archive.open(path, "w", force_zip64=True) as target:
        for text in texts:
            content = text.encode("utf-8", "replace")
            digest.update(content)
            size += len(content)
            target.write(content)
    return {"path": path, "bytes": size, "sha256": digest.hexdigest()}


def _plain(value: Any) -> Any:
    """A value as the API writes it: ids and decimals as text, moments in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (UUID, Decimal)) else value


# --- The sweep -------------------------------------------------------------------------------------------------------
def sweep_exports(*, now: datetime | None = None) -> list[tuple[UUID, UUID]]:
    """Remove the files whose days are over. Returns (workspace id, export id) of those that wait for a worker."""
    now = now or timezone.now()
    with span(SPAN_SWEEP, "exports"):
        over = list(DataExport.objects.filter(expires_at__lt=now).values_list("workspace_id", "id"))
        waiting = DataExport.objects.filter(state=ExportState.QUEUED, created_at__lt=now - LOST_AFTER)
        due = list(waiting.values_list("workspace_id", "id"))
    for workspace_id, export_id in over:
        with tenant_scope(workspace_id):
            DataExportChunk.objects.filter(workspace_id=workspace_id, export_id=export_id)._raw_delete(
                "default"
            )
            DataExport.objects.filter(pk=export_id).delete()
    return due
