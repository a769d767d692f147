"""A base survives its JSON column, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.sync.types import Field, Pair, Values, dump_base, load_base
from tests.integrations.sync.world import LOCAL_ENTRIES, REMOTE_ENTRIES


@settings(deadline=None)
@given(LOCAL_ENTRIES, REMOTE_ENTRIES, st.sets(st.sampled_from(Field)))
def test_a_base_comes_back_equal(local: Values, remote: Values, names: set[Field]) -> None:
    base = {name: Pair(local[name], remote[name]) for name in names}
    back = load_base(json.loads(json.dumps(dump_base(base))))
    assert back == base
    for name, pair in base.items():
        assert (type(back[name].local), type(back[name].remote)) == (type(pair.local), type(pair.remote))


@pytest.mark.parametrize(
    "data",
    [
        {"colour": [1, 2]},
        {"notes": ["only one"]},
        {"spent_date": ["June", "June"]},
        {"spent_date": "June"},
        {"notes": None},
        {"owner": "ines"},
    ],
)
def test_what_is_no_base_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        load_base(data)


def test_what_both_sides_hold_alike_is_kept_once() -> None:
    base = {
        Field.NOTES: Pair("Header", "Header"),
        Field.OWNER: Pair("7", "7"),
        Field.BILLABLE: Pair(True, False),
    }
    dumped = dump_base(base)
    assert dumped == {"notes": "Header", "owner": ["7", "7"], "billable": [True, False]}
    assert load_base(dumped) == base


def test_a_half_that_is_not_known_stays_unknown() -> None:
    base = {Field.NOTES: Pair(None, "Header"), Field.SPENT_DATE: Pair(None, None)}
    assert load_base(json.loads(json.dumps(dump_base(base)))) == base
