from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from .conftest import Api, World

NUMBERED = ("time_entries", "expenses", "invoices", "estimates", "users/me/project_assignments")
BY_CURSOR = (
    *("clients", "contacts", "projects", "tasks", "task_assignments", "user_assignments", "users", "roles"),
    *("expense_categories", "invoice_item_categories", "estimate_item_categories"),
)


def walk(api: Api, path: str, key: str) -> list[Any]:
    """Follow links.next to the end."""
    answers = [api.ok("GET", path)]
    while answers[-1]["links"]["next"]:
        answers.append(api.ok("GET", answers[-1]["links"]["next"]))
    return [row for answer in answers for row in answer[key]]


@pytest.mark.parametrize("path", [*NUMBERED, *BY_CURSOR])
def test_every_list_has_the_envelope_and_knows_its_bounds(api: Api, world: World, path: str) -> None:
    body = api.ok("GET", f"/{path}")
    rest = {key: value for key, value in body.items() if not isinstance(value, list)}
    assert list(rest) == [
        *("per_page", "total_pages", "total_entries", "next_page", "previous_page", "page", "links")
    ]
    assert (rest["per_page"], rest["total_pages"], rest["page"]) == (2000, 1, 1)
    assert rest["links"]["next"] is None
    assert rest["links"]["previous"] is None
    for wrong in ("per_page=2001", "per_page=0", "per_page=x", "page=0"):
        assert api.get(f"/{path}?{wrong}").status_code == 422


def test_an_empty_list_has_one_page(api: Api) -> None:
    body = api.ok("GET", "/time_entries")
    assert (body["time_entries"], body["total_entries"], body["total_pages"], body["page"]) == ([], 0, 1, 1)


def test_numbered_pages_walk_to_the_end(api: Api, world: World) -> None:
    ids = [world.entry(spent_on=f"2026-06-{day:02}") for day in (1, 2, 3, 3, 4)]
    first = api.ok("GET", f"/time_entries?per_page=2&user_id={world.ids.ada}&from=2026-06-01")
    assert (first["page"], first["next_page"], first["previous_page"]) == (1, 2, None)
    assert (first["total_entries"], first["total_pages"]) == (5, 3)
    middle = api.ok("GET", first["links"]["next"])
    assert (middle["page"], middle["next_page"], middle["previous_page"]) == (2, 3, 1)
    last = api.ok("GET", middle["links"]["next"])
    assert (last["page"], last["next_page"], last["links"]["next"]) == (3, None, None)
    seen = [entry["id"] for body in (first, middle, last) for entry in body["time_entries"]]
    # By day, newest first; on one day the newest id first.
    assert seen == [ids[4], ids[3], ids[2], ids[1], ids[0]]
    assert api.ok("GET", "/time_entries?per_page=2&page=9")["time_entries"] == []


def test_links_repeat_the_filters_in_alphabetical_order_with_a_ref(api: Api, world: World) -> None:
    for _ in range(3):
        world.entry()
    links = api.ok("GET", f"/time_entries?user_id={world.ids.ada}&per_page=1&page=2&from=2026-01-01")["links"]
    for ref in ("first", "next", "previous", "last"):
        query = parse_qsl(urlsplit(links[ref]).query)
        assert [key for key, _ in query] == ["from", "page", "per_page", "ref", "user_id"]
        assert dict(query)["ref"] == ref
        assert dict(query)["from"] == "2026-01-01"


def test_cursor_pages_have_null_numbers_in_the_middle(api: Api, world: World) -> None:
    for number in range(6):
        world.account.add_client(f"Client {number}")
    first = api.ok("GET", "/clients?per_page=2")
    assert (first["page"], first["next_page"], first["previous_page"]) == (1, 2, None)
    query = parse_qs(urlsplit(first["links"]["next"]).query)
    assert query["ref"] == ["next_cursor"]
    assert json.loads(base64.urlsafe_b64decode(query["cursor"][0])) == {
        "after": {"id": first["clients"][-1]["id"]}
    }
    assert "page=4" in first["links"]["last"]
    second = api.ok("GET", first["links"]["next"])
    assert (second["page"], second["next_page"], second["previous_page"]) == (None, None, None)
    assert second["links"]["next"]
    back = api.ok("GET", second["links"]["previous"])
    assert back["clients"] == first["clients"]
    rows = walk(api, "/clients?per_page=2", "clients")
    assert len({row["id"] for row in rows}) == len(rows) == 7
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    last = api.ok("GET", first["links"]["last"])
    assert (last["page"], last["next_page"], len(last["clients"])) == (4, None, 1)


def test_a_loop_over_next_page_ends_early_on_cursor_lists(api: Api, world: World) -> None:
    """The documented trap: page numbers vanish after the first page."""
    for number in range(5):
        world.account.add_task(f"Task {number}")
    read, link = 0, "/tasks?per_page=2"
    while True:
        body = api.ok("GET", link)
        read += len(body["tasks"])
        if body["next_page"] is None:
            break
        link = body["links"]["next"]
    assert read < 6 == len(walk(api, "/tasks?per_page=2", "tasks"))


def test_a_cursor_wins_over_a_page_and_nonsense_is_refused(api: Api, world: World) -> None:
    for number in range(4):
        world.account.add_client(f"Client {number}")
    link = api.ok("GET", "/clients?per_page=2")["links"]["next"]
    assert api.ok("GET", f"{link}&page=1")["clients"] == api.ok("GET", link)["clients"]
    assert api.get("/clients?cursor=nonsense").status_code == 422


def test_walking_by_cursor_survives_a_new_row(api: Api, world: World) -> None:
    before = [world.account.add_client(f"Client {number}") for number in range(4)]
    first = api.ok("GET", "/clients?per_page=3")
    world.account.add_client("Newcomer")
    second = api.ok("GET", first["links"]["next"])
    seen = {row["id"] for row in first["clients"] + second["clients"]}
    assert seen == {*before, world.ids.client}


def test_lists_under_a_project_are_numbered(api: Api, world: World) -> None:
    for number in range(4):
        world.account.assign_task(world.ids.project, world.account.add_task(f"Task {number}"))
    path = f"/projects/{world.ids.project}/task_assignments?per_page=2"
    second = api.ok("GET", api.ok("GET", path)["links"]["next"])
    assert (second["page"], second["next_page"]) == (2, 3)
    assert len(walk(api, path, "task_assignments")) == 5
