"""Pages of time logs, activity types and work items.

The list of time is live by htmx where there is JavaScript: its filters, logging, editing a row in place, deleting with
*Undo*. Every address answers without it too, with a page or a redirect.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import push_url, trigger_client_event

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import (
    back,
    confirm_page,
    form_page,
    form_status,
    managers_only,
    notify,
    submit,
    toast,
    workspace_page,
)
from accounts.templatetags.ui import duration_text
from clients.models import Client
from clients.selectors import clients_of
from timelogs import services
from timelogs.forms import (
    ActivityTypeForm,
    Choices,
    FilterForm,
    TimeLogForm,
    WorkItemForm,
    empty_fields,
    filter_fields,
    offered,
)
from timelogs.listing import NEWEST, page_of, summary_of
from timelogs.models import ActivityType, TimeLog, WorkItem
from timelogs.money import amount_of
from timelogs.places import places_of
from timelogs.selectors import (
    activity_types_of,
    choosable_activity_types,
    time_logs_of,
    work_items_of,
)

PAGE = 100
LOGS = 50  # fewer: the page has the choices of two forms too
CHANGED = "time-logs-changed"  # the totals listen for it
ADDED = "time-logs-added"  # the list does


# --- The list --------------------------------------------------------------------------------------------------------
@workspace_page
def time_logs(request: WorkspaceRequest) -> HttpResponse:
    """The list with its filters in the address; for htmx its totals alone (#totals) or the list (#list)."""
    tenancy = request.tenancy
    workspace = tenancy.workspace
    filters = FilterForm(request.GET)
    conditions = filters.conditions()
    context: dict[str, Any] = {
        "filters": filters,
        "totals": summary_of(workspace, conditions),
        "filtered": conditions,
    }
    if request.htmx.target == "totals":
        return render(request, "timelogs/_totals.html", context)
    page = page_of(workspace, conditions, cursor=request.GET.get("cursor"), size=LOGS)
    context |= {"page": page, "spans": _spans(workspace.today())}
    choices = Choices(workspace)
    offers = offered(workspace, choices, filters.cleaned_data.get("client"))
    if request.htmx.target == "list":
        filters.offer(offers)
        response = render(request, "timelogs/_list.html", context | {"piece": True})
        kept = [(name, value) for name, value in request.GET.items() if value]
        return push_url(response, request.path + ("?" + urlencode(kept) if kept else ""))
    context["filter_fields"] = filter_fields(filters, offers)
    context["log_fields"] = empty_fields(
        types=tuple(choices.types),
        people=tuple(choices.people) if tenancy.membership.can_manage else None,
        today=workspace.today(),
        owner=tenancy.user.id if tenancy.membership.can_manage else None,
    )
    return render(request, "timelogs/time_logs.html", context)


def _spans(today: date) -> list[tuple[str, date, date]]:
    """Spans of time that people ask for most, by name."""
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    before = first - timedelta(days=1)
    return [
        ("Today", today, today),
        ("This week", monday, monday + timedelta(days=6)),
        ("This month", first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)),
        ("Last month", before.replace(day=1), before),
    ]


@workspace_page
def places(request: WorkspaceRequest) -> HttpResponse:
    """The options of the field that names what time is for, fetched once somebody goes to that field."""
    return render(request, "timelogs/_places.html", {"places": places_of(request.tenancy.workspace)})


@workspace_page
def deleted_time_logs(request: WorkspaceRequest) -> HttpResponse:
    logs = time_logs_of(request.tenancy.workspace, deleted=True)
    page = keyset.page(logs, order=NEWEST, cursor=request.GET.get("cursor"), size=LOGS)
    return render(request, "timelogs/deleted.html", {"page": page})


# --- One log ---------------------------------------------------------------------------------------------------------
@workspace_page
def log_time(request: WorkspaceRequest) -> HttpResponse:
    """Log time: by htmx the empty form again, and the list and totals refresh; else back to the list."""
    tenancy = request.tenancy
    form = TimeLogForm(request.POST or None, workspace=tenancy.workspace, by=tenancy.membership)
    log = _submit(form, services.record_time_log, workspace=tenancy.workspace, by=tenancy.membership)
    if log is None:
        name = "timelogs/_log_form.html" if request.htmx else "timelogs/log_time.html"
        return render(request, name, {"form": form}, status=form_status(form))
    said = f"Logged {duration_text(log.seconds)} for {log.project or log.client}."
    if not request.htmx:
        notify(request, said)
        return redirect(back(request, reverse("time-logs")))
    form = TimeLogForm(workspace=tenancy.workspace, by=tenancy.membership)
    form.initial["spent_date"] = log.spent_date  # the next one is mostly of the same day
    form.fields["place"].widget.attrs["autofocus"] = True
    response = render(request, "timelogs/_log_form.html", {"form": form})
    return trigger_client_event(toast(response, said), ADDED, {})


@workspace_page
def time_log(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """A log's page, a deleted one's too: where its entry in Harvest leads. By htmx its row, as the list shows it."""
    if request.htmx:
        return _row(request, _log(request, id))
    tenancy = request.tenancy
    logs = TimeLog.objects.filter(workspace=tenancy.workspace).select_related(
        "client", "project", "work_item", "activity_type", "owner"
    )
    log = get_object_or_404(logs, id=id)
    log.workspace = tenancy.workspace
    may_write = tenancy.membership.can_manage or log.owner_id == tenancy.user.id
    context = {"log": log, "amount": amount_of(log.seconds, log.hourly_rate), "may_write": may_write}
    return render(request, "timelogs/time_log.html", context)


@workspace_page
def edit_time_log(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Change a log: in its row by htmx, on a page of its own else."""
    tenancy = request.tenancy
    log = _log(request, id)
    services.check_writer(by=tenancy.membership, owner_id=log.owner_id)
    services.refuse_settled(log, "changed")
    form = TimeLogForm(request.POST or None, workspace=tenancy.workspace, by=tenancy.membership, log=log)
    revised = _submit(form, services.revise_time_log, log=log, by=tenancy.membership)
    if revised is None:
        name = "timelogs/_edit_row.html" if request.htmx else "timelogs/edit.html"
        return _in_place(render(request, name, {"form": form, "log": log}, status=form_status(form)))
    if not request.htmx:
        notify(request, "Saved.")
        return redirect(back(request, reverse("time-logs")))
    return trigger_client_event(_row(request, revised), CHANGED, {})


@require_POST
@workspace_page
def delete_time_log(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Delete a log, with a button that brings it back."""
    log = _log(request, id)
    services.delete_time_log(log=log, by=request.tenancy.membership)
    if request.htmx:
        return trigger_client_event(render(request, "timelogs/_gone.html", {"log": log}), CHANGED, {})
    said = f"Deleted {duration_text(log.seconds)} for {log.project or log.client}."
    notify(request, said, action="Undo", url=reverse("time-log-restore", args=[id]))
    return redirect("time-logs")


@require_POST
@workspace_page
def restore_time_log(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    logs = TimeLog.objects.filter(workspace=request.tenancy.workspace)
    log = services.restore_time_log(log=get_object_or_404(logs, id=id), by=request.tenancy.membership)
    if request.htmx:
        return trigger_client_event(_row(request, log), CHANGED, {})
    notify(request, f"{duration_text(log.seconds)} for {log.project or log.client} is back.")
    return redirect(back(request, reverse("time-logs")))


def _log(request: WorkspaceRequest, id: UUID) -> TimeLog:
    return get_object_or_404(time_logs_of(request.tenancy.workspace), id=id)


def _row(request: WorkspaceRequest, log: TimeLog) -> HttpResponse:
    rows = page_of(request.tenancy.workspace, {"id": log.id}).rows
    return _in_place(render(request, "timelogs/_row.html", {"rows": rows}))


def _in_place(response: HttpResponse) -> HttpResponse:
    """A piece for the row it came from: the list's address stays."""
    return push_url(response, False)


def _submit(form: TimeLogForm, service: Any, **values: Any) -> TimeLog | None:
    """`accounts.pages.submit` for a form that names a place: the service's fields about it are that one field's."""

    def call(**_: Any) -> TimeLog:
        try:
            made: TimeLog = service(**form.values(), **values)
        except services.Invalid as error:
            fields = ("client", "project", "work_item")
            if about_place := [text for name in fields for text in error.errors.pop(name, [])]:
                error.errors["place"] = about_place
            raise
        return made

    return submit(form, call)


# --- Activity types --------------------------------------------------------------------------------------------------
@workspace_page
def activity_types(request: WorkspaceRequest) -> HttpResponse:
    types = choosable_activity_types(request.tenancy.workspace)
    return render(request, "timelogs/activity_types.html", {"types": types})


@managers_only
def new_activity_type(request: WorkspaceRequest) -> HttpResponse:
    workspace = request.tenancy.workspace
    form = ActivityTypeForm(request.POST or None, currency=workspace.currency)
    if made := submit(form, services.save_activity_type, workspace=workspace):
        notify(request, f"{made} is an activity type now.")
        return redirect("activity-types")
    return form_page(
        request,
        form,
        heading="Add an activity type",
        up=("Activity types", reverse("activity-types")),
        button="Add activity type",
    )


@managers_only
def edit_activity_type(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    workspace = request.tenancy.workspace
    one = _activity_type(request, id)
    values = {"name": one.name, "hourly_rate": one.hourly_rate, "billable": one.billable}
    form = ActivityTypeForm(request.POST or None, currency=workspace.currency, initial=values)
    if submit(form, services.save_activity_type, workspace=workspace, activity_type=one):
        notify(request, "Saved.")
        return redirect("activity-types")
    return form_page(
        request,
        form,
        heading=f"Edit {values['name']}",
        up=("Activity types", reverse("activity-types")),
        delete=(
            reverse("activity-type-delete", args=[id]),
            values["name"],
            "An activity type that time is logged on stays.",
        ),
    )


@managers_only
def delete_activity_type(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    return _delete(request, _activity_type(request, id), ("Activity types", reverse("activity-types")))


def _activity_type(request: WorkspaceRequest, id: UUID) -> ActivityType:
    return get_object_or_404(activity_types_of(request.tenancy.workspace), id=id)


def _delete(request: WorkspaceRequest, row: ActivityType | WorkItem, up: tuple[str, str]) -> HttpResponse:
    if request.method != "POST":
        heading, text = f"Delete {row}?", "This cannot be undone."
        return confirm_page(request, heading=heading, text=text, button="Delete", up=up)
    services.delete(row)
    notify(request, f"{row} is deleted.")
    return redirect(up[1])


# --- Work items, on their client's page ------------------------------------------------------------------------------
@workspace_page
def work_items(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    """A client's work items, open ones first, newest first."""
    client = _client(request, client_id)
    items = work_items_of(request.tenancy.workspace).filter(client=client)
    done = request.GET.get("status") == "done"
    page = keyset.page(
        items.filter(status="done" if done else "open"),
        order=("-id",),
        cursor=request.GET.get("cursor"),
        size=PAGE,
    )
    return render(request, "timelogs/work_items.html", {"client": client, "page": page, "done": done})


@managers_only
def new_work_item(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    client = _client(request, client_id)
    form = WorkItemForm(request.POST or None, client=client)
    if made := submit(form, services.save_work_item, workspace=request.tenancy.workspace, client=client):
        notify(request, f"{made.key} is made.")
        return redirect("client-work-items", client_id)
    up = (client.name, reverse("client-work-items", args=[client_id]))
    return form_page(request, form, heading="Add a work item", up=up, button="Add work item")


@managers_only
def edit_work_item(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    client = _client(request, client_id)
    item = _work_item(request, client_id, id)
    form = WorkItemForm(request.POST or None, client=client, item=item)
    key = item.key
    if submit(form, services.save_work_item, workspace=request.tenancy.workspace, work_item=item):
        notify(request, "Saved.")
        return redirect("client-work-items", client_id)
    return form_page(
        request,
        form,
        heading=f"Edit {key}",
        up=(client.name, reverse("client-work-items", args=[client_id])),
        delete=(
            reverse("work-item-delete", args=[client_id, id]),
            key,
            "A work item with time on it stays.",
        ),
    )


@managers_only
def delete_work_item(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    up = ("Work items", reverse("client-work-items", args=[client_id]))
    return _delete(request, _work_item(request, client_id, id), up)


def _client(request: WorkspaceRequest, id: UUID) -> Client:
    return get_object_or_404(clients_of(request.tenancy.workspace), id=id)


def _work_item(request: WorkspaceRequest, client_id: UUID, id: UUID) -> WorkItem:
    return get_object_or_404(work_items_of(request.tenancy.workspace), id=id, client_id=client_id)
