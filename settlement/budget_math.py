"""The arithmetic of budgets: periods, what carries over, pace, thresholds. Pure: values in, values out.

Amounts are Decimals in hundredths, of hours or of money alike, and what is used of a period is rounded half-up to
hundredths once, before anything follows from it: what people see is what counts, and the figures they see add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import NamedTuple

DAY = timedelta(days=1)
HUNDREDTH = Decimal("0.01")
ZERO = Decimal("0.00")
SECONDS_PER_HOUR = 3600


def hundredths(value: Decimal) -> Decimal:
    """Rounded half-up to hundredths."""
    return value.quantize(HUNDREDTH, rounding=ROUND_HALF_UP)


def per_hour(weighted: Decimal | int, decimals: int = 2) -> Decimal:
    """Seconds as hours, or seconds x hourly rate as money, rounded half-up once.

    decimals: of what is counted, two at most (a yen has none); the result is shown with two all the same.
    """
    unit = Decimal(1).scaleb(-min(decimals, 2))
    return (Decimal(weighted) / SECONDS_PER_HOUR).quantize(unit, rounding=ROUND_HALF_UP).quantize(HUNDREDTH)


# --- Periods ---------------------------------------------------------------------------------------------------------
class Period(NamedTuple):
    """Days from first to last, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def elapsed(self, on: date) -> int:
        """How many of its days have begun on that day: 0 before it, all of them after it."""
        return min(max((on - self.first).days + 1, 0), self.days)


def month_of(day: date) -> Period:
    """The calendar month of a day."""
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Period(day.replace(day=1), following - DAY)


def period_on(*, monthly: bool, starts_on: date | None, ends_on: date | None, on: date) -> Period:
    """The period of a budget that a day is in; the first one before it starts, the last one after it has ended.

    A month that the budget starts or ends in is cut there, and has the whole amount all the same.
    """
    if not monthly:
        if starts_on is None or ends_on is None:
            raise ValueError("A budget for once has a first and a last day.")
        return Period(starts_on, ends_on)
    if ends_on is not None:
        on = min(on, ends_on)
    if starts_on is not None:
        on = max(on, starts_on)
    month = month_of(on)
    return Period(max(month.first, starts_on or month.first), min(month.last, ends_on or month.last))


def periods_within(
    *, monthly: bool, starts_on: date | None, ends_on: date | None, first: date, last: date
) -> list[Period]:
    """The periods of a budget that share a day with those from first to last, in order."""
    found: list[Period] = []
    day = first
    while day <= last:
        period = period_on(monthly=monthly, starts_on=starts_on, ends_on=ends_on, on=day)
        if period.first <= last and period.last >= first and period not in found[-1:]:
            found.append(period)
        if not monthly:
            break
        day = month_of(day).last + DAY
    return found


def months_before(period: Period, starts_on: date) -> list[date]:
    """The first days of the months from the one of `starts_on` to the one before the period's."""
    months = []
    month = starts_on.replace(day=1)
    while month < period.first.replace(day=1):
        months.append(month)
        month = month_of(month).last + DAY
    return months


# --- What carries over -----------------------------------------------------------------------------------------------
def carry(amount: Decimal, used: Iterable[Decimal], cap: Decimal | None = None) -> Decimal:
    """What is left over for the next month after months in which so much was used.

    used: of each month since the budget began, in order, those without time too. cap: the most that is ever carried
    over, None for no limit. A month that went over carries nothing: what is over is seen, never owed by the next month.
    """
    left = ZERO
    for one in used:
        left = max(left + amount - one, ZERO)
        if cap is not None:
            left = min(left, cap)
    return left


# --- How far, how fast -----------------------------------------------------------------------------------------------
def percent(used: Decimal, available: Decimal) -> Decimal | None:
    """What share is used, in per cent, half-up to hundredths; None of nothing, which has no shares."""
    return hundredths(used * 100 / available) if available else None


def reached(used: Decimal, available: Decimal, thresholds: Iterable[int]) -> list[int]:
    """The thresholds (per cent) that are reached, rising. Of a budget of zero any time at all reaches every one."""
    if not used:
        return []
    return [one for one in sorted(thresholds) if used * 100 >= one * available]


def even_use(available: Decimal, period: Period, on: date) -> Decimal:
    """What an even pace would have used by the end of a day."""
    return hundredths(available * period.elapsed(on) / period.days)


def runs_out_on(used: Decimal, available: Decimal, period: Period, on: date) -> date | None:
    """The day on which a budget is used up, if each day goes on using what the days so far have used on average.

    None where it lasts the period, where nothing is used yet, and where it is used up already or the period is not on.
    """
    if not (period.first <= on <= period.last and 0 < used < available):
        return None
    days = (available * period.elapsed(on) / used).to_integral_value(rounding=ROUND_CEILING)
    return period.first + timedelta(days=int(days) - 1) if days <= period.days else None


def used_up_on(period: Period, by_day: Sequence[tuple[date, Decimal]], available: Decimal) -> date | None:
    """The day by whose end all was used; by_day: days of the period with what is used by their end, rising."""
    return next((day for day, used in by_day if used and used >= available), None)
