"""What happens to an entry: every case in the product's order, and what must hold for any entry."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from harvest.intake import (
    ActivityTarget,
    Changed,
    Decision,
    Import,
    IntakeContext,
    KnownLink,
    Link,
    LinkState,
    ProjectTarget,
    Propose,
    Reason,
    Skip,
    Target,
    Unchanged,
    WorkItem,
    WorkItems,
    decide,
    resolve_people,
    seconds_of,
)
from harvest.payloads import TimeEntryPayload, content_hash

ENTRY = TimeEntryPayload(
    id=2_380_000_001,
    spent_date=date(2026, 6, 1),
    hours=Decimal("2.11"),
    notes="Header and footer",
    user_id=71,
    user_name="Ines Okoro",
    client_id=11,
    client_name="Acme",
    project_id=21,
    project_name="Website",
    project_code="ACME-1",
    task_id=31,
    task_name="Design",
    billable=True,
    is_running=False,
    is_locked=False,
    locked_reason="",
    is_closed=False,
    approval_status="unsubmitted",
    is_billed=False,
    started_time="",
    ended_time="",
    timer_started_at=None,
    external_reference_id="",
    external_reference_group_id="",
    external_reference_permalink="",
    created_at=datetime(2026, 6, 1, 9, tzinfo=UTC),
    updated_at=datetime(2026, 6, 1, 9, tzinfo=UTC),
)

WORK_ITEMS = WorkItems(
    [
        WorkItem("wi-12", "acme", "website", "ACME-12", "Fix the header"),
        WorkItem("wi-13", "acme", None, "ACME-13", "Straße und Café"),
        WorkItem("wi-14", "acme", "shop", "ACME-14", "Checkout"),
        WorkItem("wi-15", "acme", None, "ACME-15", "Retainer"),
        WorkItem("wi-16", "acme", None, "ACME-16", "  RETAINER "),
        WorkItem("wi-1", "acme", None, "ACME-1", ""),
        WorkItem("wi-odd", "acme", None, "#9 (b)", "Hotline"),
        WorkItem("wi-other", "globex", None, "GLOB-1", "Roadmap"),
    ]
)

# Harvest's 21 is the website; 22 is another project of Acme, unmapped; client 12 is unmapped altogether.
CONTEXT = IntakeContext(
    projects={21: ProjectTarget("website", "acme")},
    clients={11: "acme"},
    tasks={31: ActivityTarget("design", Decimal("120.00"))},
    people={71: "ines"},
    fallback_owner="connector",
    work_items=WORK_ITEMS,
)

UNMAPPED_PROJECT = {"project_id": 22, "project_name": "Odds and ends"}
UNMAPPED_CLIENT = {**UNMAPPED_PROJECT, "client_id": 12, "client_name": "Globex"}
SAME = content_hash(ENTRY)
UNMAPPED_TASK = {"task_id": 39, "task_name": "Travel"}


def imported(**fields: object) -> Import:
    values = {
        "remote_id": ENTRY.id,
        "client": "acme",
        "project": "website",
        "work_item": None,
        "activity_type": "design",
        "owner": "ines",
        "spent_date": date(2026, 6, 1),
        "seconds": 7596,
        "notes": "Header and footer",
        "billable": True,
        "hourly_rate": Decimal("120.00"),
    }
    return Import(**(values | fields))  # type: ignore[arg-type]


def proposed(**fields: object) -> Propose:
    values = {
        "remote_id": ENTRY.id,
        "client": "acme",
        "activity_type": "design",
        "owner": "ines",
        "spent_date": date(2026, 6, 1),
        "seconds": 7596,
        "notes": "Header and footer",
        "billable": True,
        "hourly_rate": Decimal("120.00"),
    }
    return Propose(**(values | fields))  # type: ignore[arg-type]


def skipped(reason: Reason, detail: str = "") -> Skip:
    return Skip(ENTRY.id, reason, detail)


CASES: list[tuple[str, dict[str, object], dict[str, object], Decision]] = [
    # name, what differs in the entry, what differs in the context, the decision
    ("project and task mapped", {}, {}, imported()),
    ("not billable", {"billable": False}, {}, imported(billable=False)),
    ("zero hours", {"hours": Decimal("0.00")}, {}, imported(seconds=0)),
    ("a hundredth", {"hours": Decimal("0.01")}, {}, imported(seconds=36)),
    ("no notes", {"notes": ""}, {}, imported(notes="")),
    (
        "locked, billed, approved",
        {"is_locked": True, "is_billed": True, "approval_status": "approved"},
        {},
        imported(),
    ),
    # 0. own or twin
    ("a twin is linked", {}, {"own_or_twin": lambda entry: "log-7"}, Link(ENTRY.id, "log-7")),
    (
        "a twin is linked whatever is mapped",
        UNMAPPED_CLIENT,
        {"own_or_twin": lambda entry: "log-7"},
        Link(ENTRY.id, "log-7"),
    ),
    ("no twin", {}, {"own_or_twin": lambda entry: None}, imported()),
    (
        "a link comes before a twin",
        {},
        {"own_or_twin": lambda entry: "log-7", "known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}},
        skipped(Reason.ALREADY_IMPORTED),
    ),
    # 1. known
    (
        "linked",
        {},
        {"known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}},
        skipped(Reason.ALREADY_IMPORTED),
    ),
    (
        "a proposal waits",
        {},
        {"known": {ENTRY.id: KnownLink(LinkState.PROPOSED, SAME)}},
        skipped(Reason.ALREADY_IMPORTED),
    ),
    ("dismissed", {}, {"known": {ENTRY.id: KnownLink(LinkState.DISMISSED, SAME)}}, skipped(Reason.DISMISSED)),
    (
        "linked comes before running and unmapped",
        {"is_running": True, **UNMAPPED_CLIENT},
        {"known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}},
        Changed(ENTRY.id),
    ),
    (
        "linked, and its lock is no change",
        {"is_locked": True},
        {"known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}},
        skipped(Reason.ALREADY_IMPORTED),
    ),
    (
        "changed since",
        {"notes": "New"},
        {"known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}},
        Changed(ENTRY.id),
    ),
    ("taken over in part", {}, {"known": {ENTRY.id: KnownLink(LinkState.LINKED)}}, Changed(ENTRY.id)),
    (
        "a dismissed one follows too",
        {"notes": "New"},
        {"known": {ENTRY.id: KnownLink(LinkState.DISMISSED, SAME)}},
        Changed(ENTRY.id),
    ),
    ("there again", {}, {"known": {ENTRY.id: KnownLink(LinkState.GONE)}}, Changed(ENTRY.id)),
    (
        "its log went on without it",
        {},
        {"known": {ENTRY.id: KnownLink(LinkState.PARTED)}},
        skipped(Reason.ALREADY_IMPORTED),
    ),
    (
        "a sync says nothing of it",
        {},
        {"known": {ENTRY.id: KnownLink(LinkState.LINKED, SAME)}, "syncing": True},
        Unchanged(ENTRY.id),
    ),
    ("another entry is linked", {}, {"known": {7: KnownLink(LinkState.LINKED)}}, imported()),
    # 2. running
    ("running", {"is_running": True}, {}, skipped(Reason.TIMER_RUNNING)),
    (
        "running comes before unmapped",
        {"is_running": True, **UNMAPPED_CLIENT},
        {},
        skipped(Reason.TIMER_RUNNING),
    ),
    # 3. the project is mapped
    ("its task is not", UNMAPPED_TASK, {}, skipped(Reason.TASK_NOT_MAPPED, "Travel")),
    (
        "its task is not, though the notes name a work item",
        {**UNMAPPED_TASK, "notes": "ACME-12"},
        {},
        skipped(Reason.TASK_NOT_MAPPED, "Travel"),
    ),
    ("its client is not mapped", {"client_id": 12}, {}, imported()),
    ("its client is mapped elsewhere: the project wins", {}, {"clients": {11: "globex"}}, imported()),
    (
        "a work item of the project",
        {"notes": "ACME-12 nav"},
        {},
        imported(work_item="wi-12", notes="ACME-12 nav"),
    ),
    (
        "a work item of no project",
        {"notes": "ACME-13 text"},
        {},
        imported(work_item="wi-13", notes="ACME-13 text"),
    ),
    ("a work item of another project", {"notes": "ACME-14"}, {}, imported(notes="ACME-14")),
    (
        "the first work item that fits",
        {"notes": "ACME-14, ACME-12"},
        {},
        imported(work_item="wi-12", notes="ACME-14, ACME-12"),
    ),
    ("a work item of another client", {"notes": "GLOB-1"}, {}, imported(notes="GLOB-1")),
    (
        "a work item by its title",
        {"notes": "fix THE  header"},
        {},
        imported(work_item="wi-12", notes="fix THE  header"),
    ),
    # 4. the client is mapped
    ("no work item named", UNMAPPED_PROJECT, {}, proposed()),
    (
        "no work item named, task unmapped",
        {**UNMAPPED_PROJECT, **UNMAPPED_TASK},
        {},
        proposed(activity_type=None, hourly_rate=Decimal("0.00")),
    ),
    (
        "a work item with a project",
        {**UNMAPPED_PROJECT, "notes": "ACME-12: nav"},
        {},
        imported(work_item="wi-12", notes="ACME-12: nav"),
    ),
    (
        "a work item without one",
        {**UNMAPPED_PROJECT, "notes": "ACME-13: nav"},
        {},
        imported(work_item="wi-13", project=None, notes="ACME-13: nav"),
    ),
    (
        "a work item, task unmapped",
        {**UNMAPPED_PROJECT, **UNMAPPED_TASK, "notes": "ACME-14"},
        {},
        imported(
            work_item="wi-14",
            project="shop",
            activity_type=None,
            hourly_rate=Decimal("0.00"),
            notes="ACME-14",
        ),
    ),
    ("a work item of another client", {**UNMAPPED_PROJECT, "notes": "GLOB-1"}, {}, proposed(notes="GLOB-1")),
    ("two equal titles", {**UNMAPPED_PROJECT, "notes": "Retainer"}, {}, proposed(notes="Retainer")),
    # 5. neither
    ("neither", UNMAPPED_CLIENT, {}, skipped(Reason.PROJECT_NOT_MAPPED, "Odds and ends (Globex)")),
    (
        "neither, though a key is named",
        {**UNMAPPED_CLIENT, "notes": "ACME-12"},
        {},
        skipped(Reason.PROJECT_NOT_MAPPED, "Odds and ends (Globex)"),
    ),
    # The owner
    ("an unknown person: the connector", {"user_id": 79}, {}, imported(owner="connector")),
    (
        "an unknown person and no connector",
        {"user_id": 79, "user_name": "Ana"},
        {"fallback_owner": None},
        skipped(Reason.NO_FALLBACK_OWNER, "Ana"),
    ),
    ("a known person and no connector", {}, {"fallback_owner": None}, imported()),
    (
        "a proposal needs an owner too",
        {"user_id": 79, **UNMAPPED_PROJECT},
        {"fallback_owner": None},
        skipped(Reason.NO_FALLBACK_OWNER, "Ines Okoro"),
    ),
    (
        "unmapped comes before ownerless",
        {"user_id": 79, **UNMAPPED_CLIENT},
        {"fallback_owner": None},
        skipped(Reason.PROJECT_NOT_MAPPED, "Odds and ends (Globex)"),
    ),
    # What cannot be saved
    (
        "negative hours",
        {"hours": Decimal("-1.00")},
        {},
        skipped(Reason.SAVE_FAILED, "-1.00 hours is not a duration that can be logged."),
    ),
    (
        "absurd hours",
        {"hours": Decimal("10000.01")},
        {},
        skipped(Reason.SAVE_FAILED, "10000.01 hours is not a duration that can be logged."),
    ),
    ("many hours", {"hours": Decimal(10000)}, {}, imported(seconds=36_000_000)),
    (
        "unmapped comes before unsavable",
        {"hours": Decimal(-1), **UNMAPPED_CLIENT},
        {},
        skipped(Reason.PROJECT_NOT_MAPPED, "Odds and ends (Globex)"),
    ),
]


@pytest.mark.parametrize(
    ("entry", "context", "decision"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_decide(entry: dict[str, object], context: dict[str, object], decision: Decision) -> None:
    assert decide(structs.replace(ENTRY, **entry), replace(CONTEXT, **context)) == decision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("notes", "work_item"),
    [
        ("ACME-12", "wi-12"),
        ("acme-12 in lower case", "wi-12"),
        ("worked on Acme-12.", "wi-12"),
        ("(ACME-12)", "wi-12"),
        ("ACME-12: nav", "wi-12"),
        ("see https://acme.example/ACME-12?tab=1", "wi-12"),
        ("feature/acme-12-fix-header", "wi-12"),
        ("-ACME-12", "wi-12"),
        ("ACME-12-", "wi-12"),
        ("line one\nACME-12", "wi-12"),
        ("ACME-13 then ACME-12", "wi-13"),
        ("ACME-12 then ACME-13", "wi-12"),
        ("GLOB-1, then ACME-13", "wi-13"),
        ("ACME-12の件", "wi-12"),
        ("修正ACME-12", "wi-12"),
        ("ACME-12를 고침", "wi-12"),
        ("ACME-1", "wi-1"),
        ("ACME-99, ACME-1", "wi-1"),
        ("call #9 (B) back", "wi-odd"),
        ("ACME-123", None),
        ("XACME-12", None),
        ("PRE-ACME-12", None),
        ("ACME-12_old", None),
        ("ACME-12.5", None),
        ("ACME-12-3", None),
        ("ACME 12", None),
        ("ACME-", None),
        ("éACME-12", None),
        ("ACME-12é", None),
        ("", None),
        # titles
        ("Fix the header", "wi-12"),
        ("FIX  the\theader  ", "wi-12"),
        ("\n\n  fix the header\nand more", "wi-12"),
        ("fix the header\r\nand more", "wi-12"),
        ("STRASSE UND CAFE\u0301", "wi-13"),
        ("Fix the header today", None),
        ("Today:\nfix the header", None),
        ("Retainer", None),
        ("Roadmap", None),
        # a key goes before a title
        ("Fix the header\nACME-13", "wi-13"),
    ],
)
def test_naming_a_work_item(notes: str, work_item: str | None) -> None:
    found = WORK_ITEMS.named(notes, "acme")
    assert (found.id if found else None) == work_item


@pytest.mark.parametrize("keys", [["ACME-12", "ACME-12-B"], ["ACME-12-B", "ACME-12"]])
def test_the_longest_key_at_a_place_is_meant(keys: list[str]) -> None:
    items = WorkItems(WorkItem(key, "acme", None, key, "") for key in keys)
    for notes, key in [
        ("acme-12-b: nav", "ACME-12-B"),
        ("acme-12-c: nav", "ACME-12"),
        ("acme-12: nav", "ACME-12"),
    ]:
        found = items.named(notes, "acme")
        assert found is not None
        assert found.id == key


def test_naming_is_quick_with_many_keys_and_long_notes() -> None:
    items = WorkItems(WorkItem(n, "acme", None, f"ACME-{n}", f"Item {n}") for n in range(20_000))
    notes = "nothing of note, ACME-x " * 10_000
    assert items.named(notes, "acme") is None
    assert items.named(notes + "ACME-19999", "acme") == WorkItem(
        19_999, "acme", None, "ACME-19999", "Item 19999"
    )


def test_people_are_resolved_by_hand_then_by_address_in_any_case() -> None:
    members = {"Ines@Studio.example": "ines", "bo@studio.example": "bo", "cy@studio.example": "cy"}
    emails = {
        71: "INES@studio.EXAMPLE ",
        72: "bo@studio.example",
        73: "dee@elsewhere.example",
        74: "",
        75: "x",
    }
    by_hand = {72: "cy", 75: "somebody who left"}
    assert resolve_people(by_hand, emails, members) == {71: "ines", 72: "cy"}


def test_a_person_set_by_hand_who_left_falls_back_to_the_address() -> None:
    assert resolve_people({71: "gone"}, {71: "bo@studio.example"}, {"bo@studio.example": "bo"}) == {71: "bo"}


@given(st.integers(0, 1_000_000))
def test_seconds_of_hundredths_are_exact(hundredths: int) -> None:
    assert seconds_of(Decimal(hundredths).scaleb(-2)) == hundredths * 36


@pytest.mark.parametrize(
    ("hours", "seconds"), [("0.0001", 0), ("0.00015", 1), ("0.333", 1199), ("1.5", 5400)]
)
def test_seconds_of_finer_hours_round_half_up(hours: str, seconds: int) -> None:
    assert seconds_of(Decimal(hours)) == seconds


IDS = st.integers(1, 6)
NOTES = st.one_of(
    st.text(),
    st.sampled_from(["ACME-12", "ACME-14 x", "Retainer", "fix the header"]),
    st.lists(st.sampled_from(["ACME-12", "ACME", "-", ".", "x", "é", "の", " ", "\n", "#9 (b)", "12"])).map(
        "".join
    ),
)
ENTRIES = st.builds(
    TimeEntryPayload,
    id=IDS,
    hours=st.decimals(),
    notes=NOTES,
    user_id=IDS,
    client_id=IDS,
    project_id=IDS,
    task_id=IDS,
)
TARGETS: st.SearchStrategy[Target] = st.sampled_from(["acme", "globex", "website", "shop"])
CONTEXTS = st.builds(
    IntakeContext,
    projects=st.dictionaries(IDS, st.builds(ProjectTarget, TARGETS, TARGETS)),
    clients=st.dictionaries(IDS, TARGETS),
    tasks=st.dictionaries(IDS, st.builds(ActivityTarget, TARGETS, st.decimals(0, 500, places=2))),
    people=st.dictionaries(IDS, TARGETS),
    fallback_owner=st.none() | TARGETS,
    work_items=st.just(WORK_ITEMS),
    known=st.dictionaries(IDS, st.builds(KnownLink, st.sampled_from(LinkState))),
    own_or_twin=st.none()
    | st.sampled_from([lambda entry: None, lambda entry: "log" if entry.id % 2 else None]),
)


@given(ENTRIES, CONTEXTS)
def test_any_entry_gets_one_decision_and_the_same_again(
    entry: TimeEntryPayload, context: IntakeContext
) -> None:
    decision = decide(entry, context)
    assert decision == decide(entry, context)
    assert decision.remote_id == entry.id
    match decision:
        case Skip(reason=Reason.ALREADY_IMPORTED | Reason.DISMISSED):
            assert entry.id in context.known
        case Skip(reason=Reason.TIMER_RUNNING):
            assert entry.is_running
        case Skip(reason=Reason.TASK_NOT_MAPPED):
            assert entry.project_id in context.projects
            assert entry.task_id not in context.tasks
        case Skip(reason=Reason.PROJECT_NOT_MAPPED):
            assert entry.project_id not in context.projects
            assert entry.client_id not in context.clients
        case Skip(reason=Reason.NO_FALLBACK_OWNER):
            assert context.fallback_owner is None
            assert entry.user_id not in context.people
        case Skip(reason=Reason.SAVE_FAILED):
            assert not entry.hours.is_finite() or not 0 <= entry.hours <= 10_000
        case Link():
            assert entry.id not in context.known
        case Changed():
            assert entry.id in context.known
        case Import() | Propose():
            assert not entry.is_running
            assert entry.id not in context.known
            assert (decision.spent_date, decision.notes, decision.billable) == (
                entry.spent_date,
                entry.notes,
                entry.billable,
            )
            assert abs(Decimal(decision.seconds) - entry.hours * 3600) <= Decimal("0.5")
            placed = context.projects.get(entry.project_id)
            if isinstance(decision, Propose):
                assert placed is None
                assert decision.client == context.clients[entry.client_id]
            elif placed is not None:
                assert (decision.project, decision.client) == (placed.id, placed.client)
            else:
                assert decision.work_item is not None


@given(st.lists(ENTRIES, max_size=30), CONTEXTS)
def test_the_outcomes_partition_what_was_read(
    entries: list[TimeEntryPayload], context: IntakeContext
) -> None:
    decisions = [decide(entry, context) for entry in entries]
    kinds = Counter(type(decision) for decision in decisions)
    reasons = Counter(decision.reason for decision in decisions if isinstance(decision, Skip))
    assert kinds[Import] + kinds[Propose] + kinds[Link] + kinds[Changed] + sum(reasons.values()) == len(
        entries
    )


@given(ENTRIES, CONTEXTS)
def test_what_came_in_once_comes_in_no_more(entry: TimeEntryPayload, context: IntakeContext) -> None:
    match decide(entry, context):
        case Import():
            state = LinkState.LINKED
        case Propose():
            state = LinkState.PROPOSED
        case _:
            return
    again = decide(
        entry, context.with_known({**context.known, entry.id: KnownLink(state, content_hash(entry))})
    )
    assert again == Skip(entry.id, Reason.ALREADY_IMPORTED)
