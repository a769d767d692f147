"""Filters of lists: what is wrong in a query is a 400 that names it, never every row."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.ids import uuid7
from accounts.models import Membership
from tests.factories import make_client, make_project
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [one["name"] for one in response.json()["results"]]


def test_filters_narrow_and_combine(admin: Membership) -> None:
    acme, bolt = make_client(admin.workspace, "Acme"), make_client(admin.workspace, "Bolt", archived=True)
    for client in (acme, bolt):
        make_project(client, f"{client.name} site")
        make_project(client, f"{client.name} shop", archived=True)
    api = Api(admin)
    assert names(api.get("clients/", archived="true")) == ["Bolt"]
    assert names(api.get("clients/", archived="false")) == ["Acme"]
    assert names(api.get("clients/", q="CM")) == ["Acme"]
    assert names(api.get("projects/", client=acme.id)) == ["Acme shop", "Acme site"]
    assert names(api.get("projects/", client=acme.id, archived="false")) == ["Acme site"]
    assert names(api.get("projects/", q="shop", ordering="name")) == ["Acme shop", "Bolt shop"]


def test_empty_value_is_no_filter(admin: Membership) -> None:
    make_client(admin.workspace, "Acme")
    assert names(Api(admin).get("clients/", archived="", q=" ", ordering="", page_size="", cursor="")) == [
        "Acme"
    ]


def test_wildcards_are_plain_characters(admin: Membership) -> None:
    make_client(admin.workspace, "100% Wool")
    make_client(admin.workspace, "Acme_2")
    assert names(Api(admin).get("clients/", q="%")) == ["100% Wool"]
    assert names(Api(admin).get("clients/", q="_")) == ["Acme_2"]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("clients/", "archived", "perhaps"),
        ("clients/", "q", "a\x00b"),
        ("clients/", "q", "x" * 201),
        ("clients/", "archived", "\ud800".encode("utf-8", "surrogatepass")),
        ("projects/", "client", "x"),
        ("projects/", "client", "\x00"),
        ("work-items/", "status", "closed"),
        ("time-logs/", "from", "2026-13-01"),
        ("time-logs/", "to", "tomorrow"),
        ("time-logs/", "from", "2026-06-01T00:00:00Z"),
        ("time-logs/", "source", "jira"),
        ("time-logs/", "sync_state", "1"),
        ("time-logs/", "settled", "2"),
        ("time-logs/summary/", "owner", "me"),
        ("inbound/proposals/", "status", "open"),
    ],
)
def test_bad_value_is_a_400_that_names_it(path: str, name: str, value: Any, admin: Membership) -> None:
    response = Api(admin).get(path, **{name: value})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [name]


@pytest.mark.parametrize("path", ["clients/", "time-logs/", "time-logs/summary/", "inbound/proposals/"])
def test_unknown_parameter_is_a_400_that_names_it(path: str, admin: Membership) -> None:
    response = Api(admin).get(path, form_="2026-06-01", colour="red")
    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"form", "colour"}


def test_thousands_of_unknown_parameters_are_not_all_repeated(admin: Membership) -> None:
    response = Api(admin).get("/api/v1/clients/?" + "&".join(f"x{number}=1" for number in range(5000)))
    assert response.status_code == 400
    assert 0 < len(response.json()["errors"]) < 100


def test_summary_knows_no_paging(admin: Membership) -> None:
    assert list(Api(admin).get("time-logs/summary/", page_size=5).json()["errors"]) == ["page_size"]


def test_parameter_given_twice_is_a_400(admin: Membership) -> None:
    response = Api(admin).get("clients/?archived=true&archived=false")
    assert list(response.json()["errors"]) == ["archived"]


def test_id_of_nothing_finds_nothing(admin: Membership, stranger: Membership) -> None:
    make_project(make_client(admin.workspace))
    theirs = make_client(stranger.workspace)
    for client in (theirs.id, uuid7()):
        assert names(Api(admin).get("projects/", client=client)) == []
