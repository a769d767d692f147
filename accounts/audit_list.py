"""Reading the trail: its filters, and all that they leave as CSV or JSON, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse

from accounts import keyset
from accounts.models import AuditEvent, Membership
from accounts.selectors import audit_of
from accounts.tabular import csv_line
from accounts.tenancy import tenant_scope

ORDER = ("-at", "-id")
AT_ONCE = 500
COLUMNS = ("id", "at", "actor", "actor_email", "action", "target", "address", "agent", "data")
FORMS = ("csv", "json")
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def since(day: date, zone: tzinfo = UTC) -> Q:
    """From the beginning of a day."""
    return Q(at__gte=datetime.combine(max(day, date(1970, 1, 1)), time.min, zone))


def until(day: date, zone: tzinfo = UTC) -> Q:
    """To the end of a day."""
    return Q(at__lt=datetime.combine(min(day, date(9000, 1, 1)) + timedelta(days=1), time.min, zone))


def about(text: str) -> Q:
    """What was done, to what or by whom, by any part of it."""
    found = Q(action__icontains=text) | Q(target__icontains=text) | Q(agent__icontains=text)
    return found | Q(actor__name__icontains=text) | Q(actor__email__icontains=text)


def events_of(
    viewer: Membership,
    *,
    actor: UUID | None = None,
    action: str = "",
    first: date | None = None,
    last: date | None = None,
    q: str = "",
    zone: tzinfo = UTC,
) -> QuerySet[AuditEvent]:
    """The deeds that a viewer may see, by who, how the action begins, from and to which day of a zone, and a text."""
    events = audit_of(viewer.workspace, viewer=viewer)
    if actor:
        events = events.filter(actor_id=actor)
    if action:
        events = events.filter(action__startswith=action)
    if first:
        events = events.filter(since(first, zone))
    if last:
        events = events.filter(until(last, zone))
    return events.filter(about(q)) if q else events


def as_row(event: AuditEvent) -> dict[str, Any]:
    """A deed as it is exported, for admins."""
    return {
        "id": str(event.id),
        "at": event.at.astimezone(UTC).isoformat(),
        "actor": str(event.actor_id) if event.actor_id else None,
        "actor_email": event.actor.email if event.actor else None,
        "action": event.action,
        "target": event.target,
        "address": event.address,
        "agent": event.agent,
        "data": event.data,
    }


def file_of(viewer: Membership, events: QuerySet[AuditEvent], form: str) -> StreamingHttpResponse:
    """These deeds as a download of a form ("csv" or "json")."""
    workspace = viewer.workspace
    response = StreamingHttpResponse(exported(workspace.id, events, form), content_type=TYPES[form])
    name = f"audit-{workspace.slug}-{workspace.today()}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def exported(workspace_id: UUID, events: QuerySet[AuditEvent], form: str) -> Iterator[str]:
    """These deeds, newest first, as text.

    It is read page by page, each in a short scope of its own, while it is sent: no more than a page is in memory.
    """
    yield csv_line(COLUMNS) if form == "csv" else "["
    cursor, first = None, True
    while first or cursor:
        with tenant_scope(workspace_id):
            page = keyset.page(events, order=ORDER, cursor=cursor, size=AT_ONCE)
            rows = [as_row(event) for event in page.rows]
        if form == "csv":
            yield "".join(
                csv_line([*list(row.values())[:-1], json.dumps(row["data"], ensure_ascii=False)])
                for row in rows
            )
        else:
            lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
            yield ("\n" if first else ",\n") + lines if lines else ""
        cursor, first = page.next, False
    if form == "json":
        yield "\n]\n"
