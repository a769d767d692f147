"""Reading a window while it changes: nothing that was there all along is missed, however the list shifts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from harvest.client import EntryPage, HarvestClient
from harvest.errors import HarvestUnavailable
from harvest.payloads import TimeEntryPayload, read_time_entry
from harvest.reading import Reading, ahead, read_window

FIRST, LAST = date(2026, 6, 1), date(2026, 6, 10)
BEGAN = datetime(2026, 6, 12, 12, tzinfo=UTC)


def entry(pk: int, on: date, updated_at: datetime = BEGAN - timedelta(days=1)) -> TimeEntryPayload:
    row = {
        "id": pk, "spent_date": on.isoformat(), "hours": 1, "user": {"id": 1}, "client": {"id": 1},
        "project": {"id": 1}, "task": {"id": 1},
    }  # fmt: skip
    return replace(read_time_entry(row), updated_at=updated_at)


@dataclass
class Shifting:
    """A Harvest of one list, newest spent date first and then newest id, that `between` changes after every answer."""

    entries: dict[int, TimeEntryPayload]
    page_size: int
    between: Callable[[Shifting], None] = lambda harvest: None
    requests: list[tuple[date, date, int]] = field(default_factory=list)
    now: datetime = BEGAN

    def time_entry_pages(
        self, *, from_date: date, to_date: date, updated_since: datetime | None = None
    ) -> Iterator[EntryPage]:
        seen: set[int] = set()
        number = 1
        while True:
            listed = sorted(
                (
                    one
                    for one in self.entries.values()
                    if from_date <= one.spent_date <= to_date
                    and (updated_since is None or (one.updated_at or BEGAN) >= updated_since)
                ),
                key=lambda one: (one.spent_date, one.id),
                reverse=True,
            )
            rows = listed[(number - 1) * self.page_size : number * self.page_size]
            seen |= {one.id for one in rows}
            last = number * self.page_size >= len(listed)
            self.requests.append((from_date, to_date, number))
            page = EntryPage(
                entries=rows,
                bad=[],
                number=number,
                total_entries=len(listed),
                total_pages=None,
                server_date=self.now,
                is_last=last,
                shortfall=max(0, len(listed) - len(seen)) if last else 0,
            )
            self.now += timedelta(seconds=1)
            self.between(self)
            yield page
            if last:
                return
            number += 1


def read(harvest: Shifting) -> set[int]:
    return read_and_shortfall(harvest)[0]


def read_and_shortfall(harvest: Shifting) -> tuple[set[int], int]:
    readings = list(read_window(cast(HarvestClient, harvest), FIRST, LAST))
    ids = {one.id for reading in readings for one in reading.page.entries}
    return ids, sum(reading.shortfall for reading in readings)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_was_there_all_along_is_read_and_what_moved_too(data: st.DataObject) -> None:
    days = st.integers(0, 9).map(lambda n: FIRST + timedelta(days=n))
    start = {pk: entry(pk, data.draw(days)) for pk in range(1, data.draw(st.integers(0, 25)) + 1)}
    deleted: set[int] = set()

    def change(harvest: Shifting) -> None:
        for _ in range(data.draw(st.integers(0, 2))):
            match data.draw(st.sampled_from(["add", "delete", "move"])):
                case "add":
                    pk = 1000 + len(harvest.requests) * 10 + len(harvest.entries)
                    harvest.entries[pk] = entry(pk, data.draw(days), harvest.now)
                case "delete" if harvest.entries:
                    pk = data.draw(st.sampled_from(sorted(harvest.entries)))
                    deleted.add(pk)
                    del harvest.entries[pk]
                case "move" if harvest.entries:
                    pk = data.draw(st.sampled_from(sorted(harvest.entries)))
                    harvest.entries[pk] = entry(pk, data.draw(days), harvest.now)

    limit = 12  # changes stop after that many answers, as they do in the world

    def change_for_a_while(harvest: Shifting) -> None:
        if len(harvest.requests) < limit:
            change(harvest)

    harvest = Shifting(dict(start), page_size=data.draw(st.integers(2, 40)), between=change_for_a_while)
    seen, shortfall = read_and_shortfall(harvest)
    assert seen >= set(start) - deleted or shortfall > 0


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.integers(2, 8),
    st.lists(st.integers(1, 30), max_size=6),
)
def test_deletions_between_pages_hide_nothing(days: list[int], page_size: int, doomed: list[int]) -> None:
    """The case that paging by number gets wrong: each answer is followed by the deletion of some entry."""
    start = {pk: entry(pk, FIRST + timedelta(days=day)) for pk, day in enumerate(days, start=1)}
    queue = list(doomed)
    deleted: set[int] = set()

    def delete_one(harvest: Shifting) -> None:
        if queue:
            pk = queue.pop()
            deleted.add(pk)
            harvest.entries.pop(pk, None)

    harvest = Shifting(dict(start), page_size=page_size, between=delete_one)
    seen, shortfall = read_and_shortfall(harvest)
    assert seen >= set(start) - deleted or shortfall > 0


def test_a_day_that_fills_a_page_is_read_by_its_pages() -> None:
    harvest = Shifting({pk: entry(pk, FIRST + timedelta(days=pk // 20)) for pk in range(1, 61)}, page_size=7)
    assert read(harvest) == set(range(1, 61))


def test_a_window_that_fits_a_page_costs_one_request() -> None:
    harvest = Shifting({pk: entry(pk, FIRST) for pk in range(1, 6)}, page_size=10)
    assert read(harvest) == set(range(1, 6))
    assert harvest.requests == [(FIRST, LAST, 1)]


def test_an_entry_moved_to_a_day_already_read_is_caught_by_its_change() -> None:
    start = {pk: entry(pk, FIRST + timedelta(days=10 - pk)) for pk in range(1, 11)}
    harvest = Shifting(dict(start), page_size=4)

    def move_the_last(harvest: Shifting) -> None:
        if len(harvest.requests) == 1:
            harvest.entries[10] = entry(10, LAST, harvest.now)

    harvest.between = move_the_last
    assert read(harvest) == set(range(1, 11))


def test_a_day_that_never_rests_says_by_how_much_it_is_short() -> None:
    harvest = Shifting({pk: entry(pk, FIRST) for pk in range(1, 41)}, page_size=10)

    def churn(harvest: Shifting) -> None:
        """Somebody adds an entry after each answer: it pushes one over the border, and is itself on a page read."""
        pk = 1000 + len(harvest.requests)
        harvest.entries[pk] = entry(pk, FIRST, harvest.now)

    harvest.between = churn
    readings = list(read_window(cast(HarvestClient, harvest), FIRST, LAST))
    assert sum(reading.shortfall for reading in readings) > 0
    assert {one.id for reading in readings for one in reading.page.entries} >= set(range(1, 41))


# --- Ahead -----------------------------------------------------------------------------------------------------------
def reading(number: int) -> Reading:
    page: Any = number
    return Reading(page, None)


def test_ahead_gives_the_same_in_order() -> None:
    assert [
        cast(Any, one.page) for one in ahead(map(reading, range(50)), idle=lambda: None, every=1)
    ] == list(range(50))


def test_ahead_raises_what_the_source_raises() -> None:
    def source() -> Iterator[Reading]:
        yield reading(1)
        raise HarvestUnavailable("down")

    got: list[Any] = []
    with pytest.raises(HarvestUnavailable):
        got.extend(one.page for one in ahead(source(), idle=lambda: None, every=1))
    assert got == [1]


def test_ahead_keeps_hold_while_it_waits_and_stops_when_that_fails() -> None:
    before = threading.active_count()
    beats: list[float] = []

    def source() -> Iterator[Reading]:
        time.sleep(0.5)
        yield reading(1)

    def idle() -> None:
        beats.append(time.monotonic())
        if len(beats) == 3:
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        list(ahead(source(), idle=idle, every=0.05))
    assert threading.active_count() == before
