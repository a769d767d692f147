from __future__ import annotations

import contextlib
import json
import threading
import time

import httpx
import pytest

from harvest.sandbox import FaultKind, Sandbox, SandboxServer

from .conftest import Api, World


@pytest.mark.parametrize(
    ("kind", "status"),
    [("429", 429), ("429-bare", 429), ("500", 500), ("503", 503), ("401", 401)],
)
def test_refusals_strike_once_and_do_no_work(
    api: Api, world: World, sandbox: Sandbox, kind: str, status: int
) -> None:
    sandbox.fault(kind, seconds=7)
    target = {
        "project_id": world.ids.project,
        "task_id": world.ids.task,
        "spent_date": "2026-06-12",
        "hours": 1,
    }
    refused = api.post("/time_entries", json=target)
    assert refused.status_code == status
    assert refused.headers.get("Retry-After") == ("7" if kind == "429" else None)
    assert world.account.ids("time_entries") == []
    api.ok("POST", "/time_entries", json=target)
    assert sandbox.faults.active == []


def test_a_cut_connection_did_nothing_and_a_lost_answer_did_everything(
    api: Api, world: World, sandbox: Sandbox
) -> None:
    target = {
        "project_id": world.ids.project,
        "task_id": world.ids.task,
        "spent_date": "2026-06-12",
        "hours": 1,
    }
    # However the connection ends: closed, or reset where the request was still being read.
    broken = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
    sandbox.fault("cut")
    with pytest.raises(broken):
        api.post("/time_entries", json=target)
    assert world.account.ids("time_entries") == []
    sandbox.fault(FaultKind.LOST, method="POST")
    api.ok("GET", "/users/me")
    with pytest.raises(broken):
        api.post("/time_entries", json=target)
    assert len(world.account.ids("time_entries")) == 1
    record = sandbox.seen("POST")[-1]
    assert (record.status, record.fault) == (0, "lost")


def test_broken_bodies(api: Api, sandbox: Sandbox, world: World) -> None:
    for number in range(50):
        world.entry(notes=f"Entry {number}")
    sandbox.fault("truncated")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        api.get("/time_entries")
    sandbox.fault("cut-json")
    answer = api.get("/time_entries")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    sandbox.fault("garbage")
    answer = api.get("/time_entries")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert api.ok("GET", "/time_entries")["total_entries"] == 50


def test_a_slow_answer_holds_up_nobody_else(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault("slow", seconds=1.0, path="/clients")
    spent: list[float] = []

    def read_slowly() -> None:
        began = time.monotonic()
        api.ok("GET", "/clients")
        spent.append(time.monotonic() - began)

    slow = threading.Thread(target=read_slowly)
    slow.start()
    while sandbox.faults.active:
        time.sleep(0.01)
    api.ok("GET", "/users/me")
    assert slow.is_alive()
    slow.join()
    assert spent[0] >= 1.0


def test_conditions(api: Api, sandbox: Sandbox, world: World) -> None:
    for _ in range(3):
        world.entry()
    sandbox.fault("503", page=2, path="/time_entries$", times=None)
    read = {page: api.get(f"/time_entries?per_page=1&page={page}").status_code for page in (1, 2, 3)}
    assert read == {1: 200, 2: 503, 3: 200}
    sandbox.clear_faults()
    sandbox.fault("500", after=2, times=2)
    assert [api.get("/company").status_code for _ in range(5)] == [200, 200, 500, 500, 200]
    sandbox.fault("500", probability=0.5, times=None)
    struck = sum(api.get("/company").status_code == 500 for _ in range(40))
    assert 8 <= struck <= 32


def test_faults_strike_harvest_id_too(server_url: str, sandbox: Sandbox) -> None:
    sandbox.fault("503", path="/api/v2/accounts")
    assert httpx.get(f"{server_url}/api/v2/accounts", headers={"User-Agent": "t"}).status_code == 503


@pytest.fixture
def server_url(api: Api) -> str:
    return str(api.base_url).removesuffix("/v2/")


def test_many_writers_at_once_lose_nothing(api: Api, sandbox: Sandbox, world: World) -> None:
    sandbox.rate_limit.enabled = False
    made: list[int] = []

    def write(number: int) -> None:
        for turn in range(10):
            body = {"project_id": world.ids.project, "task_id": world.ids.task, "spent_date": "2026-06-12"}
            made.append(
                api.ok("POST", "/time_entries", json=body | {"hours": 1, "notes": f"{number}/{turn}"})["id"]
            )
            world.entry(notes="by hook")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(made)) == 60
    listed = api.ok("GET", "/time_entries")["time_entries"]
    assert len({entry["id"] for entry in listed}) == 120
    assert sum(entry["notes"] == "by hook" for entry in listed) == 60


def test_a_server_stops_in_the_middle_of_a_slow_answer() -> None:
    sandbox = Sandbox.empty()
    sandbox.fault("slow", seconds=30)

    def read() -> None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{server.api_url}/company")

    with SandboxServer(sandbox) as server:
        reader = threading.Thread(target=read)
        reader.start()
        while sandbox.faults.active:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    reader.join(5)
    assert not reader.is_alive()
