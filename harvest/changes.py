"""What a sync reads: the entries that changed in Harvest since the last success, whatever day they are of.

A night that finds nothing changed costs one request and few queries: the mappings are looked up only once there is an
entry to decide, and Harvest's lists are read again only when an entry carries something they did not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils import timezone

from accounts.notices import Remedy, tell
from accounts.selectors import admins_of
from accounts.tenancy import tenant_scope
from harvest.catalogue import read_catalogue, store_catalogue
from harvest.client import HarvestClient
from harvest.intake import IntakeContext
from harvest.models import HarvestItem, ItemKind
from harvest.payloads import TimeEntryPayload
from harvest.reading import ahead, read_changed
from harvest.sweep import sweep
from harvest.writing import Prepared, load_context, prepare_page
from integrations.models import Connection, RunKind, SyncRun
from integrations.runs import prolong

if TYPE_CHECKING:
    from harvest.importing import Writer

DAY = timedelta(hours=24)
# Harvest's stamps are whole seconds of its own clock, and a change may show late in a list.
OVERLAP = timedelta(minutes=5)
NIGHT_BEGINS = time(2, 0, tzinfo=UTC)


def since_of(run: SyncRun) -> datetime:
    """From when on this run reads changes: the last 24 hours, or since the last success where that is longer ago.

    Counted from when the run was begun first: one that is resumed reads what it would have read undisturbed. What is
    read in between, every few minutes, is what changed since the last success alone.
    """
    begun = run.started_at or timezone.now()
    if run.kind == RunKind.CHANGES and run.connection.watermark_at:
        return min(begun, run.connection.watermark_at) - OVERLAP
    return min(begun - DAY, run.connection.watermark_at or begun) - OVERLAP


def walk_changes(
    run: SyncRun, client: HarvestClient, writer: Writer, *, lease: int
) -> tuple[int, datetime | None]:
    """Read and write a sync's entries. Returns (how many the listing may be short of, the next watermark).

    The watermark is from before the reading, by the earlier of both clocks; the caller keeps it after success.
    """
    watermark = timezone.now()

    def keep_hold() -> None:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)

    context: IntakeContext | None = None
    shortfall, first, asked_lists = 0, True, False
    source = read_changed(client, since_of(run))
    with writer:
        for reading in ahead(source, idle=keep_hold, every=max(lease / 3, 0.1)):
            page = reading.page
            if first and page.server_date is not None:
                watermark = min(watermark, page.server_date)
            first = False
            shortfall += reading.shortfall
            if not page.entries and not page.bad:
                continue
            prepared: Prepared | None = None
            with tenant_scope(run.workspace_id):
                if asked_lists or not _carries_news(run.connection, page.entries):
                    context = context or replace(load_context(run.connection), syncing=True)
                    prepared = prepare_page(
                        run, page, context, in_flight=writer.in_flight, since=writer.began
                    )
            if prepared is None:
                items = read_catalogue(client, run.connection)
                with tenant_scope(run.workspace_id):
                    prolong(run, lease_seconds=lease)
                    store_catalogue(run.connection, items)
                    context = replace(load_context(run.connection), syncing=True)
                    prepared = prepare_page(
                        run, page, context, in_flight=writer.in_flight, since=writer.began
                    )
                asked_lists = True
            writer.write(prepared, expected=reading.expected, more=not page.is_last)
    if run.kind != RunKind.CHANGES:
        sweep(run, client, lease=lease, since=writer.began)
    return shortfall, watermark


def _carries_news(connection: Connection, entries: Sequence[TimeEntryPayload]) -> bool:
    """Whether an entry carries a client, project, task or person that Harvest's lists did not show, inside the scope.

    Whose an entry is, is told by the e-mail address in the list of people: without it, it would go to somebody else.
    """
    carried = {
        (kind.value, str(remote_id))
        for entry in entries
        for kind, remote_id in (
            (ItemKind.CLIENT, entry.client_id),
            (ItemKind.PROJECT, entry.project_id),
            (ItemKind.TASK, entry.task_id),
            (ItemKind.PERSON, entry.user_id),
        )
    }
    known = set(
        HarvestItem.objects.filter(
            workspace_id=connection.workspace_id, harvest_id__anyof=list({one for _, one in carried})
        ).values_list("kind", "harvest_id")
    )
    return not carried <= known


# --- Nights ----------------------------------------------------------------------------------------------------------
def night_of(now: datetime) -> date:
    """The night that is, or was last: the date in UTC on which its 02:00 fell."""
    now = now.astimezone(UTC)
    begun = now.timetz() >= NIGHT_BEGINS
    return now.date() if begun else now.date() - timedelta(days=1)


def beginning_of(night: date) -> datetime:
    return datetime.combine(night, NIGHT_BEGINS)


def tell_of_night(connection: Connection, night: date, *, what: str, how: str = "failed") -> None:
    """Tell the admins, inside the scope, once a night, that automated sync did not do its part. what: a sentence."""
    workspace = connection.workspace
    since = connection.watermark_at
    until_then = f" Everything up to {since:%Y-%m-%d %H:%M} UTC is in." if since else ""
    tell(
        workspace=workspace,
        people=admins_of(workspace),
        incident=f"harvest.night:{night}",
        title=f"Automated sync of {night} {how}",
        text=f"{what}{until_then} What is missing is made up by the next sync that succeeds.",
        remedy=Remedy("See how it stands", reverse("harvest")),
    )
