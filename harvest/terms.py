"""The terms of both sides, and how a connection's mappings put one side's into the other's.

`load_terms` reads the mappings as they stand; everything else here is pure, so that what a mapping means for a log or
an entry is tested by tables. What has no counterpart is a `NoCounterpart` whose sentence names the remedy.

Translating may lose: seconds become hundredths of an hour, an activity type that is not mapped becomes the default
task, a person nobody knows becomes whoever stands in. `sync.plan` compares both ways, so none of that is a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeAlias
from uuid import UUID

from django.db.models import Q

from accounts.selectors import members_of
from harvest.intake import MOST_HOURS, resolve_people, seconds_of
from harvest.models import ClientMapping, HarvestItem, ItemKind, PersonMapping, ProjectMapping, TaskMapping
from harvest.payloads import TimeEntryPayload
from integrations.logs_side import SETTLED, Logged, values_of
from integrations.models import Connection
from integrations.sync.types import Field, NoCounterpart, Value, Version

# In place of a Harvest id, for the side to find or make: the project General of the client, the project's first task.
GENERAL = "*general"
FIRST_TASK = "*first"
GENERAL_NAME = "General"

CENT = Decimal("0.01")
Translation: TypeAlias = Value | NoCounterpart

TOO_SHORT = NoCounterpart(
    "It rounds to 0.00 hours in Harvest, where 0.01 (36 seconds) is the least. Log more time, or delete it."
)
CLIENT_NOT_MAPPED = NoCounterpart(
    "Neither its project nor its client is mapped to Harvest. Map one of them on the Harvest page."
)


@dataclass(frozen=True, slots=True)
class Place:
    """A Harvest project. client: the id of its Harvest client, "" where the catalogue does not tell."""

    client: str
    name: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A connection's mappings both ways. Every id is text; *here* are ours, *there* Harvest's.

    projects_in: project there -> (client, project) here. people_in: user there -> member, by hand or by e-mail.
    push_projects: client there -> the project there that pushed time lands in. places, generals (client there ->
    its active project General), archived_tasks (id -> name): as the catalogue was last read.
    rates: activity type here -> hourly rate, of those that are mapped.
    """

    projects_in: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    clients_in: Mapping[str, str] = field(default_factory=dict)
    tasks_in: Mapping[str, str] = field(default_factory=dict)
    people_in: Mapping[str, str] = field(default_factory=dict)
    projects_out: Mapping[str, str] = field(default_factory=dict)
    clients_out: Mapping[str, str] = field(default_factory=dict)
    push_projects: Mapping[str, str] = field(default_factory=dict)
    tasks_out: Mapping[str, str] = field(default_factory=dict)
    people_out: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    generals: Mapping[str, str] = field(default_factory=dict)
    archived_tasks: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    default_task: str = ""
    own_user: str = ""
    fallback_owner: str | None = None

    def of_log(self, log: Logged) -> dict[Field, Value]:
        """A log's values in our terms."""
        return values_of(log)

    def of_entry(self, entry: TimeEntryPayload) -> dict[Field, Value]:
        """An entry's values in Harvest's terms."""
        return entry_values(entry)

    # --- Out ---------------------------------------------------------------------------------------------------------
    def here(self, log: Logged) -> Version:
        """A log as the plan sees it, put into Harvest's terms; placement and task may hold the markers above."""
        values = values_of(log)
        return Version(
            values=values,
            abroad={
                Field.PLACEMENT: self._place_there(log.client_id, log.project_id),
                Field.ACTIVITY: self._task_there(log.activity_type_id),
                Field.SPENT_DATE: log.spent_date,
                Field.DURATION: hours_of(log.seconds) or TOO_SHORT,
                Field.NOTES: log.notes,
                Field.OWNER: self.people_out.get(str(log.owner_id), self.own_user),
            },
            changed_at=log.updated_at,
            locked=SETTLED if log.settled_at else "",
        )

    def _place_there(self, client_id: UUID, project_id: UUID | None) -> Translation:
        project = self.projects_out.get(str(project_id)) if project_id else None
        client = self.clients_out.get(str(client_id), "")
        if project is None:
            if not client:
                return CLIENT_NOT_MAPPED
            project = self.push_projects.get(client) or self.generals.get(client, GENERAL)
        place = self.places.get(project)
        if place is not None and not place.active:
            return NoCounterpart(
                f"The Harvest project {place.name or project} is archived. "
                "Activate it in Harvest, or map its time to another project."
            )
        return (place.client if place and place.client else client), project

    def _task_there(self, activity_id: UUID | None) -> Translation:
        task = self.tasks_out.get(str(activity_id)) if activity_id else None
        task = task or self.default_task or FIRST_TASK
        if task in self.archived_tasks:
            return NoCounterpart(
                f"The Harvest task {self.archived_tasks[task] or task} is archived. "
                "Activate it in Harvest, or map its time to another task."
            )
        return task

    # --- In ----------------------------------------------------------------------------------------------------------
    def there(self, entry: TimeEntryPayload, log: Logged | None) -> Version:
        """An entry as the plan sees it, put into our terms.

        log: the log it is linked to, deleted or not: what no mapping says stays as it is there.
        """
        owner = self.people_in.get(str(entry.user_id))
        return Version(
            values=entry_values(entry),
            abroad={
                Field.PLACEMENT: self._place_here(entry, log),
                Field.ACTIVITY: self._activity_here(entry, log),
                Field.SPENT_DATE: entry.spent_date,
                Field.DURATION: self._seconds_here(entry),
                Field.NOTES: entry.notes,
                Field.OWNER: owner or self._who_stands_in(entry, log),
                Field.BILLABLE: entry.billable,
            },
            changed_at=entry.updated_at,
            locked=locked_words(entry),
            running=entry.is_running,
            stranger=owner is None,
        )

    def _place_here(self, entry: TimeEntryPayload, log: Logged | None) -> Translation:
        mapped = self.projects_in.get(str(entry.project_id))
        if mapped is not None:
            return mapped
        client = self.clients_in.get(str(entry.client_id))
        kept = str(log.project_id) if log is not None and log.project_id else None
        # A log that a mapping placed does not leave its project for one that nobody has mapped.
        if client is None or (kept is not None and kept in self.projects_out):
            return NoCounterpart(
                f"It moved to the Harvest project {entry.project_name} ({entry.client_name}), which is not mapped. "
                "Map that project, or move the entry back."
            )
        same = log is not None and str(log.client_id) == client
        return client, kept if same else None

    def _activity_here(self, entry: TimeEntryPayload, log: Logged | None) -> Translation:
        mapped = self.tasks_in.get(str(entry.task_id))
        if mapped is not None:
            return mapped
        kept = str(log.activity_type_id) if log is not None and log.activity_type_id else None
        if str(entry.project_id) in self.projects_in or (kept is not None and kept in self.tasks_out):
            return NoCounterpart(
                f"It moved to the Harvest task {entry.task_name}, which is not mapped. "
                "Map that task, or choose another one in Harvest."
            )
        return kept

    @staticmethod
    def _seconds_here(entry: TimeEntryPayload) -> Translation:
        if not 0 <= entry.hours <= MOST_HOURS:
            return NoCounterpart(
                f"{entry.hours} hours is not a duration that can be logged. Correct it in Harvest."
            )
        return seconds_of(entry.hours)

    def _who_stands_in(self, entry: TimeEntryPayload, log: Logged | None) -> Translation:
        if log is not None:
            return str(log.owner_id)
        return self.fallback_owner or NoCounterpart(
            f"Nobody here is {entry.user_name}, and who connected Harvest is no longer a member. Map that person."
        )


def entry_values(entry: TimeEntryPayload) -> dict[Field, Value]:
    """Every field of an entry, in Harvest's own terms: ids as text, hours to the hundredth."""
    return {
        Field.PLACEMENT: (str(entry.client_id), str(entry.project_id)),
        Field.ACTIVITY: str(entry.task_id),
        Field.SPENT_DATE: entry.spent_date,
        Field.DURATION: hundredths(entry.hours),
        Field.NOTES: entry.notes,
        Field.OWNER: str(entry.user_id),
        Field.BILLABLE: entry.billable,
    }


def hundredths(hours: Decimal) -> Decimal:
    return hours.quantize(CENT, ROUND_HALF_UP)


def hours_of(seconds: int) -> Decimal:
    """Hours as Harvest keeps them: to the hundredth, half up."""
    return (Decimal(seconds) / 3600).quantize(CENT, ROUND_HALF_UP)


def locked_words(entry: TimeEntryPayload) -> str:
    """Why Harvest would not have this entry changed, "" where it would."""
    if entry.is_billed:
        return "It has been invoiced in Harvest, so it stays as it is there."
    if entry.is_closed or entry.approval_status == "approved":
        return "Its timesheet has been approved in Harvest. Withdraw the approval there, then retry."
    if entry.is_locked:
        reason = f" ({entry.locked_reason})" if entry.locked_reason else ""
        return f"It is locked in Harvest{reason}. Unlock it there, then retry."
    return ""


# A held change's reason, as a slug, by what its sentence speaks of; the first that fits.
_SLUGS = (
    ("timer_running", "timer is running"),
    ("too_short", "0.00 hours"),
    ("archived", "is archived"),
    ("not_mapped", "mapped"),
    ("no_owner", "Map that person"),
    ("invoiced", "invoiced"),
    ("approved", "approved"),
    ("locked", "locked"),
)


def slug_of(reason: str) -> str:
    """The slug of why something is held: one of those above, else "held"."""
    return next((slug for slug, words in _SLUGS if words in reason), "held")


# --- Loading ---------------------------------------------------------------------------------------------------------
def load_terms(connection: Connection) -> Terms:
    """The mappings of a connection as they stand, inside the scope. A fixed number of queries."""
    of_workspace = {"workspace_id": connection.workspace_id}
    projects = [
        (harvest_id, str(client), str(project))
        for harvest_id, project, client in ProjectMapping.objects.filter(**of_workspace).values_list(
            "harvest_id", "target_id", "target__client_id"
        )
    ]
    clients = [
        (harvest_id, str(client), push)
        for harvest_id, client, push in ClientMapping.objects.filter(**of_workspace).values_list(
            "harvest_id", "target_id", "push_project"
        )
    ]
    tasks = [
        (harvest_id, str(activity), rate)
        for harvest_id, activity, rate in TaskMapping.objects.filter(**of_workspace).values_list(
            "harvest_id", "target_id", "target__hourly_rate"
        )
    ]
    by_hand = {
        harvest_id: str(target)
        for harvest_id, target in PersonMapping.objects.filter(**of_workspace).values_list(
            "harvest_id", "target_id"
        )
    }
    members = {one.user.email: str(one.user_id) for one in members_of(connection.workspace)}
    named = [harvest_id for harvest_id, *_ in projects] + [push for *_, push in clients if push]
    items = list(
        HarvestItem.objects.filter(**of_workspace)
        .filter(
            Q(kind=ItemKind.PERSON)
            | Q(kind=ItemKind.TASK, active=False)
            | Q(kind=ItemKind.PROJECT, harvest_id__anyof=named)
            | Q(kind=ItemKind.PROJECT, active=True, name__iexact=GENERAL_NAME)
        )
        .values_list("kind", "harvest_id", "name", "email", "parent_id", "active")
    )
    places: dict[str, Place] = {}
    generals: dict[str, str] = {}
    archived_tasks: dict[str, str] = {}
    people: list[Person] = []
    for kind, harvest_id, name, email, parent_id, active in sorted(
        items, key=lambda one: (len(one[1]), one[1])
    ):
        if kind == ItemKind.PERSON:
            people.append(Person(harvest_id, email, active))
        elif kind == ItemKind.TASK:
            archived_tasks[harvest_id] = name
        else:
            places[harvest_id] = Place(parent_id, name, active)
            if active and name.casefold() == GENERAL_NAME.casefold():
                generals.setdefault(parent_id, harvest_id)
    connected_by = str(connection.connected_by_id)
    return Terms(
        projects_in={there: (client, project) for there, client, project in projects},
        clients_in={there: client for there, client, _ in clients},
        tasks_in={there: activity for there, activity, _ in tasks},
        people_in=people_in(by_hand, people, members),
        projects_out={project: there for there, _, project in projects},
        clients_out={client: there for there, client, _ in clients},
        push_projects={there: push for there, _, push in clients if push},
        tasks_out={activity: there for there, activity, _ in tasks},
        people_out=people_out(by_hand, people, members),
        places=places,
        generals=generals,
        archived_tasks=archived_tasks,
        rates={activity: rate for _, activity, rate in tasks},
        default_task=connection.default_task,
        own_user=connection.remote_user_id,
        fallback_owner=connected_by if connected_by in members.values() else None,
    )


@dataclass(frozen=True, slots=True)
class Person:
    """A Harvest user. active: not archived there."""

    id: str
    email: str
    active: bool = True


def people_in(
    by_hand: Mapping[str, str], people: Iterable[Person], members: Mapping[str, str]
) -> dict[str, str]:
    """Harvest user -> member, as the intake finds an owner. by_hand: user -> member. members: e-mail -> member."""
    found = resolve_people(
        mapped={int(user): member for user, member in by_hand.items()},
        emails={int(one.id): one.email for one in people if one.email},
        members=members,
    )
    return {str(user): str(member) for user, member in found.items()}


def people_out(
    by_hand: Mapping[str, str], people: Iterable[Person], members: Mapping[str, str]
) -> dict[str, str]:
    """Member -> Harvest user: the one mapped by hand, else the one with the same e-mail; of several an active one.

    A user who is mapped to somebody else by hand is not found by e-mail.
    """
    people = list(people)
    archived = {one.id for one in people if not one.active}
    by_email = {email.strip().casefold(): member for email, member in members.items() if email.strip()}
    hand = [(user, member) for user, member in by_hand.items()]
    mail = [
        (one.id, by_email[address])
        for one in people
        if one.id not in by_hand and (address := one.email.strip().casefold()) in by_email
    ]
    found: dict[str, str] = {}
    for pairs in (hand, mail):
        for user, member in sorted(pairs, key=lambda pair: (pair[0] in archived, len(pair[0]), pair[0])):
            found.setdefault(member, user)
    return found
