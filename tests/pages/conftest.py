"""Fixtures of the page tests: browsers without a browser, one a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import Membership

Visit = Callable[[Membership], Client]


@pytest.fixture
def visit() -> Visit:
    """`visit(person)`: a test client signed in as that person."""

    def sign_in(person: Membership) -> Client:
        client = Client()
        client.force_login(person.user)
        return client

    return sign_in
