"""A foreign program reads the sandbox: tap-harvest, a Singer tap made for Harvest itself, from PyPI."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox, SandboxServer
from tests.harvest.tap import LAUNCH, environment

AGENT = "Timebridge tests (tests@timebridge.example)"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tap_python() -> Path:
    return environment()


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox.studio()) as server:
        yield server


class Tap:
    """The tap as its users run it: a config file, discovery, a catalogue with everything selected."""

    def __init__(self, python: Path, server: SandboxServer, folder: Path) -> None:
        self.command = [str(python), "-W", "ignore", str(LAUNCH), server.api_url, server.base_url]
        self.folder = folder
        config = {
            "refresh_token": self._refresh_token(server),
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "start_date": "2001-01-01T00:00:00Z",
            "user_agent": AGENT,
        }
        (folder / "config.json").write_text(json.dumps(config))
        catalog = json.loads(self.run("--discover"))
        for stream in catalog["streams"]:
            for part in stream["metadata"]:
                part["metadata"]["selected"] = True
        self.streams = {stream["stream"] for stream in catalog["streams"]}
        (folder / "catalog.json").write_text(json.dumps(catalog))

    @staticmethod
    def _refresh_token(server: SandboxServer) -> str:
        link = server.sandbox.consent(redirect_uri="http://localhost/callback")
        answer = httpx.post(
            f"{server.base_url}/api/v2/oauth2/token",
            headers={"User-Agent": AGENT},
            data={
                "grant_type": "authorization_code",
                "code": parse_qs(urlsplit(link).query)["code"][0],
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
            },
        )
        return str(answer.json()["refresh_token"])

    def run(self, *arguments: str) -> str:
        """What it writes to stdout; fails the test for any error that it reports."""
        config = ["--config", str(self.folder / "config.json")]
        done = subprocess.run(
            [*self.command, *config, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert not any(word in done.stderr for word in ("ERROR", "CRITICAL", "Traceback")), done.stderr[
            -3000:
        ]
        return done.stdout

    def sync(self, state: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The records, as {"stream", "record"}, and the last state."""
        arguments = ["--catalog", str(self.folder / "catalog.json")]
        if state is not None:
            (self.folder / "state.json").write_text(json.dumps(state))
            arguments += ["--state", str(self.folder / "state.json")]
        messages = [json.loads(line) for line in self.run(*arguments).splitlines()]
        states = [message["value"] for message in messages if message["type"] == "STATE"]
        return [message for message in messages if message["type"] == "RECORD"], states[-1]


def contents(sandbox: Sandbox) -> dict[str, int]:
    """How many records of each stream the sandbox's account holds, counted from its tables."""
    account = sandbox.account
    tables = account.tables
    assigned = [
        row
        for row in tables["user_assignments"].values()
        if row["is_active"] and tables["projects"][row["project_id"]]["is_active"]
    ]
    tasks_on = Counter(row["project_id"] for row in tables["task_assignments"].values())
    referenced = sum(entry.external_reference is not None for entry in account.timesheet.entries.values())
    same = ("clients", "contacts", "projects", "tasks", "users", "roles", "invoices", "estimates", "expenses",
            "expense_categories", "estimate_item_categories", "invoice_item_categories", "estimate_messages",
            "invoice_messages", "invoice_payments")  # fmt: skip
    return {name: len(tables[name]) for name in same} | {
        "project_tasks": len(tables["task_assignments"]),
        "project_users": len(tables["user_assignments"]),
        "time_entries": len(account.timesheet.entries),
        "external_reference": referenced,
        "time_entry_external_reference": referenced,
        "user_projects": len(assigned),
        "user_project_tasks": sum(tasks_on[row["project_id"]] for row in assigned),
        "user_roles": sum(len(row["user_ids"]) for row in tables["roles"].values()),
        "invoice_line_items": sum(len(row["line_items"]) for row in tables["invoices"].values()),
        "estimate_line_items": sum(len(row["line_items"]) for row in tables["estimates"].values()),
    }


def test_the_tap_reads_every_stream_and_then_only_what_changed(
    tap_python: Path, server: SandboxServer, tmp_path: Path
) -> None:
    sandbox = server.sandbox
    tap = Tap(tap_python, server, tmp_path)
    records, state = tap.sync()
    read = Counter(record["stream"] for record in records)
    expected = contents(sandbox)
    assert set(expected) == tap.streams
    assert read == expected
    assert min(expected.values()) > 0

    entries = {
        record["record"]["id"]: record["record"] for record in records if record["stream"] == "time_entries"
    }
    shown = {entry["id"]: entry for entry in sandbox.account.entries()}
    assert entries.keys() == shown.keys()
    running = {entry["id"] for entry in shown.values() if entry["is_running"]}
    for number, entry in entries.items():
        assert (entry["notes"], entry["project_id"], entry["spent_date"][:10]) == (
            shown[number]["notes"],
            shown[number]["project"]["id"],
            shown[number]["spent_date"],
        )
        if number not in running:
            assert entry["hours"] == shown[number]["hours"]

    oldest = min(number for number, entry in shown.items() if not entry["is_locked"])
    sandbox.account.edit_entry(oldest, notes="Changed since", hours="7.77")
    again, _ = tap.sync(state)
    changed = [record["record"] for record in again if record["stream"] == "time_entries"]
    assert [entry["hours"] for entry in changed if entry["id"] == oldest] == [7.77]
    assert len(changed) < 100
    assert {record.status for record in sandbox.seen()} == {200}
