"""A Harvest of one's own and a workspace connected to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection as database

from accounts.models import Membership, Plan
from accounts.services import create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client, Project
from clients.services import save_client, save_project
from dev.processes import end_with_parent
from harvest.catalogue import refresh_catalogue
from harvest.credentials import check_token, save_connection
from harvest.importing import execute_run, start_import
from harvest.mappings import KINDS, Change, set_mappings
from harvest.sandbox import Sandbox, SandboxServer
from harvest.sandbox.state import ADMIN_TOKEN
from integrations.models import Connection, RunEntry, SyncRun
from integrations.runs import counts_of, represent
from timelogs.models import ActivityType
from timelogs.services import save_activity_type

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 6, 12)


@pytest.fixture
def sandbox(settings: Any) -> Iterator[Sandbox]:
    """An empty Harvest account over real HTTP, which the settings point at."""
    with SandboxServer(Sandbox.empty(name="Northlight", rate_limit=False)) as server:
        settings.HARVEST_API_URL, settings.HARVEST_ID_URL = server.api_url, server.base_url
        yield server.sandbox


@dataclass
class Studio:
    """A pro workspace connected to the sandbox, with a small Harvest in it, nothing mapped yet.

    `harvest` holds Harvest's ids by name; `ours` our rows by name.
    """

    sandbox: Sandbox
    admin: Membership
    connection: Connection
    harvest: dict[str, int] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    types: dict[str, ActivityType] = field(default_factory=dict)

    @property
    def workspace_id(self) -> UUID:
        return self.admin.workspace_id

    def scope(self) -> Any:
        return tenant_scope(self.workspace_id)

    def add_entry(
        self, project: str, task: str, on: date | str, hours: str, notes: str = "", **more: Any
    ) -> int:
        return self.sandbox.account.add_entry(
            project=self.harvest[project],
            task=self.harvest[task],
            spent_on=on,
            hours=hours,
            notes=notes,
            **more,
        )

    def map(self, kind: str, pairs: dict[str, Any]) -> None:
        """pairs: Harvest name -> our row (or None)."""
        with self.scope():
            set_mappings(
                workspace=self.admin.workspace,
                connection=self.connection,
                kind=KINDS[kind],
                changes=[
                    Change(str(self.harvest[name]), target.pk if target else None)
                    for name, target in pairs.items()
                ],
                by=self.admin.user,
            )

    def refresh(self) -> None:
        refresh_catalogue(self.admin.workspace, self.connection)

    def import_window(
        self, first: date | str = "2026-06-01", last: date | str = "2026-06-12", **more: Any
    ) -> SyncRun:
        """Start an import and work on it here, as the worker would."""
        run = self.start(first, last, **more)
        execute_run(workspace_id=self.workspace_id, run_id=run.id)
        return self.reload(run)

    def start(self, first: date | str, last: date | str, **more: Any) -> SyncRun:
        with self.scope():
            return start_import(
                workspace=self.admin.workspace,
                by=self.admin.user,
                from_date=date.fromisoformat(str(first)),
                to_date=date.fromisoformat(str(last)),
                **more,
            )

    def reload(self, run: SyncRun) -> SyncRun:
        with self.scope():
            return SyncRun.objects.select_related("connection").get(id=run.id)

    def shown(self, run: SyncRun) -> dict[str, Any]:
        """RUN, as the API shows it."""
        with self.scope():
            run = SyncRun.objects.get(id=run.id)
            return represent(run, counts_of([run])[run.id])

    def outcomes(self, run: SyncRun) -> dict[str, tuple[str, str]]:
        """external id -> (outcome, reason)."""
        with self.scope():
            return {
                one.external_id: (one.outcome, one.reason) for one in RunEntry.objects.filter(run_id=run.id)
            }


def make_admin(plan: str = Plan.PRO, name: str = "Northlight") -> Membership:
    return create_workspace(
        name=name,
        email=f"admin-{uuid4().hex[:8]}@northlight.example",
        password="correct horse battery",
        plan=plan,
    )


def connect(admin: Membership, token: str = ADMIN_TOKEN, account_id: str = "880123") -> Connection:
    credentials = check_token(account_id=account_id, access_token=token)
    with tenant_scope(admin.workspace_id):
        connection = save_connection(workspace=admin.workspace, by=admin.user, credentials=credentials)
    connection.workspace = admin.workspace
    return connection


@pytest.fixture
def studio(db: None, sandbox: Sandbox) -> Studio:
    """Two clients in Harvest with a project each, three tasks; the same here; connected, nothing mapped."""
    return build_studio(sandbox)


def furnish(sandbox: Sandbox) -> dict[str, int]:
    """Two clients in Harvest with projects, three tasks; their ids by name."""
    account = sandbox.account
    ids = {name: account.add_client(name) for name in ("Acme", "Birch")}
    ids["Website"] = account.add_project(ids["Acme"], "Website", "ACME-1")
    ids["App"] = account.add_project(ids["Birch"], "App")
    ids["Loose"] = account.add_project(ids["Acme"], "Loose ends")
    ids |= {name: account.add_task(name) for name in ("Design", "Code", "Admin")}
    ids["Ada"] = account.ids("users")[0]
    return ids


def build_studio(sandbox: Sandbox, harvest: dict[str, int] | None = None) -> Studio:
    """A connected workspace with the same clients, projects and types; `harvest` where Harvest is furnished already."""
    harvest = harvest or furnish(sandbox)
    admin = make_admin()
    studio = Studio(sandbox, admin, connect(admin), harvest)
    workspace = admin.workspace
    with studio.scope():
        for name in ("Acme", "Birch"):
            studio.clients[name] = save_client(workspace=workspace, name=name)
        studio.projects["Website"] = save_project(
            workspace=workspace, client=studio.clients["Acme"], name="Website"
        )
        studio.projects["App"] = save_project(workspace=workspace, client=studio.clients["Birch"], name="App")
        for name, rate in (("Design", "120.00"), ("Code", "90.50"), ("Admin", "0.00")):
            studio.types[name] = save_activity_type(workspace=workspace, name=name, hourly_rate=Decimal(rate))
    studio.refresh()
    return studio


@pytest.fixture
def victims(sandbox: Sandbox, transactional_db: None, settings: Any) -> Iterator[subprocess.Popen[str]]:
    """See victims.py."""
    url = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{database.settings_dict['NAME']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "HARVEST_API_URL": settings.HARVEST_API_URL,
        "HARVEST_ID_URL": settings.HARVEST_ID_URL,
        "HARVEST_PAGE_SIZE": "10",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.harvest.victims"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    yield process
    process.communicate(timeout=20)  # closes its standard input, which ends it


def kill_at_random(victims: subprocess.Popen[str], workspace_id: UUID, what: object, *, after: float) -> None:
    """Have a process of its own work on `what` (a run's id, or "push"), and kill it so many seconds later."""
    assert victims.stdin is not None
    assert victims.stdout is not None
    victims.stdin.write(f"{workspace_id} {what}\n")
    victims.stdin.flush()
    pid = int(victims.stdout.readline())
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):  # it was done before
        os.kill(pid, signal.SIGKILL)
    assert victims.stdout.readline() == "gone\n"
