"""Many rows at once: COPY into a temporary table, then INSERT … SELECT.

COPY straight into a table with row-level security is refused, and `bulk_create` is several times slower. Everything
happens on the connection and in the transaction of the caller, inside a tenant scope.

The temporary tables stay with the connection (making them anew costs as much as thousands of rows) and are emptied by
every commit: nothing of one transaction is there in the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


_ODD = re.compile(r'[\x00-\x1f"\\]')


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


def plain(text: str) -> bool:
    """Whether a text may stand in COPY's format, and between the quotes of JSON, as it is."""
    return _ODD.search(text) is None


def escaped(text: str) -> str:
    """A text as COPY's format wants it."""
    return text.translate(_ESCAPES)


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


@dataclass(frozen=True, slots=True)
class Staging:
    """A temporary table that rows are copied into once, and from which several tables then take theirs.

    Made for many rows that share most of what they hold: what is the same in all of them is no column but a parameter
    of `into`. columns: name -> type, in the order of the lines. All of it is our own text, never a client's.
    """

    name: str
    columns: Mapping[str, str]

    def fill(self, content: bytes | bytearray) -> None:
        """content: lines in COPY's text format, NULL for null. Replaces what is there. Raises DataError."""
        names = ", ".join(self.columns)
        types = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.name} ({types}) ON COMMIT DELETE ROWS"
            )
            cursor.execute(f"DELETE FROM {self.name}")  # noqa: S608 - own names
            load = sql.SQL(f"COPY {self.name} ({names}) FROM STDIN (NULL {{}})").format(sql.Literal(NULL))
            with connection.wrap_database_errors, cursor.copy(load) as copy:
                copy.write(content)

    def into(
        self,
        model: type[models.Model],
        values: Mapping[str, str],
        parameters: Mapping[str, Any],
        *,
        where: str = "true",
        skip_conflicts: Sequence[str] = (),
    ) -> int:
        """Insert into a model's table; returns how many rows went in. Raises IntegrityError, DataError.

        values: column -> SQL expression over the staged columns and `parameters`, as "%(name)s".
        skip_conflicts: the columns of a unique constraint; rows that it refuses are left out.
        """
        columns = ", ".join(values)
        statement = (
            f"INSERT INTO {model._meta.db_table} ({columns})"  # noqa: S608 - own names
            f" SELECT {', '.join(values.values())} FROM {self.name} WHERE {where}"
        )
        if skip_conflicts:
            statement += f" ON CONFLICT ({', '.join(skip_conflicts)}) DO NOTHING"
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.rowcount
