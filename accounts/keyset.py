"""Keyset pages: where a list goes on is a position in its order, not a number of rows to skip.

A page deep in a list costs what the first one costs, and rows that come or go meanwhile neither repeat nor
hide others. The order must be total (end it with the id), go one way in all its fields, and hold no nulls.
PostgreSQL compares a position as one row value, `(spent_date, id) < (…)`, which an index on those answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

from django.core.signing import BadSignature, Signer
from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

from accounts.errors import Invalid

Row = TypeVar("Row")
ModelRow = TypeVar("ModelRow", bound=Model)

AFTER, BEFORE = "after", "before"
# Signed, so that nothing comes back but what was given out: no value of a cursor needs a check of its own.
_signer = Signer(salt="accounts.keyset", sep=".")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows in the list's order, and the cursors of the pages around them (None where there is none)."""

    rows: list[Row]
    next: str | None
    previous: str | None


def encode(row: Any, order: Sequence[str], side: str) -> str:
    """The opaque cursor of the page after, or before, a row."""
    values = [_value(row, name.removeprefix("-")) for name in order]
    texts = [value.isoformat() if isinstance(value, date) else str(value) for value in values]
    return _signer.sign_object([side, ",".join(order), *texts])


def decode(cursor: str, order: Sequence[str]) -> tuple[str, list[str]]:
    """Which side of which position (as texts) a cursor means. Raises Invalid for one of another order."""
    try:
        side, made_for, *texts = _signer.unsign_object(cursor)
    except (BadSignature, ValueError):
        side = made_for = ""
    if made_for != ",".join(order):
        raise Invalid({"cursor": ["This cursor is not one of this list. Begin at its first page."]})
    return side, texts


def page(
    rows: QuerySet[ModelRow], *, order: Sequence[str], cursor: str | None = None, size: int = 50
) -> Page[ModelRow]:
    """One page of `rows`, in one query.

    order: names of fields or annotations, all rising or all falling ("-spent_date", "-id"). A page before
    the first row is the first page. Raises Invalid for a cursor that is not of this order.
    """
    names = [name.removeprefix("-") for name in order]

    def fetch(position: Sequence[Any], falling: bool, limit: int) -> list[ModelRow]:
        found = rows
        if position:
            compare = TupleLessThan if falling else TupleGreaterThan
            found = rows.filter(compare(Tuple(*map(F, names)), tuple(position)))
        return list(found.order_by(*(f"-{name}" if falling else name for name in names))[:limit])

    def read(texts: Sequence[str]) -> list[Any]:
        return [_field(rows, name).to_python(text) for name, text in zip(names, texts, strict=True)]

    return page_by(fetch, read, order=order, cursor=cursor, size=size)


def page_by(
    fetch: Callable[[Sequence[Any], bool, int], list[Row]],
    read: Callable[[Sequence[str]], Sequence[Any]],
    *,
    order: Sequence[str],
    cursor: str | None = None,
    size: int = 50,
) -> Page[Row]:
    """One page of the rows that `fetch` gives, asked for once; for a page before the first row, twice.

    fetch: (position, falling, limit): rows beyond the position, or from the end on where it is empty, in falling or
    rising order, as many as the limit. read: a position of the texts that a cursor holds. Else as `page`.
    """
    falls = order[0].startswith("-")
    if any(name.startswith("-") != falls for name in order):
        raise ValueError("A keyset's order goes one way in all its fields.")
    side, texts = decode(cursor, order) if cursor else (AFTER, [])
    position = read(texts) if texts else ()
    if side == AFTER:
        found = fetch(position, falls, size + 1)
        kept, more_after, more_before = found[:size], len(found) > size, bool(texts)
    else:
        found = fetch(position, not falls, size + 1)
        if not found:
            return page_by(fetch, read, order=order, size=size)
        kept, more_after, more_before = found[:size][::-1], True, len(found) > size
    return Page(
        rows=kept,
        next=encode(kept[-1], order, AFTER) if kept and more_after else None,
        previous=encode(kept[0], order, BEFORE) if kept and more_before else None,
    )


def _value(row: Any, name: str) -> Any:
    """What a row, or a dict of values, holds under a name; a row also through its relations: client__name."""
    if isinstance(row, dict):
        return row[name]
    for part in name.split("__"):
        row = getattr(row, part)
    return row


def _field(rows: QuerySet[Any], name: str) -> Any:
    """The field that reads a name's values: an annotation's, or the model's, through its relations."""
    if name in rows.query.annotations:
        return rows.query.annotations[name].output_field
    field: Any = None
    model: Any = rows.model
    for part in name.split("__"):
        field = model._meta.get_field(part)
        model = field.related_model
    return field
