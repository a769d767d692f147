"""Harvest's clients, projects, tasks and people as last read, for the mapping tables.

Read on connecting, when the last reading is over five minutes old, on demand, and by every run. A member's token may
list neither projects nor people: its own project assignments are the catalogue then, and its own person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from accounts.errors import UpstreamUnavailable
from accounts.ids import uuid7
from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from harvest.client import HarvestClient
from harvest.credentials import INTERACTIVE, open_client
from harvest.errors import HarvestAuthError, HarvestError, HarvestForbidden, HarvestNotFound
from harvest.models import HarvestItem, ItemKind
from harvest.payloads import TimeEntryPayload
from harvest.renewal import mark_reconnect_needed
from integrations.models import Connection

FRESH_FOR = timedelta(minutes=5)
_WEB_ADDRESS = re.compile(r"https://[a-zA-Z0-9.-]{1,180}(:\d{1,5})?/?")


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the catalogue as Harvest has it now."""

    kind: str
    harvest_id: str
    name: str
    code: str = ""
    email: str = ""
    parent_id: str = ""
    parent_name: str = ""
    active: bool = True
    hourly_rate: Decimal | None = None
    billable: bool = True


def read_catalogue(client: HarvestClient, connection: Connection) -> list[Item]:
    """Ask Harvest for all four lists; what this token may not list comes from its assignments. Raises HarvestError."""
    items: dict[tuple[str, str], Item] = {}

    def keep(item: Item) -> None:
        items.setdefault((item.kind, item.harvest_id), item)

    restricted = False
    try:
        for one in client.clients():
            keep(Item(ItemKind.CLIENT, str(one.id), one.name, active=one.is_active))
    except (HarvestForbidden, HarvestNotFound):
        restricted = True
    try:
        for project in client.projects():
            keep(
                Item(
                    ItemKind.PROJECT,
                    str(project.id),
                    project.name,
                    code=project.code,
                    parent_id=str(project.client_id),
                    parent_name=project.client_name,
                    active=project.is_active,
                    billable=project.is_billable,
                )
            )
    except (HarvestForbidden, HarvestNotFound):
        restricted = True
    try:
        for task in client.tasks():
            keep(
                Item(
                    ItemKind.TASK,
                    str(task.id),
                    task.name,
                    active=task.is_active,
                    hourly_rate=task.default_hourly_rate,
                    billable=task.billable_by_default,
                )
            )
    except (HarvestForbidden, HarvestNotFound):
        restricted = True
    try:
        for user in client.users():
            keep(Item(ItemKind.PERSON, str(user.id), user.name, email=user.email, active=user.is_active))
    except (HarvestForbidden, HarvestNotFound):
        restricted = True
    if restricted:
        for assignment in client.my_project_assignments():
            keep(Item(ItemKind.CLIENT, str(assignment.client_id), assignment.client_name))
            keep(
                Item(
                    ItemKind.PROJECT,
                    str(assignment.project_id),
                    assignment.project_name,
                    code=assignment.project_code,
                    parent_id=str(assignment.client_id),
                    parent_name=assignment.client_name,
                )
            )
            for given in assignment.task_assignments:
                if given.is_active:
                    keep(Item(ItemKind.TASK, str(given.task_id), given.task_name, billable=given.billable))
        keep(
            Item(
                ItemKind.PERSON,
                connection.remote_user_id,
                connection.remote_user_name,
                email=connection.remote_user_email,
            )
        )
    return [_fitting(item) for item in items.values()]


def _fitting(item: Item) -> Item:
    """Cut what is longer than the columns: names are for people, ids are what counts."""
    rate = item.hourly_rate
    return replace(
        item,
        name=item.name[:300] or f"({item.harvest_id})",
        code=item.code[:60],
        email=item.email[:254],
        parent_name=item.parent_name[:300],
        hourly_rate=rate if rate is not None and 0 <= rate < 10**9 else None,
    )


def store_catalogue(connection: Connection, items: Iterable[Item]) -> None:
    """Write a complete reading, inside the scope: new rows, changed ones, and what is gone as no longer active."""
    now = timezone.now()
    rows = list(items)
    with transaction.atomic():
        # Locked, so that two readings at once are written one after the other.
        Connection.objects.select_for_update().get(pk=connection.pk)
        HarvestItem.objects.bulk_create(
            [
                HarvestItem(id=uuid7(), workspace_id=connection.workspace_id, **_columns(item))
                for item in rows
            ],
            update_conflicts=True,
            unique_fields=["workspace", "kind", "harvest_id"],
            update_fields=[
                "name",
                "code",
                "email",
                "parent_id",
                "parent_name",
                "active",
                "hourly_rate",
                "billable",
            ],
            batch_size=2000,
        )
        listed = {(item.kind, item.harvest_id) for item in rows}
        gone = [
            pk
            for pk, kind, harvest_id in HarvestItem.objects.filter(
                workspace_id=connection.workspace_id, active=True
            ).values_list("pk", "kind", "harvest_id")
            if (kind, harvest_id) not in listed
        ]
        if gone:
            HarvestItem.objects.filter(workspace_id=connection.workspace_id, pk__in=gone).update(active=False)
        Connection.objects.filter(pk=connection.pk).update(catalogue_read_at=now)
        connection.catalogue_read_at = now


def _columns(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Item.__slots__}


def is_stale(connection: Connection) -> bool:
    read_at = connection.catalogue_read_at
    return read_at is None or timezone.now() - read_at > FRESH_FOR


def refresh_catalogue(
    workspace: Workspace, connection: Connection, *, client: HarvestClient | None = None
) -> None:
    """Read Harvest's lists again, outside any transaction, and write them in a scope of its own.

    Raises UpstreamUnavailable where Harvest does not answer; a refused token marks the connection first.
    """
    try:
        if client is not None:
            items = read_catalogue(client, connection)
        else:
            with open_client(connection, patience=INTERACTIVE, interactive=True) as own:
                items = read_catalogue(own, connection)
                learn_account(own, connection)
    except HarvestAuthError as error:
        with tenant_scope(workspace.id):
            mark_reconnect_needed(connection, error.message)
        raise UpstreamUnavailable(error.message) from error
    except HarvestError as error:
        raise UpstreamUnavailable(f"Harvest's lists could not be read. {error.message}") from error
    with tenant_scope(workspace.id):
        store_catalogue(connection, items)


def learn_account(client: HarvestClient, connection: Connection) -> None:
    """Ask how the account tracks time, and keep it, outside any transaction. Raises HarvestError.

    A token that may not be told changes nothing.
    """
    company = client.company()
    if company is not None:
        keep_account(connection, wants_times=company.wants_timestamp_timers, clock=company.clock)
        keep_web_address(connection, company.base_uri)


def keep_account(connection: Connection, *, wants_times: bool, clock: str) -> None:
    """Keep whether the account wants start and end times, and in which of its two styles."""
    connection.wants_times, connection.clock = wants_times, clock[:3]
    with tenant_scope(connection.workspace_id):
        Connection.objects.filter(pk=connection.pk).update(wants_times=wants_times, clock=clock[:3])


def keep_web_address(connection: Connection, address: str) -> None:
    """Keep where the account's pages are ("https://northlight.harvestapp.com"), for links to them, and nothing else."""
    address = address.rstrip("/") if _WEB_ADDRESS.fullmatch(address) else ""
    if address == connection.web_address:
        return
    connection.web_address = address
    with tenant_scope(connection.workspace_id):
        Connection.objects.filter(pk=connection.pk).update(web_address=address)


# kind -> Harvest id -> the latest spent date of an entry that carried it.
Seen: TypeAlias = dict[str, dict[int, date]]
_CARRIED = {
    ItemKind.CLIENT: attrgetter("client_id"),
    ItemKind.PROJECT: attrgetter("project_id"),
    ItemKind.TASK: attrgetter("task_id"),
    ItemKind.PERSON: attrgetter("user_id"),
}


def note_seen(connection: Connection, entries: Iterable[TimeEntryPayload], seen: Seen) -> None:
    """Remember, inside the scope, what entries carry: an archived item is offered while recent entries carry it.

    Items that no list showed (a member's token, something just made) get a row by the names on the entry. seen: what
    was noted before, brought up to date; lists come newest first, so after the first page hardly anything is written.
    """
    latest: dict[tuple[str, int], TimeEntryPayload] = {}
    carriers = list(entries)
    for kind, id_of in _CARRIED.items():
        days = seen.setdefault(kind, {})
        for entry in carriers:
            pk = id_of(entry)
            known = days.get(pk)
            if known is None or known < entry.spent_date:
                days[pk] = entry.spent_date
                latest[kind, pk] = entry
    if not latest:
        return
    # In one order: two pages of a run are written at once.
    rows = [
        (_item_on(kind, entry), entry.spent_date)
        for (kind, _), entry in sorted(latest.items(), key=itemgetter(0))
    ]
    with database.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO harvest_harvestitem (id, workspace_id, kind, harvest_id, name, code, email, parent_id,"
            " parent_name, active, billable, seen_in_entries_on)"
            " VALUES (%s, %s, %s, %s, %s, %s, '', %s, %s, false, true, %s)"
            " ON CONFLICT (workspace_id, kind, harvest_id) DO UPDATE SET seen_in_entries_on ="
            " greatest(harvest_harvestitem.seen_in_entries_on, excluded.seen_in_entries_on)"
            " WHERE harvest_harvestitem.seen_in_entries_on IS DISTINCT FROM"
            " greatest(harvest_harvestitem.seen_in_entries_on, excluded.seen_in_entries_on)",
            [
                (
                    uuid7(), connection.workspace_id, item.kind, item.harvest_id, item.name, item.code,
                    item.parent_id, item.parent_name, day,
                )
                for item, day in rows
            ],
        )  # fmt: skip


def _item_on(kind: str, entry: TimeEntryPayload) -> Item:
    """The item of this kind that an entry carries, as far as the entry tells."""
    if kind == ItemKind.CLIENT:
        item = Item(kind, str(entry.client_id), entry.client_name)
    elif kind == ItemKind.PROJECT:
        item = Item(
            kind,
            str(entry.project_id),
            entry.project_name,
            code=entry.project_code,
            parent_id=str(entry.client_id),
            parent_name=entry.client_name,
        )
    elif kind == ItemKind.TASK:
        item = Item(kind, str(entry.task_id), entry.task_name)
    else:
        item = Item(kind, str(entry.user_id), entry.user_name)
    return _fitting(item)
