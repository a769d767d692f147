"""Amounts of a budget, in its unit."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.templatetags.ui import money
from settlement.budget_math import Period
from settlement.budget_selectors import Standing
from settlement.models import BudgetUnit

register = template.Library()


@register.filter
def in_unit(amount: Decimal, standing: Standing) -> SafeString:
    """An amount of a budget as people read it: "EUR 1,200.00", "37.50 h"."""
    if standing.budget.unit == BudgetUnit.MONEY:
        return money(amount, standing.budget.workspace.currency)
    return format_html(
        '<data class="number nowrap" value="{}">{} h</data>', f"{amount:.2f}", f"{amount:,.2f}"
    )


@register.filter
def per_cent(share: Decimal | None) -> str:
    """A share in whole per cent, rounded down, so that 100 is said of what is used up alone; "" of none."""
    return "" if share is None else f"{int(share):,} %"


@register.filter
def days_text(period: Period) -> str:
    """A period as short as it can be said: "1 – 30 Jun 2026", "20 May – 10 Jul 2026", "17 Oct 2025 – 21 Mar 2027"."""
    first, last = period
    if first == last:
        return f"{last.day} {last:%b %Y}"
    begin = str(first.day)
    if (first.year, first.month) != (last.year, last.month):
        begin += f" {first:%b}"
    if first.year != last.year:
        begin += f" {first.year}"
    return f"{begin} – {last.day} {last:%b %Y}"
