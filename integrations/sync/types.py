"""The words of the sync, and what a side of it can do. Standard library only.

side          a system that holds time: *local* is this product, *remote* the provider (Harvest)
entry         one piece of time on a side, in that side's own terms
link          joins one local entry to one remote entry
base          what both held, each in its own terms, when they last agreed, field by field
version       an entry as it stands now, with its values put into the other side's terms too
agreed        base and versions match; what rounding, Harvest's *billable* and fallback people
              make differ between the sides is in the base, and so is no change
edited        a value differs from the base's of the same side: content decides, never a time stamp
absent        known not to be there: asked for by its id, or missing from a complete listing and then
              asked for; what an incremental reading does not list is unchanged, never absent
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeAlias


class Field(StrEnum):
    """What is compared, one by one. Ids are strings; each side's are its own.

    placement: (client id, project id or None). activity: id or None. spent_date: a date without a zone.
    duration: whole seconds (int) here, hours to the hundredth (Decimal) in Harvest. owner: the person's id.
    billable: comes in, never goes out.
    """

    PLACEMENT = "placement"
    ACTIVITY = "activity"
    SPENT_DATE = "spent_date"
    DURATION = "duration"
    NOTES = "notes"
    OWNER = "owner"
    BILLABLE = "billable"


OUTGOING = tuple(field for field in Field if field is not Field.BILLABLE)

Value: TypeAlias = str | int | bool | date | Decimal | tuple[str | None, ...] | None
Values: TypeAlias = Mapping[Field, Value]


@dataclass(frozen=True, slots=True)
class Pair:
    """One field on both sides, each in its own terms."""

    local: Value
    remote: Value


# A field without a pair was never agreed on; a link that knows nothing has an empty base, no link has none.
Base: TypeAlias = Mapping[Field, Pair]


@dataclass(frozen=True, slots=True)
class NoCounterpart:
    """A value that the other side cannot hold. reason: a sentence for people that names the remedy."""

    reason: str


Translated: TypeAlias = Mapping[Field, Value | NoCounterpart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a side holds under `id`.

    values: every field. changed_at: aware UTC, None where the side does not say.
    locked: why a sync may not write to it, "" where it may (settled here; approved, invoiced, closed there).
    running: its timer runs, so that its duration is not final. reference: the id it was created for.
    """

    id: str
    values: Values
    changed_at: datetime | None = None
    locked: str = ""
    running: bool = False
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An entry as the plan sees it; fields as in Entry.

    abroad: the same values in the other side's terms, by the mappings as they stand; a local version needs no
    billable there. stranger (remote only): its person is nobody here, so that the owner abroad is a fallback.
    """

    values: Values
    abroad: Translated
    changed_at: datetime | None = None
    locked: str = ""
    running: bool = False
    stranger: bool = False

    @classmethod
    def of(cls, entry: Entry, abroad: Translated, *, stranger: bool = False) -> Version:
        return cls(
            values=entry.values,
            abroad=abroad,
            changed_at=entry.changed_at,
            locked=entry.locked,
            running=entry.running,
            stranger=stranger,
        )


class SideError(Exception):
    """Base of what a side raises. The message is a sentence for people."""


class Gone(SideError):
    """The entry to be updated is not there."""


class Stale(SideError):
    """The entry is no longer the one this write was planned for: plan again."""


class Refused(SideError):
    """The side will not take this write as it is: hold the change."""


class Unavailable(SideError):
    """Come back later. A write may or may not have been done; a listing did not come to its end."""


class Side(Protocol):
    """One side of the sync. Every value is in the side's own terms; nothing is translated here.

    Any method may raise Unavailable.
    """

    def list_all(self, first: date, last: date) -> Iterator[Entry]:
        """Yield every entry of the days first to last, both included, each once, in any order.

        A listing is complete or it raises: what it did not yield before its end was not in the window when it
        began, though it may have moved there since. Asking for it by `get` tells gone from moved.
        """
        ...

    def list_changed(self, since: datetime) -> Iterator[Entry]:
        """Yield every entry changed at or after `since` (aware UTC), whatever its day; others may be among them.

        Complete or it raises. Deleted entries are not listed, and what is not listed is unchanged, not absent.
        """
        ...

    def get(self, entry_id: str) -> Entry | None:
        """The entry as it stands, or None where it is known not to be there."""
        ...

    def find(self, reference: str) -> Entry | None:
        """The entry that was created for `reference`, or None: what to ask before repeating a lost `create`."""
        ...

    def create(self, fields: Values, *, reference: str) -> Entry:
        """Make an entry of `fields` for the other side's entry `reference`, and return it as it is now held.

        The side may keep the values in its own way (rounded, trimmed), and decides what `fields` leaves out.
        Not safe to repeat after Unavailable: `find` first. Raises Refused.
        """
        ...

    def update(self, entry_id: str, fields: Values, *, seen: Values) -> Entry:
        """Change these fields alone, and return the entry as it is now held.

        seen: the values this write was planned for; a side that can tell raises Stale where they have moved.
        Raises Gone, Stale, Refused.
        """
        ...

    def delete(self, entry_id: str, *, seen: Values) -> None:
        """Delete the entry; one that is gone already is a success. seen: as in update. Raises Stale, Refused."""
        ...


# What both sides hold in the same terms: stored once where it is equal, as it nearly always is.
_ALIKE = frozenset({Field.SPENT_DATE, Field.NOTES, Field.BILLABLE})


def dump_base(base: Base) -> dict[str, Any]:
    """The base for a JSON column: {field: [local, remote]}, or {field: both}; `load_base` gives it back equal."""
    return {
        field.value: _dumped(pair.local)
        if field in _ALIKE and pair.local is not None and pair.local == pair.remote
        else [_dumped(pair.local), _dumped(pair.remote)]
        for field, pair in base.items()
    }


def load_base(data: Mapping[str, Any]) -> dict[Field, Pair]:
    """The base from `dump_base`. Raises ValueError, TypeError for what is none."""
    return {(field := Field(name)): _pair(field, value) for name, value in data.items()}


def _pair(field: Field, value: Any) -> Pair:
    if isinstance(value, list):
        local, remote = value
        return Pair(_loaded(field, local), _loaded(field, remote))
    if field not in _ALIKE or value is None:
        raise ValueError(f"{field} has one half")
    both = _loaded(field, value)
    return Pair(both, both)


def _dumped(value: Value) -> Any:
    match value:
        case date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case tuple():
            return list(value)
    return value


def _loaded(field: Field, value: Any) -> Value:
    match field, value:
        case Field.SPENT_DATE, str():
            return date.fromisoformat(value)
        case Field.DURATION, str():
            return Decimal(value)
        case Field.PLACEMENT, list():
            return tuple(value)
    loaded: Value = value
    return loaded
