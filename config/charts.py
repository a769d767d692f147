"""Charts drawn on the server: numbers in, coordinates out. Pure; `parts/bars.html` draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from itertools import chain, count

from accounts.templatetags.ui import duration_text
from timelogs.selectors import Day

TOP, BOTTOM = 8, 28  # room for half a line of text above, and the days below
GAP = 0.36  # of a day's width


@dataclass(frozen=True, slots=True)
class Part:
    y: float
    height: float
    light: bool


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    tip: str
    x: float
    middle: float
    width: float
    parts: list[Part]
    strong: bool


@dataclass(frozen=True, slots=True)
class Line:
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Bars in a box of `width` x `height`, right of `left`, where the hours stand. klass: which screens it is for."""

    klass: str
    width: int
    height: int
    left: int
    bars: list[Bar]
    lines: list[Line]

    @property
    def label_x(self) -> int:
        return self.left - 8

    @property
    def label_y(self) -> int:
        return self.height - 8


@dataclass(frozen=True, slots=True)
class Chart:
    """Time by day, billable time below and the rest above it: drawn for a broad and a narrow screen."""

    id: str
    title: str
    description: str
    days: list[Day]
    drawings: list[Drawing]


def step_for(hours: float) -> int:
    """Whole hours between two lines, so that there are at most five, however many people log their time."""
    steps = chain((1, 2, 4, 5, 8), (10**power * part for power in count() for part in (10, 20, 25, 40, 50)))
    return next(step for step in steps if hours <= 4 * step)


def chart_of(*, id: str, title: str, days: list[Day], today: date) -> Chart:
    """A chart of the days' time. Its scale begins at zero and ends on a line at or above the longest day."""
    best = max(days, key=lambda day: day.seconds)
    description = f"{duration_text(sum(day.seconds for day in days))} in {len(days)} days"
    if best.seconds:
        description += f"; most on {best.day:%A} {best.day.day} {best.day:%B}, {duration_text(best.seconds)}"
    drawings = [
        _drawing(days, today, klass="broad", width=960, height=240, left=44),
        _drawing(days, today, klass="narrow", width=320, height=180, left=36),
    ]
    return Chart(id=id, title=title, description=description + ".", days=days, drawings=drawings)


def _drawing(days: list[Day], today: date, *, klass: str, width: int, height: int, left: int) -> Drawing:
    longest = max(day.seconds for day in days) / 3600
    step = step_for(longest)
    count = max(1, math.ceil(longest / step))
    bottom = height - BOTTOM
    per_second = (bottom - TOP) / (count * step * 3600)
    slot = (width - left) / len(days)
    bars = []
    for number, day in enumerate(days):
        billable, whole = day.billable_seconds * per_second, day.seconds * per_second
        parts = [
            Part(round(bottom - top, 1), round(tall, 1), light)
            for top, tall, light in ((billable, billable, False), (whole, whole - billable, True))
            if tall
        ]
        x = left + slot * (number + GAP / 2)
        bars.append(
            Bar(
                label=f"{day.day:%a} {day.day.day}" if slot > 50 else str(day.day.day),
                tip=f"{day.day:%a} {day.day.day} {day.day:%b}: {duration_text(day.seconds)},"
                f" {duration_text(day.billable_seconds)} of it billable",
                x=round(x, 1),
                middle=round(x + slot * (1 - GAP) / 2, 1),
                width=round(slot * (1 - GAP), 1),
                parts=parts,
                strong=day.day == today,
            )
        )
    lines = [
        Line(round(bottom - number * step * 3600 * per_second, 1), f"{number * step} h")
        for number in range(count + 1)
    ]
    return Drawing(klass, width, height, left, bars, lines)
