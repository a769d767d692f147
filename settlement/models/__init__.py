"""The tables of settlement: budgets in `budgets`, statements in `statements`, what a client may see in `links`."""

from settlement.models.budgets import Budget, BudgetAlert, BudgetPeriod, BudgetUnit, Rollover
from settlement.models.links import ClientLink
from settlement.models.statements import (
    EntryKind,
    Statement,
    StatementCounter,
    StatementEntry,
    StatementStatus,
)

__all__ = [
    "Budget",
    "BudgetAlert",
    "BudgetPeriod",
    "BudgetUnit",
    "ClientLink",
    "EntryKind",
    "Rollover",
    "Statement",
    "StatementCounter",
    "StatementEntry",
    "StatementStatus",
]
