"""Runs: started once, held by a lease, told by their entries.

A run is queued -> running -> succeeded | partial | failed. That a connection has at most one live run is a unique
index, so two starts at once cannot both succeed. A worker claims a run for `lease_seconds` and prolongs the claim
inside every transaction that writes for it: a worker that lost its claim can write nothing more, however late it
wakes. What stops half-way is claimed again once the lease is over, and walks the same window; entries that the run
already has are left alone, so nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db import connection as database
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from accounts.errors import RunInProgress
from accounts.ids import uuid7
from accounts.models import User, Workspace
from accounts.tenancy import SPAN_SWEEP, span
from integrations.models import (
    LIVE_STATES,
    Connection,
    Deed,
    Outcome,
    Reason,
    RunEntry,
    RunKind,
    RunState,
    SyncEvent,
    SyncLink,
    SyncRun,
)
from timelogs.money import cents

MOST_ATTEMPTS = 20


class LeaseLost(Exception):
    """Another worker holds the run now, or it was ended: this one must stop without writing."""


# --- Starting and holding --------------------------------------------------------------------------------------------
def start_run(
    *,
    connection: Connection,
    kind: str,
    from_date: date | None = None,
    to_date: date | None = None,
    dry_run: bool = False,
    requested_by: User | None = None,
    preview: SyncRun | None = None,
    remembered: bool = False,
) -> SyncRun:
    """Queue a run. Raises RunInProgress (with the live run's id as `run`) where one is queued or running."""
    run = SyncRun(
        workspace_id=connection.workspace_id,
        connection=connection,
        kind=kind,
        account_id=connection.account_id,
        from_date=from_date,
        to_date=to_date,
        dry_run=dry_run,
        requested_by=requested_by,
        preview=preview,
        remembered=remembered,
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError as error:
        if "integrations_run_one_live" not in str(error):
            raise
        other = SyncRun.objects.filter(connection=connection, state__in=LIVE_STATES).first()
        raise RunInProgress(
            "An import or sync is running already. Wait for it to end, then start this one.",
            run=str(other.id) if other else None,
        ) from error
    return run


def claim_run(*, workspace_id: UUID, run_id: UUID, lease_seconds: int) -> SyncRun | None:
    """Take hold of a queued run, or of a running one whose lease is over. None where there is nothing to take."""
    now = timezone.now()
    taken = SyncRun.objects.filter(
        Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, lease_until__lt=now),
        workspace_id=workspace_id,
        id=run_id,
    ).update(
        state=RunState.RUNNING,
        lease_token=uuid7(),
        lease_until=now + timedelta(seconds=lease_seconds),
        attempts=F("attempts") + 1,
    )
    if not taken:
        return None
    SyncRun.objects.filter(id=run_id, started_at=None).update(started_at=now)
    return SyncRun.objects.select_related("connection", "workspace", "requested_by").get(id=run_id)


def prolong(run: SyncRun, *, lease_seconds: int, **values: Any) -> None:
    """Keep hold of a claimed run, and note `values` on it. Raises LeaseLost.

    It locks the run's row until the caller's transaction ends: two workers cannot write for one run at once.
    """
    until = timezone.now() + timedelta(seconds=lease_seconds)
    held = SyncRun.objects.filter(id=run.id, state=RunState.RUNNING, lease_token=run.lease_token).update(
        lease_until=until, **values
    )
    if not held:
        raise LeaseLost(str(run.id))


def prove_held(run: SyncRun) -> None:
    """Prove that a claimed run is still held, until the caller's transaction ends. Raises LeaseLost.

    Unlike after `prolong`, the worker that holds it may have several such transactions at once; nobody else may take
    the run, or end it, meanwhile.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT FROM integrations_syncrun"
            " WHERE workspace_id = %s AND id = %s AND state = %s AND lease_token = %s FOR SHARE",
            [run.workspace_id, run.id, RunState.RUNNING, run.lease_token],
        )
        if not cursor.rowcount:
            raise LeaseLost(str(run.id))


def finish_run(run: SyncRun, *, state: str, error: str = "") -> None:
    """End a claimed run. Raises LeaseLost."""
    ended = SyncRun.objects.filter(id=run.id, state=RunState.RUNNING, lease_token=run.lease_token).update(
        state=state, error=error, finished_at=timezone.now(), lease_token=None, lease_until=None
    )
    if not ended:
        raise LeaseLost(str(run.id))


def release_run(run: SyncRun, *, until: datetime, counts: bool = True) -> None:
    """Let go of a claimed run so that it is claimed again at `until`: for trouble that passes.

    counts: as one of the attempts after which a run is given up.
    """
    SyncRun.objects.filter(id=run.id, state=RunState.RUNNING, lease_token=run.lease_token).update(
        lease_token=None, lease_until=until, attempts=F("attempts") - (0 if counts else 1)
    )


def end_live_runs(connection: Connection, *, error: str) -> None:
    """End whatever run of this connection lives, from outside: its worker notices at its next step."""
    SyncRun.objects.filter(connection=connection, state__in=LIVE_STATES).update(
        state=RunState.FAILED, error=error, finished_at=timezone.now(), lease_token=None, lease_until=None
    )


def due_runs(*, queued_for: timedelta) -> list[tuple[UUID, UUID]]:
    """(workspace id, run id) of runs that nobody works on: left behind by a dead worker, or never picked up.

    Those that a person waits for come first, however many nights wait, and of each sort those left behind. Spans
    workspaces, reading only; whoever works on one enters its workspace's scope.
    """
    now = timezone.now()
    with span(SPAN_SWEEP, "runs"):
        return list(
            SyncRun.objects.filter(
                Q(state=RunState.RUNNING, lease_until__lt=now)
                | Q(state=RunState.QUEUED, created_at__lt=now - queued_for)
            )
            .annotate(by_itself=Q(kind__in=(RunKind.AUTO, RunKind.CHANGES)))
            .order_by("by_itself", "lease_until", "id")
            .values_list("workspace_id", "id")[:500]
        )


# --- What a run came to ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Counts:
    """What a run's entries say. `skipped` is by reason; `failed` entries stand in it too, under `save_failed`.

    held: logs of which it found that something cannot travel, or that both sides changed it. Of `pushed` there are no
    entries: these are the logs that it found had to go out, once they have; the history of each tells what was done.
    """

    done: int = 0
    held: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    def of(self, outcome: str) -> int:
        return self.outcomes.get(outcome, 0)

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """[{reason, label, count}] in the reasons' order."""
        return [
            {"reason": reason.value, "label": reason.label, "count": self.reasons[reason.value]}
            for reason in Reason
            if self.reasons.get(reason.value)
        ]


STATED = (Deed.HELD, Deed.CONFLICT)
SENT = (Deed.PUSHED, Deed.SENT, Deed.REPLACED, Deed.REMOVED)
READ_OUTCOMES = (
    Outcome.IMPORTED,
    Outcome.UPDATED,
    Outcome.LINKED,
    Outcome.PROPOSED,
    Outcome.UNCHANGED,
    Outcome.FAILED,
    Outcome.SKIPPED,
)


def counts_of(runs: Iterable[SyncRun]) -> dict[UUID, Counts]:
    """The counts of these runs, from their entries and the histories of the logs they dealt with, in two queries."""
    ids = [run.id for run in runs]
    outcomes: dict[UUID, dict[str, int]] = {one: {} for one in ids}
    reasons: dict[UUID, dict[str, int]] = {one: {} for one in ids}
    grouped = (
        RunEntry.objects.filter(run_id__in=ids)
        .values("run_id", "outcome", "reason")
        .order_by()
        .annotate(n=Count("id"))
    )
    for row in grouped if ids else ():
        run_id, outcome = row["run_id"], row["outcome"]
        outcomes[run_id][outcome] = outcomes[run_id].get(outcome, 0) + row["n"]
        if row["reason"] and outcome in (Outcome.SKIPPED, Outcome.FAILED):
            reasons[run_id][row["reason"]] = reasons[run_id].get(row["reason"], 0) + row["n"]
    held: dict[UUID, int] = {}
    told = SyncEvent.objects.filter(run_id__in=ids, deed__in=STATED + SENT).order_by().values_list("run_id")
    by_log = [Count("time_log", distinct=True, filter=Q(deed__in=deeds)) for deeds in (STATED, SENT)]
    for run_id, stated, sent in told.annotate(stated=by_log[0], sent=by_log[1]) if ids else ():
        held[run_id] = stated
        if sent:
            outcomes[run_id][Outcome.PUSHED] = sent
    return {
        one: Counts(
            held=held.get(one, 0),
            done=sum(outcomes[one].get(outcome, 0) for outcome in READ_OUTCOMES),
            outcomes=outcomes[one],
            reasons=reasons[one],
        )
        for one in ids
    }


def runs_of(workspace: Workspace) -> QuerySet[SyncRun]:
    """The workspace's runs with what a list shows of each."""
    return SyncRun.objects.filter(workspace=workspace).select_related("connection", "requested_by")


def entries_of(run: SyncRun) -> QuerySet[RunEntry]:
    return RunEntry.objects.filter(workspace_id=run.workspace_id, run=run)


TAKEN_BACK = "Taken back by undo."
BROUGHT_IN = (Outcome.IMPORTED, Outcome.PROPOSED)


def brought_in(run: SyncRun, *outcomes: str) -> QuerySet[SyncLink]:
    """The identities of what a run itself brought in and nobody has taken back."""
    told = entries_of(run).filter(outcome__in=outcomes or BROUGHT_IN).exclude(detail=TAKEN_BACK)
    return _identities(run).filter(external_id__in=told.values("external_id"))


def name_what_came_in(run: SyncRun, entries: Iterable[RunEntry], *related: str) -> None:
    """Set `time_log`, or `proposal`, of those of the entries that the run itself brought in, in one query.

    related: what to read with them, from the link on ("time_log__client"); without it only their ids are set.
    """
    made = [one for one in entries if one.outcome in BROUGHT_IN and one.detail != TAKEN_BACK]
    if run.dry_run or not made:
        return
    links = _identities(run).filter(external_id__anyof=[one.external_id for one in made])
    found = {link.external_id: link for link in links.select_related(*related or [None])}
    for one in made:
        if (link := found.get(one.external_id)) is None:
            continue
        field = "proposal" if one.outcome == Outcome.PROPOSED else "time_log"
        held = "former_log" if field == "time_log" and link.time_log_id is None else field
        setattr(one, f"{field}_id", getattr(link, f"{held}_id"))
        if related:
            setattr(one, field, getattr(link, held))


def _identities(run: SyncRun) -> QuerySet[SyncLink]:
    return SyncLink.objects.filter(
        workspace_id=run.workspace_id, provider=run.connection.provider, account_id=run.account_id
    )


@dataclass(frozen=True, slots=True)
class ClientAmount:
    """What a preview would bring in for one client: entries, seconds, and the billable ones' amount, half-up once."""

    client_id: UUID
    client_name: str
    entries: int
    seconds: int
    amount: Decimal


def amounts_by_client(run: SyncRun) -> list[ClientAmount]:
    """Hours and amounts by client of what a preview planned, by client name. One query."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT c.id, c.name, count(*), sum((e.plan->>'seconds')::bigint),"
            " sum(CASE WHEN (e.plan->>'billable')::boolean"
            " THEN (e.plan->>'seconds')::bigint * (e.plan->>'hourly_rate')::numeric ELSE 0 END)"
            " FROM integrations_runentry e"
            " JOIN clients_client c ON c.workspace_id = e.workspace_id AND c.id = (e.plan->>'client')::uuid"
            " WHERE e.workspace_id = %s AND e.run_id = %s AND e.plan IS NOT NULL AND e.plan <> 'null'::jsonb"
            " GROUP BY c.id, c.name ORDER BY lower(c.name), c.id",
            [run.workspace_id, run.id],
        )
        return [
            ClientAmount(client_id, name, entries, int(seconds), cents(Decimal(weighted) / 3600))
            for client_id, name, entries, seconds, weighted in cursor.fetchall()
        ]


def shown_total(run: SyncRun, counts: Counts) -> int:
    """Entries the run has read; while it lives, as many as Harvest says there are."""
    return max(run.expected or 0, counts.done) if run.live else counts.done


def headline(run: SyncRun, counts: Counts) -> str:
    """The first line of a result, word for word as in spec 7."""
    total = shown_total(run, counts)
    window = f" ({run.from_date} → {run.to_date})" if run.from_date and run.to_date else ""
    entries = "entry" if total == 1 else "entries"
    if run.dry_run:
        return f"An import would bring in {counts.of(Outcome.IMPORTED):,} of {total:,} {entries}{window}"
    if run.kind == RunKind.IMPORT:
        return f"Imported {counts.of(Outcome.IMPORTED):,} of {total:,} {entries}{window}"
    if not total:
        return "Nothing new in Harvest"
    return f"Read {total:,} changed {entries}: {counts.of(Outcome.IMPORTED):,} imported{window}"


def summary(run: SyncRun, counts: Counts) -> str:
    """A run in words: the headline, what went to Inbound, and each group of skipped entries, a line each."""
    if run.state == RunState.QUEUED:
        return "Waiting to start"
    if run.state == RunState.RUNNING:
        return f"{counts.done:,} of {shown_total(run, counts):,} entries"
    lines = []
    if not (run.state == RunState.FAILED and counts.done == 0):
        lines.append(headline(run, counts))
    if run.error:
        lines.append(run.error)
    if question := asked(run):
        lines.append(f"{GUARDS[question['kind']]} ({question['count']:,})")
    if proposed := counts.of(Outcome.PROPOSED):
        lines.append(f"{'Would go' if run.dry_run else 'Sent'} to Inbound: {proposed:,}")
    for outcome in (Outcome.UPDATED, Outcome.LINKED, Outcome.DELETED, Outcome.PUSHED):
        if n := counts.of(outcome):
            lines.append(f"{outcome.label}: {n:,}")
    if counts.skipped:
        lines.append("Skipped:")
        lines += [f"- {group['label']}: {group['count']:,}" for group in counts.skipped]
    return "\n".join(lines)


GUARDS = {
    "incomplete_listing": "Harvest's listing did not come to its end, so nothing was deleted. Sync again.",
    "other_account": "The token belongs to somebody else than before, so nothing was deleted. Connect again.",
    "sees_less": "The token sees less of Harvest than before, so what it does not see was not deleted.",
    "many_gone": "Unusually many entries are gone from Harvest at once, so nothing was deleted.",
}


def asked(run: SyncRun) -> dict[str, Any] | None:
    """What a guard that stopped this run asks of a person, {kind, count}; None where it asks nothing any more."""
    attention = run.attention or {}
    if "kind" not in attention or "answered" in attention:
        return None
    return {"kind": attention["kind"], "count": attention["count"]}


def represent(run: SyncRun, counts: Counts) -> dict[str, Any]:
    """RUN, as `api.md` names it."""
    return {
        "id": str(run.id),
        "kind": run.kind,
        "state": run.state,
        "dry_run": run.dry_run,
        "from": run.from_date,
        "to": run.to_date,
        "total": shown_total(run, counts),
        "done": counts.done,
        "imported": counts.of(Outcome.IMPORTED),
        "updated": counts.of(Outcome.UPDATED),
        "linked": counts.of(Outcome.LINKED),
        "proposed": counts.of(Outcome.PROPOSED),
        "unchanged": counts.of(Outcome.UNCHANGED),
        "failed": counts.of(Outcome.FAILED),
        "skipped": counts.skipped,
        "deleted": counts.of(Outcome.DELETED),
        "pushed": counts.of(Outcome.PUSHED),
        "held": counts.held,
        "error": run.error or None,
        "attention": asked(run),
        "summary": summary(run, counts),
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
