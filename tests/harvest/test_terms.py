"""The terms of both sides: what a log is in Harvest's words, and an entry in ours, by the mappings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test.utils import CaptureQueriesContext
from msgspec import structs

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from harvest.models import ClientMapping, HarvestItem, PersonMapping, ProjectMapping, TaskMapping
from harvest.payloads import TimeEntryPayload, read_time_entry
from harvest.terms import FIRST_TASK, GENERAL, Person, Place, Terms, load_terms, people_in, people_out
from integrations.models import Connection
from integrations.sync.plan import Agree, Direction, Held, UpdateLocal, plan
from integrations.sync.types import OUTGOING, Field, NoCounterpart, Pair, Version
from tests.factories import make_activity_type, make_client, make_project, make_time_log, make_workspace

ACME, GLOBEX, SITE, SHOP, DESIGN, TALK, INES, TOM, ANN = (UUID(int=n) for n in range(1, 10))
NOON = datetime(2026, 6, 2, 12, tzinfo=UTC)

TERMS = Terms(
    projects_in={"21": (str(ACME), str(SITE))},
    projects_out={str(SITE): "21"},
    clients_in={"11": str(ACME), "12": str(GLOBEX)},
    clients_out={str(ACME): "11", str(GLOBEX): "12"},
    tasks_in={"31": str(DESIGN)},
    tasks_out={str(DESIGN): "31"},
    people_in={"71": str(INES)},
    people_out={str(INES): "71"},
    places={"21": Place("11", "Site"), "29": Place("11", "Push")},
    push_projects={"11": "29"},
    default_task="38",
    own_user="70",
    fallback_owner=str(ANN),
)


@dataclass
class Log:
    client_id: UUID = ACME
    project_id: UUID | None = SITE
    activity_type_id: UUID | None = DESIGN
    owner_id: UUID = INES
    spent_date: date = date(2026, 6, 1)
    seconds: int = 7600
    notes: str = "Header"
    billable: bool = True
    settled_at: datetime | None = None
    updated_at: datetime = NOON


def entry(**changes: Any) -> TimeEntryPayload:
    made = read_time_entry(
        {
            "id": 1,
            "spent_date": "2026-06-01",
            "hours": Decimal("2.11"),
            "notes": "Header",
            "user": {"id": 71, "name": "Ines"},
            "client": {"id": 11, "name": "Acme"},
            "project": {"id": 21, "name": "Site"},
            "task": {"id": 31, "name": "Design"},
            "billable": True,
            "updated_at": "2026-06-02T10:00:00Z",
        }
    )
    return structs.replace(made, **changes)


def held(value: object) -> str:
    assert isinstance(value, NoCounterpart), value
    return value.reason


PLACES_OUT = [
    (TERMS, Log(), ("11", "21")),
    (TERMS, Log(project_id=None), ("11", "29")),
    (TERMS, Log(project_id=SHOP), ("11", "29")),
    (TERMS, Log(client_id=GLOBEX, project_id=None), ("12", GENERAL)),
    (replace(TERMS, generals={"12": "28"}), Log(client_id=GLOBEX, project_id=None), ("12", "28")),
    (replace(TERMS, clients_out={}), Log(), ("11", "21")),
    (replace(TERMS, places={}), Log(), ("11", "21")),
    (replace(TERMS, clients_out={}), Log(project_id=None), "Map one of them"),
    (replace(TERMS, places={"21": Place("11", "Site", active=False)}), Log(), "Site is archived"),
    (
        replace(TERMS, places={"29": Place("11", "Push", active=False)}),
        Log(project_id=SHOP),
        "Push is archived",
    ),
]


@pytest.mark.parametrize(("terms", "log", "expected"), PLACES_OUT)
def test_where_a_log_lands_in_harvest(terms: Terms, log: Log, expected: object) -> None:
    found = terms.here(log).abroad[Field.PLACEMENT]
    if isinstance(expected, str):
        assert expected in held(found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("terms", "log", "expected"),
    [
        (TERMS, Log(), "31"),
        (TERMS, Log(activity_type_id=TALK), "38"),
        (TERMS, Log(activity_type_id=None), "38"),
        (replace(TERMS, default_task=""), Log(activity_type_id=None), FIRST_TASK),
    ],
)
def test_the_task_of_a_log(terms: Terms, log: Log, expected: str) -> None:
    assert terms.here(log).abroad[Field.ACTIVITY] == expected


def test_an_archived_task_is_named() -> None:
    terms = replace(TERMS, archived_tasks={"31": "Design", "38": "Other"})
    assert "Design is archived" in held(terms.here(Log()).abroad[Field.ACTIVITY])
    assert "Other is archived" in held(terms.here(Log(activity_type_id=None)).abroad[Field.ACTIVITY])


@pytest.mark.parametrize(("owner", "user"), [(INES, "71"), (TOM, "70")])
def test_the_person_of_a_log(owner: UUID, user: str) -> None:
    assert TERMS.here(Log(owner_id=owner)).abroad[Field.OWNER] == user


@pytest.mark.parametrize(
    ("seconds", "hours"), [(7600, "2.11"), (18, "0.01"), (36, "0.01"), (54, "0.02"), (90, "0.03"), (17, None)]
)
def test_the_hours_of_a_log(seconds: int, hours: str | None) -> None:
    found = TERMS.here(Log(seconds=seconds)).abroad[Field.DURATION]
    if hours is None:
        assert "0.00" in held(found)
    else:
        assert found == Decimal(hours)


def test_billable_stays_and_a_settled_log_is_locked() -> None:
    version = TERMS.here(Log(settled_at=NOON))
    assert set(version.abroad) == set(OUTGOING)
    assert version.locked
    assert not TERMS.here(Log()).locked
    assert version.changed_at == NOON


PLACES_IN = [
    (entry(), None, (str(ACME), str(SITE))),
    (entry(client_id=12), None, (str(ACME), str(SITE))),  # the project's own client counts
    (entry(project_id=22), None, (str(ACME), None)),
    (entry(project_id=22), Log(project_id=SHOP), (str(ACME), str(SHOP))),
    (entry(project_id=22), Log(project_id=None), (str(ACME), None)),
    (entry(project_id=22, client_id=12), Log(project_id=SHOP), (str(GLOBEX), None)),
    (entry(project_id=22, project_name="Secret"), Log(), "Secret"),
    (entry(project_id=22, client_id=12), Log(), "not mapped"),
    (entry(project_id=22, client_id=13), Log(project_id=None), "not mapped"),
    (entry(project_id=22, client_id=13), None, "not mapped"),
]


@pytest.mark.parametrize(("one", "log", "expected"), PLACES_IN)
def test_where_an_entry_lands_here(one: TimeEntryPayload, log: Log | None, expected: object) -> None:
    found = TERMS.there(one, log).abroad[Field.PLACEMENT]
    if isinstance(expected, str):
        assert expected in held(found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("one", "log", "expected"),
    [
        (entry(), None, str(DESIGN)),
        (entry(task_id=32), None, "not mapped"),
        (entry(task_id=32), Log(), "not mapped"),
        (entry(task_id=32, project_id=22), None, None),
        (entry(task_id=32, project_id=22), Log(activity_type_id=TALK), str(TALK)),
        (entry(task_id=32, project_id=22), Log(activity_type_id=None), None),
        (entry(task_id=32, project_id=22), Log(), "not mapped"),
    ],
)
def test_the_activity_of_an_entry(one: TimeEntryPayload, log: Log | None, expected: str | None) -> None:
    found = TERMS.there(one, log).abroad[Field.ACTIVITY]
    if expected == "not mapped":
        assert expected in held(found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("user", "log", "owner", "stranger"),
    [(71, None, INES, False), (79, None, ANN, True), (79, Log(owner_id=TOM), TOM, True)],
)
def test_the_owner_of_an_entry(user: int, log: Log | None, owner: UUID, stranger: bool) -> None:
    version = TERMS.there(entry(user_id=user), log)
    assert (version.abroad[Field.OWNER], version.stranger) == (str(owner), stranger)


def test_nobody_stands_in_where_the_connector_is_gone() -> None:
    terms = replace(TERMS, fallback_owner=None)
    assert "Map that person" in held(terms.there(entry(user_id=79), None).abroad[Field.OWNER])


@pytest.mark.parametrize("hours", [Decimal("-1.00"), Decimal("10000.01")])
def test_hours_that_cannot_be_logged(hours: Decimal) -> None:
    assert "Correct it" in held(TERMS.there(entry(hours=hours), None).abroad[Field.DURATION])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"is_locked": True, "locked_reason": "Item Archived"}, "Item Archived"),
        ({"is_closed": True}, "approved"),
        ({"approval_status": "approved"}, "approved"),
        ({"approval_status": "submitted"}, ""),
        ({"is_billed": True, "is_locked": True}, "invoiced"),
    ],
)
def test_what_is_locked(changes: dict[str, Any], words: str) -> None:
    locked = TERMS.there(entry(**changes), None).locked
    assert words in locked
    assert bool(words) == bool(locked)


# --- What is no change ----------------------------------------------------------------------------------------------
def agreed(here: Version, there: Version) -> dict[Field, Pair]:
    return {name: Pair(here.values[name], there.values[name]) for name in Field}


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("log", "one"),
    [
        (Log(seconds=7600), entry(hours=Decimal("2.11"))),  # rounded out
        (Log(seconds=7596), entry(hours=Decimal("2.11"))),  # as it came in
        (Log(owner_id=TOM), entry(user_id=70)),  # the token's own user stands in
        (Log(owner_id=ANN), entry(user_id=79)),  # the connector stands in
        (Log(project_id=None), entry(project_id=29)),  # the client's project for pushed time
        (Log(activity_type_id=TALK), entry(task_id=38)),  # the default task
        (Log(billable=False), entry(billable=True)),
    ],
)
def test_what_both_sides_make_of_it_is_no_change(
    log: Log, one: TimeEntryPayload, direction: Direction
) -> None:
    """A push just made, adopted without a base: everything is agreed on as it stands."""
    here, there = TERMS.here(log), TERMS.there(one, log)
    actions = plan({}, here, there, direction=direction)
    assert actions == [Agree(agreed(here, there))]
    assert plan(agreed(here, there), here, there, direction=direction) == []


@pytest.mark.parametrize("direction", list(Direction))
def test_attributing_somebody_s_time_anew_is_no_edit(direction: Direction) -> None:
    before = TERMS.here(Log(owner_id=ANN))
    base = agreed(before, TERMS.there(entry(user_id=72), Log(owner_id=ANN)))
    terms = replace(
        TERMS, people_in={"71": str(INES), "72": str(TOM)}, people_out={str(INES): "71", str(TOM): "72"}
    )
    log = Log(owner_id=TOM)
    assert plan(base, terms.here(log), terms.there(entry(user_id=72), log), direction=direction) == [
        Agree({Field.OWNER: Pair(str(TOM), "72")})
    ]


def test_a_move_to_what_is_not_mapped_is_held_and_the_rest_comes_in() -> None:
    log = Log()
    base = agreed(TERMS.here(log), TERMS.there(entry(), log))
    moved = TERMS.there(entry(project_id=22, project_name="Secret", notes="New"), log)
    update, stuck = plan(base, TERMS.here(log), moved, direction=Direction.IMPORT)
    assert update == UpdateLocal({Field.NOTES: "New"})
    assert isinstance(stuck, Held)
    assert stuck.fields == (Field.PLACEMENT,)
    assert "Secret" in stuck.reason


# --- People ----------------------------------------------------------------------------------------------------------
MEMBERS = {"ines@studio.test": "ines", "tom@studio.test": "tom"}


@pytest.mark.parametrize(
    ("by_hand", "people", "expected"),
    [
        ({}, [Person("1", "Ines@Studio.test ")], {"ines": "1"}),
        ({"2": "ines"}, [Person("1", "ines@studio.test"), Person("2", "")], {"ines": "2"}),
        ({"1": "tom"}, [Person("1", "ines@studio.test")], {"tom": "1"}),
        ({"10": "ines", "9": "ines"}, [], {"ines": "9"}),
        ({"9": "ines", "10": "ines"}, [Person("9", "", active=False)], {"ines": "10"}),
        ({"9": "ines"}, [Person("9", "", active=False)], {"ines": "9"}),
        ({}, [Person("1", "ines@studio.test", active=False), Person("2", "ines@studio.test")], {"ines": "2"}),
        ({}, [Person("1", "stranger@studio.test"), Person("2", "")], {}),
    ],
)
def test_who_somebody_is_in_harvest(
    by_hand: dict[str, str], people: list[Person], expected: dict[str, str]
) -> None:
    assert people_out(by_hand, people, MEMBERS) == expected


def test_somebody_who_left_is_nobody_here() -> None:
    assert people_in({"1": "gone"}, [Person("1", "ines@studio.test")], MEMBERS) == {"1": "ines"}


# --- Loading ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def admin(db: None) -> Membership:
    return make_workspace(email="ann@studio.test")


def connect(admin: Membership) -> Connection:
    return Connection.objects.create(
        workspace=admin.workspace,
        status="connected",
        account_id="880123",
        connected_by=admin.user,
        remote_user_id="70",
        default_task="38",
    )


def test_the_terms_as_they_stand(admin: Membership) -> None:
    workspace = admin.workspace
    acme = make_client(workspace)
    site = make_project(acme)
    design = make_activity_type(workspace, rate="95.00")
    with tenant_scope(workspace.id):
        connection = connect(admin)
        for kind, harvest_id, parent, name, active in (
            ("project", "21", "11", "Site", True),
            ("project", "28", "11", "general", True),
            ("project", "27", "12", "General", False),
            ("project", "29", "11", "Push", False),
            ("project", "30", "11", "Other", True),
            ("task", "39", "", "Old", False),
            ("task", "31", "", "Design", True),
        ):
            HarvestItem.objects.create(
                workspace=workspace,
                kind=kind,
                harvest_id=harvest_id,
                parent_id=parent,
                name=name,
                active=active,
            )
        HarvestItem.objects.create(
            workspace=workspace, kind="person", harvest_id="70", name="Ann", email="ANN@studio.test"
        )
        ProjectMapping.objects.create(workspace=workspace, harvest_id="21", target=site)
        ClientMapping.objects.create(workspace=workspace, harvest_id="11", target=acme, push_project="29")
        TaskMapping.objects.create(workspace=workspace, harvest_id="31", target=design)
        PersonMapping.objects.create(workspace=workspace, harvest_id="77", target=admin.user)
        terms = load_terms(connection)
    ann = str(admin.user_id)
    assert terms == Terms(
        projects_in={"21": (str(acme.id), str(site.id))},
        clients_in={"11": str(acme.id)},
        tasks_in={"31": str(design.id)},
        people_in={"70": ann, "77": ann},
        projects_out={str(site.id): "21"},
        clients_out={str(acme.id): "11"},
        push_projects={"11": "29"},
        tasks_out={str(design.id): "31"},
        people_out={ann: "77"},
        places={
            "21": Place("11", "Site"),
            "28": Place("11", "general"),
            "29": Place("11", "Push", active=False),
        },
        generals={"11": "28"},
        archived_tasks={"39": "Old"},
        rates={str(design.id): Decimal("95.00")},
        default_task="38",
        own_user="70",
        fallback_owner=ann,
    )
    log = make_time_log(admin, acme, project=site, activity_type=design, seconds=90)
    assert terms.here(log).abroad == {
        Field.PLACEMENT: ("11", "21"),
        Field.ACTIVITY: "31",
        Field.SPENT_DATE: log.spent_date,
        Field.DURATION: Decimal("0.03"),
        Field.NOTES: "",
        Field.OWNER: "77",
    }


def test_terms_cost_the_same_however_many_mappings(admin: Membership, django_assert_num_queries: Any) -> None:
    from django.db import connection as database

    with tenant_scope(admin.workspace_id):
        connection = connect(admin)
        with CaptureQueriesContext(database) as empty:
            load_terms(connection)
    for number in range(30):
        client = make_client(admin.workspace)
        with tenant_scope(admin.workspace_id):
            ClientMapping.objects.create(
                workspace=admin.workspace, harvest_id=str(100 + number), target=client
            )
    with tenant_scope(admin.workspace_id), django_assert_num_queries(len(empty)):
        load_terms(connection)
