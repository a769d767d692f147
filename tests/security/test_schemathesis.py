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
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings

from accounts.models import Membership
from accounts.rest.docs import document
from config.wsgi import application
from tests.factories import make_key
from tests.security.everything import fill
from tests.security.test_crossing import ASKS_HARVEST, OURS, THEIRS, kinds

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


def in_time(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def api(settings: Any, tmp_path: Any) -> Iterator[Any]:
    """The document, with the application behind it."""
    settings.HARVEST_API_URL = settings.HARVEST_ID_URL = "http://127.0.0.1:9"
    settings.WHITENOISE_AUTOREFRESH, settings.STATIC_ROOT = False, str(tmp_path)
    # As Django's own test client has it: a request's end does not close the connection that holds the test's rows.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))
    schema.app = application
    schema.location = "/api/schema/"
    yield schema
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.fixture
def marked(admin: Membership, stranger: Membership) -> dict[str, str]:
    """Rows in both workspaces; ours by kind."""
    fill(stranger, THEIRS)
    return kinds(fill(admin, OURS))


def look(case: Any, response: Any, mark: str) -> None:
    """Fail where an answer is what none may be. mark: of the other workspace."""
    away = response.status_code == 503 and b"harvest-unavailable" in response.content
    case.validate_response(response, checks=CHECKS if away else [*CHECKS, not_a_server_error])
    text = response.content.decode("utf-8", "replace")
    assert mark not in text or mark in str(case.as_curl_command()), f"{case.method} {case.path}: {text[:500]}"


def operations(api: Any) -> Iterator[Any]:
    for found in api.get_all_operations():
        yield found.ok()


def asking(
    operation: Any, examples: int, headers: dict[str, str], ids: list[str], mark: str, statuses: Counter[int]
) -> Callable[[], None]:
    """Ask an operation so many times, and hold every answer to the document."""

    @seed(20260601)
    @in_time(examples)
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if "id" in (case.path_parameters or {}) and len(str(case.body)) % 2 == 0:
            case.path_parameters["id"] = ids[0]  # a row that is there, as often as not
        with transaction.atomic():
            response = case.call(headers=headers)
            statuses[response.status_code] += 1
            look(case, response, mark)
            transaction.set_rollback(True)

    return ask


@pytest.mark.parametrize("who", EXAMPLES)
def test_every_answer_is_one_of_the_document(
    who: str, api: Any, marked: dict[str, str], admin: Membership, member: Membership, stranger: Membership
) -> None:
    person = {"admin": admin, "member": member, "stranger": stranger}.get(who)
    headers = {"Authorization": f"Bearer {make_key(person)}"} if person else {}
    mark = OURS if who == "stranger" else THEIRS
    statuses: Counter[int] = Counter()
    failures = []
    for operation in operations(api):
        harvest = bool(ASKS_HARVEST.search(operation.path)) and operation.method != "get"
        noun = operation.path.split("/{id}")[0].rpartition("/")[2].replace("-", "").rstrip("s")
        fitting = [id for kind, id in marked.items() if kind.endswith(noun)] or list(marked.values())

        ask = asking(operation, 1 if harvest else EXAMPLES[who], headers, fitting, mark, statuses)
        try:
            ask()
        except (Exception, BaseExceptionGroup) as error:  # told all at once
            failures.append(f"{operation.method.upper()} {operation.path}: {error!s:.700}")
    assert not failures, "\n\n".join(failures)
    if who == "nobody":
        assert set(statuses) <= {401, 404, 405}, statuses
    else:
        assert statuses[200] > len(EXAMPLES), statuses
        assert 401 not in statuses, statuses


def test_chains_of_requests(api: Any, marked: dict[str, str], admin: Membership) -> None:
    """What one answer gives (ids) is what the next one is asked with, as Schemathesis finds the links by itself."""
    headers = {"Authorization": f"Bearer {make_key(admin)}"}
    machine = api.as_state_machine()

    class Chain(machine):  # type: ignore[misc, valid-type]
        def setup(self) -> None:
            self.atomic = transaction.atomic()
            self.atomic.__enter__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            look(case, response, THEIRS)

    Chain.run(
        settings=settings(
            max_examples=10 * TIMES,
            stateful_step_count=6,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
    )
