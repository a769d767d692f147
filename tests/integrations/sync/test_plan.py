"""What holds for any link: whatever was agreed on, whatever both sides did since."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from integrations.sync.plan import (
    TIMER_RUNNING,
    Action,
    Agree,
    Conflict,
    CreateLocal,
    CreateRemote,
    DeleteLocal,
    DeleteRemote,
    Differs,
    Direction,
    ForgetLink,
    Held,
    Overruled,
    Policy,
    Replace,
    UpdateLocal,
    UpdateRemote,
    Way,
    attempted,
    plan,
    settle,
)
from integrations.sync.types import OUTGOING, Base, Entry, Field, NoCounterpart, Pair, Values, Version
from tests.integrations.sync.world import (
    LOCAL_ENTRIES,
    LOCAL_VALUES,
    PEOPLE_IN,
    REMOTE_ENTRIES,
    REMOTE_VALUES,
    as_local,
    as_remote,
    harvest_keeps,
    local_version,
    remote_version,
    some_of,
)

checked = settings(max_examples=200, deadline=None)

STATEMENTS = (Conflict, Held, Differs, Overruled)
NOON = datetime(2026, 6, 12, 12, tzinfo=UTC)
STAMPS = st.none() | st.integers(0, 3).map(lambda seconds: NOON + timedelta(seconds=seconds / 2))
WHOLE_STAMPS = st.none() | st.integers(0, 2).map(lambda seconds: NOON + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Situation:
    base: Base | None
    local: Entry | None
    remote: Entry | None
    direction: Direction
    policy: Policy

    def plan(self) -> list[Action]:
        return plan(
            self.base,
            self.local and local_version(self.local),
            self.remote and remote_version(self.remote),
            direction=self.direction,
            policy=self.policy,
        )


@st.composite
def situations(draw: st.DrawFn, *, both: bool = False) -> Situation:
    """Any base of any two entries, then any edits of either, or its deletion. both: neither side is absent."""
    local, remote = draw(LOCAL_ENTRIES), draw(REMOTE_ENTRIES)
    base: Base | None = {field: Pair(local[field], remote[field]) for field in Field}
    here = None if not both and draw(st.integers(0, 3)) == 0 else local | draw(some_of(LOCAL_VALUES))
    there = None if not both and draw(st.integers(0, 3)) == 0 else remote | draw(some_of(REMOTE_VALUES))
    if here is not None and there is not None:
        # Edits alike are rare by chance.
        ours = as_remote(here)
        alike = draw(st.sets(st.sampled_from(OUTGOING)))
        there |= {field: ours[field] for field in alike if not isinstance(ours[field], NoCounterpart)}
    if there is not None:
        there = dict(harvest_keeps(there))
        if draw(st.booleans()):
            there[Field.BILLABLE] = not there[
                Field.BILLABLE
            ]  # a project or task was made billable, or no longer is
    agreed = draw(st.sampled_from(["all", "all", "some", "none"]))
    if agreed == "none":
        base = None
    elif agreed == "some" and here is not None and there is not None:
        base = {field: base[field] for field in draw(st.sets(st.sampled_from(Field)))}
    running = draw(st.integers(0, 7)) == 0
    return Situation(
        base,
        here
        and Entry(
            id="here", values=here, changed_at=draw(STAMPS), locked=draw(st.sampled_from(["", "", "On 12."]))
        ),
        there
        and Entry(
            id="there",
            values=there,
            changed_at=draw(WHOLE_STAMPS),
            locked=draw(st.sampled_from(["", "", "Item Approved."])),
            running=running,
        ),
        draw(st.sampled_from(Direction)),
        draw(st.sampled_from(Policy)),
    )


def carry_out(situation: Situation, actions: Iterable[Action]) -> Situation:
    """The situation after all actions were done, by sides that keep values in their own way."""
    base, local, remote = situation.base, situation.local, situation.remote
    for action in actions:
        confirmed: Values | None = None
        match action:
            case UpdateLocal(fields):
                assert local is not None
                confirmed = {**local.values, **fields}
            case CreateLocal(fields):
                confirmed = {**{field: pair.local for field, pair in (base or {}).items()}, **fields}
            case UpdateRemote(fields):
                assert remote is not None
                confirmed = harvest_keeps({**remote.values, **fields})
            case CreateRemote(fields) | Replace(values=fields):
                confirmed = harvest_keeps(fields)
        base = settle(
            base,
            action,
            local=situation.local and situation.local.values,
            remote=situation.remote and situation.remote.values,
            confirmed=confirmed,
        )
        match action:
            case UpdateLocal() | CreateLocal():
                local = replace(local or Entry(id="here", values={}), values=confirmed or {})
            case UpdateRemote():
                assert remote is not None
                remote = replace(remote, values=confirmed or {})
            case CreateRemote() | Replace():
                remote = Entry(id="anew", values=confirmed or {})
            case DeleteLocal():
                local = None
            case DeleteRemote():
                remote = None
    return replace(situation, base=base, local=local, remote=remote)


def fields_of(actions: Iterable[Action], *kinds: type[Any]) -> set[Field]:
    return {
        field for action in actions if isinstance(action, kinds) for field in getattr(action, "fields", ())
    }


def edited(entry: Entry | None, base: Base | None, side: str, names: Iterable[Field] = Field) -> set[Field]:
    if entry is None:
        return set()
    return {
        name
        for name in names
        if not base or name not in base or entry.values[name] != getattr(base[name], side)
    }


@checked
@given(situations())
def test_no_echo(before: Situation) -> None:
    """Once a plan is carried out, the next one writes nothing, and says again what could not be done."""
    actions = before.plan()
    again = carry_out(before, actions).plan()
    said = [action for action in actions if isinstance(action, Conflict | Held | Differs)]
    # Two things may have come about by themselves, which the base is told, and neither side: Harvest decided billable
    # anew when it was written to; a log came back, and stands where its entry moved.
    loose: set[Field] = set()
    if any(isinstance(action, UpdateRemote | Replace) for action in actions):
        loose.add(Field.BILLABLE)
    if any(isinstance(action, CreateLocal) for action in actions):
        loose |= fields_of(said, Held)
    if not loose:
        assert again == said
    for action in again:
        assert isinstance(action, Conflict | Held | Differs) or (
            isinstance(action, Agree) and loose >= action.pairs.keys()
        )
    for kind in (Conflict, Held, Differs):
        assert fields_of(again, kind) - loose == fields_of(said, kind) - loose


@checked
@given(situations())
def test_every_field_ends_agreed_or_told_of(before: Situation) -> None:
    actions = before.plan()
    after = carry_out(before, actions)
    if after.local is None or after.remote is None:
        # One is absent because nothing may go out, or come in as it is; or both are.
        alone = after.local or after.remote
        told = [action for action in actions if isinstance(action, Held | Differs)]
        running = before.remote is not None and before.remote.running
        assert alone is None or told or running or before.direction is Direction.IMPORT
        return
    if after.remote.running:
        return
    told_of = fields_of(actions, Conflict, Held, Differs)
    if after.direction is Direction.IMPORT:
        told_of |= edited(before.local, before.base, "local")
    base = after.base or {}
    for field in set(Field) - told_of:
        assert base[field] == Pair(after.local.values[field], after.remote.values[field]), field


@checked
@given(situations())
def test_no_edit_is_lost(before: Situation) -> None:
    """An edit stands where it was made, unless the policy gave it up, and says so."""
    actions = before.plan()
    after = carry_out(before, actions)
    lost_here = fields_of(
        [a for a in actions if isinstance(a, Overruled) and a.kept is Policy.HARVEST], Overruled
    )
    lost_there = fields_of(
        [a for a in actions if isinstance(a, Overruled) and a.kept is Policy.TIMEBRIDGE], Overruled
    )
    if before.local is not None:
        changed_here = edited(before.local, before.base, "local")
        if changed_here:
            assert after.local is not None, "an edit beats a deletion"
        for field in changed_here - lost_here:
            assert after.local is not None
            assert after.local.values[field] == before.local.values[field]
    if before.remote is not None:
        changed_there = edited(before.remote, before.base, "remote", OUTGOING)
        if changed_there:
            assert after.remote is not None, "an edit beats a deletion"
        for field in changed_there - lost_there:
            assert after.remote is not None
            assert after.remote.values[field] == before.remote.values[field]
    if before.policy is Policy.ASK:
        assert not lost_here | lost_there


@checked
@given(situations(both=True))
def test_an_edit_that_nothing_stands_against_arrives(before: Situation) -> None:
    assert before.local is not None
    assert before.remote is not None
    assume(before.base and not (before.local.locked or before.remote.locked or before.remote.running))
    actions = before.plan()
    after = carry_out(before, actions)
    assert after.local is not None
    assert after.remote is not None
    here, there = (edited(before.local, before.base, "local"), edited(before.remote, before.base, "remote"))
    for field in there - here - fields_of(actions, Held):
        # Harvest's own billable may have been our push's doing.
        if field is not Field.BILLABLE or before.direction is Direction.IMPORT:
            alike = as_remote(before.local.values).get(field) == before.remote.values[field]
            assert alike or after.local.values[field] == as_local(before.remote.values)[field]
    if before.direction is Direction.TWO_WAY:
        for field in (here - there - fields_of(actions, Held)) & set(OUTGOING):
            ours = field is Field.OWNER and before.remote.values[field] not in PEOPLE_IN
            alike = as_local(before.remote.values)[field] == before.local.values[field]
            if not (ours or alike):
                sent: Any = {field: as_remote(before.local.values)[field]}
                assert after.remote.values[field] == harvest_keeps(before.remote.values | sent)[field]


@checked
@given(situations())
def test_what_may_not_be_written_is_not(before: Situation) -> None:
    after = carry_out(before, before.plan())
    if before.local and before.local.locked:
        assert after.local == before.local
    if before.remote and before.remote.locked:
        assert after.remote == before.remote
    if before.remote and before.remote.running:
        assert (after.local, after.remote, after.base) == (before.local, before.remote, before.base)
    if before.direction is Direction.IMPORT:
        assert after.remote == before.remote
        assert not any(isinstance(a, Held) and a.way is Way.OUT for a in before.plan())


@checked
@given(situations(both=True))
def test_only_what_changes_is_sent(before: Situation) -> None:
    assert before.local is not None
    assert before.remote is not None
    for action in before.plan():
        match action:
            case UpdateLocal(fields):
                assert fields
                assert all(before.local.values[field] != value for field, value in fields.items())
            case UpdateRemote(fields) | Replace(fields):
                assert fields
                assert Field.BILLABLE not in fields
                assert all(before.remote.values[field] != value for field, value in fields.items())
                assert (Field.OWNER in fields) is isinstance(action, Replace)


@checked
@given(situations(both=True))
def test_fields_do_not_wait_for_each_other(before: Situation) -> None:
    """A field fares as it would if no other had been edited. (Billable aside, which follows a push of our own.)"""
    assert before.local is not None
    assert before.remote is not None
    assume(before.base and len(before.base) == len(Field) and not before.remote.running)
    assert before.base is not None

    def fate(actions: list[Action], field: Field) -> list[str]:
        kinds = (type(a).__name__ for a in actions if field in getattr(a, "fields", getattr(a, "pairs", ())))
        return sorted("UpdateRemote" if kind == "Replace" else kind for kind in kinds)

    together = before.plan()
    for field in OUTGOING:
        alone = replace(
            before,
            local=replace(
                before.local,
                values={n: p.local for n, p in before.base.items()} | {field: before.local.values[field]},
            ),
            remote=replace(
                before.remote,
                values={n: p.remote for n, p in before.base.items()} | {field: before.remote.values[field]},
            ),
        )
        assert fate(alone.plan(), field) == fate(together, field), field


@checked
@given(situations(), st.randoms(use_true_random=False))
def test_the_same_is_planned_for_the_same(before: Situation, order: random.Random) -> None:
    def shuffled(values: Any) -> Any:
        return values and dict(order.sample(list(values.items()), len(values)))

    other = replace(
        before,
        base=shuffled(before.base),
        local=before.local and replace(before.local, values=shuffled(before.local.values)),
        remote=before.remote and replace(before.remote, values=shuffled(before.remote.values)),
    )
    assert other.plan() == before.plan()
    assert [list(getattr(a, "fields", ())) for a in other.plan()] == [
        list(getattr(a, "fields", ())) for a in before.plan()
    ]


SAME_TERMS = tuple(field for field in OUTGOING if field is not Field.OWNER)
MIRRORED: dict[type[Any], type[Any]] = {
    UpdateLocal: UpdateRemote,
    CreateLocal: CreateRemote,
    DeleteLocal: DeleteRemote,
    Agree: Agree,
    Conflict: Conflict,
    ForgetLink: ForgetLink,
    Overruled: Overruled,
}
MIRRORED |= {there: here for here, there in MIRRORED.items()}
MIRRORED_POLICY = {
    Policy.HARVEST: Policy.TIMEBRIDGE,
    Policy.TIMEBRIDGE: Policy.HARVEST,
    Policy.ASK: Policy.ASK,
}


@checked
@given(
    LOCAL_ENTRIES,
    st.none() | some_of({field: LOCAL_VALUES[field] for field in SAME_TERMS}),
    st.none() | some_of({field: LOCAL_VALUES[field] for field in SAME_TERMS}),
    st.sampled_from(["base", "empty", "none"]),
    st.sampled_from(sorted(MIRRORED_POLICY)),
)
def test_sides_are_treated_alike(
    values: Values, here: dict[Field, Any] | None, there: dict[Field, Any] | None, agreed: str, policy: Policy
) -> None:
    """Where both speak the same terms, the plan for swapped sides is the plan with its sides swapped."""
    base = {
        "base": {field: Pair(values[field], values[field]) for field in Field},
        "empty": {},
        "none": None,
    }[agreed]

    def version(changes: dict[Field, Any] | None) -> Version | None:
        return None if changes is None else Version(values=values | changes, abroad=values | changes)  # type: ignore[operator]

    def shape(action: Action) -> tuple[type[Any], frozenset[Field]]:
        fields = getattr(action, "fields", getattr(action, "pairs", ()))
        return type(action), frozenset(fields) - {Field.BILLABLE}

    straight = plan(base, version(here), version(there), policy=policy)
    swapped = plan(base, version(there), version(here), policy=MIRRORED_POLICY[policy])
    assert {shape(a) for a in straight} == {(MIRRORED[kind], fields) for kind, fields in map(shape, swapped)}


# --- Newest, and other single cases ----------------------------------------------------------------------------------
LOCAL_ENTRY = Entry(
    id="here",
    values={
        Field.PLACEMENT: ("acme", "site"),
        Field.ACTIVITY: "design",
        Field.SPENT_DATE: NOON.date(),
        Field.DURATION: 7600,
        Field.NOTES: "Header",
        Field.OWNER: "ines",
        Field.BILLABLE: True,
    },
)
REMOTE_ENTRY = Entry(id="there", values=harvest_keeps(as_remote(LOCAL_ENTRY.values)))  # type: ignore[arg-type]
AGREED = {field: Pair(LOCAL_ENTRY.values[field], REMOTE_ENTRY.values[field]) for field in Field}


def with_(entry: Entry, changed_at: datetime | None = None, **values: Any) -> Entry:
    changes = {Field(name): value for name, value in values.items()}
    return replace(entry, changed_at=changed_at, values={**entry.values, **changes})


@pytest.mark.parametrize(
    ("here_at", "there_at", "kept"),
    [
        (NOON + timedelta(seconds=1), NOON, Policy.TIMEBRIDGE),
        (NOON, NOON + timedelta(seconds=1), Policy.HARVEST),
        (NOON, NOON, Policy.HARVEST),
        (NOON + timedelta(milliseconds=999), NOON, Policy.HARVEST),  # Harvest's noon may be the later
        (NOON, None, None),
        (None, NOON, None),
    ],
)
def test_newest_goes_by_whole_seconds(
    here_at: datetime | None, there_at: datetime | None, kept: Policy | None
) -> None:
    actions = plan(
        AGREED,
        local_version(with_(LOCAL_ENTRY, here_at, notes="Here")),
        remote_version(with_(REMOTE_ENTRY, there_at, notes="There")),
        policy=Policy.NEWEST,
    )
    pair = {Field.NOTES: Pair("Here", "There")}
    won = {
        Policy.TIMEBRIDGE: [UpdateRemote({Field.NOTES: "Here"}), Overruled(pair, Policy.TIMEBRIDGE)],
        Policy.HARVEST: [UpdateLocal({Field.NOTES: "There"}), Overruled(pair, Policy.HARVEST)],
        None: [Conflict(pair)],
    }
    assert actions == won[kept]


def test_import_only_follows_harvest_again_once_an_edit_is_taken_back() -> None:
    there = remote_version(with_(REMOTE_ENTRY, notes="There"))
    edited_here = local_version(with_(LOCAL_ENTRY, notes="Here"))
    assert plan(AGREED, edited_here, there, direction=Direction.IMPORT) == []
    taken_back = local_version(LOCAL_ENTRY)
    assert plan(AGREED, taken_back, there, direction=Direction.IMPORT) == [
        UpdateLocal({Field.NOTES: "There"})
    ]
    assert plan(AGREED, edited_here, remote_version(REMOTE_ENTRY)) == [UpdateRemote({Field.NOTES: "Here"})]


def test_replace_carries_what_harvest_holds_and_what_changed() -> None:
    mine = with_(LOCAL_ENTRY, owner="tom", notes="Here")
    theirs = with_(REMOTE_ENTRY, activity="32")
    update, replacing = plan(AGREED, local_version(mine), remote_version(theirs))
    assert update == UpdateLocal({Field.ACTIVITY: "code"})
    changes = {Field.OWNER: "72", Field.NOTES: "Here"}
    whole = {field: theirs.values[field] for field in OUTGOING} | changes
    assert replacing == Replace(changes, whole)


def test_a_lost_push_and_an_edit_made_since_both_count() -> None:
    """A create whose answer was lost is found again, and only then is it told what was edited on either side."""
    create, *_ = plan(None, local_version(LOCAL_ENTRY), None)
    assert isinstance(create, CreateRemote)
    base = attempted(LOCAL_ENTRY.values, create.fields)
    found = with_(
        Entry(id="there", values=harvest_keeps(create.fields)), spent_date=NOON.date() + timedelta(days=1)
    )
    here = with_(LOCAL_ENTRY, notes="Here")
    assert plan(base, local_version(here), remote_version(found)) == [
        Agree({Field.BILLABLE: Pair(True, True)}),
        UpdateLocal({Field.SPENT_DATE: NOON.date() + timedelta(days=1)}),
        UpdateRemote({Field.NOTES: "Here"}),
    ]


def test_edits_made_while_a_push_was_under_way_are_seen_by_the_next_plan() -> None:
    here = with_(LOCAL_ENTRY, notes="Here")
    (push,) = plan(AGREED, local_version(here), remote_version(REMOTE_ENTRY))
    meanwhile = harvest_keeps(
        {**REMOTE_ENTRY.values, Field.NOTES: "Here", Field.SPENT_DATE: NOON.date() + timedelta(days=2)}
    )
    base = settle(AGREED, push, local=here.values, remote=REMOTE_ENTRY.values, confirmed=meanwhile)
    later = with_(here, notes="Here and there")
    assert plan(base, local_version(later), remote_version(replace(REMOTE_ENTRY, values=meanwhile))) == [
        UpdateLocal({Field.SPENT_DATE: NOON.date() + timedelta(days=2)}),
        UpdateRemote({Field.NOTES: "Here and there"}),
    ]


def test_a_running_timer_holds_what_would_go_out_by_name() -> None:
    ticking = replace(with_(REMOTE_ENTRY, duration=seconds(3)), running=True)
    here = with_(LOCAL_ENTRY, notes="Here")
    assert plan(AGREED, local_version(here), remote_version(ticking)) == [
        Held(Way.OUT, (Field.NOTES,), TIMER_RUNNING)
    ]


def seconds(hours: int) -> Any:
    return as_remote({**LOCAL_ENTRY.values, Field.DURATION: hours * 3600})[Field.DURATION]


def test_settle_refuses_to_guess() -> None:
    with pytest.raises(ValueError, match="UpdateRemote"):
        settle(AGREED, UpdateRemote({Field.NOTES: "x"}), local=LOCAL_ENTRY.values, remote=REMOTE_ENTRY.values)


@checked
@given(situations())
def test_statements_leave_the_base_alone(before: Situation) -> None:
    for action in before.plan():
        if isinstance(action, STATEMENTS):
            assert settle(before.base, action, local=None, remote=None) == before.base


def test_what_harvest_decides_by_a_push_is_no_change() -> None:
    """Billable came in as not billable by the very plan whose push makes Harvest decide on it anew."""
    here = with_(LOCAL_ENTRY, notes="Here")
    situation = Situation(
        AGREED, here, with_(REMOTE_ENTRY, billable=False), Direction.TWO_WAY, Policy.HARVEST
    )
    actions = situation.plan()
    assert actions == [UpdateLocal({Field.BILLABLE: False}), UpdateRemote({Field.NOTES: "Here"})]
    after = carry_out(situation, actions)
    assert after.local is not None
    assert after.remote is not None
    assert (after.local.values[Field.BILLABLE], after.remote.values[Field.BILLABLE]) == (False, True)
    assert after.base is not None
    assert after.base[Field.BILLABLE] == Pair(False, True)
    assert after.plan() == []
