"""Deciding and writing one page of entries: identities, logs, proposals, run entries, in bulk, in one transaction.

The caller is inside the workspace's scope and has proved that it still holds the run. `intake` decides; this gathers
what it needs to know, and writes what it says. In a preview nothing is written but the run's entries, with the plan;
applying a preview makes only what still comes out as planned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.bulk import NULL, Staging, copy_rows, escaped, plain
from accounts.ids import uuid7, uuid7_texts
from accounts.selectors import members_of
from harvest import intake
from harvest.adoption import own_or_twin
from harvest.catalogue import Seen, note_seen
from harvest.client import EntryPage
from harvest.credentials import PROVIDER
from harvest.intake import (
    ActivityTarget,
    Changed,
    Decision,
    Import,
    IntakeContext,
    KnownLink,
    Link,
    LinkState,
    ProjectTarget,
    Propose,
    Skip,
    Unchanged,
    WorkItem,
    WorkItems,
    decide,
    resolve_people,
)
from harvest.ledger import ENTRY_COLUMNS, NOTES_KEPT, kept_hours
from harvest.models import (
    ClientMapping,
    HarvestItem,
    ItemKind,
    PersonMapping,
    ProjectMapping,
    RememberedSkip,
    TaskMapping,
)
from harvest.payloads import TimeEntryPayload, UnreadableEntry, content_hash
from harvest.terms import hundredths
from harvest.updating import bring_into_step
from inbound.models import ProposalStatus, TimeProposal
from integrations.models import Connection, Outcome, Reason, RunEntry, SyncLink, SyncRun
from integrations.outgoing import present
from timelogs.models import Source, SyncState, TimeLog
from timelogs.models import WorkItem as WorkItemRow
from timelogs.signals import time_log_changed


# --- Deciding --------------------------------------------------------------------------------------------------------
def load_context(connection: Connection) -> IntakeContext:
    """What this workspace holds that decides about entries, as it stands now. A fixed number of queries.

    Its ids are texts: each is written and looked up thousands of times, which as a UUID costs several times as much.
    """
    workspace_id = connection.workspace_id
    workspace = connection.workspace
    members = {one.user.email: str(one.user_id) for one in members_of(workspace)}
    connected_by = str(connection.connected_by_id)
    people = HarvestItem.objects.filter(workspace_id=workspace_id, kind=ItemKind.PERSON).exclude(email="")
    return IntakeContext(
        projects={
            int(harvest_id): ProjectTarget(id=str(target), client=str(client))
            for harvest_id, target, client in ProjectMapping.objects.filter(
                workspace_id=workspace_id
            ).values_list("harvest_id", "target_id", "target__client_id")
        },
        clients={
            int(harvest_id): str(target)
            for harvest_id, target in ClientMapping.objects.filter(workspace_id=workspace_id).values_list(
                "harvest_id", "target_id"
            )
        },
        tasks={
            int(harvest_id): ActivityTarget(id=str(target), hourly_rate=rate)
            for harvest_id, target, rate in TaskMapping.objects.filter(workspace_id=workspace_id).values_list(
                "harvest_id", "target_id", "target__hourly_rate"
            )
        },
        people=resolve_people(
            mapped={
                int(harvest_id): str(target)
                for harvest_id, target in PersonMapping.objects.filter(workspace_id=workspace_id).values_list(
                    "harvest_id", "target_id"
                )
            },
            emails={
                int(harvest_id): email for harvest_id, email in people.values_list("harvest_id", "email")
            },
            members=members,
        ),
        fallback_owner=connected_by if connected_by in members.values() else None,
        work_items=WorkItems(
            WorkItem(str(pk), str(client), str(project) if project else None, key, title)
            for pk, client, project, key, title in WorkItemRow.objects.filter(workspace_id=workspace_id)
            .order_by("id")
            .values_list("id", "client_id", "project_id", "key", "title")
            .iterator(chunk_size=5000)
        ),
    )


def told_of(run: SyncRun, external_ids: Sequence[str]) -> set[str]:
    """Of which of these entries the run tells already."""
    with transaction.get_connection().cursor() as cursor:
        # Each is looked up by the index that ends with it, as no other has them in order. Another one begins with the
        # run too, and of a table without statistics the planner would as soon walk all of the run for each of them.
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(_TOLD, ["\n".join(external_ids), run.workspace_id, run.id])
        told = {external_id for (external_id,) in cursor.fetchall()}
        cursor.execute("SET LOCAL enable_sort = on")
    return told


_TOLD = """
SELECT wanted.external_id
FROM unnest(string_to_array(%s, E'\\n')) AS wanted (external_id)
CROSS JOIN LATERAL (
    SELECT FROM integrations_runentry
    WHERE workspace_id = %s AND run_id = %s
      AND external_id >= wanted.external_id AND external_id <= wanted.external_id
    ORDER BY external_id LIMIT 1
) told
"""


def known_links(connection: Connection, external_ids: Sequence[str]) -> dict[int, KnownLink]:
    """Which of these entries are something here already, and what."""
    with transaction.get_connection().cursor() as cursor:
        cursor.execute(
            _KNOWN, ["\n".join(external_ids), connection.workspace_id, PROVIDER, connection.account_id]
        )
        return {int(pk): KnownLink(_STATES[state], content) for pk, content, state in cursor.fetchall()}


# One look-up by the whole identity for each id, whatever the planner believes of the table: of one without statistics,
# as after a first import, it would rather walk all links of the workspace for every page. The state is told here, as
# what it is told from costs several times as much to bring.
_KNOWN = f"""
SELECT wanted.external_id, link.remote_hash, CASE
    WHEN link.time_log_id IS NOT NULL THEN '{LinkState.LINKED}'
    WHEN link.former_log_id IS NOT NULL AND link.parted THEN '{LinkState.PARTED}'
    WHEN link.former_log_id IS NOT NULL THEN '{LinkState.GONE}'
    WHEN proposal.status = '{ProposalStatus.DISMISSED}' THEN '{LinkState.DISMISSED}'
    WHEN proposal.status = '{ProposalStatus.WITHDRAWN}' THEN '{LinkState.GONE}'
    ELSE '{LinkState.PROPOSED}'
END
FROM unnest(string_to_array(%s, E'\\n')) AS wanted (external_id)
CROSS JOIN LATERAL (
    SELECT workspace_id, remote_hash, time_log_id, former_log_id, proposal_id, base IS NULL AS parted
    FROM integrations_synclink
    WHERE workspace_id = %s AND provider = %s AND account_id = %s AND external_id = wanted.external_id
    OFFSET 0
) link
LEFT JOIN inbound_timeproposal proposal
    ON proposal.workspace_id = link.workspace_id AND proposal.id = link.proposal_id
"""  # noqa: S608 - own names
_STATES = {state.value: state for state in LinkState}


# --- Writing ---------------------------------------------------------------------------------------------------------
# What is made of entries, and what is only told of them, each staged once. Types are those of the tables.
MADE = Staging(
    "harvest_made",
    {
        "external_id": "text", "as_log": "boolean", "made_id": "uuid", "link_id": "uuid", "entry_id": "uuid",
        "client_id": "uuid", "project_id": "uuid", "work_item_id": "uuid", "activity_type_id": "uuid",
        "owner_id": "uuid", "hourly_rate": "numeric(12,2)", "remote_user_id": "text", "spent_date": "date",
        "seconds": "integer", "hours": "numeric(12,2)", "billable": "boolean", "remote_hash": "text",
        "notes": "text", "base": "jsonb",
    },
)  # fmt: skip
TOLD = Staging(
    "harvest_told",
    {
        "external_id": "text", "entry_id": "uuid", "outcome": "text", "reason": "text", "spent_date": "date",
        "hours": "numeric(12,2)", "notes": "text", "detail": "text", "remote": "jsonb", "plan": "jsonb",
    },
)  # fmt: skip
LINK_IDENTITY = ("workspace_id", "provider", "account_id", "external_id")
LINKS = {
    "id": "link_id", "workspace_id": "%(workspace)s", "provider": "%(provider)s", "account_id": "%(account)s",
    "external_id": "external_id", "time_log_id": "CASE WHEN as_log THEN made_id END",
    "proposal_id": "CASE WHEN NOT as_log THEN made_id END", "remote_hash": "remote_hash",
    "remote_user_id": "remote_user_id", "base": "base", "created_at": "%(now)s",
}  # fmt: skip
ALIKE = {
    name: name
    for name in (
        "client_id", "activity_type_id", "owner_id", "spent_date", "seconds", "notes", "billable", "hourly_rate",
        "external_id",
    )
}  # fmt: skip
LOGS = {
    "id": "made_id", "workspace_id": "%(workspace)s", **ALIKE, "project_id": "project_id",
    "work_item_id": "work_item_id", "source": "%(source)s", "sync_state": "%(in_step)s", "sync_detail": "''",
    "created_at": "%(now)s", "updated_at": "%(now)s",
}  # fmt: skip
PROPOSALS = {
    "id": "made_id", "workspace_id": "%(workspace)s", **ALIKE, "status": "%(pending)s", "created_at": "%(now)s",
}  # fmt: skip
ENTRIES = {
    "id": "entry_id", "workspace_id": "%(workspace)s", "run_id": "%(run)s", "external_id": "external_id",
    "spent_date": "spent_date", "hours": "hours",
}  # fmt: skip
ENTRIES_MADE = {
    **ENTRIES, "outcome": "CASE WHEN as_log THEN %(imported)s ELSE %(proposed)s END", "reason": "''",
    "detail": "''", "notes": "left(notes, %(kept)s)", "remote": "'{}'",
}  # fmt: skip
ENTRIES_TOLD = {
    **ENTRIES, "outcome": "outcome", "reason": "reason", "detail": "detail", "notes": "notes", "remote": "remote",
    "plan": "plan",
}  # fmt: skip
REMEMBERED_COLUMNS = (
    "id", "workspace_id", "account_id", "external_id", "harvest_client_id", "harvest_project_id", "harvest_task_id",
    "spent_date", "hours",
)  # fmt: skip


@dataclass(slots=True)
class Batch:
    """The rows that a set of decisions comes to, in COPY's format, and what is needed to tell of them.

    made: how many identities are claimed; when the database takes fewer, the batch is built again without the rest.
    """

    time_logs: list[str]
    made: int
    made_rows: bytes
    told_rows: bytes


@dataclass(slots=True)
class Prepared:
    """A page, decided and ready to write. external_ids: of every entry on it that this page writes of.

    since: when the run began to read what this page is a part of.
    """

    decisions: list[tuple[TimeEntryPayload, Decision]]
    plans: Mapping[str, str] | None
    batch: Batch
    unreadable: list[tuple[Any, ...]]
    external_ids: frozenset[str]
    since: datetime


NOTHING: frozenset[str] = frozenset()


def prepare_page(
    run: SyncRun,
    page: EntryPage,
    context: IntakeContext,
    *,
    only: frozenset[str] | None = None,
    in_flight: frozenset[str] = NOTHING,
    since: datetime | None = None,
) -> Prepared:
    """Decide a page inside the scope, writing nothing. What the run tells of already is left out.

    only: of these entries alone, by external id; the others are not this run's. in_flight: entries of pages that are
    being written meanwhile, which tell of them. since: when the reading began, now unless given.
    """
    entries = {
        external_id: entry
        for entry in page.entries
        if (external_id := str(entry.id)) not in in_flight and (only is None or external_id in only)
    }
    bad = {bad_id(one): one for one in page.bad} if only is None else {}
    told = told_of(run, [*entries, *bad])
    ids = [external_id for external_id in entries if external_id not in told]
    fresh = [entries[external_id] for external_id in ids]
    known = known_links(run.connection, ids)
    joins = own_or_twin(run.connection, [entry for entry in fresh if entry.id not in known])
    context = replace(context, known=known, own_or_twin=joins)
    decisions = [(entry, decide(entry, context)) for entry in fresh]
    plans = plans_of(run, ids)
    return Prepared(
        decisions=decisions,
        plans=plans,
        batch=build_batch(run, decisions, plans),
        unreadable=[
            _bad_row(run, external_id, one)
            for external_id, one in bad.items()
            if external_id not in told and external_id not in in_flight
        ],
        external_ids=frozenset([*ids, *bad]),
        since=since or present(),
    )


def write_prepared(run: SyncRun, prepared: Prepared, seen: Seen) -> None:
    """Write a prepared page, inside the scope, in the caller's transaction.

    seen: what the run's earlier pages carried, so that the catalogue is told each item once.
    """
    _save(run, prepared.decisions, prepared.plans, prepared.batch)
    joins = {str(entry.id): one.time_log for entry, one in prepared.decisions if isinstance(one, Link)}
    bring_into_step(
        run,
        {str(entry.id): entry for entry, one in prepared.decisions if isinstance(one, (Changed, Link))},
        since=prepared.since,
        joins={external_id: UUID(str(log)) for external_id, log in joins.items()},
        plans=prepared.plans,
    )
    if prepared.unreadable:
        copy_rows(RunEntry, ENTRY_COLUMNS, prepared.unreadable, skip_conflicts=True)
    if not run.dry_run:
        _remember(run, prepared.decisions)
        note_seen(run.connection, [entry for entry, _ in prepared.decisions], seen)


def plans_of(run: SyncRun, external_ids: Sequence[str]) -> Mapping[str, str] | None:
    """What the preview that this run applies said of these entries: external id -> hash. None for any other run."""
    if run.preview_id is None:
        return None
    rows = RunEntry.objects.filter(
        workspace_id=run.workspace_id,
        run_id=run.preview_id,
        external_id__anyof=list(external_ids),
        plan__isnull=False,
    ).values_list("external_id", "plan__hash")
    return dict(rows)


def plan_hash(entry: TimeEntryPayload, decision: Import | Propose) -> str:
    """Equal exactly when the entry's content and all that would become of it are equal."""
    placed = [
        type(decision).__name__, content_hash(entry), decision.client, getattr(decision, "project", None),
        getattr(decision, "work_item", None), decision.activity_type, decision.owner, decision.hourly_rate,
    ]  # fmt: skip
    return hashlib.blake2b("|".join(map(str, placed)).encode(), digest_size=12).hexdigest()


def _moved(entry: TimeEntryPayload, decision: Decision, plans: Mapping[str, str]) -> str:
    """Why a decision is not the previewed one any more; '' where it is."""
    if not isinstance(decision, (Import, Propose)):
        return ""
    planned = plans.get(str(entry.id))
    if planned is None:
        return "The preview did not bring this entry in."
    if planned != plan_hash(entry, decision):
        return "The entry, or where it belongs, has changed since the preview."
    return ""


def name_what_is_gone(run: SyncRun) -> None:
    """After a complete reading: what the preview would have brought in and Harvest no longer lists, as moved."""
    told = RunEntry.objects.filter(
        workspace_id=run.workspace_id, run=run, external_id=OuterRef("external_id")
    )
    gone = RunEntry.objects.filter(
        ~Exists(told), workspace_id=run.workspace_id, run_id=run.preview_id, plan__isnull=False
    )
    rows = [
        (
            uuid7(), run.workspace_id, run.id, one.external_id, Outcome.SKIPPED.value,
            Reason.MOVED_SINCE_PREVIEW.value, "Harvest no longer has this entry in the window.", None, None,
            one.spent_date, one.hours, one.notes, "{}", None,
        )
        for one in gone.iterator(chunk_size=2000)
    ]  # fmt: skip
    if rows:
        copy_rows(RunEntry, ENTRY_COLUMNS, rows, skip_conflicts=True)


UNMAPPED = (intake.Reason.PROJECT_NOT_MAPPED, intake.Reason.TASK_NOT_MAPPED)


def _remember(run: SyncRun, decisions: Sequence[tuple[TimeEntryPayload, Decision]]) -> None:
    """Keep what a missing mapping left out; forget what is no longer left out for that."""
    if not decisions:
        return
    remembered = RememberedSkip.objects.filter(workspace_id=run.workspace_id, account_id=run.account_id)
    if remembered.exists():  # as a rule nothing is
        remembered.filter(external_id__anyof=[str(entry.id) for entry, _ in decisions]).delete()
    rows = [
        (
            uuid7(), run.workspace_id, run.account_id, str(entry.id), str(entry.client_id), str(entry.project_id),
            str(entry.task_id), entry.spent_date, kept_hours(entry.hours) or Decimal(0),
        )
        for entry, one in decisions
        if isinstance(one, Skip) and one.reason in UNMAPPED
    ]  # fmt: skip
    if rows:
        copy_rows(RememberedSkip, REMEMBERED_COLUMNS, rows)


def _save(
    run: SyncRun,
    decisions: Sequence[tuple[TimeEntryPayload, Decision]],
    plans: Mapping[str, str] | None,
    batch: Batch | None = None,
) -> None:
    """Write decisions in bulk. One that the database refuses is told as `save_failed`; the others go on.

    A refused set is halved until the culprit stands alone: one bad entry in 2,000 costs some twenty inserts.
    """
    if not decisions:
        return
    try:
        with transaction.atomic():
            _write(run, decisions, plans, batch or build_batch(run, decisions, plans))
    except (DataError, IntegrityError) as error:
        if len(decisions) == 1:
            entry, _ = decisions[0]
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            detail = f"It could not be saved: {cause}"
            TOLD.fill(_told(uuid7().hex, entry, Outcome.FAILED, Reason.SAVE_FAILED, detail).encode())
            TOLD.into(RunEntry, ENTRIES_TOLD, {"workspace": run.workspace_id, "run": run.id})
            return
        middle = len(decisions) // 2
        _save(run, decisions[:middle], plans)
        _save(run, decisions[middle:], plans)


def _write(
    run: SyncRun,
    decisions: Sequence[tuple[TimeEntryPayload, Decision]],
    plans: Mapping[str, str] | None,
    batch: Batch,
) -> None:
    """Insert everything. Raises IntegrityError, DataError: references too are checked here rather than at commit, so
    that one which went away meanwhile is one entry's failure."""
    shared = {
        "workspace": run.workspace_id, "provider": PROVIDER, "account": run.account_id, "run": run.id,
        "now": timezone.now(), "source": Source.HARVEST.value, "in_step": SyncState.SYNCED.value,
        "pending": ProposalStatus.PENDING.value, "imported": Outcome.IMPORTED.value,
        "proposed": Outcome.PROPOSED.value, "kept": NOTES_KEPT,
    }  # fmt: skip
    if batch.made:
        # Identities first: whoever else may have brought an entry in meanwhile wins, and ours is known already then.
        MADE.fill(batch.made_rows)
        if MADE.into(SyncLink, LINKS, shared, skip_conflicts=LINK_IDENTITY) < batch.made:
            batch = build_batch(run, decisions, plans, known_now=_taken_by_others(shared))
            MADE.fill(batch.made_rows)
            MADE.into(SyncLink, LINKS, shared)
        if batch.time_logs:
            MADE.into(TimeLog, LOGS, shared, where="as_log")
        if len(batch.time_logs) < batch.made:
            MADE.into(TimeProposal, PROPOSALS, shared, where="NOT as_log")
        MADE.into(RunEntry, ENTRIES_MADE, shared)
    if batch.told_rows:
        TOLD.fill(batch.told_rows)
        TOLD.into(RunEntry, ENTRIES_TOLD, shared)
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    if batch.time_logs:
        time_log_changed.send(
            sender=TimeLog,
            workspace_id=run.workspace_id,
            time_log_ids=[UUID(one) for one in batch.time_logs],
            change="created",
            origin="sync",
        )


def _taken_by_others(shared: Mapping[str, Any]) -> set[str]:
    """Which of the staged entries somebody else has brought in, when ours are claimed as far as they could be; those
    of ours are given up again."""
    ours = (
        f"FROM {SyncLink._meta.db_table} link JOIN {MADE.name} made ON link.id = made.link_id"
        " AND link.external_id = made.external_id WHERE link.workspace_id = %(workspace)s"
        " AND link.provider = %(provider)s AND link.account_id = %(account)s"
    )
    with transaction.get_connection().cursor() as cursor:
        cursor.execute(
            f"SELECT external_id FROM {MADE.name} EXCEPT SELECT link.external_id {ours}",  # noqa: S608 - own names
            shared,
        )
        others = {row[0] for row in cursor.fetchall()}
        cursor.execute(
            f"DELETE FROM {SyncLink._meta.db_table} WHERE id IN (SELECT link.id {ours})"  # noqa: S608 - own names
            " AND workspace_id = %(workspace)s",
            shared,
        )
    return others


def build_batch(
    run: SyncRun,
    decisions: Sequence[tuple[TimeEntryPayload, Decision]],
    plans: Mapping[str, str] | None,
    *,
    known_now: Collection[str] = (),
) -> Batch:
    """The rows that decisions come to. known_now: external ids that somebody else has brought in meanwhile."""
    ids = iter(uuid7_texts(sum(3 if isinstance(one, (Import, Propose)) else 1 for _, one in decisions)))
    logs: list[str] = []
    made: list[str] = []
    told: list[str] = []
    for entry, one in decisions:
        match one:
            case Skip(reason=intake.Reason.ALREADY_IMPORTED):
                told.append(_told_here(next(ids), entry))
            case Skip():
                failed = one.reason is intake.Reason.SAVE_FAILED
                outcome = Outcome.FAILED if failed else Outcome.SKIPPED
                told.append(_told(next(ids), entry, outcome, Reason(one.reason.value), one.detail))
            case Unchanged():
                told.append(_told(next(ids), entry, Outcome.UNCHANGED))
            case Changed() | Link():
                pass  # `updating` brings those into step
            case Import() | Propose():
                as_log = isinstance(one, Import)
                moved = _moved(entry, one, plans) if plans is not None else ""
                if moved or (known_now and str(entry.id) in known_now):
                    reason = Reason.MOVED_SINCE_PREVIEW if moved else Reason.ALREADY_IMPORTED
                    told.append(_told(next(ids), entry, Outcome.SKIPPED, reason, moved))
                elif run.dry_run:
                    outcome = Outcome.IMPORTED if as_log else Outcome.PROPOSED
                    told.append(_told(next(ids), entry, outcome, planned=one))
                else:
                    made_id = next(ids)
                    made.append(_made(made_id, next(ids), next(ids), entry, one))
                    if as_log:
                        logs.append(made_id)
            case _:
                raise TypeError(f"Not a decision of an import: {one!r}")
    return Batch(logs, len(made), "".join(made).encode(), "".join(told).encode())


def _made(made_id: str, link_id: str, entry_id: str, entry: TimeEntryPayload, one: Import | Propose) -> str:
    """The line of MADE. What repeats from entry to entry is kept as text; what need not be escaped is not."""
    notes = entry.notes
    base = first_base(entry, one)
    if not plain(notes):
        notes, base = escaped(notes), escaped(base)
    as_log = isinstance(one, Import)
    project = getattr(one, "project", None) or NULL
    item = getattr(one, "work_item", None) or NULL
    return (
        f"{entry.id}\t{'t' if as_log else 'f'}\t{made_id}\t{link_id}\t{entry_id}\t{one.client}\t{project}\t{item}\t"
        f"{one.activity_type or NULL}\t{one.owner}\t{one.hourly_rate}\t{entry.user_id}\t{one.spent_date}\t"
        f"{one.seconds}\t{_kept(entry.hours)}\t{'t' if one.billable else 'f'}\t{content_hash(entry)}\t{notes}\t"
        f"{base}\n"
    )


@lru_cache(maxsize=4096)
def _kept(hours: Decimal) -> str:
    kept = kept_hours(hours)
    return NULL if kept is None else str(kept)


def _told(
    entry_id: str,
    entry: TimeEntryPayload,
    outcome: Outcome,
    reason: Reason | None = None,
    detail: str = "",
    *,
    planned: Import | Propose | None = None,
) -> str:
    """The line of TOLD."""
    notes, remote, plan = entry.notes[:NOTES_KEPT], "{}", NULL
    if outcome in (Outcome.SKIPPED, Outcome.FAILED) and reason != Reason.ALREADY_IMPORTED:
        remote = escaped(_json_of(entry))
    if planned is not None:
        plan = escaped(_plan_of(entry, planned))
    return (
        f"{entry.id}\t{entry_id}\t{outcome.value}\t{reason.value if reason else ''}\t{entry.spent_date}\t"
        f"{_kept(entry.hours)}\t{notes if plain(notes) else escaped(notes)}\t{escaped(detail)}\t{remote}\t{plan}\n"
    )


def first_base(entry: TimeEntryPayload, one: Import | Propose) -> str:
    """The base of an entry that just came in, as JSON: both halves of a log, the remote half of a proposal.

    As `dump_base` writes it, at a tenth of its cost: ids and hours repeat from entry to entry.
    """
    hours, day = _hours_json(entry.hours), entry.spent_date
    notes = f'"{entry.notes}"' if plain(entry.notes) else _json_text(entry.notes)
    billable = "true" if entry.billable else "false"
    ids = _ids_json(one, entry)
    if isinstance(one, Import):
        return (
            f'{{{ids},"spent_date":"{day}","duration":[{one.seconds},{hours}],"notes":{notes},'
            f'"billable":{billable}}}'
        )
    return (
        f'{{{ids},"spent_date":[null,"{day}"],"duration":[null,{hours}],"notes":[null,{notes}],'
        f'"billable":[null,{billable}]}}'
    )


_json_text = json.JSONEncoder(ensure_ascii=False).encode


def _ids_json(one: Import | Propose, entry: TimeEntryPayload) -> str:
    """Placement, activity and owner of a base, without braces; of a proposal, Harvest's side alone.

    Each kept by itself: together they are as many as people, projects and tasks multiplied.
    """
    if isinstance(one, Import):
        ours, activity, owner = (one.client, one.project), one.activity_type, one.owner
    else:
        ours, activity, owner = None, None, None
    return (
        f"{_placement_json(ours, entry.client_id, entry.project_id)},"
        f'"activity":{_pair_json(activity, entry.task_id)},"owner":{_pair_json(owner, entry.user_id)}'
    )


@lru_cache(maxsize=4096)
def _placement_json(ours: tuple[Any, Any] | None, client: int, project: int) -> str:
    place = ours and [str(ours[0]), str(ours[1]) if ours[1] else None]
    return f'"placement":{json.dumps([place, [str(client), str(project)]], separators=(",", ":"))}'


@lru_cache(maxsize=4096)
def _pair_json(ours: Any, theirs: int) -> str:
    return json.dumps([str(ours) if ours else None, str(theirs)], separators=(",", ":"))


@lru_cache(maxsize=4096)
def _hours_json(hours: Decimal) -> str:
    return f'"{hundredths(hours)}"'


def _told_here(entry_id: str, entry: TimeEntryPayload) -> str:
    """The line of TOLD of an entry that is here already: of the same window again, nearly every one."""
    notes = entry.notes[:NOTES_KEPT]
    return (
        f"{entry.id}\t{entry_id}\t{_HERE}\t{entry.spent_date}\t{_kept(entry.hours)}\t"
        f"{notes if plain(notes) else escaped(notes)}\t\t{{}}\t{NULL}\n"
    )


_HERE = f"{Outcome.SKIPPED.value}\t{Reason.ALREADY_IMPORTED.value}"


def _plan_of(entry: TimeEntryPayload, one: Import | Propose) -> str:
    return json.dumps(
        {
            "hash": plan_hash(entry, one),
            "client": str(one.client),
            "project": str(getattr(one, "project", None) or "") or None,
            "seconds": one.seconds,
            "hourly_rate": str(one.hourly_rate),
            "billable": one.billable,
        }
    )


def _json_of(entry: TimeEntryPayload) -> str:
    return json.dumps(
        {
            "client_id": str(entry.client_id),
            "client": entry.client_name,
            "project_id": str(entry.project_id),
            "project": entry.project_name,
            "task_id": str(entry.task_id),
            "task": entry.task_name,
            "user_id": str(entry.user_id),
            "user": entry.user_name,
        }
    )


def bad_id(one: UnreadableEntry) -> str:
    """A name for an unreadable entry that is the same in every reading: its id, or a mark made of what it holds."""
    if one.remote_id:
        return one.remote_id[:40]
    return "?" + hashlib.blake2b(repr(one).encode(), digest_size=12).hexdigest()


def _bad_row(run: SyncRun, external_id: str, one: UnreadableEntry) -> tuple[Any, ...]:
    try:
        hours = kept_hours(Decimal(one.hours))
    except ArithmeticError:
        hours = None
    return (
        uuid7(), run.workspace_id, run.id, external_id, Outcome.FAILED.value, Reason.SAVE_FAILED.value,
        f"Harvest sent it in a form that cannot be read: {one.reason}", None, None, one.spent_date, hours,
        one.notes[:NOTES_KEPT], "{}", None,
    )  # fmt: skip
