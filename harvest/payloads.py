"""What Harvest sends, as frozen values. Only the standard library, so that pure modules may use them.

Decoding is tolerant: unknown keys are ignored, optional ones may be missing, numbers and booleans may come as
strings. What an entry cannot do without (id, date, hours, user, client, project, task) must be there and make
sense; an entry without becomes an `UnreadableEntry`, and the others go on.

Text: PostgreSQL stores neither NUL nor half of a surrogate pair, both of which JSON can carry, so each such
character becomes U+FFFD here, once, for every string.

Source: Harvest API v2, "Time Entries", "Users", "Clients", "Projects", "Tasks", "Project Assignments",
"Company".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

LARGEST_ID = 2**63 - 1  # time-entry ids are bigint and have passed 32 bits
MOST = Decimal(10**9)
_SCALAR = (str, int, float, Decimal)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Unreadable(ValueError):
    """A payload that cannot be decoded; the message says which field, and what was there."""


@dataclass(frozen=True, slots=True)
class CompanyPayload:
    """The account's settings that matter here. `wants_timestamp_timers`: True = start and end times."""

    name: str
    base_uri: str
    full_domain: str
    is_active: bool
    wants_timestamp_timers: bool
    clock: str  # "12h" or "24h": how started_time and ended_time are written
    week_start_day: str
    currency: str


@dataclass(frozen=True, slots=True)
class UserPayload:
    id: int
    first_name: str
    last_name: str
    email: str
    is_active: bool
    timezone: str  # a Rails display name ("Mountain Time (US & Canada)"), not an IANA one
    access_roles: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def is_administrator(self) -> bool:
        return "administrator" in self.access_roles


@dataclass(frozen=True, slots=True)
class ClientPayload:
    id: int
    name: str
    is_active: bool
    currency: str


@dataclass(frozen=True, slots=True)
class ProjectPayload:
    id: int
    name: str
    code: str
    client_id: int
    client_name: str
    is_active: bool
    is_billable: bool


@dataclass(frozen=True, slots=True)
class TaskPayload:
    id: int
    name: str
    is_active: bool
    is_default: bool
    billable_by_default: bool
    default_hourly_rate: Decimal | None  # money per hour; null and 0 both mean "none" in Harvest


@dataclass(frozen=True, slots=True)
class TaskAssignmentPayload:
    id: int
    project_id: int
    project_name: str
    project_code: str
    task_id: int
    task_name: str
    is_active: bool
    billable: bool
    hourly_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class UserAssignmentPayload:
    id: int
    project_id: int
    user_id: int
    is_active: bool
    is_project_manager: bool


@dataclass(frozen=True, slots=True)
class ProjectAssignmentPayload:
    """A project of the token's own person: the only catalogue a member can read. Tasks may be inactive."""

    id: int
    is_active: bool
    project_id: int
    project_name: str
    project_code: str
    client_id: int
    client_name: str
    task_assignments: tuple[TaskAssignmentPayload, ...]


@dataclass(frozen=True, slots=True)
class AccountPayload:
    """One account that a token reaches. `product`: "harvest" or "forecast"."""

    id: int
    name: str
    product: str


@dataclass(frozen=True, slots=True)
class ExternalReference:
    """A foreign id on an entry, which nothing makes unique. Harvest shows the permalink's host as service."""

    id: str
    group_id: str = ""
    account_id: str = ""
    permalink: str = ""


class TimeEntryPayload(msgspec.Struct, frozen=True, gc=False):
    """One time entry. Names are as of the reading.

    hours: unrounded Decimal hours, two decimals (1.25 is 75 minutes); of a running timer, as of the reading.
    spent_date: a plain date, the person's calendar day. started_time, ended_time: wall clock in the account's
    own style ("2:59pm" or "14:59"), "" in duration accounts. notes: "" where Harvest has null.
    """

    id: int
    spent_date: date
    hours: Decimal
    notes: str
    user_id: int
    user_name: str
    client_id: int
    client_name: str
    project_id: int
    project_name: str
    project_code: str
    task_id: int
    task_name: str
    billable: bool
    is_running: bool
    is_locked: bool
    locked_reason: str
    is_closed: bool
    approval_status: str
    is_billed: bool
    started_time: str
    ended_time: str
    timer_started_at: datetime | None
    external_reference_id: str
    external_reference_group_id: str
    external_reference_permalink: str
    created_at: datetime | None
    updated_at: datetime | None  # whole seconds: two versions can share one, so compare content_hash


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An entry that could not be decoded: what can be told of it, and why. No id: `remote_id` is ""."""

    remote_id: str
    reason: str
    spent_date: date | None
    hours: str
    notes: str


def content_hash(entry: TimeEntryPayload) -> str:
    """16 hex digits over what a time log takes from an entry: who, where, when, how long, which words,
    billable.

    Equal content gives an equal hash on every machine and version of Python, however Harvest writes the hours
    (1.5 or 1.50). Locks, names, timers and stamps are no content.
    """
    text = "\x1f".join(
        (
            str(entry.user_id),
            str(entry.client_id),
            str(entry.project_id),
            str(entry.task_id),
            entry.spent_date.isoformat(),
            str(entry.hours.normalize()),
            "1" if entry.billable else "0",
            entry.notes,
        )
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def parse_json(body: bytes) -> Any:
    """JSON with decimals as Decimal. Raises ValueError for anything that is not JSON.

    Numbers beyond what Python reads become NaN: they are one field's trouble, not the page's.
    """
    try:
        try:
            return json.loads(body, parse_float=Decimal)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise
        except (ArithmeticError, ValueError):
            return json.loads(body, parse_float=_decimal_or_nan, parse_int=_int_or_nan)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def read_entries(rows: Iterable[Any]) -> tuple[list[TimeEntryPayload], list[UnreadableEntry]]:
    """Decode the rows of a page: the entries, and those that cannot be read. Rows decoded before stay as they are."""
    entries: list[TimeEntryPayload] = []
    bad: list[UnreadableEntry] = []
    for row in rows:
        try:
            entries.append(row if type(row) is TimeEntryPayload else read_time_entry(row))
        except Unreadable as error:
            bad.append(_unreadable(row, str(error)))
    return entries, bad


def read_id(row: Any) -> str:
    """The id of an entry alone, as text. Raises Unreadable."""
    return str(_id(_object(row, "entry").get("id"), "id"))


def read_time_entry(row: Any) -> TimeEntryPayload:
    """Decode one entry. Raises Unreadable."""
    get = _object(row, "entry").get
    user = _object(get("user"), "user")
    client = _object(get("client"), "client")
    project = _object(get("project"), "project")
    task = _object(get("task"), "task")
    reference = get("external_reference")
    reference = _object(reference, "external_reference") if reference else {}
    return TimeEntryPayload(
        id=_id(get("id"), "id"),
        spent_date=_date(get("spent_date"), "spent_date"),
        hours=_number(get("hours"), "hours"),
        notes=_text(get("notes"), "notes"),
        user_id=_id(user.get("id"), "user.id"),
        user_name=_text(user.get("name"), "user.name"),
        client_id=_id(client.get("id"), "client.id"),
        client_name=_text(client.get("name"), "client.name"),
        project_id=_id(project.get("id"), "project.id"),
        project_name=_text(project.get("name"), "project.name"),
        project_code=_text(project.get("code"), "project.code"),
        task_id=_id(task.get("id"), "task.id"),
        task_name=_text(task.get("name"), "task.name"),
        billable=_flag(get("billable"), "billable"),
        is_running=_flag(get("is_running"), "is_running"),
        is_locked=_flag(get("is_locked"), "is_locked"),
        locked_reason=_text(get("locked_reason"), "locked_reason"),
        is_closed=_flag(get("is_closed"), "is_closed"),
        approval_status=_text(get("approval_status"), "approval_status"),
        is_billed=_flag(get("is_billed"), "is_billed"),
        started_time=_text(get("started_time"), "started_time"),
        ended_time=_text(get("ended_time"), "ended_time"),
        timer_started_at=_instant(get("timer_started_at"), "timer_started_at"),
        external_reference_id=_text(reference.get("id"), "external_reference.id"),
        external_reference_group_id=_text(reference.get("group_id"), "external_reference.group_id"),
        external_reference_permalink=_text(reference.get("permalink"), "external_reference.permalink"),
        created_at=_instant(get("created_at"), "created_at"),
        updated_at=_instant(get("updated_at"), "updated_at"),
    )


def read_company(row: Any) -> CompanyPayload:
    get = _object(row, "company").get
    return CompanyPayload(
        name=_text(get("name"), "name"),
        base_uri=_text(get("base_uri"), "base_uri"),
        full_domain=_text(get("full_domain"), "full_domain"),
        is_active=_flag(get("is_active"), "is_active", True),
        wants_timestamp_timers=_flag(get("wants_timestamp_timers"), "wants_timestamp_timers"),
        clock=_text(get("clock"), "clock"),
        week_start_day=_text(get("week_start_day"), "week_start_day"),
        currency=_text(get("currency"), "currency"),
    )


def read_user(row: Any) -> UserPayload:
    get = _object(row, "user").get
    roles = get("access_roles")
    return UserPayload(
        id=_id(get("id"), "id"),
        first_name=_text(get("first_name"), "first_name"),
        last_name=_text(get("last_name"), "last_name"),
        email=_text(get("email"), "email"),
        is_active=_flag(get("is_active"), "is_active", True),
        timezone=_text(get("timezone"), "timezone"),
        access_roles=tuple(str(role) for role in roles) if isinstance(roles, list) else (),
    )


def read_client(row: Any) -> ClientPayload:
    get = _object(row, "client").get
    return ClientPayload(
        id=_id(get("id"), "id"),
        name=_text(get("name"), "name"),
        is_active=_flag(get("is_active"), "is_active", True),
        currency=_text(get("currency"), "currency"),
    )


def read_project(row: Any) -> ProjectPayload:
    get = _object(row, "project").get
    client = _object(get("client"), "client")
    return ProjectPayload(
        id=_id(get("id"), "id"),
        name=_text(get("name"), "name"),
        code=_text(get("code"), "code"),
        client_id=_id(client.get("id"), "client.id"),
        client_name=_text(client.get("name"), "client.name"),
        is_active=_flag(get("is_active"), "is_active", True),
        is_billable=_flag(get("is_billable"), "is_billable", True),
    )


def read_task(row: Any) -> TaskPayload:
    get = _object(row, "task").get
    return TaskPayload(
        id=_id(get("id"), "id"),
        name=_text(get("name"), "name"),
        is_active=_flag(get("is_active"), "is_active", True),
        is_default=_flag(get("is_default"), "is_default"),
        billable_by_default=_flag(get("billable_by_default"), "billable_by_default", True),
        default_hourly_rate=_optional_number(get("default_hourly_rate"), "default_hourly_rate"),
    )


def read_task_assignment(row: Any) -> TaskAssignmentPayload:
    return _task_assignment(row, _object(_object(row, "task assignment").get("project"), "project"))


def read_user_assignment(row: Any) -> UserAssignmentPayload:
    get = _object(row, "user assignment").get
    return UserAssignmentPayload(
        id=_id(get("id"), "id"),
        project_id=_id(_object(get("project"), "project").get("id"), "project.id"),
        user_id=_id(_object(get("user"), "user").get("id"), "user.id"),
        is_active=_flag(get("is_active"), "is_active", True),
        is_project_manager=_flag(get("is_project_manager"), "is_project_manager"),
    )


def read_project_assignment(row: Any) -> ProjectAssignmentPayload:
    get = _object(row, "project assignment").get
    project = _object(get("project"), "project")
    client = _object(get("client"), "client")
    assignments = get("task_assignments")
    if not isinstance(assignments, list | None):
        raise Unreadable(f"task_assignments is {_shown(assignments)}")
    return ProjectAssignmentPayload(
        id=_id(get("id"), "id"),
        is_active=_flag(get("is_active"), "is_active", True),
        project_id=_id(project.get("id"), "project.id"),
        project_name=_text(project.get("name"), "project.name"),
        project_code=_text(project.get("code"), "project.code"),
        client_id=_id(client.get("id"), "client.id"),
        client_name=_text(client.get("name"), "client.name"),
        task_assignments=tuple(_task_assignment(each, project) for each in assignments or ()),
    )


def read_account(row: Any) -> AccountPayload:
    get = _object(row, "account").get
    return AccountPayload(
        id=_id(get("id"), "id"), name=_text(get("name"), "name"), product=_text(get("product"), "product")
    )


def _task_assignment(row: Any, project: Mapping[str, Any]) -> TaskAssignmentPayload:
    get = _object(row, "task assignment").get
    task = _object(get("task"), "task")
    return TaskAssignmentPayload(
        id=_id(get("id"), "id"),
        project_id=_id(project.get("id"), "project.id"),
        project_name=_text(project.get("name"), "project.name"),
        project_code=_text(project.get("code"), "project.code"),
        task_id=_id(task.get("id"), "task.id"),
        task_name=_text(task.get("name"), "task.name"),
        is_active=_flag(get("is_active"), "is_active", True),
        billable=_flag(get("billable"), "billable"),
        hourly_rate=_optional_number(get("hourly_rate"), "hourly_rate"),
    )


def _unreadable(row: Any, reason: str) -> UnreadableEntry:
    get = row.get if isinstance(row, dict) else {}.get
    spent_date: date | None = None
    with suppress(Unreadable):
        spent_date = _date(get("spent_date"), "spent_date")
    remote_id, hours, notes = (
        _clean(str(value)) if isinstance(value, _SCALAR) else ""
        for value in map(get, ("id", "hours", "notes"))
    )
    return UnreadableEntry(remote_id[:40], reason, spent_date, hours[:40], notes)


# The readers of single values. Each names its field in what it raises; the plain case comes first, as they
# run some thirty times an entry.


def _object(value: Any, field: str) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise Unreadable(f"{field} is {_shown(value)}")


def _id(value: Any, field: str) -> int:
    number = value
    if type(value) is str and len(value) < 20 and value.isascii() and value.isdigit():
        number = int(value)
    if type(number) is int and 0 < number <= LARGEST_ID:
        return number
    raise Unreadable(f"{field} is {_shown(value)}")


def _number(value: Any, field: str) -> Decimal:
    number = value
    if type(value) is int:
        number = Decimal(value)
    elif type(value) is str:
        number = _decimal_or_nan(value.strip())
    if type(number) is Decimal and number.is_finite() and -MOST < number < MOST:
        return number
    raise Unreadable(f"{field} is {_shown(value)}")


def _optional_number(value: Any, field: str) -> Decimal | None:
    return None if value is None or value == "" else _number(value, field)


def _text(value: Any, field: str) -> str:
    if type(value) is str:
        return value if value.isascii() and "\0" not in value else _clean(value)
    if value is None:
        return ""
    if type(value) in (int, Decimal):
        return str(value)
    raise Unreadable(f"{field} is {_shown(value)}")


def _flag(value: Any, field: str, missing: bool = False) -> bool:
    if value is True or value is False:
        return value
    if value is None:
        return missing
    if type(value) in (str, int):
        match str(value).lower():
            case "true" | "1":
                return True
            case "false" | "0" | "":
                return False
    raise Unreadable(f"{field} is {_shown(value)}")


def _date(value: Any, field: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unreadable(f"{field} is {_shown(value)}") from None


def _instant(value: Any, field: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        instant = datetime.fromisoformat(value)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{field} is {_shown(value)}") from None


def _clean(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if not isinstance(value, _SCALAR):
        return f"of an unexpected type ({type(value).__name__})"
    text = _clean(str(value))
    return f"not readable: {text if len(text) <= 60 else text[:59] + '…'}"


def _decimal_or_nan(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("NaN")


def _int_or_nan(text: str) -> int | Decimal:
    return int(text) if len(text) < 100 else Decimal("NaN")
