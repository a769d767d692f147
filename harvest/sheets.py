"""The four mapping tables as one form: what is saved, what is typed, what match by name suggests, what is wrong.

A row's box holds the *label* of its target: its name, with what tells two of the same name apart. Labels are turned
back into ids here, so a page needs one list of options a table rather than one a row. Only rows whose text differs
from what is saved are changes; a browser with JavaScript sends no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, TypeVar
from uuid import UUID

from django.db import transaction

from accounts.models import User, Workspace
from harvest.mappings import (
    KINDS,
    Change,
    Kind,
    Row,
    Target,
    rows_of,
    set_mappings,
    suggest_mappings,
    targets_of,
)
from harvest.models import HarvestItem, ItemKind
from integrations.models import Connection

Id = TypeVar("Id", UUID, str)

# The names of a table's boxes begin with one letter: a page has thousands of them.
PREFIXES: Mapping[str, str] = {"clients": "c", "projects": "p", "tasks": "t", "people": "u"}
PUSH_PREFIX = "d"  # a client's second box: the Harvest project that pushed time lands in


def _tidy(text: str) -> str:
    """One line without NULs or doubled spaces, of a length that a name has."""
    return " ".join(text.replace("\x00", "").split())[:600]


def _fold(text: str) -> str:
    return _tidy(text).casefold()


class Labels(Generic[Id]):
    """Texts for ids, both ways. things: (id, name, what tells it apart from another of that name, best first).

    A label is the name, or as much more of "Name · hint · hint" as it takes to be the only one; a number at last.
    """

    def __init__(self, things: Iterable[tuple[Id, str, Sequence[str]]]) -> None:
        forms = {
            pk: [(form, form.casefold()) for form in _longer_and_longer(name, hints)]
            for pk, name, hints in things
        }
        counts = Counter(folded for found in forms.values() for _, folded in found)
        self._shared = {folded for folded, count in counts.items() if count > 1}
        self._text: dict[Id, str] = {}
        self._ids: dict[str, Id] = {}
        for pk, found in forms.items():
            alone = [(form, folded) for form, folded in found if folded not in self._shared]
            number = 1
            while not alone:
                numbered = f"{found[-1][0]} · {number}"
                free = numbered.casefold() not in counts and numbered.casefold() not in self._ids
                alone = [(numbered, numbered.casefold())] if free else []
                number += 1
            self._text[pk] = alone[0][0]
            self._ids.update((folded, pk) for _, folded in alone)

    def text(self, pk: Id | None) -> str:
        return self._text.get(pk, "") if pk else ""

    def find(self, text: str) -> Id | None:
        """The id that a text names, or None. Case and spaces do not matter."""
        return self._ids.get(_fold(text))

    def shared(self, text: str) -> bool:
        """Whether several are called just that."""
        return _fold(text) in self._shared


def _longer_and_longer(name: str, hints: Sequence[str]) -> list[str]:
    """ "Name", "Name · hint", "Name · hint · hint"."""
    return list(accumulate((_tidy(one) for one in (name, *hints) if one), "{} · {}".format))


@dataclass(slots=True)
class Line:
    """One row: the texts that are saved, and those in its boxes now. otherwise: whom an unset person is by e-mail."""

    row: Row
    box: str
    saved: str
    text: str
    push_box: str = ""
    push_saved: str = ""
    push_text: str = ""
    push_options: list[str] = field(default_factory=list)
    otherwise: str = ""
    suggested: bool = False
    error: str = ""

    @property
    def settled(self) -> bool:
        return bool(self.saved or self.otherwise)

    @property
    def changed(self) -> bool:
        return self.text != self.saved or self.push_text != self.push_saved


@dataclass(slots=True)
class Sheet:
    """One table."""

    kind: Kind
    lines: list[Line]
    targets: list[Target]
    labels: Labels[UUID]

    @property
    def options(self) -> list[str]:
        """What its boxes offer: archived targets are left out."""
        return sorted(
            (self.labels.text(one.id) for one in self.targets if not one.archived), key=str.casefold
        )

    @property
    def prefix(self) -> str:
        return PREFIXES[self.kind.slug]

    @property
    def mapped(self) -> int:
        return sum(1 for line in self.lines if line.settled)

    @property
    def unmapped(self) -> int:
        return len(self.lines) - self.mapped

    @property
    def missing(self) -> list[str]:
        """The active items with nothing saved and nothing typed: what *Create and map* would make here."""
        if self.kind.slug == "people":
            return []
        return [
            line.row.harvest_id
            for line in self.lines
            if line.row.active and not line.settled and not line.text
        ]

    @property
    def errors(self) -> int:
        return sum(1 for line in self.lines if line.error)

    @property
    def ordered(self) -> list[Line]:
        """Unmapped rows first."""
        return sorted(self.lines, key=lambda line: line.settled)


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving came to: rows changed, and in words each pair that had to go."""

    changes: int
    cleared: list[str]

    @property
    def words(self) -> str:
        rows = "1 mapping" if self.changes == 1 else f"{self.changes:,} mappings"
        return " ".join([f"Saved {rows}.", *self.cleared])


@dataclass(slots=True)
class Sheets:
    """The four tables by slug."""

    connection: Connection
    by_slug: dict[str, Sheet]

    def __iter__(self) -> Iterator[Sheet]:
        return iter(self.by_slug.values())

    @property
    def changes(self) -> int:
        return sum(1 for sheet in self for line in sheet.lines if line.changed)

    @property
    def suggested(self) -> str:
        """The boxes that still hold a suggestion, for the form to carry along."""
        return " ".join(line.box for sheet in self for line in sheet.lines if line.suggested)

    def first_wrong(self) -> Sheet | None:
        return next((sheet for sheet in self if sheet.errors), None)

    # --- What was typed ----------------------------------------------------------------------------------------------
    def take(self, typed: Mapping[str, str]) -> None:
        """Put what was posted into the boxes; rows that were not posted stay as saved."""
        marked = set(typed.get("suggested", "").split())
        for sheet in self:
            for line in sheet.lines:
                line.text = _tidy(typed.get(line.box, line.text))
                if line.push_box:
                    line.push_text = _tidy(typed.get(line.push_box, line.push_text))
                line.suggested = line.box in marked and line.text not in ("", line.saved)

    def suggest(self, slug: str, workspace: Workspace) -> int:
        """Fill the empty boxes of a table with what match by name finds. Returns how many; nothing is saved."""
        sheet = self.by_slug[slug]
        used = {_fold(line.text) for line in sheet.lines if line.text}
        empty = {line.row.harvest_id: line for line in sheet.lines if not line.text and not line.saved}
        found = 0
        for pair in suggest_mappings(workspace=workspace, connection=self.connection, kind=sheet.kind):
            line, text = empty.get(pair.harvest_id), sheet.labels.text(pair.target)
            if line is None or not text or (sheet.kind.one_to_one and _fold(text) in used):
                continue
            line.text, line.suggested = text, True
            used.add(_fold(text))
            found += 1
        return found

    def save(self, *, workspace: Workspace, by: User) -> Saved | None:
        """Save every change of all tables together, or none: None where a row is wrong, with the reason on it."""
        wanted = {slug: self._changes(sheet) for slug, sheet in self.by_slug.items()}
        if self.first_wrong():
            return None
        cleared: list[str] = []
        with transaction.atomic():
            for slug, changes in wanted.items():
                if not changes:
                    continue
                sheet = self.by_slug[slug]
                gone = set_mappings(
                    workspace=workspace, connection=self.connection, kind=sheet.kind, changes=changes, by=by
                )
                taker = {change.target: change.harvest_id for change in changes}
                names = {line.row.harvest_id: line.row.harvest_name for line in sheet.lines}
                cleared += [
                    f"“{one.harvest_name}” is no longer mapped: “{sheet.labels.text(one.target)}” went to "
                    f"“{names[taker[one.target]]}”."
                    for one in gone
                ]
        return Saved(sum(map(len, wanted.values())), cleared)

    def _changes(self, sheet: Sheet) -> list[Change]:
        changes: list[Change] = []
        takers: dict[UUID, Line] = {}
        for line in sheet.lines:
            if not line.changed:
                continue
            target = sheet.labels.find(line.text) if line.text else None
            if line.text == line.saved:
                target = line.row.target
            if line.text and target is None:
                line.error = _no_such(sheet, line.text)
                continue
            if target is not None and sheet.kind.one_to_one and line.text != line.saved:
                if target in takers:
                    line.error = (
                        f"“{takers[target].row.harvest_name}” is given the same. Each can be mapped once."
                    )
                    continue
                takers[target] = line
            push: str | None = None
            if line.push_box and line.push_text != line.push_saved:
                push = self._push_project(line)
                if line.error:
                    continue
                if push and target is None:
                    line.error = "Map the client first; then choose where its pushed time lands."
                    continue
            changes.append(Change(line.row.harvest_id, target, push))
        return changes

    def _push_project(self, line: Line) -> str:
        if not line.push_text:
            return ""
        found = _push_labels(
            one for one in self.by_slug["projects"].lines if one.row.harvest_client_id == line.row.harvest_id
        ).find(line.push_text)
        if found is None:
            line.error = (
                f"In Harvest, this client has no project “{line.push_text}”. Choose one from the list."
            )
        return found or ""


def _no_such(sheet: Sheet, text: str) -> str:
    ours = sheet.kind.ours.lower()
    if sheet.labels.shared(text):
        return f"More than one {ours} is called “{text}”. Choose one from the list."
    return f"There is no {ours} “{text}” here. Choose one from the list, or leave it empty."


def _push_labels(projects: Iterable[Line]) -> Labels[str]:
    """Harvest projects by name."""
    return Labels((one.row.harvest_id, one.row.harvest_name, (one.row.harvest_code,)) for one in projects)


def load_sheets(workspace: Workspace, connection: Connection) -> Sheets:
    """The tables as they are saved. A fixed number of queries, however many rows."""
    by_slug: dict[str, Sheet] = {}
    for slug, kind in KINDS.items():
        targets = targets_of(workspace, kind)
        labels = Labels((one.id, one.name, (one.hint, one.code)) for one in targets)
        lines = []
        for row in rows_of(connection, kind):
            text = labels.text(row.target)
            lines.append(Line(row=row, box=f"{PREFIXES[slug]}{row.harvest_id}", saved=text, text=text))
        by_slug[slug] = Sheet(kind, lines, targets, labels)
    _add_push_boxes(by_slug)
    _add_people_by_email(connection, by_slug["people"])
    return Sheets(connection, by_slug)


def _add_push_boxes(by_slug: Mapping[str, Sheet]) -> None:
    of_client: dict[str, list[Line]] = {}
    for line in by_slug["projects"].lines:
        of_client.setdefault(line.row.harvest_client_id, []).append(line)
    for line in by_slug["clients"].lines:
        projects = of_client.get(line.row.harvest_id, [])
        if not projects and not line.row.push_project:
            continue
        labels = Labels(
            (one.row.harvest_id, one.row.harvest_name, (one.row.harvest_code,)) for one in projects
        )
        line.push_box = f"{PUSH_PREFIX}{line.row.harvest_id}"
        # One that is archived by now, and in no recent entry, has no name here: its number stands for it.
        line.push_saved = line.push_text = labels.text(line.row.push_project) or line.row.push_project
        line.push_options = [labels.text(one.row.harvest_id) for one in projects if one.row.active]


def _add_people_by_email(connection: Connection, people: Sheet) -> None:
    by_email = {one.hint.casefold(): one.id for one in people.targets}
    emails = dict(
        HarvestItem.objects.filter(workspace_id=connection.workspace_id, kind=ItemKind.PERSON).values_list(
            "harvest_id", "email"
        )
    )
    for line in people.lines:
        if not line.saved:
            line.otherwise = people.labels.text(by_email.get(emails[line.row.harvest_id].casefold()))
