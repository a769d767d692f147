"""Two-way sync for people: which way time travels, what is held, and conflicts.

Everybody in the workspace may look; admins and designers decide. A live page swaps the row that was decided, and its
tabs count anew (`waiting-changed`); without JavaScript each decision is a form that leads back to its list.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import (
    UNPROCESSABLE,
    back,
    managers_only,
    notify,
    toast,
    workspace_page,
)
from accounts.tenancy import tenant_scope
from harvest import credentials
from harvest.credentials import connection_of, live_connection
from harvest.preferences import push_older, save_preferences, time_not_sent
from harvest.sync_selectors import REASONS, pause_of, shown, waiting
from harvest.views import direction_form, flow, rights, settings_page, unscoped
from harvest.waiting import (
    assign_in_harvest,
    conflicts_of,
    held_of,
    resolve_conflict,
    retry_change,
    retry_held,
    waiting_of,
)
from integrations.models import Connection, Direction, Keep, Way

NEWEST = ("-id",)
ROWS = 50
WAITING_CHANGED = "waiting-changed"  # tabs listen for it
AGAIN = "It is tried again. If it still cannot travel, it comes back here with the reason."


# --- Which way -------------------------------------------------------------------------------------------------------
@require_POST
@managers_only
def direction(request: WorkspaceRequest) -> HttpResponse:
    """Save direction, policy and default task. Where the direction changes, a page tells first what that brings."""
    workspace, by = request.tenancy.workspace, request.tenancy.user
    credentials.check_plan(workspace)
    connection = live_connection(workspace)
    form = direction_form(connection, request.POST)
    if not form.is_valid():
        return settings_page(request, status=UNPROCESSABLE, direction_form=form)
    values = form.cleaned_data
    if values["direction"] != connection.direction and "sure" not in request.POST:
        context = {
            "values": values,
            "connection": connection,
            "to_both": values["direction"] == Direction.TWO_WAY,
            "older": time_not_sent(connection),
            "waiting": waiting(workspace),
        }
        return render(request, "harvest/direction.html", context)
    before = connection.direction
    after = save_preferences(workspace=workspace, by=by, **values)
    notify(request, _said(before, after))
    return redirect("harvest")


def _said(before: str, after: Connection) -> str:
    if before == after.direction:
        return "Saved."
    if after.direction == Direction.TWO_WAY:
        return "Time goes both ways now: what is saved from now on is pushed to Harvest."
    return "Time only comes in now. Nothing is written to Harvest any more."


@require_POST
@managers_only
def push_older_time(request: WorkspaceRequest) -> HttpResponse:
    """Send the time from before both ways were on too."""
    count = push_older(workspace=request.tenancy.workspace, by=request.tenancy.user)
    logs = "1 older time log goes" if count == 1 else f"{count:,} older time logs go"
    notify(
        request,
        f"{logs} out now, behind what people save meanwhile." if count else "Nothing is left to push.",
    )
    return redirect("harvest")


@require_GET
@workspace_page
def waiting_now(request: WorkspaceRequest) -> HttpResponse:
    """How much waits, as it is now: the tabs, or by htmx into #flow the lines of the connection's card."""
    context = flow(request, connection_of(request.tenancy.workspace))
    if request.htmx.target == "flow":
        return render(request, "harvest/_flow.html", context)
    return render(request, "harvest/_tabs.html", context | {"at": request.GET.get("at", "")})


# --- Held ------------------------------------------------------------------------------------------------------------
@require_GET
@workspace_page
def held(request: WorkspaceRequest) -> HttpResponse:
    """What could not travel, newest first; `way` and `reason` choose some."""
    workspace = request.tenancy.workspace
    rows, way, reason = _chosen(request, request.GET.get("way", ""), request.GET.get("reason", ""))
    page = keyset.page(rows, order=NEWEST, cursor=request.GET.get("cursor"), size=ROWS)
    reasons = held_of(workspace).order_by("reason").values_list("reason", flat=True).distinct()
    context = {
        **_context(request, "held"),
        "page": page,
        "rows": shown(page.rows),
        "count": rows.count(),
        "way": way,
        "ways": Way.choices,
        "reason": reason,
        "reasons": [(one, REASONS.get(one, one)) for one in reasons],
    }
    return render(request, "harvest/held.html", context)


def _chosen(request: WorkspaceRequest, way: str, reason: str) -> tuple[Any, str, str]:
    """Held changes by the filters, and those filters that mean something."""
    rows = held_of(request.tenancy.workspace)
    way = way if way in Way.values else ""
    reason = reason if reason in REASONS else ""
    if way:
        rows = rows.filter(way=way)
    if reason:
        rows = rows.filter(reason=reason)
    return rows, way, reason


@require_POST
@managers_only
def retry(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Try a held change again."""
    change = get_object_or_404(waiting_of(request.tenancy.workspace), id=id)
    retry_change(workspace=request.tenancy.workspace, by=request.tenancy.user, change=change)
    return _decided(request, "harvest/_retried.html", {"log": change.time_log, "said": AGAIN}, AGAIN)


@require_POST
@managers_only
def retry_all(request: WorkspaceRequest) -> HttpResponse:
    """Try all held changes again that the list's filters (`way`, `reason`) choose."""
    rows, _, _ = _chosen(request, request.POST.get("way", ""), request.POST.get("reason", ""))
    count = retry_held(workspace=request.tenancy.workspace, by=request.tenancy.user, changes=rows)
    words = "1 is tried again." if count == 1 else f"{count:,} are tried again."
    notify(
        request,
        f"{words} What still cannot travel comes back here." if count else "Nothing is held any more.",
    )
    return redirect("harvest-held")


@unscoped
@require_POST
@managers_only
def assign(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Put task and person on the project in Harvest, and try again all that wait for the same."""
    workspace = request.tenancy.workspace
    with tenant_scope(workspace.id):
        change = get_object_or_404(waiting_of(workspace), id=id)
    assign_in_harvest(workspace=workspace, by=request.tenancy.user, change_id=change.id)
    words = "Assigned in Harvest. What waited for it is tried again."
    with tenant_scope(workspace.id):
        return _decided(request, "harvest/_retried.html", {"log": change.time_log, "said": words}, words)


# --- Conflicts -------------------------------------------------------------------------------------------------------
@require_GET
@workspace_page
def conflicts(request: WorkspaceRequest) -> HttpResponse:
    """Time that was changed on both sides, newest first, both versions side by side."""
    rows = conflicts_of(request.tenancy.workspace)
    page = keyset.page(rows, order=NEWEST, cursor=request.GET.get("cursor"), size=ROWS)
    context = {**_context(request, "conflicts"), "page": page, "rows": shown(page.rows)}
    return render(request, "harvest/conflicts.html", context)


@require_POST
@managers_only
def resolve(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Keep one side's version: `keep`, harvest or timebridge."""
    keep = request.POST.get("keep", "")
    if keep not in Keep.values:
        return render(request, "400.html", {"detail": "Say whose version stays."}, status=400)
    change = get_object_or_404(waiting_of(request.tenancy.workspace), id=id)
    resolve_conflict(workspace=request.tenancy.workspace, by=request.tenancy.user, change=change, keep=keep)
    words = (
        f"{'Harvest’s' if keep == Keep.HARVEST else 'Our'} version stays, and is written to the other side."
    )
    return _decided(request, "harvest/_resolved.html", {"change": change, "said": words}, words)


# --- What both have in common ---------------------------------------------------------------------------------------
def _context(request: WorkspaceRequest, at: str) -> dict[str, Any]:
    workspace = request.tenancy.workspace
    connection = connection_of(workspace)
    found = {**rights(request, connection), "waiting": waiting(workspace), "at": at}
    both_ways = found["live"] and connection is not None and connection.direction == Direction.TWO_WAY
    pause = pause_of(workspace, connection) if found["live"] and connection else ""
    return {
        **found,
        "both_ways": both_ways,
        "pause": pause,
        "may_settle": found["may"] and both_ways and not pause,
    }


def _decided(request: WorkspaceRequest, row: str, context: dict[str, Any], words: str) -> HttpResponse:
    """What takes the place of a row that was decided; without htmx the page one came from."""
    if request.htmx:
        response = toast(render(request, row, context), words)
        return trigger_client_event(response, WAITING_CHANGED)
    notify(request, words)
    return redirect(back(request, reverse("harvest-held")))
