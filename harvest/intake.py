"""What happens to a Harvest entry: one entry and what this workspace holds in, one decision out. Pure.

The order is the product's promise, and each step is one branch of `decide`:

    0. no link, and this product's own or a twin      -> Link
    1. linked to a log or a proposal, deleted or not  -> Changed, where it has been since it was taken over; else
                                                         Skip already_imported or dismissed, in a sync Unchanged
    2. the timer is running                           -> Skip timer_running
    3. the project is mapped: its task must be too    -> Import, or Skip task_not_mapped
    4. the client is mapped                           -> Import on the work item its notes name, else Propose
    5. neither                                        -> Skip project_not_mapped

What would be imported or proposed needs an owner (else no_fallback_owner) and a sane duration
(else save_failed).

A *target* is the id of something of ours, of any hashable type; remote ids are Harvest's numbers.
"""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Self, TypeAlias

from harvest.payloads import TimeEntryPayload, content_hash

Target: TypeAlias = Hashable

MOST_HOURS = Decimal(10_000)  # over a year without pause: a slip of the pen, not a day's work
_NO_RATE = Decimal("0.00")


class Reason(StrEnum):
    """Why an entry did not come in; the names are those of the REST API."""

    PROJECT_NOT_MAPPED = "project_not_mapped"
    TASK_NOT_MAPPED = "task_not_mapped"
    ALREADY_IMPORTED = "already_imported"
    TIMER_RUNNING = "timer_running"
    NO_FALLBACK_OWNER = "no_fallback_owner"
    DISMISSED = "dismissed"
    SAVE_FAILED = "save_failed"


class LinkState(StrEnum):
    """What a remote entry is here already."""

    LINKED = "linked"  # a time log, deleted here or not
    PROPOSED = "proposed"  # a proposal that waits
    DISMISSED = "dismissed"  # a proposal that a person keeps out
    GONE = "gone"  # it was missing in Harvest, and what it was here went with it: now it is there again
    PARTED = "parted"  # its log is another entry by now, or was deleted on both sides


@dataclass(frozen=True, slots=True)
class KnownLink:
    """content_hash: of the entry as it was last taken over (`payloads.content_hash`)."""

    state: LinkState
    content_hash: str = ""


@dataclass(frozen=True, slots=True)
class ProjectTarget:
    """A project that a Harvest project is mapped to, and the client it belongs to here."""

    id: Target
    client: Target


@dataclass(frozen=True, slots=True)
class ActivityTarget:
    """An activity type that a Harvest task is mapped to. hourly_rate: money in the workspace's currency."""

    id: Target
    hourly_rate: Decimal


@dataclass(frozen=True, slots=True)
class WorkItem:
    id: Target
    client: Target
    project: Target | None
    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Link:
    """The entry is the log `time_log`: join them, and import nothing."""

    remote_id: int
    time_log: Target


@dataclass(frozen=True, slots=True)
class Import:
    """A time log to make. seconds: whole; hourly_rate: 0.00 without an activity type."""

    remote_id: int
    client: Target
    project: Target | None
    work_item: Target | None
    activity_type: Target | None
    owner: Target
    spent_date: date
    seconds: int
    notes: str
    billable: bool
    hourly_rate: Decimal


@dataclass(frozen=True, slots=True)
class Propose:
    """A time proposal to make for Inbound. Fields as in Import."""

    remote_id: int
    client: Target
    activity_type: Target | None
    owner: Target
    spent_date: date
    seconds: int
    notes: str
    billable: bool
    hourly_rate: Decimal


@dataclass(frozen=True, slots=True)
class Skip:
    """The entry stays out. detail: what a person needs to fix it; "" where the reason says it all."""

    remote_id: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The entry is something here already, and has not changed since it was last taken over."""

    remote_id: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The entry is something here already and has changed since, or is back: `sync.plan` says what comes of it."""

    remote_id: int


Decision: TypeAlias = Link | Import | Propose | Skip | Unchanged | Changed

# Scripts written without spaces (Thai to Khmer, kana, ideographs), and Hangul, whose particles cling to the
# word before them: "ACME-12の件" names ACME-12, while "XACME-12" does not.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u3040-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[^\W{_UNSPACED}]+|[{_UNSPACED}]")
_LETTER = re.compile(rf"[^\W{_UNSPACED}]")
_FIRST_LINE = re.compile(r"\s*([^\r\n\v\f\x85\u2028\u2029]*)")
_LONGEST_TITLE = (
    1000  # characters, over three times what a title can have: no more of a line is worth comparing
)


class WorkItems:
    """The work items of a workspace, arranged for finding those that notes name. Build it once a run."""

    def __init__(self, items: Iterable[WorkItem] = ()) -> None:
        self._keys: dict[Target, dict[str, WorkItem]] = {}
        # client -> first word of a key -> (where it stands in the key, the key's length), longest first: a
        # text costs a few look-ups a word, however many keys there are.
        self._shapes: dict[Target, dict[str, list[tuple[int, int]]]] = {}
        self._titles: dict[Target, dict[str, WorkItem | None]] = {}
        for item in items:
            self._add(item)
        for shapes in self._shapes.values():
            for places in shapes.values():
                places.sort(key=lambda place: -place[1])

    def _add(self, item: WorkItem) -> None:
        key = item.key.strip().upper()
        if word := _WORD.search(key):
            self._keys.setdefault(item.client, {})[key] = item
            places = self._shapes.setdefault(item.client, {}).setdefault(word.group(), [])
            if (place := (word.start(), len(key))) not in places:
                places.append(place)
        if title := normal_title(item.title):
            titles = self._titles.setdefault(item.client, {})
            titles[title] = None if title in titles else item  # two equal titles name neither

    def named(self, notes: str, client: Target, project: Target | None = None) -> WorkItem | None:
        """The work item of a client that the notes name, or None.

        A key as a whole word, in any case, the first in the notes; else a title equal to the notes' first
        line, case and space aside. project: only items of it, or of no project, count.
        """
        for item in self._namable(notes, client):
            if project is None or item.project is None or item.project == project:
                return item
        return None

    def _namable(self, notes: str, client: Target) -> Iterator[WorkItem]:
        yield from self._by_key(notes, client)
        if titles := self._titles.get(client):
            line = _FIRST_LINE.match(notes)
            item = titles.get(normal_title(line[1][:_LONGEST_TITLE])) if line else None
            if item:
                yield item

    def _by_key(self, notes: str, client: Target) -> Iterator[WorkItem]:
        shapes = self._shapes.get(client)
        if not shapes:
            return
        keys = self._keys[client]
        text = notes.upper()
        for word in _WORD.finditer(text):
            for offset, length in shapes.get(word.group(), ()):
                start = word.start() - offset
                item = keys.get(text[start : start + length]) if start >= 0 else None
                if item is not None and _stands_alone(text, start, start + length):
                    yield item
                    break


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is a whole word.

    ACME-12 is none in ACME-123, XACME-12, PRE-ACME-12 or ACME-12.5, and is one in "acme-12-fix-header", as
    branches are named.
    """
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before.endswith("-"):
        joined = bool(_LETTER.match(before[:-1]))
    else:
        joined = bool(_LETTER.match(before[-1:]) and _LETTER.match(text[start]))
    if joined:
        return False
    if after[:1] in ("-", "."):
        return not after[1:].isdigit()
    return not (_LETTER.match(after) and _LETTER.match(text[end - 1]))


def normal_title(title: str) -> str:
    """A title for comparing: compatibility forms, case and runs of white space aside."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """What a workspace holds that decides about an entry. Mappings go from Harvest's ids.

    people: Harvest user -> owner, for those who have one of their own (`resolve_people`).
    fallback_owner: the person who connected Harvest, None when no longer a member.
    known: entries that are something here already; enough are those of the page at hand (`with_known`).
    own_or_twin: the log here that an unlinked entry is (its own push whose answer was lost, or the same time
    logged in both systems), each log once; without it no entry is linked.
    syncing: a sync asks, which expects to see again what is here, and tells it from what an import skips.
    """

    projects: Mapping[int, ProjectTarget] = field(default_factory=dict)
    clients: Mapping[int, Target] = field(default_factory=dict)
    tasks: Mapping[int, ActivityTarget] = field(default_factory=dict)
    people: Mapping[int, Target] = field(default_factory=dict)
    fallback_owner: Target | None = None
    work_items: WorkItems = field(default_factory=WorkItems)
    known: Mapping[int, KnownLink] = field(default_factory=dict)
    own_or_twin: Callable[[TimeEntryPayload], Target | None] | None = None
    syncing: bool = False

    def with_known(self, known: Mapping[int, KnownLink]) -> Self:
        """The same context with the links of another page."""
        return replace(self, known=known)


def resolve_people(
    mapped: Mapping[int, Target], emails: Mapping[int, str], members: Mapping[str, Target]
) -> dict[int, Target]:
    """Harvest user -> owner: the member set by hand, else the one with that e-mail address, in any case.

    mapped: Harvest user -> member, set by hand. emails: Harvest user -> address. members: address -> member,
    of the workspace as it stands; somebody who is no longer a member owns nothing new.
    """
    by_email = {_address(email): member for email, member in members.items() if email.strip()}
    people = {
        user: by_email[_address(email)] for user, email in emails.items() if _address(email) in by_email
    }
    present = set(by_email.values())
    people.update((user, member) for user, member in mapped.items() if member in present)
    return people


def _address(email: str) -> str:
    return email.strip().casefold()


def seconds_of(hours: Decimal) -> int:
    """Whole seconds: exact for Harvest's hundredths (0.01 h is 36 s); finer values round half up."""
    return int((hours * 3600).to_integral_value(ROUND_HALF_UP))


def decide(entry: TimeEntryPayload, context: IntakeContext) -> Decision:
    """What happens to one entry. Total: every entry gets exactly one decision, and nothing raises."""
    remote_id = entry.id
    if link := context.known.get(remote_id):
        if link.state is LinkState.GONE or (link.state is not LinkState.PARTED and not _is_as(link, entry)):
            return Changed(remote_id)
        if link.state is LinkState.DISMISSED:
            return Skip(remote_id, Reason.DISMISSED)
        return Unchanged(remote_id) if context.syncing else Skip(remote_id, Reason.ALREADY_IMPORTED)
    if context.own_or_twin is not None and (time_log := context.own_or_twin(entry)) is not None:
        return Link(remote_id, time_log)
    if entry.is_running:
        return Skip(remote_id, Reason.TIMER_RUNNING)

    mapped = context.projects.get(entry.project_id)
    activity = context.tasks.get(entry.task_id)
    if mapped is not None:
        if activity is None:
            return Skip(remote_id, Reason.TASK_NOT_MAPPED, entry.task_name)
        # The project's own client counts, also where the Harvest client is mapped to another.
        client: Target | None = mapped.client
        item = context.work_items.named(entry.notes, client, mapped.id)
        project: Target | None = mapped.id
    else:
        client = context.clients.get(entry.client_id)
        if client is None:
            return Skip(remote_id, Reason.PROJECT_NOT_MAPPED, f"{entry.project_name} ({entry.client_name})")
        item = context.work_items.named(entry.notes, client)
        project = item.project if item else None

    owner = context.people.get(entry.user_id, context.fallback_owner)
    if owner is None:
        return Skip(remote_id, Reason.NO_FALLBACK_OWNER, entry.user_name)
    hours = entry.hours
    if not (hours.is_finite() and 0 <= hours <= MOST_HOURS):
        return Skip(remote_id, Reason.SAVE_FAILED, f"{hours} hours is not a duration that can be logged.")

    activity_type = activity.id if activity else None
    hourly_rate = activity.hourly_rate if activity else _NO_RATE
    if mapped is None and item is None:
        return Propose(
            remote_id=remote_id,
            client=client,
            activity_type=activity_type,
            owner=owner,
            spent_date=entry.spent_date,
            seconds=seconds_of(hours),
            notes=entry.notes,
            billable=entry.billable,
            hourly_rate=hourly_rate,
        )
    return Import(
        remote_id=remote_id,
        client=client,
        project=project,
        work_item=item.id if item else None,
        activity_type=activity_type,
        owner=owner,
        spent_date=entry.spent_date,
        seconds=seconds_of(hours),
        notes=entry.notes,
        billable=entry.billable,
        hourly_rate=hourly_rate,
    )


def _is_as(link: KnownLink, entry: TimeEntryPayload) -> bool:
    """Whether an entry is as it was last taken over; hours that are no number are as nothing."""
    return entry.hours.is_finite() and link.content_hash == content_hash(entry)
