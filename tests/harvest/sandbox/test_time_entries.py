from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from harvest.sandbox import Sandbox

from .conftest import Api, Clock, World


def create(api: Api, world: World, **body: Any) -> Any:
    target = {"project_id": world.ids.project, "task_id": world.ids.task, "spent_date": "2026-06-12"}
    return api.ok("POST", "/time_entries", json=target | body)


def message(api: Api, method: str, path: str, status: int = 422, **body: Any) -> str:
    return str(api.ok(method, path, status, json=body)["message"])


def listed(api: Api, query: str = "") -> list[int]:
    return [entry["id"] for entry in api.ok("GET", f"/time_entries?{query}")["time_entries"]]


def test_a_created_entry_is_shown_whole(api: Api, world: World) -> None:
    made = create(api, world, hours=1.25, notes="Ωmega\n“quoted”\t\\", external_reference={
        "id": 42, "group_id": "board", "permalink": "https://boards.example/c/42"})  # fmt: skip
    assert made["id"] > 2**31
    assert made["notes"] == "Ωmega\n“quoted”\t\\"
    assert made["external_reference"] == {
        "id": "42", "group_id": "board", "account_id": None, "permalink": "https://boards.example/c/42",
        "service": "boards.example", "service_icon_url": None,
    }  # fmt: skip
    assert made["user"] == {"id": world.ids.ada, "name": "Ada Admin"}
    assert made["client"] == {"id": world.ids.client, "name": "Acme", "currency": "USD"}
    assert made["project"] == {"id": world.ids.project, "name": "Website", "code": "ACME-1"}
    assert (made["hours"], made["hours_without_timer"], made["rounded_hours"]) == (1.25, 1.25, 1.25)
    assert (made["billable"], made["billable_rate"], made["is_running"]) == (True, 120, False)
    assert (made["approval_status"], made["is_closed"], made["is_locked"], made["is_billed"]) == (
        *("unsubmitted", False, False, False),
    )
    assert made["created_at"] == made["updated_at"] == "2026-06-12T12:00:00Z"
    assert api.ok("GET", f"/time_entries/{made['id']}") == made == listed_whole(api)[0]


def listed_whole(api: Api) -> list[Any]:
    return list(api.ok("GET", "/time_entries")["time_entries"])


def test_numbers_as_strings_unknown_keys_and_forms_are_accepted(api: Api, world: World) -> None:
    made = create(
        api,
        world,
        project_id=str(world.ids.project),
        hours="0.1",
        spent_date="2026-06-11T09:30:00Z",
        nonsense=[1],
    )
    assert (made["hours"], made["spent_date"]) == (0.1, "2026-06-11")
    form = {
        "project_id": str(world.ids.project), "task_id": str(world.ids.task), "spent_date": "2026-06-12",
        "hours": "2", "external_reference[id]": "x1",
    }  # fmt: skip
    made = api.ok("POST", "/time_entries", data=form)
    assert (made["hours"], made["external_reference"]["id"]) == (2.0, "x1")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0, 0.0),
        (0.01, 0.01),
        (0.005, 0.01),
        (1.0849, 1.08),
        ("1.085", 1.09),
        (0.29, 0.29),
        (23.99, 23.99),
        (24.5, 24.5),
    ],
)
def test_hours_are_kept_to_two_decimals(api: Api, world: World, given: object, kept: float) -> None:
    assert create(api, world, hours=given)["hours"] == kept


def test_rounded_hours_are_rounded_up_and_never_hours(api: Api, world: World) -> None:
    made = create(api, world, hours=1.01)
    assert (made["hours"], made["rounded_hours"]) == (1.01, 1.25)
    world.account.rounding_minutes = 0
    assert api.ok("GET", f"/time_entries/{made['id']}")["rounded_hours"] == 1.01


def test_validation_failures_are_one_string(api: Api, world: World) -> None:
    assert message(api, "POST", "/time_entries") == (
        "Project can't be blank, Task can't be blank, Spent date can't be blank, Spent date is not a valid date"
    )
    target = {"project_id": world.ids.project, "task_id": world.ids.task}
    assert message(api, "POST", "/time_entries", **target, spent_date="dunno").startswith(
        "Invalid spent_date d"
    )
    assert "Hours" in message(api, "POST", "/time_entries", **target, spent_date="2026-06-12", hours=-1)
    assert "Hours" in message(api, "POST", "/time_entries", **target, spent_date="2026-06-12", hours="x")
    assert api.post("/time_entries", content=b"{not json").status_code == 400
    assert world.account.ids("time_entries") == []


def test_targets_must_be_assigned_and_alive(api: Api, world: World) -> None:
    account = world.account
    other = account.add_project(world.ids.client, "Other")
    loose = account.add_task("Loose")
    base = {"spent_date": "2026-06-12", "hours": 1}
    cases = [
        (other, world.ids.task, "User is not assigned"),
        (world.ids.project, loose, "Task is not assigned"),
        (1, world.ids.task, "Project does not exist"),
        (world.ids.project, 1, "Task does not exist"),
    ]
    for project, task, why in cases:
        assert why in message(api, "POST", "/time_entries", project_id=project, task_id=task, **base)
    account.archive("tasks", world.ids.task)
    target = {"project_id": world.ids.project, "task_id": world.ids.task, **base}
    assert "archived" in message(api, "POST", "/time_entries", **target)
    account.unarchive("tasks", world.ids.task)
    account.archive("projects", world.ids.project)
    assert "archived" in message(api, "POST", "/time_entries", **target)
    account.unassigned_is_404 = True
    assert api.post("/time_entries", json=target).status_code == 404


def test_a_patch_writes_only_what_it_sends_and_stamps(api: Api, world: World, clock: Clock) -> None:
    made = create(api, world, hours=1, notes="before")
    clock.advance(seconds=90)
    changed = api.ok("PATCH", f"/time_entries/{made['id']}", json={"hours": 2.5})
    assert changed == made | {
        "hours": 2.5, "hours_without_timer": 2.5, "rounded_hours": 2.5, "updated_at": "2026-06-12T12:01:30Z",
    }  # fmt: skip
    # A whole fetched entry, stale stamp and all, can be sent back; there is no optimistic locking.
    again = api.ok("PATCH", f"/time_entries/{made['id']}", json=made)
    assert again["hours"] == 1.0
    assert api.ok("PATCH", f"/time_entries/{made['id']}", json={"notes": ""})["notes"] is None
    moved = api.ok("PATCH", f"/time_entries/{made['id']}", json={"spent_date": "2026-06-01", "user_id": 1})
    assert (moved["spent_date"], moved["user"]["id"]) == ("2026-06-01", world.ids.ada)
    assert api.get("/time_entries/9999999999").json() == {"status": 404, "error": "Not Found"}
    assert api.patch("/time_entries/9999999999", json={"hours": 1}).status_code == 404


def test_two_writes_in_one_second_share_a_stamp(api: Api, world: World) -> None:
    made = create(api, world, hours=1)
    assert (
        api.ok("PATCH", f"/time_entries/{made['id']}", json={"hours": 4})["updated_at"] == made["updated_at"]
    )


def test_a_deleted_entry_is_echoed_and_gone(api: Api, world: World) -> None:
    made = create(api, world, hours=1)
    assert api.ok("DELETE", f"/time_entries/{made['id']}") == made
    assert api.get(f"/time_entries/{made['id']}").status_code == 404
    assert api.delete(f"/time_entries/{made['id']}").status_code == 404
    assert listed(api) == []
    assert create(api, world, hours=1)["id"] != made["id"]


def test_references_can_be_cleared_both_ways(api: Api, world: World) -> None:
    for clear in ("DELETE", "PATCH"):
        made = create(api, world, hours=1, external_reference={"id": "tt-1"})
        if clear == "DELETE":
            api.ok("DELETE", f"/time_entries/{made['id']}/external_reference")
        else:
            api.ok("PATCH", f"/time_entries/{made['id']}", json={"external_reference": None})
        assert api.ok("GET", f"/time_entries/{made['id']}")["external_reference"] is None


def test_filters(api: Api, world: World, sandbox: Sandbox, clock: Clock) -> None:
    account = world.account
    bob = sandbox.add_person("Bob", "Member", "bob@sandbox.example")
    client = account.add_client("Birch")
    app = account.add_project(client, "App")
    code = account.add_task("Code")
    old = world.entry(spent_on="2026-05-31", external_reference="tt-7")
    mine = world.entry(spent_on="2026-06-01")
    clock.advance(hours=1)
    bobs = world.entry(spent_on="2026-06-02", user=bob, task=code)
    apps = account.add_entry(project=app, task=code, user=bob, spent_on="2026-06-03")
    account.bill(apps)
    timer = account.add_entry(project=app, task=code, user=bob, spent_on="2026-06-04", hours=0, running=True)
    account.submit(mine)
    expected = {
        "": [timer, apps, bobs, mine, old],
        f"user_id={bob}": [timer, apps, bobs],
        f"client_id={client}": [timer, apps],
        f"project_id={world.ids.project}": [bobs, mine, old],
        f"task_id={world.ids.task}": [mine, old],
        "external_reference_id=tt-7": [old],
        "external_reference_id=tt": [],
        "is_billed=true": [apps],
        "is_billed=false&is_running=false": [bobs, mine, old],
        "is_running=true": [timer],
        "approval_status=submitted": [mine],
        "from=2026-06-01&to=2026-06-03": [apps, bobs, mine],  # both inclusive
        "from=2026-06-03": [timer, apps],
        "to=2026-05-31": [old],
        "from=2026-06-09&to=2026-06-01": [],
        "updated_since=2026-06-12T13:00:00Z": [timer, apps, bobs, mine],  # inclusive
        "updated_since=2026-06-12T13:00:01Z": [],
        "updated_since=2026-06-12T15:00:00%2B02:00": [timer, apps, bobs, mine],
        "updated_since=2026-06-12": [timer, apps, bobs, mine, old],
        f"updated_since=2026-06-12T12:30:00Z&user_id={bob}&to=2026-06-03": [apps, bobs],
    }
    assert {query: listed(api, query) for query in expected} == expected
    for wrong in ("is_running=maybe", "from=yesterday", "updated_since=x", "user_id=me"):
        assert api.get(f"/time_entries?{wrong}").status_code == 422


def test_a_filtered_list_follows_every_change(api: Api, world: World) -> None:
    """Listings are remembered between pages; no write may leave a stale one."""
    entry = world.entry(spent_on="2026-06-01")
    assert listed(api, "from=2026-06-02") == []
    world.account.edit_entry(entry, spent_on="2026-06-05", hours="3", notes="moved")
    shown = api.ok("GET", "/time_entries?from=2026-06-02")["time_entries"][0]
    assert (shown["spent_date"], shown["hours"], shown["notes"]) == ("2026-06-05", 3.0, "moved")
    world.account.edit("projects", world.ids.project, name="Renamed")
    assert api.ok("GET", "/time_entries")["time_entries"][0]["project"]["name"] == "Renamed"
    birch = world.account.add_client("Birch")
    assert listed(api, f"client_id={birch}") == []
    world.account.edit("projects", world.ids.project, client_id=birch)
    assert listed(api, f"client_id={birch}") == [entry]
    world.account.delete_entry(entry)
    assert listed(api, "from=2026-06-02") == []


# --- timers ---


def test_leaving_out_the_hours_starts_a_timer(api: Api, world: World, clock: Clock) -> None:
    made = create(api, world, notes="go")
    assert (made["is_running"], made["hours"], made["timer_started_at"]) == (
        True,
        0.0,
        "2026-06-12T12:00:00Z",
    )
    clock.advance(seconds=1800)
    running = api.ok("GET", f"/time_entries/{made['id']}")
    assert (running["hours"], running["hours_without_timer"]) == (0.5, 0.0)
    assert running["updated_at"] == made["updated_at"]  # the growth is no change
    stopped = api.ok("PATCH", f"/time_entries/{made['id']}/stop")
    assert (stopped["is_running"], stopped["hours"], stopped["hours_without_timer"]) == (False, 0.5, 0.5)
    assert stopped["timer_started_at"] is None
    assert message(api, "PATCH", f"/time_entries/{made['id']}/stop") == "Timer is not running"


def test_seventy_eight_seconds_are_two_hundredths(api: Api, world: World, clock: Clock) -> None:
    made = create(api, world)
    clock.advance(seconds=78)
    assert api.ok("PATCH", f"/time_entries/{made['id']}/stop")["hours"] == 0.02


def test_a_person_has_one_running_timer(api: Api, world: World, sandbox: Sandbox, clock: Clock) -> None:
    bob = sandbox.add_person("Bob", "Member", "bob@sandbox.example")
    world.account.assign_user(world.ids.project, bob)
    first, bobs = create(api, world), create(api, world, user_id=bob)
    clock.advance(hours=1)
    second = create(api, world)
    assert set(listed(api, "is_running=true")) == {bobs["id"], second["id"]}
    stopped = api.ok("GET", f"/time_entries/{first['id']}")
    assert (stopped["hours"], stopped["updated_at"]) == (1.0, "2026-06-12T13:00:00Z")
    restarted = api.ok("PATCH", f"/time_entries/{first['id']}/restart")
    assert restarted["id"] == first["id"]
    assert set(listed(api, "is_running=true")) == {bobs["id"], first["id"]}
    assert "already running" in message(api, "PATCH", f"/time_entries/{first['id']}/restart")
    clock.advance(minutes=30)
    assert api.ok("PATCH", f"/time_entries/{first['id']}/stop")["hours"] == 1.5


def test_start_and_end_accounts_make_a_new_entry_on_restart(api: Api, world: World, clock: Clock) -> None:
    world.account.track_start_and_end()
    world.account.edit("users", world.ids.ada, timezone="Mountain Time (US & Canada)")
    done = create(api, world, started_time="8:00am", ended_time="09:30", hours=7)
    assert (done["hours"], done["started_time"], done["ended_time"]) == (
        1.5,
        "08:00",
        "09:30",
    )  # hours ignored
    clock.advance(days=1)
    again = api.ok("PATCH", f"/time_entries/{done['id']}/restart")
    assert again["id"] != done["id"]
    assert (again["hours"], again["is_running"], again["spent_date"]) == (0.0, True, "2026-06-13")
    assert again["started_time"] == "06:00"  # wall-clock time of the person: UTC-6
    clock.advance(minutes=45)
    ended = api.ok("PATCH", f"/time_entries/{again['id']}/stop")
    assert (ended["hours"], ended["ended_time"]) == (0.75, "06:45")
    moved = api.ok("PATCH", f"/time_entries/{done['id']}", json={"ended_time": "10:00", "hours": 9})
    assert moved["hours"] == 2.0
    assert "after started" in message(api, "PATCH", f"/time_entries/{done['id']}", ended_time="07:00")


def test_start_and_end_accounts_run_without_an_end(api: Api, world: World) -> None:
    world.account.track_start_and_end()
    world.account.company["clock"] = "12h"
    made = create(api, world, hours=3)
    assert (made["is_running"], made["started_time"], made["ended_time"]) == (True, "12:00pm", None)


def test_duration_accounts_ignore_times(api: Api, world: World) -> None:
    made = create(api, world, hours=3, started_time="8:00", ended_time="9:00")
    assert (made["hours"], made["started_time"], made["ended_time"]) == (3.0, None, None)


# --- locks ---


def lock_with(world: World, how: str, entry: int) -> None:
    account = world.account
    match how:
        case "approve":
            account.approve(entry)
        case "bill":
            account.bill(entry)
        case "lock":
            account.lock_entries(entry)
        case "both":
            account.approve(entry)
            account.bill(entry)
        case "period":
            account.lock_before("2026-06-13")
        case _:
            account.archive(how, {"projects": world.ids.project, "tasks": world.ids.task}[how])


@pytest.mark.parametrize(
    ("how", "reason", "deletable"),
    [
        ("approve", "Item Approved and Locked for this Time Period", True),
        ("bill", "Item Invoiced", False),
        ("both", "Item Invoiced and Approved and Locked for this Time Period", False),
        ("lock", "Item Locked for this Time Period", False),
        ("period", "Item Locked for this Time Period", False),
        ("projects", "Item Archived", False),
        ("tasks", "Item Archived", False),
    ],
)
def test_locked_entries_refuse_changes(
    api: Api, world: World, how: str, reason: str, deletable: bool
) -> None:
    entry = world.entry(hours=2)
    lock_with(world, how, entry)
    shown = api.ok("GET", f"/time_entries/{entry}")
    assert (shown["is_locked"], shown["locked_reason"]) == (True, reason)
    assert shown["is_closed"] == (shown["approval_status"] == "approved") == (how in ("approve", "both"))
    assert shown["is_billed"] == (how in ("bill", "both"))
    refusal = message(api, "PATCH", f"/time_entries/{entry}", hours=3)
    assert refusal.startswith(
        "You cannot track time to <strong>[ACME-1] Website</strong>, because hours have been"
    )
    assert world.account.entry(entry)["hours"] == 2.0
    assert api.patch(f"/time_entries/{entry}/restart").status_code == 422
    # Administrators may delete what is merely closed.
    assert api.delete(f"/time_entries/{entry}").status_code == (200 if deletable else 422)


def test_locking_is_a_change_and_unlocking_opens(api: Api, world: World, clock: Clock) -> None:
    entry = world.entry(hours=2)
    clock.advance(hours=1)
    world.account.approve(entry)
    assert listed(api, "updated_since=2026-06-12T13:00:00Z") == [entry]
    world.account.unlock_entries(entry)
    assert api.ok("PATCH", f"/time_entries/{entry}", json={"hours": 3})["hours"] == 3.0


def test_no_new_time_in_an_approved_or_locked_period(api: Api, world: World) -> None:
    world.account.approve_period(world.ids.ada, "2026-06-01", "2026-06-07")
    target = {"project_id": world.ids.project, "task_id": world.ids.task, "hours": 1}
    assert "<strong>approved</strong>" in message(
        api, "POST", "/time_entries", **target, spent_date="2026-06-07"
    )
    free = api.ok("POST", "/time_entries", json={**target, "spent_date": "2026-06-08"})
    assert message(api, "PATCH", f"/time_entries/{free['id']}", spent_date="2026-06-02")
    world.account.lock_before(date(2026, 6, 9))
    assert "<strong>locked</strong>" in message(
        api, "POST", "/time_entries", **target, spent_date="2026-06-08"
    )
    api.ok("POST", "/time_entries", json={**target, "spent_date": "2026-06-09"})


def test_a_switch_lets_administrators_edit_locked_time(api: Api, world: World) -> None:
    entry = world.entry(hours=2)
    world.account.approve(entry)
    world.account.administrators_edit_locked = True
    assert api.ok("PATCH", f"/time_entries/{entry}", json={"hours": 3})["hours"] == 3.0


def test_an_entry_can_be_made_malformed(api: Api, world: World) -> None:
    entry = world.entry(hours=2)
    world.account.override(entry, hours=None, user="nobody")
    shown = api.ok("GET", "/time_entries")["time_entries"][0]
    assert (shown["hours"], shown["user"], shown["id"]) == (None, "nobody", entry)
    world.account.override(entry)
    assert api.ok("GET", f"/time_entries/{entry}")["hours"] == 2.0


def test_half_a_surrogate_pair_does_no_harm(api: Api, world: World) -> None:
    raw = b'{"project_id":%d,"task_id":%d,"spent_date":"2026-06-12","hours":1,"notes":"a\\ud800b"}'
    sent = raw % (world.ids.project, world.ids.task)
    made = api.ok("POST", "/time_entries", content=sent, headers={"Content-Type": "application/json"})
    assert made["notes"] == "a?b"
    assert listed(api) == [made["id"]]


def test_notes_may_be_required(api: Api, world: World) -> None:
    world.account.company["day_entry_notes_required"] = True
    target = {
        "project_id": world.ids.project,
        "task_id": world.ids.task,
        "spent_date": "2026-06-12",
        "hours": 1,
    }
    assert message(api, "POST", "/time_entries", **target) == "Notes can't be blank"
    assert create(api, world, hours=1, notes="x" * 200_000)["notes"] == "x" * 200_000
