"""Budgets, and what was told of them."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.utils import timezone

from accounts.audit import audited
from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel
from clients.models import Client, Project


class BudgetUnit(models.TextChoices):
    HOURS = "hours", "Hours"
    MONEY = "money", "Money"


class BudgetPeriod(models.TextChoices):
    ONCE = "once", "Once"
    MONTHLY = "monthly", "Every month"


class Rollover(models.TextChoices):
    NONE = "none", "Nothing"
    ALL = "all", "All of it"
    CAPPED = "capped", "Up to a cap"


def usual_alerts() -> list[int]:
    """Per cent of a budget at which the admins are told, unless set."""
    return [80, 100]


@audited(
    "budget", "client", "project", "unit", "amount", "period", "starts_on", "ends_on", "rollover", "rollover_cap",
    "alert_at",
)  # fmt: skip
class Budget(TenantModel):
    """What was agreed with a client, for all of its time or for that of one project.

    amount: hours, or money in the workspace's currency; zero is a budget like any other. once: from `starts_on` to
    `ends_on`, both included. monthly: each calendar month, within these bounds where they are given. rollover: what of
    a month's unused part the next month gets; at most `rollover_cap`, in the same unit, where it is capped.
    alert_at: whole per cent, rising. What is used of it is no column: it is always counted from the time logs.
    """

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="budgets")
    project = TenantForeignKey(
        Project, on_delete=models.PROTECT, null=True, blank=True, related_name="budgets"
    )
    unit = models.CharField(max_length=5, choices=BudgetUnit.choices, default=BudgetUnit.HOURS)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    period = models.CharField(max_length=7, choices=BudgetPeriod.choices, default=BudgetPeriod.MONTHLY)
    starts_on = models.DateField(null=True, blank=True)
    ends_on = models.DateField(null=True, blank=True)
    rollover = models.CharField(max_length=6, choices=Rollover.choices, default=Rollover.NONE)
    rollover_cap = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    alert_at = models.JSONField(default=usual_alerts)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(unit__in=BudgetUnit.values), name="settlement_budget_unit"
            ),
            models.CheckConstraint(
                condition=models.Q(amount__gte=Decimal(0)), name="settlement_budget_amount_positive"
            ),
            models.CheckConstraint(
                condition=models.Q(period=BudgetPeriod.MONTHLY)
                | models.Q(period=BudgetPeriod.ONCE, starts_on__isnull=False, ends_on__isnull=False),
                name="settlement_budget_period",
            ),
            models.CheckConstraint(
                condition=models.Q(starts_on__isnull=True)
                | models.Q(ends_on__isnull=True)
                | models.Q(ends_on__gte=models.F("starts_on")),
                name="settlement_budget_ends_after_start",
            ),
            # What carries over is counted from the first month on: there must be one.
            models.CheckConstraint(
                condition=models.Q(rollover=Rollover.NONE, rollover_cap__isnull=True)
                | models.Q(
                    rollover=Rollover.ALL,
                    rollover_cap__isnull=True,
                    period=BudgetPeriod.MONTHLY,
                    starts_on__isnull=False,
                )
                | models.Q(
                    rollover=Rollover.CAPPED,
                    rollover_cap__isnull=False,
                    rollover_cap__gte=Decimal(0),
                    period=BudgetPeriod.MONTHLY,
                    starts_on__isnull=False,
                ),
                name="settlement_budget_rollover",
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.project or self.client}: {self.amount} {self.unit}, {self.get_period_display().lower()}"
        )


class BudgetAlert(TenantChild):
    """That a budget reached a threshold in one of its periods: told once, whoever comes upon it again.

    period_on: the first day of that period.
    """

    budget = TenantForeignKey(Budget, on_delete=models.CASCADE, related_name="alerts", db_index=False)
    period_on = models.DateField()
    threshold = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "budget", "period_on", "threshold"], name="settlement_budgetalert_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.threshold} % in the period from {self.period_on}"
