"""A side in memory: what a side does, in the fewest words, and something to try a sync on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import Enum, auto
from typing import TypeVar

from integrations.sync.types import Entry, Field, Gone, Refused, Stale, Unavailable, Value, Values

T = TypeVar("T")


class Fault(Enum):
    """What happens to a call. LOST: it is done, and its answer lost; a listing breaks off on its way."""

    NONE = auto()
    DOWN = auto()
    LOST = auto()


def _as_given(values: Values) -> Values:
    return values


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemorySide:
    """A `Side`. No two entries ever share an id, not even one after the other.

    keep: all fields of an entry as this side holds them once they are written (rounds, trims, decides); it is also
    given entries without fields that were not sent. owner_stays: as in Harvest, an update cannot change the owner.
    faults: what happens to the next calls, in order. Nothing in `entries` is changed in place.
    """

    def __init__(
        self,
        *,
        keep: Callable[[Values], Values] = _as_given,
        owner_stays: bool = False,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.faults: deque[Fault] = deque()
        self._keep, self._owner_stays, self._now = keep, owner_stays, now
        self._made = 0

    # --- What Side promises ------------------------------------------------------------------------------------------
    def list_all(self, first: date, last: date) -> Iterator[Entry]:
        return self._listed(lambda entry: first <= _day(entry) <= last)

    def list_changed(self, since: datetime) -> Iterator[Entry]:
        return self._listed(lambda entry: entry.changed_at is None or entry.changed_at >= since)

    def get(self, entry_id: str) -> Entry | None:
        lost = self._meet_fault()
        return _answer(self.entries.get(entry_id), lost)

    def find(self, reference: str) -> Entry | None:
        lost = self._meet_fault()
        found = (entry for entry in self.entries.values() if entry.reference == reference)
        return _answer(next(found, None), lost)

    def create(self, fields: Values, *, reference: str) -> Entry:
        lost = self._meet_fault()
        self._made += 1
        return _answer(self._put(Entry(id=str(self._made), values={}, reference=reference), fields), lost)

    def update(self, entry_id: str, fields: Values, *, seen: Values) -> Entry:
        lost = self._meet_fault()
        entry = self.entries.get(entry_id)
        if entry is None:
            raise Gone("This entry is not there any more.")
        self._refuse(entry, seen)
        if self._owner_stays and Field.OWNER in fields:
            raise Refused("An entry stays with its owner.")
        return _answer(self._put(entry, fields), lost)

    def delete(self, entry_id: str, *, seen: Values) -> None:
        lost = self._meet_fault()
        if entry := self.entries.get(entry_id):
            self._refuse(entry, seen)
            del self.entries[entry_id]
        _answer(None, lost)

    # --- What people do on this side ---------------------------------------------------------------------------------
    def edit(self, entry_id: str, fields: Values) -> Entry:
        """Change fields as a person of this side does: whatever anybody saw, and whatever a sync may not write."""
        return self._put(self.entries[entry_id], fields)

    def remove(self, entry_id: str) -> None:
        del self.entries[entry_id]

    def lock(self, entry_id: str, reason: str) -> None:
        """Keep syncs from writing to the entry; "" lets them again."""
        self.entries[entry_id] = replace(self.entries[entry_id], locked=reason)

    # -----------------------------------------------------------------------------------------------------------------
    def _put(self, entry: Entry, fields: Values) -> Entry:
        values: dict[Field, Value] = {**entry.values, **fields}
        entry = replace(entry, values=dict(self._keep(values)), changed_at=self._now())
        self.entries[entry.id] = entry
        return entry

    def _listed(self, wanted: Callable[[Entry], bool]) -> Iterator[Entry]:
        lost = self._meet_fault()
        rows = [entry for entry in self.entries.values() if wanted(entry)]
        if lost:
            yield from rows[: len(rows) // 2]
            raise Unavailable("The list did not come to its end.")
        yield from rows

    def _refuse(self, entry: Entry, seen: Values) -> None:
        if entry.locked:
            raise Refused(entry.locked)
        if entry.values != seen:
            raise Stale("This entry was changed in the meantime.")

    def _meet_fault(self) -> bool:
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault is Fault.DOWN:
            raise Unavailable("This side is down.")
        return fault is Fault.LOST


def _answer(answer: T, lost: bool) -> T:
    if lost:
        raise Unavailable("The answer was lost.")
    return answer


def _day(entry: Entry) -> date:
    day = entry.values[Field.SPENT_DATE]
    if not isinstance(day, date):
        raise TypeError(f"{day!r} is no date")
    return day
