"""Adjustments of settled time: what the sync notes, what people decide, and what is left to settle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.errors import Forbidden, ServiceError
from accounts.models import AuditEvent, Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from harvest.undo import undo_run
from inbound.adjustments import (
    accept_adjustment,
    adjustments_to_settle,
    dismiss_adjustment,
    note_difference,
    restore_adjustment,
    withdraw_difference,
)
from inbound.models import Adjustment, AdjustmentKind, AdjustmentStatus
from inbound.signals import adjustment_restoring
from integrations.models import Connection, RunEntry, RunKind, SyncLink, SyncRun
from tests.factories import (
    make_activity_type,
    make_client,
    make_key,
    make_project,
    make_time_log,
    make_workspace,
)
from tests.rest.client import Api
from timelogs.models import ActivityType, TimeLog

pytestmark = pytest.mark.django_db

PENDING, ACCEPTED = AdjustmentStatus.PENDING, AdjustmentStatus.ACCEPTED
DISMISSED, WITHDRAWN = AdjustmentStatus.DISMISSED, AdjustmentStatus.WITHDRAWN


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


@pytest.fixture
def design(admin: Membership) -> ActivityType:
    return make_activity_type(admin.workspace, "Design", rate="100.00")


@pytest.fixture
def scope(admin: Membership) -> Iterator[None]:
    with tenant_scope(admin.workspace_id):
        yield


def settle(log: TimeLog) -> TimeLog:
    """What issuing a statement does to a log."""
    with tenant_scope(log.workspace_id):
        log.settled_at = timezone.now()
        log.save(update_fields=["settled_at"])
    return log


def settled_log(admin: Membership, client: Client, **values: Any) -> TimeLog:
    return settle(make_time_log(admin, client, **values))


def note(log: TimeLog, **after: Any) -> Adjustment | None:
    with tenant_scope(log.workspace_id):
        return note_difference(
            workspace_id=log.workspace_id, time_log_id=log.id, external_id="4711", after=after
        )


def gone(log: TimeLog) -> Adjustment | None:
    with tenant_scope(log.workspace_id):
        return note_difference(
            workspace_id=log.workspace_id, time_log_id=log.id, external_id="4711", after=None
        )


def noted(log: TimeLog, **after: Any) -> Adjustment:
    found = note(log, **after)
    assert found is not None
    return found


def states(log: TimeLog) -> list[str]:
    return list(Adjustment.objects.filter(time_log=log).order_by("id").values_list("status", flat=True))


# --- Noting ----------------------------------------------------------------------------------------------------------
def test_longer_entry_waits_with_before_and_after(
    admin: Membership, acme: Client, design: ActivityType, scope: None
) -> None:
    site = make_project(acme, "Site")
    log = settled_log(admin, acme, project=site, activity_type=design, notes="Header")
    row = noted(log, seconds=5400, notes="Header and footer")
    assert (row.status, row.kind, row.seconds_delta) == (PENDING, AdjustmentKind.CHANGED, 1800)
    assert row.client == acme
    assert row.external_id == "4711"
    assert row.before == {
        "client": {"id": str(acme.id), "name": "Acme"},
        "project": {"id": str(site.id), "name": "Site"},
        "activity_type": {"id": str(design.id), "name": "Design"},
        "owner": {"id": str(admin.user_id), "name": "Ada Admin"},
        "spent_date": "2026-06-01",
        "seconds": 3600,
        "notes": "Header",
        "billable": True,
        "hourly_rate": "100.00",
    }
    assert row.after == {**row.before, "seconds": 5400, "notes": "Header and footer"}
    assert [(one.project_id, one.activity_type_id, one.hourly_rate, one.seconds) for one in row.lines] == [
        (site.id, design.id, Decimal("100.00"), 1800)
    ]
    assert (row.project, row.activity_type, row.hourly_rate, row.spent_date) == (
        site, design, Decimal("100.00"), date(2026, 6, 1),
    )  # fmt: skip
    log.refresh_from_db()
    assert (log.seconds, log.notes) == (3600, "Header")


def test_moved_time_is_taken_back_there_and_added_here(
    admin: Membership, acme: Client, design: ActivityType, scope: None
) -> None:
    talk = make_activity_type(admin.workspace, "Talk", rate="40.00")
    log = settled_log(admin, acme, activity_type=design)
    row = noted(log, activity_type=talk.id, seconds=1800)
    assert [(one.activity_type_id, one.hourly_rate, one.seconds) for one in row.lines] == [
        (design.id, Decimal("100.00"), -3600),
        (talk.id, Decimal("40.00"), 1800),
    ]
    assert row.seconds_delta == -1800
    said = Api(admin).get(f"inbound/adjustments/{row.id}/").json()
    assert (said["amount"], said["currency"]) == ("-80.00", "USD")  # 20.00 instead of 100.00


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        ({"billable": False}, [(True, -3600), (False, 3600)]),
        ({"billable": False, "seconds": 0}, [(True, -3600)]),
        ({"notes": "Other words"}, []),
        ({"spent_date": date(2026, 6, 2)}, []),
        ({"seconds": 0}, [(True, -3600)]),
    ],
)
def test_what_a_difference_comes_to(
    after: dict[str, Any], lines: list[tuple[bool, int]], admin: Membership, acme: Client, scope: None
) -> None:
    row = noted(settled_log(admin, acme), **after)
    assert [(one.billable, one.seconds) for one in row.lines] == lines
    assert row.seconds_delta == sum(seconds for _, seconds in lines)


def test_gone_entry_is_taken_back(admin: Membership, acme: Client, scope: None) -> None:
    row = gone(settled_log(admin, acme))
    assert row is not None
    assert (row.kind, row.after, row.seconds_delta) == (AdjustmentKind.GONE, None, -3600)


def test_entry_moved_to_another_client_is_gone_from_this_one(
    admin: Membership, acme: Client, scope: None
) -> None:
    other = make_client(admin.workspace, "Brook")
    row = noted(settled_log(admin, acme), client=other.id, seconds=7200)
    assert (row.kind, row.client, row.seconds_delta) == (AdjustmentKind.GONE, acme, -3600)
    assert row.after["client"]["name"] == "Brook"
    assert row.after["seconds"] == 7200


def test_no_difference_is_none(admin: Membership, acme: Client, scope: None) -> None:
    log = settled_log(admin, acme, notes="As it is")
    assert note(log) is None
    assert note(log, seconds=3600, notes="As it is", project=None, billable=True) is None
    assert states(log) == []


def test_log_that_is_not_settled_has_no_adjustment(admin: Membership, acme: Client, scope: None) -> None:
    log = make_time_log(admin, acme)
    assert note(log, seconds=60) is None
    assert states(log) == []


def test_same_difference_again_changes_nothing(admin: Membership, acme: Client, scope: None) -> None:
    log = settled_log(admin, acme)
    first = noted(log, seconds=7200)
    assert noted(log, seconds=7200) == first
    dismiss_adjustment(adjustment=first, by=admin)
    assert note(log, seconds=7200) is None
    assert states(log) == [DISMISSED]


def test_another_difference_takes_the_place_of_the_one_that_waits(
    admin: Membership, acme: Client, scope: None
) -> None:
    log = settled_log(admin, acme)
    first, second = noted(log, seconds=7200), noted(log, seconds=1800)
    assert second.seconds_delta == -1800
    assert states(log) == [WITHDRAWN, PENDING]
    with pytest.raises(ServiceError, match="Harvest has changed again"):
        accept_adjustment(adjustment=first, by=admin)


def test_back_to_as_settled_withdraws(admin: Membership, acme: Client, scope: None) -> None:
    log = settled_log(admin, acme)
    noted(log, seconds=7200)
    withdraw_difference(workspace_id=log.workspace_id, time_log_id=log.id)
    assert states(log) == [WITHDRAWN]
    withdraw_difference(workspace_id=log.workspace_id, time_log_id=log.id)
    assert states(log) == [WITHDRAWN]


def test_what_was_accepted_is_taken_off_the_next_difference(
    admin: Membership, acme: Client, scope: None
) -> None:
    log = settled_log(admin, acme)
    accept_adjustment(adjustment=noted(log, seconds=7200), by=admin)
    assert note(log, seconds=7200) is None
    row = noted(log, seconds=9000)
    assert row.seconds_delta == 1800
    assert row.before["seconds"] == 7200
    withdraw_difference(workspace_id=log.workspace_id, time_log_id=log.id)
    (back,) = Adjustment.objects.filter(time_log=log, status=PENDING)
    assert back.seconds_delta == -3600
    accept_adjustment(adjustment=back, by=admin)
    withdraw_difference(workspace_id=log.workspace_id, time_log_id=log.id)
    assert states(log) == [ACCEPTED, WITHDRAWN, ACCEPTED]


def test_gone_and_there_again(admin: Membership, acme: Client, scope: None) -> None:
    log = settled_log(admin, acme)
    row = gone(log)
    assert row is not None
    accept_adjustment(adjustment=row, by=admin)
    assert gone(log) is None
    assert noted(log, seconds=1800).seconds_delta == 1800


def test_voided_statement_ends_its_adjustments(admin: Membership, acme: Client, scope: None) -> None:
    """The log is free then: the sync changes it, so what was accepted must not come on top."""
    log = settled_log(admin, acme)
    accept_adjustment(adjustment=noted(log, seconds=7200), by=admin)
    waits = noted(log, seconds=9000)
    assert len(adjustments_to_settle(admin.workspace, [acme.id])) == 1
    TimeLog.objects.filter(id=log.id).update(settled_at=None)
    assert not adjustments_to_settle(admin.workspace, [acme.id])
    with pytest.raises(ServiceError, match="no issued statement any more"):
        accept_adjustment(adjustment=waits, by=admin)
    assert note(log, seconds=9000) is None
    assert states(log) == [ACCEPTED, WITHDRAWN]
    TimeLog.objects.filter(id=log.id).update(settled_at=timezone.now(), seconds=9000)
    assert not adjustments_to_settle(admin.workspace, [acme.id])
    assert noted(log, seconds=9360).seconds_delta == 360


def test_undo_of_a_run_keeps_time_that_was_adjusted(admin: Membership, acme: Client, scope: None) -> None:
    """Its statement is voided, so it is free; what was decided about it refers to it still."""
    logs = [make_time_log(admin, acme) for _ in range(2)]
    kept = Connection.objects.create(workspace=admin.workspace)
    run = SyncRun.objects.create(
        workspace=admin.workspace,
        connection=kept,
        kind=RunKind.IMPORT,
        state="succeeded",
        account_id="1",
        finished_at=timezone.now(),
    )
    for log in logs:
        entry = {"workspace": admin.workspace, "external_id": str(log.id)[-12:]}
        SyncLink.objects.create(**entry, account_id="1", time_log=log)
        RunEntry.objects.create(**entry, run=run, outcome="imported")
    accept_adjustment(adjustment=noted(settle(logs[0]), seconds=7200), by=admin)
    TimeLog.objects.update(settled_at=None, updated_at=F("created_at"))
    undone = undo_run(workspace=admin.workspace, by=admin.user, run=run)
    assert undone.undone == 1
    assert [(one.time_log, one.detail) for one in undone.kept] == [
        (logs[0].id, "It was on a statement, and Harvest has changed it since.")
    ]
    assert list(TimeLog.objects.values_list("id", flat=True)) == [logs[0].id]


CHANGES = st.one_of(
    st.sampled_from(["gone", "back", "accept", "dismiss", "restore"]),
    st.fixed_dictionaries(
        {},
        optional={
            "seconds": st.integers(0, 24 * 3600),
            "billable": st.booleans(),
            "hourly_rate": st.sampled_from([Decimal("0.00"), Decimal("80.00")]),
            "notes": st.sampled_from(["a", "b"]),
        },
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(CHANGES, max_size=8))
@example(changes=["gone", "dismiss", {}, "gone"])
@example(changes=["gone", "dismiss", "back", "restore"])
def test_log_with_adjustments_comes_to_what_harvest_holds(
    admin: Membership, acme: Client, changes: list[Any]
) -> None:
    """Whatever happens: settled + accepted + pending = Harvest, at each place and rate; unless it was dismissed."""
    log = settled_log(admin, acme)
    harvest: dict[str, Any] | None = {}
    dismissed = False
    with tenant_scope(admin.workspace_id):
        for change in changes:
            waits = Adjustment.objects.filter(time_log=log, status=PENDING).first()
            if change in ("accept", "dismiss"):
                if waits is not None:
                    dismissed = change == "dismiss"
                    (accept_adjustment if change == "accept" else dismiss_adjustment)(
                        adjustment=waits, by=admin
                    )
                continue
            if change == "restore":
                decided = Adjustment.objects.filter(time_log=log, status__in=[ACCEPTED, DISMISSED]).last()
                if decided is not None:
                    was = decided.status
                    try:
                        restore_adjustment(adjustment=decided, by=admin)
                    except ServiceError:
                        continue
                    dismissed = dismissed and was != DISMISSED
                continue
            after = {"gone": None, "back": {}}.get(change, change) if isinstance(change, str) else change
            dismissed = dismissed and after == harvest
            harvest = after
            if change == "back":  # as the sync says it
                withdraw_difference(workspace_id=log.workspace_id, time_log_id=log.id)
                continue
            note_difference(workspace_id=log.workspace_id, time_log_id=log.id, external_id="1", after=after)
        total = {(log.hourly_rate, log.billable): log.seconds}
        for row in Adjustment.objects.filter(time_log=log, status__in=[ACCEPTED, PENDING]):
            for line in row.lines:
                place = (line.hourly_rate, line.billable)
                total[place] = total.get(place, 0) + line.seconds
        held = {}
        if harvest is not None:
            place = (harvest.get("hourly_rate", log.hourly_rate), harvest.get("billable", log.billable))
            held[place] = harvest.get("seconds", log.seconds)
        if not dismissed:
            assert {place: seconds for place, seconds in total.items() if seconds} == {
                place: seconds for place, seconds in held.items() if seconds
            }
        assert Adjustment.objects.filter(time_log=log, status=PENDING).count() <= 1
        Adjustment.objects.all().delete()


# --- Deciding --------------------------------------------------------------------------------------------------------
def test_accept_dismiss_restore(admin: Membership, acme: Client) -> None:
    row = noted(settled_log(admin, acme), seconds=7200)
    api = Api(admin)
    path = f"inbound/adjustments/{row.id}/"
    assert api.get(path).json()["status"] == "pending"
    for deed, status in [
        ("dismiss", "dismissed"), ("dismiss", "dismissed"), ("restore", "pending"), ("accept", "accepted"),
        ("accept", "accepted"), ("restore", "pending"), ("restore", "pending"),
    ]:  # fmt: skip
        answer = api.post(f"{path}{deed}/")
        assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert (answer.json()["decided_at"] is None) == (status == "pending")
    with tenant_scope(admin.workspace_id):  # each deed is a line of the trail, and no other press is
        trail = AuditEvent.objects.filter(action__startswith="adjustment.").order_by("id")
        assert [(one.action, one.actor_id, one.target) for one in trail] == [
            (f"adjustment.{deed}", admin.user_id, "Acme, 2026-06-01, +1.00 h")
            for deed in ("dismissed", "restored", "accepted", "restored")
        ]
        assert trail[2].data == {
            "adjustment": str(row.id), "time_log": str(row.time_log_id),
            "before": {"status": "pending"}, "after": {"status": "accepted"},
        }  # fmt: skip


def test_dismissed_one_ends_when_harvest_is_as_settled_again(admin: Membership, acme: Client) -> None:
    """Restored and accepted then, it would bill what Harvest does not hold; and the same difference later is news."""
    log = settled_log(admin, acme)
    row = noted(log, seconds=7200)
    api = Api(admin)
    api.post(f"inbound/adjustments/{row.id}/dismiss/")
    assert note(log, seconds=7200) is None  # as long as it is the same it stays dismissed
    assert api.get(f"inbound/adjustments/{row.id}/").json()["status"] == "dismissed"
    assert note(log) is None
    assert api.get(f"inbound/adjustments/{row.id}/").json()["status"] == "withdrawn"
    answer = api.post(f"inbound/adjustments/{row.id}/restore/")
    assert answer.status_code == 409
    assert "no longer holds" in answer.json()["detail"]
    assert noted(log, seconds=7200).id != row.id
    with tenant_scope(admin.workspace_id):
        assert states(log) == ["withdrawn", "pending"]
        row.refresh_from_db()
    assert row.decided_by is None  # Harvest has, and no person


def test_decided_one_is_not_decided_otherwise(admin: Membership, acme: Client) -> None:
    row = noted(settled_log(admin, acme), seconds=7200)
    api = Api(admin)
    api.post(f"inbound/adjustments/{row.id}/accept/")
    answer = api.post(f"inbound/adjustments/{row.id}/dismiss/")
    assert (answer.status_code, answer.json()["detail"]) == (409, "This adjustment is accepted already.")
    api.post(f"inbound/adjustments/{row.id}/restore/")
    api.post(f"inbound/adjustments/{row.id}/dismiss/")
    assert api.post(f"inbound/adjustments/{row.id}/accept/").status_code == 409


def test_newer_difference_is_in_the_way_of_restoring(admin: Membership, acme: Client) -> None:
    log = settled_log(admin, acme)
    first = noted(log, seconds=7200)
    api = Api(admin)
    api.post(f"inbound/adjustments/{first.id}/accept/")
    noted(log, seconds=9000)
    answer = api.post(f"inbound/adjustments/{first.id}/restore/")
    assert (answer.status_code, answer.json()["detail"]) == (
        409, "Harvest has changed again since: decide on the newer adjustment.",
    )  # fmt: skip


def test_who_rests_on_an_accepted_one_may_keep_it(admin: Membership, acme: Client) -> None:
    row = noted(settled_log(admin, acme), seconds=7200)
    api = Api(admin)
    api.post(f"inbound/adjustments/{row.id}/accept/")

    def refuse(sender: Any, adjustment: Adjustment, **rest: Any) -> None:
        raise ServiceError(f"{adjustment.id} is on statement 7.")

    adjustment_restoring.connect(refuse)
    try:
        answer = api.post(f"inbound/adjustments/{row.id}/restore/")
    finally:
        adjustment_restoring.disconnect(refuse)
    assert (answer.status_code, answer.json()["detail"]) == (409, f"{row.id} is on statement 7.")
    assert api.get(f"inbound/adjustments/{row.id}/").json()["status"] == "accepted"


def test_members_read_and_decide_nothing(admin: Membership, member: Membership, acme: Client) -> None:
    row = noted(settled_log(admin, acme), seconds=7200)
    api = Api(member)
    assert api.get(f"inbound/adjustments/{row.id}/").status_code == 200
    for deed in ("accept", "dismiss", "restore"):
        assert api.post(f"inbound/adjustments/{row.id}/{deed}/").status_code == 403
    with tenant_scope(admin.workspace_id), pytest.raises(Forbidden):
        restore_adjustment(adjustment=row, by=member)


def test_stranger_finds_nothing(admin: Membership, stranger: Membership, acme: Client) -> None:
    row = noted(settled_log(admin, acme), seconds=7200)
    api = Api(stranger)
    assert api.get("inbound/adjustments/").json()["results"] == []
    assert api.get(f"inbound/adjustments/{row.id}/").status_code == 404
    for deed in ("accept", "dismiss", "restore"):
        assert api.post(f"inbound/adjustments/{row.id}/{deed}/").status_code == 404
    assert api.get("inbound/adjustments/", client=str(acme.id)).json()["results"] == []


def test_filters(admin: Membership, member: Membership, acme: Client) -> None:
    other = make_client(admin.workspace)
    rows = [
        noted(settled_log(owner, client, on=date(2026, 6, 1) + timedelta(days=days), notes=notes), seconds=60)
        for days, (owner, client, notes) in enumerate(
            [(admin, acme, ""), (admin, other, "Header"), (member, acme, "")]
        )
    ]
    api = Api(admin)
    api.post(f"inbound/adjustments/{rows[0].id}/dismiss/")

    def found(**query: Any) -> list[int]:
        answer = api.get("inbound/adjustments/", **query)
        assert answer.status_code == 200, answer.json()
        order = [str(row.id) for row in rows]
        return [order.index(one["id"]) for one in answer.json()["results"]]

    assert found() == [2, 1, 0]
    assert found(client=acme.id) == [2, 0]
    assert found(status="pending") == [2, 1]
    assert found(from_="2026-06-02") == [2, 1]
    assert found(to="2026-06-01") == [0]
    assert found(time_log=rows[1].time_log_id) == [1]
    assert found(owner=member.user_id) == [2]
    assert found(q="head") == [1]
    assert found(ordering="spent_date") == [0, 1, 2]
    for query, field in [
        ({"status": "open"}, "status"), ({"from_": "x"}, "from"), ({"client": "x"}, "client"), ({"no": "x"}, "no"),
    ]:  # fmt: skip
        answer = api.get("inbound/adjustments/", **query)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


@pytest.mark.django_db(transaction=True)
def test_two_people_deciding_at_once_and_a_sync_noting_meanwhile() -> None:
    """One decision stands, and never about what its person had not seen."""
    admin = make_workspace()
    acme = make_client(admin.workspace)
    key = make_key(admin)
    for _ in range(5):
        log = settled_log(admin, acme)
        row = noted(log, seconds=7200)
        start = threading.Barrier(3)
        answers: dict[str, Any] = {}

        def press(deed: str, id: str = str(row.id), to: Any = answers, start: Any = start) -> None:
            try:
                api = Api(admin, key=key)
                start.wait(10)
                to[deed] = api.post(f"inbound/adjustments/{id}/{deed}/")
            finally:
                connection.close()

        def sync(log: TimeLog = log, to: Any = answers, start: Any = start) -> None:
            try:
                start.wait(10)
                to["sync"] = note(log, seconds=9000)
            finally:
                connection.close()

        threads = [threading.Thread(target=press, args=[deed]) for deed in ("accept", "dismiss")]
        threads.append(threading.Thread(target=sync))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        codes = sorted(answers[deed].status_code for deed in ("accept", "dismiss"))
        assert codes in ([200, 409], [409, 409])
        assert answers["sync"] is not None
        with tenant_scope(admin.workspace_id):
            seconds = log.seconds + sum(
                one.seconds_delta
                for one in Adjustment.objects.filter(time_log=log, status__in=[ACCEPTED, PENDING])
            )
        assert seconds == 9000
