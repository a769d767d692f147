"""Lists of time: what a row says, what words find."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from rest_framework.utils.encoders import JSONEncoder

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from tests.factories import make_activity_type, make_client, make_project, make_time_log, make_work_item
from tests.rest.client import Api
from timelogs.api import TimeLogSerializer
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db


def test_row_of_a_list_is_what_the_serializer_makes(admin: Membership) -> None:
    client = make_client(admin.workspace)
    project = make_project(client)
    full = make_time_log(
        admin,
        client,
        seconds=4001,
        project=project,
        work_item=make_work_item(client, project=project),
        activity_type=make_activity_type(admin.workspace, rate="99.50"),
        notes=" ☃\n\u2028 notes ",
    )
    full.external_id, full.sync_state, full.sync_detail = "123", "held", "Locked in Harvest."
    full.settled_at = datetime(2026, 6, 2, tzinfo=UTC)
    full.created_at = datetime(2026, 6, 1, 23, 30, 0, 120, tzinfo=timezone(timedelta(hours=2)))
    bare = make_time_log(admin, client, seconds=0, billable=False)
    bare.updated_at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    with tenant_scope(admin.workspace_id):
        for log in (full, bare):
            log.save()
    rows = Api(admin).get("time-logs/").json()["results"]
    assert len(rows) == 2
    for row in rows:
        single = Api(admin).get(f"time-logs/{row['id']}/").json()
        assert list(row.items()) == list(single.items())
    assert {row["owner_email"] for row in rows} == {admin.user.email}
    assert Decimal(rows[0]["hours"]) + Decimal(rows[1]["hours"]) == Decimal("1.11")


def test_list_writes_hours_and_texts_as_the_serializer(admin: Membership) -> None:
    """Every half of a hundredth, and every character that JSON escapes or that some readers stumble on."""
    client = make_client(admin.workspace)
    awkward = "".join(
        map(chr, [*range(1, 0x30), *range(0x5B, 0x60), 0x7F, 0x85, 0x2028, 0x2029, 0xFEFF, 0x1F600])
    )
    for seconds in (0, 1, 17, 18, 19, 53, 54, 55, 3599, 3618, 86_382, 86_400):
        make_time_log(admin, client, seconds=seconds, notes=f"</script>{awkward}{seconds}")
    rows = Api(admin).get("time-logs/").json()["results"]
    with tenant_scope(admin.workspace_id):
        logs = TimeLog.objects.select_related("owner").order_by("-spent_date", "-id")
        assert rows == json.loads(json.dumps(TimeLogSerializer(logs, many=True).data, cls=JSONEncoder))
    assert {row["hours"] for row in rows} >= {"0.00", "0.01", "0.02", "1.01", "24.00"}


def test_summary_is_of_whole_numbers_and_decimal_strings(admin: Membership) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    nothing = '{"count":0,"seconds":0,"hours":"0.00","billable_seconds":0,"amount":"0.00","currency":"USD"}'
    assert api.get("time-logs/summary/").content.decode() == nothing
    # Two thirds of a cent each, rounded once: two cents. Rounded one by one they would be three.
    for seconds, rate, billable in (
        (12, "2.00", True),
        (12, "2.00", True),
        (12, "2.00", True),
        (36, "9.00", False),
    ):
        kind = make_activity_type(admin.workspace, rate=rate)
        make_time_log(admin, client, seconds=seconds, activity_type=kind, billable=billable)
    some = '{"count":4,"seconds":72,"hours":"0.02","billable_seconds":36,"amount":"0.02","currency":"USD"}'
    assert api.get("time-logs/summary/").content.decode() == some


@pytest.mark.parametrize(
    ("q", "notes"),
    [
        ("HALV-12", "Fixed halv-12: rosters"),
        ("halv-1", "HALV-12"),
        ("example.com", "see https://www.example.com/a/b?c=d"),
        ("12.5", "v 12.5 of it"),
        ("a/b", "www.example.com/a/b"),
        ("café ÅNG", "Ångström's CAFÉ"),
        ("東", "東京タワー"),
        ("under_sc", "an under_score"),
        ("roster night", "night shift rosters"),
        ("-", "anything"),
        ("don't", "Don't"),
    ],
)
def test_words_find(admin: Membership, q: str, notes: str) -> None:
    log = make_time_log(admin, make_client(admin.workspace), notes=notes)
    assert [row["id"] for row in Api(admin).get("time-logs/", q=q).json()["results"]] == [str(log.id)]
    assert Api(admin).get("time-logs/summary/", q=q).json()["count"] == 1


@pytest.mark.parametrize(
    ("q", "notes"),
    [
        ("oster", "rosters"),
        ("roster walrus", "rosters"),
        ("rosters", "roster"),
        ("halv-13", "HALV-12"),
        ("r.ster", "roster"),
        ("x%", "roster"),
        ("roster", ""),
    ],
)
def test_words_do_not_find(admin: Membership, q: str, notes: str) -> None:
    make_time_log(admin, make_client(admin.workspace), notes=notes)
    assert Api(admin).get("time-logs/", q=q).json()["results"] == []
