"""Conflicts by REST: both versions side by side, and one click that settles each."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from accounts.models import Role
from tests.factories import make_member
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.outbound import Both, go_both_ways
from tests.rest.client import Api
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db

CONFLICTS = "integrations/harvest/conflicts/"


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


def contested(both: Both, count: int = 1) -> list[TimeLog]:
    both.set(conflict_policy="ask")
    logs = [both.log(notes="Agreed") for _ in range(count)]
    both.send_all()
    for entry in both.entries():
        both.account.edit_entry(entry["id"], notes="Theirs", hours="2.00")
    for log in logs:
        both.edit(log, notes="Ours", seconds=3600)
    both.send_all()
    return logs


def rows(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(CONFLICTS).json()["results"]
    return found


@pytest.mark.parametrize(
    ("keep", "notes", "hours"), [("timebridge", "Ours", 1.0), ("harvest", "Theirs", 2.0)]
)
def test_both_versions_stand_side_by_side_until_one_is_kept(
    both: Both, keep: str, notes: str, hours: float
) -> None:
    (log,) = contested(both)
    api = Api(both.studio.admin)
    (row,) = rows(api)
    assert (row["time_log"], row["state"], row["keep"]) == (str(log.id), "conflict", None)
    assert {one["field"]: (one["timebridge"], one["harvest"]) for one in row["versions"]} == {
        "notes": ("Ours", "Theirs"),
        "duration": ("1.00 h", "2.00 h"),
    }
    assert api.get(f"time-logs/{log.id}/").json()["sync_state"] == "conflict"
    answer = api.post(f"{CONFLICTS}{row['id']}/resolve/", {"keep": keep})
    assert (answer.status_code, answer.json()["state"], answer.json()["keep"]) == (200, "pending", keep)
    both.drain()
    (entry,) = both.entries()
    after = both.reload(log)
    assert (entry["notes"], entry["hours"]) == (after.notes, after.seconds / 3600) == (notes, hours)
    assert rows(api) == []
    assert both.state(log) == ("synced", "")
    assert api.post(f"{CONFLICTS}{row['id']}/resolve/", {"keep": keep}).status_code == 404


def test_strangers_roles_and_nonsense(both: Both) -> None:
    contested(both)
    admin = Api(both.studio.admin)
    (row,) = rows(admin)
    stranger = Api(make_admin(name="Elsewhere"))
    member = Api(make_member(both.studio.admin.workspace, Role.MEMBER))
    path = f"{CONFLICTS}{row['id']}/resolve/"
    assert rows(stranger) == []
    assert stranger.post(path, {"keep": "harvest"}).status_code == 404
    assert member.post(path, {"keep": "harvest"}).status_code == 403
    assert len(rows(member)) == 1
    for body in ({}, {"keep": "both"}, {"keep": None}, {"keep": "harvest", "other": 1}):
        answer = admin.post(path, body)
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) <= {"keep", "other"}
    for wrong in (str(uuid4()), "x"):
        assert admin.post(f"{CONFLICTS}{wrong}/resolve/", {"keep": "harvest"}).status_code == 404
    assert rows(admin) == [row]
    both.set(direction="import")
    assert admin.post(path, {"keep": "harvest"}).status_code == 409


def test_the_list_takes_as_many_queries_for_many(both: Both) -> None:
    api = Api(both.studio.admin)

    def queries() -> int:
        with CaptureQueriesContext(database) as caught:
            assert api.get(CONFLICTS, page_size=100).status_code == 200
        return len(caught)

    contested(both)
    queries()
    few = queries()
    for _ in range(99):
        both.log()
    with both.studio.scope():
        from integrations.models import OutboundChange

        OutboundChange.objects.exclude(state__in=("conflict", "done")).update(
            state="conflict", fields={"notes": {"timebridge": "a", "harvest": "b"}}
        )
    assert len(rows(api)) > 1
    assert queries() == few
