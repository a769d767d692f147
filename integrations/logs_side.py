"""Time logs as a side of the sync: what a log holds, in this product's own terms."""

from __future__ import annotations

from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from integrations.sync.types import Field, Value

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
