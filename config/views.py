"""The home page, and the pages that belong to no app."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.middleware import WorkspaceRequest
from accounts.models import Workspace
from accounts.notices import unread_of
from accounts.pages import workspace_page
from config.charts import chart_of
from inbound.models import ProposalStatus, TimeProposal
from integrations.models import Connection, ConnectionStatus, SyncRun
from timelogs.selectors import days_of, time_logs_of, totals_of

DAYS = 14
RECENT = 8
WAITING = 5
NOTICES = 3


@workspace_page
def home(request: WorkspaceRequest) -> HttpResponse:
    """Two weeks of time by day, recent time, what waits in Inbound, Harvest's state. `who`: me, or everyone."""
    workspace, user = request.tenancy.workspace, request.user
    today = workspace.today()
    logs = time_logs_of(workspace)
    mine = request.GET.get("who") == "me"
    if mine:
        logs = logs.filter(owner=user)
    monday = today - timedelta(days=today.weekday())
    days = days_of(logs, first=today - timedelta(days=DAYS - 1), last=today)
    whose = f"{user}'s time" if mine else "Everybody's time"
    waiting = TimeProposal.objects.filter(workspace=workspace, status=ProposalStatus.PENDING)
    context = {
        "mine": mine,
        "today": days[-1],
        "week": totals_of(logs.filter(spent_date__range=(monday, monday + timedelta(days=6)))),
        "month": totals_of(logs.filter(spent_date__range=(today.replace(day=1), today))),
        "month_name": f"{today:%B}",
        "chart": chart_of(id="fortnight", title=f"{whose}, the last {DAYS} days", days=days, today=today),
        "recent": logs.order_by("-spent_date", "-id")[:RECENT],
        "proposals": waiting.select_related("client", "owner").order_by("-spent_date", "-id")[:WAITING],
        "waiting": waiting.count(),
        "harvest": _harvest(workspace),
        "unread": unread_of(workspace, user).order_by("-created_at", "-id")[:NOTICES],
    }
    return render(request, "home.html", context)


def _harvest(workspace: Workspace) -> dict[str, object] | None:
    """The state of the connection and its last run, or None where there was never one."""
    connection = (
        Connection.objects.filter(workspace=workspace)
        .exclude(status=ConnectionStatus.NOT_CONNECTED)
        .select_related("connected_by")
        .first()
    )
    if connection is None:
        return None
    run = (
        SyncRun.objects.filter(workspace=workspace, connection=connection, dry_run=False)
        .order_by("-id")
        .first()
    )
    return {"connection": connection, "run": run}


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was open too long, or sent from elsewhere."""
    return render(request, "403_csrf.html", status=403)
