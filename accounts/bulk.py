"""Many rows at once: COPY into a temporary table, then INSERT … SELECT.

COPY straight into a table with row-level security is refused, and `bulk_create` is several times slower. Everything
happens on the connection and in the transaction of the caller, inside a tenant scope.

The temporary tables stay with the connection (making them anew costs as much as thousands of rows) and are emptied by
every commit: nothing of one transaction is there in the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

from django.db import connection, models
from psycopg import sql


class AnyOf(models.Lookup):
    """`field__anyof=[...]`: `field = ANY(array)`, one parameter however many values; `__in` takes one for each."""

    lookup_name = "anyof"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", [*params, list(self.rhs)]


models.CharField.register_lookup(AnyOf)
models.UUIDField.register_lookup(AnyOf)


# How COPY's text format is written here. A null is a control character that no text of ours begins with, so that a line
# without surprises needs no escaping at all: telling that costs a few scans of the line, not a look at every field.
NULL = "\x02"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", NULL: r"\2"})


@lru_cache(maxsize=16_384, typed=True)  # typed: True, 1 and Decimal(1) are equal
def _rendered(value: Any) -> str:
    """Ids, dates, numbers and flags repeat from row to row."""
    if value is True:
        return "t"
    return "f" if value is False else str(value)


def _line(row: Sequence[Any]) -> str:
    fields = [value if type(value) is str else NULL if value is None else _rendered(value) for value in row]
    line = "\t".join(fields)
    if (
        line.count("\t") == len(fields) - 1
        and line.count(NULL) == row.count(None)
        and "\\" not in line
        and "\n" not in line
        and "\r" not in line
    ):
        return line
    return "\t".join(
        NULL if value is None else field.translate(_ESCAPES) for value, field in zip(row, fields, strict=True)
    )


def render_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows in COPY's text format, for `copy_rows`; b"" for none. What costs processor time, apart from the database.

    rows: tuples of str, UUID, int, Decimal, date, aware datetime, bool or None; JSON as text.
    """
    lines = [_line(row) for row in rows]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def copy_rows(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]] | bytes,
    *,
    skip_conflicts: bool | Sequence[str] = False,
    returning: str | None = None,
) -> list[Any]:
    """Insert rows of the given columns (database column names, every one without a default of the database).

    rows: as `render_rows` takes them, or what it made of them. skip_conflicts: leave out rows that a unique constraint
    refuses: any, or the one over these columns, which costs less. returning: a column whose values, of the rows that
    went in, are returned; else []. Raises IntegrityError, DataError as any insert does; the
    transaction is then broken, so callers that mean to go on open a savepoint first.
    """
    content = rows if isinstance(rows, bytes) else render_rows(rows)
    if not content:
        return []
    table = sql.Identifier(model._meta.db_table)
    # Of these columns: a name of 63 bytes at most that is theirs alone.
    staging = sql.Identifier(
        f"bulk_{model._meta.db_table}"[:52] + f"_{crc32(','.join(columns).encode()):08x}"
    )
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
            ).format(staging, names, table)
        )
        # What this same transaction put there before; as a rule nothing.
        cursor.execute(sql.SQL("DELETE FROM {}").format(staging))
        load = sql.SQL("COPY {} ({}) FROM STDIN (NULL {})").format(staging, names, sql.Literal(NULL))
        with connection.wrap_database_errors, cursor.copy(load) as copy:
            copy.write(content)
        insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(table, names, names, staging)
        if skip_conflicts is True:
            insert += sql.SQL(" ON CONFLICT DO NOTHING")
        elif skip_conflicts:
            unique = sql.SQL(", ").join(map(sql.Identifier, skip_conflicts))
            insert += sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(unique)
        if returning:
            insert += sql.SQL(" RETURNING {}").format(sql.Identifier(returning))
        cursor.execute(insert)
        return [row[0] for row in cursor.fetchall()] if returning else []
