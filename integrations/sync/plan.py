"""What a sync does about one link: base, local and remote in, actions out. Pure.

The table of cases is in README.md beside this file, and is checked against this code. In short:

    local \\ remote   unchanged       edited                            absent
    unchanged        nothing         UpdateLocal                       DeleteLocal
    edited           UpdateRemote    field by field; the same field    CreateRemote (an edit beats a deletion)
                                     by the policy; Agree if equal
    absent           DeleteRemote    CreateLocal (an edit beats …)     ForgetLink

Nothing is written while planning. Whoever carries an action out writes the base that `settle` gives, from the
values that the sides confirmed, and none for an action that failed: the next plan then says it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from integrations.sync.types import OUTGOING, Base, Field, NoCounterpart, Pair, Value, Values, Version

TIMER_RUNNING = "Its timer is running in Harvest. The change goes out once it has stopped."


class Direction(StrEnum):
    """The names are those of the REST API. IMPORT: the same plan without what it would write to the remote."""

    IMPORT = "import"
    TWO_WAY = "two_way"


class Policy(StrEnum):
    """Who wins where both sides edited the same field. NEWEST: the entry changed last, by the sides' own clocks."""

    HARVEST = "harvest"
    TIMEBRIDGE = "timebridge"
    NEWEST = "newest"
    ASK = "ask"


class Way(StrEnum):
    IN = "in"
    OUT = "out"


# --- Writes: something changes on a side, or in the link -------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Agree:
    """Both sides hold the same, each in its own terms: write these pairs into the base. Adopting is this too."""

    pairs: Mapping[Field, Pair]


@dataclass(frozen=True, slots=True)
class UpdateLocal:
    """fields: what changed, in local terms."""

    fields: Values


@dataclass(frozen=True, slots=True)
class UpdateRemote:
    """fields: what changed and nothing else, in remote terms."""

    fields: Values


@dataclass(frozen=True, slots=True)
class Replace:
    """The remote entry gets another owner, which the remote cannot do: delete it and create one, as one step.

    fields: what changed, the owner among it; values: all that the new entry is to hold, the changes included.
    """

    fields: Values
    values: Values


@dataclass(frozen=True, slots=True)
class CreateLocal:
    """Make the local entry, or restore the deleted one.

    fields: in local terms; all of them, save those held. What was not edited is as it was agreed on.
    """

    fields: Values


@dataclass(frozen=True, slots=True)
class CreateRemote:
    """The link, where there was one, joins the new entry.

    fields: all that goes out, in remote terms. What was not edited is as it was agreed on.
    """

    fields: Values


@dataclass(frozen=True, slots=True)
class DeleteLocal:
    pass


@dataclass(frozen=True, slots=True)
class DeleteRemote:
    pass


@dataclass(frozen=True, slots=True)
class ForgetLink:
    """Neither side has it any more. The remote id stays known: should it turn up again, it is no new entry."""


# --- Statements: nothing is written to a side, and they are made again while they hold -------------------------------
@dataclass(frozen=True, slots=True)
class Conflict:
    """Both sides edited these fields, and a person is to choose: plan again with that side's policy."""

    fields: Mapping[Field, Pair]


@dataclass(frozen=True, slots=True)
class Held:
    """What cannot travel at present. fields: none where it is the deletion, or the entry as a whole."""

    way: Way
    fields: tuple[Field, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Differs:
    """Settled here and changed in Harvest. gone: it was deleted there."""

    fields: Mapping[Field, Pair] = field(default_factory=dict)
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Overruled:
    """The policy settles a conflict by writes of this same plan. For the history: both values, and whose stays."""

    fields: Mapping[Field, Pair]
    kept: Policy


Action: TypeAlias = (
    Agree
    | UpdateLocal
    | UpdateRemote
    | Replace
    | CreateLocal
    | CreateRemote
    | DeleteLocal
    | DeleteRemote
    | ForgetLink
    | Conflict
    | Held
    | Differs
    | Overruled
)


def plan(
    base: Base | None,
    local: Version | None,
    remote: Version | None,
    *,
    direction: Direction = Direction.TWO_WAY,
    policy: Policy = Policy.HARVEST,
) -> list[Action]:
    """What to do about one link, or about an entry that has none (base None). [] where nothing is to be done.

    None for a side means that it is known to be absent. An empty base is a link of which nothing is known: what
    differs counts as edited on both sides. The same arguments give the same actions, in the same order.
    """
    two_way = direction is Direction.TWO_WAY
    if local is None:
        if remote is None:
            return [] if base is None else [ForgetLink()]
        return _absent_here(base, remote, two_way)
    if remote is None:
        return _absent_there(base, local, two_way)
    return _both(base or {}, local, remote, two_way, policy)


def _absent_here(base: Base | None, remote: Version, two_way: bool) -> list[Action]:
    if remote.running:
        return [Held(Way.OUT, (), TIMER_RUNNING)] if base is not None and two_way else []
    agreed = base or {}
    edited = _edited(Field, {name: pair.remote for name, pair in agreed.items()}, remote)
    # Harvest decides billable by itself, so that alone is nobody's edit.
    if base is None or any(name is not Field.BILLABLE for name in edited):
        fields, held = _translated(edited, remote, Way.IN)
        # A restored log has a value of its own for what is held; a new one would have none.
        if base is None and held:
            return [*held]
        unedited: Values = {name: agreed[name].local for name in Field if name not in edited}
        return [CreateLocal({**unedited, **fields}), *held]
    if not two_way:
        return []
    return [Held(Way.OUT, (), remote.locked)] if remote.locked else [DeleteRemote()]


def _absent_there(base: Base | None, local: Version, two_way: bool) -> list[Action]:
    agreed = base or {}
    edited = _edited(Field, {name: pair.local for name, pair in agreed.items()}, local)
    if base is None or edited:
        if not two_way:
            return []
        fields, held = _translated([name for name in edited if name in OUTGOING], local, Way.OUT)
        unedited: Values = {name: agreed[name].remote for name in OUTGOING if name not in edited}
        return [*held] if held else [CreateRemote({**unedited, **fields})]
    return [Differs(gone=True)] if local.locked else [DeleteLocal()]


def _edited(names: Iterable[Field], agreed: Values, version: Version) -> tuple[Field, ...]:
    """The fields that are not as they were agreed on; one that never was counts, as nobody can tell."""
    return tuple(name for name in names if name not in agreed or version.values[name] != agreed[name])


def _translated(names: Iterable[Field], version: Version, way: Way) -> tuple[Values, list[Held]]:
    fields: dict[Field, Value] = {}
    reasons: dict[str, list[Field]] = {}
    for name in names:
        value = version.abroad[name]
        if isinstance(value, NoCounterpart):
            reasons.setdefault(value.reason, []).append(name)
        else:
            fields[name] = value
    return fields, [Held(way, tuple(held), reason) for reason, held in reasons.items()]


class _Verdict(Enum):
    """What is to become of one field."""

    NOTHING = auto()
    AGREE = auto()
    IN = auto()
    OUT = auto()
    CONFLICT = auto()


def _both(base: Base, local: Version, remote: Version, two_way: bool, policy: Policy) -> list[Action]:
    if remote.running:
        edited = _edited(OUTGOING, {name: pair.local for name, pair in base.items()}, local)
        return [Held(Way.OUT, edited, TIMER_RUNNING)] if base and edited and two_way else []

    winner = _winner(policy, local, remote)
    names: dict[_Verdict, list[Field]] = {verdict: [] for verdict in _Verdict}
    contested: list[Field] = []
    for name in Field:
        verdict = _verdict(name, base.get(name), local, remote, two_way)
        if verdict is _Verdict.CONFLICT:
            contested.append(name)
            verdict = winner
            if verdict is _Verdict.OUT and name is Field.BILLABLE:
                verdict = _Verdict.AGREE  # ours stays here, Harvest's there
        names[verdict].append(name)

    # Where both now hold the same project or task, edited there too, it was our own push (its answer was lost), and
    # what Harvest then decided about billable is its echo.
    if two_way and Field.BILLABLE in names[_Verdict.IN]:
        pushed = {Field.PLACEMENT, Field.ACTIVITY}.intersection(names[_Verdict.AGREE])
        if any(name not in base or remote.values[name] != base[name].remote for name in pushed):
            names[_Verdict.IN].remove(Field.BILLABLE)
            names[_Verdict.AGREE].append(Field.BILLABLE)

    def pairs(some: Iterable[Field]) -> dict[Field, Pair]:
        return {name: Pair(local.values[name], remote.values[name]) for name in some}

    actions: list[Action] = []
    held: list[Held] = []
    written = set(names[_Verdict.AGREE])
    if agreed := names[_Verdict.AGREE]:
        actions.append(Agree(pairs(agreed)))
    if (incoming := names[_Verdict.IN]) and not local.locked:
        fields, held = _translated(incoming, remote, Way.IN)
        if fields:
            actions.append(UpdateLocal(fields))
            written.update(fields)
    if (outgoing := names[_Verdict.OUT]) and remote.locked:
        held.append(Held(Way.OUT, tuple(outgoing), remote.locked))
    elif outgoing:
        fields, stuck = _translated(outgoing, local, Way.OUT)
        held.extend(stuck)
        if Field.OWNER in fields:
            actions.append(Replace(fields, {name: remote.values[name] for name in OUTGOING} | dict(fields)))
        elif fields:
            actions.append(UpdateRemote(fields))
        written.update(fields)
    if overruled := [name for name in contested if name in written]:
        kept = Policy.HARVEST if winner is _Verdict.IN else Policy.TIMEBRIDGE
        actions.append(Overruled(pairs(overruled), kept))
    if asked := names[_Verdict.CONFLICT]:
        actions.append(Conflict(pairs(asked)))
    if incoming and local.locked:
        actions.append(Differs(pairs(incoming)))
    return [*actions, *held]


def _verdict(name: Field, agreed: Pair | None, local: Version, remote: Version, two_way: bool) -> _Verdict:
    edited_here = agreed is None or local.values[name] != agreed.local
    edited_there = agreed is None or remote.values[name] != agreed.remote
    if not edited_here and not edited_there:
        return _Verdict.NOTHING
    # Equal in either side's terms is equal: a translation may lose (seconds to hundredths of an hour, people who
    # share a fallback), and what is lost on the way is no change.
    if local.abroad.get(name) == remote.values[name] or remote.abroad[name] == local.values[name]:
        return _Verdict.AGREE
    if not edited_here:
        return _Verdict.IN
    if name is Field.BILLABLE and (agreed is None or (two_way and not edited_there)):
        return _Verdict.AGREE  # it does not travel out: each side keeps its own
    if not two_way:
        return _Verdict.NOTHING  # edited here, it stays as edited
    if name is Field.OWNER and remote.stranger:
        return _Verdict.AGREE  # who stands in here for a person we do not know is ours to say
    return _Verdict.CONFLICT if edited_there else _Verdict.OUT


def _winner(policy: Policy, local: Version, remote: Version) -> _Verdict:
    match policy:
        case Policy.HARVEST:
            return _Verdict.IN
        case Policy.TIMEBRIDGE:
            return _Verdict.OUT
        case Policy.NEWEST if local.changed_at and remote.changed_at:
            # Harvest's stamps are whole seconds: ours is cut to them, and a tie is Harvest's.
            newer = local.changed_at.replace(microsecond=0) > remote.changed_at
            return _Verdict.OUT if newer else _Verdict.IN
    return _Verdict.CONFLICT


def attempted(local: Values, sent: Values) -> Base:
    """The base of an entry that a lost `create` made and `Side.find` found again.

    local: what that attempt was made from; sent: the fields of its CreateRemote. Keep both before creating: what has
    been edited since, on either side, then shows in the next plan. Nothing is said of billable: each keeps its own.
    """
    return {name: Pair(local[name], value) for name, value in sent.items()}


def settle(
    base: Base | None,
    action: Action,
    *,
    local: Values | None,
    remote: Values | None,
    confirmed: Values | None = None,
) -> Base | None:
    """The base once `action` is done; take the actions of a plan one after another.

    local, remote: what the plan was made from. confirmed: what the side that was written to then said it holds, for
    updates, creations and replacements. What changed meanwhile differs from the base, and the next plan sees it.
    """
    pairs = dict(base or {})
    match action:
        case Agree(agreed):
            return {**pairs, **agreed}
        case UpdateLocal(fields) | CreateLocal(fields) if remote is not None and confirmed is not None:
            return pairs | {name: Pair(confirmed[name], remote[name]) for name in fields}
        case CreateRemote() if local is not None and confirmed is not None:
            return {name: Pair(local[name], confirmed[name]) for name in Field}
        case UpdateRemote(fields) | Replace(fields) if local and remote and confirmed:
            pairs |= {name: Pair(local[name], confirmed[name]) for name in fields}
            # Harvest decides billable anew from what was written: that is our own echo. What it had decided before
            # the write is not, and an edit of it here stays one.
            decided, agreed_on = Field.BILLABLE, pairs.get(Field.BILLABLE)
            if confirmed[decided] != remote[decided]:
                ours = agreed_on.local if agreed_on else local[decided]
                pairs[decided] = Pair(ours, confirmed[decided])
            return pairs
        case DeleteLocal() | DeleteRemote() | ForgetLink():
            return None
        case Conflict() | Held() | Differs() | Overruled():
            return base
    raise ValueError(f"What {type(action).__name__} left on the sides is missing.")
