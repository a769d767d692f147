"""Harvest as a side: what every side promises, over the sandbox; timers, start and end times, refusals, General."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import connection as database

from harvest.client import Patience
from harvest.credentials import open_client
from harvest.models import HarvestItem, ItemKind
from harvest.places import Places
from harvest.sandbox import FaultKind
from harvest.side import Account, HarvestAway, HarvestRefused, HarvestSide, clock_time, minutes_of
from harvest.terms import FIRST_TASK, GENERAL
from integrations.sync.types import Entry, Field, Unavailable, Value, Values
from tests.contracts.side_contract import Bench, SideContract
from tests.harvest.conftest import Studio, build_studio

pytestmark = pytest.mark.django_db

DAY = date(2026, 6, 1)
ONE_TRY = Patience(attempts=1, total=20.0, longest_turn=2.0)
EDITS = {
    Field.SPENT_DATE: "spent_on",
    Field.DURATION: "hours",
    Field.NOTES: "notes",
    Field.OWNER: "user",
    Field.ACTIVITY: "task",
}


@contextmanager
def side_of(studio: Studio, **account: Any) -> Iterator[HarvestSide]:
    with open_client(studio.connection, patience=ONE_TRY) as client:
        yield HarvestSide(
            client,
            Places(client, studio.connection),
            account=Account(**account),
            own_user=studio.connection.remote_user_id,
            permalink=lambda reference: f"https://time.example.com/{reference}/",
        )


def furnished(studio: Studio) -> Studio:
    """Every task and a second person on every project."""
    account = studio.sandbox.account
    studio.harvest["Bo"] = account.add_user("Bo", "Berg", "bo@northlight.example")
    for project in ("Website", "App", "Loose"):
        for user in ("Ada", "Bo"):
            account.assign_user(studio.harvest[project], studio.harvest[user])
        for task in ("Design", "Code"):
            account.assign_task(studio.harvest[project], studio.harvest[task])
    return studio


def values(studio: Studio, **given: Any) -> dict[Field, Value]:
    ids = studio.harvest
    chosen: dict[Field, Value] = {
        Field.PLACEMENT: (str(ids["Acme"]), str(ids["Website"])),
        Field.ACTIVITY: str(ids["Design"]),
        Field.SPENT_DATE: DAY,
        Field.DURATION: Decimal("1.50"),
        Field.NOTES: "First line\nand ünïcode ✓",
        Field.OWNER: str(ids["Ada"]),
    }
    return chosen | {Field(name): value for name, value in given.items()}


class HarvestBench(SideContract):
    times = False

    @pytest.fixture
    def bench(self, studio: Studio, settings: Any) -> Iterator[Bench]:
        furnished(studio)
        settings.HARVEST_PAGE_SIZE = 2
        account, ids, numbers = studio.sandbox.account, studio.harvest, count(1)
        account.track_start_and_end(self.times)

        def edit(entry_id: str, fields: Values) -> None:
            changes: dict[str, Any] = {}
            for name, value in fields.items():
                if name is Field.PLACEMENT:
                    assert isinstance(value, tuple)
                    changes["project"] = int(value[1] or 0)
                else:
                    changes[EDITS[name]] = int(str(value)) if name in (Field.OWNER, Field.ACTIVITY) else value
            account.edit_entry(int(entry_id), **changes)

        def references(n: int) -> Sequence[str]:
            return [f"log-{next(numbers)}" for _ in range(n)]

        @contextmanager
        def lose_answers() -> Iterator[None]:
            # Writes are done and not answered; listings break off after their first page.
            for method in ("POST", "PATCH", "DELETE"):
                studio.sandbox.fault(FaultKind.LOST, times=None, method=method)
            studio.sandbox.fault(FaultKind.LOST, times=None, method="GET", page=2)
            try:
                yield
            finally:
                studio.sandbox.clear_faults()

        other = values(
            studio,
            placement=(str(ids["Birch"]), str(ids["App"])),
            activity=str(ids["Code"]),
            spent_date=date(2026, 6, 2),
            duration=Decimal("0.25"),
            notes="Another",
            owner=str(ids["Bo"]),
        )
        with side_of(studio, wants_times=self.times) as side:
            yield Bench(
                side=side,
                first=DAY,
                last=date(2026, 6, 20),
                examples=[values(studio), other],
                references=references,
                edit=edit,
                remove=lambda entry_id: account.delete_entry(int(entry_id)),
                lock=lambda entry_id, reason: account.approve(int(entry_id)),
                lose_answers=lose_answers,
                tells_stale=False,
                moves_owner=False,
            )


class TestDurations(HarvestBench):
    pass


class TestStartAndEnd(HarvestBench):
    times = True


def running(studio: Studio) -> list[int]:
    return [one["id"] for one in studio.sandbox.account.entries() if one["is_running"]]


def times(studio: Studio) -> list[tuple[str, str, float]]:
    return [
        (one["started_time"], one["ended_time"], one["hours"]) for one in studio.sandbox.account.entries()
    ]


# --- Timers and times ------------------------------------------------------------------------------------------------
def test_a_day_fills_up_from_nine(studio: Studio) -> None:
    studio.sandbox.account.track_start_and_end()
    furnished(studio)
    with side_of(studio, wants_times=True) as side:
        for n, hours in enumerate(("1.50", "0.25", "2.11")):
            side.create(values(studio, duration=Decimal(hours)), reference=f"log-{n}")
        side.create(values(studio, owner=str(studio.harvest["Bo"])), reference="bo")
    # 2.11 h are 126.6 minutes: whole minutes are what Harvest keeps.
    assert times(studio) == [
        ("09:00", "10:30", 1.5),
        ("10:30", "10:45", 0.25),
        ("10:45", "12:52", 2.12),
        ("09:00", "10:30", 1.5),
    ]
    assert running(studio) == []


def test_a_new_duration_moves_the_end_alone(studio: Studio) -> None:
    account = studio.sandbox.account
    account.track_start_and_end()
    account.company["clock"] = "12h"
    furnished(studio)
    with side_of(studio, wants_times=True, clock="12h") as side:
        made = side.create(values(studio, duration=Decimal("4.00")), reference="log")
        assert times(studio) == [("9:00am", "1:00pm", 4.0)]
        changed = side.update(made.id, {Field.DURATION: Decimal("0.50")}, seen=made.values)
        assert times(studio) == [("9:00am", "9:30am", 0.5)]
        side.update(made.id, {Field.NOTES: "Only these"}, seen=changed.values)
    assert times(studio) == [("9:00am", "9:30am", 0.5)]
    bodies = studio.sandbox.seen("PATCH", "/time_entries/")
    assert len(bodies) == 2


def test_what_would_pass_midnight_is_refused(studio: Studio) -> None:
    account = studio.sandbox.account
    account.track_start_and_end()
    furnished(studio)
    with side_of(studio, wants_times=True) as side:
        made = side.create(values(studio, duration=Decimal("14.90")), reference="long")
        with pytest.raises(HarvestRefused, match="pass midnight") as refused:
            side.create(values(studio, duration=Decimal("0.50")), reference="late")
        assert refused.value.reason == "past_midnight"
        with pytest.raises(HarvestRefused, match="pass midnight"):
            side.update(made.id, {Field.DURATION: Decimal("15.00")}, seen=made.values)
    assert len(account.entries()) == 1


@pytest.mark.parametrize("wants", [True, False])
def test_an_account_that_changed_its_mode_leaves_no_timer_running(studio: Studio, wants: bool) -> None:
    """We think it tracks one way, and it tracks the other: the form that we send is ignored, and a timer starts."""
    furnished(studio)
    studio.sandbox.account.track_start_and_end(wants)
    learned: list[bool] = []
    with side_of(studio, wants_times=not wants) as side:
        side._learned = lambda account: learned.append(account.wants_times)
        made = side.create(values(studio), reference="log")
        assert made.values[Field.DURATION] == Decimal("1.50")
        assert learned == [wants]
        again = side.create(values(studio), reference="next")
    assert again.values[Field.DURATION] == Decimal("1.50")
    assert running(studio) == []
    assert len(studio.sandbox.account.entries()) == 2


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("14:59", 899), ("2:59pm", 899), ("12:00am", 0), ("12:30 PM", 750), ("9:05", 545), ("", None), ("25:00", None),
        ("soon", None),
    ],
)  # fmt: skip
def test_clock_times(text: str, minutes: int | None) -> None:
    assert minutes_of(text) == minutes
    if minutes is not None:
        assert minutes_of(clock_time(minutes, "12h")) == minutes_of(clock_time(minutes, "24h")) == minutes


# --- References ------------------------------------------------------------------------------------------------------
def test_an_entry_carries_its_logs_id_and_page(studio: Studio) -> None:
    furnished(studio)
    with side_of(studio) as side:
        made = side.create(values(studio), reference="0190-abc")
    reference = studio.sandbox.account.entry(int(made.id))["external_reference"]
    assert (reference["id"], reference["permalink"]) == ("0190-abc", "https://time.example.com/0190-abc/")


# --- Refusals --------------------------------------------------------------------------------------------------------
def lock_day(studio: Studio) -> None:
    studio.sandbox.account.lock_before("2026-07-01")


def approve_day(studio: Studio) -> None:
    studio.sandbox.account.approve_period(studio.harvest["Ada"], "2026-06-01", "2026-06-07")


def archive_project(studio: Studio) -> None:
    studio.sandbox.account.archive("projects", studio.harvest["Website"])


def take_task_away(studio: Studio) -> None:
    account, ids = studio.sandbox.account, studio.harvest
    account.remove("task_assignments", account.assign_task(ids["Website"], ids["Design"]))


def archive_assignment(studio: Studio) -> None:
    account, ids = studio.sandbox.account, studio.harvest
    account.edit("user_assignments", account.assign_user(ids["Website"], ids["Ada"]), is_active=False)


def want_notes(studio: Studio) -> None:
    studio.sandbox.account.company["day_entry_notes_required"] = True


@pytest.mark.parametrize(
    ("prepare", "reason", "words", "assigns"),
    [
        (lock_day, "locked", "Unlock it there", False),
        (approve_day, "approved", "Withdraw the approval", False),
        (archive_project, "archived", "Activate it there", False),
        (take_task_away, "not_assigned", "The task is not assigned", True),
        (archive_assignment, "not_assigned", "The person is not assigned", True),
        (want_notes, "notes_required", "Add some", False),
    ],
)
@pytest.mark.parametrize("as_404", [False, True])
def test_refusals_name_the_remedy(
    studio: Studio, prepare: Callable[[Studio], None], reason: str, words: str, assigns: bool, as_404: bool
) -> None:
    furnished(studio)
    studio.sandbox.account.unassigned_is_404 = as_404
    prepare(studio)
    with side_of(studio) as side, pytest.raises(HarvestRefused) as refused:
        side.create(values(studio, notes=""), reference="log")
    ids = studio.harvest
    assert "<" not in refused.value.detail
    if not (as_404 and prepare is archive_project):  # a 404 does not tell
        assert refused.value.reason == reason
        assert words in refused.value.detail
    assert refused.value.remedy == (
        {
            "kind": "assign",
            "project": str(ids["Website"]),
            "task": str(ids["Design"]),
            "user": str(ids["Ada"]),
        }
        if assigns
        else None
    )
    assert studio.sandbox.account.entries() == []


def test_a_members_token_may_not_write_for_others(studio: Studio) -> None:
    from tests.harvest.conftest import connect, make_admin

    furnished(studio)
    sandbox = studio.sandbox
    sandbox.add_person("Cy", "Member", "cy@northlight.example", token="77.pt.cy")
    connection = connect(make_admin(), token="77.pt.cy")
    with open_client(connection, patience=ONE_TRY) as client:
        side = HarvestSide(
            client, Places(client, connection), account=Account(), own_user=connection.remote_user_id
        )
        with pytest.raises(HarvestRefused) as refused:
            side.create(values(studio), reference="log")
    assert refused.value.reason == "no_permission"


def test_assigning_from_here_lets_it_in(studio: Studio) -> None:
    furnished(studio)
    take_task_away(studio)
    archive_assignment(studio)
    ids = {name: str(number) for name, number in studio.harvest.items()}
    with side_of(studio) as side:
        with pytest.raises(HarvestRefused, match="The task and the person are not assigned"):
            side.create(values(studio), reference="log")
        side.places.assign(ids["Website"], ids["Design"], ids["Ada"])
        side.places.assign(ids["Website"], ids["Design"], ids["Ada"])
        assert side.create(values(studio), reference="log").values[Field.ACTIVITY] == ids["Design"]


# --- Where it lands --------------------------------------------------------------------------------------------------
def generals(studio: Studio) -> list[Any]:
    projects = studio.sandbox.account.tables["projects"].values()
    return [row for row in projects if row["name"] == "General"]


def general_entry(studio: Studio, side: HarvestSide, reference: str = "log", **more: Any) -> Entry:
    return side.create(
        values(studio, placement=(str(studio.harvest["Acme"]), GENERAL), **more), reference=reference
    )


def test_general_is_made_once_with_task_and_person(studio: Studio) -> None:
    studio.harvest["Bo"] = studio.sandbox.account.add_user("Bo", "Berg", "bo@northlight.example")
    with side_of(studio) as side:
        first = general_entry(studio, side)
        # Another person and another task belong there too.
        second = general_entry(
            studio, side, "two", owner=str(studio.harvest["Bo"]), activity=str(studio.harvest["Code"])
        )
    (general,) = generals(studio)
    assert first.values[Field.PLACEMENT] == second.values[Field.PLACEMENT]
    assert first.values[Field.PLACEMENT] == (str(studio.harvest["Acme"]), str(general["id"]))
    with studio.scope():
        item = HarvestItem.objects.get(kind=ItemKind.PROJECT, name="General")
    assert (item.harvest_id, item.parent_id, item.active) == (
        str(general["id"]),
        str(studio.harvest["Acme"]),
        True,
    )


def test_general_that_is_there_is_used(studio: Studio) -> None:
    there = studio.sandbox.account.add_project(studio.harvest["Acme"], "general")
    with side_of(studio) as side:
        made = general_entry(studio, side)
    assert made.values[Field.PLACEMENT] == (str(studio.harvest["Acme"]), str(there))
    assert generals(studio) == []


def test_general_whose_making_was_not_heard_of_is_found(studio: Studio) -> None:
    studio.sandbox.fault(FaultKind.LOST, method="POST", path="/projects$")
    with side_of(studio) as side:
        general_entry(studio, side)
    assert len(generals(studio)) == 1
    # Cut off after the making, and everything known of it lost: it is found, not made again.
    with studio.scope():
        HarvestItem.objects.filter(name="General").delete()
    with side_of(studio) as side:
        general_entry(studio, side, "two")
    assert len(generals(studio)) == 1


def test_an_archived_general_is_not_doubled(studio: Studio) -> None:
    studio.sandbox.account.add_project(studio.harvest["Acme"], "General", is_active=False)
    with side_of(studio) as side, pytest.raises(HarvestRefused, match="archived") as refused:
        general_entry(studio, side)
    assert refused.value.reason == "archived"
    assert len(generals(studio)) == 1


def test_the_first_task_is_the_projects_first_active_one(studio: Studio) -> None:
    account, ids = studio.sandbox.account, studio.harvest
    account.assign_user(ids["Website"], ids["Ada"])
    with side_of(studio) as side:
        with pytest.raises(HarvestRefused, match="no active task") as refused:
            side.create(values(studio, activity=FIRST_TASK), reference="log")
        assert refused.value.reason == "no_task"
        account.assign_task(ids["Website"], ids["Admin"], is_active=False)
        account.assign_task(ids["Website"], ids["Code"])
        account.assign_task(ids["Website"], ids["Design"])
        made = side.create(values(studio, activity=FIRST_TASK), reference="log")
    assert made.values[Field.ACTIVITY] == str(ids["Code"])


# --- Trouble ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "lost", "limited"),
    [
        (FaultKind.RATE_LIMITED, False, True),
        (FaultKind.RATE_LIMITED_BARE, False, True),
        (FaultKind.SERVER_ERROR, True, False),
        (FaultKind.GARBAGE, True, False),
        (FaultKind.CUT, True, False),
        (FaultKind.LOST, True, False),
    ],
)
def test_trouble_with_a_write_says_whether_it_may_have_been_done(
    studio: Studio, kind: FaultKind, lost: bool, limited: bool
) -> None:
    furnished(studio)
    studio.sandbox.fault(kind, method="POST", seconds=7)
    with side_of(studio) as side:
        with pytest.raises(HarvestAway) as away:
            side.create(values(studio), reference="log")
        assert (away.value.lost, away.value.limited) == (lost, limited)
        if kind is FaultKind.RATE_LIMITED:
            assert away.value.retry_after == 7
        assert isinstance(away.value, Unavailable)


@pytest.mark.django_db(transaction=True)
def test_many_workers_make_one_general(sandbox: Any) -> None:
    studio = furnished(build_studio(sandbox))
    found: list[str] = []
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with side_of(studio) as side:
                while True:
                    try:
                        made = general_entry(studio, side, f"log-{number}")
                    except HarvestAway as away:
                        if not away.busy:
                            raise
                    else:
                        found.append(str(made.values[Field.PLACEMENT]))
                        return
        except BaseException as error:
            troubles.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []
    assert len(found) == 6
    assert len(set(found)) == len(generals(studio)) == 1
