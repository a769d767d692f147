"""`manage.py create_workspace`."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Membership, User
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[dict[str, Any], Membership]:
    out = StringIO()
    call_command("create_workspace", *arguments, stdout=out)
    (line,) = out.getvalue().splitlines()
    made = json.loads(line)
    user = User.objects.get(email=made["email"])
    return made, Membership(user=user)


def test_prints_one_line_of_json_whose_key_is_an_admins(db: None) -> None:
    made, person = create(
        "Northlight Studio", "--email", "Ada@Northlight.test", "--password", "pw", "--plan", "pro"
    )
    assert list(made) == ["workspace", "email", "api_key"]
    assert (made["workspace"], made["email"]) == ("northlight-studio", "ada@northlight.test")
    me = Api(person, key=made["api_key"]).get("me/").json()
    assert me["role"] == "admin"
    assert me["workspace"] | {"id": ""} == {
        "id": "",
        "slug": "northlight-studio",
        "name": "Northlight Studio",
        "plan": "pro",
        "timezone": "UTC",
        "currency": "USD",
    }
    assert Api(person, key=made["api_key"]).post("clients/", {"name": "Acme"}).status_code == 201
    assert person.user.check_password("pw")


def test_zone_and_currency_are_as_given_and_the_plan_free_unless_given(db: None) -> None:
    made, person = create(
        "Ö", "--email", "a@b.test", "--password", "pw", "--timezone", "Europe/Vienna", "--currency", "EUR"
    )
    workspace = Api(person, key=made["api_key"]).get("me/").json()["workspace"]
    assert (workspace["plan"], workspace["timezone"], workspace["currency"]) == (
        "free",
        "Europe/Vienna",
        "EUR",
    )


def test_known_person_keeps_their_password_and_the_slug_is_free(db: None) -> None:
    first, person = create("Studio", "--email", "a@b.test", "--password", "first")
    second, _ = create("Studio", "--email", "A@B.test", "--password", "second")
    assert (first["workspace"], second["workspace"]) == ("studio", "studio-2")
    assert User.objects.get().check_password("first")
    for made in (first, second):
        assert Api(person, key=made["api_key"]).get("me/").json()["workspace"]["slug"] == made["workspace"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Studio", "--email", "nonsense", "--password", "pw"], "email: Enter an e-mail address"),
        (["Studio", "--email", "a@b.test", "--password", ""], "password: Give a password"),
        (["  ", "--email", "a@b.test", "--password", "pw"], "name: Give the workspace a name"),
        (["x" * 121, "--email", "a@b.test", "--password", "pw"], "name: Use at most 120"),
        (["Studio", "--email", "a" * 250 + "@b.test", "--password", "pw"], "email:"),
        (["Studio", "--email", "a@b.test", "--password", "pw", "--plan", "gold"], "plan: Choose free or pro"),
        (["Studio", "--email", "a@b.test", "--password", "pw", "--timezone", "Mars"], "timezone: "),
        (["Studio", "--email", "a@b.test", "--password", "pw", "--currency", "euro"], "currency: "),
        (["Studio", "--password", "pw"], "--email"),
        (["Studio", "--email", "a@b.test"], "--password"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("create_workspace", *arguments, stdout=StringIO())
    assert not User.objects.exists()
