"""Empties the database after each test of whole transactions: quickly, where the session has a server of its own.

Django truncates every table, by which PostgreSQL makes and removes some six hundred files, and then makes content
types and permissions anew: half a second a test. Here the rows are deleted instead, by a connection of the server's
superuser: it sees every row, and no trigger and no foreign key has a say. The application's role sees none outside a
workspace. Where DATABASE_URL was given there is no superuser, and Django's way stays.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from django.test import TransactionTestCase
from psycopg import sql

from dev.pytest_services import superuser_url

# A table without a page has never had a row. The lock waits for whoever is still writing, as TRUNCATE would.
DELETE = """
DO $$
DECLARE one regclass;
BEGIN
    FOR one IN
        SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
            AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', one);
        EXECUTE format('DELETE FROM %s', one);
    END LOOP;
END $$
"""
emptying_key = pytest.StashKey["Emptying"]()
OTHERS = """
SELECT pid, backend_type, application_name, client_port, backend_start, state, left(query, 200)
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


class Emptying:
    """What leaves the database as the migrations made it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(
            url, autocommit=True, options="-c session_replication_role=replica -c lock_timeout=60s"
        )
        self._made = self.rows()

    def rows(self) -> dict[str, int]:
        """How many rows each table has, over all workspaces; tables without any left out."""
        count = sql.SQL("SELECT {}, count(*) FROM {}")
        counts = [
            count.format(name, sql.Identifier(name)) for (name,) in self.connection.execute(TABLES).fetchall()
        ]
        found = self.connection.execute(sql.SQL(" UNION ALL ").join(counts)).fetchall()
        return {name: count for name, count in found if count}

    def end_others(self, *, seconds: float = 5.0) -> list[str]:
        """End whoever is still connected, this process aside, after they had some seconds to go; who they were.

        A backend whose client was killed goes on until its statement ends, and the database could not be dropped.
        """
        until = time.monotonic() + seconds
        while (others := self.connection.execute(OTHERS).fetchall()) and time.monotonic() < until:
            time.sleep(0.1)
        for pid, *_ in others:
            self.connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return [" ".join(map(str, one)) for one in others]

    def empty(self) -> None:
        """Delete what was committed since. Fails where a test changed what the migrations wrote, or rows appear."""
        self.connection.execute(DELETE)
        assert self.rows() == self._made, "a test left rows behind, or took away what the migrations made"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the tests of this session empty its database so."""
    if (url := superuser_url(request.config)) is None:
        yield
        return
    name = str(connection.settings_dict["NAME"])
    emptying = Emptying(urlsplit(url)._replace(path=f"/{name}").geturl())
    request.config.stash[emptying_key] = emptying
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: emptying.empty())
        yield
    connection.close()
    for other in emptying.end_others():
        print(f"\nstill connected to {name}, and ended: {other}", file=sys.__stderr__, flush=True)
    emptying.connection.close()


@pytest.fixture
def emptying(transactional_db: None, request: pytest.FixtureRequest) -> Emptying:
    """How this session's database is emptied."""
    if (found := request.config.stash.get(emptying_key, None)) is None:
        pytest.skip("DATABASE_URL was given: the database is emptied by Django")
    return found
