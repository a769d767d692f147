"""Drafting, issuing and voiding: what a statement takes, what it freezes, what it lets go."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from accounts.errors import Forbidden, InUse, Invalid, ServiceError, Settled
from accounts.models import AuditEvent, Membership, Role
from accounts.tenancy import tenant_scope
from clients.models import Client
from clients.services import save_client, save_project
from inbound.models import AdjustmentStatus
from settlement.models import Budget, Statement, StatementCounter, StatementEntry
from settlement.statement_selectors import NEWEST, OLDEST, Entry, entries_page, sheets_of, statements_of
from settlement.statements import (
    DraftExists,
    NotDraft,
    NotIssued,
    change_period,
    delete_draft,
)
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_time_log,
    make_work_item,
    make_workspace,
)
from tests.settlement.statements import (
    FIRST,
    LAST,
    days,
    draft,
    entries,
    figures,
    fresh,
    issue,
    issued,
    make_adjustment,
    sheet,
    void,
)
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, revise_time_log, save_activity_type

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(admin: Membership) -> Client:
    return make_client(admin.workspace, "Acme")


# --- What a draft comes to -------------------------------------------------------------------------------------------
def test_draft_has_a_line_for_each_project_activity_rate_and_billable(
    admin: Membership, client: Client
) -> None:
    workspace = admin.workspace
    website, shop = make_project(client, "Website"), make_project(client, "Shop")
    design = make_activity_type(workspace, "Design", "100.00")
    code = make_activity_type(workspace, "Code", "120.00")
    for seconds in (1200, 1200, 1200):
        make_time_log(admin, client, seconds=seconds, project=website, activity_type=design)
    make_time_log(admin, client, seconds=1200, project=website, activity_type=design, billable=False)
    make_time_log(admin, client, seconds=5400, project=website, activity_type=code)
    make_time_log(admin, client, seconds=20, project=shop, activity_type=design)
    make_time_log(admin, client, seconds=3600)
    with tenant_scope(workspace.id):
        save_activity_type(workspace=workspace, activity_type=design, hourly_rate=Decimal("110.00"))
    make_time_log(admin, client, seconds=3600, project=website, activity_type=design)
    found = sheet(workspace, draft(admin, client))
    assert figures(found) == [
        ("time", "Shop", "Design", "0.01", "100.00", True, "0.56"),
        ("time", "Website", "Code", "1.50", "120.00", True, "180.00"),
        ("time", "Website", "Design", "1.00", "110.00", True, "110.00"),
        ("time", "Website", "Design", "1.00", "100.00", True, "100.00"),
        ("time", "Website", "Design", "0.33", "100.00", False, "0.00"),
        ("time", "", "", "1.00", "0.00", True, "0.00"),
    ]
    assert (str(found.amount), found.seconds, found.entries) == ("390.56", 17420, 8)
    assert str(found.hours) == "4.84"


def test_draft_takes_its_client_and_period_only(
    admin: Membership, client: Client, stranger: Membership
) -> None:
    other = make_client(admin.workspace, "Other")
    foreign = make_client(stranger.workspace, "Acme")
    inside = [make_time_log(admin, client, on=on) for on in (FIRST, LAST)]
    for on in (FIRST - timedelta(days=1), LAST + timedelta(days=1)):
        make_time_log(admin, client, on=on)
    make_time_log(admin, other)
    make_time_log(stranger, foreign)
    gone = make_time_log(admin, client)
    with tenant_scope(admin.workspace_id):
        delete_time_log(log=gone, by=admin)
    statement = draft(admin, client)
    assert [one.source for one in entries(admin.workspace, statement)] == [log.id for log in inside]
    assert sheet(admin.workspace, statement).seconds == 7200


def test_draft_follows_the_logs(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client, seconds=3600)
    statement = draft(admin, client)
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=log, by=admin, seconds=7200)
    make_time_log(admin, client, seconds=60)
    assert sheet(admin.workspace, statement).seconds == 7260
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=log, by=admin, spent_date=LAST + timedelta(days=1))
        save_client(workspace=admin.workspace, client=client, name="Acme Ltd")
    assert sheet(admin.workspace, statement).seconds == 60
    assert sheet(admin.workspace, statement).client == "Acme Ltd"


def test_client_has_one_draft_at_most(admin: Membership, client: Client) -> None:
    statement = draft(admin, client)
    with pytest.raises(DraftExists) as refused:
        draft(admin, client, date(2026, 1, 1), date(2026, 1, 31))
    assert refused.value.extra == {"statement": str(statement.id)}
    draft(admin, make_client(admin.workspace))
    make_time_log(admin, client)
    issue(admin, statement)
    draft(admin, client)
    with tenant_scope(admin.workspace_id), pytest.raises(IntegrityError), transaction.atomic():
        Statement.objects.create(workspace=admin.workspace, client=client, from_date=FIRST, to_date=LAST)


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        (date(2026, 6, 2), date(2026, 6, 1), "to"),
        (date(1969, 12, 31), date(2026, 6, 1), "from"),
        (date(2026, 6, 2), date(2200, 1, 1), "to"),
    ],
)
def test_bad_period_is_refused(
    admin: Membership, client: Client, first: date, last: date, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        draft(admin, client, first, last)
    assert list(refused.value.errors) == [field]
    statement = draft(admin, client)
    with tenant_scope(admin.workspace_id), pytest.raises(Invalid):
        change_period(statement=statement, by=admin, from_date=first, to_date=last)
    assert (statement.from_date, statement.to_date) == (FIRST, LAST)


def test_period_of_a_draft_is_changed_and_a_draft_deleted(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client, on=date(2026, 7, 1))
    statement = draft(admin, client)
    with tenant_scope(admin.workspace_id):
        statement = change_period(statement=statement, by=admin, to_date=date(2026, 7, 1))
    assert sheet(admin.workspace, statement).entries == 1
    with tenant_scope(admin.workspace_id):
        delete_draft(statement=statement, by=admin)
        assert not Statement.objects.exists()
        assert TimeLog.objects.get(pk=log.pk).settled_at is None


def test_each_deed_is_a_line_of_the_trail(admin: Membership, client: Client) -> None:
    designer = make_member(admin.workspace, Role.DESIGNER)
    make_time_log(admin, client)
    first = draft(admin, client)
    with tenant_scope(admin.workspace_id):
        change_period(statement=first, by=designer, to_date=date(2026, 6, 29))
        change_period(statement=first, by=designer, to_date=date(2026, 6, 29))  # again: no deed
        delete_draft(statement=first, by=designer)
    second = draft(designer, client)
    issue(admin, second)
    void(admin, second)
    with tenant_scope(admin.workspace_id):
        trail = AuditEvent.objects.filter(action__startswith="statement.").order_by("id")
        said = [(one.action, one.actor_id, one.target) for one in trail]
        assert said == [
            ("statement.drafted", admin.user_id, "Draft statement, Acme"),
            ("statement.changed", designer.user_id, "Draft statement, Acme"),
            ("statement.deleted", designer.user_id, "Draft statement, Acme"),
            ("statement.drafted", designer.user_id, "Draft statement, Acme"),
            ("statement.issued", admin.user_id, "Statement 1, Acme"),
            ("statement.voided", admin.user_id, "Statement 1, Acme"),
        ]
        assert trail[1].data == {
            "statement": str(first.id),
            "before": {"period": "2026-06-01 → 2026-06-30"},
            "after": {"period": "2026-06-01 → 2026-06-29"},
        }


# --- Issuing ---------------------------------------------------------------------------------------------------------
def test_issue_numbers_freezes_and_settles(admin: Membership, client: Client) -> None:
    project = make_project(client, "Website")
    design = make_activity_type(admin.workspace, "Design", "100.00")
    item = make_work_item(client, project=project, key="ACME-1")
    log = make_time_log(
        admin, client, work_item=item, project=project, activity_type=design, notes="Logo", seconds=1201
    )
    late = make_time_log(admin, client, on=LAST + timedelta(days=1))
    statement = draft(admin, client)
    before, rows_before = sheet(admin.workspace, statement), entries(admin.workspace, statement)
    statement = issue(admin, statement)
    assert (statement.number, statement.status, statement.issued_by) == (1, "issued", admin.user)
    with tenant_scope(admin.workspace_id):
        log.refresh_from_db()
        late.refresh_from_db()
        assert log.settled_at == statement.issued_at
        assert late.settled_at is None
        event = AuditEvent.objects.get(action="statement.issued")
    assert event.data["amount"] == "33.36 USD"

    def check() -> None:
        """The same as the draft was, whatever happens to what it was made of."""
        after = sheet(admin.workspace, statement)
        assert after.as_json() == before.as_json()
        [row], [row_before] = entries(admin.workspace, statement), rows_before
        for name in (
            "kind", "source", "part", "spent_date", "owner_id", "owner_name", "project_id", "project_name",
            "activity_type_id", "activity_type_name", "work_item_key", "notes", "seconds", "rate", "billable",
        ):  # fmt: skip
            assert getattr(row, name) == getattr(row_before, name), name

    check()
    with tenant_scope(admin.workspace_id):
        save_client(workspace=admin.workspace, client=client, name="Renamed")
        save_project(workspace=admin.workspace, project=project, name="Renamed")
        save_activity_type(
            workspace=admin.workspace, activity_type=design, name="Renamed", hourly_rate=Decimal(1)
        )
        admin.user.name = "Renamed"
        admin.user.save()
        admin.workspace.currency = "JPY"
        admin.workspace.save()
    make_time_log(admin, client, seconds=9000)
    check()
    assert sheet(admin.workspace, statement).currency == "USD"


def test_entries_keep_their_order(admin: Membership, client: Client) -> None:
    settled = make_time_log(admin, client)
    issued(admin, client)
    for on in [*days(3), *days(3), *reversed(days(3))]:
        make_time_log(admin, client, on=on)
        make_adjustment(settled, (1, "1.00"), (2, "2.00"), spent_date=on)
    statement = draft(admin, client)
    before = [(one.source, one.part) for one in entries(admin.workspace, statement)]
    issue(admin, statement)
    assert [(one.source, one.part) for one in entries(admin.workspace, statement)] == before


def test_settled_time_is_neither_changed_nor_deleted(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client)
    issued(admin, client)
    with tenant_scope(admin.workspace_id):
        with pytest.raises(Settled):
            revise_time_log(log=log, by=admin, notes="x")
        with pytest.raises(Settled):
            delete_time_log(log=log, by=admin)


def test_late_time_gets_a_second_statement(admin: Membership, client: Client) -> None:
    make_time_log(admin, client, seconds=3600)
    first = issued(admin, client)
    late = make_time_log(admin, client, seconds=60)
    second = issued(admin, client)
    assert (first.number, second.number) == (1, 2)
    assert [one.source for one in entries(admin.workspace, second)] == [late.id]
    assert sheet(admin.workspace, first).seconds == 3600


def test_empty_draft_is_not_issued_and_takes_no_number(admin: Membership, client: Client) -> None:
    statement = draft(admin, client)
    with pytest.raises(Invalid, match="not valid") as refused:
        issue(admin, statement)
    assert "nothing to settle" in refused.value.errors["detail"][0]
    assert fresh(admin.workspace, statement).is_draft
    make_time_log(admin, client)
    assert issue(admin, statement).number == 1


def test_issue_that_is_rolled_back_leaves_no_gap(admin: Membership, client: Client) -> None:
    make_time_log(admin, client)
    statement = draft(admin, client)
    with transaction.atomic():
        assert issue(admin, statement).number == 1
        transaction.set_rollback(True)
    assert issue(admin, statement).number == 1


def test_numbers_are_each_workspaces_own(admin: Membership, client: Client, stranger: Membership) -> None:
    for person, one in ((admin, client), (stranger, make_client(stranger.workspace))):
        make_time_log(person, one)
        assert issued(person, one).number == 1
    with tenant_scope(admin.workspace_id):
        assert StatementCounter.objects.get().next_number == 2


def test_issued_statement_is_neither_issued_again_nor_changed_nor_deleted(
    admin: Membership, client: Client
) -> None:
    make_time_log(admin, client)
    statement = issued(admin, client)
    with tenant_scope(admin.workspace_id):
        for attempt in (
            lambda: issue(admin, statement),
            lambda: change_period(statement=statement, by=admin, to_date=LAST),
            lambda: delete_draft(statement=statement, by=admin),
        ):
            with pytest.raises(NotDraft, match="Statement 1 is issued"):
                attempt()


def test_members_do_not_settle(admin: Membership, client: Client) -> None:
    member, designer = make_member(admin.workspace), make_member(admin.workspace, Role.DESIGNER)
    make_time_log(admin, client)
    with pytest.raises(Forbidden):
        draft(member, client)
    statement = draft(designer, client)
    for deed in (issue, void):
        with pytest.raises(Forbidden):
            deed(member, statement)
    assert issue(designer, statement).number == 1


# --- Voiding ---------------------------------------------------------------------------------------------------------
def test_void_releases_the_time_and_keeps_the_number(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client, notes="Then", seconds=3600)
    statement = issued(admin, client)
    said = sheet(admin.workspace, statement).as_json()
    statement = void(admin, statement)
    assert (statement.number, statement.status, statement.voided_by) == (1, "void", admin.user)
    with tenant_scope(admin.workspace_id):
        revise_time_log(log=log, by=admin, notes="Now", seconds=60)
    assert sheet(admin.workspace, statement).as_json() == said
    [row] = entries(admin.workspace, statement)
    assert (row.source, row.notes, row.seconds) == (log.id, "Then", 3600)
    with tenant_scope(admin.workspace_id):
        assert StatementEntry.objects.get().time_log_id is None  # it holds the log no more
    again = issued(admin, client)
    assert (again.number, sheet(admin.workspace, again).seconds) == (2, 60)
    with pytest.raises(NotIssued, match="void already"):
        void(admin, statement)
    with pytest.raises(NotIssued, match="delete it"):
        void(admin, draft(admin, client))


def test_voided_time_can_be_taken_back_for_good(admin: Membership, client: Client) -> None:
    """As undoing an import does, by plain SQL: what a void statement said of it stays."""
    log = make_time_log(admin, client)
    statement = issued(admin, client)
    with tenant_scope(admin.workspace_id), pytest.raises(IntegrityError), transaction.atomic():
        remove(log)
    void(admin, statement)
    with tenant_scope(admin.workspace_id):
        remove(log)
        assert not TimeLog.objects.exists()
    assert len(entries(admin.workspace, statement)) == 1


def remove(log: TimeLog) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM timelogs_timelog WHERE id = %s", [log.id])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_database_holds_a_log_once(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client)
    statement = issued(admin, client)
    with tenant_scope(admin.workspace_id):
        row = StatementEntry.objects.get(time_log=log)
        row.pk = None
        row._state.adding = True
        row.id = draft(admin, client).id  # any new id
        row.statement = statement
        with pytest.raises(IntegrityError, match="settlement_entry_log_once"), transaction.atomic():
            row.save(force_insert=True)


# --- Adjustments -----------------------------------------------------------------------------------------------------
def test_adjustments_come_as_lines_of_their_own_and_once(admin: Membership, client: Client) -> None:
    design = make_activity_type(admin.workspace, "Design", "100.00")
    log = make_time_log(admin, client, activity_type=design, seconds=3600)
    issued(admin, client)
    moved = make_adjustment(log, (-3600, "100.00"), (3600, "120.00"))
    less = make_adjustment(log, (-1800, "100.00"))
    for status in (AdjustmentStatus.PENDING, AdjustmentStatus.DISMISSED, AdjustmentStatus.WITHDRAWN):
        make_adjustment(log, (999, "100.00"), status=status)
    make_adjustment(log)  # only its words changed
    make_time_log(admin, client, activity_type=design, seconds=60)
    statement = draft(admin, client)
    expected = [
        ("time", "", "Design", "0.02", "100.00", True, "1.67"),
        ("adjustment", "", "Design", "1.00", "120.00", True, "120.00"),
        ("adjustment", "", "Design", "-1.50", "100.00", True, "-150.00"),
    ]
    before = sheet(admin.workspace, statement)
    assert figures(before) == expected
    assert (str(before.amount), before.seconds) == ("-28.33", 60 - 1800)
    statement = issue(admin, statement)
    assert figures(sheet(admin.workspace, statement)) == expected
    found = entries(admin.workspace, statement)
    adjusted = sorted(
        (one.source, one.part, one.seconds, one.notes) for one in found if one.kind == "adjustment"
    )
    said = "As Harvest has it"
    assert adjusted == [(moved.id, 0, -3600, said), (moved.id, 1, 3600, said), (less.id, 0, -1800, said)]
    assert sheet(admin.workspace, draft(admin, client)).entries == 0


def test_adjustments_alone_make_a_statement_and_void_lets_them_go(admin: Membership, client: Client) -> None:
    log = make_time_log(admin, client, seconds=3600)
    first = issued(admin, client)
    make_adjustment(log, (-600, "0.00"))
    second = issued(admin, client, date(2027, 1, 1), date(2027, 1, 31))  # whatever its day
    assert sheet(admin.workspace, second).seconds == -600
    with pytest.raises(InUse, match="Statement 2 adjusts time of this one"):
        void(admin, first)
    void(admin, second)
    third = draft(admin, client)
    assert sheet(admin.workspace, third).seconds == -600
    void(admin, first)  # its time is free: the adjustment of what was settled means nothing now
    assert sheet(admin.workspace, third).seconds == 3600


# --- Lists and pages -------------------------------------------------------------------------------------------------
def test_figures_of_many_take_as_many_queries_as_of_one(admin: Membership) -> None:
    made = []
    for number in range(12):
        client = make_client(admin.workspace)
        log = make_time_log(admin, client, seconds=60 * (number + 1))
        if number % 2:
            made.append(issued(admin, client))
            make_adjustment(log, (30, "1.00"))
            make_time_log(admin, client, seconds=1)
        made.append(draft(admin, client))

    def count(statements: list[Statement]) -> tuple[int, dict[Any, Any]]:
        with tenant_scope(admin.workspace_id), CaptureQueriesContext(connection) as queries:
            found = sheets_of(admin.workspace, statements)
        return len(queries), {key: value.seconds for key, value in found.items()}

    with tenant_scope(admin.workspace_id):
        rows = list(statements_of(admin.workspace).order_by("id"))
    one = next(row for row in rows if row.is_draft and row.client_id == made[1].client_id)
    few, _ = count([one])
    many, seconds = count(rows)
    assert few == many
    assert [seconds[row.id] for row in rows] == [
        60 * (number + 1) if step == 0 else 31
        for number in range(12)
        for step in ([0, 1] if number % 2 else [0])
    ]


@pytest.mark.parametrize("order", [OLDEST, NEWEST])
@pytest.mark.parametrize("state", ["draft", "draft with adjustments", "issued"])
def test_pages_of_entries_walk_all_of_them_both_ways(
    admin: Membership, client: Client, order: tuple[str, str], state: str
) -> None:
    settled = make_time_log(admin, client, on=days(9)[8])
    if state != "draft":
        issued(admin, client)
        for _ in range(3):
            make_adjustment(settled, (-60, "1.00"), (60, "2.00"))
        make_adjustment(settled, (5, "1.00"), spent_date=date(2020, 1, 1))
        make_adjustment(settled, (5, "1.00"), spent_date=date(2030, 1, 1))
    for number, on in enumerate(days(20) * 2):
        make_time_log(admin, client, on=on, seconds=number)
    statement = draft(admin, client)
    if state == "issued":
        statement = issue(admin, statement)
    everything = entries(admin.workspace, statement)
    if order == NEWEST:
        everything.reverse()
    assert len(everything) == (41 if state == "draft" else 48)

    def name(one: Entry) -> tuple[Any, ...]:
        return (one.source, one.part)

    with tenant_scope(admin.workspace_id):
        statement = statements_of(admin.workspace).get(pk=statement.pk)
        pages, cursor = [], None
        while True:
            page = entries_page(statement, order=order, cursor=cursor, size=7)
            pages.append([name(one) for one in page.rows])
            if page.next is None:
                break
            cursor = page.next
        walked = [one for rows in pages for one in rows]
        assert walked == [name(one) for one in everything]
        assert all(len(rows) == 7 for rows in pages[:-1])
        for expected in reversed(pages[:-1]):
            page = entries_page(statement, order=order, cursor=page.previous, size=7)
            assert [name(one) for one in page.rows] == expected
        assert page.previous is None


def test_entries_of_the_database_are_those_of_the_sheet(admin: Membership, client: Client) -> None:
    for on in days(5):
        make_time_log(admin, client, on=on, seconds=1234)
    statement = issued(admin, client)
    with tenant_scope(admin.workspace_id):
        total = StatementEntry.objects.filter(statement=statement).aggregate(n=Sum("seconds"))["n"]
    assert total == sheet(admin.workspace, statement).seconds == 5 * 1234


def test_drafting_for_a_strangers_client_is_refused_by_the_database(
    admin: Membership, stranger: Membership
) -> None:
    draft(admin, make_client(stranger.workspace))
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_client_with_statements_stays(admin: Membership, client: Client) -> None:
    from clients.services import delete

    draft(admin, client)
    with tenant_scope(admin.workspace_id), pytest.raises(ServiceError):
        delete(client)


def test_other_workspaces_see_nothing(admin: Membership, client: Client) -> None:
    make_time_log(admin, client)
    issued(admin, client)
    with tenant_scope(make_workspace().workspace_id):
        assert not Statement.objects.exists()
        assert not StatementEntry.objects.exists()
        assert not StatementCounter.objects.exists()


def test_budgets_before_and_after_are_frozen_with_it(admin: Membership, client: Client) -> None:
    with tenant_scope(admin.workspace_id):
        Budget.objects.create(workspace=admin.workspace, client=client, unit="hours", amount=10)
    make_time_log(admin, client, seconds=3600)
    issued(admin, client)
    make_time_log(admin, client, seconds=7200)
    statement = draft(admin, client)

    def said() -> list[tuple[str, str, str, str]]:
        return [
            (one["name"], one["available"], one["used_before"], one["used_after"])
            for one in sheet(admin.workspace, statement).budgets
        ]

    assert said() == [("Acme", "10.00", "1.00", "3.00")]
    issue(admin, statement)
    make_time_log(admin, client, seconds=3600)
    assert said() == [("Acme", "10.00", "1.00", "3.00")]
