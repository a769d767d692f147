"""Reading a window of Harvest's time completely, while people go on working in it.

Harvest pages by number over a list sorted newest first, so an entry deleted on a page already read pulls another one
over the border, unseen. A single answer is a snapshot, though. So a window is read by days: ask for it, take the first
page, and ask again for what is not newer than the oldest day on it; that day is read twice rather than cut. Only a day
that alone fills a page is read by page numbers, until two readings agree. What was moved to a day that was read already
has been changed since this began: a last reading by `updated_since` brings it.

For 100,000 entries of some hundred a day this costs a few requests more than paging, and hides nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TypeVar

from harvest.client import EntryPage, HarvestClient
from harvest.errors import HarvestNotFound

MOST_WALKS = 5  # over one day that fills more than a page and keeps changing
MARGIN = timedelta(seconds=5)  # stamps are whole seconds, and a write may show late in a list


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """A page of a window. Entries may come more than once; the last reading of one counts no more than the first.

    expected: how many entries Harvest says the whole window holds, on its first page; None after that.
    shortfall: how many entries, at the least, a day that would not come to rest may be short of; 0 as a rule.
    """

    page: EntryPage
    expected: int | None
    shortfall: int = 0


def read_window(client: HarvestClient, first: date, last: date) -> Iterator[Reading]:
    """Every entry spent from `first` to `last`, both included. Raises HarvestError; ends early for nothing else."""
    begun: datetime | None = None
    until, requests = last, 0
    while until >= first:
        page = next(client.time_entry_pages(from_date=first, to_date=until))
        requests += 1
        begun = begun or (page.server_date or datetime.now(UTC)) - MARGIN
        yield Reading(page, page.total_entries if requests == 1 else None)
        if page.is_last:
            break
        oldest = min((entry.spent_date for entry in page.entries), default=until)
        if oldest < until:
            until = oldest
        else:
            yield from _at_rest(partial(client.time_entry_pages, from_date=until, to_date=until))
            until -= timedelta(days=1)
    if requests > 1 and begun is not None:
        for page in client.time_entry_pages(from_date=first, to_date=last, updated_since=begun):
            yield Reading(page, None)


def read_changed(client: HarvestClient, since: datetime) -> Iterator[Reading]:
    """Every entry of any day that changed since then. Raises HarvestError; ends early for nothing else."""
    first = True
    for reading in _at_rest(partial(client.time_entry_pages, updated_since=since)):
        yield replace(reading, expected=reading.page.total_entries) if first else reading
        first = False


def _at_rest(pages: Callable[[], Iterator[EntryPage]]) -> Iterator[Reading]:
    """A listing; one of several pages is read until two readings in a row list the same entries.

    That nothing is missing from Harvest's own count does not show it: one deleted on a page already read makes up for
    the one that its going hid.
    """
    before: set[int] | None = None
    for walk in range(MOST_WALKS):
        listed: set[int] = set()
        for page in pages():
            listed |= {entry.id for entry in page.entries}
            at_rest = page.number == 1 or listed == before
            given_up = page.is_last and not at_rest and walk == MOST_WALKS - 1
            yield Reading(page, None, max(1, page.shortfall) if given_up else 0)
            if page.is_last and at_rest:
                return
        before = listed


def read_entries(client: HarvestClient, ids: list[int]) -> Iterator[Reading]:
    """These entries, one request each; one that is no longer there is left out."""
    found = []
    for one in ids:
        try:
            found.append(client.time_entry(one))
        except HarvestNotFound:
            continue
    yield Reading(
        EntryPage(
            entries=found,
            bad=[],
            number=1,
            total_entries=len(found),
            total_pages=1,
            server_date=None,
            is_last=True,
            shortfall=0,
        ),
        len(found),
    )


def ahead(source: Iterator[T], *, idle: Callable[[], None], every: float) -> Iterator[T]:
    """The same items, fetched ahead in a thread of their own, so that reading the next overlaps writing this one.

    idle: called every so many seconds while one is waited for; what it raises ends the reading. What the source raises
    is raised here. The source must touch nothing of the calling thread's (no database).
    """
    fetched: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def hand_over(item: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                fetched.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        try:
            for reading in source:
                if not hand_over(reading):
                    return
            hand_over(None)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=fetch, name="harvest-reading", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = fetched.get(timeout=every)
            except queue.Empty:
                idle()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join(timeout=1)
