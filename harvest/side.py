"""Harvest as one side of the sync: what `integrations.sync.types.Side` promises, over its API.

Values are in Harvest's own terms (`harvest.terms.entry_values`); in place of an id may stand the markers GENERAL and
FIRST_TASK, which `harvest.places` resolves. Nothing here opens a transaction or knows a time log.

What Harvest does otherwise than other sides: an entry stays with its person; an entry made without a duration is a
running timer, so one is always sent and the answer looked at; accounts that track start and end times take no hours,
so that a duration is written as times there; and there is no telling that an entry was changed meanwhile, which is why
only changed fields are sent. `HarvestAuthError` passes through: no change waits for anything but a new connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any, Protocol

from harvest.client import EntryPage, HarvestClient
from harvest.errors import (
    HarvestAnswerLost,
    HarvestAuthError,
    HarvestError,
    HarvestForbidden,
    HarvestNotFound,
    HarvestRateLimited,
    HarvestRejected,
    HarvestRetryLater,
)
from harvest.payloads import ExternalReference, TimeEntryPayload
from harvest.terms import FIRST_TASK, GENERAL, entry_values, hundredths, locked_words, slug_of
from integrations.sync.types import Entry, Field, Gone, Refused, Unavailable, Value, Values

logger = logging.getLogger("harvest.side")

DAY_MINUTES = 24 * 60
FIRST_START = 9 * 60  # where a person's day begins that has no entry yet
SLACK = Decimal("0.01")  # hours: times are whole minutes, which hundredths of an hour are not
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\s*([ap]m)?", re.IGNORECASE)


class HarvestRefused(Refused):
    """Harvest, or what it would make of it, is in the way. reason: a slug; remedy: what a click could do.

    entry: what it held then, where whoever asked noted that.
    """

    def __init__(self, reason: str, detail: str, remedy: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.remedy = reason, detail, remedy
        self.entry: TimeEntryPayload | None = None


class HarvestAway(Unavailable):
    """retry_after: seconds to wait at the least. lost: a write may have been done.

    limited: it is for the rate limit alone. busy: another worker of ours is at the same, Harvest is well.
    """

    def __init__(
        self,
        detail: str,
        *,
        retry_after: float | None = None,
        lost: bool = False,
        limited: bool = False,
        busy: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail, self.retry_after = detail, retry_after
        self.lost, self.limited, self.busy = lost, limited, busy


@dataclass(slots=True)
class Account:
    """How an account tracks time. wants_times: by start and end, written in `clock` ("12h" or "24h")."""

    wants_times: bool = False
    clock: str = "24h"


@dataclass(frozen=True, slots=True)
class Target:
    """Harvest's ids of where an entry lands, and whose it is."""

    project: str
    task: str
    user: str


class Finder(Protocol):
    """What a side asks about projects: `harvest.places.Places`."""

    def general(self, client_id: str, *, task: str, user: str) -> str: ...

    def first_task(self, project_id: str) -> str: ...

    def is_general(self, project_id: str) -> bool: ...

    def lacks(self, project_id: str, task_id: str, user_id: str) -> str: ...

    def assign(self, project_id: str, task_id: str, user_id: str) -> None: ...

    def alone(self, name: str) -> Any: ...


class HarvestSide:
    """One Harvest account as a `Side`, for one thread at a time.

    account: how it tracks time; corrected, and told to `learned`, where an answer shows otherwise.
    permalink: the page of a reference. own_user: the token's person, for fields without an owner.
    """

    def __init__(
        self,
        client: HarvestClient,
        places: Finder,
        *,
        account: Account,
        own_user: str,
        permalink: Callable[[str], str] = lambda reference: "",
        learned: Callable[[Account], object] = lambda account: None,
    ) -> None:
        self.client, self.places, self.account, self.own_user = client, places, account, own_user
        self._permalink, self._learned = permalink, learned
        self.payloads: dict[str, TimeEntryPayload] = {}  # as last read or written, by id

    # --- Reading -----------------------------------------------------------------------------------------------------
    def list_all(self, first: date, last: date) -> Iterator[Entry]:
        return self._listed(self.client.time_entry_pages(from_date=first, to_date=last))

    def list_changed(self, since: datetime) -> Iterator[Entry]:
        return self._listed(self.client.time_entry_pages(updated_since=since))

    def get(self, entry_id: str) -> Entry | None:
        payload = self.read(entry_id)
        return None if payload is None else entry_of(payload)

    def read(self, entry_id: str) -> TimeEntryPayload | None:
        """As `get`, the payload."""
        try:
            with translated():
                return self._known(self.client.time_entry(int(entry_id)))
        except Gone:
            self.payloads.pop(entry_id, None)
            return None

    def find(self, reference: str) -> Entry | None:
        return next((entry_of(payload) for payload in self.found(reference)), None)

    def found(self, reference: str) -> list[TimeEntryPayload]:
        """Every entry that was made for `reference`, the oldest first: Harvest promises no uniqueness."""
        with translated():
            rows = self.client.find_by_external_reference(reference)
        same = [row for row in rows if row.external_reference_id == reference]
        return [self._known(row) for row in sorted(same, key=lambda one: one.id)]

    def _listed(self, pages: Iterable[EntryPage]) -> Iterator[Entry]:
        seen: set[int] = set()
        with translated():
            for page in pages:
                if page.bad:
                    raise HarvestAway(f"Harvest sent an entry that cannot be read: {page.bad[0].reason}.")
                for payload in page.entries:
                    if payload.id not in seen:
                        seen.add(payload.id)
                        yield entry_of(payload)
                if page.shortfall:
                    raise HarvestAway("Harvest's list kept changing while it was read: try again later.")

    def _known(self, payload: TimeEntryPayload) -> TimeEntryPayload:
        self.payloads[str(payload.id)] = payload
        return payload

    # --- Writing -----------------------------------------------------------------------------------------------------
    def create(self, fields: Values, *, reference: str) -> Entry:
        return entry_of(self.make(fields, reference=reference))

    def make(self, fields: Values, *, reference: str) -> TimeEntryPayload:
        """As `create`, the payload. The timer that it must not start is stopped, should it run all the same."""
        return self.put_right(self.post(fields, self.target(fields), reference=reference), fields)

    def target(self, fields: Values) -> Target:
        """Where an entry of these fields is to land: General is found or made, and the first task looked up."""
        user = _text(fields.get(Field.OWNER)) or self.own_user
        task = _text(fields[Field.ACTIVITY])
        project = self._project(fields, task=task, user=user)
        return Target(project, self.places.first_task(project) if task == FIRST_TASK else task, user)

    def post(self, fields: Values, target: Target, *, reference: str) -> TimeEntryPayload:
        """The request that makes an entry, and nothing after it: `put_right` what comes back.

        HarvestRefused, and HarvestAway that is not `lost`: nothing was made.
        """
        try:
            return self._post(fields, target, reference)
        except HarvestRefused as refused:
            if refused.reason != "not_assigned":
                raise
            self._see_to_assignments(target, refused)
        return self._post(fields, target, reference)

    def _see_to_assignments(self, target: Target, refused: HarvestRefused) -> None:
        """After a refusal: see to it that task and person are on the project. Raises HarvestRefused where they are not.

        General is there for what has no place of its own: whoever and whatever lands in it belongs there. Nothing may
        be missing any more, as another worker has just seen to it, or as this token may not know.
        """
        lacking = self.places.lacks(target.project, target.task, target.user)
        if lacking and not self.places.is_general(target.project):
            raise _not_assigned(lacking, target) from refused
        if lacking:
            self.places.assign(target.project, target.task, target.user)

    def _post(self, fields: Values, target: Target, reference: str) -> TimeEntryPayload:
        day, hours = _day(fields), _hours(fields)
        create = partial(
            self.client.create_time_entry,
            project_id=int(target.project),
            task_id=int(target.task),
            spent_date=day,
            user_id=int(target.user) if target.user else None,
            notes=_text(fields.get(Field.NOTES)),
            external_reference=ExternalReference(id=reference, permalink=self._permalink(reference)),
        )
        if not self.account.wants_times:
            with translated(target=True):
                return self._known(create(hours=hours))
        with self.places.alone(f"{self.client.account_id}/{target.user}/{day}"):
            started, ended = self._times(hours, self._end_of_day(target.user, day))
            with translated(target=True):
                return self._known(create(started_time=started, ended_time=ended))

    def update(self, entry_id: str, fields: Values, *, seen: Values) -> Entry:
        return entry_of(self.change(entry_id, fields, seen=seen))

    def change(self, entry_id: str, fields: Values, *, seen: Values) -> TimeEntryPayload:
        """As `update`, the payload."""
        if Field.OWNER in fields and fields[Field.OWNER] != seen[Field.OWNER]:
            raise HarvestRefused("owner_stays", "Harvest cannot give an entry to another person.")
        changes: dict[str, Any] = {}
        user, task = _text(seen[Field.OWNER]), _text(fields.get(Field.ACTIVITY, seen[Field.ACTIVITY]))
        project = _text(_part(seen[Field.PLACEMENT], 1))
        if Field.PLACEMENT in fields:
            project = self._project(fields, task=task, user=user)
            changes["project_id"] = int(project)
        if Field.ACTIVITY in fields:
            task = self.places.first_task(project) if task == FIRST_TASK else task
            changes["task_id"] = int(task)
        if Field.SPENT_DATE in fields:
            changes["spent_date"] = _day(fields)
        if Field.NOTES in fields:
            changes["notes"] = _text(fields[Field.NOTES])
        if Field.DURATION in fields:
            changes |= self._new_duration(entry_id, _hours(fields))
        if not changes:
            payload = self.read(entry_id)
            if payload is None:
                raise Gone("This entry is not there any more.")
            return payload
        try:
            payload = self._patch(entry_id, changes)
        except HarvestRefused as refused:
            moved = changes.keys() & {"project_id", "task_id"}
            if not moved or refused.reason != "not_assigned":
                raise
            self._see_to_assignments(Target(project, task, user), refused)
            payload = self._patch(entry_id, changes)
        return self.put_right(payload, fields) if Field.DURATION in fields else payload

    def _patch(self, entry_id: str, changes: dict[str, Any]) -> TimeEntryPayload:
        with translated(target="project_id" in changes or "task_id" in changes):
            return self._known(self.client.update_time_entry(int(entry_id), **changes))

    def delete(self, entry_id: str, *, seen: Values) -> None:
        known = self.payloads.get(entry_id)
        if known is not None and (locked := locked_words(known)):
            # Harvest lets administrators delete approved time; a sync leaves it alone.
            raise HarvestRefused(slug_of(locked), locked)
        try:
            with translated():
                self.client.delete_time_entry(int(entry_id))
        except Gone:
            pass
        self.payloads.pop(entry_id, None)

    # --- How long ----------------------------------------------------------------------------------------------------
    def put_right(self, payload: TimeEntryPayload, fields: Values) -> TimeEntryPayload:
        """An entry of ours as it was meant: stopped, and as long as was sent.

        An account may ignore the form that it does not use (hours, or times), and run a timer all the same.
        """
        wanted = _hours(fields)
        if not payload.is_running and abs(hundredths(payload.hours) - wanted) <= SLACK:
            return payload
        times = bool(payload.started_time)
        if times != self.account.wants_times:
            self.account.wants_times = times
            if times:
                self.account.clock = "12h" if payload.started_time[-1:] in "mM" else "24h"
            self._learned(self.account)
        entry_id = str(payload.id)
        if payload.is_running:
            with translated():
                payload = self._known(self.client.stop_timer(payload.id))
        if abs(hundredths(payload.hours) - wanted) > SLACK:
            if times:
                day, user = payload.spent_date, str(payload.user_id)
                with self.places.alone(f"{self.client.account_id}/{user}/{day}"):
                    begin = self._end_of_day(user, day, but=payload.id)
                    started, ended = self._times(wanted, begin)
                    payload = self._patch(entry_id, {"started_time": started, "ended_time": ended})
            else:
                payload = self._patch(entry_id, {"hours": wanted})
        if payload.is_running or abs(hundredths(payload.hours) - wanted) > SLACK:
            logger.warning("entry %s: %s h were sent, Harvest holds %s", payload.id, wanted, payload.hours)
        return payload

    def _new_duration(self, entry_id: str, hours: Decimal) -> dict[str, Any]:
        if not self.account.wants_times:
            return {"hours": hours}
        payload = self.payloads.get(entry_id) or self.read(entry_id)
        if payload is None:
            raise Gone("This entry is not there any more.")
        begin = minutes_of(payload.started_time)
        if begin is None:
            begin = self._end_of_day(str(payload.user_id), payload.spent_date, but=payload.id)
        started, ended = self._times(hours, begin)
        return {"started_time": started, "ended_time": ended}

    def _times(self, hours: Decimal, begin: int) -> tuple[str, str]:
        length = max(1, int((hours * 60).quantize(Decimal(1), ROUND_HALF_UP)))
        if begin + length >= DAY_MINUTES:
            raise HarvestRefused(
                "past_midnight",
                f"Harvest keeps start and end times, and from {clock_time(begin, '24h')} on {hours} hours would pass "
                "midnight. Make room in that day in Harvest, or log part of it on another day.",
            )
        return clock_time(begin, self.account.clock), clock_time(begin + length, self.account.clock)

    def _end_of_day(self, user: str, day: date, but: int = 0) -> int:
        """Minutes since midnight at which the person's last entry of the day ends; 9:00 where there is none."""
        ends = [FIRST_START]
        with translated():
            pages = self.client.time_entry_pages(from_date=day, to_date=day, user_id=int(user))
            for payload in (one for page in pages for one in page.entries if one.id != but):
                times = (minutes_of(payload.started_time), minutes_of(payload.ended_time))
                ends.extend(at for at in times if at is not None)
        return max(ends)

    # --- Where -------------------------------------------------------------------------------------------------------
    def _project(self, fields: Values, *, task: str, user: str) -> str:
        client, project = _part(fields[Field.PLACEMENT], 0), _part(fields[Field.PLACEMENT], 1)
        if project != GENERAL:
            return _text(project)
        return self.places.general(_text(client), task=task, user=user)


def entry_of(payload: TimeEntryPayload) -> Entry:
    return Entry(
        id=str(payload.id),
        values=entry_values(payload),
        changed_at=payload.updated_at,
        locked=locked_words(payload),
        running=payload.is_running,
        reference=payload.external_reference_id,
    )


def minutes_of(text: str) -> int | None:
    """Minutes since midnight of "2:59pm" or "14:59"; None for what is neither."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, half = int(match[1]), int(match[2]), (match[3] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return hour * 60 + minute if hour < 24 and minute < 60 else None


def clock_time(minutes: int, clock: str) -> str:
    """As the account writes times: "14:59", or "2:59pm" where the clock is "12h"."""
    hour, minute = divmod(minutes, 60)
    if clock != "12h":
        return f"{hour:02d}:{minute:02d}"
    return f"{hour % 12 or 12}:{minute:02d}{'pm' if hour >= 12 else 'am'}"


# --- What Harvest answers --------------------------------------------------------------------------------------------
@contextmanager
def translated(*, target: bool = False) -> Iterator[None]:
    """Harvest's errors as a side's. target: the write names a project, task and person, so a 404 is about these."""
    try:
        yield
    except HarvestAuthError:
        raise
    except HarvestNotFound as error:
        if target:
            raise _refusal(error) from error
        raise Gone("This entry is not there any more.") from error
    except (HarvestForbidden, HarvestRejected) as error:
        raise _refusal(error) from error
    except HarvestRetryLater as error:
        limited = isinstance(error, HarvestRateLimited)
        raise HarvestAway(error.message, retry_after=error.retry_after_seconds, limited=limited) from error
    except HarvestAnswerLost as error:
        raise HarvestAway(error.message, lost=True) from error
    except HarvestError as error:
        raise HarvestAway(error.message) from error


# What a refusal's words tell, the first that fits: its slug, and what helps.
_WORDS = (
    ("invoiced", "invoiced", "It has been invoiced in Harvest, so it stays as it is there."),
    (
        "approved",
        "approved",
        "Its timesheet has been approved in Harvest. Withdraw the approval there, then retry.",
    ),
    (
        "archived",
        "archived",
        "Its project, task or person is archived in Harvest. Activate it there, then retry.",
    ),
    ("locked", "locked", "Its period is locked in Harvest. Unlock it there, then retry."),
    ("notes can't be blank", "notes_required", "Harvest wants notes with every entry. Add some."),
    ("assigned", "not_assigned", "Assign the person and the task to this project in Harvest, then retry."),
    (
        "does not exist",
        "not_assigned",
        "Its project, task or person is gone from Harvest. Map it anew, then retry.",
    ),
)


def _refusal(error: HarvestError) -> HarvestRefused:
    words = error.message
    if isinstance(error, HarvestForbidden):
        return HarvestRefused(
            "no_permission",
            "The person whose token this is may not write this time in Harvest. "
            "Connect with an administrator's token, or have their role changed there.",
        )
    if isinstance(error, HarvestNotFound):
        return HarvestRefused(
            "not_assigned",
            "Harvest does not find the project, task or person for it, or this token may not use them. "
            "Assign the person and the task to the project in Harvest, then retry.",
        )
    for word, reason, remedy in _WORDS:
        if word in words.casefold():
            return HarvestRefused(reason, f"Harvest: {words.rstrip('.')}. {remedy}")
    return HarvestRefused("refused", f"Harvest refused it: {words.rstrip('.')}.")


def _not_assigned(lacking: str, target: Target) -> HarvestRefused:
    return HarvestRefused(
        "not_assigned",
        f"{lacking} in Harvest. Assign it from here, or there, then retry.",
        {"kind": "assign", "project": target.project, "task": target.task, "user": target.user},
    )


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _part(value: Value, index: int) -> str | None:
    if not isinstance(value, tuple):
        raise TypeError(f"{value!r} is no placement")
    return value[index]


def _day(fields: Values) -> date:
    day = fields[Field.SPENT_DATE]
    if not isinstance(day, date):
        raise TypeError(f"{day!r} is no date")
    return day


def _hours(fields: Values) -> Decimal:
    hours = fields[Field.DURATION]
    if not isinstance(hours, Decimal):
        raise TypeError(f"{hours!r} is no number of hours")
    return hours
