"""Asking the database's own functions: each answers in one round trip what would take several statements and a span.

Such a function (`accounts_api_key_holder`, `accounts_places`, `accounts_session`: migrations 0005, 0006 and 0010)
returns rows of tables side by side, `RETURNS TABLE (key accounts_apikey, person accounts_user)`. These are whole rows:
a column that a table is given later is in its answers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from django.db import OperationalError, connection
from django.db.models import Model

from accounts.prepared import fetch

Parts = tuple[tuple[str, type[Model]], ...]


def ask(function: str, parts: Parts, *values: Any) -> list[list[Any]]:
    """Rows of the function's answer to the values. Each is a list of objects, one a part, in the parts' order; None for
    a part without a row.

    parts: the names of the function's columns, and of what models these are rows.
    """
    kept: Any = connection  # its types know nothing of health checks
    if (
        kept.connection is None
        or kept.in_atomic_block
        or kept.health_check_done
        or not kept.health_check_enabled
    ):
        answer = _answer(function, parts, values)
    else:
        # The first question of a request is itself the look whether a kept connection is still good; Django would have
        # taken a round trip of its own for that.
        kept.health_check_done = True
        try:
            answer = _answer(function, parts, values)
        except OperationalError:
            kept.close()
            answer = _answer(function, parts, values)
    return [_objects(parts, iter(row)) for row in answer]


def _answer(function: str, parts: Parts, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """To read its sixty columns would take a third of what such an answer takes."""
    return fetch(function, _question(function, parts, len(values)), values)


@cache
def _question(function: str, parts: Parts, values: int) -> str:
    columns = ", ".join(
        f'(answer.{name})."{field.column}"' for name, model in parts for field in model._meta.concrete_fields
    )
    return f"SELECT {columns} FROM {function}({', '.join(f'${n + 1}' for n in range(values))}) AS answer"  # noqa: S608 - own names


def _objects(parts: Parts, values: Iterator[Any]) -> list[Any]:
    return [_object(model, list(islice(values, len(model._meta.concrete_fields)))) for _, model in parts]


def _object(model: type[Model], values: list[Any]) -> Model | None:
    if all(value is None for value in values):
        return None
    return model.from_db(connection.alias, _names(model), values)


@cache
def _names(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]
