"""How fast lists of time are among many: the API, its totals and the page, against bare SQL for the same rows.

.venv/bin/python -m tests.benchmarks.lists [LOGS [WORKSPACES]]

All by turns, the best of many rounds of each: whatever else the machine does falls on all. Bare SQL is one statement
written by hand, in an open transaction, its rows fetched into Python; the product is asked as a web server asks it
(`config.wsgi`): its answer begins with an API key, or a session, and ends with bytes. What any answer costs is that of
`me/`, which reads nothing more: the second ratio leaves it out. CPU is the processor time that the answer takes in
Python, without PostgreSQL's. `database` is the time that the driver spends on all statements of the answer, from the
key or session to COMMIT: sending each, waiting, receiving; its ratio is to the same of the bare SQL. Then the queries
of an answer, and its plans, where a sequential scan is called out, of the time logs or of the totals kept of them. The
page shows a list and totals, and bare SQL is both for it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

from tests.benchmarks.setting import servers

ROUNDS = 60
LOGS = "/api/v1/time-logs/"
TABLES = ("timelogs_timelog", "timelogs_monthtotal")
PAGE_SIZE = 100  # of the API; the page has 50


@dataclass(frozen=True)
class Case:
    """An address, and by hand what it asks of the time logs `t`: columns, conditions, how many rows."""

    name: str
    url: str
    where: str = ""
    values: tuple[Any, ...] = ()
    limit: int | None = PAGE_SIZE + 1  # None: totals
    totals: bool = False  # the list's totals too


LIST = """
SELECT t.*, u.email FROM timelogs_timelog t JOIN accounts_user u ON u.id = t.owner_id
WHERE t.workspace_id = %s AND t.deleted_at IS NULL {where} ORDER BY t.spent_date DESC, t.id DESC LIMIT {limit}
"""
SUMMARY = """
SELECT count(*), sum(seconds), sum(seconds) FILTER (WHERE billable),
    sum(seconds * hourly_rate) FILTER (WHERE billable)
FROM timelogs_timelog t WHERE t.workspace_id = %s AND t.deleted_at IS NULL {where}
"""


def bare(case: Case) -> list[str]:
    texts = [LIST] * bool(case.limit) + [SUMMARY] * (case.totals or not case.limit)
    return [text.format(where=f"AND {case.where}" if case.where else "", limit=case.limit) for text in texts]


def page_url(client: Any, url: str, number: int) -> str:
    """The address of a page, found by following `next` from the first."""
    for _ in range(number - 1):
        url = client.get(url).json()["next"]
    return url


def cases(client: Any, admin: Any, *, deep: int) -> Iterator[Case]:
    """What is asked of one workspace's time. deep: the number of a page far from the first."""
    from datetime import timedelta

    from accounts.tenancy import tenant_scope
    from tests.benchmarks.logs import RARE
    from timelogs.models import TimeLog

    today = admin.workspace.today()
    first, last = today - timedelta(days=60), today
    with tenant_scope(admin.workspace_id):
        one = TimeLog.objects.exclude(project=None)[0]
    words = "t.notes ~* %s"
    span = "t.spent_date BETWEEN %s AND %s"
    yield Case("first page", LOGS)
    before = client.get(page_url(client, LOGS, deep - 1)).json()
    last_row = before["results"][-1]
    yield Case(
        f"page {deep}",
        before["next"],
        "(t.spent_date, t.id) < (%s, %s)",
        (last_row["spent_date"], last_row["id"]),
    )
    yield Case("of a client", f"{LOGS}?client={one.client_id}", "t.client_id = %s", (one.client_id,))
    yield Case("of a project", f"{LOGS}?project={one.project_id}", "t.project_id = %s", (one.project_id,))
    yield Case("of a person", f"{LOGS}?owner={one.owner_id}", "t.owner_id = %s", (one.owner_id,))
    yield Case("from, to", f"{LOGS}?from={first}&to={last}", span, (first, last))
    yield Case("q, a common word", f"{LOGS}?q=invoice", words, (r"\minvoice",))
    yield Case("q, a rare word", f"{LOGS}?q={RARE[:4]}", words, (rf"\m{RARE[:4]}",))
    yield Case("summary", f"{LOGS}summary/", limit=None)
    yield Case("summary: from, to", f"{LOGS}summary/?from={first}&to={last}", span, (first, last), None)
    yield Case(
        "summary: client",
        f"{LOGS}summary/?client={one.client_id}",
        "t.client_id = %s",
        (one.client_id,),
        None,
    )
    yield Case(
        "summary: person",
        f"{LOGS}summary/?owner={one.owner_id}",
        "t.owner_id = %s",
        (one.owner_id,),
        None,
    )
    yield Case("the page", "/time-logs/", limit=51, totals=True)
    yield Case(
        "the page: from, to",
        f"/time-logs/?from={first}&to={last}",
        span,
        (first, last),
        limit=51,
        totals=True,
    )


def served(**headers: str) -> Callable[[str], bytes]:
    """Asks the product for an address as a web server does: a WSGI environment in, the answer's bytes out."""
    from config.wsgi import application

    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}

    def get(url: str) -> bytes:
        parts = urlsplit(url)
        environ: dict[str, Any] = {"PATH_INFO": parts.path, "QUERY_STRING": parts.query, **given}
        setup_testing_defaults(environ)
        statuses: list[str] = []

        def start(status: str, fields: Any, error: Any = None, /) -> Callable[[bytes], object]:
            statuses.append(status)
            return bytes

        answer = application(environ, start)
        body = b"".join(answer)
        answer.close()
        assert statuses == ["200 OK"], (statuses, body[:300])
        return body

    return get


class Driver:
    """Adds up the seconds that psycopg spends on statements: all of them go through `Connection.wait`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        from psycopg import Connection

        plain: Any = Connection.wait

        def wait(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        Connection.wait = wait  # type: ignore[method-assign]
        try:
            yield
        finally:
            Connection.wait = plain  # type: ignore[method-assign]


def timed(work: Callable[[], Any], driver: Driver) -> tuple[float, float, float]:
    """Seconds of the clock, of this process's processor, and of the driver."""
    began, began_cpu, before = time.perf_counter(), time.process_time(), driver.seconds
    work()
    return time.perf_counter() - began, time.process_time() - began_cpu, driver.seconds - before


def statements(ask: Callable[[], Any]) -> list[str]:
    """The SQL that an answer takes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as found:
        answer = ask()
    assert answer.status_code == 200, answer.content[:300]
    return [one["sql"] for one in found]


def plan_of(workspace_id: Any, sql: str) -> tuple[str, bool]:
    """A statement's plan in a line, from the top, and whether it scans all time logs one by one."""
    from django.db import connection

    from accounts.tenancy import tenant_scope

    sql = re.sub(r"^PREPARE .*; (?=EXECUTE )", "", sql, flags=re.DOTALL)  # it is by now
    with tenant_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql.replace("%", "%%"))
        row = cursor.fetchone()
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    nodes = list(_nodes(found[0]["Plan"]))
    texts = [one["Node Type"] + (f" {place}" if (place := _place(one)) else "") for one in nodes]
    return " > ".join(texts), any(
        one["Node Type"] == "Seq Scan" and one["Relation Name"] in TABLES for one in nodes
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _place(node: dict[str, Any]) -> str:
    name: str = node.get("Index Name") or node.get("Relation Name") or ""
    return re.sub(r"^timelogs_timelog_", "…", name)


def reads_logs(sql: str) -> bool:
    """Whether it reads time logs, or the totals that are kept of them."""
    return bool(re.search(rf'FROM "?({"|".join(TABLES)})\b|EXECUTE timelogs_(newest|totals)', sql))


def measure(api: Any, browser: Any, admin: Any, *, key: str, deep: int) -> None:
    from django.db import connection

    from accounts.tenancy import tenant_scope

    by_key = served(authorization=f"Bearer {key}")
    browser.get("/")  # whose answer sets the cookie against forged requests, which browsers send from then on
    by_session = served(cookie="; ".join(f"{name}={one.value}" for name, one in browser.cookies.items()))
    shortest = partial(by_key, "/api/v1/me/")
    driver = Driver()
    print(
        f"{'':20}{'product':>10}{'CPU':>10}{'me/':>11}{'bare SQL':>11}{'ratio':>8}{'beyond me/':>11}"
        f"{'database':>12}{'bare SQL':>11}{'ratio':>8}{'queries':>9}"
    )
    for case in list(cases(api, admin, deep=deep)):
        by_api = "/api/" in case.url
        said = statements(partial((api if by_api else browser).get, case.url))
        ask = partial(by_key if by_api else by_session, case.url)

        def sql(case: Case = case) -> None:
            with connection.cursor() as cursor:
                for text in bare(case):
                    cursor.execute(text, (admin.workspace_id, *case.values))
                    cursor.fetchall()

        rounds = []
        with driver.watched():
            for _ in range(ROUNDS):
                whole, floor = timed(ask, driver), timed(shortest, driver)
                with tenant_scope(admin.workspace_id):
                    by_hand = timed(sql, driver)
                rounds.append((*whole, floor[0], by_hand[0], by_hand[2]))
        best = (min(times) * 1000 for times in zip(*rounds, strict=True))
        product, cpu, database, floor_ms, least, least_database = best
        print(
            f"{case.name:20}{product:7.1f} ms{cpu:7.1f} ms{floor_ms:8.1f} ms{least:8.1f} ms{product / least:8.1f}"
            f"{(product - floor_ms) / least:11.1f}{database:9.2f} ms{least_database:8.2f} ms"
            f"{database / least_database:8.1f}{len(said):9}"
        )
        for one in filter(reads_logs, said):
            plan, scans = plan_of(admin.workspace_id, one)
            print(f"    {plan}{'   <-- SEQUENTIAL SCAN' if scans else ''}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    workspaces = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with servers():
        from allauth.usersessions.models import UserSession
        from django.conf import settings
        from django.db import connection
        from django.test import Client

        from accounts.api_keys import make_api_key
        from accounts.tenancy import tenant_scope
        from tests.benchmarks.logs import fill

        settings.WHITENOISE_AUTOREFRESH = False  # as in production: else each request looks for a file first
        began = time.perf_counter()
        admin = fill(workspaces, count // workspaces)[workspaces // 2]
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")  # as PostgreSQL does by itself, after a while
        print(f"{count:,} time logs in {workspaces} workspaces, made in {time.perf_counter() - began:.0f} s")
        with tenant_scope(admin.workspace_id):
            key = make_api_key(workspace=admin.workspace, user=admin.user, name="Bench")[1]
        browser = Client()
        browser.force_login(admin.user)
        api = Client(headers={"Authorization": f"Bearer {key}"})
        session = browser.cookies[settings.SESSION_COOKIE_NAME].value
        # As signing in writes it down.
        UserSession.objects.create(user=admin.user, session_key=session, ip="203.0.113.7", user_agent="Bench")
        deep = min(40, count // workspaces // PAGE_SIZE)
        measure(api, browser, admin, key=key, deep=deep)


if __name__ == "__main__":
    main()
