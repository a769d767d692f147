"""Pages of budgets: all of them, those of a client with their burn charts, making and changing one."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import confirm_page, form_page, managers_only, notify, submit, workspace_page
from clients.models import Client
from clients.selectors import clients_of
from settlement import budgets as services
from settlement.budget_forms import BudgetForm
from settlement.budget_selectors import budgets_of, burn_of, by_name, standings
from settlement.charts import burn_chart
from settlement.models import Budget

PAGE, WITH_CHARTS = 100, 10
BY_NAME = ("by_client", "by_project", "id")


@workspace_page
def budgets(request: WorkspaceRequest) -> HttpResponse:
    """Every budget by client and project: `archived` (of archived clients and projects), `cursor`."""
    workspace = request.tenancy.workspace
    archived = request.GET.get("archived") == "1"
    out_of_the_way = Q(client__archived=True) | Q(project__archived=True, project__isnull=False)
    rows = by_name(budgets_of(workspace)).filter(out_of_the_way if archived else ~out_of_the_way)
    page = keyset.page(rows, order=BY_NAME, cursor=request.GET.get("cursor"), size=PAGE)
    context = {"page": page, "standings": standings(workspace, page.rows), "archived": archived}
    return render(request, "settlement/budgets.html", context)


@workspace_page
def client_budgets(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    """A client's budgets and those of its projects, each with its burn chart."""
    client = _client(request, client_id)
    page = keyset.page(
        by_name(budgets_of(client.workspace).filter(client=client)),
        order=BY_NAME,
        cursor=request.GET.get("cursor"),
        size=WITH_CHARTS,
    )
    found = standings(client.workspace, page.rows)
    burn = burn_of(client, found)
    charts = [
        burn_chart(
            period=one.period,
            available=one.available,
            series=burn[one.budget.id],
            on=one.on,
            runs_out_on=one.runs_out_on,
        )
        for one in found
    ]
    context = {"client": client, "page": page, "rows": list(zip(found, charts, strict=True))}
    return render(request, "settlement/budget_client.html", context)


@managers_only
def new_budget(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    client = _client(request, client_id)
    form = BudgetForm(request.POST or None, client=client)
    if made := submit(form, services.save_budget, workspace=request.tenancy.workspace, client=client):
        notify(request, f"{made.project or client} has a budget now.")
        return redirect("client-budgets", client_id)
    up = (f"{client.name}: budgets", reverse("client-budgets", args=[client_id]))
    return form_page(request, form, heading="Add a budget", up=up, button="Add budget")


@managers_only
def edit_budget(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    budget = _budget(request, client_id, id)
    client, name = budget.client, str(budget.project or budget.client)
    form = BudgetForm(request.POST or None, client=client, budget=budget)
    if submit(form, services.save_budget, workspace=request.tenancy.workspace, budget=budget):
        notify(request, "Saved.")
        return redirect("client-budgets", client_id)
    return form_page(
        request,
        form,
        heading=f"Edit the budget of {name}",
        up=(f"{client.name}: budgets", reverse("client-budgets", args=[client_id])),
        delete=(reverse("budget-delete", args=[client_id, id]), "the budget", "The time stays."),
    )


@managers_only
def delete_budget(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    budget = _budget(request, client_id, id)
    up = reverse("client-budgets", args=[client_id])
    if request.method != "POST":
        return confirm_page(
            request,
            heading=f"Delete the budget of {budget.project or budget.client}?",
            text="The time stays. This cannot be undone.",
            button="Delete the budget",
            up=(f"{budget.client.name}: budgets", up),
        )
    services.delete_budget(budget)
    notify(request, "The budget is deleted. The time stays.")
    return redirect(up)


def _client(request: WorkspaceRequest, id: UUID) -> Client:
    return get_object_or_404(clients_of(request.tenancy.workspace), id=id)


def _budget(request: WorkspaceRequest, client_id: UUID, id: UUID) -> Budget:
    return get_object_or_404(budgets_of(request.tenancy.workspace), id=id, client_id=client_id)
