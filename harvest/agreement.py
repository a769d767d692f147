"""What a sync writes here, whichever way it goes: logs, links, what waits for a person, and the history.

`sync.plan` says what to do; this does the half that is ours. The caller is inside the workspace's scope and in the
transaction that is to do it all or nothing, and has the logs locked (`lock_logs`): who writes a log's change or link
holds the log's row. A `Batch` collects the deeds of many logs and writes them in a number of queries that does not
depend on how many there are, save two or three for each settled log that differs. The functions do one.

Logs are written without asking who may: what a sync does is nobody's deed. No signal of it says "person", so none of
it goes out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection as database
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts.bulk import copy_rows
from accounts.ids import uuid7
from accounts.models import User
from clients.models import Client, Project
from harvest.models import HarvestItem
from harvest.payloads import TimeEntryPayload, content_hash
from harvest.terms import Terms, entry_values, hours_of, slug_of
from inbound.adjustments import note_difference, noted_difference, withdraw_difference
from inbound.models import Adjustment, AdjustmentStatus
from integrations.logs_side import take_values, values_of
from integrations.models import (
    OPEN_CHANGES,
    ChangeState,
    Deed,
    OutboundChange,
    SyncEvent,
    SyncLink,
    SyncRun,
    Way,
)
from integrations.outgoing import enqueue, note_surplus
from integrations.sync.plan import (
    Action,
    Conflict,
    Differs,
    Held,
    Overruled,
    Policy,
    Replace,
    UpdateRemote,
)
from integrations.sync.types import (
    Base,
    Field,
    NoCounterpart,
    Pair,
    Value,
    Values,
    Version,
    dump_base,
    load_base,
)
from timelogs.models import ActivityType, SyncState, TimeLog
from timelogs.signals import time_log_changed

LABELS: Mapping[Field, str] = {
    Field.PLACEMENT: "project",
    Field.ACTIVITY: "activity type",
    Field.SPENT_DATE: "date",
    Field.DURATION: "hours",
    Field.NOTES: "notes",
    Field.OWNER: "person",
    Field.BILLABLE: "billable",
}
DELETED_SINCE = "Deleted in Harvest since it was settled."


def named(fields: Iterable[Field]) -> str:
    """Fields in people's words, in the fields' order: "hours, notes"."""
    chosen = set(fields)
    return ", ".join(LABELS[name] for name in Field if name in chosen)


# --- What is known of a link -----------------------------------------------------------------------------------------
def lock_logs(workspace_id: UUID, log_ids: Iterable[UUID]) -> dict[UUID, TimeLog]:
    """The logs' rows as they are now, deleted ones too, locked in one order until the transaction ends. One query."""
    rows = (
        TimeLog.objects.select_for_update(of=("self",), no_key=True)
        .select_related("work_item")
        .filter(workspace_id=workspace_id, id__anyof=sorted(set(log_ids)))
        .order_by("id")
    )
    return {log.id: log for log in rows}


def base_of(
    link: SyncLink, log: TimeLog, *, here: Version, there: Version | None, entry: TimeEntryPayload | None
) -> Base:
    """What a link says both sides agreed on. here: the log's values, also where it is deleted.

    A link made before bases were kept has none. Where its entry is as it was taken over (by the hash), or the log as
    it came, that side stands for itself, and the other where it holds the same; what is not known is an edit.
    """
    if link.base is not None:
        return load_base(link.base)
    entry_stands = entry is not None and content_hash(entry) == link.remote_hash
    log_stands = log.updated_at == log.created_at
    if there is None:
        return {name: Pair(here.values[name], None) for name in Field} if log_stands else {}
    if not entry_stands and not log_stands:
        return {}
    pairs: dict[Field, Pair] = {}
    for name in Field:
        ours, theirs = here.values[name], there.values[name]
        same = here.abroad.get(name) == theirs or there.abroad[name] == ours
        pairs[name] = Pair(ours if log_stands or same else None, theirs if entry_stands or same else None)
    return pairs


def note_attempt(base: Base) -> dict[str, Any]:
    """For `OutboundChange.begun`, before an entry is created: the base (`plan.attempted`) it has once it is found."""
    return {"attempted": dump_base(base)}


def attempt_in(begun: Mapping[str, Any] | None) -> Base | None:
    """The base that `note_attempt` kept, if any."""
    kept = (begun or {}).get("attempted")
    return load_base(kept) if isinstance(kept, Mapping) else None


def told_by(entry: TimeEntryPayload) -> dict[str, str]:
    """What tells an entry that is one too many, and that nobody has touched it since, for `outgoing.note_surplus`."""
    return {"id": str(entry.id), "hash": content_hash(entry)}


def note_overruled(pairs: Base) -> dict[str, Any]:
    """For `OutboundChange.begun`, before Harvest's version is written over: what is given up."""
    return {"overruled": dump_base(pairs)} if pairs else {}


def given_up(actions: Iterable[Action]) -> Base:
    """Of a plan, what is overruled by what the plan sends: it is given up once that is done."""
    sent: set[Field] = set()
    for one in actions:
        if isinstance(one, (UpdateRemote, Replace)):
            sent.update(one.fields)
    return {
        name: pair
        for one in actions
        if isinstance(one, Overruled) and one.kept is Policy.TIMEBRIDGE
        for name, pair in one.fields.items()
        if name in sent
    }


def without_given_up(actions: Iterable[Action]) -> list[Action]:
    """A plan without what is only given up once its outgoing half is done: whoever does that tells of it."""
    actions = list(actions)
    sent = given_up(actions)
    found: list[Action] = []
    for one in actions:
        if isinstance(one, Overruled):
            rest = {name: pair for name, pair in one.fields.items() if name not in sent}
            if rest:
                found.append(Overruled(rest, one.kept))
        else:
            found.append(one)
    return found


@dataclass(frozen=True, slots=True)
class Statement:
    """What a plan leaves for a person, as an `OutboundChange` says it. fields: both versions, in people's words."""

    state: ChangeState
    way: Way
    reason: str
    detail: str
    fields: dict[str, Any]


# --- Doing one -------------------------------------------------------------------------------------------------------
def apply_here(
    log: TimeLog, fields: Values, *, terms: Terms, run: SyncRun | None = None, external_id: str = ""
) -> Values:
    """Change these fields (our terms) of a locked log, and return its values as they are now.

    Another activity type brings its rate, and never touches billable; a work item that no longer fits is dropped.
    """
    batch = Batch(log.workspace_id, terms, run)
    values = batch.apply(log, fields, external_id)
    batch.write()
    return values


def delete_here(log: TimeLog, *, terms: Terms, run: SyncRun | None = None, external_id: str = "") -> None:
    """Delete a locked log; a person can restore it."""
    batch = Batch(log.workspace_id, terms, run)
    batch.delete(log, external_id)
    batch.write()


def restore_here(
    log: TimeLog, fields: Values, *, terms: Terms, run: SyncRun | None = None, external_id: str = ""
) -> Values:
    """Bring a locked log that was deleted back with these fields, and return its values as they are now."""
    batch = Batch(log.workspace_id, terms, run)
    values = batch.restore(log, fields, external_id)
    batch.write()
    return values


def settle_link(link: SyncLink, base: Base | None, entry: TimeEntryPayload | None) -> None:
    """Keep what both sides now agree on. base None: the link joins nothing any more, and its id stays known."""
    set_agreement(link, base, entry)
    SyncLink.objects.filter(workspace_id=link.workspace_id, pk=link.pk).update(
        base=link.base,
        remote_hash=link.remote_hash,
        remote_user_id=link.remote_user_id,
        time_log_id=link.time_log_id,
        former_log_id=link.former_log_id,
    )


def set_agreement(
    link: SyncLink, base: Base | None, entry: TimeEntryPayload | None, actions: Iterable[Action] = ()
) -> None:
    """As settle_link, without writing it. actions: the plan that led there.

    The hash is kept only where the base has taken in all that the entry holds: what was held (an entry that is locked
    does not change in content when it is unlocked), contested or left as it is here is looked at again by every
    reading that lists the entry.
    """
    if base is None:
        link.base, link.remote_hash = None, ""
        link.former_log_id, link.time_log_id = link.time_log_id or link.former_log_id, None
        return
    link.base = dump_base(base)
    if entry is None:
        link.remote_hash = ""  # should it be there again, it is looked at again
    else:
        theirs = entry_values(entry)
        whole = all(name in base and base[name].remote == theirs[name] for name in Field)
        held = any(isinstance(one, Held) for one in actions)
        link.remote_hash = content_hash(entry) if whole and not held else ""
        link.remote_user_id = str(entry.user_id)


def state_statements(
    log: TimeLog,
    link: SyncLink | None,
    actions: Sequence[Action],
    *,
    terms: Terms,
    there: Version | None,
    run: SyncRun | None = None,
    change: OutboundChange | None = None,
) -> Statement | None:
    """Write what a plan states (Conflict, Held, Differs, Overruled) of a locked log, and its sync state.

    What no longer holds is taken back; what was stated before is not stated again. change: the one being sent for
    this log: the caller writes the returned statement on it, and then calls `refresh_state`. Without it the log's open
    change takes it, but for one that waits to be sent, which will look at everything anew.
    """
    batch = Batch(log.workspace_id, terms, run)
    statement = batch.state(
        log, link.external_id if link else "", actions, there=there, own=change is not None
    )
    batch.write()
    return statement


def note_event(
    log: TimeLog,
    deed: Deed,
    *,
    terms: Terms,
    external_id: str = "",
    before: Values | None = None,
    after: Values | None = None,
    detail: str = "",
    run: SyncRun | None = None,
) -> None:
    """Write one line of a log's history. before, after: values in our terms; the fields of `after` are told."""
    batch = Batch(log.workspace_id, terms, run)
    batch.event(log, deed, external_id, before=before, after=after, detail=detail)
    batch.write()


# --- Doing many ------------------------------------------------------------------------------------------------------
class _Event(NamedTuple):
    """fields: {field: {word: value}}, the values in either side's terms, put into people's words when written."""

    log_id: UUID
    deed: Deed
    external_id: str
    fields: dict[Field, dict[str, Value]]
    detail: str


class _Stated(NamedTuple):
    statement: Statement
    deed: Deed
    fields: dict[Field, dict[str, Value]]


class _State(NamedTuple):
    log: TimeLog
    external_id: str
    stated: _Stated | None
    differs: Differs | None
    there: Version | None
    own: bool


class Batch:
    """Deeds of one transaction, written together by `write`. Logs are changed in memory at once."""

    def __init__(self, workspace_id: UUID, terms: Terms, run: SyncRun | None = None) -> None:
        self.workspace_id, self.terms, self.run = workspace_id, terms, run
        self.now = timezone.now()
        self.outgoing: list[UUID] = []
        self._surplus: dict[UUID, dict[str, str]] = {}
        self._changed: dict[str, dict[UUID, TimeLog]] = {"updated": {}, "deleted": {}, "restored": {}}
        self._stamped: dict[UUID, TimeLog] = {}
        self._links: dict[UUID, SyncLink] = {}
        self._events: list[_Event] = []
        self._states: list[_State] = []
        self._touched: set[UUID] = set()
        self._rates = {UUID(activity): rate for activity, rate in terms.rates.items()}

    # --- Deeds -------------------------------------------------------------------------------------------------------
    def apply(self, log: TimeLog, fields: Values, external_id: str = "") -> Values:
        """As apply_here."""
        before = values_of(log)
        if take_values(log, fields, rate=self._rate):
            log.updated_at = self.now
            self._changed["updated"][log.id] = log
            self.event(log, Deed.TAKEN, external_id, before=before, after=fields)
        return values_of(log)

    def delete(self, log: TimeLog, external_id: str = "") -> None:
        log.deleted_at = log.updated_at = self.now
        self._changed["deleted"][log.id] = log
        self._touched.add(log.id)
        self.event(log, Deed.DELETED, external_id, detail="Deleted in Harvest.")

    def restore(self, log: TimeLog, fields: Values, external_id: str = "") -> Values:
        """As restore_here."""
        before = values_of(log)
        take_values(log, fields, rate=self._rate)
        log.deleted_at, log.updated_at = None, self.now
        self._changed["restored"][log.id] = log
        self._touched.add(log.id)
        changed = {name: value for name, value in fields.items() if before[name] != value}
        self.event(
            log, Deed.RESTORED, external_id, before=before, after=changed, detail="Changed in Harvest since."
        )
        return values_of(log)

    def stamp(self, log: TimeLog, external_id: str) -> None:
        """The log is this entry now."""
        log.external_id = external_id
        self._stamped[log.id] = log
        self._touched.add(log.id)

    def settle(
        self,
        link: SyncLink,
        base: Base | None,
        entry: TimeEntryPayload | None,
        actions: Iterable[Action] = (),
    ) -> None:
        """As settle_link."""
        before = link.base, link.remote_hash, link.remote_user_id, link.time_log_id
        set_agreement(link, base, entry, actions)
        if before != (link.base, link.remote_hash, link.remote_user_id, link.time_log_id):
            self.keep(link)

    def keep(self, link: SyncLink) -> None:
        """Write this link as it now is."""
        self._links[link.pk] = link
        self._touched.update(one for one in (link.time_log_id, link.former_log_id) if one)

    def send(self, log: TimeLog, *, surplus: TimeEntryPayload | None = None) -> None:
        """Have this log brought into step by the queue. surplus: an entry of it that is one too many, and is to go."""
        self.outgoing.append(log.id)
        if surplus is not None:
            self._surplus[log.id] = told_by(surplus)

    def event(
        self,
        log: TimeLog,
        deed: Deed,
        external_id: str = "",
        *,
        before: Values | None = None,
        after: Values | None = None,
        detail: str = "",
    ) -> None:
        fields = {
            name: {"before": before[name] if before else None, "after": value}
            for name, value in (after or {}).items()
        }
        self._events.append(_Event(log.id, deed, external_id, fields, detail))

    def overrule(
        self, log: TimeLog, external_id: str, fields: Base, kept: Policy, *, there: Version | None = None
    ) -> None:
        """Tell of what a policy gave up: both values of each field, and whose stays."""
        stays = "Harvest's" if kept is Policy.HARVEST else "Ours"
        self._events.append(
            _Event(log.id, Deed.OVERRULED, external_id, _sides(fields, there), f"{stays} stays.")
        )

    def overrule_begun(
        self, log: TimeLog, external_id: str, begun: Mapping[str, Any], *, theirs: Values | None = None
    ) -> None:
        """Tell of what an earlier attempt gave up (`note_overruled`).

        theirs: what Harvest holds now, {} where the entry is gone: what it still holds was not given up. None: all was.
        """
        pairs = load_base(begun.get("overruled", {}))
        held = theirs or {}
        lost = {name: pair for name, pair in pairs.items() if name not in held or held[name] != pair.remote}
        if lost:
            self.overrule(log, external_id, lost, Policy.TIMEBRIDGE)

    def state(
        self,
        log: TimeLog,
        external_id: str,
        actions: Sequence[Action],
        *,
        there: Version | None,
        own: bool = False,
    ) -> Statement | None:
        """As state_statements; own: the caller writes the statement on a change of its own."""
        held = [one for one in actions if isinstance(one, Held)]
        conflict = next((one for one in actions if isinstance(one, Conflict)), None)
        differs = next((one for one in actions if isinstance(one, Differs)), None)
        for one in actions:
            if isinstance(one, Overruled):
                self.overrule(log, external_id, one.fields, one.kept, there=there)
        stated = None
        if conflict is not None:
            # Which version is kept is for a person to say; what else cannot travel is said then.
            detail = f"Changed here and in Harvest: {named(conflict.fields)}."
            statement = Statement(ChangeState.CONFLICT, Way.OUT, "conflict", detail, {})
            stated = _Stated(statement, Deed.CONFLICT, _sides(conflict.fields, there))
        elif held:
            first = next((one for one in held if one.way == "out"), held[0])
            way = Way.OUT if first.way == "out" else Way.IN
            detail = " ".join(dict.fromkeys(one.reason for one in held))
            statement = Statement(ChangeState.HELD, way, slug_of(first.reason), detail, {})
            ours, names = values_of(log), [name for one in held for name in one.fields]
            pairs = {name: Pair(ours[name], there.values[name] if there else None) for name in names}
            stated = _Stated(statement, Deed.HELD, _sides(pairs, there))
        self._states.append(_State(log, external_id, stated, differs, there, own))
        self._touched.add(log.id)
        return stated.statement if stated else None

    def _rate(self, activity: UUID) -> Decimal:
        if activity not in self._rates:
            kept = ActivityType.objects.filter(workspace_id=self.workspace_id, id=activity)
            self._rates[activity] = kept.values_list("hourly_rate", flat=True).first() or Decimal("0.00")
        return self._rates[activity]

    # --- Writing -----------------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Write everything, tell of the logs, and have the queue take up what is to go out."""
        logs = {**self._stamped, **{pk: log for some in self._changed.values() for pk, log in some.items()}}
        if logs:
            _update_logs(self.workspace_id, list(logs.values()))
        if self._links:
            _update_links(self.workspace_id, list(self._links.values()))
        differing = self._differences()
        stated = [one.stated for one in self._states if one.stated]
        told = [one.fields for one in self._events] + [one.fields for one in stated]
        words = Words(self.workspace_id, told)
        for one in stated:
            one.statement.fields.update(words.of(one.fields))
        self._write_statements()
        self._write_events(words)
        for change, some in self._changed.items():
            if some:
                time_log_changed.send(
                    sender=TimeLog,
                    workspace_id=self.workspace_id,
                    time_log_ids=list(some),
                    change=change,
                    origin="sync",
                )
        if self.outgoing:
            enqueue(
                workspace_id=self.workspace_id,
                connection_id=self._connection_id(),
                time_log_ids=self.outgoing,
                run_id=self.run.id if self.run else None,
            )
            note_surplus(workspace_id=self.workspace_id, surplus=self._surplus)
        refresh_state(self.workspace_id, self._touched, differing=differing)

    def _connection_id(self) -> UUID:
        if self.run is None:
            raise ValueError("Only a run, or who sends a change, leaves something to be done.")
        return self.run.connection_id

    def _differences(self) -> dict[UUID, str]:
        """Note, or take back, what settled logs' entries hold otherwise. What to say of it on each, "" where it ended.

        What waits in Inbound tells where there was a difference: a log's state may speak of something else by now.
        """
        maybe = [
            one.log.id
            for one in self._states
            if one.differs is None and one.external_id and one.log.sync_state != SyncState.SYNCED
        ]
        waiting = set(
            Adjustment.objects.filter(
                workspace_id=self.workspace_id,
                time_log__id__anyof=maybe,
                status__in=(
                    AdjustmentStatus.PENDING,
                    AdjustmentStatus.ACCEPTED,
                    AdjustmentStatus.DISMISSED,
                ),
            ).values_list("time_log_id", flat=True)
            if maybe
            else ()
        )
        said: dict[UUID, str] = {}
        for one in self._states:
            if one.differs is not None:
                said[one.log.id] = self._differ(one, one.differs)
            elif one.log.id in waiting or one.log.sync_state == SyncState.DIFFERS:
                withdraw_difference(workspace_id=self.workspace_id, time_log_id=one.log.id)
                said[one.log.id] = ""
        return said

    def _differ(self, one: _State, differs: Differs) -> str:
        log = one.log
        if differs.gone:
            detail, after = DELETED_SINCE, None
        else:
            detail = f"Changed in Harvest since it was settled: {named(differs.fields)}."
            after = _in_words_of_ours(differs.fields, one.there)
        before = noted_difference(workspace_id=self.workspace_id, time_log_id=log.id)
        note_difference(
            workspace_id=self.workspace_id, time_log_id=log.id, external_id=one.external_id, after=after
        )
        # A state of the queue may have taken the place of this one meanwhile: what is noted tells whether it is news.
        noted = noted_difference(workspace_id=self.workspace_id, time_log_id=log.id)
        if noted != before or (
            noted is None and (log.sync_state, log.sync_detail) != (SyncState.DIFFERS, detail)
        ):
            self._events.append(
                _Event(log.id, Deed.DIFFERS, one.external_id, _sides(differs.fields, one.there), detail)
            )
        return detail

    def _write_statements(self) -> None:
        known = (
            {
                change.time_log_id: change
                for change in OutboundChange.objects.filter(
                    workspace_id=self.workspace_id,
                    time_log__id__anyof=[one.log.id for one in self._states],
                    state__in=OPEN_CHANGES,
                )
            }
            if self._states
            else {}
        )
        rows: list[tuple[Any, ...]] = []
        over: list[UUID] = []
        for one in self._states:
            before = known.get(one.log.id)
            if before is not None and before.state == ChangeState.PENDING:
                continue
            if one.stated is None:
                if before is not None and not one.own:
                    over.append(before.id)
                continue
            new = one.stated.statement
            if before is not None and _statement_on(before) == new:
                continue
            if not one.own:
                fields = json.dumps(new.fields)
                rows.append((uuid7(), one.log.id, new.state, new.way, new.reason, new.detail, fields))
            self._events.append(
                _Event(one.log.id, one.stated.deed, one.external_id, one.stated.fields, new.detail)
            )
        if over:
            OutboundChange.objects.filter(workspace_id=self.workspace_id, id__anyof=over).update(
                state=ChangeState.DONE, updated_at=Now(), finished_at=self.now
            )
        if rows:
            ids, logs, states, ways, reasons, details, contents = map(list, zip(*rows, strict=True))
            with database.cursor() as cursor:
                cursor.execute(
                    _UPSERT,
                    {
                        "workspace": self.workspace_id,
                        "connection": self._connection_id(),
                        "now": self.now,
                        "ids": ids,
                        "logs": logs,
                        "states": states,
                        "ways": ways,
                        "reasons": reasons,
                        "details": details,
                        "fields": contents,
                    },
                )

    def _write_events(self, words: Words) -> None:
        rows = [
            (
                uuid7(),
                self.workspace_id,
                event.log_id,
                event.external_id,
                event.deed.value,
                json.dumps(words.of(event.fields)),
                event.detail,
                self.run.id if self.run else None,
                self.now,
            )
            for event in self._events
        ]
        copy_rows(SyncEvent, EVENT_COLUMNS, rows)


EVENT_COLUMNS = (
    "id", "workspace_id", "time_log_id", "external_id", "deed", "fields", "detail", "run_id", "created_at",
)  # fmt: skip

_UPSERT = """
INSERT INTO integrations_outboundchange AS change (id, workspace_id, connection_id, time_log_id, state, way, backlog,
    not_before, attempts, reason, detail, fields, keep, created_at, updated_at)
SELECT stated.id, %(workspace)s, %(connection)s, stated.log, stated.state, stated.way, false,
    %(now)s, 0, stated.reason, stated.detail, stated.fields::jsonb, '', %(now)s, statement_timestamp()
FROM unnest(%(ids)s::uuid[], %(logs)s::uuid[], %(states)s::text[], %(ways)s::text[], %(reasons)s::text[],
    %(details)s::text[], %(fields)s::text[]) AS stated(id, log, state, way, reason, detail, fields)
ON CONFLICT (workspace_id, time_log_id) WHERE state IN ('pending', 'held', 'conflict')
DO UPDATE SET state = excluded.state, way = excluded.way, reason = excluded.reason, detail = excluded.detail,
    fields = excluded.fields, remedy = NULL, keep = '', refused_hash = '', updated_at = excluded.updated_at
WHERE change.state <> 'pending'
"""

_LOG_COLUMNS = {
    "id": "uuid",
    "client_id": "uuid",
    "project_id": "uuid",
    "work_item_id": "uuid",
    "activity_type_id": "uuid",
    "owner_id": "uuid",
    "spent_date": "date",
    "seconds": "integer",
    "notes": "text",
    "billable": "boolean",
    "hourly_rate": "numeric",
    "external_id": "text",
    "deleted_at": "timestamptz",
    "updated_at": "timestamptz",
}
_LINK_COLUMNS = {
    "id": "uuid",
    "base": "jsonb",
    "remote_hash": "text",
    "remote_user_id": "text",
    "time_log_id": "uuid",
    "former_log_id": "uuid",
}


def _update_logs(workspace_id: UUID, logs: Sequence[TimeLog]) -> None:
    rows = [[getattr(log, name) for name in _LOG_COLUMNS] for log in logs]
    _update(TimeLog, _LOG_COLUMNS, workspace_id, rows)


def _update_links(workspace_id: UUID, links: Sequence[SyncLink]) -> None:
    rows = [
        [
            json.dumps(link.base) if name == "base" and link.base is not None else getattr(link, name)
            for name in _LINK_COLUMNS
        ]
        for link in links
    ]
    _update(SyncLink, _LINK_COLUMNS, workspace_id, rows)


def _update(
    model: Any, columns: Mapping[str, str], workspace_id: UUID, rows: Sequence[Sequence[Any]]
) -> None:
    """Set these columns of rows by their id (the first column), in one statement."""
    names = list(columns)
    kinds = ["text" if kind == "jsonb" else kind for kind in columns.values()]
    given = [f"one.{name}::jsonb" if kind == "jsonb" else f"one.{name}" for name, kind in columns.items()]
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} AS kept"  # noqa: S608 - own names
            f" SET ({', '.join(names[1:])}) = ({', '.join(given[1:])})"
            f" FROM unnest({', '.join(f'%s::{kind}[]' for kind in kinds)}) AS one({', '.join(names)})"
            " WHERE kept.workspace_id = %s AND kept.id = one.id",
            [*map(list, zip(*rows, strict=True)), workspace_id],
        )


def refresh_state(
    workspace_id: UUID, log_ids: Iterable[UUID], *, differing: Mapping[UUID, str] | None = None
) -> None:
    """Write how these logs stand: as their open change says, else that they differ, else in step where they are linked.

    differing: what to say of logs whose entry differs from what is settled; "" where it no longer does. One statement.
    """
    ids = list(log_ids)
    if not ids:
        return
    said = differing or {}
    with database.cursor() as cursor:
        cursor.execute(
            _REFRESH, {"workspace": workspace_id, "ids": ids, "said": [said.get(one) for one in ids]}
        )


_REFRESH = """
UPDATE timelogs_timelog log SET sync_state = stands.state, sync_detail = stands.detail
FROM (
    SELECT one.id,
        CASE WHEN change.state = 'sending' THEN 'pending' WHEN change.state IS NOT NULL THEN change.state
             WHEN told.differs THEN 'differs' WHEN linked.yes THEN 'synced' ELSE 'none' END AS state,
        CASE WHEN change.state IS NOT NULL THEN change.detail
             WHEN told.differs THEN coalesce(nullif(asked.said, ''), one.sync_detail) ELSE '' END AS detail
    FROM unnest(%(ids)s::uuid[], %(said)s::text[]) AS asked(id, said)
    JOIN timelogs_timelog one ON one.workspace_id = %(workspace)s AND one.id = asked.id
    CROSS JOIN LATERAL (SELECT CASE WHEN asked.said IS NULL THEN one.sync_state = 'differs'
                                    ELSE asked.said <> '' END AS differs) told
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM integrations_synclink link
                            WHERE link.workspace_id = %(workspace)s AND link.time_log_id = one.id) AS yes) linked
    LEFT JOIN LATERAL (SELECT queued.state, queued.detail FROM integrations_outboundchange queued
                       WHERE queued.workspace_id = %(workspace)s AND queued.time_log_id = one.id
                         AND queued.state IN ('pending', 'held', 'conflict', 'sending')
                       ORDER BY queued.state = 'sending' LIMIT 1) change ON true
) stands
WHERE log.workspace_id = %(workspace)s AND log.id = stands.id
  AND (log.sync_state, log.sync_detail) IS DISTINCT FROM (stands.state, stands.detail)
"""


# --- Words -----------------------------------------------------------------------------------------------------------
def _statement_on(change: OutboundChange) -> Statement:
    return Statement(
        ChangeState(change.state), Way(change.way), change.reason, change.detail, change.fields or {}
    )


def _sides(pairs: Mapping[Field, Pair], there: Version | None) -> dict[Field, dict[str, Value]]:
    """Both versions of some fields; Harvest's in our terms where there are any, as people know those."""
    found: dict[Field, dict[str, Value]] = {}
    for name, pair in pairs.items():
        theirs = there.abroad[name] if there and name is not Field.DURATION else pair.remote
        found[name] = {
            "timebridge": pair.local,
            "harvest": pair.remote if isinstance(theirs, NoCounterpart) else theirs,
        }
    return found


def _in_words_of_ours(pairs: Iterable[Field], there: Version | None) -> dict[str, Any]:
    """What Harvest holds, as `note_difference` takes it; what has no counterpart is left as it is settled."""
    found: dict[str, Any] = {}
    for name in pairs:
        value = there.abroad[name] if there else None
        match name, value:
            case _, NoCounterpart():
                continue
            case Field.PLACEMENT, (str(client), project):
                found |= {"client": UUID(client), "project": UUID(project) if project else None}
            case Field.ACTIVITY, _:
                found["activity_type"] = UUID(str(value)) if value else None
            case Field.OWNER, str():
                found["owner"] = UUID(value)
            case Field.DURATION, _:
                found["seconds"] = value
            case _:
                found[name.value] = value
    return found


class Words:
    """Values in people's words: names for ids, which are looked up at once, a query a kind.

    Ids of ours are UUIDs, Harvest's are numbers: what has no counterpart here is told by its name there.
    """

    def __init__(self, workspace_id: UUID, fields: Iterable[Mapping[Field, Mapping[str, Value]]]) -> None:
        ids: dict[str, set[str]] = {}
        for field, value in (
            (field, value) for some in fields for field, values in some.items() for value in values.values()
        ):
            match field, value:
                case Field.PLACEMENT, (client, project):
                    ids.setdefault("client", set()).add(str(client))
                    ids.setdefault("project", set()).add(str(project))
                case Field.ACTIVITY, str():
                    ids.setdefault("task", set()).add(value)
                case Field.OWNER, str():
                    ids.setdefault("person", set()).add(value)
        self._names: dict[tuple[str, str], str] = {}
        rows_of: dict[str, QuerySet[Any]] = {
            "client": Client.objects.filter(workspace_id=workspace_id),
            "project": Project.objects.filter(workspace_id=workspace_id),
            "task": ActivityType.objects.filter(workspace_id=workspace_id),
            "person": User.objects.all(),
        }
        for kind, rows in rows_of.items():
            ours = [one for one in ids.get(kind, ()) if "-" in one]
            if ours:
                self._names |= {(kind, str(row.pk)): row.name or str(row) for row in rows.filter(pk__in=ours)}
        theirs = [one for some in ids.values() for one in some if one.isdigit()]
        if theirs:
            items = HarvestItem.objects.filter(workspace_id=workspace_id, harvest_id__anyof=theirs)
            for kind, harvest_id, name in items.values_list("kind", "harvest_id", "name"):
                self._names[kind, harvest_id] = name

    def of(self, fields: Mapping[Field, Mapping[str, Value]]) -> dict[str, dict[str, Any]]:
        """{field: {word: value}} for a JSON column."""
        return {
            name.value: {word: self._word(name, value) for word, value in values.items()}
            for name, values in fields.items()
        }

    def _word(self, name: Field, value: Value) -> Any:
        match name, value:
            case _, None:
                return None
            case Field.PLACEMENT, (client, project):
                names = [self._name("client", client)] + ([self._name("project", project)] if project else [])
                return " › ".join(names)
            case Field.ACTIVITY, _:
                return self._name("task", value)
            case Field.OWNER, _:
                return self._name("person", value)
            case Field.DURATION, Decimal():
                return f"{value} h"
            case Field.DURATION, int():
                return f"{hours_of(value)} h"
            case Field.SPENT_DATE, date():
                return value.isoformat()
        return value

    def _name(self, kind: str, one: object) -> str:
        return self._names.get((kind, str(one)), str(one))
