"""Deletions in Harvest: found by complete listings, asked for one by one, and guarded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from harvest import importing
from harvest import sweep as sweeping
from harvest.importing import execute_run, start_apply
from harvest.models import RememberedSkip
from harvest.sweep import confirm_attention
from harvest.undo import undo_run
from harvest.writing import known_links, told_of
from inbound.models import Adjustment, TimeProposal
from integrations.models import Connection, OutboundChange, RunEntry, SyncEvent, SyncLink, SyncRun
from tests.factories import make_member
from tests.harvest.conftest import Studio, connect, make_admin
from tests.harvest.test_updating import both_ways, mapped, sync, told
from tests.rest.client import Api
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, restore_time_log, revise_time_log

__all__ = ["mapped"]

pytestmark = pytest.mark.django_db(transaction=True)
HARVEST = "integrations/harvest/"


@pytest.fixture
def today(mapped: Studio) -> str:
    """A day that syncs look at for deletions."""
    return str(mapped.admin.workspace.today() - timedelta(days=3))


def bring(studio: Studio, day: str, number: int = 1) -> list[int]:
    ids = [studio.add_entry("Website", "Design", day, "1.00", f"Note {n}") for n in range(number)]
    studio.import_window(day, day)
    return ids


def live(studio: Studio) -> int:
    with studio.scope():
        return TimeLog.objects.filter(deleted_at=None).count()


def deleted_by(studio: Studio, run: SyncRun) -> list[str]:
    with studio.scope():
        return sorted(
            RunEntry.objects.filter(run=run, outcome="deleted").values_list("external_id", flat=True)
        )


@pytest.mark.parametrize("how", ["import", "sync"])
def test_what_is_gone_from_harvest_is_deleted_here(mapped: Studio, today: str, how: str) -> None:
    first, _ = bring(mapped, today, 2)
    mapped.sandbox.account.delete_entry(first)
    run = mapped.import_window(today, today) if how == "import" else sync(mapped)
    assert (run.state, deleted_by(mapped, run)) == ("succeeded", [str(first)])
    shown = mapped.shown(run)
    assert (shown["deleted"], shown["attention"]) == (1, None)
    assert live(mapped) == 1
    with mapped.scope():
        assert SyncEvent.objects.get().deed == "deleted"
        log = TimeLog.objects.get(external_id=str(first))
        link = SyncLink.objects.get(external_id=str(first))
        assert (link.time_log_id, link.former_log_id) == (None, log.id)
    # It is told once, and a person may have it back: then it is a log like any other.
    again = sync(mapped)
    assert deleted_by(mapped, again) == []
    with mapped.scope():
        restore_time_log(log=log, by=mapped.admin)
    sync(mapped)
    assert live(mapped) == 2


def test_a_night_asks_for_no_more_than_it_needs(mapped: Studio, today: str) -> None:
    bring(mapped, today, 12)
    sandbox = mapped.sandbox
    sandbox.forget_requests()
    sync(mapped)
    assert [one.path for one in sandbox.seen()] == ["/v2/time_entries"] * 2
    with mapped.scope():
        gone = int(SyncLink.objects.order_by("id").values_list("external_id", flat=True)[0])
    sandbox.account.delete_entry(gone)
    sandbox.forget_requests()
    sync(mapped)
    assert [one.path for one in sandbox.seen()] == [
        "/v2/time_entries",
        "/v2/time_entries",
        "/v2/users/me",
        f"/v2/time_entries/{gone}",
    ]


def test_a_sync_asks_for_its_pages_and_its_changes(mapped: Studio, today: str, settings: Any) -> None:
    """At most pages + changes + 5 requests, of which none writes."""
    settings.HARVEST_PAGE_SIZE = 10
    ids = bring(mapped, today, 60)
    for pk in ids[:6]:
        mapped.sandbox.account.delete_entry(pk)
    for pk in ids[6:12]:
        mapped.sandbox.account.edit_entry(pk, hours="2.00")
    mapped.sandbox.forget_requests()
    run = sync(mapped)
    assert (mapped.shown(run)["updated"], mapped.shown(run)["deleted"]) == (6, 6)
    asked = mapped.sandbox.seen()
    pages = 2 * 6  # what changed, and what is there
    assert len(asked) <= pages + 12 + 5
    assert {one.method for one in asked} == {"GET"}


def test_what_moved_out_of_an_import_s_window_is_not_gone(mapped: Studio) -> None:
    (pk,) = bring(mapped, "2026-06-01")
    mapped.sandbox.account.edit_entry(pk, spent_on="2026-07-01")
    run = mapped.import_window("2026-06-01", "2026-06-02")
    assert told(mapped, run) == ("updated", "", "Changed: date.")
    assert live(mapped) == 1


def test_an_edit_here_beats_a_deletion_there(mapped: Studio, today: str) -> None:
    (pk,) = bring(mapped, today)
    with mapped.scope():
        revise_time_log(log=TimeLog.objects.get(), by=mapped.admin, notes="Ours")
    both_ways(mapped)
    mapped.sandbox.account.delete_entry(pk)
    run = sync(mapped)
    assert (deleted_by(mapped, run), live(mapped)) == ([], 1)
    with mapped.scope():
        assert OutboundChange.objects.get().state == "pending"


def test_what_was_deleted_on_both_sides_is_forgotten(mapped: Studio, today: str) -> None:
    (pk,) = bring(mapped, today)
    with mapped.scope():
        delete_time_log(log=TimeLog.objects.get(), by=mapped.admin)
    mapped.sandbox.account.delete_entry(pk)
    run = sync(mapped)
    with mapped.scope():
        link = SyncLink.objects.get()
        assert (link.time_log_id, link.base) == (None, None)
        assert not RunEntry.objects.filter(run=run).exists()


def test_settled_time_stays_and_its_deletion_waits_in_inbound(mapped: Studio, today: str) -> None:
    (pk,) = bring(mapped, today)
    with mapped.scope():
        TimeLog.objects.update(settled_at=timezone.now())
    mapped.sandbox.account.delete_entry(pk)
    run = sync(mapped)
    assert told(mapped, run)[:2] == ("skipped", "settled")
    with mapped.scope():
        assert Adjustment.objects.get().kind == "gone"
        assert (TimeLog.objects.get().deleted_at, TimeLog.objects.get().sync_state) == (None, "differs")
    mapped.sandbox.forget_requests()
    sync(mapped)
    assert f"/v2/time_entries/{pk}" not in [one.path for one in mapped.sandbox.seen()]


def test_a_proposal_is_withdrawn_with_its_entry(mapped: Studio, today: str) -> None:
    pk = mapped.add_entry("Loose", "Admin", today, "1.00", "Somewhere")
    mapped.import_window(today, today)
    mapped.sandbox.account.delete_entry(pk)
    run = sync(mapped)
    assert deleted_by(mapped, run) == [str(pk)]
    with mapped.scope():
        assert TimeProposal.objects.get().status == "withdrawn"
        first = SyncRun.objects.order_by("id")[0]
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=first)
        assert (undone.undone, undone.kept) == (1, [])


def test_a_preview_says_deleted_and_applying_it_deletes_no_more(mapped: Studio) -> None:
    first, second, _ = bring(mapped, "2026-06-01", 3)
    mapped.sandbox.account.delete_entry(first)
    preview = mapped.import_window("2026-06-01", "2026-06-01", dry_run=True)
    assert deleted_by(mapped, preview) == [str(first)]
    assert live(mapped) == 3
    mapped.sandbox.account.delete_entry(second)
    with mapped.scope():
        run = start_apply(workspace=mapped.admin.workspace, by=mapped.admin.user, preview=preview)
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert deleted_by(mapped, run) == [str(first)]
    assert live(mapped) == 2


def test_undo_takes_back_what_harvest_deleted_too(mapped: Studio) -> None:
    (pk,) = bring(mapped, "2026-06-01")
    with mapped.scope():
        first = SyncRun.objects.get()
    mapped.sandbox.account.delete_entry(pk)
    mapped.import_window("2026-06-01", "2026-06-01")
    with mapped.scope():
        undone = undo_run(workspace=mapped.admin.workspace, by=mapped.admin.user, run=first)
        assert (undone.undone, undone.kept, SyncLink.objects.count()) == (1, [], 0)


# --- Guards ----------------------------------------------------------------------------------------------------------
def test_many_gone_at_once_stop_and_ask(mapped: Studio, today: str) -> None:
    ids = bring(mapped, today, 12)
    mapped.sandbox.account.delete_entry(*ids[:6])
    mapped.sandbox.forget_requests()
    run = sync(mapped)
    assert mapped.shown(run)["attention"] == {"kind": "many_gone", "count": 6}
    assert "Unusually many" in mapped.shown(run)["summary"]
    assert (run.state, live(mapped)) == ("succeeded", 12)
    assert (
        len(mapped.sandbox.seen()) == 3
    )  # what changed, what is there, whose token: none asked for by itself
    with mapped.scope():
        again = confirm_attention(
            workspace=mapped.admin.workspace, by=mapped.admin.user, run=mapped.reload(run)
        )
    execute_run(workspace_id=mapped.workspace_id, run_id=again.id)
    assert mapped.shown(run)["attention"] is mapped.shown(again)["attention"] is None
    assert deleted_by(mapped, again) == sorted(map(str, ids[:6]))
    assert live(mapped) == 6


def test_an_import_stops_as_soon_as_too_many_are_known_to_be_gone(mapped: Studio) -> None:
    ids = bring(mapped, "2026-06-01", 12)
    mapped.sandbox.account.delete_entry(*ids[:8])
    run = mapped.import_window("2026-06-01", "2026-06-01")
    assert mapped.shown(run)["attention"]["kind"] == "many_gone"
    assert live(mapped) == 12


@pytest.mark.parametrize("kind", ["garbage", "503", "cut"])
def test_a_listing_that_broke_off_deletes_nothing(mapped: Studio, today: str, kind: str) -> None:
    (pk,) = bring(mapped, today)
    mapped.sandbox.account.delete_entry(pk)
    with mapped.scope():
        run = SyncRun.objects.create(
            workspace=mapped.admin.workspace, connection=mapped.connection, kind="auto", account_id="880123"
        )
    mapped.sandbox.fault(kind, times=None, after=1, path="time_entries$")
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    mapped.sandbox.clear_faults()
    assert mapped.shown(run)["attention"]["kind"] == "incomplete_listing"
    assert live(mapped) == 1
    answer = Api(mapped.admin).post(f"{HARVEST}runs/{run.id}/confirm/")
    assert (answer.status_code, "Sync again" in answer.json()["detail"]) == (409, True)


def test_a_token_that_sees_less_asks_before_it_deletes(mapped: Studio, today: str) -> None:
    bring(mapped, today, 2)
    sync(mapped)  # everybody's time was seen
    sandbox = mapped.sandbox
    sandbox.add_person("Mo", "Manager", "mo@sandbox.example", "member", token="880.pt.mo")
    connect(mapped.admin, token="880.pt.mo")
    run = sync(mapped)
    assert mapped.shown(run)["attention"] == {"kind": "sees_less", "count": 2}
    assert live(mapped) == 2
    # Answered, it asks no more; what it may not see is not gone all the same.
    with mapped.scope():
        again = confirm_attention(
            workspace=mapped.admin.workspace, by=mapped.admin.user, run=mapped.reload(run)
        )
    execute_run(workspace_id=mapped.workspace_id, run_id=again.id)
    assert mapped.shown(again)["attention"] is None
    assert mapped.shown(sync(mapped))["attention"] is None
    assert live(mapped) == 2


def test_a_token_of_somebody_else_deletes_nothing(mapped: Studio, today: str) -> None:
    (pk,) = bring(mapped, today)
    with mapped.scope():
        Connection.objects.update(remote_user_id="1")
    mapped.sandbox.account.delete_entry(pk)
    run = sync(mapped)
    assert mapped.shown(run)["attention"]["kind"] == "other_account"
    assert live(mapped) == 1


# --- Where it is compared ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["import", "sync"])
@pytest.mark.parametrize("number", [8, 80])
def test_what_comes_here_does_not_grow_with_the_window(
    mapped: Studio, today: str, monkeypatch: pytest.MonkeyPatch, how: str, number: int
) -> None:
    ids = bring(mapped, today, number)
    mapped.sandbox.account.delete_entry(*ids[:2])
    fetched: list[int] = []
    real = sweeping._asked

    def asked(*args: Any, **more: Any) -> list[Any]:
        found = real(*args, **more)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(sweeping, "_asked", asked)
    run = mapped.import_window(today, today) if how == "import" else sync(mapped)
    assert len(deleted_by(mapped, run)) == 2
    # What is missing; for the rest one row each: counts, and for a sync the links as one text.
    assert sorted(fetched) == [1] * (3 if how == "import" else 4) + [2]


def test_the_database_reads_each_row_a_few_times_whatever_its_planner_believes(
    mapped: Studio, today: str, settings: Any
) -> None:
    """Tables that grew since they were last analyzed look empty to it, where every way looks as good as any other."""
    settings.HARVEST_PAGE_SIZE = 100
    number = 300
    ids = [str(pk) for pk in bring(mapped, today, number)]
    tables = ("integrations_synclink", "integrations_runentry", "timelogs_timelog")

    def read() -> dict[str, int]:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
                " FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)",
                [list(tables)],
            )
            return dict(cursor.fetchall())

    with mapped.scope():
        run = SyncRun.objects.get()
        links = sweeping.linked_in(run)[1]
        entries = RunEntry.objects.filter(run=run).count()
        asks: dict[str, Any] = {
            "told": lambda: told_of(run, ids[:100]),
            "known": lambda: known_links(run.connection, ids[:100]),
            "unread": lambda: sweeping.Missing(run, None).count(),
            "linked": lambda: sweeping.linked_in(run),
            "counted": lambda: sweeping.count_linked(run, ["1"]),
            "unlisted": lambda: sweeping.Missing(run, bytearray(links.encode())).fetch(),
        }
        assert entries == number
        for name, ask in asks.items():
            before = read()
            answer = ask()
            assert name != "unlisted" or answer == []
            rows = {table: count - before[table] for table, count in read().items()}
            assert max(rows.values()) <= 3 * number, (name, rows)


def test_a_run_that_goes_on_after_its_worker_died_finds_what_is_gone(
    mapped: Studio, today: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its first worker has told of is told, be it gone since: the next run asks for that."""
    settings.HARVEST_PAGE_SIZE = 10
    days = [str(mapped.admin.workspace.today() - timedelta(days=n)) for n in range(3, 9)]
    ids = [mapped.add_entry("Website", "Design", day, "1.00", day) for day in days for _ in range(5)]
    mapped.import_window(days[-1], days[0])
    mapped.sandbox.account.delete_entry(ids[-1])
    run = mapped.start(days[-1], days[0])
    real = importing.prepare_page
    pages: list[int] = []

    class Killed(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        pages.append(1)
        if len(pages) == 2:
            raise Killed
        return real(*args, **more)

    monkeypatch.setattr(importing, "prepare_page", die)
    with pytest.raises(Killed):
        execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    monkeypatch.setattr(importing, "prepare_page", real)
    with mapped.scope():
        assert RunEntry.objects.filter(run=run, external_id=str(ids[0])).count() == 1
        SyncRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    mapped.sandbox.account.delete_entry(ids[0])
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert deleted_by(mapped, run) == [str(ids[-1])]
    assert mapped.reload(run).attention is None
    again = mapped.import_window(days[-1], days[0])
    assert deleted_by(mapped, again) == [str(ids[0])]
    assert live(mapped) == 28


def test_what_came_in_while_harvest_was_listed_is_not_gone(
    mapped: Studio, today: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a push makes meanwhile is on no page that was read before it, and is linked when the pages are compared."""
    bring(mapped, today, 2)
    real = sweeping._list

    def listing(run: SyncRun, *args: Any, **more: Any) -> Any:
        rows = real(run, *args, **more)
        with mapped.scope(), database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO integrations_synclink (id, workspace_id, provider, account_id, external_id,"
                " former_log_id, time_log_id, proposal_id, remote_hash, remote_user_id, base, created_at)"
                " SELECT gen_random_uuid(), workspace_id, provider, account_id, '77', time_log_id, NULL, NULL, '', '',"
                " base, now() FROM integrations_synclink LIMIT 1"
            )
        return rows

    monkeypatch.setattr(sweeping, "_list", listing)
    mapped.sandbox.forget_requests()
    run = sync(mapped)
    assert (run.state, len(mapped.sandbox.seen())) == ("succeeded", 2)


def test_a_listing_in_pages_that_lacks_some_deletes_nothing(
    mapped: Studio, today: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry twice on its pages is one entry: it does not make up for one that is on none."""
    settings.HARVEST_PAGE_SIZE = 4
    ids = bring(mapped, today, 8)
    real = sweeping.HarvestClient.time_entry_ids

    def torn(self: Any, **days: Any) -> Any:
        pages = list(real(self, **days))
        assert [len(page.ids) for page in pages] == [4, 4]
        return iter([pages[0], replace(pages[1], ids=[*pages[1].ids[1:], pages[0].ids[0]])])

    monkeypatch.setattr(sweeping.HarvestClient, "time_entry_ids", torn)
    run = sync(mapped)
    assert mapped.shown(run)["attention"] == {"kind": "incomplete_listing", "count": 1}
    assert live(mapped) == len(ids)


# --- By REST ---------------------------------------------------------------------------------------------------------
def test_answering_a_guard_by_rest(mapped: Studio, today: str) -> None:
    ids = bring(mapped, today, 12)
    mapped.sandbox.account.delete_entry(*ids[:6])
    run = sync(mapped)
    path = f"{HARVEST}runs/{run.id}/confirm/"
    assert Api(make_admin()).post(path).status_code == 404
    assert Api(make_member(mapped.admin.workspace, "member")).post(path).status_code == 403
    api = Api(make_member(mapped.admin.workspace, "designer"))
    answer = api.post(path)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    execute_run(workspace_id=mapped.workspace_id, run_id=answer.json()["id"])
    assert live(mapped) == 6
    assert api.post(path).status_code == 409
    assert api.post(f"{HARVEST}runs/{answer.json()['id']}/confirm/").status_code == 409
    with mapped.scope():
        assert not RememberedSkip.objects.exists()


def test_leaving_a_guards_question_by_rest(mapped: Studio, today: str) -> None:
    ids = bring(mapped, today, 12)
    mapped.sandbox.account.delete_entry(*ids[:6])
    path = f"{HARVEST}runs/{sync(mapped).id}/leave/"
    assert Api(make_admin()).post(path).status_code == 404
    assert Api(make_member(mapped.admin.workspace, "member")).post(path).status_code == 403
    api = Api(make_member(mapped.admin.workspace, "designer"))
    answer = api.post(path)
    assert (answer.status_code, answer.json()["attention"]) == (200, None)
    assert live(mapped) == 12
    assert api.post(path).status_code == 409
    assert sync(mapped).attention["count"] == 6, "a later run asks again"


def test_a_worker_that_dies_before_the_deletions_are_in_has_deleted_nothing(
    mapped: Studio, today: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bring(mapped, today, 3)
    mapped.sandbox.account.delete_entry(*ids[:2])
    with mapped.scope():
        run = SyncRun.objects.create(
            workspace=mapped.admin.workspace, connection=mapped.connection, kind="sync", account_id="880123"
        )
    real = sweeping.bring_into_step

    class Killed(BaseException):
        pass

    def die(*args: Any, **more: Any) -> None:
        real(*args, **more)
        raise Killed

    monkeypatch.setattr(sweeping, "bring_into_step", die)
    with pytest.raises(Killed):
        execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert live(mapped) == 3
    monkeypatch.setattr(sweeping, "bring_into_step", real)
    with mapped.scope():
        SyncRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    execute_run(workspace_id=mapped.workspace_id, run_id=run.id)
    assert (live(mapped), deleted_by(mapped, run)) == (1, sorted(map(str, ids[:2])))
