"""Fixtures of the product: one workspace with an admin, a designer and a member; a stranger from another; the API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import transaction

from accounts.models import Membership, Role, Workspace
from tests.factories import make_member, make_workspace

# Hashing a password takes half a second, as it should. Some hundreds of them, in tests, need not.
AS_SLOW_AS_IT_IS = PBKDF2PasswordHasher.iterations
PBKDF2PasswordHasher.iterations = 1000


@pytest.fixture
def admin(db: None) -> Membership:
    """The admin of the workspace (plan pro, UTC, USD)."""
    return make_northlight()


def make_northlight() -> Membership:
    return make_workspace("Northlight", email="ada@northlight.test", person_name="Ada Admin")


@pytest.fixture(scope="module")
def once(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """For rows that a module makes once, and each of its tests finds as they were made, whatever the others did.

    They are in a transaction around that of each test: no test of the module may be one of whole transactions.
    """
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def no_log() -> Iterator[None]:
    """For some thousands of requests, most of which are refused: none is logged."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def workspace(admin: Membership) -> Workspace:
    return admin.workspace


@pytest.fixture
def designer(workspace: Workspace) -> Membership:
    return make_member(workspace, Role.DESIGNER, email="dora@northlight.test", name="Dora Designer")


@pytest.fixture
def member(workspace: Workspace) -> Membership:
    return make_member(workspace, Role.MEMBER, email="mel@northlight.test", name="Mel Member")


@pytest.fixture
def stranger(db: None) -> Membership:
    """The admin of another workspace."""
    return make_workspace("Elsewhere", email="sam@elsewhere.test", person_name="Sam Stranger")


@pytest.fixture
def api() -> Callable[..., Any]:
    """`api(person)`: a client of the API that speaks for a person (see tests/rest/client.py)."""
    from tests.rest.client import Api

    return Api
