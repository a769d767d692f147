"""Adjustments: what Harvest changed of time that is settled, for a person to let onto the next statement or not.

A settled log is never changed by a sync (spec 9). Its difference from Harvest waits here instead. What is settled of
a log at any moment is the log with the adjustments accepted since it was settled; the pending one leads from there to
what Harvest holds, so that all of them together come to just that. When its statement is voided the log is free again,
for the sync to change: adjustments of that settlement no longer count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.audit import record_audit
from accounts.errors import Forbidden, ServiceError
from accounts.models import Membership, User, Workspace
from clients.models import Client, Project
from inbound.models import Adjustment, AdjustmentKind, AdjustmentStatus
from inbound.signals import adjustment_restoring
from timelogs.models import ActivityType, TimeLog

WORDS = {
    AdjustmentStatus.PENDING: "This adjustment still waits for a decision.",
    AdjustmentStatus.ACCEPTED: "This adjustment is accepted already.",
    AdjustmentStatus.DISMISSED: "This adjustment was dismissed. Restore it first.",
    AdjustmentStatus.WITHDRAWN: "Harvest has changed again since, so this adjustment no longer holds.",
}
RELEASED = "This time is on no issued statement any more: the next sync changes the time itself."


# --- Noting differences: for the Harvest sync, inside its transaction ------------------------------------------------
def note_difference(
    *, workspace_id: UUID, time_log_id: UUID, external_id: str, after: Mapping[str, Any] | None
) -> Adjustment | None:
    """Let the difference between a settled log and its Harvest entry wait; returns the pending adjustment, if any.

    after: what Harvest holds, in our words, None where the entry is gone: any of `client`, `project`,
    `activity_type`, `owner` (ids; the first and the last never None), `spent_date` (date), `seconds`, `notes`,
    `billable`, `hourly_rate` (Decimal; that of the activity type, where this one changes and no rate is given). What
    is not given is as in the log.

    The same difference again changes nothing, a dismissed one included; another one takes the place of the one that
    waits. None: there is no difference any more (what waited is withdrawn, and what was dismissed: once Harvest was as
    settled, the same difference is a new one, and the old one must not be restored), or it was dismissed, or the log
    is not settled (the sync changes it itself). An entry that moved to another client counts as gone from this one.
    """
    log = TimeLog.objects.select_for_update().filter(workspace_id=workspace_id, id=time_log_id).first()
    if log is None or log.settled_at is None:
        _withdraw(workspace_id, time_log_id)
        return None
    earlier = list(
        Adjustment.objects.select_for_update()
        .filter(workspace_id=workspace_id, time_log=log, created_at__gte=log.settled_at)
        .exclude(status=AdjustmentStatus.WITHDRAWN)
        .order_by("id")
    )
    before = held = _held(log)
    for one in earlier:
        if one.status != AdjustmentStatus.ACCEPTED:
            continue
        if one.kind == AdjustmentKind.GONE or one.after is None:
            before = replace(before, seconds=0)  # nothing is left of it, wherever it was last
        else:
            before = _read(one.after)
    found = None if after is None else _with(workspace_id, held, after)
    gone = found is None or found.client != log.client_id
    wanted = replace(before, seconds=0) if found is None or gone else found
    last = earlier[-1] if earlier else None
    if (
        last is not None
        and last.status != AdjustmentStatus.ACCEPTED
        and (last.kind == AdjustmentKind.GONE) == gone
        and (_read(last.after) if last.after else None) == found
        and _read(last.before) == before
    ):
        return last if last.status == AdjustmentStatus.PENDING else None
    if wanted == before:
        _withdraw(workspace_id, time_log_id, dismissed_too=True)
        return None
    _withdraw(workspace_id, time_log_id)
    names = _Names(workspace_id, [one for one in (before, found) if one])
    parts = _parts(before, wanted)
    return Adjustment.objects.create(
        workspace_id=workspace_id,
        time_log=log,
        client_id=log.client_id,
        kind=AdjustmentKind.GONE if gone else AdjustmentKind.CHANGED,
        before=names.words(before),
        after=names.words(found) if found else None,
        seconds_delta=sum(part["seconds"] for part in parts),
        parts=parts,
        project_id=wanted.project,
        activity_type_id=wanted.activity_type,
        hourly_rate=wanted.hourly_rate,
        billable=wanted.billable,
        spent_date=wanted.spent_date,
        external_id=external_id,
    )


def noted_difference(*, workspace_id: UUID, time_log_id: UUID) -> tuple[str, Any, Any] | None:
    """What the last adjustment of this log says that was not withdrawn, decided or not: kind, before, after."""
    return (
        Adjustment.objects.filter(workspace_id=workspace_id, time_log_id=time_log_id)
        .exclude(status=AdjustmentStatus.WITHDRAWN)
        .order_by("-id")
        .values_list("kind", "before", "after")
        .first()
    )


def withdraw_difference(*, workspace_id: UUID, time_log_id: UUID) -> None:
    """Harvest holds again what the log holds: none waits or stays dismissed, and accepted ones are to be undone."""
    accepted = Adjustment.objects.filter(
        workspace_id=workspace_id, time_log_id=time_log_id, status=AdjustmentStatus.ACCEPTED
    ).last()
    if accepted is None:
        _withdraw(workspace_id, time_log_id, dismissed_too=True)
    else:
        note_difference(
            workspace_id=workspace_id, time_log_id=time_log_id, external_id=accepted.external_id, after={}
        )


# --- Deciding --------------------------------------------------------------------------------------------------------
def accept_adjustment(*, adjustment: Adjustment, by: Membership) -> Adjustment:
    """Let an adjustment onto its client's next statement. An accepted one comes back as it is.

    Raises Forbidden, ServiceError (dismissed, withdrawn, or its log is no longer settled).
    """
    return _decide(adjustment, by, {AdjustmentStatus.PENDING}, AdjustmentStatus.ACCEPTED)


def dismiss_adjustment(*, adjustment: Adjustment, by: Membership) -> Adjustment:
    """Leave the time settled as it is, until Harvest changes again or this is restored.

    Raises Forbidden, ServiceError (accepted or withdrawn).
    """
    return _decide(adjustment, by, {AdjustmentStatus.PENDING}, AdjustmentStatus.DISMISSED)


def restore_adjustment(*, adjustment: Adjustment, by: Membership) -> Adjustment:
    """Let a dismissed or accepted adjustment wait again.

    Raises Forbidden, ServiceError (withdrawn, on a statement, or Harvest has changed again since).
    """
    return _decide(
        adjustment, by, {AdjustmentStatus.DISMISSED, AdjustmentStatus.ACCEPTED}, AdjustmentStatus.PENDING
    )


def adjustments_to_settle(workspace: Workspace, clients: Iterable[UUID]) -> QuerySet[Adjustment]:
    """These clients' accepted adjustments, oldest first, on a statement or not: settlement knows which are.

    What to settle of each is its `lines` (none, one or two, each with its own place, rate and seconds, which may be
    negative). Only those of time that is settled still: what a void released is for the sync to change.
    """
    return (
        Adjustment.objects.filter(
            workspace=workspace,
            client_id__in=list(clients),
            status=AdjustmentStatus.ACCEPTED,
            created_at__gte=F("time_log__settled_at"),
        )
        .select_related("time_log__owner", "time_log__work_item")
        .order_by("id")
    )


def _decide(
    adjustment: Adjustment, by: Membership, before: set[AdjustmentStatus], after: AdjustmentStatus
) -> Adjustment:
    """Move an adjustment on, locked: of two people pressing at once the second finds it decided."""
    if not by.can_manage:
        raise Forbidden("Admins and designers decide in Inbound.")
    # The log first, as `note_difference` does it: neither waits for what the other holds.
    log = TimeLog.objects.select_for_update().get(pk=adjustment.time_log_id, workspace_id=by.workspace_id)
    row = (
        Adjustment.objects.select_for_update(of=("self",))
        .select_related("client", "project", "activity_type")
        .get(pk=adjustment.pk, workspace_id=by.workspace_id)
    )
    if row.status == after:
        return row
    if row.status not in before:
        raise ServiceError(WORDS[AdjustmentStatus(row.status)])
    if after != AdjustmentStatus.DISMISSED and (log.settled_at is None or row.created_at < log.settled_at):
        raise ServiceError(RELEASED)
    if after == AdjustmentStatus.PENDING:
        if (
            Adjustment.objects.filter(workspace_id=by.workspace_id, time_log=log, id__gt=row.id)
            .exclude(status=AdjustmentStatus.WITHDRAWN)
            .exists()
        ):
            raise ServiceError("Harvest has changed again since: decide on the newer adjustment.")
        if row.status == AdjustmentStatus.ACCEPTED:
            adjustment_restoring.send(sender=Adjustment, adjustment=row)
    decided, was = after != AdjustmentStatus.PENDING, row.status
    row.status = after
    row.decided_by = by.user if decided else None
    row.decided_at = timezone.now() if decided else None
    row.updated_at = timezone.now()
    row.save(update_fields=["status", "decided_by", "decided_at", "updated_at"])
    record_audit(
        workspace=by.workspace,
        actor=by.user,
        action=f"adjustment.{after if decided else 'restored'}",
        target=f"{row.client}, {row.spent_date}, {row.hours_delta:+} h",
        adjustment=row.id,
        time_log=log.id,
        before={"status": was},
        after={"status": after},
    )
    return row


def _withdraw(workspace_id: UUID, time_log_id: UUID, *, dismissed_too: bool = False) -> None:
    """The pending adjustment of a log, if any, no longer holds; where Harvest is as settled, no dismissed one does.

    Nobody decided that: who dismissed one before is in the audit trail.
    """
    now = timezone.now()
    over = [AdjustmentStatus.PENDING, *([AdjustmentStatus.DISMISSED] if dismissed_too else [])]
    Adjustment.objects.filter(workspace_id=workspace_id, time_log_id=time_log_id, status__in=over).update(
        status=AdjustmentStatus.WITHDRAWN, decided_by=None, decided_at=now, updated_at=now
    )


# --- What each side holds --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Held:
    """What one side holds of a log's time; references by id."""

    client: UUID
    project: UUID | None
    activity_type: UUID | None
    owner: UUID
    spent_date: date
    seconds: int
    notes: str
    billable: bool
    hourly_rate: Decimal


def _held(log: TimeLog) -> Held:
    return Held(
        client=log.client_id,
        project=log.project_id,
        activity_type=log.activity_type_id,
        owner=log.owner_id,
        spent_date=log.spent_date,
        seconds=log.seconds,
        notes=log.notes,
        billable=log.billable,
        hourly_rate=log.hourly_rate,
    )


def _with(workspace_id: UUID, held: Held, after: Mapping[str, Any]) -> Held:
    """`held` with what Harvest holds in its place."""
    found = replace(held, **after)
    if "hourly_rate" not in after and found.activity_type != held.activity_type:
        kinds = ActivityType.objects.filter(workspace_id=workspace_id, id__in=[found.activity_type])
        rate = kinds.values_list("hourly_rate", flat=True).first()
        found = replace(found, hourly_rate=rate or Decimal("0.00"))
    return found


def _parts(before: Held, wanted: Held) -> list[dict[str, Any]]:
    """The lines that lead from one to the other, as `Adjustment.parts` keeps them."""

    def part(held: Held, seconds: int) -> dict[str, Any]:
        return {
            "project": str(held.project) if held.project else None,
            "activity_type": str(held.activity_type) if held.activity_type else None,
            "hourly_rate": str(held.hourly_rate),
            "billable": held.billable,
            "seconds": seconds,
        }

    def place(held: Held) -> tuple[object, ...]:
        return (held.project, held.activity_type, held.hourly_rate, held.billable)

    if place(before) == place(wanted):
        parts = [part(wanted, wanted.seconds - before.seconds)]
    else:
        parts = [part(before, -before.seconds), part(wanted, wanted.seconds)]
    return [one for one in parts if one["seconds"]]


def _read(words: Mapping[str, Any]) -> Held:
    """What `_Names.words` wrote."""

    def ref(name: str) -> Any:
        return UUID(words[name]["id"]) if words[name] else None

    return Held(
        client=ref("client"),
        project=ref("project"),
        activity_type=ref("activity_type"),
        owner=ref("owner"),
        spent_date=date.fromisoformat(words["spent_date"]),
        seconds=words["seconds"],
        notes=words["notes"],
        billable=words["billable"],
        hourly_rate=Decimal(words["hourly_rate"]),
    )


class _Names:
    """The names of what some `Held` refer to: one query a kind."""

    def __init__(self, workspace_id: UUID, sides: Iterable[Held]) -> None:
        self.names: dict[UUID, str] = {}
        sides = list(sides)
        kinds: tuple[tuple[str, QuerySet[Any]], ...] = (
            ("client", Client.objects.filter(workspace_id=workspace_id)),
            ("project", Project.objects.filter(workspace_id=workspace_id)),
            ("activity_type", ActivityType.objects.filter(workspace_id=workspace_id)),
            ("owner", User.objects.all()),
        )
        for field, rows in kinds:
            if ids := {getattr(one, field) for one in sides} - {None}:
                self.names |= {row.pk: str(row) for row in rows.filter(id__in=ids)}

    def words(self, held: Held) -> dict[str, Any]:
        """As `Adjustment.before` and `after` keep it."""
        found: dict[str, Any] = {}
        for name, value in asdict(held).items():
            if isinstance(value, UUID):
                found[name] = {"id": str(value), "name": self.names.get(value, "")}
            else:
                found[name] = str(value) if isinstance(value, (date, Decimal)) else value
        return found
