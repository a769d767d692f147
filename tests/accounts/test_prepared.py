"""Questions that are prepared once a connection."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from django.db.utils import DataError
from django.test.utils import CaptureQueriesContext

from accounts.prepared import fetch

pytestmark = pytest.mark.django_db(transaction=True)


def asked(name: str, question: str, *values: Any) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The rows, and the first words of the statements that they took."""
    with CaptureQueriesContext(connection) as found:
        rows = fetch(name, question, values)
    return rows, [one["sql"].split()[0] for one in found]


def test_a_question_is_prepared_once_a_connection_and_answers_as_ever() -> None:
    question = "SELECT $1::int + $2::int, '100 %', $1::int"
    assert asked("sum", question, 1, 2) == ([(3, "100 %", 1)], ["PREPARE"])
    assert asked("sum", question, 3, 4) == ([(7, "100 %", 3)], ["EXECUTE"])
    connection.close()
    assert asked("sum", question, 5, 6) == ([(11, "100 %", 5)], ["PREPARE"])


def test_what_failed_is_asked_anew_under_another_name() -> None:
    question = "SELECT 1 / $1::int"
    for _ in range(2):  # its first attempt has left a statement behind
        with pytest.raises(DataError):
            fetch("quotient", question, [0])
    assert asked("quotient", question, 1) == ([(1,)], ["PREPARE"])
    with pytest.raises(ProgrammingError):
        fetch("wrong", "SELECT nothing_like_it", [])


def test_it_outlives_the_transaction_that_made_it() -> None:
    with transaction.atomic():
        assert fetch("one", "SELECT $1::int", [1]) == [(1,)]
        transaction.set_rollback(True)
    assert asked("one", "SELECT $1::int", 2) == ([(2,)], ["EXECUTE"])


def test_values_are_values() -> None:
    nasty = "'); DROP TABLE accounts_user; -- %s $1"
    for _ in range(2):
        assert fetch("echo", "SELECT $1::text", [nasty]) == [(nasty,)]
