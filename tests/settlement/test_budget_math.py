"""The arithmetic of budgets, by tables and by properties."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from settlement.budget_math import (
    Period,
    carry,
    even_use,
    month_of,
    months_before,
    per_hour,
    percent,
    period_on,
    periods_within,
    reached,
    runs_out_on,
    used_up_on,
)
from settlement.charts import Burn, burn_chart, step_for, used_by

D = Decimal
amounts = st.decimals(0, 100_000, places=2)
days = st.dates(date(2020, 1, 1), date(2030, 12, 31))
JUNE = Period(date(2026, 6, 1), date(2026, 6, 30))


# --- Rounding --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("weighted", "decimals", "shown"),
    [
        (0, 2, "0.00"),
        (3600, 2, "1.00"),
        (17, 2, "0.00"),
        (18, 2, "0.01"),  # half a hundredth: up
        (36, 2, "0.01"),
        (D("3600") * D("33.33"), 2, "33.33"),
        (D(1800) * D("0.01"), 2, "0.01"),
        (D(1799) * D("0.01"), 2, "0.00"),
        (D(1800) * 3, 0, "2.00"),  # half a yen: up
        (D(1799) * 3, 0, "1.00"),
        (3600, 3, "1.00"),  # a dinar's third decimal is not kept
    ],
)
def test_what_is_used_is_rounded_half_up_once(weighted: Decimal | int, decimals: int, shown: str) -> None:
    assert str(per_hour(weighted, decimals)) == shown


@given(st.integers(0, 10**12))
def test_rounding_is_off_by_half_a_hundredth_at_most(seconds: int) -> None:
    assert abs(Fraction(per_hour(seconds)) - Fraction(seconds, 3600)) <= Fraction(1, 200)


# --- Periods ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("starts", "ends", "on", "first", "last"),
    [
        (None, None, "2026-02-14", "2026-02-01", "2026-02-28"),
        (None, None, "2028-02-29", "2028-02-01", "2028-02-29"),
        (None, None, "2026-12-31", "2026-12-01", "2026-12-31"),
        ("2026-06-15", None, "2026-06-20", "2026-06-15", "2026-06-30"),  # the first month is cut
        ("2026-06-15", None, "2026-01-01", "2026-06-15", "2026-06-30"),  # not begun: the first one
        ("2026-06-15", None, "2026-07-01", "2026-07-01", "2026-07-31"),
        (None, "2026-06-15", "2026-06-20", "2026-06-01", "2026-06-15"),  # ended: the last one
        (None, "2026-06-15", "2027-06-20", "2026-06-01", "2026-06-15"),
        ("2026-06-10", "2026-06-15", "2026-06-12", "2026-06-10", "2026-06-15"),
    ],
)
def test_the_month_of_a_monthly_budget(
    starts: str | None, ends: str | None, on: str, first: str, last: str
) -> None:
    def day(text: str | None) -> date | None:
        return date.fromisoformat(text) if text else None

    found = period_on(monthly=True, starts_on=day(starts), ends_on=day(ends), on=date.fromisoformat(on))
    assert found == Period(date.fromisoformat(first), date.fromisoformat(last))


def test_a_budget_for_once_has_one_period() -> None:
    year = Period(date(2026, 3, 5), date(2027, 3, 4))
    for on in (date(2020, 1, 1), date(2026, 8, 1), date(2030, 1, 1)):
        assert period_on(monthly=False, starts_on=year.first, ends_on=year.last, on=on) == year
    with pytest.raises(ValueError, match="first and a last"):
        period_on(monthly=False, starts_on=year.first, ends_on=None, on=year.first)


@given(days, st.integers(0, 1000), st.none() | days, st.none() | days, days)
def test_periods_within_days_cover_them_once(
    first: date, length: int, starts: date | None, ends: date | None, on: date
) -> None:
    assume(starts is None or ends is None or starts <= ends)
    last = first + timedelta(days=length)
    found = periods_within(monthly=True, starts_on=starts, ends_on=ends, first=first, last=last)
    assert found == sorted(set(found))
    covered = [day for one in found for day in (one.first + timedelta(days=n) for n in range(one.days))]
    wanted = [
        day
        for day in (first + timedelta(days=n) for n in range(length + 1))
        if (starts is None or day >= starts) and (ends is None or day <= ends)
    ]
    assert set(wanted) <= set(covered)
    assert len(covered) == len(set(covered))
    for one in found:
        assert one.first <= last
        assert one.last >= first
        assert period_on(monthly=True, starts_on=starts, ends_on=ends, on=one.first) == one


def test_months_before_a_period() -> None:
    assert months_before(JUNE, date(2026, 6, 15)) == []
    assert months_before(JUNE, date(2026, 4, 30)) == [date(2026, 4, 1), date(2026, 5, 1)]
    assert months_before(JUNE, date(2027, 1, 1)) == []
    assert len(months_before(JUNE, date(2024, 6, 1))) == 24


# --- What carries over -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("amount", "used", "cap", "left"),
    [
        ("40", [], None, "0"),
        ("40", ["30"], None, "10"),
        ("40", ["30", "0"], None, "50"),
        ("40", ["30", "50"], None, "0"),  # what was carried over pays for what is over
        ("40", ["30", "45"], None, "5"),
        ("40", ["60"], None, "0"),  # over: nothing is owed
        ("40", ["60", "0"], None, "40"),
        ("40", ["30"], "5", "5"),
        ("40", ["30", "30"], "15", "15"),
        ("40", ["0", "0", "0"], "0", "0"),
        ("0", ["10", "0"], None, "0"),
        ("40", ["33.33", "33.34"], None, "13.33"),
    ],
)
def test_what_carries_over(amount: str, used: list[str], cap: str | None, left: str) -> None:
    assert carry(D(amount), map(D, used), D(cap) if cap is not None else None) == D(left)


@given(amounts, st.lists(amounts, max_size=30), st.none() | amounts)
def test_carrying_over_is_bounded(amount: Decimal, used: list[Decimal], cap: Decimal | None) -> None:
    left = carry(amount, used, cap)
    assert 0 <= left <= max(amount * len(used) - 0, 0)
    if cap is not None:
        assert left <= cap
    else:
        assert left >= amount * len(used) - sum(used)  # nothing unused is lost
    if used:
        more = carry(amount, [*used[:-1], used[-1] + 1], cap)
        assert more <= left  # using more never leaves more


# --- Thresholds ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("used", "available", "found"),
    [
        ("0", "10", []),
        ("7.99", "10", []),
        ("8", "10", [80]),
        ("9.99", "10", [80]),
        ("10", "10", [80, 100]),
        ("30", "10", [80, 100]),
        ("0", "0", []),
        ("0.01", "0", [80, 100]),
    ],
)
def test_thresholds_that_are_reached(used: str, available: str, found: list[int]) -> None:
    assert reached(D(used), D(available), [100, 80]) == found


def test_shares() -> None:
    assert percent(D("2"), D("3")) == D("66.67")
    assert percent(D("15"), D("10")) == D("150.00")
    assert percent(D("0"), D("10")) == D("0.00")
    assert percent(D("5"), D("0")) is None
    assert percent(D("0"), D("0")) is None


# --- Pace ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("used", "available", "on", "out"),
    [
        ("10", "30", 10, 30),  # one a day: just to the end
        ("10", "29", 10, 29),
        ("10", "31", 10, None),  # lasts
        ("10", "11", 10, 11),
        ("1", "10", 1, 10),
        ("10", "10", 10, None),  # used up already
        ("12", "10", 10, None),
        ("0", "10", 10, None),
        ("0.01", "10", 10, None),
    ],
)
def test_the_day_it_runs_out(used: str, available: str, on: int, out: int | None) -> None:
    found = runs_out_on(D(used), D(available), JUNE, date(2026, 6, on))
    assert found == (date(2026, 6, out) if out else None)


def test_nothing_runs_out_before_or_after_its_period() -> None:
    for on in (date(2026, 5, 31), date(2026, 7, 1)):
        assert runs_out_on(D(10), D(20), JUNE, on) is None


@given(days, st.integers(1, 800), st.integers(0, 800), amounts, amounts)
def test_pace_runs_out_when_it_says(
    first: date, length: int, gone: int, used: Decimal, available: Decimal
) -> None:
    assume(0 < used < available)
    period = Period(first, first + timedelta(days=length - 1))
    on = first + timedelta(days=min(gone, length - 1))
    out = runs_out_on(used, available, period, on)
    pace = Fraction(used) / period.elapsed(on)
    if out is None:
        assert pace * period.days < Fraction(available)
    else:
        assert on < out <= period.last
        assert pace * period.elapsed(out) >= Fraction(available) > pace * (period.elapsed(out) - 1)


@given(days, st.integers(1, 800), days, amounts)
def test_an_even_pace_begins_at_nothing_and_ends_at_all(
    first: date, length: int, on: date, available: Decimal
) -> None:
    period = Period(first, first + timedelta(days=length - 1))
    assert even_use(available, period, period.first - timedelta(days=1)) == 0
    assert even_use(available, period, period.last) == available
    assert 0 <= even_use(available, period, on) <= available


# --- The chart -------------------------------------------------------------------------------------------------------
def chart(available: str, series: list[tuple[int, str]], on: date, out: date | None = None) -> Burn:
    return burn_chart(
        period=JUNE,
        available=D(available),
        series=[(date(2026, 6, day), D(used)) for day, used in series],
        on=on,
        runs_out_on=out,
    )


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (one.split(",") for one in text.split())]


def test_chart_of_a_running_month() -> None:
    found = chart("30", [(3, "6"), (10, "15")], date(2026, 6, 12), date(2026, 6, 24))
    assert found.used_up_on is None
    assert [(row.day.day, row.used, row.even) for row in found.rows][8:] == [
        (9, D("6"), D("9.00")),
        (10, D("15"), D("10.00")),
        (11, D("15"), D("11.00")),
        (12, D("15"), D("12.00")),
    ]
    broad, narrow = found.drawings
    assert (broad.klass, narrow.klass) == ("broad", "narrow")
    for one in found.drawings:
        line, even, ahead = points(one.used), points(one.even), points(one.ahead)
        assert line[0] == even[0] == (one.left, one.bottom)
        assert even[-1] == (one.width, one.limit)
        assert line[-1][0] == one.today == ahead[0][0]
        assert line[-1][1] == ahead[0][1]  # it goes on where the line ends
        assert ahead[-1][1] == one.limit
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
        assert all(one.left <= x <= one.width and 0 <= y <= one.bottom for x, y in (*line, *even, *ahead))
        half = one.bottom - (one.bottom - one.limit) / 2
        assert line[-1][1] == pytest.approx(half, abs=0.2)
        assert [tick.text for tick in one.rows] == ["0", "10", "20", "30"]
    assert [tick.text for tick in narrow.columns] == ["1 Jun", "15 Jun", "30 Jun"]


def test_chart_of_a_month_gone_over() -> None:
    found = chart("10", [(2, "4"), (9, "10"), (20, "25")], date(2026, 7, 5))
    assert found.used_up_on == date(2026, 6, 9)
    assert len(found.rows) == 30
    for one in found.drawings:
        assert one.today is None
        assert one.ahead == ""
        assert one.limit > min(y for _, y in points(one.used))  # the line goes above what is available
        assert points(one.used)[-1][0] == one.width


@pytest.mark.parametrize("available", ["0", "0.01", "10"])
@pytest.mark.parametrize("series", [[], [(1, "0")], [(1, "5")]])
def test_chart_of_next_to_nothing_is_drawn(available: str, series: list[tuple[int, str]]) -> None:
    for on in (date(2026, 5, 1), date(2026, 6, 1), date(2026, 6, 30), date(2026, 8, 1)):
        found = chart(available, series, on)
        assert len(found.drawings) == 2
        assert found.rows == [] if on < JUNE.first else len(found.rows) == min(on, JUNE.last).day


def test_a_long_period_is_listed_by_month() -> None:
    period = Period(date(2025, 1, 10), date(2026, 12, 31))
    found = burn_chart(
        period=period,
        available=D(100),
        series=[(date(2025, 2, 28), D(7))],
        on=date(2026, 6, 12),
        runs_out_on=None,
    )
    assert found.by_month
    assert [row.day for row in found.rows][:2] == [date(2025, 1, 31), date(2025, 2, 28)]
    assert found.rows[-1].day == date(2026, 6, 12)
    assert len(found.rows) == 18
    assert [row.used for row in found.rows[:3]] == [0, 7, 7]


@given(st.decimals("0.01", "9999999999", places=2))
def test_steps_are_round_and_few(top: Decimal) -> None:
    step = step_for(top)
    assert 2 <= top / step <= 5
    assert step.normalize().as_tuple().digits in ((1,), (2,), (5,))


def test_used_by_a_day() -> None:
    series = [(date(2026, 6, 3), D(1)), (date(2026, 6, 5), D(4))]
    wanted = {2: 0, 3: 1, 4: 1, 5: 4, 30: 4}
    assert {day: used_by(series, date(2026, 6, day)) for day in wanted} == wanted
    assert used_up_on(JUNE, series, D(4)) == date(2026, 6, 5)
    assert used_up_on(JUNE, series, D(5)) is None
    assert used_up_on(JUNE, [(date(2026, 6, 3), D(0))], D(0)) is None


def test_months() -> None:
    assert month_of(date(2026, 2, 3)) == Period(date(2026, 2, 1), date(2026, 2, 28))
    assert JUNE.elapsed(date(2026, 5, 31)) == 0
    assert JUNE.elapsed(date(2026, 6, 1)) == 1
    assert JUNE.elapsed(date(2027, 1, 1)) == JUNE.days == 30
