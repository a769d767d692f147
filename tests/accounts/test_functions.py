"""Asking the database's functions: on a connection that was kept, good or gone."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection

from accounts.models import Membership
from accounts.selectors import memberships_of
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def as_a_request_begins() -> None:
    """As `close_old_connections` leaves a connection that it keeps."""
    kept: Any = connection
    kept.health_check_enabled, kept.health_check_done = True, False


def test_kept_connection_that_is_good_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    admin: Membership = make_workspace()
    kept = backend()
    as_a_request_begins()

    def refuse() -> bool:
        raise AssertionError("one round trip too many")

    monkeypatch.setattr(connection, "is_usable", refuse)
    assert memberships_of(admin.user) == [admin]
    assert backend() == kept


def test_kept_connection_that_is_gone_is_made_anew() -> None:
    admin: Membership = make_workspace()
    gone = backend()
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    as_a_request_begins()
    assert memberships_of(admin.user) == [admin]
    assert backend() != gone


def test_connection_that_fails_amid_a_request_stays_an_error() -> None:
    admin: Membership = make_workspace()
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    kept: Any = connection
    kept.health_check_done = True
    with pytest.raises(OperationalError):
        memberships_of(admin.user)
    connection.close()
