"""Two sides as they are in life, in memory: mappings between them, and a Harvest that keeps time in its own way.

Here time is whole seconds; there hundredths of an hour, trimmed notes, a billable of its own, and an owner that
stays. Some projects, tasks and people of each side have no counterpart on the other, or only somebody who stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import strategies as st

from integrations.sync.types import OUTGOING, Entry, Field, NoCounterpart, Translated, Value, Values, Version

PLACEMENT, ACTIVITY, SPENT_DATE, DURATION, NOTES, OWNER, BILLABLE = Field

FIRST = date(2026, 6, 1)
LAST = FIRST + timedelta(days=9)

PROJECTS_OUT: Mapping[Value, Value] = {
    ("acme", "site"): ("11", "21"),
    ("acme", "shop"): ("11", "22"),
    ("acme", None): ("11", "29"),  # the client's project for pushed time
    ("acme", "secret"): ("11", "29"),  # not mapped, so where the client's time goes
}
PROJECTS_IN: Mapping[Value, Value] = {("11", "21"): ("acme", "site"), ("11", "22"): ("acme", "shop")}
TASKS_OUT: Mapping[Value, Value] = {"design": "31", "code": "32", None: "38"}  # 38: the default
TASKS_IN: Mapping[Value, Value] = {"31": "design", "32": "code"}
PEOPLE_OUT: Mapping[Value, Value] = {"ines": "71", "tom": "72", "ann": "70"}
PEOPLE_IN: Mapping[Value, Value] = {"71": "ines", "72": "tom", "70": "ann"}
CONNECTOR, TOKEN_USER = "ann", "70"

LOCAL_VALUES: Mapping[Field, st.SearchStrategy[Value]] = {
    PLACEMENT: st.sampled_from([*PROJECTS_OUT, ("globex", None)]),
    ACTIVITY: st.sampled_from([*TASKS_OUT, "unmapped"]),
    SPENT_DATE: st.integers(0, 9).map(lambda days: FIRST + timedelta(days=days)),
    DURATION: st.sampled_from([0, 17, 36, 90, 100, 3600, 7600, 7596]) | st.integers(0, 86_400),
    NOTES: st.sampled_from(["", "Header", "Footer", "Header "]) | st.text("ab \n", max_size=4),
    OWNER: st.sampled_from([*PEOPLE_OUT, "guest"]),
    BILLABLE: st.booleans(),
}
REMOTE_VALUES: Mapping[Field, st.SearchStrategy[Value]] = {
    PLACEMENT: st.sampled_from([("11", "21"), ("11", "22"), ("11", "29"), ("12", "28")]),
    ACTIVITY: st.sampled_from(["31", "32", "38", "39"]),
    SPENT_DATE: LOCAL_VALUES[SPENT_DATE],
    DURATION: st.integers(0, 2400).map(lambda hundredths: Decimal(hundredths) / 100),
    NOTES: LOCAL_VALUES[NOTES].map(lambda text: str(text).strip()),
    OWNER: st.sampled_from(["71", "72", "70", "79"]),
}


def hours_of(seconds: Value) -> Decimal:
    assert isinstance(seconds, int)
    return (Decimal(seconds) / 3600).quantize(Decimal("0.01"), ROUND_HALF_UP)


def seconds_of(hours: Value) -> int:
    assert isinstance(hours, Decimal)
    return int((hours * 3600).to_integral_value(ROUND_HALF_UP))


def as_remote(values: Values) -> Translated:
    """Local values in Harvest's terms; nothing about billable, which does not go out."""
    hours = hours_of(values[DURATION])
    return {
        PLACEMENT: PROJECTS_OUT.get(values[PLACEMENT], NoCounterpart("This client is not mapped.")),
        ACTIVITY: TASKS_OUT.get(values[ACTIVITY], NoCounterpart("This activity type is not mapped.")),
        SPENT_DATE: values[SPENT_DATE],
        DURATION: hours or NoCounterpart("This rounds to 0.00 hours."),
        NOTES: values[NOTES],
        OWNER: PEOPLE_OUT.get(values[OWNER], TOKEN_USER),
    }


def as_local(values: Values) -> Translated:
    return {
        PLACEMENT: PROJECTS_IN.get(values[PLACEMENT], NoCounterpart("This project is not mapped.")),
        ACTIVITY: TASKS_IN.get(values[ACTIVITY], NoCounterpart("This task is not mapped.")),
        SPENT_DATE: values[SPENT_DATE],
        DURATION: seconds_of(values[DURATION]),
        NOTES: values[NOTES],
        OWNER: PEOPLE_IN.get(values[OWNER], CONNECTOR),
        BILLABLE: values[BILLABLE],
    }


def harvest_keeps(values: Values) -> Values:
    """What Harvest makes of what is written to it. Its billable follows from project and task."""
    return {
        **values,
        DURATION: Decimal(str(values[DURATION])).quantize(Decimal("0.01"), ROUND_HALF_UP),
        NOTES: str(values[NOTES]).strip(),
        BILLABLE: values[PLACEMENT] != ("11", "29") and values[ACTIVITY] != "32",
    }


def local_version(entry: Entry) -> Version:
    return Version.of(entry, as_remote(entry.values))


def remote_version(entry: Entry) -> Version:
    return Version.of(entry, as_local(entry.values), stranger=entry.values[OWNER] not in PEOPLE_IN)


def some_of(values: Mapping[Field, st.SearchStrategy[Value]]) -> st.SearchStrategy[dict[Field, Value]]:
    """An edit: new values for some fields."""
    return st.fixed_dictionaries({}, optional={field: values[field] for field in values})


LOCAL_ENTRIES = st.fixed_dictionaries({field: LOCAL_VALUES[field] for field in Field})
REMOTE_ENTRIES = st.fixed_dictionaries({field: REMOTE_VALUES[field] for field in OUTGOING}).map(harvest_keeps)
