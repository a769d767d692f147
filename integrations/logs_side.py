"""Time logs as a side of the sync: what a log holds, in this product's own terms, and what may be done to it.

Runs and pushes write many logs at once, with links and history (`harvest.agreement`); this is the same for one log, as
every side promises it. Either way a log takes its values by `take_values`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from integrations.sync.types import Entry, Field, Gone, Refused, Stale, Value, Values
from timelogs.models import ActivityType, Source, TimeLog
from timelogs.signals import time_log_changed

SETTLED = "This time is on an issued statement."


class Logged(Protocol):
    """What the sync looks at of a time log; a `TimeLog` is one."""

    client_id: UUID
    project_id: UUID | None
    activity_type_id: UUID | None
    owner_id: UUID
    spent_date: date
    seconds: int
    notes: str
    billable: bool
    settled_at: datetime | None
    updated_at: datetime


def values_of(log: Logged) -> dict[Field, Value]:
    """Every field of a log, in this product's own terms: ids as text, whole seconds."""
    return {
        Field.PLACEMENT: (str(log.client_id), str(log.project_id) if log.project_id else None),
        Field.ACTIVITY: str(log.activity_type_id) if log.activity_type_id else None,
        Field.SPENT_DATE: log.spent_date,
        Field.DURATION: log.seconds,
        Field.NOTES: log.notes,
        Field.OWNER: str(log.owner_id),
        Field.BILLABLE: log.billable,
    }


def take_values(log: TimeLog, fields: Values, *, rate: Callable[[UUID], Decimal]) -> bool:
    """Set these fields of a log in memory, `work_item` loaded with it; returns whether anything is otherwise now.

    Another activity type brings its rate (`rate` knows it; none has 0.00) and never touches billable. A work item that
    no longer fits client and project is dropped. Raises TypeError for what is no value of ours.
    """
    before = values_of(log)
    for name, value in fields.items():
        match name, value:
            case Field.PLACEMENT, (str(client), project):
                log.client_id = UUID(client)
                log.project_id = UUID(project) if project else None
            case Field.ACTIVITY, str() | None:
                if value != before[Field.ACTIVITY]:
                    log.activity_type_id = UUID(value) if value else None
                    log.hourly_rate = rate(UUID(value)) if value else Decimal("0.00")
            case Field.SPENT_DATE, date():
                log.spent_date = value
            case Field.DURATION, int():
                log.seconds = value
            case Field.NOTES, str():
                log.notes = value
            case Field.OWNER, str():
                log.owner_id = UUID(value)
            case Field.BILLABLE, bool():
                log.billable = value
            case _:
                raise TypeError(f"Not a value of ours for {name}: {value!r}")
    item = log.work_item if log.work_item_id else None
    if item is not None and (
        item.client_id != log.client_id or item.project_id not in (None, log.project_id)
    ):
        log.work_item = None
    return values_of(log) != before


class TimeLogSide:
    """A `Side`: the time logs of one workspace, inside its scope. An entry's reference is the id of Harvest's.

    It is never Unavailable: what is written here and the answer are one transaction.
    """

    def __init__(self, workspace_id: UUID) -> None:
        self.workspace_id = workspace_id

    def list_all(self, first: date, last: date) -> Iterator[Entry]:
        return self._entries(spent_date__range=(first, last))

    def list_changed(self, since: datetime) -> Iterator[Entry]:
        return self._entries(updated_at__gte=since)

    def get(self, entry_id: str) -> Entry | None:
        return next(self._entries(id=entry_id), None)

    def find(self, reference: str) -> Entry | None:
        return next(self._entries(external_id=reference), None) if reference else None

    def _entries(self, **which: object) -> Iterator[Entry]:
        logs = TimeLog.objects.filter(workspace_id=self.workspace_id, deleted_at=None, **which)
        return (entry_of(log) for log in logs.order_by("id").iterator(chunk_size=2000))

    def create(self, fields: Values, *, reference: str) -> Entry:
        now = timezone.now()
        log = TimeLog(
            workspace_id=self.workspace_id,
            source=Source.HARVEST,
            external_id=reference or None,
            created_at=now,
            updated_at=now,
        )
        # An activity type says whether its time is billed, unless the other side does.
        activity = fields.get(Field.ACTIVITY)
        log.billable = self._type(UUID(activity)).billable if isinstance(activity, str) else True
        take_values(log, fields, rate=self._rate)
        log.save(force_insert=True)
        self._tell(log, "created")
        return entry_of(log)

    def update(self, entry_id: str, fields: Values, *, seen: Values) -> Entry:
        with transaction.atomic():
            log = self._locked(entry_id, seen)
            if log is None:
                raise Gone("This time is not there any more.")
            if take_values(log, fields, rate=self._rate):
                log.updated_at = timezone.now()
                log.save()
                self._tell(log, "updated")
            return entry_of(log)

    def delete(self, entry_id: str, *, seen: Values) -> None:
        with transaction.atomic():
            log = self._locked(entry_id, seen)
            if log is not None:
                log.deleted_at = log.updated_at = timezone.now()
                log.save(update_fields=["deleted_at", "updated_at"])
                self._tell(log, "deleted")

    def _locked(self, entry_id: str, seen: Values) -> TimeLog | None:
        """The log, locked, where it may be written to; None where it is not there. Raises Refused, Stale."""
        log = (
            TimeLog.objects.select_for_update(of=("self",), no_key=True)
            .select_related("work_item")
            .filter(workspace_id=self.workspace_id, id=entry_id, deleted_at=None)
            .first()
        )
        if log is None:
            return None
        if log.settled_at is not None:
            raise Refused(SETTLED)
        if values_of(log) != dict(seen):
            raise Stale("This time was changed at the same moment.")
        return log

    def _type(self, activity: UUID) -> ActivityType:
        return ActivityType.objects.get(workspace_id=self.workspace_id, pk=activity)

    def _rate(self, activity: UUID) -> Decimal:
        return self._type(activity).hourly_rate

    def _tell(self, log: TimeLog, change: str) -> None:
        time_log_changed.send(
            sender=TimeLog,
            workspace_id=self.workspace_id,
            time_log_ids=[log.id],
            change=change,
            origin="sync",
        )


def entry_of(log: TimeLog) -> Entry:
    """A live log as an entry of this side."""
    return Entry(
        id=str(log.id),
        values=values_of(log),
        changed_at=log.updated_at,
        locked=SETTLED if log.settled_at else "",
        reference=log.external_id or "",
    )
