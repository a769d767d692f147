"""Time entries and their rules: who sees and writes them, timers, locks, filters, and their JSON.

Source: Harvest API v2, Timesheets. Hours are held as whole hundredths, stamps as epoch seconds.
"""

from __future__ import annotations

import json
import operator
from array import array
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from . import wire
from .wire import Json, Row, stamp

if TYPE_CHECKING:
    from .account import Account, Viewer

FIRST_ENTRY_ID: Final = 2_400_000_001  # real ids are past 32 bits
_ID_BITS: Final = 40
_ID_MASK: Final = (1 << _ID_BITS) - 1

# Profiles hold Rails' display names of zones, not IANA names; these are what the sandbox's people use.
ZONES: Final = {
    "UTC": "UTC",
    "London": "Europe/London",
    "Lisbon": "Europe/Lisbon",
    "Berlin": "Europe/Berlin",
    "Athens": "Europe/Athens",
    "Tokyo": "Asia/Tokyo",
    "Eastern Time (US & Canada)": "America/New_York",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
}


@dataclass(slots=True)
class TimeEntry:
    id: int
    spent_on: date
    user_id: int
    project_id: int
    task_id: int
    hundredths: int  # without what a running timer adds
    notes: str | None
    created_at: int
    updated_at: int
    timer_started_at: int | None = None
    started: int | None = None  # minutes since midnight, in start/end accounts
    ended: int | None = None
    external_reference: Row | None = None
    approval: str = "unsubmitted"
    is_billed: bool = False
    invoice_id: int | None = None
    is_explicitly_locked: bool = False
    overrides: Row | None = None  # a test's own values for the JSON, however malformed

    @property
    def key(self) -> int:
        """Sorts by day, then by id."""
        return self.spent_on.toordinal() << _ID_BITS | self.id


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the JSON of all entries of one person, project and task has in common."""

    billable: bool
    archived: bool
    money: str
    people_and_places: str


_OF_ASSIGNMENTS: Final = ("is_active", "budget", "created_at", "updated_at", "hourly_rate")

Condition = Callable[[TimeEntry], bool]

_CASTS: Final[dict[str, Callable[[Any], Any]]] = {
    "project_id": wire.integer,
    "task_id": wire.integer,
    "spent_date": wire.day,
    "user_id": wire.integer,
    "hours": wire.hundredths,
    "started_time": wire.minutes,
    "ended_time": wire.minutes,
    "notes": wire.text,
    "external_reference": wire.anything,
}
_FILTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "user_id": wire.integer,
    "client_id": wire.integer,
    "project_id": wire.integer,
    "task_id": wire.integer,
    "external_reference_id": wire.text,
    "is_billed": wire.boolean,
    "is_running": wire.boolean,
    "approval_status": wire.text,
    "updated_since": wire.instant,
    "from": wire.day,
    "to": wire.day,
}


class Timesheet:
    """The time entries of one account. Its caller holds the sandbox's lock."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.entries: dict[int, TimeEntry] = {}
        self.next_id = FIRST_ENTRY_ID
        self.approved_periods: list[tuple[int, date, date]] = []  # (user id, first day, last day)
        self.locked_before: date | None = None
        self._order = array("q")  # keys, ascending
        self._running: dict[int, int] = {}  # user id -> entry id
        self._revision = 0
        self._frames: dict[tuple[int, int, int, bool], _Frame] = {}
        self._pieces: dict[tuple[str, int], str] = {}
        self._frames_version = -1
        self._found: OrderedDict[tuple[Any, ...], array[int]] = OrderedDict()

    # --- the collection ---

    def put(self, entry: TimeEntry) -> None:
        self.entries[entry.id] = entry
        insort(self._order, entry.key)
        if entry.timer_started_at is not None:
            self._running[entry.user_id] = entry.id
        self._revision += 1

    def put_many(self, entries: Iterable[TimeEntry]) -> None:
        """Adds many stopped entries at once, without sorting after each."""
        before = len(self.entries)
        self.entries.update((entry.id, entry) for entry in entries)
        self._order = array("q", sorted(entry.key for entry in self.entries.values()))
        self.next_id = max(self.next_id, max(self.entries, default=0) + 1)
        self._revision += len(self.entries) - before

    def remove(self, entry: TimeEntry) -> None:
        del self.entries[entry.id]
        del self._order[bisect_left(self._order, entry.key)]
        if self._running.get(entry.user_id) == entry.id:
            del self._running[entry.user_id]
        self._revision += 1

    def change(self, entry: TimeEntry, **values: Any) -> None:
        """Sets attributes, keeps the order, and stamps the entry."""
        if "spent_on" in values:
            del self._order[bisect_left(self._order, entry.key)]
        for name, value in values.items():
            setattr(entry, name, value)
        if "spent_on" in values:
            insort(self._order, entry.key)
        if "updated_at" not in values:
            entry.updated_at = self.account.now()
        self._revision += 1

    def get(self, entry_id: int) -> TimeEntry:
        """Raises ApiError 404."""
        try:
            return self.entries[entry_id]
        except KeyError:
            raise wire.not_found() from None

    # --- reading ---

    def find(self, viewer: Viewer, query: Mapping[str, str]) -> Sequence[int]:
        """Keys of the entries that `viewer` sees and the filters admit, newest day first, then newest id."""
        wanted: Row = {}
        for name, cast in _FILTERS.items():
            if query.get(name):
                try:
                    wanted[name] = cast(query[name])
                except (ValueError, TypeError):
                    raise wire.refused(f"Invalid {name} {query[name]}") from None
        scope = 0 if viewer.is_administrator else viewer.user_id
        cache_key = (self._revision, self.account.version, scope, *sorted(wanted.items()))
        found = self._found.get(cache_key)
        if found is None:
            found = self._found[cache_key] = self._select(viewer, wanted)
            while len(self._found) > 8:
                self._found.popitem(last=False)
        return found

    def newest_first(self, first: date | None, last: date | None) -> Iterator[TimeEntry]:
        """All entries of those days (both inclusive), newest day first, then newest id."""
        low, high = self._bounds(first, last)
        for index in range(high - 1, low - 1, -1):
            yield self.entries[self._order[index] & _ID_MASK]

    def _bounds(self, first: date | None, last: date | None) -> tuple[int, int]:
        low, high = 0, len(self._order)
        if first is not None:
            low = bisect_left(self._order, first.toordinal() << _ID_BITS)
        if last is not None:
            high = bisect_left(self._order, (last.toordinal() + 1) << _ID_BITS)
        return low, high

    def _select(self, viewer: Viewer, wanted: Row) -> array[int]:
        low, high = self._bounds(wanted.get("from"), wanted.get("to"))
        keys = self._order[low:high][::-1]
        entries = self.entries
        for admits in (*self._seen_by(viewer), *self._conditions(wanted)):
            keys = array("q", [key for key in keys if admits(entries[key & _ID_MASK])])
        return keys

    def _seen_by(self, viewer: Viewer) -> list[Condition]:
        if viewer.is_administrator:
            return []
        people, projects = self.account.visible_people(viewer), self.account.managed_projects(viewer)
        return [lambda entry: entry.user_id in people or entry.project_id in projects]

    def _conditions(self, wanted: Row) -> list[Condition]:
        return [self._condition(name, value) for name, value in wanted.items() if name not in ("from", "to")]

    def _condition(self, name: str, value: Any) -> Condition:
        match name:
            case "client_id":
                rows = self.account.tables["projects"].values()
                of_client = {row["id"] for row in rows if row["client_id"] == value}
                return lambda entry: entry.project_id in of_client
            case "external_reference_id":
                return lambda entry: (entry.external_reference or {}).get("id") == value
            case "is_running":
                return lambda entry: (entry.timer_started_at is not None) == value
            case "approval_status":
                return lambda entry: entry.approval == value
            case "updated_since":
                # Inclusive: the docs say "since", and clients read it as "at or after".
                return lambda entry: entry.updated_at >= value
        is_named = operator.attrgetter(name)  # user_id, project_id, task_id, is_billed
        return lambda entry: is_named(entry) == value

    def sees(self, viewer: Viewer, entry: TimeEntry) -> bool:
        return all(test(entry) for test in self._seen_by(viewer))

    def encode_page(self, keys: Sequence[int], viewer: Viewer) -> bytes:
        now, rates = self.account.now(), viewer.is_administrator
        entries = self.entries
        return ",".join(
            [self._encode(entries[key & _ID_MASK], now=now, rates=rates) for key in keys]
        ).encode()

    def encode(self, entry: TimeEntry, viewer: Viewer) -> bytes:
        return self._encode(entry, now=self.account.now(), rates=viewer.is_administrator).encode()

    def show(self, entry: TimeEntry, *, rates: bool = True) -> Json:
        """The entry as the API shows it to an administrator (or, without rates, to anybody else)."""
        return json.loads(self._encode(entry, now=self.account.now(), rates=rates))

    def _encode(self, entry: TimeEntry, *, now: int, rates: bool) -> str:
        # Put together from strings: a page of 2,000 takes milliseconds, and no entry needs invalidating.
        frame = self._frame(entry, rates)
        hours = without = repr(entry.hundredths / 100)
        rounded = self._rounded(entry.hundredths)
        running = entry.timer_started_at is not None
        if entry.timer_started_at is not None:
            elapsed = entry.hundredths + _hundredths(now - entry.timer_started_at)
            hours, rounded = repr(elapsed / 100), self._rounded(elapsed)
        reason = self.locked_reason(entry, frame)
        locked = "true" if reason else "false"
        invoice, reference = "null", "null"
        if entry.invoice_id is not None:
            number = self.account.tables["invoices"].get(entry.invoice_id, {}).get("number")
            invoice = json.dumps({"id": entry.invoice_id, "number": number})
        if entry.external_reference:
            reference = json.dumps(entry.external_reference, ensure_ascii=False)
        text = (
            f'{{"id":{entry.id},"spent_date":"{entry.spent_on.isoformat()}","hours":{hours},'
            f'"hours_without_timer":{without},"rounded_hours":{rounded},'
            f'"notes":{_string(entry.notes)},"is_locked":{locked},"locked_reason":{_string(reason)},'
            f'"approval_status":"{entry.approval}",'
            f'"is_closed":{"true" if entry.approval == "approved" else "false"},'
            f'"is_billed":{"true" if entry.is_billed else "false"},'
            f'"is_explicitly_locked":{"true" if entry.is_explicitly_locked else "false"},'
            f'"timer_started_at":{_quoted(stamp(entry.timer_started_at)) if running else "null"},'  # type: ignore[arg-type]
            f'"started_time":{self._time(entry.started)},"ended_time":{self._time(entry.ended)},'
            f'"is_running":{"true" if running else "false"},{frame.money},'
            f'"created_at":"{stamp(entry.created_at)}","updated_at":"{stamp(entry.updated_at)}",'
            f'{frame.people_and_places},"invoice":{invoice},"external_reference":{reference}}}'
        )
        if entry.overrides:
            text = json.dumps({**json.loads(text), **entry.overrides}, ensure_ascii=False)
        return text

    def _rounded(self, hundredths: int) -> str:
        """Rounded up to the account's step, which the API does not tell; never to be written back."""
        step = self.account.rounding_minutes
        if not step:
            return repr(hundredths / 100)
        return repr(round(-(-hundredths * 60 // (step * 100)) * step / 60, 2))

    def _time(self, minute_of_day: int | None) -> str:
        if minute_of_day is None:
            return "null"
        return _quoted(wire.clock_time(minute_of_day, self.account.company["clock"]))

    def _frame(self, entry: TimeEntry, rates: bool) -> _Frame:
        if self._frames_version != self.account.version:
            self._frames.clear()
            self._pieces.clear()
            self._frames_version = self.account.version
        key = (entry.user_id, entry.project_id, entry.task_id, rates)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = self._build_frame(*key)
        return frame

    def _build_frame(self, user_id: int, project_id: int, task_id: int, rates: bool) -> _Frame:
        tables = self.account.tables
        user, project, task = (
            tables["users"][user_id],
            tables["projects"][project_id],
            tables["tasks"][task_id],
        )
        client = tables["clients"][project["client_id"]]
        user_assignment = self.account.user_assignment(project_id, user_id)
        task_assignment = self.account.task_assignment(project_id, task_id)
        if user_assignment is None or task_assignment is None:
            raise LookupError(
                f"entry of user {user_id} on project {project_id}, task {task_id}: not assigned"
            )
        billable = bool(project["is_billable"] and task_assignment["billable"])
        rate = None
        if billable:
            match project["bill_by"]:
                case "Tasks":
                    rate = task_assignment["hourly_rate"]
                case "Project":
                    rate = project["hourly_rate"]
                case "People" if user_assignment["use_default_rates"]:
                    rate = user["default_hourly_rate"]
                case "People":
                    rate = user_assignment["hourly_rate"]
        money = {
            "billable": billable,
            "budgeted": project["budget_by"] != "none",
            "billable_rate": rate if rates else None,
            "cost_rate": user["cost_rate"] if rates else None,
        }
        whole = (
            self._piece("user", user, name=self.account.label("users", user)),
            self._piece("client", client, "name", "currency"),
            self._piece("project", project, "name", "code"),
            self._piece("task", task, "name"),
            self._piece(
                "user_assignment",
                user_assignment,
                *_OF_ASSIGNMENTS,
                "is_project_manager",
                "use_default_rates",
            ),
            self._piece("task_assignment", task_assignment, *_OF_ASSIGNMENTS, "billable"),
        )
        return _Frame(
            billable=billable,
            archived=not all(row["is_active"] for row in (user, client, project, task)),
            money=wire.encode(money)[1:-1].decode(),
            people_and_places=",".join(whole),
        )

    def _piece(self, key: str, row: Row, *names: str, **more: Any) -> str:
        """`"key":{...}` of one row, encoded once however many frames it is in."""
        found = self._pieces.get((key, row["id"]))
        if found is None:
            shown = {"id": row["id"], **{name: row[name] for name in names}, **more}
            shown |= {name: stamp(shown[name]) for name in ("created_at", "updated_at") if name in shown}
            found = self._pieces[key, row["id"]] = f'"{key}":{wire.encode(shown).decode()}'
        return found

    # --- locks ---

    def locked_reason(self, entry: TimeEntry, frame: _Frame | None = None) -> str | None:
        archived = (frame or self._frame(entry, True)).archived
        approved = entry.approval == "approved"
        if entry.is_billed:
            if approved:
                return "Item Invoiced and Approved and Locked for this Time Period"
            return "Item Invoiced and Archived" if archived else "Item Invoiced"
        if approved:
            return "Item Approved and Locked for this Time Period"
        if entry.is_explicitly_locked or (self.locked_before and entry.spent_on < self.locked_before):
            return "Item Locked for this Time Period"
        return "Item Archived" if archived else None

    def _refuse_locked(self, entry: TimeEntry) -> None:
        """Raises ApiError 422 for an entry that its state keeps from being changed."""
        reason = self.locked_reason(entry)
        if reason:
            word = next(
                (word for word in ("invoiced", "approved", "archived") if word in reason.lower()), "locked"
            )
            raise wire.refused(self._no_tracking(entry.project_id, word))

    def _refuse_closed_day(self, user_id: int, project_id: int, spent_on: date) -> None:
        """New time is refused in a locked or approved period as well."""
        if self.locked_before and spent_on < self.locked_before:
            raise wire.refused(self._no_tracking(project_id, "locked"))
        if any(user_id == user and first <= spent_on <= last for user, first, last in self.approved_periods):
            raise wire.refused(self._no_tracking(project_id, "approved"))

    def _no_tracking(self, project_id: int, word: str) -> str:
        project = self.account.tables["projects"][project_id]
        code = f"[{project['code']}] " if project["code"] else ""
        return (
            f"You cannot track time to <strong>{code}{project['name']}</strong>, "
            f"because hours have been <strong>{word}</strong>"
        )

    # --- writing ---

    def create(self, body: Mapping[str, Any], viewer: Viewer) -> TimeEntry:
        """Without `hours` (or `ended_time`, where start and end are tracked) a timer starts."""
        problems: list[str] = []
        values = wire.cast_fields(body, _CASTS, problems)
        problems += [
            f"{wire.human(key)} can't be blank" for key in ("project_id", "task_id") if not values.get(key)
        ]
        if not values.get("spent_date") and not any("spent_date" in problem for problem in problems):
            problems += ["Spent date can't be blank", "Spent date is not a valid date"]
        self._check_notes(values.get("notes"), problems)
        if problems:
            raise wire.refused(", ".join(problems))
        owner = values.get("user_id") or viewer.user_id
        if owner not in self.account.tables["users"]:
            raise wire.refused("User does not exist")
        if not self.account.may_write_time_of(viewer, owner):
            raise wire.forbidden()
        project_id, task_id, spent_on = values["project_id"], values["task_id"], values["spent_date"]
        self._check_target(owner, project_id, task_id)
        self._refuse_closed_day(owner, project_id, spent_on)
        now = self.account.now()
        entry = TimeEntry(
            self.next_id, spent_on, owner, project_id, task_id, 0, values.get("notes"), now, now
        )
        entry.external_reference = _reference(values.get("external_reference"))
        if self.account.company["wants_timestamp_timers"]:
            entry.started = values.get("started_time")
            if entry.started is None:
                entry.started = self._minute_now(owner)
            entry.ended = values.get("ended_time")
            running = entry.ended is None
            if entry.ended is not None:
                entry.hundredths = _between(entry.started, entry.ended)
        else:
            running = values.get("hours") is None
            entry.hundredths = self._checked_hours(values.get("hours") or 0)
        if running:
            self._stop_timer_of(owner)
            entry.timer_started_at = now
        self.next_id += 1
        self.put(entry)
        return entry

    def update(self, entry: TimeEntry, body: Mapping[str, Any], viewer: Viewer) -> TimeEntry:
        """Writes the keys that are there. The owner never changes; a stale `updated_at` is no conflict."""
        self._must_write(entry, viewer)
        if not (viewer.is_administrator and self.account.administrators_edit_locked):
            self._refuse_locked(entry)
        problems: list[str] = []
        values = wire.cast_fields(body, _CASTS, problems)
        blank = [key for key in ("project_id", "task_id", "spent_date") if key in values and not values[key]]
        problems += [f"{wire.human(key)} can't be blank" for key in blank]
        if "notes" in values:
            self._check_notes(values["notes"], problems)
        if problems:
            raise wire.refused(", ".join(problems))
        project_id = values.get("project_id", entry.project_id)
        task_id = values.get("task_id", entry.task_id)
        if (project_id, task_id) != (entry.project_id, entry.task_id):
            self._check_target(entry.user_id, project_id, task_id)
        changes: Row = {"project_id": project_id, "task_id": task_id}
        if values.get("spent_date", entry.spent_on) != entry.spent_on:
            self._refuse_closed_day(entry.user_id, project_id, values["spent_date"])
            changes["spent_on"] = values["spent_date"]
        if "notes" in values:
            changes["notes"] = values["notes"]
        if "external_reference" in values:
            changes["external_reference"] = _reference(values["external_reference"])
        if self.account.company["wants_timestamp_timers"]:
            changes |= self._new_times(entry, values)
        elif values.get("hours") is not None:
            changes["hundredths"] = self._checked_hours(values["hours"])
            if entry.timer_started_at is not None:
                changes["timer_started_at"] = self.account.now()
        self.change(entry, **changes)
        return entry

    def _new_times(self, entry: TimeEntry, values: Row) -> Row:
        started, ended = values.get("started_time", entry.started), values.get("ended_time", entry.ended)
        changes: Row = {"started": started, "ended": ended}
        if started is not None and ended is not None and (started, ended) != (entry.started, entry.ended):
            changes["hundredths"] = _between(started, ended)
            if entry.timer_started_at is not None:
                self._running.pop(entry.user_id, None)
                changes["timer_started_at"] = None
        return changes

    def delete(self, entry: TimeEntry, viewer: Viewer) -> None:
        """Refused for a closed entry (save to administrators) and where project or task is archived."""
        self._must_write(entry, viewer)
        only_closed = (
            entry.approval == "approved" and not entry.is_billed and not self._frame(entry, True).archived
        )
        if not (viewer.is_administrator and only_closed):
            self._refuse_locked(entry)
        self.remove(entry)

    def restart(self, entry: TimeEntry, viewer: Viewer) -> TimeEntry:
        """Starts the timer again: on the same entry, or on a new one where start and end are tracked."""
        self._must_write(entry, viewer)
        if entry.timer_started_at is not None:
            raise wire.refused("Timer is already running")
        self._refuse_locked(entry)
        self._check_target(entry.user_id, entry.project_id, entry.task_id)
        now = self.account.now()
        self._stop_timer_of(entry.user_id)
        if not self.account.company["wants_timestamp_timers"]:
            self.change(entry, timer_started_at=now)
            self._running[entry.user_id] = entry.id
            return entry
        today = datetime.fromtimestamp(now, self._zone(entry.user_id)).date()
        self._refuse_closed_day(entry.user_id, entry.project_id, today)
        again = TimeEntry(
            self.next_id, today, entry.user_id, entry.project_id, entry.task_id, 0, entry.notes, now, now, now
        )
        again.started, again.external_reference = self._minute_now(entry.user_id), entry.external_reference
        self.next_id += 1
        self.put(again)
        return again

    def stop(self, entry: TimeEntry, viewer: Viewer) -> TimeEntry:
        self._must_write(entry, viewer)
        if entry.timer_started_at is None:
            raise wire.refused("Timer is not running")
        self.halt(entry)
        return entry

    def halt(self, entry: TimeEntry) -> None:
        """Stops a running timer and adds what it counted: 78 seconds are 0.02 hours."""
        if entry.timer_started_at is None:
            return
        self._running.pop(entry.user_id, None)
        counted = entry.hundredths + _hundredths(self.account.now() - entry.timer_started_at)
        ended = self._minute_now(entry.user_id) if self.account.company["wants_timestamp_timers"] else None
        self.change(entry, hundredths=counted, timer_started_at=None, ended=ended)

    def drop_reference(self, entry: TimeEntry, viewer: Viewer) -> None:
        self._must_write(entry, viewer)
        self._refuse_locked(entry)
        self.change(entry, external_reference=None)

    def _stop_timer_of(self, user_id: int) -> None:
        """One running timer a person: starting one stops the other, silently."""
        if user_id in self._running:
            self.halt(self.entries[self._running[user_id]])

    def _must_write(self, entry: TimeEntry, viewer: Viewer) -> None:
        if not self.sees(viewer, entry):
            raise wire.not_found()
        if not self.account.may_write_time_of(viewer, entry.user_id):
            raise wire.forbidden()

    def _check_notes(self, notes: str | None, problems: list[str]) -> None:
        if self.account.company["day_entry_notes_required"] and not notes:
            problems.append("Notes can't be blank")

    def _check_target(self, user_id: int, project_id: int, task_id: int) -> None:
        """The person must be on the project and the task active on it; nothing may be archived."""
        tables = self.account.tables
        project, task = tables["projects"].get(project_id), tables["tasks"].get(task_id)
        problem = ""
        if project is None or not project["is_active"]:
            problem = "Project is archived" if project else "Project does not exist"
        elif task is None or not task["is_active"]:
            problem = "Task is archived" if task else "Task does not exist"
        else:
            on_project = self.account.user_assignment(project_id, user_id)
            on_task = self.account.task_assignment(project_id, task_id)
            if on_project is None or not on_project["is_active"]:
                problem = "User is not assigned to this project"
            elif on_task is None or not on_task["is_active"]:
                problem = "Task is not assigned to this project"
        if problem:
            # Harvest's own refusal is not documented; clients must cope with either.
            raise wire.not_found() if self.account.unassigned_is_404 else wire.refused(problem)

    @staticmethod
    def _checked_hours(hundredths: int) -> int:
        if hundredths < 0:
            raise wire.refused("Hours must be greater than or equal to 0")
        return hundredths

    def _zone(self, user_id: int) -> ZoneInfo:
        return ZoneInfo(ZONES.get(self.account.tables["users"][user_id]["timezone"], "UTC"))

    def _minute_now(self, user_id: int) -> int:
        local = datetime.fromtimestamp(self.account.now(), UTC).astimezone(self._zone(user_id))
        return local.hour * 60 + local.minute


def _reference(value: Any) -> Row | None:
    """What is kept of an external reference: four strings; the service is the host of the permalink."""
    if not isinstance(value, dict) or value.get("id") in (None, ""):
        return None
    kept: Row = {
        name: None if value.get(name) is None else str(value[name])
        for name in ("id", "group_id", "account_id", "permalink")
    }
    kept["service"] = urlsplit(kept["permalink"] or "").hostname
    kept["service_icon_url"] = None
    return kept


def _between(started: int, ended: int) -> int:
    if ended < started:
        raise wire.refused("Ended time must be after started time")
    return wire.hundredths((ended - started) / 60)


def _hundredths(seconds: int) -> int:
    """Half-up: 18 seconds are 0.01 h, 17 are none."""
    return (seconds + 18) // 36


def _string(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def _quoted(value: str) -> str:
    return f'"{value}"'
