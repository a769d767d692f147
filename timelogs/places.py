"""What time can be logged for, by its name: a client, one of its projects, or a work item, in one field.

Each has one label, unlike every other: "Acme", "Acme / Website", "ACME-12 · Fix the logo". A person may also type a
key alone, or a project's name where it is the only one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db.models.functions import Lower

from accounts.models import Workspace
from clients.models import Client, Project
from clients.selectors import choosable_clients, choosable_projects
from timelogs.models import TimeLog, WorkItem, WorkItemStatus
from timelogs.selectors import work_items_of


@dataclass(frozen=True, slots=True)
class Place:
    """One thing that time can be logged for. `short` is what it may also be called where that is not ambiguous."""

    label: str
    short: str
    row: Client | Project | WorkItem

    def values(self) -> dict[str, Client | Project | WorkItem | None]:
        """The same for `record_time_log` and `revise_time_log`: what is named, and that nothing finer is."""
        if isinstance(self.row, WorkItem):
            return {"work_item": self.row}
        if isinstance(self.row, Project):
            return {"project": self.row, "work_item": None}
        return {"client": self.row, "project": None, "work_item": None}


class UnknownPlace(ValueError):
    """No place, or more than one, is called that; the message says which."""


def label_of(client: Client, project: Project | None, work_item: WorkItem | None) -> str:
    if work_item is not None:
        return f"{work_item.key} · {work_item.title}"
    return f"{client.name} / {project.name}" if project is not None else client.name


def label_of_log(log: TimeLog) -> str:
    return label_of(log.client, log.project, log.work_item)


def places_of(workspace: Workspace) -> list[Place]:
    """Everything active, clients first, in three queries."""
    items = (
        work_items_of(workspace)
        .filter(status=WorkItemStatus.OPEN, client__archived=False)
        .order_by(Lower("client__name"), "key")
    )
    found = [Place(label_of(one, None, None), one.name, one) for one in choosable_clients(workspace)]
    found += [Place(label_of(one.client, one, None), one.name, one) for one in choosable_projects(workspace)]
    found += [Place(label_of(one.client, one.project, one), one.key, one) for one in items]
    taken: dict[str, int] = defaultdict(int)
    for place in found:
        taken[_folded(place.label)] += 1
    return [
        Place(f"{one.label} ({_tail(one.row.id)})", one.short, one.row)
        if taken[_folded(one.label)] > 1
        else one
        for one in found
    ]


def find(places: list[Place], text: str) -> Place:
    """The place a person means. Raises UnknownPlace, with words for them."""
    wanted = _folded(text)
    for name in ("label", "short"):
        found = [place for place in places if _folded(getattr(place, name)) == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"“{place.label}”" for place in found[:5])
            raise UnknownPlace(f"More than one is called that: {names}. Choose one of them.")
    raise UnknownPlace("Nothing active is called that. Choose a client, project or work item of the list.")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _tail(id: UUID) -> str:
    return id.hex[-4:]
