"""What was skipped for a missing mapping is remembered: what of it can come in now, and a run that brings it in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Sum

from harvest.models import ClientMapping, ProjectMapping, RememberedSkip, TaskMapping
from integrations.models import Connection, RunEntry, SyncRun


@dataclass(frozen=True, slots=True)
class Incoming:
    """How many remembered entries the present mappings would let in, and their hours."""

    entries: int
    hours: Decimal


def _can_come_in(connection: Connection) -> QuerySet[RememberedSkip]:
    """The intake's rules for mappings, as a query: a mapped project needs its task mapped, else the client decides."""
    of_workspace = {"workspace_id": connection.workspace_id}
    project = ProjectMapping.objects.filter(**of_workspace, harvest_id=OuterRef("harvest_project_id"))
    task = TaskMapping.objects.filter(**of_workspace, harvest_id=OuterRef("harvest_task_id"))
    client = ClientMapping.objects.filter(**of_workspace, harvest_id=OuterRef("harvest_client_id"))
    return RememberedSkip.objects.filter(**of_workspace, account_id=connection.account_id).filter(
        Q(Exists(project)) & Q(Exists(task)) | ~Q(Exists(project)) & Q(Exists(client))
    )


def incoming(connection: Connection) -> Incoming:
    """What can come in now. One query."""
    row = _can_come_in(connection).aggregate(n=Count("id"), total=Sum("hours"))
    return Incoming(entries=row["n"], hours=row["total"] or Decimal("0.00"))


def window_of_remembered(connection: Connection) -> tuple[date, date] | None:
    """The first and last day of what can come in now."""
    row = _can_come_in(connection).aggregate(first=Min("spent_date"), last=Max("spent_date"))
    return (row["first"], row["last"]) if row["first"] else None


def remembered_now(connection: Connection) -> frozenset[str]:
    """The external ids of what can come in now."""
    return frozenset(_can_come_in(connection).values_list("external_id", flat=True))


def forget_remembered(run: SyncRun, only: frozenset[str]) -> None:
    """After a complete reading: what was asked for and is not in Harvest any more is no longer remembered."""
    told = RunEntry.objects.filter(workspace_id=run.workspace_id, run=run).values("external_id")
    RememberedSkip.objects.filter(
        workspace_id=run.workspace_id, account_id=run.account_id, external_id__in=only
    ).exclude(external_id__in=told).delete()
