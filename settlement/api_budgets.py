"""The API of budgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from accounts.rest.fields import IdField, Money, Reference, Resource
from accounts.rest.filters import by_choice, by_id
from accounts.rest.views import CollectionViewSet
from clients.selectors import clients_of, projects_of
from settlement import budgets
from settlement.budget_selectors import Standing, State, budgets_of, standings
from settlement.models import Budget, BudgetPeriod, BudgetUnit, Rollover


class Amount(serializers.DecimalField):
    """A read amount, hours or money: a decimal string with two decimals, however large sums grow."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=30, decimal_places=2, read_only=True, **kwargs)


class WholePercent(serializers.IntegerField):
    """A JSON whole number; unlike its base it takes no text, truth or fraction for one."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class BudgetSerializer(Resource):
    """A standing, with the budget's own fields."""

    id = IdField(source="budget.id")
    client = Reference(
        clients_of,
        source="budget.client",
        required=False,
        help_text="Follows from the project where one is given.",
    )
    project = Reference(projects_of, source="budget.project", required=False, allow_null=True)
    unit = serializers.ChoiceField(source="budget.unit", choices=BudgetUnit.choices)
    amount = Money(source="budget.amount", min_value=0, help_text="Hours, or money. Zero is a budget too.")
    period = serializers.ChoiceField(source="budget.period", choices=BudgetPeriod.choices)
    starts_on = serializers.DateField(
        source="budget.starts_on", required=False, allow_null=True, help_text="`once` needs it."
    )
    ends_on = serializers.DateField(
        source="budget.ends_on", required=False, allow_null=True, help_text="`once` needs it."
    )
    alert_at = serializers.ListField(
        source="budget.alert_at",
        child=WholePercent(min_value=1, max_value=budgets.MOST_PERCENT),
        max_length=budgets.MOST_ALERTS,
        required=False,
        help_text="Per cent at which the admins are told, once a period. 80 and 100 unless given.",
    )
    rollover = serializers.ChoiceField(
        source="budget.rollover",
        choices=Rollover.choices,
        required=False,
        help_text="What of a month's unused part the next month gets.",
    )
    rollover_cap = Money(
        source="budget.rollover_cap",
        min_value=0,
        required=False,
        allow_null=True,
        help_text="The most that is carried over; with `capped` only.",
    )
    currency = serializers.CharField(source="budget.workspace.currency", read_only=True)
    state = serializers.ChoiceField(
        choices=State.choices,
        read_only=True,
        help_text="Of the period that the figures are of: the one that is on, else the first or the last.",
    )
    period_starts_on = serializers.DateField(source="period.first", read_only=True)
    period_ends_on = serializers.DateField(source="period.last", read_only=True)
    carried = Amount(help_text="From the months before.")
    available = Amount(help_text="The amount, and what was carried over.")
    used = Amount(help_text="By the time logs of the period, as they stand now.")
    remaining = Amount(help_text="Below zero where more was used than was available.")
    percent_used = Amount(allow_null=True, help_text="Of what is available; null where that is nothing.")
    even_use = Amount(help_text="What an even pace would have used by the end of today.")
    runs_out_on = serializers.DateField(
        read_only=True,
        allow_null=True,
        help_text="The day it is used up at the present pace; null where it lasts, or is used up already.",
    )


class BudgetViewSet(CollectionViewSet[Budget]):
    """Budgets of clients and of their projects, and how they stand by the time logs as they are now.

    Hours count billable and other time alike; money is the sum of the billable time at its rates, rounded once.
    """

    serializer_class = BudgetSerializer
    selector = staticmethod(budgets_of)
    filters = {
        "client": by_id("client"),
        "project": by_id("project"),
        "unit": by_choice("unit", BudgetUnit),
        "period": by_choice("period", BudgetPeriod),
    }

    def get_queryset(self) -> QuerySet[Budget]:
        return budgets_of(self.workspace)

    def shown(self, row: Budget) -> Any:
        return self.shown_all([row])[0]

    def shown_all(self, rows: Iterable[Budget]) -> Any:
        found: list[Standing] = standings(self.workspace, rows)
        return self.write(BudgetSerializer, found, many=True)

    def save(self, row: Budget | None, values: dict[str, Any]) -> Budget:
        return budgets.save_budget(workspace=self.workspace, budget=row, **values.get("budget", {}))

    def remove(self, row: Budget) -> None:
        budgets.delete_budget(row)
