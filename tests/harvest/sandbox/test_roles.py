from __future__ import annotations

from collections.abc import Callable

import pytest

from harvest.sandbox import Sandbox

from .conftest import Api, World

DENIED = {"message": "Not authorized!"}


@pytest.fixture
def people(sandbox: Sandbox, world: World, speak_as: Callable[..., Api]) -> dict[str, Api]:
    """A manager of the project with Bob as teammate, Bob, and Cleo; each with an entry of 1, 2 and 3 hours."""
    account = world.account
    world.ids.bob = sandbox.add_person("Bob", "Member", "bob@sandbox.example", token="3.pt.bob")
    world.ids.cleo = sandbox.add_person("Cleo", "Member", "cleo@sandbox.example", token="4.pt.cleo")
    world.ids.max = sandbox.add_person(
        "Max", "Manager", "max@sandbox.example", "manager", token="5.pt.max", teammate_ids=[world.ids.bob]
    )
    world.ids.app = account.add_project(world.ids.client, "App")
    world.ids.entries = [
        world.entry(user=user, hours=hours, project=world.ids.app)
        for user, hours in ((world.ids.max, 1), (world.ids.bob, 2), (world.ids.cleo, 3))
    ]
    account.assign_user(world.ids.app, world.ids.max, is_project_manager=False)
    return {"bob": speak_as("3.pt.bob"), "cleo": speak_as("4.pt.cleo"), "max": speak_as("5.pt.max")}


def seen(api: Api) -> set[float]:
    return {entry["hours"] for entry in api.ok("GET", "/time_entries")["time_entries"]}


def test_who_sees_which_time(api: Api, people: dict[str, Api], world: World) -> None:
    assert seen(api) == {1, 2, 3}
    assert seen(people["bob"]) == {2}
    assert seen(people["max"]) == {1, 2}
    world.account.assign_user(world.ids.app, world.ids.max, is_project_manager=True)
    assert seen(people["max"]) == {1, 2, 3}  # time on projects that they manage
    cleos = world.ids.entries[2]
    assert people["bob"].get(f"/time_entries/{cleos}").status_code == 404
    assert people["max"].get(f"/time_entries/{cleos}").status_code == 200


def test_who_writes_which_time(api: Api, people: dict[str, Api], world: World) -> None:
    maxs, bobs, cleos = world.ids.entries
    assert people["bob"].patch(f"/time_entries/{bobs}", json={"hours": 4}).status_code == 200
    assert people["bob"].patch(f"/time_entries/{cleos}", json={"hours": 4}).status_code == 404
    answer = people["max"].patch(f"/time_entries/{bobs}", json={"hours": 5})
    assert (answer.status_code, answer.json(), answer.headers["Hint"]) == (403, DENIED, "Not authorized!")
    world.account.edit("users", world.ids.max, access_roles=["manager", "time_and_expenses_manager"])
    assert people["max"].patch(f"/time_entries/{bobs}", json={"hours": 5}).status_code == 200
    target = {"project_id": world.ids.app, "task_id": world.ids.task, "spent_date": "2026-06-12", "hours": 1}
    assert people["max"].post("/time_entries", json=target | {"user_id": world.ids.bob}).status_code == 201
    assert people["max"].post("/time_entries", json=target | {"user_id": world.ids.cleo}).status_code == 403
    assert people["bob"].post("/time_entries", json=target | {"user_id": world.ids.cleo}).status_code == 403
    assert api.delete(f"/time_entries/{maxs}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "clients",
        "projects",
        "tasks",
        "users",
        "roles",
        "contacts",
        "task_assignments",
        "invoices",
        "estimates",
    ],
)
def test_members_cannot_list_the_catalogue(people: dict[str, Api], path: str) -> None:
    answer = people["bob"].get(f"/{path}")
    assert (answer.status_code, answer.json()) == (403, DENIED)


def test_members_read_their_own_assignments(people: dict[str, Api], world: World) -> None:
    (row,) = people["bob"].ok("GET", "/users/me/project_assignments")["project_assignments"]
    assert row["project"] == {"id": world.ids.app, "name": "App", "code": None}
    assert row["client"] == {"id": world.ids.client, "name": "Acme"}
    assert [task["task"]["name"] for task in row["task_assignments"]] == ["Design"]
    own = people["bob"].ok("GET", f"/users/{world.ids.bob}/project_assignments")["project_assignments"]
    assert own == [row]
    assert people["bob"].get(f"/users/{world.ids.cleo}/project_assignments").status_code == 403
    assert people["max"].get(f"/users/{world.ids.bob}/project_assignments").status_code == 200
    world.account.archive("projects", world.ids.app)
    assert people["bob"].ok("GET", "/users/me/project_assignments")["project_assignments"] == []


def test_rates_are_for_administrators(api: Api, people: dict[str, Api], world: World) -> None:
    world.account.edit("users", world.ids.bob, cost_rate=40)
    assert {"default_hourly_rate", "cost_rate"}.isdisjoint(people["bob"].ok("GET", "/users/me"))
    assert api.ok("GET", f"/users/{world.ids.bob}")["cost_rate"] == 40
    bobs = f"/time_entries/{world.ids.entries[1]}"
    assert people["bob"].ok("GET", bobs)["cost_rate"] is None
    assert api.ok("GET", bobs)["cost_rate"] == 40


def test_managers_see_what_they_manage(people: dict[str, Api], world: World) -> None:
    manager = people["max"]
    world.account.edit("users", world.ids.max, teammate_ids=[])
    assert manager.get("/users").status_code == 403
    world.account.edit("users", world.ids.max, teammate_ids=[world.ids.bob])
    assert manager.ok("GET", "/projects")["projects"] == []
    world.account.assign_user(world.ids.app, world.ids.max, is_project_manager=True)
    assert [row["id"] for row in manager.ok("GET", "/projects")["projects"]] == [world.ids.app]
    assert {row["id"] for row in manager.ok("GET", "/users")["users"]} == {world.ids.max, world.ids.bob}
    assert manager.patch(f"/projects/{world.ids.app}", json={"name": "App 2"}).status_code == 200
    assert manager.get(f"/projects/{world.ids.project}").status_code == 404
    assert manager.post("/clients", json={"name": "New"}).status_code == 403
    world.account.edit("users", world.ids.max, access_roles=["manager", "client_and_task_manager"])
    assert manager.post("/clients", json={"name": "New"}).status_code == 201


def test_teammates(api: Api, people: dict[str, Api], world: World) -> None:
    path = f"/users/{world.ids.max}/teammates"
    assert [mate["id"] for mate in api.ok("GET", path)["teammates"]] == [world.ids.bob]
    changed = api.ok("PATCH", path, json={"teammate_ids": [world.ids.cleo]})
    assert [mate["first_name"] for mate in changed["teammates"]] == ["Cleo"]
    assert seen(people["max"]) == {1, 3}
    assert api.get(f"/users/{world.ids.bob}/teammates").status_code == 422
    assert people["max"].get(path).status_code == 403
