from __future__ import annotations

import pytest

from harvest.sandbox import Sandbox

from .conftest import Api, Clock, World


def test_company_and_its_two_writable_fields(api: Api) -> None:
    company = api.ok("GET", "/company")
    assert (company["name"], company["wants_timestamp_timers"], company["clock"]) == (
        "Sandbox Studio",
        False,
        "24h",
    )
    changed = api.ok("PATCH", "/company", json={"wants_timestamp_timers": "true", "name": "Other"})
    assert (changed["wants_timestamp_timers"], changed["name"]) == (True, "Sandbox Studio")


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        ("clients", {"name": "Birch"}, {"is_active": False}),
        ("tasks", {"name": "Code"}, {"default_hourly_rate": 90.5}),
        ("roles", {"name": "Founders"}, {"name": "Owners"}),
        (
            "users",
            {"first_name": "Eve", "last_name": "New", "email": "eve@x.example"},
            {"is_contractor": True},
        ),
        ("expense_categories", {"name": "Travel"}, {"unit_price": 0.6}),
        ("invoice_item_categories", {"name": "Service"}, {"name": "Work"}),
        ("estimate_item_categories", {"name": "Service"}, {"name": "Work"}),
    ],
)
def test_rows_are_made_changed_and_deleted(
    api: Api, clock: Clock, path: str, body: dict[str, object], change: dict[str, object]
) -> None:
    made = api.ok("POST", f"/{path}", json=body)
    assert made.items() >= body.items()
    assert made["created_at"] == made["updated_at"] == "2026-06-12T12:00:00Z"
    clock.advance(minutes=5)
    changed = api.ok("PATCH", f"/{path}/{made['id']}", json=change)
    assert changed == made | change | {"updated_at": "2026-06-12T12:05:00Z"}
    assert api.ok("GET", f"/{path}/{made['id']}") == changed
    listing = api.ok("GET", f"/{path}?updated_since=2026-06-12T12:05:00Z")
    assert listing[path] == [changed]
    assert api.ok("DELETE", f"/{path}/{made['id']}") == changed
    assert api.get(f"/{path}/{made['id']}").status_code == 404
    blank = api.post(f"/{path}", json={})
    assert blank.status_code == 422
    assert "can't be blank" in blank.json()["message"]


def test_names_are_unique_ignoring_case(api: Api, world: World) -> None:
    for path, body in (
        ("/clients", {"name": "ACME"}),
        ("/tasks", {"name": "design"}),
        ("/projects", {"name": "website", "client_id": world.ids.client}),
    ):
        answer = api.post(path, json=body)
        assert answer.status_code == 422
        assert "already been taken" in answer.json()["message"]
    birch = world.account.add_client("Birch")
    api.ok("POST", "/projects", json={"name": "Website", "client_id": birch})
    api.ok("PATCH", f"/clients/{birch}", json={"name": "BIRCH"})


def test_a_project_needs_two_fields_and_takes_its_creator_along(api: Api, world: World) -> None:
    world.account.add_task("Standard", is_default=True)
    made = api.ok("POST", "/projects", json={"client_id": str(world.ids.client), "name": "App"})
    assert made["client"] == {"id": world.ids.client, "name": "Acme", "currency": "USD"}
    assert (made["is_billable"], made["bill_by"], made["budget_by"]) == (True, "none", "none")
    assert made["over_budget_notification_percentage"] == 80.0
    (member,) = api.ok("GET", f"/projects/{made['id']}/user_assignments")["user_assignments"]
    assert (member["user"]["id"], member["is_project_manager"]) == (world.ids.ada, True)
    tasks = api.ok("GET", f"/projects/{made['id']}/task_assignments")["task_assignments"]
    assert [row["task"]["name"] for row in tasks] == ["Standard"]
    assert (
        api.post("/projects", json={"name": "X", "client_id": 1}).json()["message"] == "Client does not exist"
    )


def test_assignments_are_written_under_their_project(api: Api, world: World, sandbox: Sandbox) -> None:
    bob = sandbox.add_person("Bob", "Member", "bob@sandbox.example")
    code = world.account.add_task("Code", default_hourly_rate=99)
    base = f"/projects/{world.ids.project}"
    person = api.ok("POST", f"{base}/user_assignments", json={"user_id": bob})
    assert (person["user"]["name"], person["is_project_manager"], person["use_default_rates"]) == (
        *("Bob Member", False, True),
    )
    task = api.ok("POST", f"{base}/task_assignments", json={"task_id": code})
    assert (task["billable"], task["hourly_rate"], task["project"]["code"]) == (True, 99, "ACME-1")
    assert (
        "already been taken" in api.post(f"{base}/task_assignments", json={"task_id": code}).json()["message"]
    )
    assert api.post("/task_assignments", json={"task_id": code}).status_code == 404
    entry = world.entry(user=bob, task=code)
    assert api.delete(f"{base}/task_assignments/{task['id']}").status_code == 422
    assert api.delete(f"{base}/user_assignments/{person['id']}").status_code == 422
    world.account.delete_entry(entry)
    api.ok("DELETE", f"{base}/task_assignments/{task['id']}")
    api.ok("DELETE", f"{base}/user_assignments/{person['id']}")
    assert world.account.task_assignment(world.ids.project, code) is None
    everywhere = api.ok("GET", "/task_assignments")["task_assignments"]
    assert [row["task"]["id"] for row in everywhere] == [world.ids.task]
    other = world.account.add_project(world.ids.client, "Other")
    assert api.get(f"/projects/{other}/task_assignments/{everywhere[0]['id']}").status_code == 404


def test_billable_follows_the_assignment_and_the_project(api: Api, world: World) -> None:
    entry = world.entry()
    assignment = world.account.assign_task(world.ids.project, world.ids.task)
    path = f"/projects/{world.ids.project}/task_assignments/{assignment}"
    api.ok("PATCH", path, json={"billable": False})
    shown = api.ok("GET", f"/time_entries/{entry}")
    assert (shown["billable"], shown["billable_rate"]) == (False, None)
    api.ok("PATCH", path, json={"billable": True, "hourly_rate": 88})
    assert api.ok("GET", f"/time_entries/{entry}")["billable_rate"] == 88
    api.ok("PATCH", f"/projects/{world.ids.project}", json={"is_billable": False})
    assert api.ok("GET", f"/time_entries/{entry}")["billable"] is False


def test_what_is_in_use_cannot_be_deleted(api: Api, world: World) -> None:
    world.entry()
    refused = api.delete(f"/clients/{world.ids.client}")
    text = "This client is not removable. It still has projects and/or invoices."
    assert (refused.status_code, refused.json()["message"], refused.headers["Hint"]) == (422, text, text)
    assert api.delete(f"/tasks/{world.ids.task}").status_code == 422
    assert api.delete(f"/users/{world.ids.ada}").status_code == 422


def test_deleting_a_project_takes_its_time_along(api: Api, world: World) -> None:
    entry = world.entry()
    api.ok("DELETE", f"/projects/{world.ids.project}")
    assert api.get(f"/time_entries/{entry}").status_code == 404
    assert api.ok("GET", "/time_entries")["total_entries"] == 0
    assert api.ok("GET", "/task_assignments")["total_entries"] == 0
    assert api.ok("GET", "/users/me/project_assignments")["project_assignments"] == []


def test_the_removal_hook_leaves_nothing_dangling(api: Api, world: World) -> None:
    entry = world.entry()
    with pytest.raises(ValueError, match="time entries"):
        world.account.remove("task_assignments", world.account.assign_task(world.ids.project, world.ids.task))
    world.account.remove("clients", world.ids.client)
    assert api.get(f"/time_entries/{entry}").status_code == 404
    assert api.ok("GET", "/projects")["projects"] == []
    assert api.ok("GET", "/users/me/project_assignments")["project_assignments"] == []


def test_nothing_is_archived_under_a_running_timer(api: Api, world: World) -> None:
    entry = world.entry(running=True, hours=0)
    assert api.patch(f"/projects/{world.ids.project}", json={"is_active": False}).status_code == 422
    world.account.stop_timer(entry)
    assert api.ok("PATCH", f"/projects/{world.ids.project}", json={"is_active": False})["is_active"] is False


def test_filters_of_the_catalogue(api: Api, world: World) -> None:
    birch = world.account.add_client("Birch")
    app = world.account.add_project(birch, "App")
    world.account.archive("clients", birch)
    assert [row["name"] for row in api.ok("GET", "/clients?is_active=false")["clients"]] == ["Birch"]
    assert [row["id"] for row in api.ok("GET", f"/projects?client_id={birch}")["projects"]] == [app]
    assert api.get("/clients?is_active=maybe").status_code == 422
    assert api.get("/clients?updated_since=x").status_code == 422


def test_expenses_and_their_permissions(api: Api, world: World) -> None:
    category = world.account.insert("expense_categories", name="Travel")
    body = {"project_id": world.ids.project, "expense_category_id": category, "spent_date": "2026-06-10"}
    made = api.ok("POST", "/expenses", json=body | {"total_cost": "12.50"})
    assert (made["total_cost"], made["user"]["id"], made["client"]["name"]) == (12.5, world.ids.ada, "Acme")
    assert made["user_assignment"]["id"] == world.account.assign_user(world.ids.project, world.ids.ada)
    assert api.ok("GET", "/expenses?from=2026-06-11")["expenses"] == []
    assert api.ok("GET", "/expenses?to=2026-06-10")["expenses"] == [made]
    assert api.delete(f"/expense_categories/{category}").status_code == 422


def test_invoices_with_messages_and_payments(api: Api, world: World) -> None:
    lines = [{"kind": "Service", "quantity": 3, "unit_price": 40}]
    invoice = api.ok("POST", "/invoices", json={"client_id": world.ids.client, "line_items": lines})
    assert (invoice["amount"], invoice["state"], invoice["creator"]["name"]) == (120, "draft", "Ada Admin")
    base = f"/invoices/{invoice['id']}"
    api.ok("POST", f"{base}/messages", json={"subject": "Hello", "recipients": []})
    api.ok("POST", f"{base}/payments", json={"amount": 20})
    assert [row["subject"] for row in api.ok("GET", f"{base}/messages")["invoice_messages"]] == ["Hello"]
    assert [row["amount"] for row in api.ok("GET", f"{base}/payments")["invoice_payments"]] == [20]
    assert api.get("/invoices/1/messages").status_code == 404
