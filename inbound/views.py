"""The pages of Inbound: the pipeline of time proposals, and adjustments of settled time.

A decision is a plain form. Sent by htmx (`inbound.js` does that for a click and for a key) it answers with the row as
it is now, and tells in the event `inbound-decided` what happened; else with a redirect to the list and a notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from accounts import keyset
from accounts.errors import Invalid
from accounts.middleware import WorkspaceRequest
from accounts.pages import back, managers_only, notify, workspace_page
from accounts.templatetags.ui import duration_text
from clients.models import Client
from inbound import adjustments as adjusting
from inbound import services
from inbound.forms import FilterForm
from inbound.models import Adjustment, AdjustmentStatus, ProposalStatus, TimeProposal
from inbound.selectors import (
    adjustments_of,
    adjustments_waiting,
    narrowed_adjustments,
    narrowed_proposals,
    proposals_of,
    suggestions_for,
    waiting,
)
from inbound.suggestions import Suggestion
from timelogs.money import hours_of
from timelogs.places import UnknownPlace, find, places_of
from timelogs.selectors import choosable_activity_types, work_items_of

PAGE = 50
SUGGESTED = 3
NEWEST = ("-spent_date", "-id")


# --- Proposals -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Row:
    """A proposal as the list shows it. undoable: its decision can be taken back."""

    proposal: TimeProposal
    suggestions: list[Suggestion]
    undoable: bool


@workspace_page
def inbound(request: WorkspaceRequest) -> HttpResponse:
    """Proposals of one `status`, newest first, filtered; those that wait with their best suggestions."""
    workspace = request.tenancy.workspace
    status = _chosen(request, ProposalStatus.values)
    filters = FilterForm(request.GET, workspace=workspace)
    page = keyset.page(
        narrowed_proposals(_shown_proposals(request).filter(status=status), filters.conditions()),
        order=NEWEST,
        cursor=request.GET.get("cursor"),
        size=PAGE,
    )
    context = {
        "page": page,
        "rows": _rows(request, page.rows),
        "status": status,
        "filters": filters,
        "filtered": filters.conditions(),
        "types": choosable_activity_types(workspace),
        "tabs": _tabs(request, "proposals", status),
    }
    return render(request, "inbound/inbound.html", context)


@require_POST
@managers_only
def accept(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Accept one proposal on the work item whose button was pressed."""
    proposal = _proposal(request, id)
    items = work_items_of(request.tenancy.workspace).filter(client_id=proposal.client_id)
    item = get_object_or_404(items, id=_uuid(request.POST.get("work_item")))
    services.accept_proposal(proposal=proposal, by=request.tenancy.membership, work_item=item)
    said = f"{duration_text(proposal.seconds)} is on {item.key} now."
    return _decided(request, id, said, undo=reverse("inbound-undo", args=[id]))


@require_POST
@managers_only
def dismiss(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    proposal = services.dismiss_proposal(proposal=_proposal(request, id), by=request.tenancy.membership)
    said = f"Dismissed {duration_text(proposal.seconds)} for {proposal.client}. It stays out for good."
    return _decided(request, id, said, undo=reverse("inbound-restore", args=[id]))


@require_POST
@managers_only
def restore(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    return _reopen(request, id, services.restore_proposal)


@require_POST
@managers_only
def undo(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Take back a dismissal, or an acceptance that nothing rests on yet."""
    return _reopen(request, id, services.undo_proposal)


@require_POST
@managers_only
def decide(request: WorkspaceRequest) -> HttpResponse:
    """Accept the chosen proposals on one work item or project, or dismiss them."""
    by = request.tenancy.membership
    ids = [id for text in request.POST.getlist("ids") if (id := _uuid(text))]
    if not ids:
        raise Invalid({"ids": ["Choose proposals first, by the boxes at their left."]})
    accepting = request.POST.get("action") == services.Decision.ACCEPT
    target = _target(request) if accepting else {}
    action = services.Decision.ACCEPT if accepting else services.Decision.DISMISS
    done, failed = services.decide_proposals(ids=ids, by=by, action=action, **target)
    if done:
        notify(request, f"{'Accepted' if accepting else 'Dismissed'} {done} of {len(set(ids))}.")
    for detail in dict.fromkeys(one.detail for one in failed):
        count = sum(one.detail == detail for one in failed)
        notify(request, f"Not decided ({count}): {detail}", "bad")
    return redirect(back(request, reverse("inbound")))


def _reopen(request: WorkspaceRequest, id: UUID, service: Callable[..., TimeProposal]) -> HttpResponse:
    proposal = service(proposal=_proposal(request, id), by=request.tenancy.membership)
    return _decided(request, id, f"{duration_text(proposal.seconds)} for {proposal.client} waits again.")


def _decided(request: WorkspaceRequest, id: UUID, said: str, *, undo: str = "") -> HttpResponse:
    if not request.htmx:
        notify(request, said, action="Undo" if undo else "", url=undo)
        return redirect(back(request, reverse("inbound")))
    (row,) = _rows(request, [get_object_or_404(_shown_proposals(request), id=id)])
    return _told(render(request, "inbound/_proposal.html", {"row": row}), said)


def _told(response: HttpResponse, said: str) -> HttpResponse:
    return trigger_client_event(response, "inbound-decided", {"text": said}, after="settle")


def _target(request: WorkspaceRequest) -> dict[str, Any]:
    """What to accept on, as the fields of the bar name it. Raises Invalid."""
    workspace = request.tenancy.workspace
    try:
        place = find(places_of(workspace), request.POST.get("place", ""))
    except UnknownPlace as error:
        raise Invalid({"place": [str(error)]}) from error
    if isinstance(place.row, Client):
        raise Invalid({"place": ["Choose a work item or a project: the client is known already."]})
    types = choosable_activity_types(workspace)
    chosen = _uuid(request.POST.get("activity_type"))
    activity_type = types.filter(id=chosen).first() if chosen else None
    return {name: row for name, row in place.values().items() if row} | {"activity_type": activity_type}


def _shown_proposals(request: WorkspaceRequest) -> Any:
    """Proposals with all that their rows show."""
    return proposals_of(request.tenancy.workspace).select_related(
        "client", "activity_type", "decided_by", "time_log__work_item", "time_log__project"
    )


def _rows(request: WorkspaceRequest, proposals: list[TimeProposal]) -> list[Row]:
    suggestions = suggestions_for(request.tenancy.workspace, proposals)
    return [
        Row(one, suggestions.get(one.id, [])[:SUGGESTED], services.can_be_undone(one)) for one in proposals
    ]


def _proposal(request: WorkspaceRequest, id: UUID) -> TimeProposal:
    return get_object_or_404(proposals_of(request.tenancy.workspace).select_related("client"), id=id)


# --- Adjustments -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Side:
    """One thing that an adjustment's two sides hold, in words."""

    name: str
    before: str
    after: str

    @property
    def same(self) -> bool:
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class AdjustmentRow:
    """An adjustment as the list shows it. seconds: how much time it is, signed; undoable as of a proposal."""

    adjustment: Adjustment
    sides: list[Side]
    seconds: str
    undoable: bool


@workspace_page
def adjustments(request: WorkspaceRequest) -> HttpResponse:
    """Adjustments of one `status`, newest first, filtered: before and after side by side."""
    workspace = request.tenancy.workspace
    status = _chosen(request, AdjustmentStatus.values)
    filters = FilterForm(request.GET, workspace=workspace)
    page = keyset.page(
        narrowed_adjustments(_shown_adjustments(request).filter(status=status), filters.conditions()),
        order=NEWEST,
        cursor=request.GET.get("cursor"),
        size=PAGE,
    )
    context = {
        "page": page,
        "rows": [_adjustment_row(one) for one in page.rows],
        "status": status,
        "statuses": AdjustmentStatus,
        "filters": filters,
        "filtered": filters.conditions(),
        "tabs": _tabs(request, "adjustments", status),
    }
    return render(request, "inbound/adjustments.html", context)


@require_POST
@managers_only
def accept_adjustment(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    return _decide_adjustment(
        request, id, adjusting.accept_adjustment, "goes onto {}'s next statement.", undo=True
    )


@require_POST
@managers_only
def dismiss_adjustment(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    return _decide_adjustment(request, id, adjusting.dismiss_adjustment, "for {} is dismissed.", undo=True)


@require_POST
@managers_only
def restore_adjustment(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    return _decide_adjustment(request, id, adjusting.restore_adjustment, "for {} waits again.")


def _decide_adjustment(
    request: WorkspaceRequest, id: UUID, service: Callable[..., Adjustment], words: str, *, undo: bool = False
) -> HttpResponse:
    row = get_object_or_404(adjustments_of(request.tenancy.workspace), id=id)
    row = service(adjustment=row, by=request.tenancy.membership)
    said = f"{signed_duration(row.seconds_delta)} {words.format(row.client)}"
    if request.htmx:
        shown = _adjustment_row(get_object_or_404(_shown_adjustments(request), id=id))
        return _told(render(request, "inbound/_adjustment.html", {"row": shown}), said)
    back_url = reverse("inbound-adjustment-restore", args=[id])
    notify(request, said, action="Undo" if undo else "", url=back_url if undo else "")
    return redirect(back(request, reverse("inbound-adjustments")))


def _shown_adjustments(request: WorkspaceRequest) -> Any:
    return adjustments_of(request.tenancy.workspace).select_related("client", "decided_by")


def _adjustment_row(row: Adjustment) -> AdjustmentRow:
    before, after = row.before, row.after
    names = {
        "client": "Client",
        "project": "Project",
        "activity_type": "Activity type",
        "owner": "Person",
        "spent_date": "Date",
        "seconds": "Time",
        "hourly_rate": "Rate",
        "billable": "Billable",
        "notes": "Notes",
    }
    sides = [
        Side(name, _words(field, before[field]), _words(field, after[field]) if after else "")
        for field, name in names.items()
    ]
    return AdjustmentRow(
        adjustment=row,
        # Gone: all there was. Else what differs, and always how much time it is.
        sides=[one for one in sides if after is None or not one.same or one.name == "Time"],
        seconds=signed_duration(row.seconds_delta),
        undoable=row.status in (AdjustmentStatus.ACCEPTED, AdjustmentStatus.DISMISSED),
    )


def _words(field: str, value: Any) -> str:
    """What an adjustment keeps of a field, for people."""
    if field == "seconds":
        return f"{duration_text(value)} ({hours_of(value)} h)"
    if field == "spent_date":
        day = date.fromisoformat(value)
        return f"{day:%a} {day.day} {day:%b %Y}"
    if field == "billable":
        return "Yes" if value else "No"
    if isinstance(value, dict):
        return str(value["name"])
    return str(value or "None")


def signed_duration(seconds: int) -> str:
    """ "+30 m", "−1 h 15 m" (with a minus sign), "0 m"."""
    return f"{'+' if seconds > 0 else '−' if seconds < 0 else ''}{duration_text(abs(seconds))}"


# --- What both share -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tab:
    label: str
    url: str
    here: bool
    count: int | None = None


def _tabs(request: WorkspaceRequest, kind: str, status: str) -> list[Tab]:
    """The statuses of proposals, and adjustments; what waits is counted."""
    workspace = request.tenancy.workspace
    home = reverse("inbound")
    tabs = [
        Tab(
            one.label,
            home if one == ProposalStatus.PENDING else f"{home}?status={one.value}",
            kind == "proposals" and one == status,
            waiting(workspace).count() if one == ProposalStatus.PENDING else None,
        )
        for one in ProposalStatus
    ]
    adjusting_count = adjustments_waiting(workspace).count()
    return [*tabs, Tab("Adjustments", reverse("inbound-adjustments"), kind == "adjustments", adjusting_count)]


def _chosen(request: WorkspaceRequest, statuses: list[str]) -> str:
    """The status that the address names; the waiting ones where it names none."""
    chosen = request.GET.get("status", "")
    return chosen if chosen in statuses else "pending"


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
