"""Ids that sort by when they were made."""

from __future__ import annotations

from itertools import count

import pytest

from accounts import ids


def test_ids_are_in_the_order_in_which_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    began = 1_764_412_800_000_000_000 - 7  # nanoseconds; over the end of a millisecond
    clock = count(began, 1000)
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(clock))
    made = [ids.uuid7() for _ in range(3000)]
    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert [one.int >> 80 for one in made[:2]] == [1_764_412_799_999, 1_764_412_800_000]


def test_ids_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_764_412_800_000_000_000)
    assert len({ids.uuid7() for _ in range(1000)} | set(ids.uuid7_texts(1000))) == 2000
