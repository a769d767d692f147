"""What every side of the sync promises (`integrations.sync.types.Side`), as tests that any side can run.

A side runs them by a test class of its own:

    class TestMySide(SideContract):
        @pytest.fixture
        def bench(self) -> Bench: ...

and says in the bench what it can do. Values are in the side's own terms, so the bench brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from integrations.sync.types import (
    OUTGOING,
    Entry,
    Field,
    Gone,
    Refused,
    Side,
    Stale,
    Unavailable,
    Value,
    Values,
)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A side to test, empty between `first` and `last`, and what other people do to it meanwhile.

    examples: at least two sets of values for every field that can be sent, which differ in each of these: the side
    keeps them as they are given. references(n): n references that the side accepts, new ones each time.
    edit, remove, lock: what a person does on the side; lock None where nothing can be locked.
    lose_answers: while it is entered, writes are done and their answers lost; listings break off. None where
    that cannot be (both in one database transaction).
    tells_stale: an update or deletion planned for other values is refused. moves_owner: an update may change the owner.
    """

    side: Side
    first: date
    last: date
    examples: Sequence[Values]
    references: Callable[[int], Sequence[str]]
    edit: Callable[[str, Values], object]
    remove: Callable[[str], None]
    lock: Callable[[str, str], None] | None = None
    lose_answers: Callable[[], AbstractContextManager[None]] | None = None
    tells_stale: bool = True
    moves_owner: bool = True

    def made(self, count: int = 1) -> list[Entry]:
        """Entries of the examples in turn, spread over the days of the window from its first on."""
        days = (self.last - self.first).days + 1
        return [
            self.side.create(
                {
                    **self.examples[n % len(self.examples)],
                    Field.SPENT_DATE: self.first + timedelta(days=n % days),
                },
                reference=reference,
            )
            for n, reference in enumerate(self.references(count))
        ]

    def listed(self) -> list[str]:
        return sorted(entry.id for entry in self.side.list_all(self.first, self.last))

    def new(self, field: Field) -> dict[Field, Value]:
        """A value of the second example, for an entry of the first."""
        return {field: self.examples[1][field]}


def ids(entries: Sequence[Entry]) -> list[str]:
    return sorted(entry.id for entry in entries)


class SideContract:
    """Subclass as Test…, with a fixture `bench`."""

    # --- Reading -----------------------------------------------------------------------------------------------------
    def test_nothing_is_there_at_first(self, bench: Bench) -> None:
        assert bench.listed() == []
        assert bench.side.find(bench.references(1)[0]) is None

    def test_an_entry_has_every_field_and_a_time_of_change(self, bench: Bench) -> None:
        (entry,) = bench.made()
        assert isinstance(entry.id, str)
        assert entry.id
        assert set(entry.values) == set(Field)
        assert entry.changed_at is None or entry.changed_at.utcoffset() == timedelta(0)
        assert entry.locked == ""
        assert entry.running is False

    def test_listing_a_window_yields_each_entry_once(self, bench: Bench) -> None:
        entries = bench.made(25)
        assert len(set(ids(entries))) == 25
        assert bench.listed() == ids(entries)
        by_id = {entry.id: entry for entry in bench.side.list_all(bench.first, bench.last)}
        assert {entry.id: entry.values for entry in entries} == {
            key: row.values for key, row in by_id.items()
        }

    def test_both_ends_of_a_window_are_in_it(self, bench: Bench) -> None:
        entries = bench.made(25)
        for day in (bench.first, bench.last):
            on_day = [entry for entry in entries if entry.values[Field.SPENT_DATE] == day]
            assert on_day
            assert ids(list(bench.side.list_all(day, day))) == ids(on_day)

    def test_what_moved_out_of_the_window_is_not_absent(self, bench: Bench) -> None:
        stayed, moved = bench.made(2)
        bench.edit(moved.id, {Field.SPENT_DATE: bench.last})
        rest = list(bench.side.list_all(bench.first, bench.last - timedelta(days=1)))
        assert ids(rest) == [stayed.id]
        found = bench.side.get(moved.id)
        assert found is not None
        assert found.values[Field.SPENT_DATE] == bench.last

    def test_changes_are_listed_whatever_their_day(self, bench: Bench) -> None:
        entries = bench.made(3)
        assert ids(list(bench.side.list_changed(LONG_AGO))) == ids(entries)
        bench.edit(entries[0].id, bench.new(Field.NOTES))
        stamp = bench.side.get(entries[0].id)
        assert stamp is not None
        since = stamp.changed_at or LONG_AGO
        changed = {entry.id: entry for entry in bench.side.list_changed(since)}
        assert changed[entries[0].id].values == {**entries[0].values, **bench.new(Field.NOTES)}
        bench.remove(entries[1].id)
        assert entries[1].id not in ids(list(bench.side.list_changed(LONG_AGO)))

    def test_what_a_person_removed_is_absent(self, bench: Bench) -> None:
        gone, stayed = bench.made(2)
        bench.remove(gone.id)
        assert bench.side.get(gone.id) is None
        assert bench.listed() == [stayed.id]

    # --- Writing -----------------------------------------------------------------------------------------------------
    @pytest.mark.parametrize("nth", [0, 1])
    def test_create_returns_what_is_then_held(self, bench: Bench, nth: int) -> None:
        fields, reference = bench.examples[nth], bench.references(1)[0]
        made = bench.side.create(fields, reference=reference)
        assert {field: made.values[field] for field in OUTGOING} == {
            field: fields[field] for field in OUTGOING
        }
        assert bench.side.get(made.id) == made

    def test_find_knows_what_an_entry_was_created_for(self, bench: Bench) -> None:
        one, other = bench.references(2)
        made = bench.side.create(bench.examples[0], reference=one)
        assert bench.side.find(one) == made
        assert bench.side.find(other) is None

    @pytest.mark.parametrize("field", [field for field in OUTGOING if field is not Field.OWNER])
    def test_update_changes_this_field_alone(self, bench: Bench, field: Field) -> None:
        entry, bystander = bench.made(2)
        updated = bench.side.update(entry.id, bench.new(field), seen=entry.values)
        for name in OUTGOING:
            assert updated.values[name] == (bench.new(field) if name is field else entry.values)[name]
        assert bench.side.get(entry.id) == updated
        assert bench.side.get(bystander.id) == bystander
        assert updated.reference == entry.reference

    def test_several_fields_are_updated_at_once(self, bench: Bench) -> None:
        (entry,) = bench.made()
        fields = {field: bench.examples[1][field] for field in OUTGOING if field is not Field.OWNER}
        updated = bench.side.update(entry.id, fields, seen=entry.values)
        assert {field: updated.values[field] for field in fields} == fields

    def test_an_owner_moves_or_is_refused(self, bench: Bench) -> None:
        (entry,) = bench.made()
        if bench.moves_owner:
            updated = bench.side.update(entry.id, bench.new(Field.OWNER), seen=entry.values)
            assert updated.values[Field.OWNER] == bench.examples[1][Field.OWNER]
        else:
            with pytest.raises(Refused):
                bench.side.update(entry.id, bench.new(Field.OWNER), seen=entry.values)
            assert bench.side.get(entry.id) == entry

    def test_updating_what_is_gone(self, bench: Bench) -> None:
        (entry,) = bench.made()
        bench.remove(entry.id)
        with pytest.raises(Gone):
            bench.side.update(entry.id, bench.new(Field.NOTES), seen=entry.values)
        assert bench.listed() == []

    def test_deletion_and_deletion_once_more(self, bench: Bench) -> None:
        entry, other = bench.made(2)
        bench.side.delete(entry.id, seen=entry.values)
        assert bench.side.get(entry.id) is None
        assert bench.listed() == [other.id]
        bench.side.delete(entry.id, seen=entry.values)
        assert bench.listed() == [other.id]

    def test_a_write_planned_for_other_values(self, bench: Bench) -> None:
        (entry,) = bench.made()
        bench.edit(entry.id, bench.new(Field.DURATION))
        if not bench.tells_stale:
            updated = bench.side.update(entry.id, bench.new(Field.NOTES), seen=entry.values)
            assert updated.values == {**entry.values, **bench.new(Field.DURATION), **bench.new(Field.NOTES)}
            return
        with pytest.raises(Stale):
            bench.side.update(entry.id, bench.new(Field.NOTES), seen=entry.values)
        with pytest.raises(Stale):
            bench.side.delete(entry.id, seen=entry.values)
        now = bench.side.get(entry.id)
        assert now is not None
        assert now.values == {**entry.values, **bench.new(Field.DURATION)}

    def test_a_locked_entry_says_so_and_is_left_alone(self, bench: Bench) -> None:
        if bench.lock is None:
            pytest.skip("nothing is ever locked on this side")
        (entry,) = bench.made()
        bench.lock(entry.id, "Item Approved")
        locked = bench.side.get(entry.id)
        assert locked is not None
        assert locked.locked
        with pytest.raises(Refused):
            bench.side.update(entry.id, bench.new(Field.NOTES), seen=locked.values)
        with pytest.raises(Refused):
            bench.side.delete(entry.id, seen=locked.values)
        assert bench.side.get(entry.id) == locked
        assert [row.locked for row in bench.side.list_all(bench.first, bench.last)] == [locked.locked]

    # --- When answers are lost ---------------------------------------------------------------------------------------
    def test_a_lost_create_is_found(self, bench: Bench) -> None:
        if bench.lose_answers is None:
            pytest.skip("no answer is ever lost on this side")
        (reference,) = bench.references(1)
        with bench.lose_answers(), pytest.raises(Unavailable):
            bench.side.create(bench.examples[0], reference=reference)
        found = bench.side.find(reference)
        assert found is not None
        assert bench.listed() == [found.id]

    def test_a_lost_update_or_deletion_was_done(self, bench: Bench) -> None:
        if bench.lose_answers is None:
            pytest.skip("no answer is ever lost on this side")
        updated, deleted = bench.made(2)
        with bench.lose_answers(), pytest.raises(Unavailable):
            bench.side.update(updated.id, bench.new(Field.NOTES), seen=updated.values)
        with bench.lose_answers(), pytest.raises(Unavailable):
            bench.side.delete(deleted.id, seen=deleted.values)
        (left,) = bench.side.list_all(bench.first, bench.last)
        assert left.values == {**updated.values, **bench.new(Field.NOTES)}

    def test_a_listing_that_breaks_off_raises(self, bench: Bench) -> None:
        if bench.lose_answers is None:
            pytest.skip("no listing ever breaks off on this side")
        bench.made(3)
        with bench.lose_answers(), pytest.raises(Unavailable):
            list(bench.side.list_all(bench.first, bench.last))
        with bench.lose_answers(), pytest.raises(Unavailable):
            list(bench.side.list_changed(LONG_AGO))
