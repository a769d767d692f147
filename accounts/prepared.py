"""Questions that nearly every answer asks, prepared once a connection: to read and plan one takes about as long as the
answer.

Django and psycopg prepare nothing here. A prepared statement belongs to its connection, so whatever stands between here
and PostgreSQL must not share one out statement by statement. After a few uses its plan is made for any values: this is
for questions that are answered in the same way whatever they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection

# Of each of psycopg's connections: what is asked -> the name of its statement.
_prepared: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()
_numbers = count()


def fetch(name: str, question: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows that answer the question, which has $1, $2… for the values, and is always the same under this name.

    A statement's own name is used once: an attempt that failed may have left its own behind.
    """
    known = _prepared.setdefault(connection.connection, {}) if connection.connection is not None else {}
    marks = ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        if (statement := known.get(name)) is not None:
            cursor.execute(f"EXECUTE {statement} ({marks})", values)
            return cursor.fetchall()
        statement = f"{name}_{next(_numbers)}"
        text = question.replace("%", "%%")
        cursor.execute(f"PREPARE {statement} AS {text}; EXECUTE {statement} ({marks})", values)
        cursor.nextset()
        _prepared.setdefault(connection.connection, {})[name] = statement
        return cursor.fetchall()
