"""The quick way of decoding a page gives what the patient one gives, whatever Harvest sends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest import payloads
from harvest.decoding import parse_entries, parse_ids
from harvest.payloads import TimeEntryPayload, parse_json, read_entries
from tests.harvest.test_payloads import ROW

PATHS = [
    *((name,) for name in ROW),
    *(
        (one, name)
        for one in ("user", "client", "project", "task", "external_reference")
        for name in ROW[one]
    ),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["", "5", "1.5", " 2 ", "true", "2026-06-01", "20260601", "2026-06-01T09:00:00", "\0", "é\0", "\ud800",
         "2026-06-01T09:00:00.123+02:00", "NaN", "2026-02-30", 1e300, 1e-300, 2**63 - 1, 2**63, 0, -1]
    )
)  # fmt: skip
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=5), scalars, max_size=2)
changes = st.lists(st.tuples(st.sampled_from(PATHS), values | st.just(...)), max_size=3)


def changed(row: dict[str, Any], some: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    row = copy.deepcopy(row)
    for path, value in some:
        inner: Any = row
        for name in path[:-1]:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            if value is ...:
                inner.pop(path[-1], None)
            else:
                inner[path[-1]] = value
    return row


def both(body: bytes) -> tuple[Any, Any]:
    def by(parse: Callable[[bytes], Any]) -> Any:
        data = parse(body)
        return read_entries(data["time_entries"]), data.get("links"), data.get("total_entries")

    return by(parse_entries), by(parse_json)


@given(st.lists(changes, min_size=1, max_size=3), st.sampled_from([None, {}, {"next": "https://x/2"}]))
def test_either_way_gives_the_same(pages: list[Any], links: Any) -> None:
    rows = [changed(ROW, some) for some in pages]
    quick, patient = both(json.dumps({"time_entries": rows, "links": links, "total_entries": 3}).encode())
    assert quick == patient


def test_a_plain_page_is_decoded_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(
        {"time_entries": [ROW, {**ROW, "id": 7, "notes": None}], "links": {"next": None}}
    ).encode()

    def refuse(body: bytes) -> Any:
        raise AssertionError("decoded field by field")

    monkeypatch.setattr(payloads, "parse_json", refuse)
    rows = parse_entries(body)["time_entries"]
    assert all(type(row) is TimeEntryPayload for row in rows)
    assert [row.notes for row in rows] == ["ACME-12: navigation", ""]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"null", b'{"time_entries": 5}', b"\xff", b"[" * 5000])
def test_what_is_no_page_is_left_to_the_patient_way(body: bytes) -> None:
    try:
        expected = parse_json(body)
    except ValueError:
        with pytest.raises(ValueError):
            parse_entries(body)
    else:
        assert parse_entries(body) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([{"id": 1}, {"id": 2_400_000_001, "hours": "odd"}], ["1", "2400000001"]),
        ([{"id": "17"}, {"id": 18}], ["17", "18"]),
    ],
)
def test_ids_alone_are_read_of_any_entry_that_has_one(rows: list[Any], expected: list[str]) -> None:
    body = json.dumps({"time_entries": rows, "total_entries": 7, "links": {"next": None}}).encode()
    assert parse_ids(body) == {"time_entries": expected, "total_entries": 7, "links": {"next": None}} | (
        {} if expected[:1] == ["17"] else {"total_pages": None, "next_page": None}
    )


@pytest.mark.parametrize("rows", [[{"id": 1}, {"hours": 1}], [{"id": 1}, None], [{"id": -1}, {"id": "x"}]])
def test_a_listing_with_a_row_that_is_nobody_is_no_listing(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"id|entry"):
        parse_ids(json.dumps({"time_entries": rows}).encode())
