"""Thresholds: told once a period, whoever comes upon them, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership, Notice, Role
from accounts.tenancy import tenant_scope
from clients.models import Client
from settlement import budgets, tasks
from settlement.budgets import follow_changes, save_budget, tell_of_thresholds
from settlement.models import Budget, BudgetAlert
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_workspace,
)
from timelogs.models import MonthChange
from timelogs.services import delete_time_log

pytestmark = pytest.mark.django_db

JUNE = datetime(2026, 6, 12, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(JUNE, tick=False) as clock:
        yield clock


def make_budget(client: Client, amount: str = "10", **values: Any) -> Budget:
    with tenant_scope(client.workspace_id):
        return save_budget(
            workspace=client.workspace,
            client=client,
            **{"unit": "hours", "period": "monthly", "amount": amount_of(amount), **values},
        )


def amount_of(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def told(workspace: Any) -> list[str]:
    """The titles of all notices, by name: they are of one moment."""
    with tenant_scope(workspace.id):
        return sorted(Notice.objects.filter(workspace=workspace).values_list("title", flat=True))


def follow(workspace: Any) -> int:
    return follow_changes(workspace.id)


def test_each_threshold_is_told_once_a_period(
    admin: Membership,
    clock: time_machine.Coordinates,
    mailoutbox: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    second = make_member(admin.workspace, Role.ADMIN)
    make_member(admin.workspace, Role.DESIGNER)
    client = make_client(admin.workspace, "Acme")
    make_budget(client)
    workspace = admin.workspace
    assert follow(workspace) == 0
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=7 * 3600)
    assert follow(workspace) == 0
    log = make_time_log(admin, client, on=date(2026, 6, 3), seconds=3600)
    with django_capture_on_commit_callbacks(execute=True):
        assert follow(workspace) == 1
    assert told(workspace) == ["Acme: 80 % of the budget is used"] * 2
    assert sorted(one.to[0] for one in mailoutbox) == sorted([admin.user.email, second.user.email])
    assert "8.00 hours of 10.00 hours are used (80.00 %)" in mailoutbox[0].body
    assert "At the present pace it runs out on 2026-06-15" in mailoutbox[0].body
    assert f"/clients/{client.id}/budgets/" in mailoutbox[0].body
    # Back below it, and over it again: it was told.
    with tenant_scope(workspace.id):
        delete_time_log(log=log, by=admin)
    assert follow(workspace) == 0
    make_time_log(admin, client, on=date(2026, 6, 4), seconds=3600)
    assert follow(workspace) == 0
    make_time_log(admin, client, on=date(2026, 6, 5), seconds=3 * 3600)
    assert follow(workspace) == 1
    titles = [f"Acme: {threshold} % of the budget is used" for threshold in (100, 100, 80, 80)]
    assert told(workspace) == titles
    # The next month is another period.
    clock.move_to(datetime(2026, 7, 20, tzinfo=UTC))
    make_time_log(admin, client, on=date(2026, 7, 1), seconds=9 * 3600)
    assert follow(workspace) == 1
    with tenant_scope(workspace.id):
        rows = set(BudgetAlert.objects.values_list("period_on", "threshold"))
    assert rows == {(date(2026, 6, 1), 80), (date(2026, 6, 1), 100), (date(2026, 7, 1), 80)}


def test_several_at_once_are_told_as_the_highest(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    budget = make_budget(client, alert_at=[50, 80, 100])
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=9 * 3600)
    assert follow(admin.workspace) == 1
    assert told(admin.workspace) == ["Acme: 80 % of the budget is used"]
    # A lower one that is set later is no news.
    with tenant_scope(admin.workspace_id):
        save_budget(workspace=admin.workspace, budget=budget, alert_at=[20, 50, 80])
        assert BudgetAlert.objects.count() == 3
    assert len(told(admin.workspace)) == 1


def test_a_change_of_the_budget_tells_too(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=3600)
    budget = make_budget(client, "10")
    assert told(admin.workspace) == []
    with tenant_scope(admin.workspace_id):
        save_budget(workspace=admin.workspace, budget=budget, amount=Decimal("1.25"))
    assert told(admin.workspace) == ["Acme: 80 % of the budget is used"]


def test_time_of_last_month_that_is_logged_late_is_told(
    admin: Membership, clock: time_machine.Coordinates
) -> None:
    client = make_client(admin.workspace, "Acme")
    make_budget(client, alert_at=[100])
    clock.move_to(datetime(2026, 7, 2, tzinfo=UTC))
    make_time_log(admin, client, on=date(2026, 6, 30), seconds=11 * 3600)
    assert follow(admin.workspace) == 1
    with tenant_scope(admin.workspace_id):
        assert BudgetAlert.objects.get().period_on == date(2026, 6, 1)
        assert "2026-06-01 to 2026-06-30" in Notice.objects.get().text
        assert "1.00 hours more than there was" in Notice.objects.get().text


def test_months_before_a_budget_was_made_are_not_told(admin: Membership) -> None:
    client = make_client(admin.workspace)
    make_time_log(admin, client, on=date(2026, 5, 30), seconds=11 * 3600)
    make_budget(client, starts_on=date(2026, 1, 1))
    assert follow(admin.workspace) == 0


def test_a_budget_of_zero_and_one_without_thresholds(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    make_budget(client, "0")
    make_budget(client, "0", alert_at=[])
    assert follow(admin.workspace) == 0
    make_time_log(admin, client, on=date(2026, 6, 2), seconds=36)
    assert follow(admin.workspace) == 1
    with tenant_scope(admin.workspace_id):
        assert Notice.objects.get().title == "Acme: 100 % of the budget is used"


def test_money_is_told_in_its_currency(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    project = make_project(client, "Site")
    make_budget(client, "100", unit="money", project=project)
    kind = make_activity_type(admin.workspace, rate="90")
    make_time_log(admin, client, on=date(2026, 6, 2), project=project, activity_type=kind)
    follow(admin.workspace)
    assert told(admin.workspace) == ["Acme / Site: 80 % of the budget is used"]
    with tenant_scope(admin.workspace_id):
        assert "90.00 USD of 100.00 USD are used (90.00 %)" in Notice.objects.get().text


# --- Nothing is lost -------------------------------------------------------------------------------------------------
def test_the_sweep_finds_what_changed_in_every_workspace(admin: Membership, stranger: Membership) -> None:
    for person in (admin, stranger):
        client = make_client(person.workspace, "Acme")
        make_budget(client, "1")
        make_time_log(person, client, on=date(2026, 6, 2))
    tasks.sweep_budgets()
    for person in (admin, stranger):
        assert told(person.workspace) == ["Acme: 100 % of the budget is used"]
        with tenant_scope(person.workspace_id):
            assert not MonthChange.objects.exists()
    tasks.sweep_budgets()
    assert len(told(admin.workspace)) == 1


def test_one_workspaces_failure_is_its_own_and_comes_again(
    admin: Membership, stranger: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (admin, stranger):
        client = make_client(person.workspace, "Acme")
        make_budget(client, "1")
        make_time_log(person, client, on=date(2026, 6, 2))

    def fail(workspace: Any, budgets: Any = None) -> int:
        if workspace == admin.workspace:
            raise RuntimeError("a worker that dies here")
        return tell_of_thresholds(workspace, budgets)

    with monkeypatch.context() as patch:
        patch.setattr(budgets, "tell_of_thresholds", fail)
        tasks.sweep_budgets()
    assert told(admin.workspace) == []
    assert len(told(stranger.workspace)) == 1
    with tenant_scope(admin.workspace_id):
        assert MonthChange.objects.exists()  # still marked
    tasks.sweep_budgets()
    assert len(told(admin.workspace)) == 1


def test_a_period_that_begins_with_time_logged_ahead(
    admin: Membership, clock: time_machine.Coordinates, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(admin.workspace, "Acme")
    make_budget(client, "1")
    make_time_log(admin, client, on=date(2026, 7, 1))
    tasks.sweep_budgets()
    assert told(admin.workspace) == []
    clock.move_to(datetime(2026, 7, 1, 4, 20, tzinfo=UTC))
    tasks.sweep_budgets()
    assert told(admin.workspace) == []  # nothing has changed
    sent: list[list[str]] = []
    monkeypatch.setattr(tasks.follow_time, "delay", sent.append)
    tasks.look_at_budgets()
    assert [str(admin.workspace_id)] in [[one] for ids in sent for one in ids]
    tasks.follow_time(sent[0])
    assert told(admin.workspace) == ["Acme: 100 % of the budget is used"]


def test_many_workers_that_come_upon_it_at_once_tell_once(
    transactional_db: None, mailoutbox: list[Any]
) -> None:
    admin = make_workspace()
    clients = [make_client(admin.workspace) for _ in range(5)]
    for client in clients:
        make_budget(client, "1")
        make_time_log(admin, client, on=date(2026, 6, 2))
    gate = threading.Barrier(6)
    found: list[int] = []

    def one() -> None:
        try:
            gate.wait()
            with tenant_scope(admin.workspace_id):
                found.append(tell_of_thresholds(admin.workspace))
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [0] * 5 + [5]
    assert len(mailoutbox) == 5


def test_looking_at_many_budgets_takes_the_queries_of_one(admin: Membership) -> None:
    counts = []
    for number in (1, 30):
        for _ in range(number):
            make_budget(make_client(admin.workspace))
        with tenant_scope(admin.workspace_id), CaptureQueriesContext(connection) as found:
            tell_of_thresholds(admin.workspace)
        counts.append(len(found))
    assert counts[0] == counts[1] <= 3
