"""inbound/proposals/: reading, accepting, dismissing, restoring, many at once; and what higher floors make of it."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import AuditEvent, Membership
from accounts.tenancy import tenant_scope
from clients.models import Client
from inbound.adjustments import note_difference
from inbound.models import ProposalStatus, TimeProposal
from inbound.services import proposals_changed, proposals_returned, proposals_withdrawn
from inbound.signals import proposal_accepted
from integrations.models import Connection, OutboundChange, SyncEvent, SyncLink
from tests.factories import (
    make_activity_type,
    make_client,
    make_key,
    make_project,
    make_proposal,
    make_work_item,
    make_workspace,
)
from tests.rest.client import Api
from timelogs.models import TimeLog, WorkItem
from timelogs.signals import time_log_changed

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


def found(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [one["id"] for one in response.json()["results"]]


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 400, response.json()
    messages: dict[str, list[str]] = response.json()["errors"]
    return messages


def logs(person: Membership) -> list[TimeLog]:
    with tenant_scope(person.workspace_id):
        return list(TimeLog.objects.select_related("owner"))


def test_proposal_shows_its_entry_and_suggests_work_items(
    admin: Membership, member: Membership, acme: Client
) -> None:
    named, alike = make_work_item(acme, "Invoices"), make_work_item(acme, "Header redesign")
    make_work_item(make_client(admin.workspace), "Header redesign")
    kind = make_activity_type(admin.workspace)
    proposal = make_proposal(
        member,
        acme,
        f"header redesign\nfor {named.key.lower()}",
        seconds=7596,
        activity_type=kind,
        external_id="636709355",
    )
    assert Api(member).get(f"inbound/proposals/{proposal.id}/").json() == {
        "id": str(proposal.id),
        "client": str(acme.id),
        "spent_date": "2026-06-01",
        "seconds": 7596,
        "hours": "2.11",
        "notes": f"header redesign\nfor {named.key.lower()}",
        "billable": True,
        "owner": str(member.user_id),
        "owner_email": "mel@northlight.test",
        "activity_type": str(kind.id),
        "external_id": "636709355",
        "status": "pending",
        "suggestions": [
            {"work_item": str(named.id), "key": named.key, "title": "Invoices", "score": 1.0, "why": "key"},
            {
                "work_item": str(alike.id),
                "key": alike.key,
                "title": "Header redesign",
                "score": 0.95,
                "why": "title",
            },
        ],
        "time_log": None,
        "created_at": proposal.created_at.isoformat().replace("+00:00", "Z"),
    }


def test_list_filters(admin: Membership, member: Membership, acme: Client) -> None:
    first = make_proposal(admin, acme, "Header fix", on=date(2026, 6, 1))
    second = make_proposal(
        member, make_client(admin.workspace), on=date(2026, 6, 2), status=ProposalStatus.DISMISSED
    )
    api = Api(member)
    for query, expected in [
        ({}, [second, first]),
        ({"client": acme.id}, [first]),
        ({"status": "pending"}, [first]),
        ({"status": "dismissed"}, [second]),
        ({"owner": member.user_id}, [second]),
        ({"q": "fi head"}, [first]),
        ({"from": "2026-06-02"}, [second]),
        ({"to": "2026-06-01"}, [first]),
        ({"ordering": "spent_date"}, [first, second]),
    ]:
        assert found(api.get("inbound/proposals/", **query)) == [str(one.id) for one in expected], query


def test_accepted_on_a_work_item_it_is_a_time_log(
    admin: Membership, member: Membership, acme: Client
) -> None:
    project = make_project(acme)
    item = make_work_item(acme, project=project)
    kind = make_activity_type(admin.workspace, rate="95.00")
    proposal = make_proposal(
        member, acme, "Sketches", seconds=5400, activity_type=kind, billable=False, external_id="99"
    )
    api = Api(admin)
    accepted = api.post(f"inbound/proposals/{proposal.id}/accept/", {"work_item": str(item.id)})
    assert accepted.status_code == 200
    assert (accepted.json()["status"], accepted.json()["suggestions"]) == ("accepted", [])
    log = api.get(f"time-logs/{accepted.json()['time_log']}/").json()
    assert log == {
        "id": log["id"],
        "client": str(acme.id),
        "project": str(project.id),
        "work_item": str(item.id),
        "activity_type": str(kind.id),
        "owner": str(member.user_id),
        "owner_email": "mel@northlight.test",
        "spent_date": "2026-06-01",
        "seconds": 5400,
        "hours": "1.50",
        "notes": "Sketches",
        "billable": False,
        "hourly_rate": "95.00",
        "source": "harvest",
        "external_id": "99",
        "sync_state": "synced",
        "sync_detail": "",
        "settled": False,
        "created_at": log["created_at"],
        "updated_at": log["updated_at"],
    }


def test_accepted_on_a_project_with_an_activity_type(admin: Membership, acme: Client) -> None:
    project, kind = make_project(acme), make_activity_type(admin.workspace, rate="80.00")
    proposal = make_proposal(admin, acme)
    api = Api(admin)
    path = f"inbound/proposals/{proposal.id}/accept/"
    assert list(errors(api.post(path, {"project": str(project.id)}))) == ["activity_type"]
    accepted = api.post(path, {"project": str(project.id), "activity_type": str(kind.id)}).json()
    (log,) = logs(admin)
    assert accepted["time_log"] == str(log.id)
    assert (log.project_id, log.work_item_id, log.activity_type_id) == (project.id, None, kind.id)
    assert str(log.hourly_rate) == "80.00"


def test_proposal_without_notes_takes_those_of_its_work_item(admin: Membership, acme: Client) -> None:
    item = make_work_item(acme, "Home page")
    Api(admin).post(f"inbound/proposals/{make_proposal(admin, acme).id}/accept/", {"work_item": str(item.id)})
    assert [log.notes for log in logs(admin)] == ["Home page"]


def test_target_must_be_one_of_the_proposals_client(
    admin: Membership, stranger: Membership, acme: Client
) -> None:
    other = make_client(admin.workspace)
    theirs = make_client(stranger.workspace)
    kind = str(make_activity_type(admin.workspace).id)
    api = Api(admin)
    path = f"inbound/proposals/{make_proposal(admin, acme).id}/accept/"
    assert set(errors(api.post(path, {}))) == {"work_item", "project"}
    assert set(errors(api.post(path, {"activity_type": kind}))) == {"work_item", "project"}
    assert list(errors(api.post(path, {"work_item": str(make_work_item(other).id)}))) == ["work_item"]
    assert list(errors(api.post(path, {"project": str(make_project(other).id), "activity_type": kind}))) == [
        "project"
    ]
    nothing = {"work_item": ["There is nothing with this id."]}
    assert errors(api.post(path, {"work_item": str(make_work_item(theirs).id)})) == nothing
    assert errors(api.post(path, {"work_item": "nonsense"})) == nothing
    assert logs(admin) == []


def test_deciding_twice_is_deciding_once(admin: Membership, acme: Client) -> None:
    item, other = make_work_item(acme), make_work_item(acme)
    path = f"inbound/proposals/{make_proposal(admin, acme).id}/"
    api = Api(admin)
    dismissed = api.post(f"{path}dismiss/").json()
    assert dismissed["status"] == "dismissed"
    assert api.post(f"{path}dismiss/").json() == dismissed
    refused = api.post(f"{path}accept/", {"work_item": str(item.id)})
    assert (refused.status_code, refused.json()["type"]) == (409, "conflict")
    restored = api.post(f"{path}restore/").json()
    assert restored["status"] == "pending"
    assert api.post(f"{path}restore/").json() == restored
    accepted = api.post(f"{path}accept/", {"work_item": str(item.id)}).json()
    assert api.post(f"{path}accept/", {"work_item": str(other.id)}).json() == accepted
    for step in ("dismiss", "restore"):
        assert api.post(f"{path}{step}/").status_code == 409
    (log,) = logs(admin)
    assert log.work_item_id == item.id


def test_withdrawn_proposal_is_not_decided(admin: Membership, acme: Client) -> None:
    path = f"inbound/proposals/{make_proposal(admin, acme, status=ProposalStatus.WITHDRAWN).id}/"
    item = make_work_item(acme)
    api = Api(admin)
    for step, body in (("accept", {"work_item": str(item.id)}), ("dismiss", None), ("restore", None)):
        refused = api.post(f"{path}{step}/", body)
        assert refused.status_code == 409
        assert "withdrawn" in refused.json()["detail"]


def test_decision_says_who_and_when(admin: Membership, designer: Membership, acme: Client) -> None:
    proposal, item = make_proposal(admin, acme, external_id="99"), make_work_item(acme)
    path = f"inbound/proposals/{proposal.id}/"

    def decided() -> tuple[Any, bool]:
        with tenant_scope(admin.workspace_id):
            row = TimeProposal.objects.get(pk=proposal.pk)
        return row.decided_by_id, row.decided_at is not None

    Api(designer).post(f"{path}dismiss/")
    assert decided() == (designer.user_id, True)
    Api(designer).post(f"{path}dismiss/")  # again: no deed
    Api(admin).post(f"{path}restore/")
    assert decided() == (None, False)
    bulk = {"ids": [str(proposal.id)], "action": "accept", "work_item": str(item.id)}
    Api(designer).post("inbound/proposals/bulk/", bulk)
    (log,) = logs(admin)
    Api(admin).post(f"{path}undo/")
    with tenant_scope(admin.workspace_id):
        trail = AuditEvent.objects.filter(action__startswith="proposal.").order_by("id")
        assert [(one.action, one.actor_id) for one in trail] == [
            ("proposal.dismissed", designer.user_id),
            ("proposal.restored", admin.user_id),
            ("proposal.accepted", designer.user_id),
            ("proposal.restored", admin.user_id),
        ]
        assert {one.target for one in trail} == {"Acme, 2026-06-01, 1.00 h"}
        assert trail[2].data == {
            "proposal": str(proposal.id), "external_id": "99", "time_log": str(log.id), "work_item": item.key,
            "project": None, "before": {"status": "pending"}, "after": {"status": "accepted"},
        }  # fmt: skip


def test_link_points_to_the_log_before_its_change_is_told(admin: Membership, acme: Client) -> None:
    proposal = make_proposal(admin, acme)
    with tenant_scope(admin.workspace_id):
        link = SyncLink.objects.create(
            workspace=admin.workspace, account_id="1", external_id=proposal.external_id, proposal=proposal
        )
    heard: list[Any] = []

    def hear_log(sender: Any, time_log_ids: list[Any], change: str, origin: str, **news: Any) -> None:
        linked = SyncLink.objects.filter(time_log_id__in=time_log_ids).values_list("id", flat=True)
        heard.append(("time_log_changed", list(linked), change, origin))

    def hear_proposal(sender: Any, proposal: TimeProposal, time_log: TimeLog, **news: Any) -> None:
        heard.append(("proposal_accepted", proposal.id, proposal.time_log_id == time_log.id))

    time_log_changed.connect(hear_log)
    proposal_accepted.connect(hear_proposal)
    try:
        Api(admin).post(
            f"inbound/proposals/{proposal.id}/accept/", {"work_item": str(make_work_item(acme).id)}
        )
    finally:
        time_log_changed.disconnect(hear_log)
        proposal_accepted.disconnect(hear_proposal)
    assert heard == [
        ("proposal_accepted", proposal.id, True),
        ("time_log_changed", [link.id], "created", "person"),
    ]
    with tenant_scope(admin.workspace_id):
        assert SyncLink.objects.get().proposal_id == proposal.id


# --- Undo ------------------------------------------------------------------------------------------------------------
def test_undo_of_an_acceptance_leaves_no_trace(admin: Membership, acme: Client) -> None:
    """The log is gone, Harvest's entry is not: the link is the proposal's again, and nothing waits to be pushed."""
    proposal, item = make_proposal(admin, acme), make_work_item(acme)
    with tenant_scope(admin.workspace_id):
        link = SyncLink.objects.create(
            workspace=admin.workspace, account_id="1", external_id=proposal.external_id, proposal=proposal
        )
    api, path = Api(admin), f"inbound/proposals/{proposal.id}/"
    before = api.get(path).json()
    for _ in range(2):
        log = UUID(api.post(f"{path}accept/", {"work_item": str(item.id)}).json()["time_log"])
        with tenant_scope(admin.workspace_id):
            connected = Connection.objects.create(workspace=admin.workspace)
            OutboundChange.objects.create(workspace=admin.workspace, connection=connected, time_log_id=log)
        answer = api.post(f"{path}undo/")
        assert (answer.status_code, answer.json()) == (200, before)
        assert logs(admin) == []
        with tenant_scope(admin.workspace_id):
            link.refresh_from_db()
            assert (link.proposal_id, link.time_log_id) == (proposal.id, None)
            assert not OutboundChange.objects.exists()
            connected.delete()
    assert api.post(f"{path}undo/").json() == before  # twice is once


def test_undo_of_a_dismissal(admin: Membership, acme: Client) -> None:
    path = f"inbound/proposals/{make_proposal(admin, acme).id}/"
    api = Api(admin)
    api.post(f"{path}dismiss/")
    assert api.post(f"{path}undo/").json()["status"] == "pending"


@pytest.mark.parametrize(
    ("since", "status", "words"),
    [
        ("edited", 409, "has been changed since"),
        ("deleted", 409, "has been changed since"),
        ("settled", 409, "issued statement"),
        ("synced", 409, "has been synced since"),
        ("sending", 409, "has been synced since"),
        ("adjusted", 409, "Something rests on this time"),
    ],
)
def test_undo_keeps_what_went_on(
    since: str, status: int, words: str, admin: Membership, acme: Client
) -> None:
    proposal = make_proposal(admin, acme)
    api, path = Api(admin), f"inbound/proposals/{proposal.id}/"
    api.post(f"{path}accept/", {"work_item": str(make_work_item(acme).id)})
    (log,) = logs(admin)
    if since == "edited":
        api.patch(f"time-logs/{log.id}/", {"notes": "Other"})
    elif since == "deleted":
        api.delete(f"time-logs/{log.id}/")
    with tenant_scope(admin.workspace_id):
        owned: dict[str, Any] = {"workspace": admin.workspace, "time_log": log}
        if since in ("settled", "adjusted"):
            TimeLog.objects.update(settled_at=timezone.now())
        if since == "adjusted":
            note_difference(
                workspace_id=admin.workspace_id, time_log_id=log.id, external_id="1", after={"seconds": 1}
            )
            TimeLog.objects.update(settled_at=None)
        if since == "synced":
            SyncEvent.objects.create(deed="taken", **owned)
        if since == "sending":
            OutboundChange.objects.create(
                connection=Connection.objects.create(workspace=admin.workspace),
                state="sending",
                lease_token=uuid7(),
                lease_until=timezone.now(),
                **owned,
            )
    answer = api.post(f"{path}undo/")
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert api.get(path).json()["status"] == "accepted"
    with tenant_scope(admin.workspace_id):
        assert TimeLog.objects.filter(id=log.id).exists()


# --- Following Harvest -----------------------------------------------------------------------------------------------
def test_proposal_follows_its_entry_until_it_is_accepted(
    admin: Membership, member: Membership, acme: Client
) -> None:
    other, kind = make_client(admin.workspace), make_activity_type(admin.workspace)
    waits, dismissed = make_proposal(admin, acme), make_proposal(admin, acme, status="dismissed")
    accepted = make_proposal(admin, acme)
    Api(admin).post(f"inbound/proposals/{accepted.id}/accept/", {"work_item": str(make_work_item(acme).id)})
    new = {
        "client": other.id, "owner": member.user_id, "activity_type": kind.id, "spent_date": date(2026, 6, 9),
        "seconds": 60, "notes": "New", "billable": False, "hourly_rate": Decimal("7.00"),
    }  # fmt: skip
    with tenant_scope(admin.workspace_id):
        proposals_changed(
            workspace_id=admin.workspace_id,
            changes={waits.id: new, dismissed.id: {"seconds": 60}, accepted.id: new, uuid7(): new},
        )
        for row in (waits, dismissed, accepted):
            row.refresh_from_db()
        assert {name: getattr(waits, TimeProposal._meta.get_field(name).attname) for name in new} == new
        assert (waits.status, dismissed.status, dismissed.seconds) == ("pending", "dismissed", 60)
        assert (accepted.client_id, accepted.seconds) == (acme.id, 3600)
        with pytest.raises(ValueError, match="does not follow 'status'"):
            proposals_changed(workspace_id=admin.workspace_id, changes={waits.id: {"status": "accepted"}})


def test_proposals_follow_in_as_many_queries_for_100_as_for_1(admin: Membership, acme: Client) -> None:
    rows = [make_proposal(admin, acme) for _ in range(100)]
    counts = []
    for some in (rows[:1], rows):
        with tenant_scope(admin.workspace_id), CaptureQueriesContext(connection) as captured:
            changes = {one.id: {"seconds": 60} for one in some}
            proposals_changed(workspace_id=admin.workspace_id, changes=changes)
        counts.append(len([one for one in captured if "SAVEPOINT" not in one["sql"]]))
    assert counts == [2, 2]


def test_proposal_is_withdrawn_with_its_entry_and_comes_back_with_it(admin: Membership, acme: Client) -> None:
    waits, dismissed = make_proposal(admin, acme), make_proposal(admin, acme, status="dismissed")
    ids = [waits.id, dismissed.id, uuid7()]

    def states() -> list[str]:
        waits.refresh_from_db()
        dismissed.refresh_from_db()
        return [waits.status, dismissed.status]

    with tenant_scope(admin.workspace_id):
        for _ in range(2):
            proposals_withdrawn(workspace_id=admin.workspace_id, ids=ids)
            assert states() == ["withdrawn", "dismissed"]
        for _ in range(2):
            proposals_returned(workspace_id=admin.workspace_id, ids=ids)
            assert states() == ["pending", "dismissed"]
            assert waits.decided_at is None


def test_no_workspaces_proposals_follow_anothers_sync(
    admin: Membership, stranger: Membership, acme: Client
) -> None:
    row = make_proposal(admin, acme)
    with tenant_scope(stranger.workspace_id):
        proposals_changed(workspace_id=stranger.workspace_id, changes={row.id: {"seconds": 1}})
        proposals_withdrawn(workspace_id=stranger.workspace_id, ids=[row.id])
    with tenant_scope(admin.workspace_id):
        row.refresh_from_db()
    assert (row.seconds, row.status) == (3600, "pending")


# --- What was accepted earlier ---------------------------------------------------------------------------------------
def test_suggestions_learn_from_the_same_persons_time_for_the_same_client(
    admin: Membership, member: Membership, acme: Client
) -> None:
    api, item, wrong = Api(admin), make_work_item(acme, "Retainer"), make_work_item(acme, "Other things")
    other = make_client(admin.workspace)

    def accept(owner: Membership, client: Client, target: WorkItem) -> str:
        path = f"inbound/proposals/{make_proposal(owner, client, 'Weekly call with Bo').id}/accept/"
        log: str = api.post(path, {"work_item": str(target.id)}).json()["time_log"]
        return log

    waits = make_proposal(member, acme, "weekly call with Bo, again")
    path = f"inbound/proposals/{waits.id}/"
    accept(admin, acme, wrong)  # another person's
    accept(member, other, make_work_item(other))  # another client's
    assert api.get(path).json()["suggestions"] == []
    log = accept(member, acme, item)
    (found,) = api.get(path).json()["suggestions"]
    assert (found["work_item"], found["why"]) == (str(item.id), "earlier")
    assert 0.5 <= found["score"] <= 0.85
    api.patch(f"time-logs/{log}/", {"work_item": str(wrong.id)})  # where it is now is what counts
    assert [one["work_item"] for one in api.get(path).json()["suggestions"]] == [str(wrong.id)]
    api.delete(f"time-logs/{log}/")
    assert api.get(path).json()["suggestions"] == []


# --- Many at once ----------------------------------------------------------------------------------------------------
def test_bulk_decides_each_for_itself(admin: Membership, stranger: Membership, acme: Client) -> None:
    item = make_work_item(acme)
    good = [make_proposal(admin, acme) for _ in range(3)]
    elsewhere = make_proposal(admin, make_client(admin.workspace))
    dismissed = make_proposal(admin, acme, status=ProposalStatus.DISMISSED)
    theirs = make_proposal(stranger, make_client(stranger.workspace))
    unknown = str(uuid7())
    ids = [*(str(one.id) for one in (*good, good[0], elsewhere, dismissed, theirs)), unknown, "nonsense"]
    response = Api(admin).post(
        "inbound/proposals/bulk/", {"ids": ids, "action": "accept", "work_item": str(item.id)}
    )
    assert response.status_code == 200
    assert response.json()["done"] == 3
    failed = {one["id"]: one["detail"] for one in response.json()["failed"]}
    nothing = "There is nothing with this id."
    assert failed == {
        str(elsewhere.id): "This work item belongs to another client.",
        str(dismissed.id): "This proposal was dismissed. Restore it first.",
        str(theirs.id): nothing,
        unknown: nothing,
        "nonsense": nothing,
    }
    assert len(logs(admin)) == 3
    assert logs(stranger) == []


def test_bulk_dismiss(admin: Membership, acme: Client) -> None:
    ids = [str(make_proposal(admin, acme).id) for _ in range(4)]
    api = Api(admin)
    assert api.post("inbound/proposals/bulk/", {"ids": ids, "action": "dismiss"}).json() == {
        "done": 4,
        "failed": [],
    }
    assert set(found(api.get("inbound/proposals/", status="dismissed"))) == set(ids)


def test_bulk_refuses_what_it_does_not_understand(admin: Membership) -> None:
    api = Api(admin)
    for body, fields in [
        ({}, {"ids", "action"}),
        ({"ids": [], "action": "dismiss"}, {"ids"}),
        ({"ids": "x", "action": "dismiss"}, {"ids"}),
        ({"ids": [None], "action": "dismiss"}, {"ids.0"}),
        ({"ids": ["x"] * 501, "action": "dismiss"}, {"ids"}),
        ({"ids": ["x"], "action": "restore"}, {"action"}),
        ({"ids": ["x"], "action": "accept", "work_item": "y"}, {"work_item"}),
    ]:
        assert set(errors(api.post("inbound/proposals/bulk/", body))) == fields, body


@pytest.mark.django_db(transaction=True)
def test_two_people_accepting_at_once_make_one_log() -> None:
    admin = make_workspace()
    client = make_client(admin.workspace)
    items = [str(make_work_item(client).id) for _ in range(2)]
    key = make_key(admin)
    for _ in range(5):
        proposal = make_proposal(admin, client)
        barrier = threading.Barrier(2)
        answers: list[Any] = []

        def accept(
            item: str,
            path: str = f"inbound/proposals/{proposal.id}/accept/",
            start: Any = barrier,
            to: Any = answers,
        ) -> None:
            try:
                api = Api(admin, key=key)
                start.wait(10)
                to.append(api.post(path, {"work_item": item}))
            finally:
                connection.close()

        threads = [threading.Thread(target=accept, args=[item]) for item in items]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        assert answers[0].json()["time_log"] is not None
    assert len(logs(admin)) == 5
