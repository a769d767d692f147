"""What pages show of two-way sync: how much waits, what would help what is held, and the story of one log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count
from django.urls import reverse

from accounts.models import Plan, Workspace
from harvest.agreement import LABELS
from harvest.results import Link, mappings_link
from harvest.waiting import waiting_of
from integrations.models import (
    OPEN_CHANGES,
    ChangeState,
    Connection,
    ConnectionStatus,
    Deed,
    Direction,
    OutboundChange,
    Outcome,
    RunEntry,
    SyncEvent,
    SyncLink,
    SyncRun,
    Way,
)
from integrations.sync.types import Field, load_base
from timelogs.models import SyncState, TimeLog

MOST_EVENTS = 100  # of a log's history are shown

# Reasons of holds in words, for a filter.
REASONS: Mapping[str, str] = {
    "not_mapped": "Not mapped",
    "not_assigned": "Not assigned in Harvest",
    "archived": "Archived in Harvest",
    "no_task": "No task in Harvest",
    "no_owner": "Person not mapped",
    "timer_running": "Timer running",
    "too_short": "Rounds to 0.00 h",
    "past_midnight": "Past midnight",
    "notes_required": "Notes missing",
    "approved": "Approved in Harvest",
    "invoiced": "Invoiced in Harvest",
    "locked": "Locked in Harvest",
    "no_permission": "No permission",
    "not_visible": "Not visible to the token",
    "owner_stays": "Another person’s in Harvest",
    "other_account": "Another Harvest account",
    "refused": "Refused by Harvest",
    "our_fault": "A fault of ours",
    "held": "Other",
}
TONES: Mapping[str, str] = {
    SyncState.SYNCED: "good",
    SyncState.PENDING: "accent",
    SyncState.HELD: "warn",
    SyncState.CONFLICT: "warn",
    SyncState.DIFFERS: "warn",
}


# --- How much waits --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Waiting:
    """Time logs that are not in step, by how they wait."""

    pending: int = 0
    held: int = 0
    conflicts: int = 0

    @property
    def any(self) -> bool:
        return bool(self.pending or self.held or self.conflicts)


def waiting(workspace: Workspace) -> Waiting:
    """How much of the workspace's time waits, inside its scope. One query."""
    rows = OutboundChange.objects.filter(workspace=workspace, state__in=(*OPEN_CHANGES, ChangeState.SENDING))
    counted = dict(rows.order_by().values_list("state").annotate(n=Count("time_log", distinct=True)))
    return Waiting(
        pending=counted.get(ChangeState.PENDING, 0) + counted.get(ChangeState.SENDING, 0),
        held=counted.get(ChangeState.HELD, 0),
        conflicts=counted.get(ChangeState.CONFLICT, 0),
    )


def stated_by(run: SyncRun) -> Waiting:
    """How many logs a run found that cannot travel, or that were changed on both sides. One query."""
    rows = SyncEvent.objects.filter(
        workspace_id=run.workspace_id, run=run, deed__in=(Deed.HELD, Deed.CONFLICT)
    )
    counted = dict(rows.order_by().values_list("deed").annotate(n=Count("time_log", distinct=True)))
    return Waiting(held=counted.get(Deed.HELD, 0), conflicts=counted.get(Deed.CONFLICT, 0))


def pause_of(workspace: Workspace, connection: Connection) -> str:
    """Why nothing is synced by itself now, as the end of "Paused …"; empty where it is."""
    if workspace.plan != Plan.PRO:
        return "without the Pro plan"
    if not connection.connected:
        return "until Harvest is connected again"
    if workspace.deletes_at:
        return "since this workspace is about to be deleted"
    return ""


# --- What is held ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Versions:
    """One field as it is here and in Harvest, in words."""

    label: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """A held change or a conflict as its list shows it. remedy: where to help; assign: whether a click can."""

    change: OutboundChange
    versions: list[Versions]
    remedy: Link | None

    @property
    def log(self) -> TimeLog:
        return self.change.time_log

    @property
    def incoming(self) -> bool:
        return self.change.way == Way.IN

    @property
    def assign(self) -> bool:
        return (self.change.remedy or {}).get("kind") == "assign"


def shown(changes: Iterable[OutboundChange]) -> list[Stuck]:
    """Changes of `waiting.held_of` or `conflicts_of` with their words."""
    return [Stuck(one, versions_of(one.fields), remedy_of(one)) for one in changes]


def versions_of(fields: Mapping[str, Any] | None) -> list[Versions]:
    return [
        Versions(label_of(name), in_words(pair.get("timebridge")), in_words(pair.get("harvest")))
        for name, pair in in_order(fields or {})
    ]


def in_order(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Fields as people look for them, and not as a JSON column keeps them."""
    places = [name.value for name in Field]
    return sorted(
        fields.items(), key=lambda item: places.index(item[0]) if item[0] in places else len(places)
    )


def label_of(name: str) -> str:
    """A field's name as people read it: "Hours"."""
    return (LABELS[Field(name)] if name in Field.__members__.values() else name).capitalize()


def in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def remedy_of(change: OutboundChange) -> Link | None:
    """Where a person can put right what is in the way, if that is here."""
    fields = change.fields or {}
    match change.reason:
        case "not_mapped" if change.way == Way.IN and Field.ACTIVITY in fields:
            return Link("Map this task", mappings_link("tasks", in_words(fields["activity"].get("harvest"))))
        case "not_mapped" if change.way == Way.IN and Field.PLACEMENT in fields:
            place = in_words(fields["placement"].get("harvest"))
            return Link("Map this project", mappings_link("projects", place.rpartition(" › ")[2]))
        case "not_mapped":
            if change.time_log.project_id:
                return Link("Map this project", mappings_link("projects", unmapped="first"))
            return Link("Map this client", mappings_link("clients", unmapped="first"))
        case "no_owner":
            return Link("Map this person", mappings_link("people", unmapped="first"))
        case "no_task":
            return Link("Choose a default task", f"{reverse('harvest')}#direction")
        case "archived":
            return Link("Map it elsewhere", mappings_link("projects"))
        case "no_permission" | "not_visible":
            return Link("Look at the connection", f"{reverse('harvest')}#connection")
        case "too_short" | "past_midnight" | "notes_required":
            return Link("Edit the time", reverse("time-log-edit", args=[change.time_log_id]))
    return None


# --- One log ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Told:
    """A line of a log's history. changes: (field, before, after) in words; sides: what was given up or contested."""

    event: SyncEvent
    changes: list[tuple[str, str, str]]
    sides: list[Versions]


@dataclass(frozen=True, slots=True)
class Story:
    """How a log stands with Harvest.

    linked: the entry of a run that linked it, where that can be taken back. there: the page of its day in Harvest, ""
    where that cannot be told.
    """

    state: str
    detail: str
    connection: Connection | None
    link: SyncLink | None
    stuck: Stuck | None
    linked: RunEntry | None
    there: str
    events: list[Told]

    @property
    def label(self) -> str:
        return SyncState(self.state).label

    @property
    def tone(self) -> str:
        return TONES.get(self.state, "")

    @property
    def told(self) -> bool:
        """Whether there is anything to tell: a workspace without Harvest has nothing."""
        return bool(self.connection or self.link or self.events)

    @property
    def both_ways(self) -> bool:
        return self.connection is not None and self.connection.direction == Direction.TWO_WAY


def story_of(log: TimeLog) -> Story:
    """All that is known of a log's agreement with Harvest, inside the scope. A fixed number of queries."""
    of_log = {"workspace_id": log.workspace_id, "time_log": log}
    link = SyncLink.objects.filter(**of_log).first()
    change = (
        waiting_of(log.workspace)
        .filter(time_log=log, state__in=(ChangeState.HELD, ChangeState.CONFLICT))
        .first()
    )
    linked = RunEntry.objects.filter(**of_log, outcome=Outcome.LINKED, run__dry_run=False).order_by("-id")
    connection = (
        Connection.objects.filter(workspace_id=log.workspace_id)
        .exclude(status=ConnectionStatus.NOT_CONNECTED)
        .first()
    )
    return Story(
        state=log.sync_state,
        detail=log.sync_detail,
        connection=connection,
        link=link,
        stuck=shown([change])[0] if change else None,
        linked=linked.filter(external_id=link.external_id).first() if link else None,
        there=day_in_harvest(connection, link, log) if connection and link else "",
        events=[
            _told(event)
            for event in SyncEvent.objects.filter(**of_log)
            .select_related("run")
            .order_by("-id")[:MOST_EVENTS]
        ],
    )


def day_in_harvest(connection: Connection, link: SyncLink, log: TimeLog) -> str:
    """The page of an entry's day and person in Harvest; it has none for an entry alone. "" where that is not known."""
    if not (connection.web_address and link.remote_user_id) or link.account_id != connection.account_id:
        return ""
    agreed = load_base(link.base).get(Field.SPENT_DATE) if link.base else None
    day = agreed.remote if agreed and isinstance(agreed.remote, date) else log.spent_date
    return f"{connection.web_address}/time/day/{day:%Y/%m/%d}/{link.remote_user_id}"


def _told(event: SyncEvent) -> Told:
    written = {name: pair for name, pair in event.fields.items() if "after" in pair}
    return Told(
        event,
        [
            (label_of(name), in_words(pair.get("before")), in_words(pair["after"]))
            for name, pair in in_order(written)
        ],
        versions_of({name: pair for name, pair in event.fields.items() if name not in written}),
    )
