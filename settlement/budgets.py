"""Writing budgets, and telling the admins when one reaches a threshold. Callers have checked that the person may."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.urls import reverse

from accounts.errors import Invalid
from accounts.ids import uuid7
from accounts.models import User, Workspace
from accounts.notices import Remedy, tell
from accounts.selectors import admins_of
from accounts.tenancy import SPAN_SWEEP, span, tenant_scope
from clients.models import Client, Project
from settlement.budget_selectors import Standing, budgets_of, standings_on
from settlement.models import Budget, BudgetAlert, BudgetPeriod, BudgetUnit, Rollover
from timelogs.services import EARLIEST, LATEST
from timelogs.totals import merge_totals

MOST_AMOUNT = Decimal("9999999999.99")
MOST_ALERTS, MOST_PERCENT = 10, 1000


# --- Writing ---------------------------------------------------------------------------------------------------------
def save_budget(*, workspace: Workspace, budget: Budget | None = None, **values: Any) -> Budget:
    """Make or change a budget from its fields; what is not given stays. Raises Invalid.

    The client follows from the project where one is given. `once` needs both its days. Rollover is for `monthly` alone,
    and is counted from `starts_on`: the first of this month unless given. A threshold that is reached already is told.
    """
    made = budget is None
    budget = budget or Budget(workspace=workspace)
    errors: dict[str, list[str]] = {}
    _place(budget, values, errors, made=made)
    for field in ("unit", "amount", "period", "starts_on", "ends_on", "rollover", "rollover_cap", "alert_at"):
        if field in values:
            setattr(budget, field, values[field])
    _check_amount(budget, errors)
    _check_days(budget, errors)
    _check_rollover(budget, values, errors)
    _check_alerts(budget, errors)
    if errors:
        raise Invalid(errors)
    budget.save()
    tell_of_thresholds(workspace, [budget])
    return budget


def delete_budget(budget: Budget) -> None:
    """Delete a budget; the time stays."""
    budget.delete()


def follow_project(project: Project) -> None:
    """A project without time may move to another client: its budgets move along."""
    Budget.objects.filter(workspace_id=project.workspace_id, project=project).exclude(
        client_id=project.client_id
    ).update(client_id=project.client_id)


def _place(budget: Budget, values: dict[str, Any], errors: dict[str, list[str]], *, made: bool) -> None:
    project: Project | None = values.get("project", budget.project)
    client: Client | None = values.get("client", None if made else budget.client)
    if "project" in values and project is not None and "client" not in values:
        client = project.client
    if client is None:
        errors["client"] = ["Choose a client, or one of its projects."]
        return
    if project is not None and project.client_id != client.id:
        errors["project" if "project" in values else "client"] = ["This project belongs to another client."]
    budget.client, budget.project = client, project


def _check_amount(budget: Budget, errors: dict[str, list[str]]) -> None:
    if budget.amount is None:
        errors["amount"] = ["Give an amount. Zero is one; without any there is no budget."]
    elif not (0 <= budget.amount <= MOST_AMOUNT) or budget.amount != round(budget.amount, 2):
        errors["amount"] = ["Give an amount from 0.00 to 9999999999.99, with at most two decimals."]
    if budget.unit not in BudgetUnit.values:
        errors["unit"] = ["Choose hours or money."]
    if budget.period not in BudgetPeriod.values:
        errors["period"] = ["Choose once or monthly."]


def _check_days(budget: Budget, errors: dict[str, list[str]]) -> None:
    for field in ("starts_on", "ends_on"):
        day: date | None = getattr(budget, field)
        if day is None and budget.period == BudgetPeriod.ONCE:
            errors[field] = ["A budget for once needs its first and its last day."]
        elif day is not None and not EARLIEST <= day <= LATEST:
            errors[field] = ["Give a date between 1970 and 2199."]
    if not errors and budget.starts_on and budget.ends_on and budget.ends_on < budget.starts_on:
        errors["ends_on"] = ["The last day is before the first."]


def _check_rollover(budget: Budget, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    if budget.rollover not in Rollover.values:
        errors["rollover"] = ["Choose none, all or capped."]
        return
    if budget.period == BudgetPeriod.ONCE and budget.rollover != Rollover.NONE:
        if "rollover" in values:
            errors["rollover"] = ["Only a monthly budget can roll over."]
            return
        budget.rollover = Rollover.NONE
    if budget.rollover != Rollover.CAPPED:
        if values.get("rollover_cap") is not None:
            errors["rollover_cap"] = ["A cap belongs to a rollover that is capped."]
        budget.rollover_cap = None
    elif budget.rollover_cap is None:
        errors["rollover_cap"] = ["Give the most that is carried over."]
    elif not (0 <= budget.rollover_cap <= MOST_AMOUNT) or budget.rollover_cap != round(
        budget.rollover_cap, 2
    ):
        errors["rollover_cap"] = ["Give a cap from 0.00 to 9999999999.99, with at most two decimals."]
    if budget.rollover != Rollover.NONE and budget.starts_on is None:
        first = budget.workspace.today().replace(day=1)
        if budget.ends_on is not None and budget.ends_on < first:
            errors["starts_on"] = ["Give the day from which on unused budget is carried over."]
        budget.starts_on = first


def _check_alerts(budget: Budget, errors: dict[str, list[str]]) -> None:
    levels = budget.alert_at
    if (
        not isinstance(levels, list)
        or len(levels) > MOST_ALERTS
        or not all(type(one) is int and 1 <= one <= MOST_PERCENT for one in levels)
    ):
        errors["alert_at"] = [
            f"Give at most {MOST_ALERTS} whole numbers of per cent, each from 1 to {MOST_PERCENT}."
        ]
        return
    budget.alert_at = sorted(set(levels))


# --- Thresholds ------------------------------------------------------------------------------------------------------
def tell_of_thresholds(workspace: Workspace, budgets: Iterable[Budget] | None = None) -> int:
    """Tell the admins of thresholds that are reached and nobody was told of, of all budgets unless some are given.

    Looked at are the period that is on and, since time is often logged late, the month before it. A budget that reaches
    several thresholds at once is told of by the highest; each is kept as told, once for a period, by a unique row.
    Inside the scope. Returns how many notices there were.
    """
    today = workspace.today()
    month_before = today.replace(day=1) - timedelta(days=1)
    wanted: list[tuple[Budget, date]] = []
    for budget in budgets_of(workspace) if budgets is None else budgets:
        if not budget.alert_at:
            continue
        wanted.append((budget, today))
        if (
            budget.period == BudgetPeriod.MONTHLY
            and budget.created_at.astimezone(workspace.zone).date() <= month_before
        ):
            wanted.append((budget, month_before))
    found = {
        (one.budget.id, one.period.first): one
        for one in standings_on(workspace, wanted)
        if one.reached and one.on >= one.period.first
    }
    new = _note(workspace, list(found.values()))
    admins = admins_of(workspace) if new else []
    for key, threshold in sorted(new.items()):
        _tell(workspace, admins, found[key], threshold)
    return len(new)


def follow_changes(workspace_id: UUID) -> int:
    """What is due after time has changed: totals merged, thresholds told, in one transaction. Returns the notices.

    The changes themselves mark what is due: a worker that dies here leaves them, and the next sweep finds them.
    """
    with tenant_scope(workspace_id):
        workspace = Workspace.objects.filter(pk=workspace_id).first()
        if workspace is None:
            return 0
        merge_totals(workspace_id)
        return tell_of_thresholds(workspace)


def workspaces_with_budgets() -> list[UUID]:
    """Every workspace that has a budget. Spans workspaces: what the daily look goes through."""
    with span(SPAN_SWEEP, "budgets"):
        return list(Budget.objects.order_by("workspace_id").values_list("workspace_id", flat=True).distinct())


def _note(workspace: Workspace, found: Sequence[Standing]) -> dict[tuple[UUID, date], int]:
    """Keep the thresholds as told. Returns, by budget and period, the highest that is new and above all told before."""
    if not found:
        return {}
    told: dict[tuple[UUID, date], int] = {}
    for budget_id, period_on, threshold in BudgetAlert.objects.filter(
        workspace=workspace, budget__in=[one.budget for one in found]
    ).values_list("budget_id", "period_on", "threshold"):
        told[budget_id, period_on] = max(told.get((budget_id, period_on), 0), threshold)
    rows = sorted((one.budget.id, one.period.first, threshold) for one in found for threshold in one.reached)
    with connection.cursor() as cursor:
        # One statement, in one order: of two workers the second waits for the first, and then finds these rows there.
        cursor.execute(
            "INSERT INTO settlement_budgetalert (id, workspace_id, budget_id, period_on, threshold, created_at)"
            " SELECT id, %s, budget_id, period_on, threshold, now()"
            " FROM unnest(%s::uuid[], %s::uuid[], %s::date[], %s::int[]) AS row (id, budget_id, period_on, threshold)"
            " ON CONFLICT DO NOTHING RETURNING budget_id, period_on, threshold",
            [workspace.id, [uuid7() for _ in rows], *map(list, zip(*rows, strict=True))],
        )
        new: dict[tuple[UUID, date], int] = defaultdict(int)
        for budget_id, period_on, threshold in cursor.fetchall():
            new[budget_id, period_on] = max(new[budget_id, period_on], threshold)
    return {key: threshold for key, threshold in new.items() if threshold > told.get(key, 0)}


def _tell(workspace: Workspace, admins: list[User], one: Standing, threshold: int) -> None:
    unit = f" {workspace.currency}" if one.budget.unit == BudgetUnit.MONEY else " hours"
    share = f" ({one.percent_used} %)" if one.percent_used is not None else ""
    days = f"{one.period.first} to {one.period.last}"
    text = f"{one.used}{unit} of {one.available}{unit} are used{share}, in the period from {days}."
    if one.remaining < 0:
        text += f" That is {-one.remaining}{unit} more than there was."
    elif one.runs_out_on:
        text += f" At the present pace it runs out on {one.runs_out_on}."
    tell(
        workspace=workspace,
        people=admins,
        incident=f"budget:{one.budget.id}:{one.period.first}:{threshold}",
        title=f"{one.name}: {threshold} % of the budget is used"[:200],
        text=text,
        remedy=Remedy("See the budget", reverse("client-budgets", args=[one.budget.client_id])),
    )
