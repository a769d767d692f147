"""Entries that are time already here: the lost answer of a push, and time logged in both systems."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from harvest.adoption import own_or_twin
from harvest.agreement import note_attempt
from harvest.terms import load_terms
from integrations.models import OutboundChange, SyncEvent, SyncLink
from integrations.sync.plan import attempted
from integrations.sync.types import OUTGOING, Field, NoCounterpart, Pair, Value, load_base
from tests.factories import make_member, make_time_log
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.test_terms import entry
from tests.harvest.test_updating import both_ways, mapped, sync, told
from tests.rest.client import Api
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, revise_time_log

__all__ = ["mapped"]

pytestmark = pytest.mark.django_db(transaction=True)
HARVEST = "integrations/harvest/"
DAY = date(2026, 6, 1)


def manual(studio: Studio, **values: Any) -> TimeLog:
    """A log that equals `theirs`, save what is given."""
    given = {
        "on": DAY,
        "seconds": 7596,
        "project": studio.projects["Website"],
        "activity_type": studio.types["Design"],
        "notes": "Header",
        **values,
    }
    owner = given.pop("owner", studio.admin)
    return make_time_log(owner, given.pop("client", studio.clients["Acme"]), **given)


def theirs(studio: Studio, **more: Any) -> int:
    return studio.add_entry("Website", "Design", DAY, "2.11", "Header", **more)


def count(studio: Studio) -> int:
    with studio.scope():
        return TimeLog.objects.count()


@pytest.mark.parametrize("direction", ["import", "two_way"])
def test_a_twin_is_linked_and_not_imported(mapped: Studio, direction: str) -> None:
    log, pk = manual(mapped, seconds=7600, billable=False), theirs(mapped)
    if direction == "two_way":
        both_ways(mapped)
    run = mapped.import_window()
    assert told(mapped, run) == ("linked", "", "")
    assert (mapped.shown(run)["linked"], count(mapped)) == (1, 1)
    with mapped.scope():
        kept, link = TimeLog.objects.get(), SyncLink.objects.get()
        assert (link.time_log_id, link.external_id) == (log.id, str(pk))
        base = load_base(link.base or {})
        assert base[Field.DURATION] == Pair(7600, Decimal("2.11"))
        assert base[Field.BILLABLE].local is False
        assert (kept.source, kept.external_id, kept.sync_state) == ("manual", str(pk), "synced")
        assert (kept.seconds, kept.billable, kept.updated_at) == (7600, False, log.updated_at)
        assert SyncEvent.objects.get().deed == "linked"
        assert not OutboundChange.objects.exists()
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "already_imported")


def not_alike(studio: Studio) -> list[dict[str, Any]]:
    other = make_member(studio.admin.workspace, "member")
    return [
        {"seconds": 7560},
        {"notes": "Footer"},
        {"on": date(2026, 6, 2)},
        {"activity_type": studio.types["Code"]},
        {"activity_type": None},
        {"project": None},
        {"owner": other},
    ]


def test_what_differs_in_anything_is_no_twin(mapped: Studio) -> None:
    logs = [manual(mapped, **values) for values in not_alike(mapped)]
    deleted = manual(mapped)
    with mapped.scope():
        delete_time_log(log=deleted, by=mapped.admin)
    theirs(mapped)
    assert told(mapped, mapped.import_window())[0] == "imported"
    assert count(mapped) == len(logs) + 2


def test_two_logs_alike_are_nobody_s_twin_and_a_log_is_one_entry_s(mapped: Studio) -> None:
    manual(mapped), manual(mapped)
    theirs(mapped)
    assert told(mapped, mapped.import_window())[0] == "imported"
    with mapped.scope():
        TimeLog.objects.filter(source="manual").order_by("id").first().delete()  # type: ignore[union-attr]
    theirs(mapped), theirs(mapped)
    run = mapped.import_window()
    assert sorted(outcome for outcome, _ in mapped.outcomes(run).values()) == [
        "imported",
        "linked",
        "skipped",
    ]


def test_a_twin_of_unmapped_time_is_matched_by_its_client(mapped: Studio) -> None:
    log = manual(mapped, project=None, activity_type=None, seconds=3600)
    mapped.add_entry("Loose", "Admin", DAY, "1.00", "Header")
    assert told(mapped, mapped.import_window())[0] == "linked"
    with mapped.scope():
        assert SyncLink.objects.get().time_log_id == log.id


def test_a_preview_says_linked_and_links_nothing(mapped: Studio) -> None:
    manual(mapped)
    theirs(mapped)
    assert told(mapped, mapped.import_window(dry_run=True))[0] == "linked"
    with mapped.scope():
        assert not SyncLink.objects.exists()


# --- A push whose answer was lost ------------------------------------------------------------------------------------
def attempt(studio: Studio, log: TimeLog) -> None:
    """What a push notes before it creates: the log's values then, and what was sent."""
    with studio.scope():
        here = load_terms(studio.connection).here(log)
        sent: dict[Field, Value] = {
            name: value for name in OUTGOING if not isinstance(value := here.abroad[name], NoCounterpart)
        }
        OutboundChange.objects.create(
            workspace_id=log.workspace_id,
            connection=studio.connection,
            time_log=log,
            begun=note_attempt(attempted(here.values, sent)),
        )


def test_an_own_entry_is_linked_with_what_was_sent_for_its_base(mapped: Studio) -> None:
    both_ways(mapped)
    with mapped.scope():
        OutboundChange.objects.all().delete()
    log = manual(mapped, seconds=7600)
    with mapped.scope():
        OutboundChange.objects.all().delete()
    attempt(mapped, log)
    pk = theirs(mapped, external_reference=str(log.id))
    with mapped.scope():
        revise_time_log(log=log, by=mapped.admin, notes="Edited since")
    mapped.sandbox.account.edit_entry(pk, hours="3.00")
    run = mapped.import_window()
    assert told(mapped, run)[0] == "linked"
    with mapped.scope():
        kept, base = TimeLog.objects.get(), load_base(SyncLink.objects.get().base or {})
    # Harvest's edit came in, ours is not given up: it is still to be sent.
    assert (kept.seconds, kept.notes) == (10800, "Edited since")
    assert base[Field.NOTES] == Pair("Header", "Header")
    assert kept.sync_state == "pending"


def test_an_own_entry_without_a_note_of_the_attempt_is_linked_by_what_is_equal(mapped: Studio) -> None:
    log = manual(mapped, notes="Ours")
    theirs(mapped, external_reference=str(log.id))
    assert told(mapped, mapped.import_window())[0] == "linked"
    with mapped.scope():
        assert TimeLog.objects.get().notes == "Ours"  # import only: as edited here
        assert Field.NOTES not in load_base(SyncLink.objects.get().base or {})


# --- Taking it back --------------------------------------------------------------------------------------------------
def test_unlinking_is_a_click_and_for_good(mapped: Studio) -> None:
    log = manual(mapped)
    pk = theirs(mapped)
    run = mapped.import_window()
    api = Api(mapped.admin)
    one = api.get(f"{HARVEST}runs/{run.id}/entries/", outcome="linked").json()["results"][0]
    path = f"{HARVEST}runs/{run.id}/entries/{one['id']}/unlink/"
    assert Api(make_admin()).post(path).status_code == 404
    assert Api(make_member(mapped.admin.workspace, "member")).post(path).status_code == 403
    assert api.post(f"{HARVEST}runs/{run.id}/entries/nonsense/unlink/").status_code == 404
    answer = api.post(path)
    assert (answer.status_code, answer.json()) == (200, {"time_log": str(log.id)})
    assert api.post(path).status_code == 409
    with mapped.scope():
        kept = TimeLog.objects.get()
        assert (kept.external_id, kept.sync_state, kept.source) == (None, "none", "manual")
        assert not SyncLink.objects.exists()
    # The entry is other time, so it comes in; and nothing is joined again, nor comes in twice.
    assert told(mapped, mapped.import_window())[0] == "imported"
    assert told(mapped, mapped.import_window())[:2] == ("skipped", "already_imported")
    with mapped.scope():
        assert SyncLink.objects.get(external_id=str(pk)).time_log_id != log.id
    assert count(mapped) == 2


def test_what_was_imported_cannot_be_unlinked(mapped: Studio) -> None:
    theirs(mapped)
    run = mapped.import_window()
    api = Api(mapped.admin)
    one = api.get(f"{HARVEST}runs/{run.id}/entries/").json()["results"][0]
    assert api.post(f"{HARVEST}runs/{run.id}/entries/{one['id']}/unlink/").status_code == 409


# --- Cost ------------------------------------------------------------------------------------------------------------
def test_looking_for_twins_costs_the_same_however_many(mapped: Studio) -> None:
    counts = []
    for number in (1, 40):
        for _ in range(number):
            manual(mapped, notes=f"Note {number}")
        with mapped.scope(), CaptureQueriesContext(database) as queries:
            own_or_twin(mapped.connection, [entry(id=n, spent_date=DAY) for n in range(number)])
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_sync_links_too(mapped: Studio) -> None:
    manual(mapped)
    theirs(mapped)
    assert told(mapped, sync(mapped))[0] == "linked"
