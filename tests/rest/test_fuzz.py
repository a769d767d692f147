"""Nothing that a client sends is a 500, and every answer is one that the document describes (`Api` checks each)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Membership
from accounts.rest.docs import document
from tests.rest.client import Api
from tests.rest.test_roles import CASES, Ids, admin, ids, made, shape

__all__ = ["admin", "ids", "made"]  # fixtures

pytestmark = pytest.mark.django_db

# Operations of the ground; those that call other servers are tested where those servers are.
OPERATIONS = sorted(
    (method.upper(), path.removeprefix("/api/v1/"))
    for path, methods in document()["paths"].items()
    if not path.startswith("/api/v1/integrations/")
    for method in methods
)
WRITES = [one for one in OPERATIONS if one[0] in ("POST", "PATCH", "PUT")]
READS = [one for one in OPERATIONS if one[0] == "GET"]

NASTY: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 10**30, 1.5, 1e308, [], {}, [None], {"id": 1}, "", " ", "0", "-1", "1e400", "1E+5",
    "NaN", "sNaN", "Infinity", "true", "2026-02-30", "2026-06-01", "9999-12-31", "0001-01-01", "10000-01-01",
    "2026-06-01T12:00:00+99:99", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\x00", "a\x00b", "\ud800",
    "00000000-0000-0000-0000-000000000000", "a@b.c", "pro", "admin", "EUR", "Europe/Berlin", "../UTC", "x" * 400,
    "1" * 400, "12.345", "99999999999.99", "24.004", "0.0049", "１２", "A/B#1.-_", "👩‍💻" * 100,
]  # fmt: skip
scalars = (
    st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(NASTY)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
IN_TIME = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fields_of(method: str, path: str) -> list[str]:
    content = document()["paths"][f"/api/v1/{path}"][method.lower()].get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document()["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return [*sorted(schema.get("properties", {})), "id", "unknown"]


def place(path: str, ids: Ids) -> str:
    """The path with the id of a row that is there; of one that is not where the ground makes no such rows."""
    rows = {
        **ids,
        "inbound/proposals": ids["proposal"],
        "settlement/statements": ids["statement"],
        "inbound/adjustments": ids["adjustment"],
        "api-keys": ids["admins_key"],
    }
    return (
        path.replace("{id}", rows.get(path.partition("/{id}")[0], ids["client"])) if "{id}" in path else path
    )


def good_body(method: str, path: str, ids: Ids) -> dict[str, Any]:
    for case in CASES:
        if (case.method, shape(case.path)) == (method, shape(path)):
            return case.body(ids) if case.body else {}
    return {}


@pytest.mark.parametrize(("method", "path"), WRITES, ids=[f"{method} {path}" for method, path in WRITES])
def test_no_body_is_a_500(method: str, path: str, admin: Membership, ids: Ids) -> None:
    api = Api(admin)
    url, good, fields = place(path, ids), good_body(method, path, ids), fields_of(method, path)
    for value in NASTY:
        everywhere = dict.fromkeys(fields, value)
        assert api.send(method, url, json.dumps(everywhere)).status_code < 500

    @IN_TIME
    @given(
        body=st.dictionaries(
            st.sampled_from(fields), anything | st.sampled_from(sorted(ids.values())), max_size=3
        ),
        key=st.none() | st.text(st.characters(max_codepoint=255), max_size=8),
    )
    def send(body: dict[str, Any], key: str | None) -> None:
        headers = {"Idempotency-Key": key} if key is not None else {}
        with transaction.atomic():
            response = api.send(method, url, json.dumps({**good, **body}), headers=headers)
            transaction.set_rollback(True)
        assert response.status_code < 500

    send()


@pytest.mark.parametrize(("method", "path"), READS, ids=[path for _, path in READS])
def test_no_query_is_a_500(method: str, path: str, admin: Membership, ids: Ids) -> None:
    api = Api(admin)
    declared = [
        one["name"]
        for one in document()["paths"][f"/api/v1/{path}"]["get"]["parameters"]
        if one["in"] == "query"
    ]
    names = st.sampled_from([*declared, "unknown"]) if declared else st.just("unknown")
    values = st.text(max_size=20) | scalars.map(str) | st.sampled_from(sorted(ids.values()))

    @IN_TIME
    @given(query=st.lists(st.tuples(names, values), max_size=4))
    def send(query: list[tuple[str, str]]) -> None:
        text = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in query)
        response = api.get(f"{place(path, ids)}?{text}")
        assert response.status_code < 500

    send()


@IN_TIME
@given(raw=st.binary(max_size=60), query=st.binary(max_size=30), content_type=st.text(max_size=20))
def test_no_bytes_are_a_500(admin: Membership, raw: bytes, query: bytes, content_type: str) -> None:
    api = Api(admin)
    response = api.http.generic(
        "POST",
        "/api/v1/time-logs/?" + quote(query),
        raw,
        content_type=content_type,
        headers=api.headers,
    )
    assert response.status_code < 500
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"


@IN_TIME
@given(path=st.text(max_size=40), accept=st.text(max_size=30), slug=st.text(max_size=20))
def test_no_path_or_header_is_a_500(admin: Membership, path: str, accept: str, slug: str) -> None:
    api = Api(admin)
    for name, value in (("Accept", accept), ("X-Workspace", slug), ("Idempotency-Key", slug)):
        response = api.http.get(
            "/api/v1/clients/" + quote(path), headers={**api.headers, name: value.encode().decode("latin-1")}
        )
        assert response.status_code < 500
