"""Hours and money, exactly. Decimal and whole seconds only, never float; one rounding, half-up, named here."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

HUNDREDTH = Decimal("0.01")
SECONDS_PER_HOUR = 3600


def cents(amount: Decimal) -> Decimal:
    """An amount rounded half-up to hundredths."""
    return amount.quantize(HUNDREDTH, rounding=ROUND_HALF_UP)


def hours_of(seconds: int) -> Decimal:
    """Seconds as hours, rounded half-up to hundredths (0.01 h is 36 s)."""
    return cents(Decimal(seconds) / SECONDS_PER_HOUR)


def seconds_of(hours: Decimal) -> int:
    """Hours as whole seconds, rounded half-up; exact for hundredths of an hour."""
    return int((hours * SECONDS_PER_HOUR).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def amount_of(seconds: int, hourly_rate: Decimal) -> Decimal:
    """What billable time at a rate comes to, rounded half-up to cents."""
    return cents(hourly_rate * seconds / SECONDS_PER_HOUR)
