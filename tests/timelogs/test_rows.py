"""The rows of the page's list, which no template writes: what they say, to whom, and that they are text."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from html import escape, unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from tests.factories import make_activity_type, make_client, make_project, make_time_log, make_work_item
from timelogs.models import TimeLog, WorkItem

pytestmark = pytest.mark.django_db
NASTY = "<img src=x onerror=alert(1)>&\"'{{ 7|add:7 }}"


def listed(person: Membership, **headers: str) -> dict[str, str]:
    """The rows of the page's list, by the notes below the place."""
    browser = Browser()
    browser.force_login(person.user)
    page = browser.get("/time-logs/", headers=headers).content.decode()
    body = re.search(r"<tbody data-rows.*?</tbody>", page, re.DOTALL)
    assert body is not None
    rows: list[str] = re.findall(r"<tr>.*?</tr>", body[0], re.DOTALL)
    return {unescape(row.split('<span class="under">')[1].split("</span>")[0]): row for row in rows}


def cells(row: str) -> list[str]:
    """The words of each cell."""
    texts = re.findall(r"<td[^>]*>(.*?)</td>", row)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for text in texts]


def change(log: TimeLog, **values: Any) -> None:
    with tenant_scope(log.workspace_id):
        TimeLog.objects.filter(id=log.id).update(**values)


def test_list_of_those_in_one_state_of_sync(admin: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    for state in ("held", "synced"):
        change(make_time_log(admin, client, notes=state), sync_state=state)
    browser = Browser()
    browser.force_login(admin.user)
    page = browser.get("/time-logs/", {"sync_state": "held"}).content.decode()
    assert "synced" not in re.findall(r'<span class="under">(\w+)', page)
    assert "held" in re.findall(r'<span class="under">(\w+)', page)
    assert re.search(r'<option value="?held"? selected', page)


def test_row_says_what_the_log_is(admin: Membership, member: Membership) -> None:
    client = make_client(admin.workspace, "Acme")
    project = make_project(client, "Website")
    make_time_log(
        member,
        client,
        project=project,
        work_item=make_work_item(client, project=project, key="ACME-7"),
        activity_type=make_activity_type(admin.workspace, "Design", "99.50"),
        seconds=4001,
        on=date(2020, 3, 2),
        notes="full",
    )
    bare = make_time_log(admin, client, seconds=0, billable=False, on=date(2020, 3, 1), notes="bare")
    change(bare, source="harvest", external_id="1")
    rows = listed(admin)
    assert cells(rows["full"]) == [
        "Mon 2 Mar 2020",
        "ACME-7 Acme / Website full",
        "Design Mel Member",
        "1 h 07 m",
        "USD 110.58",
        "Edit Delete",
    ]
    assert cells(rows["bare"]) == [
        "Sun 1 Mar 2020",
        "Acme bare",
        "Ada Admin, Harvest",
        "0 m",
        "not billable",
        "Edit Delete",
    ]
    assert f'href="/time-logs/{bare.id}/edit/"' in rows["bare"]
    assert f'formaction="/time-logs/{bare.id}/delete/"' in rows["bare"]


def test_row_offers_what_its_reader_may_do(admin: Membership, member: Membership) -> None:
    client = make_client(admin.workspace)
    make_time_log(admin, client, notes="theirs")
    make_time_log(member, client, notes="own")
    change(make_time_log(member, client, notes="settled"), settled_at=datetime(2026, 6, 1, tzinfo=UTC))
    for state in ("held", "conflict", "differs", "pending"):
        change(
            make_time_log(member, client, notes=state), sync_state=state, sync_detail=f"Because of {NASTY}"
        )
    rows = {name: cells(row)[-1] for name, row in listed(member).items()}
    assert rows == {
        "theirs": "",
        "own": "Edit Delete",
        "settled": "Settled",
        "held": "Held Edit Delete",
        "conflict": "Conflict Edit Delete",
        "differs": "Differs in Harvest Edit Delete",
        "pending": "Waiting to be pushed Edit Delete",
    }
    assert f'<span class="under why">{escape(f"Held: Because of {NASTY}")}</span>' in listed(admin)["held"]
    assert "Because of" not in listed(admin)["pending"]
    assert cells(listed(admin)["theirs"])[-1] == "Edit Delete"


def test_what_people_wrote_is_text(admin: Membership) -> None:
    client = make_client(admin.workspace, f"client {NASTY}")
    project = make_project(client, f"project {NASTY}")
    with tenant_scope(admin.workspace_id):
        admin.user.name = f"person {NASTY}"
        admin.user.save()
    item = make_work_item(client, project=project)
    with tenant_scope(admin.workspace_id):
        WorkItem.objects.filter(id=item.id).update(key=NASTY[:40])
    make_time_log(
        admin,
        client,
        project=project,
        work_item=item,
        activity_type=make_activity_type(admin.workspace, f"type {NASTY}"),
        notes=f"notes {NASTY}",
    )
    long = make_time_log(admin, client, notes=f"{NASTY} " * 200)
    row = listed(admin)[f"notes {NASTY}"]
    assert "<img" not in row
    assert escape(NASTY[:40]) in row
    for what in ("client", "project", "person", "type", "notes"):
        assert escape(f"{what} {NASTY}") in row
    cut = next(notes for notes in listed(admin) if notes.endswith("…"))
    assert len(cut) == 140
    assert long.notes.startswith(cut[:-1])


def test_row_alone_is_the_row_of_the_list(admin: Membership) -> None:
    log = make_time_log(admin, make_client(admin.workspace), notes="one")
    browser = Browser()
    browser.force_login(admin.user)
    alone = browser.get(f"/time-logs/{log.id}/", headers={"HX-Request": "true"}).content.decode().strip()
    assert alone.replace(" autofocus", "", 1) == listed(admin)["one"]


def test_page_asks_as_much_for_many_logs_as_for_one(admin: Membership) -> None:
    client = make_client(admin.workspace)
    browser = Browser()
    browser.force_login(admin.user)
    counts = []
    for more in (1, 59):
        for number in range(more):
            make_time_log(admin, client, notes=f"{more} {number}")
        with CaptureQueriesContext(connection) as said:
            assert browser.get("/time-logs/").status_code == 200
        counts.append(len(said))
    assert counts[0] == counts[1] <= 20, counts
