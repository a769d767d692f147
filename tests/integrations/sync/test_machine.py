"""Two sides under people's hands, with syncs that fail on their way: in the end both agree, and no edit is lost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from integrations.sync.memory import Fault, MemorySide
from integrations.sync.plan import Conflict, Differs, Direction, Held, Policy
from integrations.sync.types import Field, Pair, Unavailable, Value
from tests.integrations.sync.syncing import Syncing
from tests.integrations.sync.world import (
    LOCAL_VALUES,
    REMOTE_VALUES,
    harvest_keeps,
)

# Mostly what can travel: with everything held, little would happen.
USUAL_HERE = LOCAL_VALUES | {
    Field.PLACEMENT: st.sampled_from([("acme", "site"), ("acme", "shop"), ("acme", None), ("globex", None)]),
    Field.ACTIVITY: st.sampled_from(["design", "code", None]),
    Field.DURATION: st.sampled_from([17, 90, 100, 3600, 7600]),
}
USUAL_THERE = REMOTE_VALUES | {
    Field.PLACEMENT: st.sampled_from([("11", "21"), ("11", "22"), ("11", "21"), ("12", "28")]),
    Field.ACTIVITY: st.sampled_from(["31", "32", "31", "39"]),
}


def entries(values: Mapping[Field, st.SearchStrategy[Value]]) -> st.SearchStrategy[dict[Field, Value]]:
    return st.fixed_dictionaries({field: values[field] for field in values if field is not Field.NOTES})


def edits(values: Mapping[Field, st.SearchStrategy[Value]]) -> st.SearchStrategy[dict[Field, Value]]:
    """New values for no field, or one or two; the notes aside, which the machine writes."""
    one = st.sampled_from([field for field in values if field is not Field.NOTES])
    fields = st.lists(one, max_size=2, unique=True)
    return fields.flatmap(lambda some: st.fixed_dictionaries({field: values[field] for field in some}))


CHOSEN = st.integers(0, 20)


class TwoSides(RuleBasedStateMachine):
    """Every edit of a note writes a word that occurs nowhere else, and is watched: until the next hand that saw it
    writes another or deletes the entry, it stands on one side at least, unless the policy gave it up and said so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = datetime(2026, 6, 12, tzinfo=UTC)
        self.local = MemorySide(now=self.now)
        self.remote = MemorySide(keep=harvest_keeps, owner_stays=True, now=self.now)
        self.syncing = Syncing(self.local, self.remote)
        self.words = (f"w{n}" for n in count())
        self.watched: set[str] = set()

    def now(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    @rule(direction=st.sampled_from(Direction), policy=st.sampled_from(Policy))
    def choose(self, direction: Direction, policy: Policy) -> None:
        self.syncing.sync()  # nothing is under way when the direction changes
        self.syncing.direction, self.syncing.policy = direction, policy

    # --- What people do ----------------------------------------------------------------------------------------------
    def word(self) -> str:
        word = next(self.words)
        self.watched.add(word)
        return word

    def entry_of(self, side: MemorySide, chosen: int) -> str | None:
        unlocked = [key for key, entry in side.entries.items() if not entry.locked]
        return unlocked[chosen % len(unlocked)] if unlocked else None

    @rule(values=entries(USUAL_HERE))
    def log_here(self, values: dict[Field, Value]) -> None:
        self.local.create({**values, Field.NOTES: self.word()}, reference="")

    @rule(values=entries(USUAL_THERE))
    def log_there(self, values: dict[Field, Value]) -> None:
        self.remote.create({**values, Field.NOTES: self.word()}, reference="")

    def edit(self, side: MemorySide, key: str, fields: dict[Field, Value], words: bool) -> None:
        if words:
            self.watched.discard(str(side.entries[key].values[Field.NOTES]))
            fields = {**fields, Field.NOTES: self.word()}
        side.edit(key, fields)

    @rule(chosen=CHOSEN, fields=edits(USUAL_HERE), words=st.booleans())
    def edit_here(self, chosen: int, fields: dict[Field, Value], words: bool) -> None:
        if key := self.entry_of(self.local, chosen):
            self.edit(self.local, key, fields, words)

    @rule(chosen=CHOSEN, fields=edits(USUAL_THERE), words=st.booleans())
    def edit_there(self, chosen: int, fields: dict[Field, Value], words: bool) -> None:
        if key := self.entry_of(self.remote, chosen):
            self.edit(self.remote, key, fields, words)

    @rule(chosen=CHOSEN, here=edits(USUAL_HERE), there=edits(USUAL_THERE), words=st.booleans())
    def edit_both(
        self, chosen: int, here: dict[Field, Value], there: dict[Field, Value], words: bool
    ) -> None:
        linked = [link for link in self.syncing.links if link.base]
        if linked:
            link = linked[chosen % len(linked)]
            if (entry := self.local.entries.get(link.local_id or "")) and not entry.locked:
                self.edit(self.local, entry.id, here, words)
            if entry := self.remote.entries.get(link.remote_id or ""):
                self.edit(self.remote, entry.id, there, words)

    @rule(chosen=CHOSEN, here=st.booleans())
    def delete(self, chosen: int, here: bool) -> None:
        side = self.local if here else self.remote
        if key := self.entry_of(side, chosen):
            self.watched.discard(str(side.entries[key].values[Field.NOTES]))
            side.remove(key)

    @rule(chosen=CHOSEN, here=st.booleans())
    def lock(self, chosen: int, here: bool) -> None:
        side = self.local if here else self.remote
        if key := self.entry_of(side, chosen):
            side.lock(key, "On statement 12." if here else "Item Approved.")

    @rule()
    def unlock_all(self) -> None:
        for side in (self.local, self.remote):
            for key in side.entries:
                side.lock(key, "")

    # --- What syncs do -----------------------------------------------------------------------------------------------
    @rule(
        faults=st.just([])
        | st.lists(st.sampled_from([*[Fault.NONE] * 4, Fault.DOWN, Fault.LOST]), max_size=25)
    )
    def sync(self, faults: list[Fault]) -> None:
        self.remote.faults.extend(faults)
        with suppress(Unavailable):
            self.syncing.sync()
        self.remote.faults.clear()

    @rule()
    def come_to_rest(self) -> None:
        self.syncing.sync()
        self.syncing.sync()
        before = (dict(self.local.entries), dict(self.remote.entries))
        said = self.syncing.sync()
        assert (self.local.entries, self.remote.entries) == before, "an echo"
        assert all(isinstance(action, Conflict | Held | Differs) for action in said), said
        self.nothing_is_there_twice()
        if not said and self.syncing.direction is Direction.TWO_WAY:
            self.both_sides_agree()

    def nothing_is_there_twice(self) -> None:
        links = self.syncing.links
        for side, keys in (
            (self.local, [link.local_id for link in links if link.local_id]),
            (self.remote, [link.remote_id for link in links if link.remote_id]),
        ):
            assert len(keys) == len(set(keys)), "an entry on two links"
            assert set(side.entries) <= set(keys), "an entry on none"
        references = [entry.reference for entry in self.remote.entries.values() if entry.reference]
        assert len(references) == len(set(references)), "a push made two"

    def both_sides_agree(self) -> None:
        for link in self.syncing.links:
            assert link.local_id
            assert link.remote_id
            assert link.base
            here, there = self.local.entries[link.local_id].values, self.remote.entries[link.remote_id].values
            assert link.base == {field: Pair(here[field], there[field]) for field in Field}
            assert here[Field.NOTES] == there[Field.NOTES]
            assert here[Field.SPENT_DATE] == there[Field.SPENT_DATE]

    @invariant()
    def no_edit_is_lost(self) -> None:
        standing = {
            entry.values[Field.NOTES] for side in (self.local, self.remote) for entry in side.entries.values()
        }
        for overruled in self.syncing.history:
            if pair := overruled.fields.get(Field.NOTES):
                standing.add(pair.remote if overruled.kept is Policy.TIMEBRIDGE else pair.local)
        assert self.watched <= standing

    def teardown(self) -> None:
        self.come_to_rest()
        self.no_edit_is_lost()


def test_two_sides_come_to_agree() -> None:
    run_state_machine_as_test(
        TwoSides,
        settings=settings(
            max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
