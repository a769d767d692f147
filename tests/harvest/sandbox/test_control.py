from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from harvest.sandbox import ADMIN_TOKEN, Sandbox, SandboxServer

from .conftest import Api, World


@pytest.fixture
def control(server: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.base_url}/_sandbox/") as client:
        yield client


def test_the_state_tells_how_to_connect(control: httpx.Client) -> None:
    state = control.get("state").json()
    assert state["accounts"] == [{"id": 880123, "name": "Sandbox Studio", "product": "harvest"}]
    assert state["people"][0]["tokens"] == [ADMIN_TOKEN]
    assert state["rate_limit"]["used"] == {"880123": 0}


def test_faults_over_http(control: httpx.Client, api: Api) -> None:
    made = control.post("faults", json={"kind": "503", "times": 2, "path": "company"}).json()
    assert [fault["id"] for fault in control.get("faults").json()] == [made["id"]]
    assert api.get("/company").status_code == 503
    assert control.get("faults").json()[0]["hits"] == 1
    control.delete(f"faults/{made['id']}")
    assert api.get("/company").status_code == 200
    for wrong in (
        {},
        {"kind": "x"},
        {"kind": "500", "times": 0},
        {"kind": "500", "path": "("},
        {"kind": "500", "page": "x"},
    ):
        assert control.post("faults", json=wrong).status_code == 400
    assert control.get("faults").json() == []


def test_settings_over_http(control: httpx.Client, sandbox: Sandbox, api: Api) -> None:
    settings = control.patch("settings", json={"track_start_and_end": True, "rotate_refresh": True}).json()
    assert (settings["track_start_and_end"], settings["rotate_refresh"], settings["rate_limit"]) == (
        True,
        True,
        True,
    )
    assert api.ok("GET", "/company")["wants_timestamp_timers"] is True
    assert control.patch("settings", json={"nonsense": True}).status_code == 400
    assert control.patch("settings", json={"rate_limit": "perhaps"}).status_code == 400


def test_entries_over_http(control: httpx.Client, world: World, api: Api) -> None:
    base = "accounts/880123/entries"
    made = control.post(
        base, json={"project": world.ids.project, "task": world.ids.task, "hours": "2.5"}
    ).json()
    assert control.patch(f"{base}/{made['id']}", json={"notes": "edited"}).json()["notes"] == "edited"
    assert control.post(f"{base}/{made['id']}/approve").json()["is_closed"] is True
    assert api.patch(f"/time_entries/{made['id']}", json={"hours": 1}).status_code == 422
    assert control.post(f"{base}/{made['id']}/unlock").json()["is_locked"] is False
    assert control.post(f"{base}/{made['id']}/explode").status_code == 404
    assert control.delete(f"{base}/{made['id']}").status_code == 200
    assert control.get(f"{base}/{made['id']}").status_code == 404
    assert control.post("accounts/1/entries", json={}).status_code == 404


def test_rows_over_http(control: httpx.Client, api: Api) -> None:
    made = control.post("accounts/880123/clients", json={"name": "Birch"}).json()
    control.patch(f"accounts/880123/clients/{made['id']}", json={"is_active": False})
    assert api.ok("GET", f"/clients/{made['id']}")["is_active"] is False
    assert control.post("accounts/880123/clients", json={}).status_code == 400
    control.delete(f"accounts/880123/clients/{made['id']}")
    assert api.get(f"/clients/{made['id']}").status_code == 404


def test_log_revocation_and_reset(control: httpx.Client, api: Api, sandbox: Sandbox, world: World) -> None:
    api.ok("GET", "/clients?per_page=3")
    record = control.get("requests").json()[-1]
    assert (record["method"], record["path"], record["query"], record["status"]) == (
        *("GET", "/v2/clients", "per_page=3", 200),
    )
    control.delete("requests")
    control.post("tokens/revoke", json={"token": ADMIN_TOKEN})
    assert api.get("/company").status_code == 401
    control.post("reset")
    assert api.ok("GET", "/clients")["total_entries"] == 0
    assert [record.path for record in sandbox.seen()] == ["/v2/clients"]


def test_no_foreign_page_drives_the_sandbox(control: httpx.Client, server: SandboxServer) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert control.post("reset", headers=foreign).status_code == 403
    assert httpx.post(f"{server.base_url}/_sandbox/do/reset", headers=foreign).status_code == 403
