"""The servers that development and tests run on."""

from __future__ import annotations

import os

import psycopg


def test_application_role_is_not_exempt_from_anything() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, False)
