"""The months' totals: true after whatever was done to the logs, in every snapshot, without anybody waiting."""

from __future__ import annotations

import importlib
import random
import threading
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.bulk import copy_rows
from accounts.ids import uuid7
from accounts.models import Membership
from accounts.tenancy import tenant_scope
from clients.models import Client, Project
from clients.services import delete as delete_place
from tests.factories import make_client, make_member, make_project, make_time_log
from timelogs.models import MonthChange, MonthTotal, TimeLog
from timelogs.services import delete_time_log, restore_time_log, revise_time_log
from timelogs.totals import (
    OF_ALL,
    Sum,
    Totals,
    Window,
    halves_of,
    kept_totals,
    merge_totals,
    month_of,
    spans_of,
    sums_of,
    total_of,
    workspaces_with_news,
)

# As an import writes them.
LOG_COLUMNS = (
    "id", "workspace_id", "client_id", "project_id", "work_item_id", "activity_type_id", "owner_id", "spent_date",
    "seconds", "notes", "billable", "hourly_rate", "source", "external_id", "sync_state", "sync_detail", "created_at",
    "updated_at",
)  # fmt: skip

pytestmark = pytest.mark.django_db

Key = tuple[UUID, UUID | None, date]


class Kept(NamedTuple):
    """What is kept of a month."""

    logs: int
    seconds: int
    billable_seconds: int
    weighted: Decimal


NONE = Kept(0, 0, 0, Decimal(0))


def kept() -> dict[Key, Kept]:
    """The sums of totals and changes, where they are not nothing."""
    return added_up(
        (
            (row.client_id, row.project_id, row.month),
            Kept(row.logs, row.seconds, row.billable_seconds, row.weighted),
        )
        for row in (*MonthTotal.objects.all(), *MonthChange.objects.all())
    )


def counted() -> dict[Key, Kept]:
    """The same, from the logs."""
    return added_up(
        ((log.client_id, log.project_id, month_of(log.spent_date)), of_log(log))
        for log in TimeLog.objects.filter(deleted_at=None)
    )


def of_log(log: TimeLog) -> Kept:
    if log.billable:
        return Kept(1, log.seconds, log.seconds, log.seconds * log.hourly_rate)
    return Kept(1, log.seconds, 0, Decimal(0))


def added_up(rows: Iterable[tuple[Key, Kept]]) -> dict[Key, Kept]:
    found: dict[Key, Kept] = {}
    for key, one in rows:
        found[key] = Kept(*map(sum, zip(found.get(key, NONE), one, strict=True)))
    return {key: one for key, one in found.items() if one != NONE}


def check() -> None:
    assert kept() == counted()


# --- Any sequence of deeds -------------------------------------------------------------------------------------------
DEEDS = (
    "log",
    "copy",
    "edit",
    "move",
    "rate",
    "delete",
    "restore",
    "settle",
    "bulk",
    "erase",
    "merge",
    "nothing",
)


class Studio:
    """Two clients, the first with two projects; deeds that people, imports and syncs do to their time."""

    def __init__(self, admin: Membership, seed: int) -> None:
        self.admin, self.chance = admin, random.Random(seed)
        self.clients = [make_client(admin.workspace) for _ in range(2)]
        self.projects = [
            make_project(self.clients[0]),
            make_project(self.clients[0]),
            make_project(self.clients[1]),
        ]

    def places(self) -> dict[str, Any]:
        project: Project | None = self.chance.choice([None, *self.projects])
        client = self.chance.choice(self.clients) if project is None else project.client
        return {"client": client, "project": project}

    def day(self) -> date:
        return date(2026, 1, 15) + timedelta(days=self.chance.randrange(75))

    def some(self, **conditions: Any) -> list[TimeLog]:
        logs = list(TimeLog.objects.filter(**conditions).order_by("id"))
        return self.chance.sample(logs, min(len(logs), self.chance.randrange(1, 6)))

    def do(self, deed: str) -> None:
        getattr(self, deed)()

    def nothing(self) -> None:
        TimeLog.objects.filter(seconds=-1).delete()

    def log(self) -> None:
        place = self.places()
        make_time_log(
            self.admin, place["client"], project=place["project"], on=self.day(),
            seconds=self.chance.randrange(86_400), billable=self.chance.random() < 0.6,
        )  # fmt: skip

    def copy(self) -> None:
        now = timezone.now()
        rows = []
        for _ in range(self.chance.randrange(1, 30)):
            place = self.places()
            rows.append((
                uuid7(), self.admin.workspace_id, place["client"].id, place["project"] and place["project"].id, None,
                None, self.admin.user_id, self.day(), self.chance.randrange(86_400), "", self.chance.random() < 0.6,
                Decimal(self.chance.randrange(20_000)) / 100, "harvest", None, "none", "", now, now,
            ))  # fmt: skip
        copy_rows(TimeLog, LOG_COLUMNS, rows)

    def edit(self) -> None:
        for log in self.some(deleted_at=None, settled_at=None):
            revise_time_log(
                log=log, by=self.admin, seconds=self.chance.randrange(86_400), spent_date=self.day(),
                billable=self.chance.random() < 0.6,
            )  # fmt: skip

    def move(self) -> None:
        for log in self.some(deleted_at=None, settled_at=None):
            revise_time_log(log=log, by=self.admin, **self.places())

    def rate(self) -> None:
        TimeLog.objects.filter(id__in=[log.id for log in self.some()]).update(
            hourly_rate=Decimal(self.chance.randrange(20_000)) / 100
        )

    def delete(self) -> None:
        for log in self.some(settled_at=None):
            delete_time_log(log=log, by=self.admin)

    def restore(self) -> None:
        for log in self.some():
            restore_time_log(log=log, by=self.admin)

    def settle(self) -> None:
        TimeLog.objects.filter(id__in=[log.id for log in self.some()]).update(settled_at=timezone.now())

    def bulk(self) -> None:
        """As a sync writes: many rows, each with values of its own, in one statement."""
        logs = self.some()
        for log in logs:
            log.spent_date, log.seconds = self.day(), self.chance.randrange(86_400)
            log.deleted_at = self.chance.choice([None, timezone.now()])
        TimeLog.objects.bulk_update(logs, ["spent_date", "seconds", "deleted_at"])

    def erase(self) -> None:
        """As undo does: by SQL, for good."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM timelogs_timelog WHERE id = ANY(%s)", [[log.id for log in self.some()]]
            )

    def merge(self) -> None:
        merge_totals(self.admin.workspace_id)
        assert not MonthChange.objects.exists()
        assert MonthTotal.objects.count() == len(kept())  # none of nothing


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(deeds=st.lists(st.sampled_from(DEEDS), min_size=3, max_size=20), seed=st.integers(0, 2**32))
def test_totals_are_the_sums_after_whatever_was_done(admin: Membership, deeds: list[str], seed: int) -> None:
    studio = Studio(admin, seed)
    with tenant_scope(admin.workspace_id):
        TimeLog.objects.all()._raw_delete("default")  # of the example before
        studio.copy()
        for deed in deeds:
            studio.do(deed)
            check()
        _check_totals(studio)
        studio.merge()
        check()
        _check_windows(studio)
        _check_totals(studio)


def _check_totals(studio: Studio) -> None:
    """The totals of a workspace, a client, a project, over days or all time, are those of the logs."""
    logs = TimeLog.objects.filter(deleted_at=None)
    for place in (
        {},
        *({"client": one.id} for one in studio.clients),
        *({"project": one.id} for one in studio.projects),
        {"client": studio.clients[1].id, "project": studio.projects[0].id},
    ):
        days = [studio.day(), studio.day()]
        for span in ({}, {"from": days[0]}, {"to": days[1]}, {"from": min(days), "to": max(days)}):
            conditions = place | span
            assert kept_totals(studio.admin.workspace, conditions) == totals_of(those(logs, conditions))


def totals_of(logs: QuerySet[TimeLog]) -> Totals:
    found = [of_log(log) for log in logs]
    return Totals.of(*(sum((one[place] for one in found), NONE[place]) for place in range(4)))


def those(logs: QuerySet[TimeLog], conditions: dict[str, Any]) -> QuerySet[TimeLog]:
    """The logs that meet the conditions."""
    lookups = {"from": "spent_date__gte", "to": "spent_date__lte"}
    return logs.filter(**{lookups.get(name, f"{name}_id"): value for name, value in conditions.items()})


def _check_windows(studio: Studio) -> None:
    """Sums of windows, with and without months, are those of the logs."""
    windows = [
        Window(client.id, project, min(days), max(days), by_month)
        for client in studio.clients
        for project in (None, *(one.id for one in studio.projects if one.client_id == client.id))
        for by_month in (False, True)
        for days in [(studio.day(), studio.day())]
    ]
    for window, found in zip(windows, sums_of(studio.admin.workspace, windows), strict=True):
        logs = TimeLog.objects.filter(
            client_id=window.client_id, spent_date__range=(window.first, window.last), deleted_at=None
        )
        if window.project_id:
            logs = logs.filter(project_id=window.project_id)
        wanted: dict[date | None, Sum] = {}
        for log in logs:
            key = month_of(log.spent_date) if window.by_month else None
            mine = Sum(log.seconds, log.seconds * log.hourly_rate if log.billable else Decimal(0))
            wanted[key] = total_of([wanted.get(key, Sum(0, Decimal(0))), mine])
        nothing = Sum(0, Decimal(0))
        assert {k: v for k, v in found.items() if v != nothing} == {
            k: v for k, v in wanted.items() if v != nothing
        }


# --- Windows ---------------------------------------------------------------------------------------------------------
@given(first=st.dates(date(2024, 1, 1), date(2028, 12, 31)), days=st.integers(-3, 800))
def test_a_window_is_cut_without_gap_or_overlap(first: date, days: int) -> None:
    last = first + timedelta(days=days)
    spans = list(spans_of(first, last))
    covered = [
        span.first + timedelta(days=n) for span in spans for n in range((span.last - span.first).days + 1)
    ]
    assert covered == [first + timedelta(days=n) for n in range(days + 1)]
    for span in spans:
        if span.whole:
            assert span.first.day == 1
            assert (span.last + timedelta(days=1)).day == 1
        else:
            assert month_of(span.first) == month_of(span.last)
    assert sum(span.whole for span in spans) <= 1
    assert len(spans) <= 3


@given(
    first=st.none() | st.dates(date(2024, 1, 1), date(2028, 12, 31)),
    last=st.none() | st.dates(date(2024, 1, 1), date(2028, 12, 31)),
)
def test_days_are_halved_into_whole_months_and_the_rest(first: date | None, last: date | None) -> None:
    months, rest = halves_of(first, last)
    lowest, highest = date(2023, 12, 1), date(2029, 1, 31)  # beyond all that is asked

    def days(begin: date | None, end: date | None) -> list[date]:
        begin, end = begin or lowest, end or highest
        return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]

    whole = days(*months) if months is not None else []
    assert sorted([*whole, *(one for part in rest for one in days(*part))]) == days(first, last)
    if months is not None:
        assert months[0] is None or months[0].day == 1
        assert months[1] is None or (months[1] + timedelta(days=1)).day == 1
        assert len(rest) <= 2
        for begin, end in rest:
            assert begin is not None
            assert end is not None
            assert month_of(begin) == month_of(end)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date.min, date.max),
        (date.max, None),
        (None, date.max),
        (date.max, date.min),
        (date(9999, 12, 1), date.max),
        (date.min, date(2026, 1, 31)),
    ],
)
def test_days_at_the_ends_of_time_are_days_like_others(
    admin: Membership, first: date | None, last: date | None
) -> None:
    make_time_log(admin, make_client(admin.workspace), on=date(2026, 1, 7), seconds=60)
    conditions = {name: day for name, day in (("from", first), ("to", last)) if day is not None}
    with tenant_scope(admin.workspace_id):
        found = kept_totals(admin.workspace, conditions)
        assert found == totals_of(those(TimeLog.objects.all(), conditions))
        assert found.count == ((first or date.min) <= date(2026, 1, 7) <= (last or date.max))


def test_totals_of_a_workspace_read_no_log_where_months_are_whole(admin: Membership) -> None:
    make_time_log(admin, make_client(admin.workspace), on=date(2026, 2, 7))
    for conditions, logs in (
        ({"from": date(2026, 1, 1)}, 0),
        ({"from": date(2026, 1, 1), "to": date(2026, 2, 28)}, 0),
        ({"from": date(2026, 1, 2)}, 1),
        ({"from": date(2026, 1, 2), "to": date(2026, 3, 5)}, 2),
        ({"from": date(2026, 2, 2), "to": date(2026, 2, 20)}, 1),
    ):
        with tenant_scope(admin.workspace_id), CaptureQueriesContext(connection) as asked:
            assert kept_totals(admin.workspace, conditions).count == 1
        (question,) = [one["sql"] for one in asked if "SELECT coalesce" in one["sql"]]
        assert question.count("FROM timelogs_timelog") == logs, conditions
    assert "timelogs_timelog" not in OF_ALL


def test_windows_take_one_query_however_many(admin: Membership, django_assert_num_queries: Any) -> None:
    clients = [make_client(admin.workspace) for _ in range(5)]
    for client in clients:
        make_time_log(admin, client, on=date(2026, 3, 5))
    windows = [
        Window(one.id, None, date(2026, 1, 10), date(2026, 4, 3)) for one in clients for _ in range(20)
    ]
    with tenant_scope(admin.workspace_id):
        with django_assert_num_queries(1):
            assert sums_of(admin.workspace, windows[:1])[0] == {None: Sum(3600, Decimal(0))}
        with django_assert_num_queries(1):
            assert len(sums_of(admin.workspace, windows)) == 100
        with django_assert_num_queries(0):
            assert sums_of(admin.workspace, []) == []
            assert sums_of(
                admin.workspace, [Window(clients[0].id, None, date(2026, 2, 1), date(2026, 1, 1))]
            ) == [{}]


# --- The tenant's walls ----------------------------------------------------------------------------------------------
def test_totals_are_the_workspaces_own(admin: Membership, stranger: Membership) -> None:
    theirs = make_client(stranger.workspace)
    make_time_log(stranger, theirs, seconds=60)
    make_time_log(admin, make_client(admin.workspace), seconds=7)
    with tenant_scope(admin.workspace_id):
        assert [row.seconds for row in MonthChange.objects.all()] == [7]
        assert sums_of(admin.workspace, [Window(theirs.id, None, date(2026, 6, 1), date(2026, 6, 30))]) == [
            {}
        ]
        merge_totals(stranger.workspace_id)
    assert not MonthChange.objects.exists()  # outside a scope
    assert {admin.workspace_id, stranger.workspace_id} <= set(workspaces_with_news(1000))
    for one in (admin, stranger):
        with tenant_scope(one.workspace_id):
            assert merge_totals(one.workspace_id) == 1
            assert merge_totals(one.workspace_id) == 0
            assert MonthTotal.objects.count() == 1
    assert not {admin.workspace_id, stranger.workspace_id} & set(workspaces_with_news(1000))


def test_places_whose_time_is_gone_can_be_deleted(admin: Membership) -> None:
    client = make_client(admin.workspace)
    project = make_project(client)
    other = make_client(admin.workspace)
    with tenant_scope(admin.workspace_id):
        moved = make_time_log(admin, client, project=project)
        merge_totals(admin.workspace_id)
        revise_time_log(log=moved, by=admin, client=other, project=None)
        # They add up to nothing, and go with the client.
        assert MonthTotal.objects.get(project_id=project.id).seconds == 3600
        assert MonthChange.objects.get(project_id=project.id).seconds == -3600
        delete_place(Project.objects.get(pk=project.pk))
        delete_place(Client.objects.get(pk=client.pk))
        connection.check_constraints()
        check()


# --- At once ---------------------------------------------------------------------------------------------------------
def test_writers_do_not_wait_for_each_other(transactional_db: None) -> None:
    """Two transactions that write the same clients' time in opposite order, both open at once: neither is stopped."""
    from tests.factories import make_workspace

    admin = make_workspace()
    clients = [make_client(admin.workspace) for _ in range(2)]
    gate = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    def write(order: list[Client]) -> None:
        try:
            with tenant_scope(admin.workspace_id):
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '3s'")
                for client in order:
                    make_time_log(admin, client)
                    gate.wait()  # the other one has written its first, or second, and holds what it holds
        except BaseException as error:
            failures.append(error)
            gate.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=[order]) for order in (clients, clients[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    with tenant_scope(admin.workspace_id):
        check()
        assert sum(one.seconds for one in kept().values()) == 4 * 3600


def test_writing_merging_and_reading_at_once(transactional_db: None) -> None:
    """Writers, mergers and readers for a while: no reader sees a sum that is not that of the logs it sees."""
    from tests.factories import make_workspace

    admin = make_workspace()
    people = [make_member(admin.workspace) for _ in range(3)]
    clients = [make_client(admin.workspace) for _ in range(2)]
    stop = threading.Event()
    failures: list[BaseException] = []

    def forever(deed: Any) -> None:
        try:
            while not stop.is_set():
                with tenant_scope(admin.workspace_id):
                    deed()
        except BaseException as error:
            failures.append(error)
            stop.set()
        finally:
            connection.close()

    def writer(person: Membership, seed: int) -> Any:
        chance = random.Random(seed)

        def write() -> None:
            for _ in range(chance.randrange(1, 4)):
                make_time_log(person, chance.choice(clients), seconds=chance.randrange(1, 86_400))
            logs = list(TimeLog.objects.filter(owner=person.user).order_by("?")[:3])
            for log in logs[:-1]:
                revise_time_log(
                    log=log, by=person, client=chance.choice(clients), seconds=chance.randrange(86_400)
                )
            delete_time_log(log=logs[-1], by=person)

        return write

    reads: list[int] = []

    def read() -> None:
        with connection.cursor() as cursor:  # one statement, one snapshot
            cursor.execute(
                "SELECT (SELECT coalesce(sum(seconds), 0) FROM timelogs_monthtotal)"
                " + (SELECT coalesce(sum(seconds), 0) FROM timelogs_monthchange),"
                " (SELECT coalesce(sum(seconds), 0) FROM timelogs_timelog WHERE deleted_at IS NULL)"
            )
            total, logs = cursor.fetchone()
        assert total == logs
        reads.append(total)

    deeds = [
        *(writer(person, seed) for seed, person in enumerate(people)),
        lambda: merge_totals(admin.workspace_id),
        lambda: merge_totals(admin.workspace_id),
        read,
    ]
    threads = [threading.Thread(target=forever, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    stop.wait(3)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(set(reads)) > 3
    with tenant_scope(admin.workspace_id):
        check()
        merge_totals(admin.workspace_id)
        check()


# --- The migration ---------------------------------------------------------------------------------------------------
def test_the_migration_fills_in_what_was_there_before(admin: Membership, stranger: Membership) -> None:
    migration = importlib.import_module("timelogs.migrations.0008_whole_totals")
    for one in (admin, stranger):
        with tenant_scope(one.workspace_id):
            Studio(one, 5).copy()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with connection.cursor() as cursor:
        cursor.execute(migration.EMPTY)
    for one in (admin, stranger):
        with tenant_scope(one.workspace_id):
            assert counted()
            assert not kept()
    with connection.cursor() as cursor:
        cursor.execute(migration.FILL)
    for one in (admin, stranger):
        with tenant_scope(one.workspace_id):
            check()
            assert not MonthChange.objects.exists()
    assert not TimeLog.objects.exists()  # outside a scope, as ever
    assert not MonthTotal.objects.exists()
