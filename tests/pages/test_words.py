"""Pure pieces of the pages: durations as typed, values as shown, charts, names of places."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Membership
from accounts.templatetags import ui
from accounts.tenancy import tenant_scope
from config.charts import chart_of
from tests.factories import make_client, make_project, make_work_item
from timelogs.durations import clock, parse
from timelogs.places import UnknownPlace, find, places_of
from timelogs.selectors import Day

TYPED = [
    ("1:30", 5400),
    (":45", 2700),
    ("1:30:15", 5415),
    ("1.5", 5400),
    ("1,5", 5400),
    (".25", 900),
    ("2", 7200),
    ("2h", 7200),
    ("2 hours", 7200),
    ("90m", 5400),
    ("90 min", 5400),
    ("1h30", 5400),
    ("1 h 05 m", 3900),
    (" 1H 30M ", 5400),
    ("0", 0),
    ("0.01", 36),
    ("1.0001", 3600),
    ("", None),
    ("abc", None),
    ("1:75", None),
    ("-1", None),
    ("1:3:9", None),
    ("٣", None),
    ("1e5", None),
    ("9999", None),
]


@pytest.mark.parametrize(("text", "seconds"), TYPED)
def test_duration_is_read_as_meant(text: str, seconds: int | None) -> None:
    assert parse(text) == seconds


@given(st.integers(0, 86_400))
def test_duration_survives_being_edited_unchanged(seconds: int) -> None:
    assert parse(clock(seconds)) == seconds


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_not(text: str) -> None:
    found = parse(text)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 m"), (29, "0 m"), (30, "1 m"), (2700, "45 m"), (7620, "2 h 07 m"), (3_600_000, "1,000 h 00 m")],
)
def test_duration_is_shown_to_the_minute(seconds: int, text: str) -> None:
    assert ui.duration_text(seconds) == text


def test_values_carry_their_exact_selves() -> None:
    assert ui.duration(7632) == (
        '<data class="duration" value="7632" title="2:07:12 (2.12 h)">2 h 07 m</data>'
    )
    assert ui.money(Decimal("1234.5"), "EUR") == (
        '<data class="money" value="1234.50"><span class="currency">EUR</span>1,234.50</data>'
    )
    assert ui.day(date(2020, 3, 2)) == '<time class="nowrap" datetime="2020-03-02">Mon 2 Mar 2020</time>'


def test_values_that_are_missing_or_odd() -> None:
    assert (
        ui.duration(None)
        == ui.duration(0)
        == '<data class="duration" value="0" title="0:00:00 (0.00 h)">0 m</data>'
    )
    assert 'value="0.00"' in ui.money(None, "EUR")
    assert ui.money(Decimal("-1234567.005"), "<b>") == (
        '<data class="money" value="-1234567.00"><span class="currency">&lt;b&gt;</span>-1,234,567.00</data>'
    )


def test_day_has_its_year_once_the_year_is_over(time_machine: Any) -> None:
    day = date(2026, 12, 31)
    time_machine.move_to(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), tick=False)
    assert ">Thu 31 Dec<" in ui.day(day)
    time_machine.move_to(datetime(2027, 1, 1, tzinfo=UTC), tick=False)
    assert ">Thu 31 Dec 2026<" in ui.day(day)


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (timedelta(seconds=10), "just now"),
        (timedelta(seconds=80), "1 minute ago"),
        (timedelta(minutes=59, seconds=50), "1 hour ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=40), "1 month ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(hours=-2), "in 2 hours"),
    ],
)
def test_moment_is_told_in_one_unit(then: timedelta, text: str) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert ui.ago_text(now - then, now) == text


@pytest.mark.parametrize(
    ("name", "letters"), [("Ada Lovelace", "AL"), ("Mara", "M"), ("x.y@z.test", "XT"), ("", ""), ("— A", "A")]
)
def test_initials(name: str, letters: str) -> None:
    assert ui.initials(name) == letters


def test_chart_keeps_inside_its_box_and_adds_up() -> None:
    first = date(2026, 6, 1)
    days = [Day(first + timedelta(days=n), 3600 * n, 1800 * n) for n in range(14)]
    chart = chart_of(id="c", title="T", days=days, today=days[-1].day)
    assert chart.description == "91 h 00 m in 14 days; most on Sunday 14 June, 13 h 00 m."
    for drawing in chart.drawings:
        assert [line.text for line in drawing.lines] == ["0 h", "4 h", "8 h", "12 h", "16 h"]
        base = drawing.lines[0].y
        for bar, day in zip(drawing.bars, days, strict=True):
            assert drawing.left <= bar.x
            assert bar.x + bar.width <= drawing.width
            heights = sum(part.height for part in bar.parts)
            assert heights == pytest.approx((base - drawing.lines[1].y) / 4 * day.seconds / 3600, abs=0.2)
            assert all(8 <= part.y <= base for part in bar.parts)


def test_chart_of_no_time_has_a_scale() -> None:
    days = [Day(date(2026, 6, 1), 0, 0)]
    chart = chart_of(id="c", title="T", days=days, today=days[0].day)
    assert chart.description == "0 m in 1 days."
    assert [line.text for line in chart.drawings[0].lines] == ["0 h", "1 h"]


def test_place_is_found_by_what_people_call_it(admin: Membership) -> None:
    acme, other = make_client(admin.workspace, "Acme"), make_client(admin.workspace, "Brook")
    site, shop = make_project(acme, "Website"), make_project(other, "Website")
    app = make_project(acme, "App")
    item = make_work_item(acme, "Fix the logo", key="ACME-12")
    archived = make_client(admin.workspace, "Gone", archived=True)
    twins = [make_client(admin.workspace, "Twin") for _ in range(2)]
    with tenant_scope(admin.workspace_id):
        places = places_of(admin.workspace)
    assert find(places, "acme").row == acme
    assert find(places, " acme  /  website ").row == site
    assert find(places, "Brook / Website").row == shop
    assert find(places, "app").row == app
    assert find(places, "acme-12").row == item
    assert find(places, "ACME-12 · Fix the logo").values() == {"work_item": item}
    with pytest.raises(
        UnknownPlace, match="More than one is called that: “Acme / Website”, “Brook / Website”"
    ):
        find(places, "Website")
    with pytest.raises(UnknownPlace, match="Nothing active"):
        find(places, archived.name)
    labels = [place.label for place in places]
    assert len({label.casefold() for label in labels}) == len(labels)
    assert {find(places, label).row for label in labels if label.startswith("Twin (")} == set(twins)
