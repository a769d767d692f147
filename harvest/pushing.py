"""A log's way out: one change claimed, compared with Harvest, carried out there, and written down here together.

How it goes: a short transaction loads the log, its link with the base, and the mappings. Outside any transaction
Harvest is asked for the entry; `sync.plan` says what to do; what is to be written there is written. One transaction
then writes the log, the link with its base, the history and the change's end. Nothing is locked while Harvest is asked,
so a log saved meanwhile has a newer change, which looks at everything anew; what this one did is in the base.

What happens when it stops half-way: before an entry is made, what it is made from is noted (`begun`) and committed, and
the log lets go of the entry that it takes the place of, if any. Who goes on, after the lease, looks for the entry by
its reference before anything else: found, it is the log's, with the base of that attempt; not found, the log gets its
former entry back; either way it is planned anew. Should Harvest make it after that look, the history knows that there
was one: whoever reads that second entry has it deleted (`adoption.made_late`). Another person's entry is made before
the old one is deleted, so that Harvest never has less than one of them. Everything else may be done twice: the second
time nothing is left to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import Plan
from accounts.tenancy import tenant_scope
from harvest.agreement import (
    Batch,
    attempt_in,
    base_of,
    given_up,
    lock_logs,
    note_attempt,
    note_overruled,
    refresh_state,
    settle_link,
    told_by,
)
from harvest.catalogue import keep_account, learn_account
from harvest.client import Patience
from harvest.credentials import PROVIDER, open_client
from harvest.errors import HarvestAuthError
from harvest.payloads import TimeEntryPayload, content_hash
from harvest.places import Places
from harvest.renewal import mark_reconnect_needed
from harvest.side import Account, HarvestAway, HarvestRefused, HarvestSide, translated
from harvest.terms import Terms, entry_values, load_terms
from inbound.models import Adjustment, AdjustmentKind, AdjustmentStatus
from integrations import outgoing
from integrations.models import ChangeState, Connection, Deed, OutboundChange, SyncLink
from integrations.outgoing import LeaseLost
from integrations.sync.plan import (
    Action,
    Agree,
    CreateLocal,
    CreateRemote,
    DeleteLocal,
    DeleteRemote,
    Differs,
    Direction,
    ForgetLink,
    Policy,
    Replace,
    UpdateLocal,
    UpdateRemote,
    attempted,
    plan,
    settle,
)
from integrations.sync.types import Base, Field, Gone, Pair, Values, Version, load_base
from timelogs.models import TimeLog

logger = logging.getLogger("harvest.pushing")

BUDGET = 20.0  # seconds that one task works, so that others get their turn
IN_HARVEST = (UpdateRemote, Replace, CreateRemote, DeleteRemote)
LOOKS = 3  # how often one claim is planned anew
MOST_ATTEMPTS = 10  # of a change that fails on our side, before a person is asked
SOON = 0.1  # seconds
LOCKS = ("locked", "approved", "invoiced")  # lifted without a change of the entry
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds, while Harvest cannot be reached; it doubles
# One attempt; what takes longer goes back into the queue, where it holds up no worker.
PATIENCE = Patience(attempts=1, total=20.0, longest_turn=2.0)
NOT_VISIBLE = (
    "Harvest does not show this entry to the token's person, who sees their own time only. "
    "Connect with an administrator's token, then retry."
)
WAITS_FOR_PLAN = (
    "It waits: sending to Harvest needs the Pro plan. It goes out once the workspace has it again."
)
WAITS_FOR_CONNECTION = "It waits: Harvest has to be connected again. It goes out by itself after that."
SOUGHT = "Whether its entry had been made was not known, and Harvest showed none."
ONE_TOO_MANY = "It was one too many: made a second time, or too late."
STAYS = "The entry that it was to take the place of was edited or locked in Harvest meanwhile, and stays."
OUR_FAULT = "Something went wrong on our side, again and again. Retry, and tell support if it stays."


def drain(*, workspace_id: UUID, seconds: float = BUDGET) -> float | None:
    """Send what is due in one workspace, for so long at most. Returns the seconds until there is more to do.

    None: nothing that is known of. Several workers at once are fine, and so is one that is told twice.
    """
    until = time.monotonic() + seconds
    claimed = _next(workspace_id)
    if claimed is None:
        return None
    connection, change = claimed
    try:
        with Pushing(connection) as pushing:
            while True:
                wait = pushing.push(change)
                if wait is not None:
                    return wait
                if time.monotonic() > until:
                    return 0.0
                claimed = _next(workspace_id, connection)
                if claimed is None:
                    return _until_next(connection)
                change = claimed[1]
    except HarvestAuthError as error:
        with tenant_scope(workspace_id):
            mark_reconnect_needed(connection, error.message)
        _put_back(change, seconds=0.0, detail=error.message, counts=False)
    except HarvestAway as away:
        return _later(change, away)
    return None


def _next(workspace_id: UUID, same: Connection | None = None) -> tuple[Connection, OutboundChange] | None:
    """The connection, while it may send, and its next change. same: None once it was connected anew."""
    with tenant_scope(workspace_id):
        connection = (
            outgoing.sending_connections()
            .filter(workspace_id=workspace_id, provider=PROVIDER)
            .select_related("workspace")
            .first()
        )
        if connection is None or (same is not None and same.connected_at != connection.connected_at):
            return None
        change = outgoing.claim(connection)
        return None if change is None else (connection, change)


def _until_next(connection: Connection) -> float | None:
    """Seconds until what was put off is due; None where there is no such thing."""
    with tenant_scope(connection.workspace_id):
        due = outgoing.next_due(connection)
    return None if due is None else max((due - timezone.now()).total_seconds(), SOON)


def _put_back(change: OutboundChange, *, seconds: float, detail: str, counts: bool = True) -> None:
    try:
        with tenant_scope(change.workspace_id):
            lock_logs(change.workspace_id, [change.time_log_id])
            outgoing.put_back(
                change,
                not_before=timezone.now() + timedelta(seconds=seconds),
                detail=detail,
                begun=change.begun,
                counts=counts,
            )
            refresh_state(change.workspace_id, [change.time_log_id])
    except LeaseLost:
        logger.info("change %s: held by another worker, or ended", change.pk)


def _later(change: OutboundChange, away: HarvestAway) -> float | None:
    """Put a change back for trouble that passes. Returns how long nothing else need be tried either."""
    if away.limited:
        wait = away.retry_after or FIRST_PAUSE
        _put_back(change, seconds=wait, detail="", counts=False)
        return wait
    pause = min(FIRST_PAUSE * 2 ** (max(change.attempts, 1) - 1), LONGEST_PAUSE)
    wait = max(away.retry_after or 0.0, 1.0 if away.busy else pause)
    _put_back(change, seconds=wait, detail="" if away.busy else away.detail, counts=not away.busy)
    return None if away.busy else wait


# --- What has to wait ------------------------------------------------------------------------------------------------
def explain_waiting() -> None:
    """Write on what waits for a better plan, or for a new connection, that it does, and on its logs."""
    for workspace_id in outgoing.paused_workspaces():
        with tenant_scope(workspace_id):
            rows = Connection.objects.filter(workspace_id=workspace_id, provider=PROVIDER)
            for connection in rows.select_related("workspace"):
                if connection.workspace.plan != Plan.PRO:
                    outgoing.say_why_it_waits(connection, WAITS_FOR_PLAN)
                elif not connection.connected:
                    outgoing.say_why_it_waits(connection, WAITS_FOR_CONNECTION)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a plan is made from. link: the log's, of this account. here: also of a deleted log."""

    log: TimeLog
    link: SyncLink | None
    terms: Terms
    here: Version

    @property
    def values(self) -> Values:
        return self.here.values

    @property
    def deleted(self) -> bool:
        return self.log.deleted_at is not None


@dataclass(frozen=True, slots=True)
class _Done:
    """What was written in Harvest, and what it then held (None: nothing, it was deleted)."""

    action: Action
    payload: TimeEntryPayload | None


class Pushing:
    """The way out of one connection, for one thread. Raises HarvestAuthError, HarvestAway on entering."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.workspace_id = connection.workspace_id

    def __enter__(self) -> Self:
        with translated():
            self._client = open_client(self.connection, patience=PATIENCE, interactive=True)
        try:
            if self.connection.wants_times is None:
                with translated():
                    learn_account(self._client, self.connection)
                if self.connection.wants_times is None:
                    # This token may not be told: the first answer will tell.
                    keep_account(self.connection, wants_times=False, clock="24h")
        except (HarvestAway, HarvestAuthError):
            self._client.close()
            raise
        self.side = HarvestSide(
            self._client,
            Places(self._client, self.connection),
            account=Account(bool(self.connection.wants_times), self.connection.clock or "24h"),
            own_user=self.connection.remote_user_id,
            permalink=lambda reference: settings.BASE_URL + reverse("time-log", args=[reference]),
            learned=lambda account: keep_account(
                self.connection, wants_times=account.wants_times, clock=account.clock
            ),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def push(self, change: OutboundChange) -> float | None:
        """Bring one claimed change to an end, or put it back. Returns the seconds that all others should wait, if any.

        Raises HarvestAuthError.
        """
        try:
            for _ in range(LOOKS):
                if self._once(change):
                    return None
            _put_back(change, seconds=1.0, detail="")
        except LeaseLost:
            logger.info("change %s: held by another worker, or ended", change.pk)
        except HarvestRefused as refused:
            self._hold(change, refused)
        except HarvestAway as away:
            return _later(change, away)
        except HarvestAuthError:
            raise
        except (OperationalError, InterfaceError):
            # The database is away: the lease runs out, and the sweep has the change claimed again.
            raise
        except Exception:
            logger.exception("change %s could not be sent", change.pk)
            if change.attempts >= MOST_ATTEMPTS:
                self._hold(change, HarvestRefused("our_fault", OUR_FAULT))
            else:
                pause = min(FIRST_PAUSE * 2**change.attempts, LONGEST_PAUSE)
                _put_back(
                    change, seconds=pause, detail="Something went wrong on our side. It is tried again."
                )
        return None

    def _hold(self, change: OutboundChange, refused: HarvestRefused) -> None:
        try:
            with tenant_scope(self.workspace_id):
                log = lock_logs(self.workspace_id, [change.time_log_id])[change.time_log_id]
                outgoing.hold(
                    change,
                    reason=refused.reason,
                    detail=refused.detail,
                    remedy=refused.remedy,
                    begun=change.begun,
                    refused_hash=""
                    if refused.entry is None or refused.reason in LOCKS
                    else content_hash(refused.entry),
                )
                batch = Batch(self.workspace_id, load_terms(self.connection), change.run)
                batch.event(log, Deed.HELD, log.external_id or "", detail=refused.detail)
                batch.write()
                refresh_state(self.workspace_id, [log.id])
                if refused.reason in ("archived", "not_assigned"):
                    # What is known of Harvest's lists was wrong: they are read again by whoever needs them next.
                    Connection.objects.filter(pk=self.connection.pk).update(catalogue_read_at=None)
        except LeaseLost:
            logger.info("change %s: held by another worker, or ended", change.pk)

    # --- One look ----------------------------------------------------------------------------------------------------
    def _once(self, change: OutboundChange) -> bool:
        """Plan once and carry it out. False: something moved, or was cleared up first; look again."""
        with tenant_scope(self.workspace_id):
            outgoing.prolong(change)
            if change.begun is None:
                change.begun = outgoing.begun_before(change)
            look = self._look(change)
        if change.begun is not None:
            self._clear_up(change, look)
            return False
        payload, there = None, None
        if look.link is not None:
            payload = self.side.read(look.link.external_id)
            if payload is not None:
                there = look.terms.there(payload, look.log)
            elif not self._may_see(look.link):
                raise HarvestRefused("not_visible", NOT_VISIBLE)
        base = base_of(look.link, look.log, here=look.here, there=there, entry=payload) if look.link else None
        actions = plan(
            base,
            None if look.deleted else look.here,
            there,
            direction=Direction.TWO_WAY,
            policy=Policy(change.keep or self.connection.conflict_policy),
        )
        # One entry that does not answer is no listing: what is gone is for the sweep to say, which has its guards.
        actions = [
            one
            for one in actions
            if not isinstance(one, DeleteLocal)
            and not (isinstance(one, Differs) and one.gone and not self._known_gone(look))
        ]
        try:
            done = self._carry_out(change, look, base, actions, payload)
        except HarvestRefused as refused:
            refused.entry = payload
            raise
        return self._record(change, look, base, there, payload, actions, done)

    def _look(self, change: OutboundChange) -> _Look:
        log = TimeLog.objects.get(pk=change.time_log_id, workspace_id=self.workspace_id)
        link = SyncLink.objects.filter(workspace_id=self.workspace_id, time_log=log).first()
        if link is not None and link.account_id != self.connection.account_id:
            raise HarvestRefused(
                "other_account", "It came from another Harvest account, so it is not sent to this one."
            )
        terms = load_terms(self.connection)
        return _Look(log, link, terms, terms.here(log))

    def _known_gone(self, look: _Look) -> bool:
        """Whether the sweep has said that the entry of this settled log is gone: then that stays said."""
        with tenant_scope(self.workspace_id):
            told = Adjustment.objects.filter(workspace_id=self.workspace_id, time_log=look.log)
            told = told.filter(kind=AdjustmentKind.GONE).exclude(status=AdjustmentStatus.WITHDRAWN)
            return told.exists()

    def _may_see(self, link: SyncLink) -> bool:
        """Whether that Harvest does not show an entry means that it is gone."""
        return self.connection.sees_all or link.remote_user_id in ("", self.connection.remote_user_id)

    # --- In Harvest --------------------------------------------------------------------------------------------------
    def _carry_out(
        self,
        change: OutboundChange,
        look: _Look,
        base: Base | None,
        actions: Sequence[Action],
        payload: TimeEntryPayload | None,
    ) -> _Done | None:
        """Do what is to be done in Harvest: one action of a plan at most."""
        action = next((one for one in actions if isinstance(one, IN_HARVEST)), None)
        match action:
            case CreateRemote(fields):
                then = attempted(look.values, fields)
                return _Done(action, self._create(change, look, fields, then, {}, replaced=None))
            case Replace(fields, values):
                # What was neither sent nor agreed on (a value that is held) stays as it was.
                then = {**(base or {}), **attempted(look.values, fields)}
                over = note_overruled(given_up(actions))
                return _Done(action, self._create(change, look, values, then, over, replaced=payload))
            case UpdateRemote(fields) if payload is not None:
                over = note_overruled(given_up(actions))
                return _Done(action, self._update(change, payload, fields, over))
            case DeleteRemote() if payload is not None:
                self._delete(change, payload)
                return _Done(action, None)
        return None

    def _delete(self, change: OutboundChange, payload: TimeEntryPayload) -> None:
        """Delete an entry, noted before: no answer, and a log restored since, must not pass for a deletion there."""
        with tenant_scope(self.workspace_id):
            outgoing.prolong(change, begun={"deletes": str(payload.id)})
        try:
            self.side.delete(str(payload.id), seen=entry_values(payload))
        except (HarvestRefused, HarvestAway) as error:
            if not getattr(error, "lost", False):
                self._take_back(change)
            raise

    def _update(
        self, change: OutboundChange, payload: TimeEntryPayload, fields: Values, over: dict[str, Any]
    ) -> TimeEntryPayload:
        """Change an entry. over: what of Harvest's is given up by that, noted before, as nobody could tell later."""
        if over:
            with tenant_scope(self.workspace_id):
                outgoing.prolong(change, begun=over)
        try:
            return self.side.change(str(payload.id), fields, seen=entry_values(payload))
        except Gone:
            raise HarvestAway("The entry was deleted in Harvest just now.", busy=True) from None
        except (HarvestRefused, HarvestAway) as error:
            if over and not getattr(error, "lost", False):
                self._take_back(change)
            raise

    def _create(
        self,
        change: OutboundChange,
        look: _Look,
        fields: Values,
        then: Base,
        over: dict[str, Any],
        *,
        replaced: TimeEntryPayload | None,
    ) -> TimeEntryPayload:
        """Make an entry, noted before. then: the base that it has where nobody can say more than that it was made.

        over: what of Harvest's is given up. replaced: the entry that it takes the place of, and that is deleted after.
        """
        target = self.side.target(fields)
        begun: dict[str, Any] = {**note_attempt(then), **over, "hours": str(fields[Field.DURATION])}
        if look.link is not None:
            begun["former"] = look.link.external_id
        if replaced is not None:
            begun |= {"replaces": str(replaced.id), "was": content_hash(replaced)}
        with tenant_scope(self.workspace_id):
            # Without its former link the log is one that a run joins to the new entry, should it see that first.
            lock_logs(self.workspace_id, [look.log.id])
            outgoing.prolong(change, begun=begun)
            if look.link is not None:
                self._links().filter(pk=look.link.pk, time_log=look.log).update(
                    time_log=None, former_log=look.log
                )
        try:
            payload = self.side.post(fields, target, reference=str(look.log.id))
        except HarvestRefused:
            self._take_back(change)
            raise
        except HarvestAway as away:
            if not away.lost:
                self._take_back(change)
            raise
        payload = self.side.put_right(payload, fields)
        if replaced is not None:
            try:
                stays = not self._gone(str(replaced.id), content_hash(replaced))
            except HarvestRefused:
                self.side.delete(str(payload.id), seen=entry_values(payload))
                self._take_back(change)
                raise
            if stays:
                self.side.delete(str(payload.id), seen=entry_values(payload))
                self._take_back(change)
                raise HarvestAway("The entry was changed in Harvest just now.", busy=True)
        return payload

    def _gone(self, replaced: str, was: str) -> bool:
        """Delete an entry that another took the place of, unless it has been edited since: then it stays.

        It is read first also because a sync leaves approved time alone, whoever may delete it. Raises HarvestRefused.
        """
        entry = self.side.read(replaced)
        if entry is not None and content_hash(entry) != was:
            return False
        if entry is not None:
            self.side.delete(replaced, seen=entry_values(entry))
        return True

    def _take_back(self, change: OutboundChange, *, sought: Terms | None = None) -> None:
        """Nothing was made: the log has its former entry again, and nothing is begun.

        sought: that is known of a look alone, and Harvest may yet make it; the history keeps that.
        """
        former = (change.begun or {}).get("former")
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [change.time_log_id])[change.time_log_id]
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change)
            if sought is not None:
                batch = Batch(self.workspace_id, sought, change.run)
                batch.event(log, Deed.SOUGHT, detail=SOUGHT)
                batch.write()
            if former and not self._links().filter(time_log_id=change.time_log_id).exists():
                self._links().filter(
                    account_id=self.connection.account_id,
                    external_id=former,
                    former_log_id=change.time_log_id,
                    time_log=None,
                ).update(time_log_id=change.time_log_id, former_log=None)

    def _clear_up(self, change: OutboundChange, look: _Look) -> None:
        """Go on from what a worker that did not come back had begun: look for the entry that it may have made."""
        begun = change.begun or {}
        if surplus := begun.get("surplus"):
            self._clear_up_surplus(change, look, surplus)
            return
        if deletes := begun.get("deletes"):
            self._clear_up_deletion(change, look, deletes)
            return
        base = attempt_in(begun)
        if base is None:
            self._clear_up_update(change, look)
            return
        entries = self.side.found(str(look.log.id))
        with tenant_scope(self.workspace_id):
            known = set(
                self._links()
                .filter(
                    account_id=self.connection.account_id, external_id__anyof=[str(one.id) for one in entries]
                )
                .values_list("external_id", flat=True)
            )
        unknown = [one for one in entries if str(one.id) not in known]
        made = unknown[0] if unknown else None
        # Two workers may each have made one; or a run has joined the log meanwhile, to another or to one of these.
        for spare in unknown[1:] if look.link is None else unknown:
            if _as_sent(spare, base):
                self.side.delete(str(spare.id), seen={})
        if made is None and look.link is None:
            self._take_back(change, sought=look.terms)
            return
        # What it took the place of goes all the same; where Harvest refuses that, or it was edited, the new one goes.
        if replaced := begun.get("replaces"):
            refusal, stays = None, False
            try:
                stays = not self._gone(replaced, begun.get("was", ""))
            except HarvestRefused as refused:
                refusal, stays = refused, True
            if stays and made is not None and look.link is None:
                self.side.delete(str(made.id), seen={})
                self._take_back(change)
                if refusal is None:
                    return
            if stays and look.link is not None and look.link.external_id != replaced:
                self._unjoin(change, look, look.link, replaced, base)
                return
            if refusal is not None:
                raise refusal
        if made is None or look.link is not None:
            with tenant_scope(self.workspace_id):
                lock_logs(self.workspace_id, [look.log.id])
                outgoing.prolong(change, begun=None)
                outgoing.forget_begun(change)
            return
        made = self.side.put_right(made, {Field.DURATION: Decimal(begun["hours"])})
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change)
            batch = Batch(self.workspace_id, look.terms, change.run)
            batch.overrule_begun(log, str(made.id), begun)
            self._join(look, log, made, base, Deed.REPLACED if replaced else Deed.PUSHED, batch)
            batch.write()

    def _unjoin(
        self, change: OutboundChange, look: _Look, link: SyncLink, replaced: str, attempt: Base
    ) -> None:
        """The entry to be replaced stays (edited, or locked), and a run has joined the log to the new one: one can be.

        The new one goes, and the log has its former entry back, to be planned anew with that edit. Where somebody has
        touched the new one too, the former one goes, and the history tells what is given up by that.
        Raises HarvestRefused.
        """
        new, former = self.side.read(link.external_id), self.side.read(replaced)
        with tenant_scope(self.workspace_id):
            kept = (
                self._links()
                .filter(account_id=self.connection.account_id, external_id=replaced, former_log=look.log)
                .first()
            )
        back = kept is not None and (new is None or _as_sent(new, attempt))
        over: Base = {}
        if back and new is not None:
            self.side.delete(link.external_id, seen=entry_values(new))
        elif not back and former is not None:
            agreed = load_base(kept.base) if kept is not None and kept.base is not None else {}
            present = entry_values(new) if new is not None else {}
            over = {
                name: Pair(look.values[name], value)
                for name, value in entry_values(former).items()
                if name is not Field.BILLABLE
                and value != present.get(name)
                and (name not in agreed or value != agreed[name].remote)
            }
            self.side.delete(replaced, seen=entry_values(former))
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change)
            batch = Batch(self.workspace_id, look.terms, change.run)
            if back and kept is not None:
                settle_link(link, None, None)
                self._links().filter(pk=kept.pk, time_log=None).update(time_log=log, former_log=None)
                batch.stamp(log, replaced)
                batch.event(log, Deed.REMOVED, link.external_id, detail=STAYS)
            elif over:
                there = look.terms.there(former, look.log) if former is not None else None
                batch.overrule(log, replaced, over, Policy.TIMEBRIDGE, there=there)
            batch.write()

    def _clear_up_surplus(self, change: OutboundChange, look: _Look, surplus: dict[str, str]) -> None:
        """An entry that is one too many goes, unless somebody has touched it since, or it is another log's."""
        entry = self.side.read(surplus["id"])
        with tenant_scope(self.workspace_id):
            known = self._links().filter(account_id=self.connection.account_id, external_id=surplus["id"])
            goes = (look.deleted or look.link is not None) and not known.exists()
        goes = goes and entry is not None and told_by(entry) == surplus
        try:
            if goes:
                self.side.delete(surplus["id"], seen={})
        except HarvestRefused as refused:
            logger.warning("entry %s is one too many, and stays: %s", surplus["id"], refused.reason)
            goes = False
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change, only={"surplus": surplus})
            if goes:
                batch = Batch(self.workspace_id, look.terms, change.run)
                batch.event(log, Deed.REMOVED, surplus["id"], detail=ONE_TOO_MANY)
                batch.write()

    def _clear_up_deletion(self, change: OutboundChange, look: _Look, external_id: str) -> None:
        """A deletion of which nobody knows: where it was done, the log has no entry, be it restored since or not."""
        link = look.link if look.link is not None and look.link.external_id == external_id else None
        gone = link is not None and self._may_see(link) and self.side.read(external_id) is None
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change)
            if link is not None and gone:
                settle_link(link, None, None)
                batch = Batch(self.workspace_id, look.terms, change.run)
                batch.event(log, Deed.REMOVED, external_id)
                batch.write()

    def _clear_up_update(self, change: OutboundChange, look: _Look) -> None:
        """An update that was to give up something of Harvest's: tell of it, unless Harvest still holds that."""
        entry = self.side.read(look.link.external_id) if look.link is not None else None
        theirs = entry_values(entry) if entry is not None else {}
        with tenant_scope(self.workspace_id):
            log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
            batch = Batch(self.workspace_id, look.terms, change.run)
            batch.overrule_begun(log, str(entry.id) if entry else "", change.begun or {}, theirs=theirs)
            outgoing.prolong(change, begun=None)
            outgoing.forget_begun(change)
            batch.write()

    # --- Here --------------------------------------------------------------------------------------------------------
    def _record(
        self,
        change: OutboundChange,
        look: _Look,
        base: Base | None,
        there: Version | None,
        payload: TimeEntryPayload | None,
        actions: Sequence[Action],
        done: _Done | None,
    ) -> bool:
        """Write down what was done, and do the half of the plan that is ours. False: something moved, look again."""
        created = done.payload if done and isinstance(done.action, (CreateRemote, Replace)) else None
        try:
            with tenant_scope(self.workspace_id):
                return self._write(change, look, base, there, payload, actions, done)
        except (LeaseLost, _Taken):
            if created is not None:
                self._remove_surplus(look, created)
            raise LeaseLost(str(change.pk)) from None

    def _write(
        self,
        change: OutboundChange,
        look: _Look,
        base: Base | None,
        there: Version | None,
        payload: TimeEntryPayload | None,
        actions: Sequence[Action],
        done: _Done | None,
    ) -> bool:
        log = lock_logs(self.workspace_id, [look.log.id])[look.log.id]
        outgoing.prolong(change)
        batch = Batch(self.workspace_id, look.terms, change.run)
        link = self._links().filter(time_log=log).first()
        moved = (
            look.terms.here(log).values != look.values
            or (log.deleted_at is None) == look.deleted
            or (log.settled_at is None) != (look.log.settled_at is None)
            or _agreed(link) != (None if _creates(done) else _agreed(look.link))
        )
        if moved and link is not None and link.base is not None and not _creates(done):
            base = load_base(link.base)
        theirs = there.values if there is not None else None
        entry = done.payload if done is not None else payload
        for action in actions:
            match action:
                case UpdateRemote() | Replace() | CreateRemote() | DeleteRemote() if done is not None:
                    base = self._settled(batch, log, look, link, base, action, theirs, done)
                case Agree() | ForgetLink() if not moved:
                    base = settle(base, action, local=look.values, remote=theirs)
                case UpdateLocal(fields) if not moved:
                    ours = batch.apply(log, fields, link.external_id if link else "")
                    base = settle(base, action, local=look.values, remote=theirs, confirmed=ours)
                case CreateLocal(fields) if not moved:
                    ours = batch.restore(log, fields, link.external_id if link else "")
                    base = settle(base, action, local=look.values, remote=theirs, confirmed=ours)
        if done is not None and _creates(done) and entry is not None and base is not None:
            deed = Deed.REPLACED if isinstance(done.action, Replace) else Deed.PUSHED
            link = self._join(look, log, entry, base, deed, batch)
        elif link is not None and not (moved and done is None):
            batch.settle(link, base, entry, actions)
        statement = None
        if moved and done is not None and (over := given_up(actions)):
            batch.overrule(log, str(entry.id) if entry else "", over, Policy.TIMEBRIDGE, there=there)
        if not moved:
            statement = batch.state(log, link.external_id if link else "", actions, there=there, own=True)
        if statement is None:
            # Ended before the rest is written, which says how the log stands then.
            if moved:
                outgoing.put_back(change, counts=False)
            else:
                ended = look.deleted and look.link is None
                outgoing.finish(change, ChangeState.CANCELLED if ended else ChangeState.DONE)
        batch.write()
        if statement is not None:
            outgoing.hold(
                change,
                state=statement.state,
                way=statement.way,
                reason=statement.reason,
                detail=statement.detail,
                fields=statement.fields,
            )
        if moved or statement is not None:
            refresh_state(self.workspace_id, [log.id])
        return True

    def _settled(
        self,
        batch: Batch,
        log: TimeLog,
        look: _Look,
        link: SyncLink | None,
        base: Base | None,
        action: Action,
        theirs: Values | None,
        done: _Done,
    ) -> Base | None:
        """The base after what was done in Harvest, and its line in the log's history."""
        confirmed = entry_values(done.payload) if done.payload is not None else None
        if isinstance(action, UpdateRemote):
            before = {name: base[name].local for name in action.fields if base and name in base}
            after = {name: look.values[name] for name in action.fields}
            external_id = link.external_id if link else ""
            whole = {name: before.get(name) for name in after}
            batch.event(log, Deed.SENT, external_id, before=whole, after=after)
        elif isinstance(action, DeleteRemote):
            batch.event(log, Deed.REMOVED, link.external_id if link else "")
        return settle(base, action, local=look.values, remote=theirs, confirmed=confirmed)

    def _join(
        self,
        look: _Look,
        log: TimeLog,
        entry: TimeEntryPayload,
        base: Base,
        deed: Deed,
        batch: Batch,
    ) -> SyncLink:
        """Link the log, which is locked, to its new entry. Raises _Taken where either has another by now."""
        identity = {"account_id": self.connection.account_id, "external_id": str(entry.id)}
        link = self._links().filter(**identity).first()
        if link is None:
            link = SyncLink(workspace_id=self.workspace_id, provider=PROVIDER, time_log=log, **identity)
            try:
                with transaction.atomic():
                    link.save(force_insert=True)
            except IntegrityError as error:
                raise _Taken from error
            after: Values = {name: look.values[name] for name in Field if name is not Field.BILLABLE}
            batch.event(log, deed, link.external_id, after=after)
        elif link.time_log_id != log.id:
            raise _Taken
        batch.stamp(log, link.external_id)
        batch.settle(link, base, entry)
        return link

    def _remove_surplus(self, look: _Look, created: TimeEntryPayload) -> None:
        """This worker came too late, and another has sent the log meanwhile: what this one made is one too many."""
        with tenant_scope(self.workspace_id):
            known = (
                self._links()
                .filter(account_id=self.connection.account_id, external_id=str(created.id))
                .exists()
            )
            other = self._links().filter(time_log=look.log).exists()
        if not other or known:
            return
        try:
            self.side.delete(str(created.id), seen={})
        except (HarvestAway, HarvestRefused):
            with tenant_scope(self.workspace_id):
                outgoing.enqueue(
                    workspace_id=self.workspace_id,
                    connection_id=self.connection.id,
                    time_log_ids=[look.log.id],
                )
                told = {look.log.id: told_by(created)}
                outgoing.note_surplus(workspace_id=self.workspace_id, surplus=told)

    def _links(self) -> Any:
        return SyncLink.objects.filter(workspace_id=self.workspace_id, provider=PROVIDER)


class _Taken(Exception):
    """The log has another entry by now, or the entry another log."""


def _creates(done: _Done | None) -> bool:
    return done is not None and isinstance(done.action, (CreateRemote, Replace))


def _as_sent(entry: TimeEntryPayload, attempt: Base) -> bool:
    """Whether an entry is as that attempt sent it, and untouched: people who copy one copy its reference."""
    values = entry_values(entry)
    alike = (Field.SPENT_DATE, Field.NOTES, Field.OWNER)
    return entry.created_at == entry.updated_at and all(
        values[name] == attempt[name].remote for name in alike if name in attempt
    )


def _agreed(link: SyncLink | None) -> tuple[str, Any] | None:
    return None if link is None else (link.external_id, link.base)
