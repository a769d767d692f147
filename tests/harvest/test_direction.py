"""Switching direction, disconnecting, and older time."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from accounts.models import Membership, Plan, Role
from accounts.services import save_workspace
from harvest.credentials import disconnect
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, FaultKind
from integrations import outgoing
from integrations.models import AuthKind, Connection, OutboundChange
from tests.factories import make_member
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.outbound import Both, go_both_ways
from tests.harvest.test_renewal import connect_by_oauth
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

CONNECTION = "integrations/harvest/connection/"
PUSH_OLDER = CONNECTION + "push-older/"


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


def test_switching_on_sends_what_is_saved_from_then_on_and_counts_the_rest(both: Both) -> None:
    both.set(direction="import")
    api = Api(both.studio.admin)
    assert api.get(CONNECTION).json()["older"] is None
    older = [both.log(seconds=1800), both.log(seconds=3600)]
    both.log(project=None, client=both.studio.clients["Birch"])  # not mapped
    deleted = both.log()
    both.delete(deleted)
    shown = api.patch(CONNECTION, {"direction": "two_way"}).json()
    assert (shown["direction"], shown["older"]) == ("two_way", {"count": 2, "hours": "1.50"})
    newer = both.log()
    both.drain()
    assert both.state(newer) == ("synced", "")
    assert [both.state(log)[0] for log in older] == ["none", "none"]

    answer = api.post(PUSH_OLDER)
    assert (answer.status_code, answer.json()) == (202, {"count": 2})
    assert api.get(CONNECTION).json()["older"] == {"count": 0, "hours": "0.00"}
    assert api.get(CONNECTION).json()["waiting"] == {"pending": 2, "held": 0, "conflicts": 0}
    assert api.post(PUSH_OLDER).json() == {"count": 0}
    both.drain()
    assert [both.state(log)[0] for log in older] == ["synced", "synced"]
    assert len(both.entries()) == 3
    assert api.get(CONNECTION).json()["waiting"] == {"pending": 0, "held": 0, "conflicts": 0}


def test_switching_back_cancels_and_says_so(both: Both) -> None:
    api = Api(both.studio.admin)
    sent = both.log()
    both.drain()
    both.edit(sent, notes="Not any more")
    waiting = both.log()
    assert api.patch(CONNECTION, {"direction": "import"}).status_code == 200
    assert both.state(waiting) == ("none", outgoing.NOT_SENT)
    assert both.state(sent) == ("none", outgoing.NOT_SENT)
    assert both.drain() is None
    assert len(both.entries()) == 1
    both.edit(waiting, notes="Edited since")
    assert {one.state for one in both.changes()} <= {"done", "cancelled"}

    # On again: what is linked and differs goes out; the rest is older time.
    shown = api.patch(CONNECTION, {"direction": "two_way"}).json()
    assert shown["older"]["count"] == 1
    both.drain()
    assert [one["notes"] for one in both.entries()] == ["Not any more"]
    assert both.state(sent) == ("synced", "")


@pytest.mark.parametrize(
    "edit",
    [
        {"notes": "Other"},
        {"seconds": 60},
        {"spent_date": date(2026, 6, 9)},
        {"activity_type": "Code"},
        {"project": None},
        {},
    ],
)
def test_switching_on_again_sends_exactly_what_differs(both: Both, edit: dict[str, object]) -> None:
    logs = [both.log(), both.log()]
    both.drain()
    both.set(direction="import")
    if edit:
        given = dict(edit)
        if "activity_type" in given:
            given["activity_type"] = both.studio.types["Code"]
        both.edit(logs[0], **given)
    else:
        both.delete(logs[0])
    Api(both.studio.admin).patch(CONNECTION, {"direction": "two_way"})
    with both.studio.scope():
        pending = list(OutboundChange.objects.filter(state="pending").values_list("time_log_id", "backlog"))
    assert pending == [(logs[0].id, True)]


def test_what_was_begun_is_looked_for_when_it_goes_out_again(both: Both) -> None:
    """The POST was done, its answer lost, and the direction switched back and on again: still one entry."""
    log = both.log()
    both.studio.sandbox.fault(FaultKind.LOST, method="POST")
    both.drain()
    assert len(both.entries()) == 1
    api = Api(both.studio.admin)
    api.patch(CONNECTION, {"direction": "import"})
    api.patch(CONNECTION, {"direction": "two_way"})
    both.edit(log, notes="Once more")
    both.send_all()
    (entry,) = both.entries()
    assert entry["notes"] == "Once more"
    assert both.state(log) == ("synced", "")


def test_disconnecting_cancels_and_comes_back_importing(both: Both) -> None:
    log = both.log()
    with both.studio.scope():
        disconnect(workspace=both.studio.admin.workspace, by=both.studio.admin.user)
        assert Connection.objects.get().direction == "import"
    assert both.state(log) == ("none", outgoing.NOT_SENT)
    assert {one.state for one in both.changes()} == {"cancelled"}
    assert both.entries() == []


def test_another_account_forgets_what_was_begun(both: Both) -> None:
    from harvest.credentials import check_token, save_connection
    from harvest.sandbox.state import ADMIN_TOKEN

    both.log()
    with both.studio.scope():
        OutboundChange.objects.update(begun={"attempted": {}})
        Connection.objects.update(account_id="5")
    credentials = check_token(account_id="880123", access_token=ADMIN_TOKEN)
    with both.studio.scope():
        save_connection(
            workspace=both.studio.admin.workspace,
            by=both.studio.admin.user,
            credentials=credentials,
            replace=True,
        )
    (change,) = both.changes()
    assert (change.state, change.begun) == ("cancelled", None)


def test_mappings_lift_what_they_may(both: Both) -> None:
    log = both.log()
    both.drain()
    both.edit(log, project=both.studio.projects["App"])
    both.drain()
    assert both.state(log)[0] == "held"
    both.studio.map("projects", {"App": both.studio.projects["App"]})
    assert both.state(log) == ("pending", "")
    both.drain()
    assert both.entries()[0]["project"]["name"] == "App"


def test_the_limits_use_is_shown(both: Both, settings: object) -> None:
    assert Api(both.studio.admin).get(CONNECTION).json()["limit"] is None
    settings.HARVEST_RATE_LIMIT = True  # type: ignore[attr-defined]
    limit = Api(both.studio.admin).get(CONNECTION).json()["limit"]
    assert (limit["limit"], limit["period_seconds"]) == (100, 15)
    assert 0 <= limit["used"] <= 100


def test_an_oauth_token_is_renewed_once_for_a_push(both: Both, settings: Any) -> None:
    """A token that Harvest refuses although it looked good: renewed once, and every change goes out once."""
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    before = connect_by_oauth(both.studio).access_token
    logs = [both.log(), both.log()]
    sandbox = both.studio.sandbox
    del sandbox.identity.tokens[before]  # its grant lives on
    sandbox.forget_requests()
    both.drain()
    assert [both.state(log) for log in logs] == [("synced", "")] * 2
    assert len(both.entries()) == 2
    assert len(sandbox.seen("POST", "/oauth2/token")) == 1
    with both.studio.scope():
        row = Connection.objects.get()
    assert (row.auth, row.access_token != before, row.renewing_until) == (AuthKind.OAUTH, True, None)


def test_pushing_older_time_needs_both_ways_the_plan_and_the_role(both: Both) -> None:
    admin = both.studio.admin
    for role, status in ((Role.MEMBER, 403), (Role.DESIGNER, 202)):
        assert Api(make_member(admin.workspace, role)).post(PUSH_OLDER).status_code == status
    both.set(direction="import")
    assert Api(admin).post(PUSH_OLDER).status_code == 409
    stranger: Membership = make_admin(name="Elsewhere")
    assert Api(stranger).post(PUSH_OLDER).json()["type"] == "not-connected"
    with both.studio.scope():
        save_workspace(workspace=admin.workspace, actor=admin.user, plan=Plan.FREE)
    assert Api(admin).post(PUSH_OLDER).json()["type"] == "plan-required"
    assert Api(admin).patch(CONNECTION, {"direction": "two_way"}).json()["type"] == "plan-required"
