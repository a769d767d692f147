"""What is held, by REST: listed with its reason, retried, assigned in Harvest with one click."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from accounts.models import Plan, Role
from accounts.services import save_workspace
from harvest.sandbox import FaultKind
from tests.factories import make_member
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.outbound import Both, go_both_ways
from tests.rest.client import Api
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db

HELD = "integrations/harvest/held/"


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


def unassigned(both: Both, count: int = 1) -> list[TimeLog]:
    ids = both.studio.harvest
    both.account.remove("task_assignments", both.account.assign_task(ids["Website"], ids["Code"]))
    logs = [both.log(activity_type=both.studio.types["Code"], notes=f"Number {n}") for n in range(count)]
    both.drain()
    return logs


def rows(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(HELD).json()["results"]
    return found


def test_a_held_change_says_why_and_one_click_assigns(both: Both) -> None:
    logs = unassigned(both, 2)
    api = Api(both.studio.admin)
    second, first = rows(api)  # newest first
    assert (first["time_log"], second["time_log"]) == (str(logs[0].id), str(logs[1].id))
    assert (first["reason"], first["way"], first["can_assign"]) == ("not_assigned", "out", True)
    assert "The task is not assigned" in first["detail"]
    assert (first["client_name"], first["project_name"], first["hours"]) == ("Acme", "Website", "1.50")
    log = api.get(f"time-logs/{logs[0].id}/").json()
    assert (log["sync_state"], log["sync_detail"]) == ("held", first["detail"])

    answer = api.post(f"{HELD}{first['id']}/assign/")
    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    # Both waited for the same.
    both.drain()
    assert len(both.entries()) == 2
    assert rows(api) == []


def test_retrying(both: Both) -> None:
    log = both.log()
    both.drain()
    entry = both.entries()[0]["id"]
    both.account.approve(entry)
    both.edit(log, notes="Late")
    both.drain()
    api = Api(both.studio.admin)
    (held,) = rows(api)
    assert held["can_assign"] is False
    assert held["versions"] == [{"field": "notes", "timebridge": "Late", "harvest": "Sketches"}]
    assert api.post(f"{HELD}{held['id']}/assign/").status_code == 409
    both.account.unlock_entries(entry)
    assert api.post(f"{HELD}{held['id']}/retry/").json()["state"] == "pending"
    assert both.state(log) == ("pending", "")
    both.drain()
    assert both.state(log) == ("synced", "")
    # Pressed once too often, by somebody whose page is old.
    assert api.post(f"{HELD}{held['id']}/retry/").status_code == 404


def test_a_token_that_may_not_assign_says_so(both: Both) -> None:
    unassigned(both)
    both.studio.sandbox.fault(FaultKind.SERVER_ERROR, times=None, method="POST")
    api = Api(both.studio.admin)
    (held,) = rows(api)
    answer = api.post(f"{HELD}{held['id']}/assign/")
    assert (answer.status_code, answer.json()["type"]) == (503, "harvest-unavailable")
    both.studio.sandbox.clear_faults()
    with both.studio.sandbox.lock:
        user = both.account.tables["users"][both.studio.harvest["Ada"]]
        user["access_roles"] = ["member"]
    answer = api.post(f"{HELD}{held['id']}/assign/")
    assert answer.status_code == 403
    assert rows(api)[0]["state"] == "held"


def test_strangers_roles_plan_and_nonsense(both: Both) -> None:
    unassigned(both)
    admin = both.studio.admin
    (held,) = rows(Api(admin))
    stranger = Api(make_admin(name="Elsewhere"))
    assert rows(stranger) == []
    member = Api(make_member(admin.workspace, Role.MEMBER))
    assert len(rows(member)) == 1
    for deed in ("retry", "assign"):
        path = f"{HELD}{held['id']}/{deed}/"
        assert stranger.post(path).status_code == 404
        assert member.post(path).status_code == 403
        for wrong in (str(uuid4()), "x", "0"):
            assert Api(admin).post(f"{HELD}{wrong}/{deed}/").status_code == 404
    assert Api(admin).get(HELD, time_log="x").status_code == 400
    assert Api(admin).get(HELD, way="up").status_code == 400
    assert Api(admin).get(HELD, time_log=held["time_log"]).json()["results"] == [held]
    both.set(direction="import")
    assert Api(admin).post(f"{HELD}{held['id']}/retry/").status_code == 409
    with both.studio.scope():
        save_workspace(workspace=admin.workspace, actor=admin.user, plan=Plan.FREE)
    for deed in ("retry", "assign"):
        assert Api(admin).post(f"{HELD}{held['id']}/{deed}/").json()["type"] == "plan-required"
    assert len(rows(Api(admin))) == 1


def test_the_list_takes_as_many_queries_for_many(both: Both) -> None:
    api = Api(both.studio.admin)

    def queries() -> int:
        with CaptureQueriesContext(database) as caught:
            assert api.get(HELD, page_size=100).status_code == 200
        return len(caught)

    unassigned(both)
    queries()
    few = queries()
    for n in range(99):
        both.log(activity_type=both.studio.types["Code"], notes=f"More {n}")
    with both.studio.scope():
        from integrations.models import OutboundChange

        OutboundChange.objects.update(state="held", reason="not_assigned", detail="Held.")
    assert len(rows(api)) > 1
    assert queries() == few


def test_all_are_tried_again_at_once(both: Both) -> None:
    unassigned(both)
    admin = both.studio.admin
    (held,) = rows(Api(admin))
    path = f"{HELD}retry/"
    assert Api(make_admin(name="Elsewhere")).post(path).status_code in (403, 409), (
        "nothing of its own to retry"
    )
    assert Api(make_member(admin.workspace, Role.MEMBER)).post(path).status_code == 403
    assert Api(admin).post(f"{path}?way=up").status_code == 400
    assert Api(admin).post(f"{path}?way=in").json() == {"retried": 0}
    assert rows(Api(admin)) == [held]
    assert Api(admin).post(path).json() == {"retried": 1}
    assert rows(Api(admin)) == []
