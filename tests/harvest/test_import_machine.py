"""Whatever happens, in whatever order: an entry is here at most once, and the end is that of a single import."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harvest import importing
from harvest.importing import execute_run, start_apply
from harvest.sandbox import Sandbox
from harvest.undo import undo_run
from inbound.models import TimeProposal
from integrations.models import RunEntry, SyncLink, SyncRun
from integrations.runs import counts_of
from tests.harvest.conftest import Studio, build_studio
from timelogs.models import TimeLog
from timelogs.services import save_work_item

FIRST = date(2026, 6, 1)
DAYS = st.integers(0, 9).map(lambda n: FIRST + timedelta(days=n))
PROJECTS = st.sampled_from(["Website", "App", "Loose"])
TASKS = st.sampled_from(["Design", "Code", "Admin"])
HOURS = st.sampled_from(["0.25", "1.00", "2.11"])
NOTES = st.sampled_from(["", "Something", "ACME-12 header"])


class Killed(BaseException):
    """The worker is gone between two statements: nothing after this runs, no clean-up either."""


class Imports(RuleBasedStateMachine):
    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        sandbox.reset()
        self.studio: Studio = build_studio(sandbox)
        with self.studio.scope():
            save_work_item(
                workspace=self.studio.admin.workspace,
                client=self.studio.clients["Acme"],
                key="ACME-12",
                title="Header",
            )
        self.entries: list[int] = []
        self.runs: list[SyncRun] = []
        self.previews: list[SyncRun] = []

    # --- Harvest ---
    @rule(project=PROJECTS, task=TASKS, on=DAYS, hours=HOURS, notes=NOTES)
    def add(self, project: str, task: str, on: date, hours: str, notes: str) -> None:
        self.entries.append(self.studio.add_entry(project, task, on, hours, notes))

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), on=DAYS, hours=HOURS, project=PROJECTS)
    def edit(self, data: st.DataObject, on: date, hours: str, project: str) -> None:
        pk = data.draw(st.sampled_from(self.entries))
        self.studio.sandbox.account.edit_entry(
            pk, spent_on=on, hours=hours, project=self.studio.harvest[project]
        )

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        pk = data.draw(st.sampled_from(self.entries))
        self.entries.remove(pk)
        self.studio.sandbox.account.delete_entry(pk)

    # --- Mappings ---
    @rule(name=st.sampled_from(["Website", "App", "Loose"]), here=st.sampled_from(["Website", "App", None]))
    def map_project(self, name: str, here: str | None) -> None:
        self.studio.map("projects", {name: self.studio.projects[here] if here else None})

    @rule(name=st.sampled_from(["Design", "Code", "Admin"]), mapped=st.booleans())
    def map_task(self, name: str, mapped: bool) -> None:
        self.studio.map("tasks", {name: self.studio.types[name] if mapped else None})

    @rule(name=st.sampled_from(["Acme", "Birch"]), mapped=st.booleans())
    def map_client(self, name: str, mapped: bool) -> None:
        self.studio.map("clients", {name: self.studio.clients[name] if mapped else None})

    # --- Runs ---
    @rule(first=DAYS, days=st.integers(0, 9))
    def bring_in(self, first: date, days: int) -> None:
        self.runs.append(self.studio.import_window(first, first + timedelta(days=days)))

    @rule(first=DAYS, days=st.integers(0, 9))
    def preview(self, first: date, days: int) -> None:
        self.previews.append(self.studio.import_window(first, first + timedelta(days=days), dry_run=True))

    @precondition(lambda self: self.previews)
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        preview = data.draw(st.sampled_from(self.previews))
        with self.studio.scope():
            run = start_apply(
                workspace=self.studio.admin.workspace, by=self.studio.admin.user, preview=preview
            )
        execute_run(workspace_id=self.studio.workspace_id, run_id=run.id)
        self.runs.append(self.studio.reload(run))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        self.take_back(data.draw(st.sampled_from(self.runs)))

    @rule(after=st.integers(0, 3), within=st.booleans())
    def bring_in_with_a_killed_worker(self, after: int, within: bool) -> None:
        """The worker dies after some pages, before or after writing one; the run is claimed again and ends."""
        run = self.studio.start(FIRST, FIRST + timedelta(days=9))
        real, pages = importing.write_prepared, iter(range(after))

        def until_killed(*args: Any, **more: Any) -> None:
            if next(pages, None) is None:
                if within:
                    real(*args, **more)
                raise Killed
            real(*args, **more)

        with mock.patch.object(importing, "write_prepared", until_killed):
            try:
                execute_run(workspace_id=self.studio.workspace_id, run_id=run.id)
            except Killed:
                with self.studio.scope():
                    SyncRun.objects.filter(id=run.id).update(
                        lease_until=timezone.now() - timedelta(seconds=1)
                    )
        execute_run(workspace_id=self.studio.workspace_id, run_id=run.id)
        run = self.studio.reload(run)
        assert run.state == "succeeded"
        with self.studio.scope():
            assert counts_of([run])[run.id].done == len(self.entries)
        self.runs.append(run)

    def take_back(self, run: SyncRun) -> None:
        with self.studio.scope():
            undone = undo_run(workspace=self.studio.admin.workspace, by=self.studio.admin.user, run=run)
            assert undone.kept == []

    # --- What must hold ---
    @invariant()
    def an_entry_is_here_at_most_once(self) -> None:
        with self.studio.scope():
            here = [
                *TimeLog.objects.filter(source="harvest").values_list("external_id", flat=True),
                *TimeProposal.objects.values_list("external_id", flat=True),
            ]
            assert len(here) == len(set(here))
            assert sorted(here) == sorted(SyncLink.objects.values_list("external_id", flat=True))
            told = RunEntry.objects.filter(outcome="imported", run__dry_run=False, run__undone_at=None)
            assert set(told.values_list("external_id", flat=True)) <= set(here)

    def teardown(self) -> None:
        for run in reversed(self.runs):
            self.take_back(run)
        self.map_everything(self.studio)
        self.studio.import_window(FIRST, FIRST + timedelta(days=9))

        fresh = second_workspace(self.studio)
        self.map_everything(fresh)
        fresh.import_window(FIRST, FIRST + timedelta(days=9))
        assert rows(self.studio) == rows(fresh)
        assert len(rows(fresh)) == len(self.entries)

    @staticmethod
    def map_everything(studio: Studio) -> None:
        studio.map(
            "projects", {"Website": studio.projects["Website"], "App": studio.projects["App"], "Loose": None}
        )
        studio.map("tasks", {name: studio.types[name] for name in studio.types})
        studio.map("clients", {name: studio.clients[name] for name in studio.clients})


def second_workspace(studio: Studio) -> Studio:
    """Another workspace with the same clients, projects and types, connected to the same Harvest, empty."""
    fresh = build_studio(studio.sandbox, dict(studio.harvest))
    with fresh.scope():
        save_work_item(
            workspace=fresh.admin.workspace, client=fresh.clients["Acme"], key="ACME-12", title="Header"
        )
    return fresh


def rows(studio: Studio) -> list[tuple[Any, ...]]:
    with studio.scope():
        logs = TimeLog.objects.filter(source="harvest").values_list(
            "external_id", "client__name", "project__name", "activity_type__name", "work_item__key", "spent_date",
            "seconds", "notes", "billable", "hourly_rate", "deleted_at",
        )  # fmt: skip
        proposals = TimeProposal.objects.values_list(
            "external_id", "client__name", "activity_type__name", "spent_date", "seconds", "notes", "status"
        )
        return sorted([*logs, *proposals], key=lambda row: row[0])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_any_sequence_ends_as_a_single_import(sandbox: Sandbox, settings: Any) -> None:
    settings.HARVEST_PAGE_SIZE = 3
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # many workspaces are made
    run_state_machine_as_test(
        lambda: Imports(sandbox),
        settings=machine_settings(
            max_examples=15,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
