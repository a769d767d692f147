"""One Harvest account: its company, its tables, the rules for writing them, and the hooks that tests use.

Hooks (`add_client`, `approve`, `archive`, ...) do what a person does in Harvest's own pages, or what a test
needs; they skip permissions and locks. Ids are plain integers. All hooks are safe to call from any thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from . import wire
from .resources import ADMIN, MANAGER, RESOURCES, Field, Resource
from .timesheet import TimeEntry, Timesheet, _reference
from .wire import Json, Row, stamp

DEFAULT_ROUNDING_MINUTES: Final = 15

P = ParamSpec("P")
T = TypeVar("T")


class _HasLock(Protocol):
    @property
    def lock(self) -> threading.RLock: ...


S = TypeVar("S", bound=_HasLock)


def locked(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Runs a method under the sandbox's one lock."""

    @functools.wraps(method)
    def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.lock:
            return method(self, *args, **kwargs)

    return guarded


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person behind a request, as this account knows them."""

    user: Row

    @property
    def user_id(self) -> int:
        return int(self.user["id"])

    @property
    def is_administrator(self) -> bool:
        return "administrator" in self.user["access_roles"]

    def has_any(self, roles: frozenset[str]) -> bool:
        return not roles.isdisjoint(self.user["access_roles"])


class Account:
    """`now` gives epoch seconds. Switches that Harvest leaves undocumented are plain attributes."""

    def __init__(self, account_id: int, name: str, *, lock: threading.RLock, now: Callable[[], int]) -> None:
        self.id = account_id
        self.name = name
        self.lock = lock
        self.now = now
        self.version = 0  # of everything but the time entries
        self.rounding_minutes = DEFAULT_ROUNDING_MINUTES
        self.unassigned_is_404 = False
        self.administrators_edit_locked = False
        self.tables: dict[str, dict[int, Row]] = {table: {} for table in RESOURCES}
        self._next_ids = {table: resource.first_id for table, resource in RESOURCES.items()}
        self._user_assignments: dict[tuple[int, int], Row] = {}
        self._task_assignments: dict[tuple[int, int], Row] = {}
        subdomain = "".join(letter for letter in name.lower() if letter.isalnum()) or "studio"
        self.company: Row = {
            "base_uri": f"https://{subdomain}.harvestapp.example",
            "full_domain": f"{subdomain}.harvestapp.example",
            "name": name,
            "is_active": True,
            "week_start_day": "Monday",
            "wants_timestamp_timers": False,
            "time_format": "decimal",
            "date_format": "%Y-%m-%d",
            "plan_type": "sponsored",
            "clock": "24h",
            "currency_code_display": "iso_code_none",
            "currency_symbol_display": "symbol_before",
            "currency": "USD",
            "decimal_symbol": ".",
            "thousands_separator": ",",
            "color_scheme": "blue",
            "weekly_capacity": 126_000,
            "expense_feature": True,
            "invoice_feature": True,
            "estimate_feature": True,
            "approval_feature": True,
            "team_feature": True,
            "saml_sign_in_required": False,
            "day_entry_notes_required": False,
        }
        self.timesheet = Timesheet(self)

    # --- rows ---

    @locked
    def insert(self, table: str, **values: Any) -> int:
        """Adds a row, with defaults for what is not given. Stamps may be epoch seconds or ISO."""
        row_id = int(values.pop("id", self._next_ids[table]))
        self._next_ids[table] = max(self._next_ids[table], row_id) + 1
        created = wire.instant(values.pop("created_at", self.now()))
        updated = wire.instant(values.pop("updated_at", created))
        row: Row = {"id": row_id}
        for name, spec in RESOURCES[table].fields.items():
            default = spec.default
            row[name] = values.pop(name, default.copy() if isinstance(default, list | dict) else default)
        if values:
            raise TypeError(f"{table} has no {', '.join(values)}")
        row |= {"created_at": created, "updated_at": updated}
        self.tables[table][row_id] = row
        if table == "user_assignments":
            self._user_assignments[row["project_id"], row["user_id"]] = row
        elif table == "task_assignments":
            self._task_assignments[row["project_id"], row["task_id"]] = row
        self.version += 1
        return row_id

    @locked
    def edit(self, table: str, row_id: int, **values: Any) -> None:
        """Changes a row as a person in Harvest would, and stamps it (unless `updated_at` is given)."""
        row = self.tables[table][row_id]
        if unknown := values.keys() - row.keys():
            raise TypeError(f"{table} has no {', '.join(sorted(unknown))}")
        row.update(values)
        row["updated_at"] = wire.instant(values.get("updated_at", self.now()))
        self.version += 1

    @locked
    def remove(self, table: str, row_id: int) -> None:
        """Deletes a row with all that hangs on it: a project takes its time, expenses and assignments along.

        Raises ValueError for an assignment that time entries still need; archive those.
        """
        row = self.tables[table][row_id]
        if table in ("task_assignments", "user_assignments") and self._has_time(table, row):
            raise ValueError("there are time entries on this assignment")
        del self.tables[table][row_id]
        if table == "user_assignments":
            del self._user_assignments[row["project_id"], row["user_id"]]
        elif table == "task_assignments":
            del self._task_assignments[row["project_id"], row["task_id"]]
        if table == "clients":
            for project in [r["id"] for r in self.tables["projects"].values() if r["client_id"] == row_id]:
                self.remove("projects", project)
        if table in ("projects", "users", "tasks"):
            column = f"{table[:-1]}_id"
            for entry in [e for e in self.timesheet.entries.values() if getattr(e, column) == row_id]:
                self.timesheet.remove(entry)
            for other in ("expenses", "user_assignments", "task_assignments"):
                if column in RESOURCES[other].fields:
                    for found in [r["id"] for r in self.tables[other].values() if r[column] == row_id]:
                        self.remove(other, found)
        self.version += 1

    def row(self, table: str, row_id: int) -> Row:
        """Raises ApiError 404."""
        try:
            return self.tables[table][row_id]
        except KeyError:
            raise wire.not_found() from None

    def user_assignment(self, project_id: int, user_id: int) -> Row | None:
        return self._user_assignments.get((project_id, user_id))

    def task_assignment(self, project_id: int, task_id: int) -> Row | None:
        return self._task_assignments.get((project_id, task_id))

    @staticmethod
    def label(table: str, row: Row) -> str:
        if table == "users":
            return f"{row['first_name']} {row['last_name']}".strip()
        return str(row.get("name", ""))

    @locked
    def show(self, table: str, row_id: int, viewer: Viewer | None = None) -> Json:
        """A row as the API shows it (`viewer` None: to an administrator)."""
        return self.render(RESOURCES[table], self.tables[table][row_id], viewer)

    def render(self, resource: Resource, row: Row, viewer: Viewer | None = None) -> Row:
        shown: Row = {"id": row["id"]}
        for name, spec in resource.fields.items():
            if not spec.shown:
                continue
            if spec.ref:
                shown[name.removesuffix("_id")] = self._referred(spec, row[name])
            else:
                shown[name] = _plain(spec, row[name])
        if resource.name == "users" and viewer is not None and not viewer.is_administrator:
            # A member's own record lacks the rates altogether.
            del shown["default_hourly_rate"], shown["cost_rate"]
        return shown | {"created_at": stamp(row["created_at"]), "updated_at": stamp(row["updated_at"])}

    def _referred(self, spec: Field, row_id: int | None) -> Row | None:
        row = self.tables.get(spec.ref, {}).get(row_id) if row_id is not None else None
        if row is None:
            return None
        labelled = {**row, "name": self.label(spec.ref, row)}
        return {
            key: stamp(labelled[key]) if key in ("created_at", "updated_at") else labelled[key]
            for key in spec.shows
        }

    # --- who sees and writes what ---

    def viewer(self, user_id: int) -> Viewer:
        return Viewer(self.tables["users"][user_id])

    def visible_people(self, viewer: Viewer) -> set[int]:
        """Themselves, and a manager's assigned teammates. (Administrators see everybody; ask that first.)"""
        mates = viewer.user["teammate_ids"] if viewer.has_any(MANAGER) else []
        return {viewer.user_id, *mates}

    def managed_projects(self, viewer: Viewer) -> set[int]:
        if not viewer.has_any(MANAGER):
            return set()
        rows = self.tables["user_assignments"].values()
        return {
            row["project_id"]
            for row in rows
            if row["user_id"] == viewer.user_id and row["is_project_manager"]
        }

    def may_write_time_of(self, viewer: Viewer, user_id: int) -> bool:
        if viewer.is_administrator or viewer.user_id == user_id:
            return True
        return user_id in self.visible_people(viewer) and viewer.has_any(
            frozenset({"time_and_expenses_manager"})
        )

    def may_see(self, resource: Resource, row: Row, viewer: Viewer) -> bool:
        if viewer.is_administrator:
            return True
        match resource.name:
            case "users":
                return row["id"] in self.visible_people(viewer)
            case "projects":
                return row["id"] in self.managed_projects(viewer)
            case "task_assignments" | "user_assignments":
                return row["project_id"] in self.managed_projects(viewer)
            case "expenses":
                mine = row["user_id"] in self.visible_people(viewer)
                return mine or row["project_id"] in self.managed_projects(viewer)
        return True

    # --- the API's own writes ---

    def create(self, resource: Resource, body: Mapping[str, Any], viewer: Viewer, **fixed: Any) -> Row:
        """Raises ApiError 422 with every failure in one string."""
        problems: list[str] = []
        values = self._accepted(resource, body, problems, creating=True) | fixed
        if not problems:
            values = self._with_defaults(resource, values, viewer)
            self._check_unique(resource, values, 0, problems)
        if problems:
            raise wire.refused(", ".join(problems))
        row = self.tables[resource.name][self.insert(resource.name, **values)]
        if resource.name == "projects":
            # The creator manages the new project; tasks that are common to all projects come along.
            self.assign_user(row["id"], viewer.user_id, is_project_manager=True)
            for user in self.tables["users"].values():
                if user["has_access_to_all_future_projects"] and user["is_active"]:
                    self.assign_user(row["id"], user["id"])
            for task in self.tables["tasks"].values():
                if task["is_default"] and task["is_active"]:
                    self.assign_task(row["id"], task["id"])
        return row

    def update(self, resource: Resource, row: Row, body: Mapping[str, Any]) -> Row:
        problems: list[str] = []
        values = self._accepted(resource, body, problems, creating=False)
        if not problems:
            self._check_unique(resource, {**row, **values}, row["id"], problems)
        if problems:
            raise wire.refused(", ".join(problems))
        if values.get("is_active") is False and row.get("is_active"):
            self._refuse_running(resource, row)
        self.edit(resource.name, row["id"], **values)
        return row

    def delete(self, resource: Resource, row: Row) -> None:
        entries = self.timesheet.entries.values()
        if resource.name in ("task_assignments", "user_assignments") and self._has_time(resource.name, row):
            raise wire.refused("This assignment is not removable. It still has time entries.")
        for table, column in resource.held_by:
            if table == "time_entries":
                held = any(getattr(entry, column) == row["id"] for entry in entries)
            else:
                held = any(other[column] == row["id"] for other in self.tables[table].values())
            if held:
                raise wire.refused(resource.held_message)
        self.remove(resource.name, row["id"])

    def _has_time(self, assignments: str, row: Row) -> bool:
        column = "task_id" if assignments == "task_assignments" else "user_id"
        return any(
            entry.project_id == row["project_id"] and getattr(entry, column) == row[column]
            for entry in self.timesheet.entries.values()
        )

    def _accepted(
        self, resource: Resource, body: Mapping[str, Any], problems: list[str], *, creating: bool
    ) -> Row:
        writable = {name: spec for name, spec in resource.fields.items() if spec.writable}
        values = wire.cast_fields(body, {name: spec.cast for name, spec in writable.items()}, problems)
        for name, spec in writable.items():
            if spec.required and values.get(name) is None and (creating or name in values):
                problems.append(f"{wire.human(name)} can't be blank")
            elif name not in values:
                continue
            elif values[name] is None and spec.cast is wire.boolean:
                del values[name]
            elif spec.ref and values[name] is not None and values[name] not in self.tables[spec.ref]:
                problems.append(f"{wire.human(name)} does not exist")
        return values

    def _with_defaults(self, resource: Resource, values: Row, viewer: Viewer) -> Row:
        match resource.name:
            case "clients":
                values.setdefault("statement_key", f"{self._next_ids['clients']:032x}")
                values.setdefault("currency", self.company["currency"])
            case "task_assignments":
                task = self.tables["tasks"][values["task_id"]]
                values.setdefault("billable", task["billable_by_default"])
                values.setdefault("hourly_rate", task["default_hourly_rate"])
            case "user_assignments":
                values.setdefault("is_project_manager", self.viewer(values["user_id"]).has_any(MANAGER))
            case "expenses":
                values["user_id"] = owner = values.get("user_id") or viewer.user_id
                if not self.may_write_time_of(viewer, owner):
                    raise wire.forbidden()
                on_project = self.user_assignment(values["project_id"], owner)
                values["client_id"] = self.tables["projects"][values["project_id"]]["client_id"]
                values["user_assignment_id"] = on_project["id"] if on_project else None
            case "invoices" | "estimates":
                values["creator_id"] = viewer.user_id
                values |= _totals(values.get("line_items") or [])
        return values

    def _check_unique(self, resource: Resource, values: Row, row_id: int, problems: list[str]) -> None:
        def identity(row: Row) -> tuple[str, ...]:
            return tuple(str(row.get(name)).casefold() for name in resource.unique)

        if resource.unique and any(
            identity(row) == identity(values)
            for row in self.tables[resource.name].values()
            if row["id"] != row_id
        ):
            problems.append(f"{wire.human(resource.unique[-1])} has already been taken")

    def _refuse_running(self, resource: Resource, row: Row) -> None:
        column = {"projects": "project_id", "tasks": "task_id", "users": "user_id"}.get(resource.name)
        running = (e for e in self.timesheet.entries.values() if e.timer_started_at is not None)
        if column and any(getattr(entry, column) == row["id"] for entry in running):
            raise wire.refused("This cannot be archived while a timer is running on it.")

    # --- hooks: the catalogue ---

    def add_client(self, name: str, **fields: Any) -> int:
        fields.setdefault("statement_key", f"{self._next_ids['clients']:032x}")
        return self.insert("clients", name=name, **fields)

    def add_project(self, client: int, name: str, code: str | None = None, **fields: Any) -> int:
        return self.insert("projects", client_id=client, name=name, code=code, **fields)

    def add_task(self, name: str, **fields: Any) -> int:
        return self.insert("tasks", name=name, **fields)

    def add_user(self, first: str, last: str, email: str, role: str = "member", **fields: Any) -> int:
        """Adds a person to this account only; `Sandbox.add_person` also lets them sign in."""
        roles = [role, *fields.pop("permissions", ())]
        return self.insert(
            "users", first_name=first, last_name=last, email=email, access_roles=roles, **fields
        )

    @locked
    def assign_user(self, project: int, user: int, **fields: Any) -> int:
        """Puts a person on a project; returns the assignment, an old one where they are on it already."""
        found = self.user_assignment(project, user)
        if found is None:
            fields.setdefault("is_project_manager", self.viewer(user).has_any(MANAGER))
            return self.insert("user_assignments", project_id=project, user_id=user, **fields)
        if fields:
            self.edit("user_assignments", found["id"], **fields)
        return int(found["id"])

    @locked
    def assign_task(self, project: int, task: int, **fields: Any) -> int:
        """Puts a task on a project; returns the assignment, an old one where it is on it already."""
        found = self.task_assignment(project, task)
        if found is None:
            fields.setdefault("billable", self.tables["tasks"][task]["billable_by_default"])
            fields.setdefault("hourly_rate", self.tables["tasks"][task]["default_hourly_rate"])
            return self.insert("task_assignments", project_id=project, task_id=task, **fields)
        if fields:
            self.edit("task_assignments", found["id"], **fields)
        return int(found["id"])

    def archive(self, table: str, row_id: int) -> None:
        self.edit(table, row_id, is_active=False)

    def unarchive(self, table: str, row_id: int) -> None:
        self.edit(table, row_id, is_active=True)

    @locked
    def track_start_and_end(self, wanted: bool = True) -> None:
        """Switches between start/end accounts and duration accounts."""
        self.company["wants_timestamp_timers"] = wanted
        self.version += 1

    # --- hooks: time ---

    @locked
    def add_entry(
        self,
        *,
        project: int,
        task: int,
        user: int | None = None,
        spent_on: date | str | None = None,
        hours: object = "1.00",
        notes: str | None = None,
        running: bool = False,
        external_reference: Mapping[str, object] | str | None = None,
        started: str | None = None,
        ended: str | None = None,
        created_at: object = None,
        updated_at: object = None,
        entry_id: int | None = None,
    ) -> int:
        """Logs time, making the assignments that it needs; returns the entry's id.

        Unless given, `user` is the first person and `spent_on` today (UTC). `hours` are decimal hours, kept
        to hundredths; a string as `external_reference` is its id.
        """
        sheet, now = self.timesheet, self.now()
        user = user or next(iter(self.tables["users"]))
        if self.user_assignment(project, user) is None:
            self.assign_user(project, user)
        if self.task_assignment(project, task) is None:
            self.assign_task(project, task)
        created = now if created_at is None else wire.instant(created_at)
        entry = TimeEntry(
            id=entry_id or sheet.next_id,
            spent_on=wire.day(spent_on) if spent_on else datetime.fromtimestamp(now, UTC).date(),
            user_id=user,
            project_id=project,
            task_id=task,
            hundredths=wire.hundredths(hours),
            notes=notes,
            created_at=created,
            updated_at=created if updated_at is None else wire.instant(updated_at),
            timer_started_at=now if running else None,
        )
        reference = {"id": external_reference} if isinstance(external_reference, str) else external_reference
        entry.external_reference = _reference(reference)
        if self.company["wants_timestamp_timers"]:
            entry.started = wire.minutes(started or "9:00")
            if not running:
                entry.ended = wire.minutes(ended) if ended else entry.started + round(entry.hundredths * 0.6)
        sheet.next_id = max(sheet.next_id, entry.id) + 1
        sheet.put(entry)
        return entry.id

    @locked
    def edit_entry(self, entry_id: int, **changes: Any) -> None:
        """Edits as a person in Harvest would: `hours`, `notes`, `spent_on`, `project`, `task`, `user`,
        `external_reference`, `updated_at`. Locks and permissions do not apply."""
        entry = self.timesheet.entries[entry_id]
        values: Row = {}
        for name, value in changes.items():
            match name:
                case "hours":
                    values["hundredths"] = wire.hundredths(value)
                case "spent_on":
                    values["spent_on"] = wire.day(value)
                case "project" | "task" | "user":
                    values[f"{name}_id"] = value
                case "external_reference":
                    values[name] = _reference({"id": value} if isinstance(value, str) else value)
                case "updated_at":
                    values[name] = wire.instant(value)
                case "notes":
                    values[name] = value
                case _:
                    raise TypeError(f"an entry has no {name}")
        self.timesheet.change(entry, **values)
        if self.user_assignment(entry.project_id, entry.user_id) is None:
            self.assign_user(entry.project_id, entry.user_id)
        if self.task_assignment(entry.project_id, entry.task_id) is None:
            self.assign_task(entry.project_id, entry.task_id)

    @locked
    def delete_entry(self, *entry_ids: int) -> None:
        for entry_id in entry_ids:
            self.timesheet.remove(self.timesheet.entries[entry_id])

    @locked
    def start_timer(self, entry_id: int) -> int:
        """As Harvest's own button; returns the id of the entry that now runs."""
        entry = self.timesheet.entries[entry_id]
        return self.timesheet.restart(entry, self.viewer(entry.user_id)).id

    @locked
    def stop_timer(self, entry_id: int) -> None:
        self.timesheet.halt(self.timesheet.entries[entry_id])

    @locked
    def override(self, entry_id: int, **json_values: Any) -> None:
        """Makes the API show an entry with these values, however malformed; none takes them back."""
        self.timesheet.change(self.timesheet.entries[entry_id], overrides=json_values or None)

    @locked
    def lock_entries(self, *entry_ids: int) -> None:
        self._mark(entry_ids, is_explicitly_locked=True)

    @locked
    def unlock_entries(self, *entry_ids: int) -> None:
        """Takes back every kind of lock on these entries: by hand, approval, invoice."""
        self._mark(
            entry_ids, is_explicitly_locked=False, approval="unsubmitted", is_billed=False, invoice_id=None
        )

    @locked
    def submit(self, *entry_ids: int) -> None:
        self._mark(entry_ids, approval="submitted")

    @locked
    def approve(self, *entry_ids: int) -> None:
        self._mark(entry_ids, approval="approved")

    @locked
    def bill(self, *entry_ids: int, invoice: int | None = None) -> None:
        """Marks time as invoiced; by hand (no invoice) unless one is given."""
        self._mark(entry_ids, is_billed=True, invoice_id=invoice)

    @locked
    def approve_period(self, user: int, first: date | str, last: date | str) -> None:
        """Approves a person's timesheet: their time in it is closed, and no new time is taken."""
        begin, end = wire.day(first), wire.day(last)
        self.timesheet.approved_periods.append((user, begin, end))
        entries = self.timesheet.entries.values()
        self.approve(*(e.id for e in entries if e.user_id == user and begin <= e.spent_on <= end))

    @locked
    def lock_before(self, first_open_day: date | str | None) -> None:
        """The account's automatic lock: time before that day is locked, and no new time is taken there."""
        self.timesheet.locked_before = wire.day(first_open_day) if first_open_day else None
        self.version += 1

    def _mark(self, entry_ids: Sequence[int], **values: Any) -> None:
        for entry_id in entry_ids:
            self.timesheet.change(self.timesheet.entries[entry_id], **values)

    @locked
    def entry(self, entry_id: int) -> Json:
        """The entry's JSON as an administrator sees it. Raises KeyError for one that is not there."""
        return self.timesheet.show(self.timesheet.entries[entry_id])

    @locked
    def entries(self) -> list[Json]:
        """All entries' JSON, oldest id first."""
        return [self.timesheet.show(entry) for _, entry in sorted(self.timesheet.entries.items())]

    @locked
    def ids(self, table: str) -> list[int]:
        return list(self.timesheet.entries if table == "time_entries" else self.tables[table])

    @locked
    def find(self, table: str, name: str) -> int:
        """The id of the one row with that name (people: "First Last" or e-mail). Raises KeyError."""
        for row in self.tables[table].values():
            if name in (self.label(table, row), row.get("email")):
                return int(row["id"])
        raise KeyError(f"no {name!r} in {table}")


def _plain(spec: Field, value: Any) -> Any:
    if value is None:
        return None
    if spec.cast is wire.instant:
        return stamp(wire.instant(value))
    return value.isoformat() if isinstance(value, date) else value


def _totals(line_items: Sequence[Row]) -> Row:
    amount = sum(
        (
            wire.decimal(item.get("quantity") or 1) * wire.decimal(item.get("unit_price") or 0)
            for item in line_items
        ),
        start=wire.decimal(0),
    )
    return {"amount": amount}


__all__ = ["ADMIN", "Account", "Viewer", "locked"]
