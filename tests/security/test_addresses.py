"""No address has a secret in it: not a route, not a link that we give away, not where an answer leads."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.conf import settings
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, get_resolver, reverse
from django.urls.converters import IntConverter, UUIDConverter

from accounts.fragments import key_in
from accounts.models import Membership, User
from tests.accounts.test_signin import SECRET, ada, is_in, somewhere, try_in  # noqa: F401 - ada is a fixture
from tests.factories import make_member
from tests.fragments import TO_CONFIRM, TO_RESET, follow, link_in
from tests.pages.test_pages import words

pytestmark = pytest.mark.django_db

# What may stand in an address: the id of a row (by converters that take nothing else, or by name: the API looks for
# a UUID itself), and the words of what is not there.
IDS = {"id", "entry", "uidb36"}
NOT_THERE = {r"api/^(?P<path>.*)$"}


def routes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every route, and the converters of what its address may have in it."""

    def walk(found: Any, before: str, outer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for one in found:
            groups = {
                **outer,
                **{name: one.pattern.converters.get(name) for name in one.pattern.regex.groupindex},
            }
            if isinstance(one, URLPattern):
                yield before + str(one.pattern), groups
            else:
                yield from walk(one.url_patterns, before + str(one.pattern), groups)

    return walk(get_resolver().url_patterns, "", {})


def test_no_route_takes_a_secret() -> None:
    found = dict(routes())
    assert len(found) > 150
    for route, parts in found.items():
        if route in NOT_THERE:
            continue
        for name, converter in parts.items():
            assert isinstance(converter, (UUIDConverter, IntConverter)) or name in IDS, f"{route}: {name}"


def test_what_the_libraries_would_take_is_not_there(ada: Membership) -> None:  # noqa: F811
    for name, kwargs in [
        ("account_confirm_email", {"key": "x"}),
        ("account_reset_password_from_key", {"uidb36": "1", "key": "x"}),
    ]:
        with pytest.raises(NoReverseMatch):
            reverse(name, kwargs=kwargs)
    for path in ("/accounts/confirm-email/MQ:1abc:x/", "/accounts/password/reset/key/1-x-y/", "/shared/x.y/"):
        for method in ("get", "post"):
            assert getattr(Client(), method)(path).status_code == 404, path


# --- A password ------------------------------------------------------------------------------------------------------
def asked(person: User, mailoutbox: list[Any]) -> str:
    """The link of a forgotten password."""
    somewhere().post(reverse("account_reset_password"), {"email": person.email})
    return link_in(mailoutbox[-1].body, TO_RESET)


def test_key_of_a_password_is_in_no_address(
    ada: Membership,  # noqa: F811
    mailoutbox: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    link = asked(ada.user, mailoutbox)
    key = urlsplit(link).fragment.partition("-")[2]
    client = somewhere()
    answers = [follow(client, link)]
    assert answers[0]["Location"] == f"/accounts/password/reset/key/{ada.user_id.hex}-set-password/"
    answers.append(client.get(answers[0]["Location"]))
    new = {"password1": "another-horse-10", "password2": "another-horse-10"}
    answers.append(client.post(answers[0]["Location"], new))
    assert answers[-1].status_code == 302
    assert is_in(try_in(somewhere(), ada.user.email, "another-horse-10"))
    answers.append(follow(somewhere(), link))
    assert "This link is used up" in words(answers[-1])
    for answer in answers:
        assert key not in answer.content.decode()
        assert key not in str(answer.headers)
    assert caplog.records
    assert not [line for line in caplog.messages if key in line]


def test_page_of_a_new_password_opens_to_who_sent_the_key_alone(
    ada: Membership,  # noqa: F811
    mailoutbox: list[Any],
) -> None:
    place = follow(somewhere(), asked(ada.user, mailoutbox))["Location"]
    other = somewhere()
    new = {"password1": "another-horse-10", "password2": "another-horse-10"}
    for answer in (other.get(place), other.post(place, new)):
        assert "This link is used up" in words(answer)
    # Nor does a script's way of asking, to which allauth takes the key from the address.
    answer = other.post(place, new, headers={"X-Requested-With": "XMLHttpRequest"})
    assert answer.status_code == 400
    assert is_in(try_in(somewhere(), ada.user.email, SECRET))


def test_keys_that_are_none_are_answered_alike(ada: Membership, mailoutbox: list[Any]) -> None:  # noqa: F811
    uid, _, key = urlsplit(asked(ada.user, mailoutbox)).fragment.partition("-")
    pages = set()
    for bad in (
        "",
        "x",
        "-",
        f"{uid}-",
        f"{uid}-{key}x",
        f"{uid}-x-y",
        f"{'0' * 32}-{key}",
        f"-{key}",
        f"1-{key}",
        "\x00-\x00",
    ):
        client = somewhere()
        client.get(TO_RESET)
        answer = client.post(TO_RESET, {"key": bad})
        assert answer.status_code == 200, bad
        assert "_password_reset_key" not in client.session
        pages.add(re.sub(r'(csrfmiddlewaretoken" value=|X-CSRFToken": )"[^"]+"', "", answer.content.decode()))
    assert len(pages) == 1
    assert "This link is used up" in pages.pop()


def test_key_of_somebody_else_signs_out(ada: Membership, mailoutbox: list[Any]) -> None:  # noqa: F811
    """As allauth has it: what is set then is not mistaken for one's own."""
    other = make_member(ada.workspace)
    client = somewhere()
    client.force_login(other.user)
    place = follow(client, asked(ada.user, mailoutbox))["Location"]
    assert "Set a new password" in words(client.get(place))
    assert "_auth_user_id" not in client.session


def test_keys_are_not_tried_without_end(ada: Membership, mailoutbox: list[Any], settings: Any) -> None:  # noqa: F811
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "mail_key": "3/m/ip"}
    link = asked(ada.user, mailoutbox)
    client = somewhere()
    for page in (TO_RESET, TO_CONFIRM, TO_RESET):
        assert client.post(page, {"key": "1-x-y"}).status_code == 200
    for page in (TO_RESET, TO_CONFIRM):
        assert client.post(page, {"key": urlsplit(link).fragment}).status_code == 429
        assert client.get(page).status_code == 200
    assert follow(somewhere(), link).status_code == 302


# --- An address ------------------------------------------------------------------------------------------------------
@pytest.fixture
def unconfirmed(ada: Membership) -> tuple[EmailAddress, str]:  # noqa: F811
    """An address that ada changes to, and the link that she was sent."""
    row = EmailAddress.objects.create(user=ada.user, email=f"new.{ada.user.email}")
    return row, f"{settings.BASE_URL}{TO_CONFIRM}#{EmailConfirmationHMAC(row).key}"


def test_key_of_an_address_is_in_no_address(
    unconfirmed: tuple[EmailAddress, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    row, link = unconfirmed
    key = urlsplit(link).fragment
    client = somewhere()
    question = follow(client, link)
    assert row.email in words(question)
    assert f'<input type="hidden" name="key" value="{key}">' in question.content.decode()
    row.refresh_from_db()
    assert not row.verified
    answer = follow(client, link, confirm="yes")
    assert answer.status_code == 302
    row.refresh_from_db()
    assert row.verified
    for one in (question, answer):
        assert key not in str(one.headers)
    assert "This link is used up" in words(follow(client, link))
    assert caplog.records
    assert not [line for line in caplog.messages if key in line]


@pytest.mark.parametrize("given", [{}, {"confirm": "yes"}])
def test_key_of_an_address_that_is_none_confirms_nothing(
    given: dict[str, str], unconfirmed: tuple[EmailAddress, str]
) -> None:
    row, link = unconfirmed
    for bad in ("", "x", "a:b:c", f"{urlsplit(link).fragment}x"):
        answer = somewhere().post(TO_CONFIRM, {"key": bad, **given})
        assert answer.status_code == (404 if given else 200), bad
        assert row.email not in words(answer)
    row.refresh_from_db()
    assert not row.verified


# --- Both ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", [TO_RESET, TO_CONFIRM])
def test_page_of_a_link_asks_for_it(page: str) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.get(page)
    html = answer.content.decode()
    assert "Paste the link from our message." in words(answer)
    assert re.search(r'<label for="id_key">Link</label>\s*<input [^>]*autocomplete="off"', html)
    assert "no-store" in answer["Cache-Control"]
    assert client.post(page, {"key": "x"}).status_code == 403
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', html)
    assert token
    assert client.post(page, {"key": "x", "csrfmiddlewaretoken": token[1]}).status_code == 200


@pytest.mark.parametrize(
    "place", ["/accounts/password/reset/link/", "/accounts/confirm-email/link/", "/shared/"]
)
def test_link_whose_sign_was_escaped_is_answered_with_the_remedy(place: str) -> None:
    answer = Client().get(f"{place}%231a-b2-c3")
    assert answer.status_code == 404
    assert "Write # there in the address" in words(answer)
    assert "1a-b2-c3" not in answer.content.decode()
    assert "Write #" not in words(Client().get(f"{place}1a-b2-c3"))


@pytest.mark.parametrize(
    ("pasted", "key"),
    [
        ("https://h.example/accounts/password/reset/link/#1a-b2-c3", "1a-b2-c3"),
        ("<https://h.example/#MQ:1w:x_-y>", "MQ:1w:x_-y"),
        ("https://h.example/#1a-b2=\r\n-c3.", "1a-b2-c3"),
        (" 1a-b2-c3 ", "1a-b2-c3"),
        ("https://h.example/%231a-b2", "1a-b2"),
        ("1" * 300, "1" * 300),
        ("1" * 301, ""),
        ("", ""),
    ],
)
def test_key_in(pasted: str, key: str) -> None:
    assert key_in(pasted) == key
