"""Schemathesis over the whole OpenAPI document, in-process: as admin, member, stranger and nobody, and statefully.

Of every answer: no 5xx, its status, type, headers and body as the document says, and no mark of another workspace (each
has a row in every table, all texts of which carry one). Requests are made from a fixed seed, so that a failure comes
again; each finds the rows as they were. More of them:

    SCHEMATHESIS=20 .venv/bin/python -m pytest tests/security/test_schemathesis.py
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings

from accounts.models import Membership
from accounts.rest.docs import document
from config.wsgi import application
from tests.security.conftest import key_in_use
from tests.security.everything import fill, filled
from tests.security.test_crossing import OURS, THEIRS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.timeout(900)]

TIMES = int(os.environ.get("SCHEMATHESIS", "1"))
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# Requests an operation, by who sends them: who may do more is asked more.
EXAMPLES = {"admin": 8, "member": 4, "stranger": 3, "nobody": 1}
CHAINS = {"admin": 20, "member": 10, "stranger": 10, "nobody": 2}  # of up to eight requests each


def in_time(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


@cache
def schema() -> Any:
    """The document, with the application behind it; read once, as are the operations."""
    found = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))
    found.app = application
    found.location = "/api/schema/"
    return found


@cache
def operations() -> list[Any]:
    return [found.ok() for found in schema().get_all_operations()]


@cache
def machine() -> Any:
    return schema().as_state_machine()


@pytest.fixture
def _api(in_thousands: None) -> Iterator[None]:
    # As Django's own test client has it: a request's end does not close the connection that holds the test's rows.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@dataclass(frozen=True)
class Sender:
    """Who asks: with which headers, which rows are theirs, and the mark of the other workspace."""

    name: str
    headers: dict[str, str]
    rows: dict[Any, Any]
    mark: str

    def row_for(self, path: str, name: str) -> str:
        """The id of a row of theirs, of the kind that stands there in the path."""
        return filled(path, self.rows).split("/")[path.split("/").index("{" + name + "}")]


@pytest.fixture
def sender(
    request: pytest.FixtureRequest, _api: None, admin: Membership, member: Membership, stranger: Membership
) -> Sender:
    """One of EXAMPLES, each workspace having a row in every table."""
    person = {"admin": admin, "member": member, "stranger": stranger}.get(request.param)
    ours, theirs = fill(admin, OURS), fill(stranger, THEIRS)
    headers = {"Authorization": f"Bearer {key_in_use(person)}"} if person else {}
    if person is stranger:
        return Sender(request.param, headers, theirs, OURS)
    return Sender(request.param, headers, ours, THEIRS)


def look(case: Any, response: Any, mark: str) -> None:
    """Fail where an answer is what none may be. mark: of the other workspace."""
    away = response.status_code == 503 and b"harvest-unavailable" in response.content
    case.validate_response(response, checks=CHECKS if away else [*CHECKS, not_a_server_error])
    text = response.content.decode("utf-8", "replace")
    assert mark not in text or mark in str(case.as_curl_command()), f"{case.method} {case.path}: {text[:500]}"


def asking(operation: Any, sender: Sender, statuses: Counter[int]) -> Callable[[], None]:
    """Ask an operation so many times, and hold every answer to the document."""
    turns = count()

    @seed(20260601)
    @in_time(EXAMPLES[sender.name])
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if next(turns) % 2 == 0:  # rows that are there, as often as not
            for name in case.path_parameters or {}:
                case.path_parameters[name] = sender.row_for(operation.path, name)
        with transaction.atomic():
            response = case.call(headers=sender.headers)
            statuses[response.status_code] += 1
            look(case, response, sender.mark)
            transaction.set_rollback(True)

    return ask


@pytest.mark.parametrize("sender", EXAMPLES, indirect=True)
def test_every_answer_is_one_of_the_document(sender: Sender) -> None:
    statuses: Counter[int] = Counter()
    failures = []
    for operation in operations():
        try:
            asking(operation, sender, statuses)()
        except (Exception, BaseExceptionGroup) as error:  # told all at once
            failures.append(f"{operation.method.upper()} {operation.path}: {error!s:.700}")
    assert not failures, "\n\n".join(failures)
    assert statuses.total() >= len(operations()) > 100
    if sender.name == "nobody":
        assert set(statuses) <= {401, 404, 405}, statuses
    else:
        assert statuses[200] > statuses.total() / 10, statuses
        assert 401 not in statuses, statuses


@pytest.mark.parametrize("sender", CHAINS, indirect=True)
def test_chains_of_requests(sender: Sender) -> None:
    """What one answer gives (ids) is what the next one is asked with, as Schemathesis finds the links by itself.

    Where it has none to give, the id is that of a row of the sender's, whose answer then gives more.
    """
    statuses: Counter[int] = Counter()
    linked: Counter[int] = Counter()

    class Chain(machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.told, self.follows = (
                "",
                False,
            )  # what the answers said so far; whether a request takes an id of it
            self.atomic = transaction.atomic()
            self.atomic.__enter__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

        def before_call(self, case: Any) -> None:
            self.follows = False
            for name, value in (case.path_parameters or {}).items():
                if str(value) in self.told:
                    self.follows = True
                else:
                    case.path_parameters[name] = sender.row_for(case.operation.path, name)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": sender.headers}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            statuses[response.status_code] += 1
            linked[response.status_code] += self.follows
            self.told += response.content.decode("utf-8", "replace")
            look(case, response, sender.mark)

    Chain.run(
        settings=settings(
            max_examples=CHAINS[sender.name] * TIMES,
            stateful_step_count=8,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
    )
    if sender.name == "nobody":
        assert set(statuses) <= {401, 404, 405}, statuses
    else:
        assert 401 not in statuses, statuses
        assert statuses.total() > 2 * CHAINS[sender.name], statuses
        assert linked.total() > 0, f"no link was followed: {statuses}"
