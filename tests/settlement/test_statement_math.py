"""What time comes to: the one rounding, lines and totals, by tables of numbers and by properties."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.statement_math import (
    ADJUSTMENT,
    TIME,
    Line,
    Sheet,
    hours,
    minor_units,
    rate_text,
    thawed,
    worth,
)


def line(seconds: int, rate: str = "100.00", **values: object) -> Line:
    one = Line(TIME, "p", "Website", "a", "Design", Decimal(rate), True, seconds, 1, "EUR")
    return replace(one, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "rate", "currency", "amount"),
    [
        (3600, "120.00", "EUR", "120.00"),
        (36, "0.50", "EUR", "0.01"),  # 0.005: half, so up
        (35, "0.50", "EUR", "0.00"),
        (1, "18.00", "EUR", "0.01"),  # exactly half a cent
        (1, "17.99", "EUR", "0.00"),
        (-1, "18.00", "EUR", "-0.01"),  # taken back as it was given
        (-36, "0.50", "EUR", "-0.01"),
        (-3600, "120.00", "EUR", "-120.00"),
        (0, "120.00", "EUR", "0.00"),
        (20, "100.00", "USD", "0.56"),
        (1200, "100.00", "USD", "33.33"),
        (2400, "100.00", "USD", "66.67"),
        (1800, "9501.00", "JPY", "4751"),  # 4750.5
        (1799, "9501.00", "JPY", "4748"),
        (1800, "12.01", "KWD", "6.005"),
        (1, "1.80", "KWD", "0.001"),  # 0.0005
        (10**9, "9999999.99", "EUR", "2777777775000.00"),
    ],
)
def test_amount_is_rounded_half_up_to_the_minor_unit(
    seconds: int, rate: str, currency: str, amount: str
) -> None:
    found = worth(seconds, Decimal(rate), currency)
    assert str(found) == amount


@pytest.mark.parametrize(
    ("currency", "places"),
    [("EUR", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("ISK", 0), ("VND", 0), ("CLP", 0), ("HUF", 2),
     ("KWD", 3), ("BHD", 3), ("TND", 3), ("CLF", 4), ("XXX", 2)],
)  # fmt: skip
def test_minor_units(currency: str, places: int) -> None:
    assert minor_units(currency) == places


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00"), (17, "0.00"), (18, "0.01"), (36, "0.01"), (5400, "1.50"), (-18, "-0.01"), (3599, "1.00"),
     (10**10, "2777777.78")],
)  # fmt: skip
def test_hours(seconds: int, text: str) -> None:
    assert str(hours(seconds)) == text


@pytest.mark.parametrize(
    ("rate", "currency", "text"),
    [
        ("120.00", "EUR", "120.00"),
        ("9500.00", "JPY", "9,500"),
        ("0.50", "JPY", "0.50"),
        ("12.01", "KWD", "12.010"),
    ],
)
def test_rate_says_all_its_digits(rate: str, currency: str, text: str) -> None:
    assert rate_text(Decimal(rate), currency) == text


def test_not_billable_shows_hours_and_nothing() -> None:
    one = line(5400, billable=False)
    assert (str(one.hours), str(one.amount)) == ("1.50", "0.00")
    assert str(line(5400, "9000.00", billable=False, currency="JPY").amount) == "0"


def test_hours_are_of_all_seconds_and_amounts_of_the_lines() -> None:
    """Three lines of 0.333… h: 1.00 h and three times 33.33."""
    sheet = Sheet.of("Acme", "EUR", [line(1200, project=str(n)) for n in range(3)])
    assert [str(one.hours) for one in sheet.lines] == ["0.33"] * 3
    assert str(sheet.hours) == "1.00"
    assert str(sheet.amount) == "99.99"


def test_empty_sheet_has_the_currencys_zero() -> None:
    assert str(Sheet.of("Acme", "EUR", []).amount) == "0.00"
    assert str(Sheet.of("Acme", "KWD", []).amount) == "0.000"


def test_lines_come_by_project_then_activity_with_adjustments_last() -> None:
    lines = [
        line(1, kind=ADJUSTMENT, project_name="Aaa"),
        line(1, project=None, project_name=""),
        line(1, project_name="web", activity_type_name="b"),
        line(1, project_name="Website", activity_type_name="B", billable=False),
        line(1, "90.00", project_name="Website", activity_type_name="B"),
        line(1, "100.00", project_name="Website", activity_type_name="B"),
        line(1, project_name="Website", activity_type=None, activity_type_name=""),
    ]
    found = Sheet.of("Acme", "EUR", lines).lines
    assert [lines.index(one) for one in found] == [2, 5, 4, 3, 6, 1, 0]


def test_frozen_sheet_comes_back_through_json_as_it_was() -> None:
    sheet = Sheet.of(
        "Acme",
        "JPY",
        [line(1799, "9501.00", currency="JPY"), line(-60, kind=ADJUSTMENT, currency="JPY", project=None)],
        [{"budget": "x"}],
    )
    back = thawed(json.loads(json.dumps(sheet.as_json())))
    assert (back.client, back.currency, back.budgets) == (sheet.client, sheet.currency, sheet.budgets)
    assert [one.key for one in back.lines] == [one.key for one in sheet.lines]
    assert [one.amount for one in back.lines] == [one.amount for one in sheet.lines]
    assert (back.seconds, back.amount, back.hours) == (sheet.seconds, sheet.amount, sheet.hours)
    assert back.as_json() == sheet.as_json()


def test_issued_amount_stands_whatever_the_rules_become() -> None:
    frozen = Sheet.of("Acme", "EUR", [line(1200)]).as_json()
    frozen["lines"][0]["amount"] = "33.34"  # as if another rounding had made it
    assert str(thawed(frozen).lines[0].amount) == "33.34"
    assert str(thawed(frozen).amount) == "33.34"


# --- Properties ------------------------------------------------------------------------------------------------------
currencies = st.sampled_from(["EUR", "USD", "JPY", "KWD", "CLF"])
rates = st.decimals(0, Decimal("9999999.99"), places=2)
# A log: on which day, which project and activity type, at what rate, billable, seconds.
logs = st.lists(
    st.tuples(
        st.integers(1, 10), st.sampled_from("pq"), st.sampled_from("ab"), rates, st.booleans(),
        st.integers(0, 86_400),
    ),
    max_size=25,
)  # fmt: skip


def sheet_of(found: list[tuple[int, str, str, Decimal, bool, int]], currency: str) -> Sheet:
    groups: dict[tuple[str, str, Decimal, bool], list[int]] = {}
    for _, project, kind, rate, billable, seconds in found:
        groups.setdefault((project, kind, rate, billable), []).append(seconds)
    return Sheet.of(
        "Acme",
        currency,
        [
            Line(TIME, project, project, kind, kind, rate, billable, sum(parts), len(parts), currency)
            for (project, kind, rate, billable), parts in groups.items()
        ],
    )


@given(logs, currencies)
def test_total_is_the_sum_of_its_lines_in_whole_minor_units(
    found: list[tuple[int, str, str, Decimal, bool, int]], currency: str
) -> None:
    sheet = sheet_of(found, currency)
    assert sheet.amount == sum((one.amount for one in sheet.lines), Decimal(0))
    assert sheet.seconds == sum(seconds for *_, seconds in found)
    assert -int(sheet.amount.as_tuple().exponent) == minor_units(currency)
    assert sheet.entries == len(found)


@given(st.integers(-(10**9), 10**9), rates, currencies)
def test_rounding_is_the_nearest_with_halves_away_from_zero(
    seconds: int, rate: Decimal, currency: str
) -> None:
    exact = Fraction(rate) * seconds / 3600
    unit = Fraction(1, 10 ** minor_units(currency))
    found = Fraction(worth(seconds, rate, currency))
    assert abs(found - exact) <= unit / 2
    if abs(found - exact) == unit / 2:
        assert abs(found) > abs(exact)
    assert worth(-seconds, rate, currency) == -worth(seconds, rate, currency)


@given(logs, st.integers(0, 10), currencies)
def test_splitting_a_period_neither_makes_nor_loses(
    found: list[tuple[int, str, str, Decimal, bool, int]], day: int, currency: str
) -> None:
    """Not a second; and of money no more than the rounding of each line: half a unit in each part and in the whole."""
    whole = sheet_of(found, currency)
    first = sheet_of([log for log in found if log[0] <= day], currency)
    second = sheet_of([log for log in found if log[0] > day], currency)
    assert first.seconds + second.seconds == whole.seconds
    assert first.billable_seconds + second.billable_seconds == whole.billable_seconds
    both = {one.key for one in first.lines if one.billable} & {one.key for one in second.lines}
    unit = Decimal(1).scaleb(-minor_units(currency))
    assert abs(first.amount + second.amount - whole.amount) <= unit * len(both)
