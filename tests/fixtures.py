"""Fixtures of the product: one workspace with an admin, a designer and a member; a stranger from another; the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Membership, Role, Workspace
from tests.factories import make_member, make_workspace


@pytest.fixture
def admin(db: None) -> Membership:
    """The admin of the workspace (plan pro, UTC, USD)."""
    return make_workspace("Northlight", email="ada@northlight.test", person_name="Ada Admin")


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
