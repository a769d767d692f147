"""A page of time entries, decoded in one go where it is as Harvest documents it: much faster than field by field.

What is unlike the documentation in any way (a number written as text, a field that cannot be read, half of a surrogate
pair) is left to `payloads`, which knows what to make of it, for the whole page: the outcome is the same either way, as
a test over arbitrary pages shows.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

import msgspec

from harvest import payloads
from harvest.payloads import TimeEntryPayload


class _Odd(Exception):
    """Not as documented."""


_Id: TypeAlias = Annotated[int, msgspec.Meta(gt=0, le=payloads.LARGEST_ID)]


class _Named(msgspec.Struct, gc=False):
    id: _Id
    name: str | None = None
    code: str | None = None


class _Reference(msgspec.Struct, gc=False):
    id: str | None = None
    group_id: str | None = None
    permalink: str | None = None


class _Entry(msgspec.Struct, gc=False):
    id: _Id
    spent_date: date
    hours: Decimal
    user: _Named
    client: _Named
    project: _Named
    task: _Named
    notes: str | None = None
    billable: bool | None = None
    is_running: bool | None = None
    is_locked: bool | None = None
    locked_reason: str | None = None
    is_closed: bool | None = None
    approval_status: str | None = None
    is_billed: bool | None = None
    started_time: str | None = None
    ended_time: str | None = None
    timer_started_at: datetime | None = None
    external_reference: _Reference | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class _Page(msgspec.Struct):
    time_entries: list[_Entry]
    total_entries: Any = None
    total_pages: Any = None
    next_page: Any = None
    links: Any = None


class _Identity(msgspec.Struct, gc=False):
    id: int


class _Identities(msgspec.Struct):
    time_entries: list[_Identity]
    total_entries: Any = None
    total_pages: Any = None
    next_page: Any = None
    links: Any = None


_pages = msgspec.json.Decoder(_Page, float_hook=Decimal)
_identities = msgspec.json.Decoder(_Identities)
_NOBODY = _Reference()
_NUL = b"\\u0000"  # a NUL has no other form in JSON


def parse_entries(body: bytes) -> Any:
    """As `payloads.parse_json`, for a listing of time entries: its rows are decoded where that could be done here.

    `payloads.read_entries` takes either. Raises ValueError for anything that is not JSON.
    """
    try:
        if _NUL in body:
            raise _Odd
        page = _pages.decode(body)
        entries = [_payload(entry) for entry in page.time_entries]
    except (msgspec.MsgspecError, _Odd, ValueError, ArithmeticError, RecursionError):
        return payloads.parse_json(body)
    return {
        "time_entries": entries,
        "total_entries": page.total_entries,
        "total_pages": page.total_pages,
        "next_page": page.next_page,
        "links": page.links,
    }


def parse_ids(body: bytes) -> Any:
    """As parse_entries, with nothing but the ids of its entries, as text.

    Raises ValueError also for a row without an id: a listing of which that is not known tells nothing.
    """
    try:
        page = _identities.decode(body)
        ids = [str(entry.id) for entry in page.time_entries]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        data = payloads.parse_json(body)
        if not isinstance(data, dict) or not isinstance(data.get("time_entries"), list):
            return data
        return {**data, "time_entries": [payloads.read_id(row) for row in data["time_entries"]]}
    return {
        "time_entries": ids,
        "total_entries": page.total_entries,
        "total_pages": page.total_pages,
        "next_page": page.next_page,
        "links": page.links,
    }


def _payload(entry: _Entry) -> TimeEntryPayload:
    user, client, project, task = entry.user, entry.client, entry.project, entry.task
    reference = entry.external_reference or _NOBODY
    hours = entry.hours
    if not (hours.is_finite() and -payloads.MOST < hours < payloads.MOST):
        raise _Odd
    return TimeEntryPayload(
        entry.id,
        entry.spent_date,
        hours,
        entry.notes or "",
        user.id,
        user.name or "",
        client.id,
        client.name or "",
        project.id,
        project.name or "",
        project.code or "",
        task.id,
        task.name or "",
        entry.billable is True,
        entry.is_running is True,
        entry.is_locked is True,
        entry.locked_reason or "",
        entry.is_closed is True,
        entry.approval_status or "",
        entry.is_billed is True,
        entry.started_time or "",
        entry.ended_time or "",
        _instant(entry.timer_started_at),
        reference.id or "",
        reference.group_id or "",
        reference.permalink or "",
        _instant(entry.created_at),
        _instant(entry.updated_at),
    )


def _instant(value: datetime | None) -> datetime | None:
    if value is None or value.tzinfo is UTC:
        return value
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
