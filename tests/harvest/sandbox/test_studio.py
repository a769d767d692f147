from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from datetime import date

import httpx
import pytest

from harvest.sandbox import ADMIN_TOKEN, Sandbox, SandboxServer
from harvest.sandbox.resources import RESOURCES
from harvest.sandbox.studio import CLIENTS, MEMBER_TOKEN, PEOPLE, PROJECTS, TASKS, WORK_ITEMS

from .conftest import Api, Clock

TODAY = date(2026, 6, 12)


@pytest.fixture(scope="module")
def studio() -> Sandbox:
    return Sandbox.studio(now=Clock(), rate_limit=False)


def test_its_size_and_variety(studio: Sandbox) -> None:
    account = studio.account
    sizes = [len(account.ids(table)) for table in ("clients", "projects", "tasks", "users", "time_entries")]
    assert sizes == [6, 15, 8, 9, 3000] == [len(CLIENTS), len(PROJECTS), len(TASKS), len(PEOPLE), 3000]
    assert all(account.tables[table] for table in RESOURCES), "every list has rows"
    entries = account.entries()
    days = {date.fromisoformat(entry["spent_date"]) for entry in entries}
    assert max(days) == TODAY
    assert all(day.weekday() < 5 for day in days)
    assert sum(entry["is_running"] for entry in entries) == 2
    reasons = Counter(entry["locked_reason"] for entry in entries)
    assert reasons.keys() >= {None, "Item Approved and Locked for this Time Period"}
    assert any(reason and "Invoiced" in reason for reason in reasons)
    notes = [entry["notes"] for entry in entries]
    assert 200 < notes.count(None) < 600
    keys = [key for _, key, _ in WORK_ITEMS]
    assert sum(any(key in (note or "") for key in keys) for note in notes) > 400
    assert sum(round(entry["hours"] * 100) % 25 != 0 for entry in entries) > 300
    assert {entry["project"]["name"] for entry in entries} == {name for _, name, _, _ in PROJECTS}
    assert {entry["task"]["name"] for entry in entries} == {name for name, _, _ in TASKS}
    inactive = [
        len([r for r in account.tables[t].values() if not r["is_active"]])
        for t in ("projects", "tasks", "users")
    ]
    assert inactive == [1, 1, 1]
    assert not any(entry["created_at"] > "2026-06-12T12:00:00Z" for entry in entries)
    assert len(entries) == len({entry["id"] for entry in entries})


def test_the_same_seed_gives_the_same_studio(studio: Sandbox) -> None:
    assert Sandbox.studio(now=Clock()).account.entries() == studio.account.entries()
    other = Sandbox.studio(now=Clock(), seed=8, entries=200).account.entries()
    assert len(other) == 200
    assert other[-1]["spent_date"] == "2026-06-12"
    assert (
        Sandbox.studio(now=Clock(), today=date(2026, 5, 4), entries=50).account.entries()[-1]["spent_date"]
        == "2026-05-04"
    )


def test_two_accounts_and_a_forecast(studio: Sandbox) -> None:
    person = studio.person(PEOPLE[0][2])
    products = [studio.identity.accounts[number].product for number in [*person.users, *person.forecast_ids]]
    assert products == ["harvest", "harvest", "forecast"]
    assert len(set(person.users.values())) == 2 or person.users[880123] != person.id


def test_a_member_of_the_studio_reads_their_own_time(studio: Sandbox) -> None:
    with SandboxServer(studio) as server, Api(server, MEMBER_TOKEN) as api:
        entries = api.ok("GET", "/time_entries")["time_entries"]
        assert {entry["user"]["name"] for entry in entries} == {"Amara Okafor"}


@pytest.mark.slow
def test_pages_of_a_large_account_are_quick() -> None:
    sandbox = Sandbox.bulk(100_000, rate_limit=False)
    with SandboxServer(sandbox) as server, Api(server) as api:
        seen: set[int] = set()
        link: str | None = "/time_entries?per_page=2000"
        while link:
            body = api.ok("GET", link)
            seen.update(entry["id"] for entry in body["time_entries"])
            link = body["links"]["next"]
    assert len(seen) == 100_000
    times = sorted(record.milliseconds for record in sandbox.requests)
    assert times[len(times) // 2] < 250, "half of the pages, on a machine that has other work to do"


def test_it_runs_on_its_own() -> None:
    with SandboxServer(Sandbox.empty()) as probe:
        port = probe.port  # free again once the probe is gone
    process = subprocess.Popen(
        [sys.executable, "-m", "harvest.sandbox", "--port", str(port), "--entries", "20", "--no-rate-limit"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        said = "".join(process.stdout.readline() for _ in range(6))
        assert f"HARVEST_API_URL=http://127.0.0.1:{port}/v2" in said
        assert ADMIN_TOKEN in said
        deadline = time.monotonic() + 10
        while True:
            try:
                state = httpx.get(f"http://127.0.0.1:{port}/_sandbox/state").json()
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert state["settings"]["rate_limit"] is False
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout
        process.stdout.close()
