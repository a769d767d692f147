"""The table of cases in integrations/sync/README.md, row by row, against the plan."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from integrations.sync import plan as plan_module
from integrations.sync.plan import (
    Action,
    CreateLocal,
    CreateRemote,
    Differs,
    Direction,
    Held,
    Policy,
    plan,
)
from integrations.sync.types import Field, NoCounterpart, Pair, Value, Version

README = Path(plan_module.__file__).parent / "README.md"
TESTS = Path(__file__).parents[2]
PLACEMENT, ACTIVITY, SPENT_DATE, DURATION, NOTES, OWNER, BILLABLE = Field

LOCAL: dict[Field, Value] = {
    PLACEMENT: ("acme", "site"),
    ACTIVITY: "design",
    SPENT_DATE: date(2026, 6, 1),
    DURATION: 7600,
    NOTES: "Header",
    OWNER: "ines",
    BILLABLE: True,
}
REMOTE: dict[Field, Value] = {
    PLACEMENT: ("11", "21"),
    ACTIVITY: "31",
    SPENT_DATE: date(2026, 6, 1),
    DURATION: Decimal("2.11"),
    NOTES: "Header",
    OWNER: "71",
    BILLABLE: True,
}
AGREED = {field: Pair(LOCAL[field], REMOTE[field]) for field in Field}
NOWHERE = NoCounterpart("This project is not mapped.")

# mark -> field, the value here, what that is in Harvest, the value in Harvest, what that is here
EDITS: dict[str, tuple[Field, Value, Value, Value, Value]] = {
    "placement": (PLACEMENT, ("acme", "shop"), ("11", "22"), ("11", "23"), ("acme", "app")),
    "activity": (ACTIVITY, "code", "32", "33", "talk"),
    "spent_date": (SPENT_DATE, *[date(2026, 6, 2)] * 2, *[date(2026, 6, 3)] * 2),
    "duration": (DURATION, 10800, Decimal("3.00"), Decimal("4.00"), 14400),
    "notes": (NOTES, "Here", "Here", "There", "There"),
    "owner": (OWNER, "tom", "72", "73", "uma"),
    "billable": (BILLABLE, *[False] * 4),
    "alike": (NOTES, *["Both"] * 4),
    "alike task": (ACTIVITY, "code", "32", "32", "code"),
    "rounded": (DURATION, 7590, Decimal("2.11"), Decimal("2.11"), 7596),
}
OTHERS = {"unmapped", "settled", "locked", "running", "stranger", "newer"}


class Row(NamedTuple):
    link: str
    here: str
    there: str
    policy: str
    both_ways: str
    import_only: str


def rows() -> list[Row]:
    text = README.read_text().split("## The cases")[1].split("## ")[0]
    cells = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith(("| link", "| ---", "| **"))
    ]
    return [Row(*row) for row in cells]


def version(cell: str, *, local: bool, apart: bool) -> Version | None:
    """What a cell of the table says of one side. apart: Harvest decided otherwise than we about billable."""
    if cell == "absent":
        return None
    marks = set() if cell == "unchanged" else set(cell.split(", "))
    assert marks <= EDITS.keys() | OTHERS, f"{cell!r} has marks that nobody knows"
    values, abroad = (dict(LOCAL), dict(REMOTE)) if local else (dict(REMOTE), dict(LOCAL))
    if apart and not local:
        values[BILLABLE] = abroad[BILLABLE] = "billable" in marks
        marks.discard("billable")
    for mark in marks & EDITS.keys():
        field, here, here_abroad, there, there_abroad = EDITS[mark]
        values[field], abroad[field] = (here, here_abroad) if local else (there, there_abroad)
    translated: dict[Field, Value | NoCounterpart] = {**abroad}
    if "unmapped" in marks:
        values[PLACEMENT] = ("globex", None) if local else ("11", "29")
        translated[PLACEMENT] = NOWHERE
    if local:
        del translated[BILLABLE]  # it does not travel out, so nobody need say what it would be there
    noon = datetime(2026, 6, 4, 12, tzinfo=UTC)
    return Version(
        values=values,
        abroad=translated,
        changed_at=noon + timedelta(hours=1) if "newer" in marks else None,
        locked="On statement 12." if "settled" in marks else "Item Approved." if "locked" in marks else "",
        running="running" in marks,
        stranger="stranger" in marks,
    )


def told(action: Action) -> str:
    """An action in the words of the table."""
    name = type(action).__name__
    match action:
        case Held(way, fields, reason):
            assert reason, "whoever holds something says why"
            name += f" {way}"
        case Differs(gone=True):
            return f"{name} gone"
        case CreateLocal() | CreateRemote():
            return name
    fields = list(getattr(action, "pairs", None) or getattr(action, "fields", ()))
    order = [field for field in Field if field in fields]
    return f"{name} {'all' if order == list(Field) else ', '.join(order)}".strip()


def planned(row: Row, direction: Direction, policy: Policy) -> str:
    apart = row.link == "apart"
    local = version(row.here, local=True, apart=apart)
    remote = version(row.there, local=False, apart=apart)
    if policy is Policy.NEWEST and local and remote and (local.changed_at or remote.changed_at):
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        local, remote = (
            Version(
                **{slot: getattr(side, slot) for slot in side.__slots__}
                | {"changed_at": side.changed_at or long_ago}
            )
            for side in (local, remote)
        )
    bases = {"agreed": AGREED, "apart": AGREED | {BILLABLE: Pair(True, False)}, "none": None}
    base = bases[row.link]
    actions = plan(base, local, remote, direction=direction, policy=policy)
    assert actions == plan(base, local, remote, direction=direction, policy=policy)
    return " + ".join(map(told, actions)) or "nothing"


@pytest.mark.parametrize(
    "row", rows(), ids=lambda row: f"{row.link}: {row.here} / {row.there} ({row.policy})"
)
def test_row_is_what_the_plan_does(row: Row) -> None:
    policies = list(Policy) if row.policy == "any" else [Policy(row.policy)]
    for policy in policies:
        assert planned(row, Direction.TWO_WAY, policy) == row.both_ways, policy
        assert planned(row, Direction.IMPORT, policy) == row.import_only, policy


def test_policy_is_named_where_it_matters() -> None:
    """A row for one policy stands for a difference: with another policy something else is done."""
    for row in rows():
        if row.policy != "any":
            assert len({planned(row, Direction.TWO_WAY, policy) for policy in Policy}) > 1, row


def test_table_has_every_case() -> None:
    table = rows()
    cases = {(row.link, row.here, row.there, row.policy) for row in table}
    assert len(cases) == len(table), "a case is there twice"
    states = ("unchanged", "notes", "absent")
    pairs = {(row.link, row.here, row.there) for row in table}
    assert {("agreed", *case) for case in product(states, states)} <= pairs
    assert {("none", *case) for case in product(("unchanged", "absent"), repeat=2)} <= pairs
    for here, there in (("notes", "notes"), ("settled, notes", "notes"), ("notes", "locked, notes")):
        assert {policy for *case, policy in cases if case == ["agreed", here, there]} >= {
            "harvest",
            "timebridge",
        }
    marks = {mark for row in table for cell in (row.here, row.there) for mark in cell.split(", ")}
    assert marks == EDITS.keys() | OTHERS | {"unchanged", "absent"}
    # Each state that a Harvest entry can be in meets each of the three of a log.
    for state in ("locked", "running", "unmapped"):
        met = {row.here for row in table if row.link == "agreed" and state in row.there.split(", ")}
        assert met >= {"unchanged", "absent"}, state
        assert met - {"unchanged", "absent"}, state
    assert {row.there for row in table if row.here == "settled"} >= {"unchanged", "notes", "absent"}


def test_table_shows_every_action() -> None:
    shown = set(re.findall(r"\b[A-Z]\w+", " ".join(row.both_ways for row in rows())))
    actions = {name.__name__ for name in Action.__args__}
    assert shown == actions
    described = README.read_text().split("## The actions")[1].split("## ")[0]
    assert all(re.search(rf"^\| .*\b{name}\b.* \|", described, re.MULTILINE) for name in actions)


def test_every_trouble_names_the_test_that_shows_it() -> None:
    text = README.read_text().partition("## What goes wrong")[2]
    named = [re.findall(r"`(\w+)::(\w+)` \|$", line) for line in text.splitlines() if line.startswith("| ")]
    files = {path.stem: path for path in TESTS.rglob("*.py")}
    assert len(named) > 12
    for ((stem, name),) in named[2:]:
        assert f"def {name}(" in files[stem].read_text(), (stem, name)
