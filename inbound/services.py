"""Deciding time proposals: accept, dismiss, restore; one at a time or many.

Each step locks the proposal and updates it with the old state in the filter: of two people pressing at once one makes
the log, and the other gets the same proposal back with that log. Each is a line of the audit trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from accounts.audit import record_audit
from accounts.errors import Forbidden, InUse, Invalid, ServiceError, Settled
from accounts.ids import uuid7
from accounts.models import Membership
from clients.models import Project
from inbound.models import ProposalStatus, TimeProposal
from inbound.signals import proposal_accepted, proposal_reopening
from timelogs.models import ActivityType, Source, SyncState, TimeLog, WorkItem
from timelogs.money import hours_of
from timelogs.signals import time_log_changed

WORDS = {
    ProposalStatus.ACCEPTED: "This proposal is a time log already.",
    ProposalStatus.DISMISSED: "This proposal was dismissed. Restore it first.",
    ProposalStatus.WITHDRAWN: "This proposal was withdrawn: its entry is gone in Harvest.",
    ProposalStatus.PENDING: "This proposal still waits for a decision.",
}


class Decision(models.TextChoices):
    ACCEPT = "accept", "Accept"
    DISMISS = "dismiss", "Dismiss"


def accept_proposal(
    *,
    proposal: TimeProposal,
    by: Membership,
    work_item: WorkItem | None = None,
    project: Project | None = None,
    activity_type: ActivityType | None = None,
) -> TimeProposal:
    """Make a proposal's time log, on a work item, or on a project with an activity type.

    The activity type is the proposal's own unless given; the rate is that type's as it is now. A proposal that is
    accepted already comes back as it is. Raises Invalid, Forbidden, ServiceError (dismissed or withdrawn).
    """
    _check_may_decide(by)
    row = _locked(proposal)
    if row.status == ProposalStatus.ACCEPTED:
        return row
    _expect(row, ProposalStatus.PENDING)
    log = _log_of(row, work_item, project, activity_type or row.activity_type)
    log.save(force_insert=True)
    _move(row, ProposalStatus.PENDING, ProposalStatus.ACCEPTED, by, time_log=log)
    proposal_accepted.send(sender=TimeProposal, proposal=row, time_log=log)
    time_log_changed.send(
        sender=TimeLog,
        workspace_id=log.workspace_id,
        time_log_ids=[log.id],
        change="created",
        origin="person",
    )
    return row


def dismiss_proposal(*, proposal: TimeProposal, by: Membership) -> TimeProposal:
    """Keep a proposal out for good, until it is restored. Raises Forbidden, ServiceError (accepted or withdrawn)."""
    _check_may_decide(by)
    row = _locked(proposal)
    if row.status == ProposalStatus.DISMISSED:
        return row
    _expect(row, ProposalStatus.PENDING)
    _move(row, ProposalStatus.PENDING, ProposalStatus.DISMISSED, by)
    return row


def restore_proposal(*, proposal: TimeProposal, by: Membership) -> TimeProposal:
    """Let a dismissed proposal wait again. Raises Forbidden, ServiceError (accepted or withdrawn)."""
    _check_may_decide(by)
    row = _locked(proposal)
    if row.status == ProposalStatus.PENDING:
        return row
    _expect(row, ProposalStatus.DISMISSED)
    _move(row, ProposalStatus.DISMISSED, ProposalStatus.PENDING, by)
    return row


def undo_proposal(*, proposal: TimeProposal, by: Membership) -> TimeProposal:
    """Take a decision back, so that the proposal waits again: a dismissal, or an acceptance, whose log is removed.

    The log goes without a trace, and without Harvest's entry: only while it is as accepting made it. Raises Forbidden,
    Settled, InUse (edited, deleted or synced since), ServiceError (withdrawn).
    """
    _check_may_decide(by)
    row = _locked(proposal)
    if row.status != ProposalStatus.ACCEPTED:
        return restore_proposal(proposal=row, by=by)
    assert row.time_log_id is not None  # by a constraint
    log = TimeLog.objects.select_for_update().get(pk=row.time_log_id, workspace_id=row.workspace_id)
    if log.settled:
        raise Settled("This time is on an issued statement. Void the statement first.")
    if not _untouched(log):
        raise InUse("This time has been changed since it was accepted, so that cannot be undone.")
    proposal_reopening.send(sender=TimeProposal, proposal=row, time_log=log)
    _move(row, ProposalStatus.ACCEPTED, ProposalStatus.PENDING, by)
    # Told as the undo of a run is: as a sync's doing it goes no further, and never to Harvest.
    time_log_changed.send(
        sender=TimeLog, workspace_id=log.workspace_id, time_log_ids=[log.id], change="deleted", origin="sync"
    )
    try:
        log.delete()
    except models.ProtectedError as error:
        raise InUse(
            "Something rests on this time since it was accepted, so that cannot be undone."
        ) from error
    return row


def can_be_undone(proposal: TimeProposal) -> bool:
    """Whether a decision looks as if it could be taken back; needs the proposal's `time_log`."""
    if proposal.status == ProposalStatus.DISMISSED:
        return True
    log = proposal.time_log
    return log is not None and not log.settled and _untouched(log)


def _untouched(log: TimeLog) -> bool:
    return log.deleted_at is None and log.updated_at == log.created_at


@dataclass(frozen=True, slots=True)
class Undecided:
    """A proposal of a bulk decision that could not be decided, and why."""

    id: str
    detail: str


def decide_proposals(
    *, ids: Iterable[UUID], by: Membership, action: str, **target: Any
) -> tuple[int, list[Undecided]]:
    """Accept (on one target, as accept_proposal takes it) or dismiss many, each for itself.

    Returns how many were decided, and those that were not. Ids are taken in their order, so that two bulk decisions
    that cross wait for each other instead of locking each other out. Raises Forbidden.
    """
    _check_may_decide(by)
    failed: list[Undecided] = []
    wanted = sorted(set(ids))
    found = TimeProposal.objects.filter(workspace_id=by.workspace_id).in_bulk(wanted)
    for key in wanted:
        proposal = found.get(key)
        try:
            if proposal is None:
                raise ServiceError("There is nothing with this id.")
            with transaction.atomic():
                if action == Decision.ACCEPT:
                    accept_proposal(proposal=proposal, by=by, **target)
                else:
                    dismiss_proposal(proposal=proposal, by=by)
        except Invalid as error:
            messages = [message for messages in error.errors.values() for message in messages]
            failed.append(Undecided(str(key), " ".join(dict.fromkeys(messages))))
        except ServiceError as error:
            failed.append(Undecided(str(key), error.detail))
    return len(wanted) - len(failed), failed


# --- Following Harvest: for the sync, inside its transaction ---------------------------------------------------------
FOLLOWED = ("client", "owner", "activity_type", "spent_date", "seconds", "notes", "billable", "hourly_rate")


def proposals_changed(*, workspace_id: UUID, changes: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Let proposals follow their Harvest entries, until they are accepted: two queries, however many there are.

    changes: proposal id -> the new values of any of `client`, `owner`, `activity_type` (ids; only the last may be
    None), `spent_date`, `seconds`, `notes`, `billable`, `hourly_rate`. An accepted one is left alone: its log follows.
    """
    rows = _followed(workspace_id, changes).exclude(status=ProposalStatus.ACCEPTED)
    found = list(rows.select_for_update().order_by("id"))
    for row in found:
        for name, value in changes[row.id].items():
            if name not in FOLLOWED:
                raise ValueError(f"A proposal does not follow {name!r}.")
            setattr(row, TimeProposal._meta.get_field(name).attname, value)  # type: ignore[union-attr]
    TimeProposal.objects.bulk_update(found, FOLLOWED, batch_size=500)


def proposals_withdrawn(*, workspace_id: UUID, ids: Iterable[UUID]) -> None:
    """Their entries are gone in Harvest: those that wait are withdrawn. Decided ones stay as they are."""
    _followed(workspace_id, ids).filter(status=ProposalStatus.PENDING).update(
        status=ProposalStatus.WITHDRAWN, decided_at=timezone.now()
    )


def proposals_returned(*, workspace_id: UUID, ids: Iterable[UUID]) -> None:
    """Their entries are there again: withdrawn ones wait again."""
    _followed(workspace_id, ids).filter(status=ProposalStatus.WITHDRAWN).update(
        status=ProposalStatus.PENDING, decided_at=None
    )


def _followed(workspace_id: UUID, ids: Iterable[UUID]) -> models.QuerySet[TimeProposal]:
    return TimeProposal.objects.filter(workspace_id=workspace_id, id__in=list(ids))


def _check_may_decide(by: Membership) -> None:
    if not by.can_manage:
        raise Forbidden("Admins and designers decide in Inbound.")


def _locked(proposal: TimeProposal) -> TimeProposal:
    """The proposal's row as it is now, locked until the transaction ends."""
    return (
        TimeProposal.objects.select_for_update(of=("self",))
        .select_related("owner", "client", "activity_type", "time_log")
        .get(pk=proposal.pk, workspace_id=proposal.workspace_id)
    )


def _expect(row: TimeProposal, status: ProposalStatus) -> None:
    if row.status != status:
        raise ServiceError(WORDS[ProposalStatus(row.status)])


def _move(
    row: TimeProposal,
    before: ProposalStatus,
    after: ProposalStatus,
    by: Membership,
    time_log: TimeLog | None = None,
) -> None:
    decided = after != ProposalStatus.PENDING
    values = {
        "status": after,
        "time_log": time_log,
        "decided_by": by.user if decided else None,
        "decided_at": timezone.now() if decided else None,
    }
    changed = TimeProposal.objects.filter(pk=row.pk, workspace_id=row.workspace_id, status=before).update(
        **values
    )
    if not changed:
        raise ServiceError("Somebody else decided this proposal at the same moment. Load it again.")
    for field, value in values.items():
        setattr(row, field, value)
    record_audit(
        workspace=row.workspace_id,
        actor=by.user,
        action=f"proposal.{after if decided else 'restored'}",
        target=f"{row.client}, {row.spent_date}, {hours_of(row.seconds)} h",
        proposal=row.id,
        external_id=row.external_id,
        before={"status": before},
        after={"status": after},
        **_placed(time_log),
    )


def _placed(log: TimeLog | None) -> dict[str, Any]:
    """What an accepted proposal became, for the audit trail."""
    if log is None:
        return {}
    return {
        "time_log": log.id,
        "work_item": log.work_item.key if log.work_item else None,
        "project": log.project.name if log.project else None,
    }


def _log_of(
    row: TimeProposal,
    item: WorkItem | None,
    project: Project | None,
    activity_type: ActivityType | None,
) -> TimeLog:
    """The time log that a proposal becomes. Raises Invalid."""
    errors: dict[str, list[str]] = {}
    if item is None and project is None:
        choose = ["Choose a work item, or a project and an activity type."]
        errors |= {"work_item": choose, "project": choose}
    if item is not None and item.client_id != row.client_id:
        errors["work_item"] = ["This work item belongs to another client."]
    elif item is not None and project is not None and item.project_id not in (None, project.id):
        errors["work_item"] = ["This work item belongs to another project."]
    if project is not None and project.client_id != row.client_id:
        errors["project"] = ["This project belongs to another client."]
    if item is None and project is not None and activity_type is None:
        errors["activity_type"] = ["Choose an activity type."]
    if errors:
        raise Invalid(errors)
    now = timezone.now()
    return TimeLog(
        id=uuid7(),
        workspace_id=row.workspace_id,
        client=row.client,
        project=project or (item.project if item else None),
        work_item=item,
        activity_type=activity_type,
        owner=row.owner,
        spent_date=row.spent_date,
        seconds=row.seconds,
        # As for every log that is made on a work item without notes of its own.
        notes=row.notes if row.notes.strip() or item is None else item.description or item.title,
        billable=row.billable,
        hourly_rate=activity_type.hourly_rate if activity_type else 0,
        source=Source.HARVEST,
        external_id=row.external_id,
        sync_state=SyncState.SYNCED,
        created_at=now,
        updated_at=now,  # the same until somebody changes it
    )
