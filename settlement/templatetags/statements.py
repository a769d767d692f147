"""Figures of statements on pages: exactly those of the exports, in the currency's own decimals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from settlement.statement_math import minor_units, rate_text

register = template.Library()
MINUS = "\u2212"


@register.filter
def sum_in(amount: Decimal, currency: str) -> SafeString:
    """An amount with its currency, with as many decimals as that has."""
    places = minor_units(currency)
    return format_html(
        '<data class="money" value="{}"><span class="currency">{}</span>{}</data>',
        f"{amount:.{places}f}",
        currency,
        f"{amount:,.{places}f}".replace("-", MINUS),
    )


@register.filter
def rate_in(rate: Decimal, currency: str) -> str:
    """An hourly rate, without its currency."""
    return rate_text(rate, currency)


@register.simple_tag
def budget_figure(budget: Mapping[str, str], name: str) -> SafeString:
    """A figure of a budget before and after: hours, or money."""
    value = Decimal(budget[name])
    return (
        format_html("{} h", hours_text(value))
        if budget["unit"] == "hours"
        else sum_in(value, budget["currency"])
    )


@register.filter
def hours_text(hours: Decimal | str) -> str:
    """Decimal hours: "1,234.50", with a real minus."""
    return f"{Decimal(hours):,.2f}".replace("-", MINUS)
