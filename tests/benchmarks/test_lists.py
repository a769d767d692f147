"""Lists of time among many: one reading of the logs an answer, by an index, and the right ones."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connection
from django.test import Client

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from tests.benchmarks.lists import LOGS, PAGE_SIZE, cases, plan_of, reads_logs, statements
from tests.benchmarks.logs import CLIENTS, EVERY, PEOPLE, RARE, fill
from tests.factories import make_key
from timelogs.models import TimeLog

pytestmark = pytest.mark.django_db
WORKSPACES, EACH = 20, 1000


@pytest.fixture
def admin(db: None) -> Membership:
    """The admin of one of many workspaces with much time each."""
    return fill(WORKSPACES, EACH)[WORKSPACES // 2]


@pytest.fixture
def api(admin: Membership) -> Client:
    return Client(headers={"Authorization": f"Bearer {make_key(admin)}"})


def test_every_answer_reads_the_logs_once_and_by_an_index(admin: Membership, api: Client) -> None:
    browser = Client()
    browser.force_login(admin.user)
    browser.get("/")
    counts = set()
    for case in list(cases(api, admin, deep=EACH // PAGE_SIZE)):
        by_api = "/api/" in case.url
        said = statements(partial((api if by_api else browser).get, case.url))
        readings = [sql for sql in said if reads_logs(sql)]
        assert len(readings) == (1 if by_api else 2), (case.name, readings)  # the page has totals too
        if by_api:
            counts.add(len(said))
        for sql in readings:
            plan, scans = plan_of(admin.workspace_id, sql)
            assert not scans, (case.name, plan)
    # The key, the scope (in a test: a savepoint, and the setting before and after), the logs.
    assert counts == {7}


def test_answers_are_of_one_workspace_and_of_what_was_asked(admin: Membership, api: Client) -> None:
    with tenant_scope(admin.workspace_id):
        one = TimeLog.objects.all()[0]

    def count(query: str = "") -> int:
        found: int = api.get(f"{LOGS}summary/?{query}").json()["count"]
        return found

    assert count() == EACH
    assert count(f"client={one.client_id}") == EACH // CLIENTS
    assert count(f"owner={one.owner_id}") == EACH // PEOPLE
    assert count(f"q={RARE[:4]}") == EACH // EVERY
    seen: list[str] = []
    url = f"{LOGS}?page_size=150"
    while url:
        page = api.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == EACH


def test_a_sequential_scan_is_noticed(admin: Membership) -> None:
    with connection.cursor() as cursor:
        for way in ("indexscan", "bitmapscan", "indexonlyscan"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
    assert plan_of(admin.workspace_id, "SELECT id FROM timelogs_timelog")[1]
