"""The burn chart of a budget, drawn on the server: figures in, coordinates out. `budget_burn.html` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from settlement.budget_math import ZERO, Period, even_use, hundredths, month_of, used_up_on

Series = Sequence[tuple[date, Decimal]]  # a day, and what is used by its end; rising

TOP, BOTTOM = 14, 28  # room for the budget's own label above, and the days below
MOST_ROWS = 45  # a longer period's table is by month
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Drawing:
    """One size of the chart, right of `left`. Points are "x,y x,y …"; klass: which screens it is for.

    used: the line of what is used; area: that with the ground below it; even: the even pace; ahead: how it goes on at
    the present pace, "" where it does not; limit: the height of what is available; today: None outside of the period.
    """

    klass: str
    width: int
    height: int
    left: int
    bottom: float
    used: str
    area: str
    even: str
    ahead: str
    limit: float
    today: float | None
    rows: list[Tick]
    columns: list[Tick]

    @property
    def label_x(self) -> int:
        return self.left - 8

    @property
    def label_y(self) -> int:
        return self.height - 8


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: by the end of a day, or of a month."""

    day: date
    used: Decimal
    even: Decimal


@dataclass(frozen=True, slots=True)
class Burn:
    drawings: list[Drawing]
    rows: list[Row]
    by_month: bool
    used_up_on: date | None


def burn_chart(
    *, period: Period, available: Decimal, series: Series, on: date, runs_out_on: date | None
) -> Burn:
    """The burn of a period: what is used day by day, against the even pace, what is available, and the days ahead.

    series: days of the period that have time. on: today. runs_out_on: the day it is used up at the present pace.
    """
    used = series[-1][1] if series else ZERO
    ahead = _ahead(period, available, used, on, runs_out_on)
    top = max(available, used, *(value for _, value in ahead), Decimal(1))
    step = step_for(top)
    drawings = [
        _draw(period, available, series, on, ahead, top, step, klass="broad", width=960, height=260, left=64),
        _draw(
            period, available, series, on, ahead, top, step, klass="narrow", width=320, height=200, left=52
        ),
    ]
    by_month = period.days > MOST_ROWS
    rows = [
        Row(day, used_by(series, day), even_use(available, period, day))
        for day in _marks(period, on, by_month)
    ]
    return Burn(drawings, rows, by_month, used_up_on(period, series, available))


def used_by(series: Series, day: date) -> Decimal:
    """What is used by the end of a day."""
    return next((used for when, used in reversed(series) if when <= day), ZERO)


def step_for(top: Decimal) -> Decimal:
    """A round step, so that at most five of them reach the top: 1, 2, 5, 10, 20, …, or parts of one."""
    size = Decimal(1).scaleb(top.adjusted() - 1)
    while True:
        for factor in (1, 2, 5):
            if size * factor * 5 >= top:
                return size * factor
        size *= 10


def _ahead(
    period: Period, available: Decimal, used: Decimal, on: date, runs_out_on: date | None
) -> list[tuple[date, Decimal]]:
    """From today on, at the present pace: up to the day it is used up, or the period's end."""
    if not (period.first <= on < period.last) or not 0 < used < available:
        return []
    if runs_out_on is not None:
        return [(on, used), (runs_out_on, available)]
    return [(on, used), (period.last, min(hundredths(used * period.days / period.elapsed(on)), available))]


def _marks(period: Period, on: date, by_month: bool) -> list[date]:
    """The days of the table: each up to today, or the last of each month."""
    last = min(period.last, on)
    if not by_month:
        return [period.first + DAY * number for number in range(period.elapsed(last))]
    days, month = [], month_of(period.first)
    while month.first <= last:
        days.append(min(month.last, last))
        month = month_of(month.last + DAY)
    return days


def _draw(
    period: Period, available: Decimal, series: Series, on: date, ahead: Series, top: Decimal, step: Decimal, *,
    klass: str, width: int, height: int, left: int,
) -> Drawing:  # fmt: skip
    bottom = height - BOTTOM
    tall, wide = bottom - TOP, width - left

    def x(days: int) -> float:
        return round(left + wide * days / period.days, 1)

    def y(value: Decimal) -> float:
        return round(bottom - float(value / top) * tall, 1)

    def end(day: date) -> float:
        return x(period.elapsed(day))

    line: list[tuple[float, float]] = [(x(0), float(bottom))]
    for day, used in series:
        line += [(x(period.elapsed(day) - 1), line[-1][1]), (end(day), y(used))]
    if period.first <= on:  # flat to today: nothing was used since
        line.append((max(line[-1][0], end(on)), line[-1][1]))
    return Drawing(
        klass=klass,
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        used=_points(line),
        area=_points([*line, (line[-1][0], float(bottom))]),
        even=_points([(x(0), float(bottom)), (x(period.days), y(available))]),
        ahead=_points([(end(day), y(value)) for day, value in ahead]),
        limit=y(available),
        today=end(on) if period.first <= on <= period.last else None,
        rows=[
            Tick(y(step * number), f"{step * number:,.{_decimals(step)}f}")
            for number in range(int(top / step) + 1)
        ],
        columns=_columns(period, x, most=8 if klass == "broad" else 3),
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    kept = [one for number, one in enumerate(points) if number == 0 or one != points[number - 1]]
    return " ".join(f"{x:g},{y:g}" for x, y in kept)


def _decimals(step: Decimal) -> int:
    return max(0, -step.adjusted())


def _columns(period: Period, x: object, *, most: int) -> list[Tick]:
    """Days to be named below: evenly spread, the first and the last among them."""
    assert callable(x)  # for types
    count = min(most, period.days)
    numbers = sorted({round(number * (period.days - 1) / max(count - 1, 1)) for number in range(count)})
    ticks = []
    for number in numbers:
        day = period.first + DAY * number
        text = f"{day.day} {day:%b}" if period.days <= 366 else f"{day:%b %Y}"
        anchor = "start" if number == 0 else "end" if number == period.days - 1 else "middle"
        at = x(number) if number == 0 else x(number + 1) if number == period.days - 1 else x(number + 0.5)
        ticks.append(Tick(at, text, anchor))
    return ticks
