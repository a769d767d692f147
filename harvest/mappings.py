"""Mappings: Harvest's clients, projects, tasks and people, and what each is here.

Clients, projects and tasks are one to one, held by unique constraints: giving an item a target that another item holds
clears that other pair, and the answer says which. People are not: a person may have had two users in Harvest.
All writes lock the connection's row, so two people saving at once are served one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import Q

from accounts.errors import Invalid, unknown
from accounts.ids import uuid7
from accounts.models import User, Workspace
from accounts.selectors import members_of
from accounts.services import record_audit
from clients.models import Client
from clients.selectors import clients_of, projects_of
from clients.services import save_client, save_project
from harvest.matching import Named, suggest
from harvest.models import ClientMapping, HarvestItem, ItemKind, PersonMapping, ProjectMapping, TaskMapping
from harvest.waiting import retry_mapped
from inbound.models import ProposalStatus, TimeProposal
from integrations.models import Connection, SyncLink
from timelogs.models import Source, TimeLog
from timelogs.selectors import activity_types_of
from timelogs.services import MOST_RATE, save_activity_type
from timelogs.signals import time_log_changed

IN_USE_FOR = timedelta(days=90)  # an archived item is offered while entries this recent carry it
MOST_ROWS = 5000


class Target(NamedTuple):
    """Something of ours that a Harvest item can be mapped to. hint: what tells two of the same name apart."""

    id: UUID
    name: str
    code: str = ""
    hint: str = ""
    archived: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the four tables: its name on the wire, its words, and where its rows are."""

    slug: str
    title: str
    ours: str
    item_kind: str
    model: Any
    one_to_one: bool = True


KINDS: Mapping[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind("clients", "Clients", "Client", ItemKind.CLIENT, ClientMapping),
        Kind("projects", "Projects", "Project", ItemKind.PROJECT, ProjectMapping),
        Kind("tasks", "Tasks", "Activity type", ItemKind.TASK, TaskMapping),
        Kind("people", "People", "Member", ItemKind.PERSON, PersonMapping, one_to_one=False),
    )
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a mapping table. push_project: clients only, the Harvest project that pushed time lands in."""

    harvest_id: str
    harvest_name: str
    harvest_code: str
    harvest_client: str
    harvest_client_id: str
    active: bool
    target: UUID | None
    push_project: str


@dataclass(frozen=True, slots=True)
class Change:
    """A row to set. None for `target` unmaps. `push_project` None leaves it; '' clears it."""

    harvest_id: str
    target: UUID | None
    push_project: str | None = None


@dataclass(frozen=True, slots=True)
class Cleared:
    """A pair that a one-to-one change undid."""

    harvest_id: str
    harvest_name: str
    target: UUID


def rows_of(connection: Connection, kind: Kind) -> list[Row]:
    """Every active item of the kind, and an archived one while it is mapped or recent entries carry it; by name.

    Two queries, however many rows.
    """
    workspace_id = connection.workspace_id
    since = connection.workspace.today() - IN_USE_FOR
    mapped = _mapped(workspace_id, kind)
    items = HarvestItem.objects.filter(workspace_id=workspace_id, kind=kind.item_kind).filter(
        Q(active=True) | Q(seen_in_entries_on__gte=since) | Q(harvest_id__in=list(mapped))
    )
    return [
        Row(
            harvest_id=item.harvest_id,
            harvest_name=item.name,
            harvest_code=item.code,
            harvest_client=item.parent_name,
            harvest_client_id=item.parent_id,
            active=item.active,
            target=mapped[item.harvest_id].target_id if item.harvest_id in mapped else None,
            push_project=getattr(mapped.get(item.harvest_id), "push_project", "") or "",
        )
        for item in sorted(
            items, key=lambda one: (one.parent_name.casefold(), one.name.casefold(), one.harvest_id)
        )
    ]


def _mapped(workspace_id: UUID, kind: Kind) -> dict[str, Any]:
    return {one.harvest_id: one for one in kind.model.objects.filter(workspace_id=workspace_id)}


def targets_of(workspace: Workspace, kind: Kind) -> list[Target]:
    """Everything of ours that rows of this kind can be mapped to, archived ones too, by name."""
    if kind.slug == "clients":
        found = [Target(c.id, c.name, archived=c.archived) for c in clients_of(workspace)]
    elif kind.slug == "projects":
        found = [
            Target(p.id, p.name, code=p.code, hint=p.client.name, archived=p.archived, group=str(p.client_id))
            for p in projects_of(workspace)
        ]
    elif kind.slug == "tasks":
        found = [
            Target(a.id, a.name, hint=f"{a.hourly_rate} {workspace.currency}")
            for a in activity_types_of(workspace)
        ]
    else:
        found = [
            Target(m.user_id, m.user.name or m.user.email, hint=m.user.email) for m in members_of(workspace)
        ]
    return sorted(found, key=lambda one: (one.hint.casefold(), one.name.casefold(), str(one.id)))


def set_mappings(
    *, workspace: Workspace, connection: Connection, kind: Kind, changes: Sequence[Change], by: User
) -> list[Cleared]:
    """Set these rows and leave the others, inside the scope. Returns the other pairs that had to go.

    Everything is checked before anything is written: an unknown Harvest id or target, or a target given twice, raises
    Invalid and changes nothing.
    """
    if len(changes) > MOST_ROWS:
        raise Invalid({"mappings": [f"Send at most {MOST_ROWS} rows at once."]})
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=connection.pk)
        _check(workspace, kind, changes)
        before = _mapped(workspace.id, kind)
        wanted = {change.harvest_id: change for change in changes}
        given_to = {change.target: change.harvest_id for change in changes if change.target is not None}
        cleared_ids = [
            harvest_id
            for harvest_id, pair in before.items()
            if kind.one_to_one and harvest_id not in wanted and pair.target_id in given_to
        ]
        moved = [
            harvest_id
            for harvest_id, change in wanted.items()
            if harvest_id in before and before[harvest_id].target_id != change.target
        ]
        names = dict(
            HarvestItem.objects.filter(
                workspace=workspace, kind=kind.item_kind, harvest_id__in=cleared_ids
            ).values_list("harvest_id", "name")
        )
        cleared = [Cleared(one, names.get(one, one), before[one].target_id) for one in cleared_ids]
        kind.model.objects.filter(workspace=workspace, harvest_id__in=[*cleared_ids, *moved]).delete()
        kind.model.objects.bulk_create(
            [
                kind.model(
                    id=uuid7(),
                    workspace=workspace,
                    harvest_id=harvest_id,
                    target_id=change.target,
                    **_push(kind, change, before.get(harvest_id)),
                )
                for harvest_id, change in wanted.items()
                if change.target is not None and (harvest_id in moved or harvest_id not in before)
            ]
        )
        if kind.slug == "clients":
            for harvest_id, change in wanted.items():
                kept = harvest_id in before and harvest_id not in moved
                if kept and change.push_project is not None:
                    ClientMapping.objects.filter(workspace=workspace, harvest_id=harvest_id).update(
                        push_project=change.push_project
                    )
        if kind.slug == "people":
            _reattribute(connection, {c.harvest_id: c.target for c in changes if c.target is not None})
        retry_mapped(connection)
        record_audit(
            workspace=workspace,
            actor=by,
            action=f"harvest.mapped.{kind.slug}",
            target=f"{len(changes)} rows",
            rows=[[c.harvest_id, str(c.target) if c.target else None] for c in changes[:500]],
            cleared=[[one.harvest_id, str(one.target)] for one in cleared],
        )
    return cleared


def _push(kind: Kind, change: Change, before: Any) -> dict[str, str]:
    if kind.slug != "clients":
        return {}
    if change.push_project is not None:
        return {"push_project": change.push_project}
    return {"push_project": before.push_project if before else ""}


def _check(workspace: Workspace, kind: Kind, changes: Sequence[Change]) -> None:
    """Raise Invalid where a row names what is not there, or two rows want the same. At most three queries."""
    ids = [change.harvest_id for change in changes]
    if len(set(ids)) != len(ids):
        raise Invalid({"mappings": ["The same Harvest item is given twice."]})
    known = set(
        HarvestItem.objects.filter(workspace=workspace, kind=kind.item_kind, harvest_id__in=ids).values_list(
            "harvest_id", flat=True
        )
    )
    missing = [one for one in ids if one not in known]
    if missing:
        raise Invalid({"mappings": [f"Harvest has no such item here: {', '.join(missing[:5])}."]})
    wanted = [change.target for change in changes if change.target is not None]
    targets = {target.id for target in targets_of(workspace, kind)} if wanted else set()
    if any(target not in targets for target in wanted):
        raise unknown("mappings")
    if kind.one_to_one and len(set(wanted)) != len(wanted):
        raise Invalid({"mappings": ["Two Harvest items are given the same target. Each can be mapped once."]})
    pushes = {c.push_project: c.harvest_id for c in changes if c.push_project}
    if pushes and kind.slug != "clients":
        raise Invalid({"mappings": ["Only clients have a project that pushed time lands in."]})
    if pushes:
        parents = dict(
            HarvestItem.objects.filter(
                workspace=workspace, kind=ItemKind.PROJECT, harvest_id__in=list(pushes)
            ).values_list("harvest_id", "parent_id")
        )
        for change in changes:
            if change.push_project and parents.get(change.push_project) != change.harvest_id:
                raise Invalid(
                    {
                        "mappings": [
                            f"Harvest project {change.push_project} is not one of client {change.harvest_id}."
                        ]
                    }
                )


def _reattribute(connection: Connection, owners: Mapping[str, UUID]) -> None:
    """Give the unsettled imported time of these Harvest users, and their waiting proposals, to the members now set.

    No edit by a person: `updated_at` stays, so that undoing the run still takes such a log back, and the log goes on
    following its entry.
    """
    for remote_user_id, owner in owners.items():
        links = SyncLink.objects.filter(
            workspace_id=connection.workspace_id,
            provider=connection.provider,
            account_id=connection.account_id,
            remote_user_id=remote_user_id,
        )
        logs = TimeLog.objects.filter(
            workspace_id=connection.workspace_id,
            id__in=links.filter(time_log__isnull=False).values("time_log_id"),
            source=Source.HARVEST,
            settled_at=None,
        ).exclude(owner_id=owner)
        moved = list(logs.values_list("id", flat=True))
        if moved:
            TimeLog.objects.filter(workspace_id=connection.workspace_id, id__in=moved).update(owner_id=owner)
            # Both sides agree on the new owner: an old one in the base would make it an edit, which Harvest's next
            # change of the person would have to contest.
            with database.cursor() as cursor:
                cursor.execute(
                    "UPDATE integrations_synclink SET base = jsonb_set(base, '{owner,0}', to_jsonb(%s::text))"
                    " WHERE workspace_id = %s AND time_log_id = ANY(%s) AND jsonb_typeof(base->'owner') = 'array'",
                    [str(owner), connection.workspace_id, moved],
                )
            time_log_changed.send(
                sender=TimeLog,
                workspace_id=connection.workspace_id,
                time_log_ids=moved,
                change="updated",
                origin="sync",
            )
        TimeProposal.objects.filter(
            workspace_id=connection.workspace_id,
            id__in=links.filter(proposal__isnull=False).values("proposal_id"),
            status=ProposalStatus.PENDING,
        ).update(owner_id=owner)


def create_missing(
    *, workspace: Workspace, connection: Connection, kind: Kind, harvest_ids: Sequence[str], by: User
) -> list[Change]:
    """*Create and map*: make what these unmapped Harvest items lack here, and map it. Returns the pairs made.

    A free target of exactly the same name (case aside) is taken rather than doubled. A project brings its client along
    where that is not mapped either. Items that are mapped already stay as they are. Raises Invalid, changing nothing.
    """
    if kind.slug == "people":
        raise Invalid({"harvest_ids": ["People are added on the People page, by e-mail address."]})
    if len(set(harvest_ids)) > MOST_ROWS:
        raise Invalid({"harvest_ids": [f"Send at most {MOST_ROWS} ids at once."]})
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=connection.pk)
        items = {
            item.harvest_id: item
            for item in HarvestItem.objects.filter(
                workspace=workspace, kind=kind.item_kind, harvest_id__in=list(harvest_ids)
            )
        }
        missing = [one for one in harvest_ids if one not in items]
        if missing:
            raise Invalid({"harvest_ids": [f"Harvest has no such item here: {', '.join(missing[:5])}."]})
        mapped = _mapped(workspace.id, kind)
        wanted = [items[one] for one in dict.fromkeys(harvest_ids) if one not in mapped]
        if kind.slug == "projects":
            parents = list(dict.fromkeys(item.parent_id for item in wanted if item.parent_id))
            create_missing(
                workspace=workspace, connection=connection, kind=KINDS["clients"], harvest_ids=parents, by=by
            )
        clients = {
            one.harvest_id: one.target
            for one in ClientMapping.objects.filter(workspace=workspace).select_related("target")
        }
        taken = {pair.target_id for pair in mapped.values()}
        free = {
            (target.group, target.name.casefold()): target.id
            for target in targets_of(workspace, kind)
            if target.id not in taken and not target.archived
        }
        changes = []
        for item in wanted:
            group = str(clients[item.parent_id].id) if kind.slug == "projects" else ""
            target = free.pop((group, item.name.casefold()), None)
            if target is None:
                target = _create(workspace, kind, item, clients.get(item.parent_id))
            changes.append(Change(item.harvest_id, target))
        if changes:
            set_mappings(workspace=workspace, connection=connection, kind=kind, changes=changes, by=by)
    return changes


def _create(workspace: Workspace, kind: Kind, item: HarvestItem, client: Client | None) -> UUID:
    name = item.name[:200]
    if kind.slug == "clients":
        return save_client(workspace=workspace, name=name).id
    if kind.slug == "projects":
        return save_project(workspace=workspace, client=client, name=name, code=item.code[:40]).id
    rate = item.hourly_rate or Decimal("0.00")
    return save_activity_type(
        workspace=workspace, name=name, hourly_rate=min(rate, MOST_RATE), billable=item.billable
    ).id


@dataclass(frozen=True, slots=True)
class Suggested:
    """A pair that match by name proposes for a row that is not mapped. score: 0 to 1, 1 for equal names."""

    harvest_id: str
    target: UUID
    score: float


def suggest_mappings(*, workspace: Workspace, connection: Connection, kind: Kind) -> list[Suggested]:
    """Match the unmapped active rows with the free, unarchived targets by name. Nothing is saved.

    Projects are matched within mapped clients where the Harvest client is mapped; people by e-mail first.
    """
    rows = [row for row in rows_of(connection, kind) if row.target is None and row.active]
    taken = set(kind.model.objects.filter(workspace=workspace).values_list("target_id", flat=True))
    free = [
        target
        for target in targets_of(workspace, kind)
        if not target.archived and not (kind.one_to_one and target.id in taken)
    ]
    if kind.slug == "people":
        return _by_email(connection, rows, free)
    if kind.slug != "projects":
        return _suggest(rows, free)
    found: list[Suggested] = []
    client_targets = {
        one.harvest_id: str(one.target_id) for one in ClientMapping.objects.filter(workspace=workspace)
    }
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(client_targets.get(row.harvest_client_id, ""), []).append(row)
    used: set[UUID] = set()
    for client_id, members in sorted(groups.items(), reverse=True):  # rows of unmapped clients ("") come last
        pool = [one for one in free if one.id not in used and (not client_id or one.group == client_id)]
        for suggestion in _suggest(members, pool):
            used.add(suggestion.target)
            found.append(suggestion)
    return found


def _suggest(rows: Iterable[Row], targets: Iterable[Target]) -> list[Suggested]:
    pairs = suggest(
        [
            Named(id=row.harvest_id, name=row.harvest_name, code=row.harvest_code, parent=row.harvest_client)
            for row in rows
        ],
        [
            Named(
                id=target.id, name=target.name, code=target.code, parent=target.hint if target.group else ""
            )
            for target in targets
        ],
    )
    return [Suggested(harvest_id=str(p.source_id), target=_uuid(p.target_id), score=p.score) for p in pairs]


def _uuid(value: object) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


def _by_email(connection: Connection, rows: Iterable[Row], members: Iterable[Target]) -> list[Suggested]:
    by_email = {member.hint.casefold(): member.id for member in members}
    emails = dict(
        HarvestItem.objects.filter(workspace_id=connection.workspace_id, kind=ItemKind.PERSON).values_list(
            "harvest_id", "email"
        )
    )
    return [
        Suggested(row.harvest_id, by_email[email], 1.0)
        for row in rows
        if (email := emails.get(row.harvest_id, "").casefold()) in by_email
    ]
