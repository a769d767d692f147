"""Budgets with a real worker: what beat sends finds what has changed, and the admin is told, once."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings

from settlement.tasks import follow_time, look_at_budgets, sweep_budgets
from tests.factories import make_client, make_workspace
from tests.rest.client import Api
from tests.worker import Worker, Workers

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


def test_time_that_is_logged_is_told_of_by_a_worker(workers: Workers, celery_worker_process: Worker) -> None:
    admin = make_workspace()
    client = make_client(admin.workspace, "Acme")
    api = Api(admin)
    api.post("budgets/", {"client": str(client.id), "unit": "hours", "amount": "1", "period": "monthly"})
    today = admin.workspace.today().isoformat()

    def log(seconds: int) -> None:
        api.post("time-logs/", {"client": str(client.id), "seconds": seconds, "spent_date": today})

    def told(count: int) -> list[Any]:
        titles = sorted(one["title"] for one in api.get("notices/").json()["results"])
        return titles if len(titles) >= count else []

    log(3000)
    workers.flush()  # a message that gets lost loses nothing
    for _ in range(3):
        sweep_budgets.delay()
    assert workers.wait_for(lambda: told(1)) == ["Acme: 80 % of the budget is used"]
    log(3600)
    look_at_budgets.delay()
    follow_time.delay([str(admin.workspace_id)])
    both = ["Acme: 100 % of the budget is used", "Acme: 80 % of the budget is used"]
    assert workers.wait_for(lambda: told(2)) == both


def test_beat_sends_what_there_is() -> None:
    sent = {one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {sweep_budgets.name, look_at_budgets.name} <= sent
