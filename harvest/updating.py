"""Entries that are something here already: what changed of them, or that they are gone, comes in by the plan.

One page at a time, in the page's transaction: its links are looked up, their logs locked, `sync.plan` asked for each,
and all of it written in bulk; how many queries that takes does not depend on how many entries there are, save a few for
each settled log that differs. What is to go out is left to the queue of outgoing changes. It is done whole or not at
all: a page that stops half-way has changed nothing, here or in Harvest, and whoever takes the run up does it again.

What was read may be older than what this product itself has written to Harvest meanwhile. So a log whose change is
being sent, or was touched in the queue since this run began to read, is left to the queue, which asks Harvest anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.bulk import copy_rows
from accounts.ids import uuid7
from harvest.adoption import made_late
from harvest.agreement import (
    Batch,
    attempt_in,
    base_of,
    lock_logs,
    named,
    set_agreement,
    without_given_up,
)
from harvest.ledger import ENTRY_COLUMNS, NOTES_KEPT, kept_hours
from harvest.payloads import TimeEntryPayload, content_hash
from harvest.terms import Terms, entry_values, hours_of, load_terms
from inbound.models import ProposalStatus, TimeProposal
from inbound.services import proposals_changed, proposals_returned, proposals_withdrawn
from integrations.models import (
    ChangeState,
    Deed,
    OutboundChange,
    Outcome,
    Reason,
    RunEntry,
    RunKind,
    SyncLink,
    SyncRun,
)
from integrations.sync.plan import (
    Action,
    Agree,
    Conflict,
    CreateLocal,
    CreateRemote,
    DeleteLocal,
    DeleteRemote,
    Differs,
    Direction,
    ForgetLink,
    Held,
    Overruled,
    Policy,
    Replace,
    UpdateLocal,
    UpdateRemote,
    plan,
    settle,
)
from integrations.sync.types import Base, Field, NoCounterpart, Pair, dump_base
from timelogs.models import TimeLog

BEING_SENT = "Its change is on its way to Harvest, and is compared again then."
MADE_TWICE = "Harvest made this a second time, after its answer to a push was lost."


@dataclass(frozen=True, slots=True)
class Told:
    """What becomes of one entry, as its run entry says it. nothing: not worth an entry of the run."""

    outcome: Outcome
    detail: str = ""
    reason: str = ""
    nothing: bool = False


def bring_into_step(
    run: SyncRun,
    seen: Mapping[str, TimeEntryPayload | None],
    *,
    since: datetime,
    joins: Mapping[str, UUID] | None = None,
    plans: Mapping[str, str] | None = None,
) -> None:
    """Bring these entries and what they are here into step, inside the scope, in the caller's transaction.

    seen: external id -> the entry as it was read, None where Harvest was asked and has it no more. since: when this
    run began to read. joins: external id -> the log that an unlinked entry is. plans: what the preview that this run
    applies said, so that nothing else is done. One that the database refuses is told as `save_failed`.
    """
    if not seen:
        return
    try:
        with transaction.atomic():
            _Page(run, seen, since, joins or {}, plans).bring()
            with transaction.get_connection().cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    except (DataError, IntegrityError) as error:
        if len(seen) == 1:
            ((external_id, entry),) = seen.items()
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            told = Told(Outcome.FAILED, f"It could not be saved: {cause}", Reason.SAVE_FAILED)
            copy_rows(RunEntry, ENTRY_COLUMNS, [_row(run, external_id, entry, told)])
            return
        ids = list(seen)
        for some in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            bring_into_step(run, {one: seen[one] for one in some}, since=since, joins=joins, plans=plans)


class _Page:
    def __init__(
        self,
        run: SyncRun,
        seen: Mapping[str, TimeEntryPayload | None],
        since: datetime,
        joins: Mapping[str, UUID],
        plans: Mapping[str, str] | None,
    ) -> None:
        self.run, self.seen, self.joins, self.plans = run, seen, joins, plans
        self.direction = Direction(run.connection.direction)
        self.policy = Policy(run.connection.conflict_policy)
        self.terms: Terms = load_terms(run.connection)
        self.batch = Batch(run.workspace_id, self.terms, run)
        self._lock()
        self.busy = self._busy(since)
        self.refused = self._refused()
        self.rows: list[tuple[Any, ...]] = []
        self.new_links: list[SyncLink] = []
        self.changes: dict[UUID, dict[str, Any]] = {}
        self.withdrawn: list[UUID] = []
        self.returned: list[UUID] = []

    # --- What there is -----------------------------------------------------------------------------------------------
    def _lock(self) -> None:
        """Lock the logs, then the proposals, and look the links up again: they move under those locks alone."""
        links = SyncLink.objects.filter(
            workspace_id=self.run.workspace_id,
            provider=self.run.connection.provider,
            account_id=self.run.account_id,
            external_id__anyof=list(self.seen),
        )
        ids = list(links.values_list("time_log_id", "former_log_id", "proposal_id"))
        wanted = {one for log, former, _ in ids if (one := log or former)} | set(self.joins.values())
        self.logs = lock_logs(self.run.workspace_id, wanted)
        proposals = [proposal for log, _, proposal in ids if proposal and not log]
        self.proposals = (
            TimeProposal.objects.select_for_update()
            .filter(workspace_id=self.run.workspace_id, id__anyof=proposals)
            .order_by("id")
            .in_bulk()
            if proposals
            else {}
        )
        self.links = {link.external_id: link for link in links}
        linked = SyncLink.objects.filter(workspace_id=self.run.workspace_id, time_log__id__anyof=list(wanted))
        self.linked = set(linked.values_list("time_log_id", flat=True)) if wanted else set()

    def _busy(self, since: datetime) -> set[UUID]:
        if self.direction is not Direction.TWO_WAY or not self.logs:
            return set()
        changes = OutboundChange.objects.filter(
            workspace_id=self.run.workspace_id, time_log__id__anyof=list(self.logs)
        )
        # Being sent, or begun and not known to have ended; or done since, when what was read may be from before.
        open_ended = Q(state=ChangeState.SENDING) | Q(begun__isnull=False)
        since_then = Q(updated_at__gte=since) & ~Q(state=ChangeState.CANCELLED)
        return set(changes.filter(open_ended | since_then).values_list("time_log_id", flat=True))

    def _refused(self) -> dict[UUID, str]:
        """Logs whose change Harvest refused -> the hash of what the entry held then."""
        if self.direction is not Direction.TWO_WAY or not self.logs:
            return {}
        rows = OutboundChange.objects.filter(
            workspace_id=self.run.workspace_id, time_log__id__anyof=list(self.logs), state=ChangeState.HELD
        ).exclude(refused_hash="")
        return dict(rows.values_list("time_log_id", "refused_hash"))

    # --- Going through it --------------------------------------------------------------------------------------------
    def bring(self) -> None:
        attempts = self._attempts()
        for external_id, entry in self.seen.items():
            link = self.links.get(external_id)
            if link is None and entry is not None and external_id in self.joins:
                self._join(external_id, entry, self.joins[external_id], attempts)
            elif link is None:
                self._tell(external_id, entry, self._unchanged())
            elif link.time_log_id:
                self._step(link, entry, self.logs.get(link.time_log_id))
            elif link.former_log_id:
                self._return(link, entry, self.logs.get(link.former_log_id))
            else:
                self._follow(link, entry, self.proposals.get(link.proposal_id or link.pk))
        if not self.run.dry_run:
            SyncLink.objects.bulk_create(self.new_links)
            self.batch.write()
            if self.changes:
                proposals_changed(workspace_id=self.run.workspace_id, changes=self.changes)
            if self.withdrawn:
                proposals_withdrawn(workspace_id=self.run.workspace_id, ids=self.withdrawn)
            if self.returned:
                proposals_returned(workspace_id=self.run.workspace_id, ids=self.returned)
        copy_rows(RunEntry, ENTRY_COLUMNS, self.rows)

    def _unchanged(self, detail: str = "") -> Told:
        if self.run.kind == RunKind.IMPORT:
            return Told(Outcome.SKIPPED, detail, Reason.ALREADY_IMPORTED)
        return Told(Outcome.UNCHANGED, detail)

    def _step(self, link: SyncLink, entry: TimeEntryPayload | None, log: TimeLog | None) -> None:
        if log is None:  # it was joined to another log just now
            self._tell(link.external_id, entry, self._unchanged())
            return
        if log.id in self.busy:
            self.batch.send(log)
            self._tell(link.external_id, entry, self._unchanged(BEING_SENT), log=log)
            return
        here = self.terms.here(log)
        there = self.terms.there(entry, log) if entry else None
        base = base_of(link, log, here=here, there=there, entry=entry)
        local = None if log.deleted_at else here
        actions = plan(base, local, there, direction=self.direction, policy=self.policy)
        if self._may(link.external_id, entry, told := self._outcome(actions, entry), log):
            self._do(link, entry, log, base, actions)
            self._tell(link.external_id, entry, told, log=log)

    def _join(
        self, external_id: str, entry: TimeEntryPayload, log_id: UUID, attempts: Mapping[UUID, Base]
    ) -> None:
        """Link an entry to the log that it is: the base is what its lost attempt sent, else what is equal."""
        log = self.logs.get(log_id)
        own = entry.external_reference_id == str(log_id)
        surplus = log is not None and own and (log.deleted_at is not None or log.id in self.linked)
        if log is not None and surplus and made_late(self.run.workspace_id, [entry]):
            self._take_back(external_id, entry, log)
            return
        if (
            log is None
            or log.deleted_at is not None
            or log.id in self.linked
            or (log.id in self.busy and not own)
        ):
            self._tell(external_id, entry, self._unchanged("Its log was changed at the same moment."))
            return
        told = Told(Outcome.LINKED)
        if not self._may(external_id, entry, told, log):
            return
        link = SyncLink(
            id=uuid7(),
            workspace_id=self.run.workspace_id,
            provider=self.run.connection.provider,
            account_id=self.run.account_id,
            external_id=external_id,
            time_log_id=log.id,
            created_at=timezone.now(),
        )
        here, there, base = self.terms.here(log), self.terms.there(entry, log), attempts.get(log.id)
        actions = plan(base, here, there, direction=self.direction, policy=self.policy)
        self.linked.add(log.id)
        self.new_links.append(link)
        self.batch.stamp(log, external_id)
        self.batch.event(log, Deed.LINKED, external_id, detail="It is this time in Harvest.")
        self._do(link, entry, log, base or {}, actions, new=True)
        self._tell(external_id, entry, told, log=log)

    def _take_back(self, external_id: str, entry: TimeEntryPayload, log: TimeLog) -> None:
        """Harvest holds this log twice (or still, though it was deleted before it was made): one of them goes."""
        both_ways = self.direction is Direction.TWO_WAY
        if both_ways:
            self.batch.send(log, surplus=entry)
        remedy = "It is deleted there." if both_ways else "Delete it there."
        self._tell(external_id, entry, self._unchanged(f"{MADE_TWICE} {remedy}"), log=log)

    def _return(self, link: SyncLink, entry: TimeEntryPayload | None, log: TimeLog | None) -> None:
        """An entry that was gone is in Harvest again: so is its log, unless that is another entry by now."""
        if entry is None or log is None or log.id in self.linked or log.id in self.busy or link.base is None:
            self._tell(link.external_id, entry, self._unchanged())
            return
        base: Base | None = None if log.deleted_at else {}
        here, there = self.terms.here(log), self.terms.there(entry, log)
        local = None if log.deleted_at else here
        actions = plan(base, local, there, direction=self.direction, policy=self.policy)
        told = self._outcome(actions, entry)
        if not any(isinstance(one, (CreateLocal, UpdateLocal, Agree)) for one in actions):
            self._tell(link.external_id, entry, told)
        elif self._may(link.external_id, entry, told, log):
            link.time_log_id, link.former_log_id = log.id, None
            self.linked.add(log.id)
            self._do(link, entry, log, base or {}, actions)
            self._tell(link.external_id, entry, told, log=log)

    def _do(
        self,
        link: SyncLink,
        entry: TimeEntryPayload | None,
        log: TimeLog,
        base: Base,
        actions: Sequence[Action],
        *,
        new: bool = False,
    ) -> None:
        external_id = link.external_id
        ours = self.terms.of_log(log)
        theirs = entry_values(entry) if entry else None
        there = self.terms.there(entry, log) if entry else None
        agreed: Base | None = base
        gone = outgoing = False
        for action in actions:
            match action:
                case Agree():
                    agreed = settle(agreed, action, local=ours, remote=theirs)
                case UpdateLocal(fields):
                    confirmed = self.batch.apply(log, fields, external_id)
                    agreed = settle(agreed, action, local=ours, remote=theirs, confirmed=confirmed)
                case CreateLocal(fields):
                    confirmed = self.batch.restore(log, fields, external_id)
                    agreed = settle(agreed, action, local=ours, remote=theirs, confirmed=confirmed)
                case DeleteLocal():
                    self.batch.delete(log, external_id)
                    gone = True
                case ForgetLink():
                    agreed = None
                case UpdateRemote() | Replace() | CreateRemote() | DeleteRemote():
                    outgoing = True
        if gone:
            part(link)
            self.batch.keep(link)
        elif new:
            set_agreement(link, agreed, entry, actions)
        else:
            self.batch.settle(link, agreed, entry, actions)
        # What Harvest refused of an entry that has not changed since stays held for that, whatever else is.
        stands = entry is not None and outgoing and self.refused.get(log.id) == content_hash(entry)
        told = without_given_up(actions)
        if stands and not any(isinstance(one, (Conflict, Differs)) for one in actions):
            for one in told:
                if isinstance(one, Overruled):
                    self.batch.overrule(log, external_id, one.fields, one.kept, there=there)
            return
        self.batch.state(log, external_id, told, there=there)
        if outgoing:
            self.batch.send(log)

    def _follow(self, link: SyncLink, entry: TimeEntryPayload | None, row: TimeProposal | None) -> None:
        """A proposal follows its entry, a dismissed one too, so that it is right should it be restored."""
        if row is None or row.status == ProposalStatus.ACCEPTED:
            self._tell(link.external_id, entry, self._unchanged())
            return
        if entry is None:
            waits = row.status == ProposalStatus.PENDING
            told = Told(Outcome.DELETED, "Its proposal in Inbound is withdrawn.", nothing=not waits)
            if waits and self._may(link.external_id, entry, told, None):
                self.withdrawn.append(row.id)
                link.remote_hash = ""
                self.batch.keep(link)
                self._tell(link.external_id, entry, told, proposal=row)
            return
        there = self.terms.there(entry, None)
        values = _proposed(self.terms, entry, there.abroad)
        changes = {name: value for name, value in values.items() if _held_by(row, name) != value}
        back = row.status == ProposalStatus.WITHDRAWN
        if row.status == ProposalStatus.DISMISSED:
            told = Told(Outcome.SKIPPED, "", Reason.DISMISSED)
        elif changes or back:
            detail = "Its proposal waits in Inbound again." if back else "Its proposal in Inbound follows."
            told = Told(Outcome.UPDATED, detail)
        else:
            told = self._unchanged()
        if not self._may(link.external_id, entry, told, None):
            return
        if changes:
            self.changes[row.id] = changes
        if back:
            self.returned.append(row.id)
        link.base = dump_base({name: Pair(None, value) for name, value in entry_values(entry).items()})
        followed = not isinstance(there.abroad[Field.PLACEMENT], NoCounterpart)
        link.remote_hash = content_hash(entry) if followed else ""
        link.remote_user_id = str(entry.user_id)
        self.batch.keep(link)
        self._tell(link.external_id, entry, told, proposal=row)

    def _attempts(self) -> dict[UUID, Base]:
        """What lost attempts to create entries of the logs to be joined were made of."""
        if not self.joins:
            return {}
        rows = OutboundChange.objects.filter(
            workspace_id=self.run.workspace_id,
            time_log__id__anyof=list(self.joins.values()),
            begun__isnull=False,
        ).order_by("id")
        found = {log: attempt_in(begun) for log, begun in rows.values_list("time_log_id", "begun")}
        return {log: base for log, base in found.items() if base is not None}

    # --- Telling -----------------------------------------------------------------------------------------------------
    def _outcome(self, actions: Iterable[Action], entry: TimeEntryPayload | None) -> Told:
        details: list[str] = []
        for action in actions:
            match action:
                case UpdateLocal(fields):
                    return Told(Outcome.UPDATED, f"Changed: {named(fields)}.")
                case CreateLocal():
                    return Told(
                        Outcome.UPDATED, "It was deleted here, and is here again as it is in Harvest."
                    )
                case DeleteLocal():
                    return Told(Outcome.DELETED, "Deleted in Harvest.")
                case Differs(gone=True):
                    return Told(
                        Outcome.SKIPPED,
                        "Deleted in Harvest, and settled here. It waits in Inbound.",
                        Reason.SETTLED,
                    )
                case Differs(fields):
                    return Told(
                        Outcome.SKIPPED, f"Changed: {named(fields)}. It waits in Inbound.", Reason.SETTLED
                    )
                case Conflict(fields):
                    details.append(f"Changed here and in Harvest: {named(fields)}.")
                case Held(reason=reason):
                    details.append(reason)
                case Overruled(fields, Policy.TIMEBRIDGE):
                    details.append(f"Ours stays: {named(fields)}.")
        told = self._unchanged(" ".join(dict.fromkeys(details)))
        return told if entry is not None else Told(told.outcome, told.detail, told.reason, nothing=True)

    def _may(self, external_id: str, entry: TimeEntryPayload | None, told: Told, log: TimeLog | None) -> bool:
        """Whether this may be done: always, save in a run that applies a preview, which must have said the same."""
        if self.plans is None or told.outcome not in (Outcome.UPDATED, Outcome.DELETED, Outcome.LINKED):
            return True
        if self.plans.get(external_id) == _plan_hash(entry, told, log):
            return True
        moved = Told(
            Outcome.SKIPPED, "The preview did not say this of the entry.", Reason.MOVED_SINCE_PREVIEW
        )
        self._tell(external_id, entry, moved)
        return False

    def _tell(
        self,
        external_id: str,
        entry: TimeEntryPayload | None,
        told: Told,
        *,
        log: TimeLog | None = None,
        proposal: TimeProposal | None = None,
    ) -> None:
        if not told.nothing:
            self.rows.append(_row(self.run, external_id, entry, told, log, proposal))


def part(link: SyncLink) -> None:
    """The entry is gone, and its log went with it. Should it be there again, the log is brought back."""
    link.former_log_id, link.time_log_id = link.time_log_id or link.former_log_id, None
    link.base, link.remote_hash = {}, ""


def _held_by(row: TimeProposal, name: str) -> Any:
    return getattr(row, f"{name}_id" if name in ("client", "owner", "activity_type") else name)


def _proposed(terms: Terms, entry: TimeEntryPayload, abroad: Mapping[Field, Any]) -> dict[str, Any]:
    """What a proposal takes from its entry; what has no counterpart here is left as it was."""
    activity = terms.tasks_in.get(str(entry.task_id))
    found: dict[str, Any] = {
        "activity_type": UUID(activity) if activity else None,
        "hourly_rate": terms.rates.get(activity or "", 0),
        "spent_date": entry.spent_date,
        "notes": entry.notes,
        "billable": entry.billable,
    }
    if not isinstance(place := abroad[Field.PLACEMENT], NoCounterpart):
        found["client"] = UUID(place[0])
    if not isinstance(owner := abroad[Field.OWNER], NoCounterpart):
        found["owner"] = UUID(owner)
    if not isinstance(seconds := abroad[Field.DURATION], NoCounterpart):
        found["seconds"] = seconds
    return found


def _plan_hash(entry: TimeEntryPayload | None, told: Told, log: TimeLog | None) -> str:
    """Equal where a preview and the run that applies it say the same of the same content."""
    what = (content_hash(entry) if entry else "gone", told.outcome, told.detail, log.id if log else "")
    return hashlib.blake2b("|".join(map(str, what)).encode(), digest_size=12).hexdigest()


def _row(
    run: SyncRun,
    external_id: str,
    entry: TimeEntryPayload | None,
    told: Told,
    log: TimeLog | None = None,
    proposal: TimeProposal | None = None,
) -> tuple[Any, ...]:
    """The run entry, in the columns' order; of what is gone, as it was here."""
    shown = log or proposal
    day = entry.spent_date if entry else shown.spent_date if shown else None
    hours = kept_hours(entry.hours) if entry else hours_of(shown.seconds) if shown else None
    notes = entry.notes if entry else shown.notes if shown else ""
    planned = run.dry_run and told.outcome in (Outcome.UPDATED, Outcome.DELETED, Outcome.LINKED)
    return (
        uuid7(), run.workspace_id, run.id, external_id, told.outcome.value, str(told.reason), told.detail,
        log.id if log else None, proposal.id if proposal else None, day, hours, notes[:NOTES_KEPT], "{}",
        json.dumps({"hash": _plan_hash(entry, told, log)}) if planned else None,
    )  # fmt: skip
