"""Saved here, seen in Harvest: with real workers, several of them, killed ones, and the shared limit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harvest.sandbox import FaultKind, Sandbox
from harvest.tasks import push_changes
from tests.harvest.conftest import build_studio
from tests.harvest.outbound import Both, go_both_ways
from tests.rest.client import Api
from tests.worker import Workers
from timelogs.models import TimeLog

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def both(sandbox: Sandbox) -> Both:
    return go_both_ways(build_studio(sandbox))


def body(both: Both, **more: Any) -> dict[str, Any]:
    return {
        "project": str(both.studio.projects["Website"].id),
        "activity_type": str(both.studio.types["Design"].id),
        "spent_date": "2026-06-01",
        "seconds": 5400,
        "notes": "Sketches",
        **more,
    }


def settled(both: Both) -> bool:
    with both.studio.scope():
        return not TimeLog.objects.filter(sync_state="pending").exists()


def test_saved_by_rest_it_is_in_harvest_within_seconds(both: Both, workers: Workers) -> None:
    workers.start()
    api = Api(both.studio.admin)
    saved = api.post("time-logs/", body(both)).json()
    assert saved["sync_state"] == "pending"
    began = time.monotonic()
    workers.wait_for(both.entries, every=0.02)
    assert time.monotonic() - began < 5
    shown = workers.wait_for(
        lambda: (one := api.get(f"time-logs/{saved['id']}/").json())["sync_state"] == "synced" and one
    )
    assert shown["external_id"] == str(both.entries()[0]["id"])
    api.patch(f"time-logs/{saved['id']}/", {"hours": "2.00"})
    workers.wait_for(lambda: both.entries()[0]["hours"] == 2.0)
    api.delete(f"time-logs/{saved['id']}/")
    workers.wait_for(lambda: both.entries() == [])


@pytest.mark.parametrize("count", [2, 3])
def test_workers_and_a_task_delivered_again_and_again_have_one_effect(
    both: Both, workers: Workers, count: int
) -> None:
    logs = [both.log(notes=f"Number {n}") for n in range(25)]
    general = [
        both.log(project=None, client=both.studio.clients["Acme"], notes=f"Loose {n}") for n in range(5)
    ]
    for _ in range(count):
        workers.start()
    for _ in range(20):
        push_changes.delay(str(both.studio.workspace_id))
    workers.wait_for(lambda: settled(both), sweeping=True)
    entries = both.entries()
    assert len(entries) == 30
    assert len({one["external_reference"]["id"] for one in entries}) == 30
    assert {both.state(log)[0] for log in (*logs, *general)} == {"synced"}
    projects = both.account.tables["projects"].values()
    assert [row["name"] for row in projects].count("General") == 1
    assert both.seen("POST", "/v2/time_entries") == 30


def test_killed_workers_leave_one_effect(both: Both, workers: Workers) -> None:
    """Each answer takes long, so that a kill meets a push half-way: what was sent is not sent again."""
    from django.utils import timezone

    from integrations.models import OutboundChange

    log = both.log()
    fault = both.studio.sandbox.fault(FaultKind.SLOW, times=None, method="POST", seconds=1.5)
    workers.flush()
    push_changes.delay(str(both.studio.workspace_id))
    for _ in range(2):
        worker = workers.start()
        workers.wait_for(lambda: both.changes(log)[0].begun is not None, every=0.01, sweeping=True)
        time.sleep(0.3)
        worker.kill()
        with both.studio.scope():
            OutboundChange.objects.filter(state="sending").update(lease_until=timezone.now())
    both.studio.sandbox.faults.remove(fault)
    workers.start()
    workers.wait_for(lambda: settled(both), sweeping=True)
    assert len(both.entries()) == 1
    assert both.state(log) == ("synced", "")


def test_what_was_saved_while_harvest_was_away_goes_out_when_it_is_back(both: Both, workers: Workers) -> None:
    both.studio.sandbox.fault(FaultKind.UNAVAILABLE, times=None)
    logs = [both.log(notes=str(n)) for n in range(3)]
    workers.start()
    push_changes.delay(str(both.studio.workspace_id))
    workers.wait_for(lambda: any("503" in both.state(log)[1] for log in logs))
    workers.flush()  # and every message lost
    both.studio.sandbox.clear_faults()
    workers.wait_for(lambda: settled(both), sweeping=True)
    assert len(both.entries()) == 3


def test_many_at_once_keep_to_the_limit(both: Both, workers: Workers, settings: Any) -> None:
    """More than one window's worth: all arrive, in order of the limit, with not one 429."""
    settings.HARVEST_RATE_LIMIT = True
    rate = both.studio.sandbox.rate_limit
    rate.enabled = True
    rate.reset()
    both.studio.sandbox.forget_requests()
    with both.studio.scope():
        for n in range(120):
            both.log(notes=f"Number {n}")
    workers.start()
    workers.start()
    push_changes.delay(str(both.studio.workspace_id))
    began = time.monotonic()
    workers.wait_for(lambda: len(both.entries()) == 120, sweeping=True)
    assert time.monotonic() - began < 40
    assert rate.refused == 0
    workers.wait_for(lambda: settled(both), sweeping=True)
