"""The home page, and the pages that belong to no app."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.middleware import WorkspaceRequest
from accounts.notices import unread_of
from accounts.pages import workspace_page
from config.charts import chart_of
from config.home import first_steps, health_of, waiting_of
from settlement.budget_selectors import budgets_at_a_glance
from timelogs.listing import summary_of
from timelogs.selectors import days_of, time_logs_of

DAYS = 14
RECENT = 8
NOTICES = 3


@workspace_page
def home(request: WorkspaceRequest) -> HttpResponse:
    """Budgets, two weeks of time by day, recent time, what waits in Inbound, sync health. `who`: me, or everyone."""
    workspace, user = request.tenancy.workspace, request.user
    today = workspace.today()
    mine = request.GET.get("who") == "me"
    whoever = {"owner": user.id} if mine else {}
    logs = time_logs_of(workspace).filter(**whoever)
    monday = today - timedelta(days=today.weekday())
    days = days_of(logs, first=today - timedelta(days=DAYS - 1), last=today)
    whose = f"{user}'s time" if mine else "Everybody's time"
    unread = list(unread_of(workspace, user).order_by("-created_at", "-id")[: NOTICES + 1])
    context = {
        "mine": mine,
        "today": days[-1],
        "week": summary_of(workspace, {"from": monday, "to": monday + timedelta(days=6), **whoever}),
        "month": summary_of(workspace, {"from": today.replace(day=1), "to": today, **whoever}),
        "month_name": f"{today:%B}",
        "chart": chart_of(id="fortnight", title=f"{whose}, the last {DAYS} days", days=days, today=today),
        "recent": logs.order_by("-spent_date", "-id")[:RECENT],
        "steps": first_steps(workspace, request.tenancy.membership),
        "glance": budgets_at_a_glance(workspace),
        "waits": waiting_of(workspace),
        "health": health_of(workspace),
        "unread": unread[:NOTICES],
        "more_unread": len(unread) > NOTICES,
    }
    return render(request, "home.html", context)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was open too long, or sent from elsewhere."""
    return render(request, "403_csrf.html", status=403)
