"""The tables of settlement: budgets in `budgets`, statements in `statements`."""

from settlement.models.budgets import Budget, BudgetAlert, BudgetPeriod, BudgetUnit, Rollover

__all__ = ["Budget", "BudgetAlert", "BudgetPeriod", "BudgetUnit", "Rollover"]
