"""The form of a budget. What values mean is checked by the service."""

from __future__ import annotations

from typing import Any

from django import forms

from clients.models import Client, Project
from clients.selectors import projects_of
from settlement.models import Budget, BudgetPeriod, BudgetUnit, Rollover
from settlement.models.budgets import usual_alerts
from timelogs.forms import DateInput


class BudgetForm(forms.Form):
    project = forms.ChoiceField(label="For", required=False)
    amount = forms.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=0,
        widget=forms.NumberInput(attrs={"step": "0.01", "inputmode": "decimal"}),
        help_text="Zero is a budget too: any time goes over it.",
        error_messages={"required": "Give an amount. Zero is one; without any there is no budget."},
    )
    unit = forms.ChoiceField(choices=BudgetUnit.choices)
    period = forms.ChoiceField(choices=BudgetPeriod.choices)
    starts_on = forms.DateField(label="First day", required=False, widget=DateInput())
    ends_on = forms.DateField(
        label="Last day",
        required=False,
        widget=DateInput(),
        help_text="A budget for once needs both days. A monthly one is bounded by those that are given.",
    )
    rollover = forms.ChoiceField(
        label="Carry over to the next month",
        choices=Rollover.choices,
        help_text="What a month leaves unused. Counted from the first day on: this month, unless one is given.",
    )
    rollover_cap = forms.DecimalField(
        label="Cap",
        max_digits=12,
        decimal_places=2,
        min_value=0,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.01", "inputmode": "decimal"}),
        help_text="The most that is carried over.",
    )
    alert_at = forms.CharField(
        label="Tell the admins at",
        required=False,
        max_length=100,
        help_text="Per cent, with commas between them; each is told once a period. Left empty, nobody is told.",
    )
    project.mark_optional = alert_at.mark_optional = False  # type: ignore[attr-defined]  # their texts say it

    def __init__(self, data: Any = None, *, client: Client, budget: Budget | None = None) -> None:
        super().__init__(data, initial=_initial(budget))
        projects = projects_of(client.workspace).filter(client=client).order_by("archived", "name", "id")
        self.projects: dict[str, Project] = {
            str(one.id): one
            for one in projects
            if not one.archived or (budget is not None and budget.project_id == one.id)
        }
        field = self.fields["project"]
        assert isinstance(field, forms.ChoiceField)  # for types
        field.choices = [
            ("", f"All time of {client.name}"),
            *((id, one.name) for id, one in self.projects.items()),
        ]

    def clean_project(self) -> Project | None:
        return self.projects.get(self.cleaned_data["project"])

    def clean_alert_at(self) -> list[int]:
        text = self.cleaned_data["alert_at"].replace("%", " ").replace(";", ",")
        try:
            return [int(one) for one in text.replace(",", " ").split()]
        except ValueError:
            raise forms.ValidationError("Give whole numbers, such as 80, 100.") from None


def _initial(budget: Budget | None) -> dict[str, Any]:
    if budget is None:
        return {"unit": BudgetUnit.HOURS, "period": BudgetPeriod.MONTHLY, "alert_at": _listed(usual_alerts())}
    names = ("amount", "unit", "period", "starts_on", "ends_on", "rollover", "rollover_cap")
    return {
        **{name: getattr(budget, name) for name in names},
        "project": str(budget.project_id or ""),
        "alert_at": _listed(budget.alert_at),
    }


def _listed(levels: list[int]) -> str:
    return ", ".join(map(str, levels))
