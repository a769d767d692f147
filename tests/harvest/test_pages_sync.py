"""The pages of two-way sync: direction and policy, what is held, conflicts, a log's own story, what a run asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Role, Workspace
from harvest.importing import execute_run
from harvest.sync_selectors import Waiting, waiting
from integrations.models import Connection, OutboundChange, SyncEvent, SyncRun
from tests.factories import make_member
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.outbound import DAY, Both, go_both_ways
from tests.harvest.pages import HTMX, PAGE, browse, text_of
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db

HELD, CONFLICTS, DIRECTION = f"{PAGE}held/", f"{PAGE}conflicts/", f"{PAGE}direction/"
BOTH_WAYS = {"direction": "two_way", "conflict_policy": "harvest", "default_task": ""}


@pytest.fixture
def both(studio: Studio) -> Both:
    return go_both_ways(studio)


@pytest.fixture
def browser(both: Both) -> Client:
    return browse(both.studio.admin)


def row(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.get()


def approved(both: Both, count: int = 1) -> list[TimeLog]:
    """Logs that were changed here after Harvest approved their entries."""
    logs = [both.log(notes=f"Number {n}") for n in range(count)]
    both.drain()
    for entry in both.entries():
        both.account.approve(entry["id"])
    for log in logs:
        both.edit(log, notes="Late")
    both.drain()
    return logs


def contested(both: Both) -> TimeLog:
    both.set(conflict_policy="ask")
    log = both.log(notes="Agreed")
    both.send_all()
    both.account.edit_entry(both.entries()[0]["id"], notes="Theirs", hours="2.00")
    both.edit(log, notes="Ours", seconds=3600)
    both.send_all()
    return log


def change_of(both: Both, log: TimeLog) -> OutboundChange:
    return both.changes(log)[-1]


# --- Direction -------------------------------------------------------------------------------------------------------
def test_switching_to_both_ways_says_first_what_stays(studio: Studio) -> None:
    both = go_both_ways(studio)
    both.set(direction="import")
    for seconds in (9000, 5400):
        both.log(seconds=seconds)
    both.log(project=studio.projects["App"], seconds=600)  # its client is not mapped
    client = browse(studio.admin)
    assert "Which way time travels" in text_of(client.get(PAGE))
    answer = client.post(DIRECTION, BOTH_WAYS)
    assert answer.status_code == 200
    assert row(studio).direction == "import"
    words = text_of(answer)
    assert "Sync both ways with Northlight?" in words
    assert "What is saved from now on" in words
    assert "2 older logs, 4 h, stay here until you push them" in words
    answer = client.post(DIRECTION, {**BOTH_WAYS, "sure": "1"})
    assert answer["Location"] == PAGE
    assert row(studio).direction == "two_way"
    words = text_of(client.get(PAGE))
    assert "Time goes both ways now" in words
    assert "2 older time logs, 4 h, are not in Harvest" in words
    assert client.post(f"{PAGE}push-older/")["Location"] == PAGE
    words = text_of(client.get(PAGE))
    assert "2 older time logs go out now" in words
    assert "Waiting to be pushed 2" in words
    assert "older time logs, 4 h" not in words
    both.send_all()
    assert len(both.entries()) == 2


def test_switching_back_says_what_it_cancels(both: Both, browser: Client) -> None:
    log = both.log()
    words = text_of(browser.post(DIRECTION, {**BOTH_WAYS, "direction": "import"}))
    assert (
        "1 change that is not in step yet (1 waiting to be pushed, 0 held, 0 in conflict) is cancelled"
        in words
    )
    assert both.state(log)[0] == "pending"
    browser.post(DIRECTION, {**BOTH_WAYS, "direction": "import", "sure": "1"})
    assert "Nothing is written to Harvest any more." in text_of(browser.get(PAGE))
    state, detail = both.state(log)
    assert state == "none"
    assert detail in text_of(browser.get(reverse("time-log", args=[log.id])))


def test_policy_and_default_task_are_saved_at_once(both: Both, browser: Client) -> None:
    task = str(both.studio.harvest["Admin"])
    page = browser.get(PAGE).content.decode()
    assert f'<option value="{task}">Admin</option>' in page
    values = {"direction": "two_way", "conflict_policy": "ask", "default_task": task}
    assert browser.post(DIRECTION, values)["Location"] == PAGE
    after = row(both.studio)
    assert (after.conflict_policy, after.default_task) == ("ask", task)
    for wrong in ({"direction": "sideways"}, {"conflict_policy": ""}, {"default_task": "1"}):
        answer = browser.post(DIRECTION, {**values, **wrong})
        assert answer.status_code == 422
        assert 'class="errors"' in answer.content.decode()
    assert row(both.studio).conflict_policy == "ask"


def test_nothing_is_every_night_while_it_is_paused(both: Both, browser: Client) -> None:
    both.set(auto_sync=True)
    member = browse(make_member(both.studio.admin.workspace, Role.MEMBER))
    assert "Every night at 02:00 UTC, and for changes every 15 minutes." in text_of(browser.get(PAGE))
    both.log()

    both.set(status="reconnect_needed")
    page = text_of(browser.get(PAGE))
    assert "Paused until Harvest is connected again." in page
    assert "night at 02:00" not in page
    both.set(status="connected")
    with both.studio.scope():
        Workspace.objects.update(plan="free")
    for one in (browser, member):
        page = text_of(one.get(PAGE))
        assert "aused without the Pro plan." in page
        assert "night at 02:00" not in page
    assert "Two-way sync is paused without the Pro plan." in text_of(browser.get(HELD))


def test_use_of_the_limit(both: Both, browser: Client, settings: Any) -> None:
    settings.HARVEST_RATE_LIMIT = 1
    page = browser.get(PAGE)
    assert " of 100 requests in the last 15 seconds" in text_of(page)
    assert 'aria-label="Use of Harvest’s limit"' in page.content.decode()
    settings.HARVEST_RATE_LIMIT = 0
    assert "requests in the last" not in text_of(browser.get(PAGE))


def test_counts_are_live(both: Both, browser: Client) -> None:
    both.log()
    live = browser.get(f"{PAGE}waiting/", headers={**HTMX, "HX-Target": "flow"})
    assert "Waiting to be pushed 1" in text_of(live)
    assert "load delay:3s" in live.content.decode()
    both.send_all()
    live = browser.get(f"{PAGE}waiting/", headers={**HTMX, "HX-Target": "flow"})
    assert "Waiting to be pushed 0" in text_of(live)
    assert "load delay" not in live.content.decode()
    approved(both)
    with both.studio.scope():
        assert waiting(both.studio.admin.workspace) == Waiting(held=1)
    assert "Held 1" in text_of(browser.get(f"{PAGE}waiting/?at=held", headers=HTMX))
    assert "Held 1" in text_of(browser.get(PAGE))


# --- Held ------------------------------------------------------------------------------------------------------------
def test_held_says_why_and_retries(both: Both, browser: Client) -> None:
    assert "Nothing is held" in text_of(browser.get(HELD))
    (log,) = approved(both)
    answer = browser.get(HELD)
    words = text_of(answer)
    assert "approved in Harvest" in words
    assert "Our change is not in Harvest: notes Late here, Number 0 there" in words
    url = f"{HELD}{change_of(both, log).id}/retry/"
    assert url in answer.content.decode()
    done = browser.post(url, headers=HTMX)
    assert done.content.decode().startswith('<tr class="gone">')
    assert "waiting-changed" in done["HX-Trigger"]
    assert both.state(log)[0] == "pending"
    # Pressed again, by somebody whose page is old.
    assert browser.post(url)["Location"] == HELD
    both.account.unlock_entries(both.entries()[0]["id"])
    both.send_all()
    assert both.state(log) == ("synced", "")


def test_held_are_filtered_and_retried_together(both: Both, browser: Client) -> None:
    logs = approved(both, 3)
    short = both.log(seconds=10)
    both.drain()
    assert "Rounds to 0.00 h" in text_of(browser.get(HELD))
    words = text_of(browser.get(f"{HELD}?reason=too_short"))
    assert "Retry it" in words
    assert "Edit the time" in words
    assert "Late" not in words
    assert "None is held for that" in text_of(browser.get(f"{HELD}?way=in"))
    assert "Retry all 4" in text_of(browser.get(f"{HELD}?way=no&reason=no"))
    for entry in both.entries():
        both.account.unlock_entries(entry["id"])
    assert browser.post(f"{HELD}retry/", {"way": "out", "reason": "approved"})["Location"] == HELD
    assert {both.state(log)[0] for log in logs} == {"pending"}
    assert both.state(short)[0] == "held"
    both.send_all()
    assert {both.state(log)[0] for log in logs} == {"synced"}


def test_assigning_from_the_list(both: Both, browser: Client) -> None:
    ids = both.studio.harvest
    both.account.remove("task_assignments", both.account.assign_task(ids["Website"], ids["Code"]))
    log = both.log(activity_type=both.studio.types["Code"])
    both.drain()
    assert "Assign in Harvest" in text_of(browser.get(HELD))
    done = browser.post(f"{HELD}{change_of(both, log).id}/assign/", headers=HTMX)
    assert "Assigned in Harvest. What waited for it is tried again." in text_of(done)
    both.send_all()
    assert both.state(log) == ("synced", "")


@pytest.mark.parametrize(
    ("move", "remedy", "leads_to"),
    [
        ({"project": "App"}, "Map this project", "tab=projects&amp;filter=App#mappings"),
        ({"task": "Admin"}, "Map this task", "tab=tasks&amp;filter=Admin#mappings"),
    ],
)
def test_a_move_to_what_is_not_mapped_has_its_remedy(
    both: Both, browser: Client, move: dict[str, str], remedy: str, leads_to: str
) -> None:
    log = both.log()
    both.send_all()
    ids, entry = both.studio.harvest, both.entries()[0]["id"]
    for ident in ("Admin", "Design"):
        both.account.assign_task(ids["App"], ids[ident])
        both.account.assign_task(ids["Website"], ids[ident])
    both.account.edit_entry(entry, **{kind: ids[name] for kind, name in move.items()})
    both.edit(log, notes="Anew")
    both.send_all()
    assert both.state(log)[0] == "held"
    page = browser.get(HELD)
    assert remedy in text_of(page)
    assert leads_to in page.content.decode()


# --- Conflicts -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("keep", "notes", "headers"), [("timebridge", "Ours", HTMX), ("harvest", "Theirs", {})]
)
def test_one_click_settles_a_conflict(
    both: Both, browser: Client, keep: str, notes: str, headers: dict[str, str]
) -> None:
    assert "No conflicts" in text_of(browser.get(CONFLICTS))
    log = contested(both)
    answer = browser.get(CONFLICTS)
    words = text_of(answer)
    assert "Hours ≠ differs 1.00 h 2.00 h" in words
    assert "Notes ≠ differs Ours Theirs" in words
    assert "Conflicts 1" in words
    url = f"{CONFLICTS}{change_of(both, log).id}/resolve/"
    assert f'hx-post="{url}"' in answer.content.decode()
    assert browser.post(url, {"keep": "both"}).status_code == 400
    done = browser.post(url, {"keep": keep}, headers={**headers, "Referer": f"http://testserver{CONFLICTS}"})
    if headers:
        assert "version stays" in text_of(done)
        assert "waiting-changed" in done["HX-Trigger"]
    else:
        assert done["Location"].endswith(CONFLICTS)
        assert "Harvest’s version stays" in text_of(browser.get(CONFLICTS))
    both.send_all()
    assert both.reload(log).notes == both.entries()[0]["notes"] == notes
    assert "No conflicts" in text_of(browser.get(CONFLICTS))


# --- One log ---------------------------------------------------------------------------------------------------------
def test_a_log_says_in_words_how_it_stands(both: Both, browser: Client) -> None:
    log = both.log()
    page = reverse("time-log", args=[log.id])
    member = browse(make_member(both.studio.admin.workspace, Role.MEMBER))

    def stands(badge: str) -> str:
        listed = browser.get("/time-logs/").content.decode()
        assert f'hx-boost="false" href="{page}">{badge}</a>' in listed
        for one in (browser, member):  # members find where an entry's permalink leads, too
            words = text_of(one.get(page))
            assert f"Harvest {badge}" in words
        return text_of(browser.get(page))

    assert "On its way to Harvest." in stands("Waiting to be pushed")
    both.send_all()
    entry = both.entries()[0]
    words = stands("In step")
    assert f"Harvest entry {entry['id']}" in words
    day = f"https://northlight.harvestapp.example/time/day/2026/06/01/{both.studio.harvest['Ada']}"
    assert f'href="{day}"' in browser.get(page).content.decode()
    assert "Made in Harvest" in words
    both.account.approve(entry["id"])
    both.edit(log, seconds=7200)
    both.send_all()
    words = stands("Held")
    assert "approved in Harvest" in words
    assert "Hours: 2.00 h here, 1.50 h in Harvest" in words
    assert "approved in Harvest" in text_of(browser.get("/time-logs/"))
    retry = f"{HELD}{change_of(both, log).id}/retry/"
    assert retry in browser.get(page).content.decode()
    assert retry not in member.get(page).content.decode()
    both.account.unlock_entries(entry["id"])
    answer = browser.post(retry, headers={"Referer": f"http://testserver{page}"})
    assert answer["Location"].endswith(page)
    both.send_all()
    assert "Changed in Harvest Hours: 1.50 h → became 2.00 h" in stands("In step")
    both.set(web_address="")  # it was not told
    assert "/time/day/" not in browser.get(page).content.decode()
    both.delete(log)
    both.send_all()
    words = text_of(browser.get(page))
    assert "Deleted just now." in words
    assert "Deleted in Harvest" in words
    assert "Restore" in words
    assert "Restore" not in text_of(member.get(page))


def test_a_conflict_is_settled_on_the_logs_page_too(both: Both, browser: Client) -> None:
    log = contested(both)
    page = reverse("time-log", args=[log.id])
    words = text_of(browser.get(page))
    assert "Conflict" in words
    assert "Notes ≠ differs Ours Theirs" in words
    url = f"{CONFLICTS}{change_of(both, log).id}/resolve/"
    answer = browser.post(url, {"keep": "harvest"}, headers={"Referer": f"http://testserver{page}"})
    assert answer["Location"].endswith(page)
    both.send_all()
    words = text_of(browser.get(page))
    assert "Given up Harvest's stays." in words
    assert "Notes: Ours here, Theirs in Harvest" in words


def test_what_people_wrote_is_text(both: Both, browser: Client) -> None:
    nasty = "<script>alert(1)</script>"
    log = contested(both)
    with both.studio.scope():
        pair = {"notes": {"timebridge": nasty, "harvest": nasty}}
        OutboundChange.objects.filter(state="conflict").update(fields=pair)
        SyncEvent.objects.update(fields=pair, detail=nasty)
    for url in (CONFLICTS, reverse("time-log", args=[log.id])):
        assert nasty not in browser.get(url).content.decode()
        assert "&lt;script&gt;" in browser.get(url).content.decode()


def test_a_workspace_without_harvest_is_told_nothing_of_it(studio: Studio) -> None:
    from tests.factories import make_client, make_time_log

    admin = make_admin(name="Alone")
    log = make_time_log(admin, make_client(admin.workspace))
    page = browse(admin).get(reverse("time-log", args=[log.id]))
    assert page.status_code == 200
    assert 'id="harvest-state"' not in page.content.decode()


# --- Runs ------------------------------------------------------------------------------------------------------------
def sync_now(both: Both, browser: Client) -> SyncRun:
    assert browser.post(f"{PAGE}runs/", {"do": "sync"}, headers=HTMX).status_code == 200
    with both.studio.scope():
        run = SyncRun.objects.order_by("-id")[0]
    execute_run(workspace_id=both.studio.workspace_id, run_id=run.id)
    return both.studio.reload(run)


def pushed_lately(both: Both, count: int) -> list[TimeLog]:
    today = timezone.now().date()
    logs = [both.log(spent_date=today - timedelta(days=n % 5), notes=f"Lately {n}") for n in range(count)]
    both.send_all()
    return logs


def test_sync_now_tells_what_it_did(both: Both, browser: Client) -> None:
    logs = pushed_lately(both, 3)
    assert "Sync now" in text_of(browser.get(PAGE))
    first, second, third = both.entries()
    both.account.edit_entry(first["id"], notes="Changed there")
    both.account.delete_entry(second["id"])
    both.account.edit_entry(third["id"], project=both.studio.harvest["App"])
    run = sync_now(both, browser)
    assert run.kind == "sync"
    words = text_of(browser.get(f"{PAGE}runs/{run.id}/panel/"))
    assert "Updated: 1" in words
    assert "They were changed in Harvest since they came in" in words
    assert "Deleted: 1" in words
    assert "Held: 1 · See why" in words
    page = text_of(browser.get(f"{PAGE}runs/{run.id}/"))
    assert "Updated: 1" in page
    assert "1 updated · 1 deleted" in text_of(browser.get(PAGE))
    assert sum(both.reload(log).deleted_at is not None for log in logs) == 1


def test_a_sync_that_only_deletes_says_so(both: Both, browser: Client) -> None:
    pushed_lately(both, 1)
    sync_now(both, browser)
    both.account.delete_entry(both.entries()[0]["id"])
    run = sync_now(both, browser)
    assert "1 entry is gone from Harvest Deleted: 1" in text_of(browser.get(f"{PAGE}runs/{run.id}/panel/"))


def asking(both: Both, browser: Client) -> tuple[SyncRun, list[TimeLog]]:
    """A sync that found eight of eight entries gone, and stopped to ask."""
    logs = pushed_lately(both, 8)
    sync_now(both, browser)
    for entry in both.entries():
        both.account.delete_entry(entry["id"])
    run = sync_now(both, browser)
    assert run.attention == {"kind": "many_gone", "count": 8}
    return run, logs


def live(both: Both, logs: list[TimeLog]) -> int:
    return sum(both.reload(log).deleted_at is None for log in logs)


def test_going_on_after_the_question(both: Both, browser: Client) -> None:
    run, logs = asking(both, browser)
    for url in (PAGE, f"{PAGE}runs/{run.id}/"):
        words = text_of(browser.get(url))
        assert "Were they deleted there on purpose? 8 linked entries." in words
        assert "Go on: delete them here too" in words
    assert live(both, logs) == 8
    answer = browser.post(f"{PAGE}runs/{run.id}/confirm/", {"do": "go"}, headers=HTMX)
    assert answer.status_code == 200
    with both.studio.scope():
        again = SyncRun.objects.order_by("-id")[0]
    execute_run(workspace_id=both.studio.workspace_id, run_id=again.id)
    assert live(both, logs) == 0
    assert "on purpose" not in text_of(browser.get(f"{PAGE}runs/{run.id}/"))
    assert "8 entries are gone from Harvest" in text_of(browser.get(PAGE))


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_leaving_it_deletes_nothing_and_asks_no_more(
    both: Both, browser: Client, headers: dict[str, str]
) -> None:
    run, logs = asking(both, browser)
    answer = browser.post(f"{PAGE}runs/{run.id}/confirm/", {"do": "leave"}, headers=headers)
    assert answer.status_code == (200 if headers else 302)
    assert "on purpose" not in text_of(browser.get(PAGE))
    assert live(both, logs) == 8
    # It has been answered.
    for verb in ("go", "leave"):
        answer = browser.post(f"{PAGE}runs/{run.id}/confirm/", {"do": verb}, headers=HTMX)
        assert answer.status_code == 409
    assert sync_now(both, browser).attention == {"kind": "many_gone", "count": 8}


def test_unlinking_what_a_run_linked(both: Both, browser: Client) -> None:
    both.set(direction="import")
    log = both.log()
    both.studio.add_entry("Website", "Design", DAY, "1.50", "Sketches")
    with both.studio.scope():  # the twin needs the same owner
        TimeLog.objects.update(owner=both.studio.admin.user)
    run = both.studio.import_window(DAY, DAY)
    page = f"{PAGE}runs/{run.id}/"
    words = text_of(browser.get(page))
    assert "Linked: 1" in words
    assert "This time was here already" in words
    entry = next(url for url in browser.get(page).content.decode().split('"') if url.endswith("/unlink/"))
    of_log = reverse("time-log", args=[log.id])
    assert entry in browser.get(of_log).content.decode()
    member = browse(make_member(both.studio.admin.workspace, Role.MEMBER))
    assert entry not in member.get(page).content.decode()
    assert member.post(entry).status_code == 403
    assert browse(make_admin(name="Elsewhere")).post(entry).status_code == 404
    assert browser.post(entry)["Location"] == of_log
    assert both.link(log) is None
    assert entry not in browser.get(page).content.decode()
    words = text_of(browser.get(of_log))
    assert "Unlinked" in words
    assert entry not in browser.get(of_log).content.decode()


# --- Who may, and how much it costs ----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)  # refusals roll back, as they do for a visitor
def test_strangers_and_members(both: Both, browser: Client) -> None:
    (log,) = approved(both)
    change = change_of(both, log)
    run, _ = asking(both, browser)
    admin = both.studio.admin
    member, stranger = browse(make_member(admin.workspace, Role.MEMBER)), browse(make_admin(name="Elsewhere"))
    of_one = [
        f"{HELD}{change.id}/retry/",
        f"{HELD}{change.id}/assign/",
        f"{CONFLICTS}{change.id}/resolve/",
        f"{PAGE}runs/{run.id}/confirm/",
        f"{PAGE}runs/{run.id}/entries/{uuid4()}/unlink/",
    ]
    before = both.state(log)
    for url in of_one:
        values = {"keep": "harvest"}
        assert stranger.post(url, values).status_code == 404, url
        assert member.post(url, values).status_code == 403, url
        assert browser.get(url).status_code == 405, url
        assert Client().post(url).status_code == 302
    for url in (DIRECTION, f"{PAGE}push-older/", f"{HELD}retry/"):
        assert member.post(url, BOTH_WAYS).status_code == 403, url
    for url in (HELD, CONFLICTS, f"{PAGE}waiting/"):
        assert member.get(url).status_code == 200
        assert Client().get(url).status_code == 302
        assert "Acme" not in text_of(stranger.get(url))
    assert stranger.get(reverse("time-log", args=[log.id])).status_code == 404
    page = member.get(HELD).content.decode()
    assert "Acme" in page
    assert "formaction" not in page
    assert "Go on" not in text_of(member.get(f"{PAGE}runs/{run.id}/"))
    assert both.state(log) == before
    with both.studio.scope():
        Workspace.objects.update(plan="free")
    for url in (of_one[0], of_one[2], DIRECTION):
        assert browser.post(url, {**BOTH_WAYS, "keep": "harvest"}).status_code == 403, url


def queries(get: Callable[[], Any]) -> int:
    get()
    with CaptureQueriesContext(database) as caught:
        assert get().status_code == 200
    return len(caught)


def test_lists_take_as_many_queries_for_many(both: Both, browser: Client) -> None:
    (log,) = approved(both)
    few = {url: queries(partial(browser.get, url)) for url in (HELD, CONFLICTS, PAGE, "/time-logs/")}
    with both.studio.scope():
        OutboundChange.objects.filter(state="held").update(state="conflict")
    few[CONFLICTS] = queries(partial(browser.get, CONFLICTS))
    of_log = reverse("time-log", args=[log.id])
    few[of_log] = queries(partial(browser.get, of_log))
    for _ in range(60):
        both.log()
    fields = {"notes": {"timebridge": "a", "harvest": "b"}}
    with both.studio.scope():
        TimeLog.objects.update(sync_state="held", sync_detail="Why not")
        SyncEvent.objects.bulk_create(
            SyncEvent(workspace=both.studio.admin.workspace, time_log=log, deed="sent", fields={})
            for _ in range(50)
        )
        of_these = OutboundChange.objects.filter(state__in=("pending", "conflict"))
        of_these.update(state="conflict", fields=fields)
    assert queries(partial(browser.get, CONFLICTS)) == few[CONFLICTS]
    assert "Older" in text_of(browser.get(CONFLICTS))
    assert queries(partial(browser.get, of_log)) == few[of_log]
    with both.studio.scope():
        OutboundChange.objects.filter(state="conflict").update(state="held", reason="approved")
    for url in (HELD, PAGE, "/time-logs/"):
        assert queries(partial(browser.get, url)) == few[url], url
    page = browser.get(HELD)
    assert len(page.content) < 100_000
    older = page.context["page"].next
    assert "Newer" in text_of(browser.get(HELD, {"cursor": older}))
