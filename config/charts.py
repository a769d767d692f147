"""Charts drawn on the server: numbers in, coordinates out. Pure; `parts/bars.html` draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from accounts.templatetags.ui import duration_text
from timelogs.selectors import Day

WIDTH, HEIGHT = 720, 220
LEFT, TOP, BOTTOM = 44, 8, 28  # room for the hours at the left and the days below
GAP = 0.36  # of a day's width


@dataclass(frozen=True, slots=True)
class Part:
    y: float
    height: float
    light: bool


@dataclass(frozen=True, slots=True)
class Bar:
    day: date
    label: str
    tip: str
    total: int
    billable: int
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
class Bars:
    """Bars by day, billable time below and the rest above it."""

    id: str
    title: str
    description: str
    bars: list[Bar]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    label_x: int = LEFT - 8
    label_y: int = HEIGHT - 8


def step_for(hours: float) -> int:
    """Whole hours between two lines, so that there are at most five."""
    return next(step for step in (1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 1000) if hours <= 4 * step)


def bars(*, id: str, title: str, days: list[Day], today: date) -> Bars:
    """A chart of the days' time. Its scale begins at zero and ends on a line at or above the longest day."""
    longest = max((day.seconds for day in days), default=0) / 3600
    step = step_for(longest)
    count = max(1, math.ceil(longest / step))
    bottom = HEIGHT - BOTTOM
    per_second = (bottom - TOP) / (count * step * 3600)
    slot = (WIDTH - LEFT) / max(1, len(days))
    drawn = []
    for number, day in enumerate(days):
        billable = day.billable_seconds * per_second
        rest = (day.seconds - day.billable_seconds) * per_second
        parts = [Part(round(bottom - billable, 1), round(billable, 1), light=False)] if billable else []
        if rest:
            parts.append(Part(round(bottom - billable - rest, 1), round(rest, 1), light=True))
        x = LEFT + slot * (number + GAP / 2)
        drawn.append(
            Bar(
                day=day.day,
                label=f"{day.day:%a} {day.day.day}" if slot > 40 else str(day.day.day),
                tip=f"{day.day:%a} {day.day.day} {day.day:%b}: {duration_text(day.seconds)},"
                f" {duration_text(day.billable_seconds)} of it billable",
                total=day.seconds,
                billable=day.billable_seconds,
                x=round(x, 1),
                middle=round(x + slot * (1 - GAP) / 2, 1),
                width=round(slot * (1 - GAP), 1),
                parts=parts,
                strong=day.day == today,
            )
        )
    total = sum(day.seconds for day in days)
    best = max(days, key=lambda day: day.seconds, default=None)
    description = f"{duration_text(total)} in {len(days)} days"
    if best is not None and best.seconds:
        description += f"; most on {best.day:%A} {best.day.day} {best.day:%B}, {duration_text(best.seconds)}"
    return Bars(
        id=id,
        title=title,
        description=description + ".",
        bars=drawn,
        lines=[
            Line(round(bottom - number * step * 3600 * per_second, 1), f"{number * step} h")
            for number in range(count + 1)
        ],
    )
