"""Signing in: whose address is confirmed, what a stranger can tell, and who can stop whom."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import pytest
import time_machine
from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.password_validation import validate_password
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.adapter import DEVICE_COOKIE, DEVICE_SALT
from accounts.models import Membership, User
from accounts.passwords import BreachedPasswordValidator
from accounts.services import create_workspace
from config.demo import EMAIL, PASSWORD, ensure_demo
from tests.factories import make_member
from tests.fixtures import AS_SLOW_AS_IT_IS
from tests.fragments import TO_CONFIRM, TO_RESET, follow, link_in
from tests.pages.test_pages import words

pytestmark = pytest.mark.django_db

SECRET = "correct-horse-9"
LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"
_numbers = count(1)


@pytest.fixture
def ada() -> Membership:
    """Somebody whom no other test knows: what is counted of her is counted in Redis, for longer than a test."""
    return create_workspace(name="Northlight", email=f"ada{next(_numbers)}@signin.test", password=SECRET)


def somewhere() -> Client:
    """A browser at an address of its own."""
    number = next(_numbers)
    return Client(REMOTE_ADDR=f"198.51.{number // 250}.{number % 250 + 1}")


def try_in(client: Client, email: str, password: str) -> Any:
    return client.post(LOGIN, {"login": email, "password": password})


def is_in(answer: Any) -> bool:
    return answer.status_code == 302 and answer["Location"] == "/"


@contextmanager
def hashing() -> Iterator[list[str]]:
    """Counts the passwords that are hashed, which is most of the work of signing in."""
    hashed: list[str] = []
    encode = PBKDF2PasswordHasher.encode

    def counting(self: Any, password: str, *args: Any, **kwargs: Any) -> str:
        hashed.append(password)
        return encode(self, password, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "encode", counting)
        yield hashed


# --- Confirmed addresses ---------------------------------------------------------------------------------------------
def test_whom_an_operator_made_signs_in_at_once(ada: Membership) -> None:
    assert is_in(try_in(somewhere(), ada.user.email, SECRET))
    call_command("create_workspace", "Studio", email="op@signin.test", password="pw")
    assert is_in(try_in(somewhere(), "OP@signin.test", "pw"))


def test_demo_signs_in_at_once() -> None:
    ensure_demo()
    assert is_in(try_in(somewhere(), EMAIL, PASSWORD))
    assert is_in(try_in(somewhere(), "jun@northlight.example", PASSWORD))


def test_who_is_invited_gets_in_by_the_link_alone(
    ada: Membership, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    address = f"new{next(_numbers)}@signin.test"
    with django_capture_on_commit_callbacks(execute=True):
        make_member(ada.workspace, email=address)
    link = link_in(mailoutbox[-1].body, TO_RESET)
    client = somewhere()
    for password in ("", "password", SECRET):
        assert not is_in(try_in(client, address, password))
    place = follow(client, link)["Location"]
    client.post(place, {"password1": "another-horse-10", "password2": "another-horse-10"})
    assert is_in(try_in(client, address, "another-horse-10"))


def test_address_that_is_not_confirmed_does_not_sign_in(mailoutbox: list[Any]) -> None:
    user = User.objects.create_user(f"by.hand{next(_numbers)}@signin.test", SECRET)
    client = somewhere()
    answer = try_in(client, user.email, SECRET)
    assert (answer.status_code, answer["Location"]) == (302, reverse("account_email_verification_sent"))
    assert "Look into your mail" in words(client.get(answer["Location"]))
    assert client.get("/").status_code == 302
    link = link_in(mailoutbox[-1].body, TO_CONFIRM)
    assert link.startswith(settings.BASE_URL)
    assert "Is this your address?" in words(follow(client, link))
    assert not is_in(try_in(client, user.email, SECRET)), "asked, it is not confirmed yet"
    follow(client, link, confirm="yes")
    assert is_in(try_in(client, user.email, SECRET))


def test_migration_confirms_who_was_here() -> None:
    from importlib import import_module

    from django.apps import apps

    old = User.objects.create_user(f"Old{next(_numbers)}@signin.test", SECRET)
    confirm = import_module("accounts.migrations.0004_second_factor").confirm_addresses
    for _ in range(2):
        confirm(apps, None)
    row = EmailAddress.objects.get(user=old)
    assert (row.email, row.verified, row.primary) == (old.email, True, True)


def test_changed_address_counts_once_it_is_confirmed(ada: Membership, mailoutbox: list[Any]) -> None:
    client, old, new = somewhere(), ada.user.email, f"new{next(_numbers)}@signin.test"
    try_in(client, old, SECRET)
    page = reverse("account_email")
    asked = client.post(page, {"email": new, "action_add": ""})
    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    client.post(asked["Location"], {"password": SECRET})
    assert not mailoutbox or mailoutbox[-1].to == [new]
    client.post(page, {"email": new, "action_add": ""})
    assert new in words(client.get(page))
    ada.user.refresh_from_db()
    assert ada.user.email == old
    follow(client, link_in(mailoutbox[-1].body, TO_CONFIRM), confirm="yes")
    ada.user.refresh_from_db()
    assert ada.user.email == new
    assert not is_in(try_in(somewhere(), old, SECRET))
    assert is_in(try_in(somewhere(), new, SECRET))
    assert [mail.to for mail in mailoutbox if "was changed" in mail.subject]


def test_nobody_makes_an_account_by_themselves() -> None:
    for email in (EMAIL, "nobody@signin.test"):
        client = somewhere()
        assert "by invitation" in words(client.get("/accounts/signup/"))
        values = {"email": email, "password1": SECRET, "password2": SECRET}
        assert "by invitation" in words(client.post("/accounts/signup/", values))
    assert not User.objects.exists()


# --- What a stranger can tell ----------------------------------------------------------------------------------------
def plain(answer: Any, email: str) -> str:
    """An answer without what differs from one to the next: tokens, and the address that was typed."""
    html = answer.content.decode().replace(email, "EMAIL")
    html = re.sub(r'(csrfmiddlewaretoken" value=|X-CSRFToken": )"[^"]+"', "TOKEN", html)
    return f"{answer.status_code} {answer.headers.get('Location')} {sorted(answer.headers)} {html}"


def test_unknown_and_known_addresses_are_answered_alike(ada: Membership) -> None:
    invited = make_member(ada.workspace, email=f"invited{next(_numbers)}@signin.test")
    off = create_workspace(name="Off", email=f"off{next(_numbers)}@signin.test", password=SECRET).user
    off.is_active = False
    off.save()
    answers, work = set(), set()
    for email in ("nobody@signin.test", ada.user.email, invited.user.email, off.email):
        with hashing() as hashed:
            answers.add(plain(try_in(somewhere(), email, "wrong-horse-1"), email))
        work.add(len(hashed))
    assert len(answers) == 1
    assert work == {1}


def test_guesses_at_an_unknown_address_are_stopped_like_those_at_a_known_one(ada: Membership) -> None:
    nobody = f"nobody{next(_numbers)}@signin.test"
    answers = []
    for email in (nobody, ada.user.email):
        client = somewhere()
        answers.append([plain(try_in(client, email, f"wrong-{number}"), email) for number in range(7)])
    assert answers[0] == answers[1]
    assert "Too many attempts" in answers[0][-1]
    assert "Too many attempts" not in answers[0][4]


def test_forgotten_password_of_an_unknown_address_is_answered_alike(
    ada: Membership, mailoutbox: list[Any]
) -> None:
    nobody = f"nobody{next(_numbers)}@signin.test"
    seen = []
    for email in (ada.user.email, nobody):
        client = somewhere()
        sent = len(mailoutbox)
        answer = client.post(RESET, {"email": email})
        seen.append(
            (plain(answer, email), plain(client.get(answer["Location"]), email), len(mailoutbox) - sent)
        )
    assert seen[0] == seen[1]
    assert seen[0][2] == 1  # one mail either way, to the address that was given
    assert [mail.to for mail in mailoutbox] == [[ada.user.email], [nobody]]
    assert "There is no account with it" in mailoutbox[-1].body


def test_address_of_somebody_else_is_not_betrayed_by_changing_to_it(ada: Membership) -> None:
    taken = create_workspace(name="Else", email=f"taken{next(_numbers)}@signin.test", password=SECRET).user
    free = f"free{next(_numbers)}@signin.test"
    answers = []
    for email in (taken.email, free):
        client = somewhere()
        try_in(client, ada.user.email, SECRET)
        client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
        answer = client.post(reverse("account_email"), {"email": email, "action_add": ""})
        answers.append((answer.status_code, answer["Location"]))
        EmailAddress.objects.filter(user=ada.user, primary=False).delete()
    assert answers[0] == answers[1]


def test_links_in_mail_begin_with_the_address_of_the_settings(ada: Membership, mailoutbox: list[Any]) -> None:
    """A forged Host must not lead people elsewhere with the key to their account."""
    somewhere().post(RESET, {"email": ada.user.email}, headers={"host": "evil.test"})
    assert f"{settings.BASE_URL}/accounts/password/reset/link/#" in mailoutbox[-1].body
    assert "evil" not in mailoutbox[-1].body


# --- Who can stop whom -----------------------------------------------------------------------------------------------
def test_guesses_from_one_place_stop_there_and_not_elsewhere(ada: Membership) -> None:
    attacker = somewhere()
    for number in range(5):
        try_in(attacker, ada.user.email, f"wrong-{number}")
    assert not is_in(try_in(attacker, ada.user.email, SECRET)), "stopped, even with the right password"
    assert is_in(try_in(somewhere(), ada.user.email, SECRET))


def test_place_is_stopped_at_many_accounts_and_freed_after_a_minute() -> None:
    attacker, bob = somewhere(), f"bob{next(_numbers)}@signin.test"
    create_workspace(name="Bob", email=bob, password=SECRET)
    with time_machine.travel("2026-03-02 10:00", tick=False) as clock:
        for number in range(10):
            try_in(attacker, f"one{number}@signin.test", "guess")
        assert not is_in(try_in(attacker, bob, SECRET))
        clock.shift(61)
        assert is_in(try_in(attacker, bob, SECRET))


def test_right_password_costs_nothing(ada: Membership) -> None:
    client = somewhere()
    for _ in range(15):
        assert is_in(try_in(client, ada.user.email, SECRET))
        client.post("/accounts/logout/")


def test_attack_from_everywhere_does_not_stop_a_browser_that_is_known(
    ada: Membership, settings: Any, mailoutbox: list[Any]
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed_account": "8/h/key"}
    known = somewhere()
    assert is_in(try_in(known, ada.user.email, SECRET))
    known.post("/accounts/logout/")
    for number in range(8):
        try_in(somewhere(), ada.user.email, f"wrong-{number}")
    assert "Too many attempts" in words(try_in(somewhere(), ada.user.email, SECRET))
    known.defaults["REMOTE_ADDR"] = "203.0.113.200"  # wherever it is
    assert is_in(try_in(known, ada.user.email, SECRET))
    # And from a new browser by the link of a forgotten password, which ends the counting.
    anywhere = somewhere()
    anywhere.post(RESET, {"email": ada.user.email})
    place = follow(anywhere, link_in(mailoutbox[-1].body, TO_RESET))["Location"]
    anywhere.post(place, {"password1": "another-horse-10", "password2": "another-horse-10"})
    assert is_in(try_in(anywhere, ada.user.email, "another-horse-10"))


def test_known_browser_is_held_to_its_own_count_and_to_its_account(ada: Membership) -> None:
    other = create_workspace(name="Else", email=f"else{next(_numbers)}@signin.test", password=SECRET).user
    known = somewhere()
    try_in(known, ada.user.email, SECRET)
    known.post("/accounts/logout/")
    cookie = known.cookies[DEVICE_COOKIE]
    assert cookie["httponly"]
    assert ada.user.email not in signing.loads(cookie.value, salt=DEVICE_SALT).values()
    for number in range(5):
        try_in(known, ada.user.email, f"wrong-{number}")
    assert not is_in(try_in(known, ada.user.email, SECRET))
    assert is_in(try_in(known, other.email, SECRET))


@pytest.mark.parametrize(
    "forged",
    ["x", "e30:x:y", signing.dumps({"account": "a", "device": "d"})],
    ids=["nothing", "no signature", "for another purpose"],
)
def test_forged_mark_of_a_known_browser_is_none(forged: str, ada: Membership) -> None:
    client = somewhere()
    client.cookies[DEVICE_COOKIE] = forged
    for number in range(5):
        try_in(client, ada.user.email, f"wrong-{number}")
    assert not is_in(try_in(client, ada.user.email, SECRET))


def test_address_is_the_proxys_word_only_where_there_is_one(ada: Membership, settings: Any) -> None:
    def guess(forwarded: str, password: str) -> Any:
        client = Client(REMOTE_ADDR="10.9.8.7", headers={"x-forwarded-for": forwarded})
        return try_in(client, ada.user.email, password)

    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for number in range(5):
        guess(f"9.9.9.{number}, 198.18.0.1", "wrong")  # the first is what the client claims
    assert not is_in(guess("9.9.9.77, 198.18.0.1", SECRET))
    assert is_in(guess("198.18.0.2", SECRET))


# --- Ways on ---------------------------------------------------------------------------------------------------------
EVIL = [
    "//evil.test", "\\\\evil.test", "/\\evil.test", "https:evil.test", "https:///evil.test", "http://evil.test/",
    "javascript:alert(1)", "//evil.test@localhost", "/\t/evil.test", " //evil.test", "\x00//evil.test", "///evil.test",
    "data:text/html,x", "https://testserver.evil.test/",
]  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_leads_elsewhere(evil: str, ada: Membership) -> None:
    client = somewhere()
    page = client.get(LOGIN, {"next": evil})
    assert not re.search(r"""(href|action|src|content)="[^"]*evil""", page.content.decode())
    assert is_in(client.post(LOGIN, {"login": ada.user.email, "password": SECRET, "next": evil}))
    places = [
        client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": evil}),
        client.post(reverse("theme"), {"theme": "dark", "next": evil}, headers={"referer": evil}),
        client.post(reverse("workspace-switch"), {"workspace": str(ada.workspace_id), "next": evil}),
        client.get(reverse("second-factor"), {"next": evil}),
        client.get(LOGIN, {"next": evil}),
        client.post(f"{reverse('account_change_password')}?next={evil}", {"oldpassword": SECRET}),
        client.post(reverse("account_logout"), {"next": evil}),
    ]
    for answer in places:
        assert "evil" not in answer.headers.get("Location", "")
        assert not answer.headers.get("Location", "/").lower().startswith(("data:", "javascript:"))


def test_good_way_on_is_taken(ada: Membership) -> None:
    client = somewhere()
    answer = client.post(LOGIN, {"login": ada.user.email, "password": SECRET, "next": "/time-logs/?q=a"})
    assert answer["Location"] == "/time-logs/?q=a"


def test_every_form_of_signing_in_needs_its_token() -> None:
    client = Client(enforce_csrf_checks=True)
    for name in (
        "account_login",
        "account_reset_password",
        "account_logout",
        "mfa_login_webauthn",
        "account_signup",
    ):
        answer = client.post(reverse(name), {"login": "a@b.test", "password": "x"})
        assert answer.status_code == 403, name


def test_passwords_are_hashed_slowly_and_commonplace_ones_refused(
    ada: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", AS_SLOW_AS_IT_IS)
        slow = hashers.make_password(SECRET)
        assert slow.startswith("pbkdf2_sha256$")
        assert int(slow.split("$")[1]) >= 600_000
        assert hashers.identify_hasher(slow).must_update(slow) is False
        assert hashers.identify_hasher(slow).must_update(ada.user.password) is True
    client = somewhere()
    try_in(client, ada.user.email, SECRET)
    for bad in ("short", "password1", "12345678"):
        values = {"oldpassword": SECRET, "password1": bad, "password2": bad}
        assert client.post(reverse("account_change_password"), values).status_code == 200
    ada.user.refresh_from_db()
    assert ada.user.check_password(SECRET)


def test_password_of_a_breach_is_refused(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """By a service beside: it is told five digits, and a padding's 0 is no find. Away, it stops nobody."""
    password, known = "lantern-in-the-9th-window", "another-lantern-of-breaches"
    digest = {one: hashlib.sha1(one.encode()).hexdigest().upper() for one in (password, known)}
    asked: list[str] = []

    class Range(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{digest[known][5:]}:4\r\n{digest[password][5:]}:0\r\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Range) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.PWNED_PASSWORDS_URL = f"http://127.0.0.1:{server.server_port}/range"
        validate_password(password)
        with pytest.raises(ValidationError, match="known from a breach"):
            validate_password(known)
        server.shutdown()
    assert asked == [f"/range/{digest[one][:5]}" for one in (password, known)]
    BreachedPasswordValidator().validate(known)
    assert "not compared" in caplog.text
    assert known not in caplog.text


@pytest.mark.parametrize(
    "guess",
    [
        "timebridge",
        "Timebridge-2026!",
        "h@rve5t!!",
        "Lovelace.1815",
        "ada-lovelace",
        "Northlight-2026",
        "northl1ght99",
    ],
)
def test_words_that_others_would_guess_make_no_password(guess: str) -> None:
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    ada = create_workspace(name="Northlight Studio", email="ada@guess.test", person_name="Ada Lovelace").user
    with pytest.raises(ValidationError, match="others would try first"):
        validate_password(guess, ada)
    validate_password(f"{guess} and seven herrings", ada)  # with enough beside them


def test_any_password_is_taken_as_it_is_typed(ada: Membership) -> None:
    """Spaces at its ends, no letters, not of the Latin script, long: none is changed, cut or asked to be otherwise."""
    client = somewhere()
    try_in(client, ada.user.email, SECRET)
    old = SECRET
    for new in ("  plover egg  ", "73952846", "ανεμώνη κι άλατι", "Ab" * 100):
        values = {"oldpassword": old, "password1": new, "password2": new}
        assert client.post(reverse("account_change_password"), values).status_code == 302, new
        assert is_in(try_in(somewhere(), ada.user.email, new))
        for other in {new.strip(), new.upper(), new[:72]} - {new}:
            assert not is_in(try_in(somewhere(), ada.user.email, other)), other
        old = new


def test_passwords_are_masked_and_may_be_filled_in(ada: Membership) -> None:
    client = somewhere()
    pages = [client.get(LOGIN)]
    try_in(client, ada.user.email, SECRET)
    pages += [client.get(reverse(name)) for name in ("account_change_password", "account_reauthenticate")]
    found = []
    for page in pages:
        text = page.content.decode()
        assert not re.search(r"onpaste|hint|secret question|mother", text, re.IGNORECASE)
        found += re.findall(r"<input[^>]*name=\"(?:old)?password\d?\"[^>]*>", text)
    assert len(found) == 5
    for field in found:
        assert 'type="password"' in field
        assert re.search(r'autocomplete="(current|new)-password"', field), field
        assert "maxlength" not in field


@pytest.mark.django_db
def test_nobody_shows_who_they_are_by_a_code_that_comes_by_mail(
    admin: Membership, mailoutbox: list[Any]
) -> None:
    browser = Client()
    browser.force_login(admin.user)
    for path in ("/accounts/reauthenticate/code/", "/accounts/reauthenticate/code/confirm/"):
        assert browser.get(path).status_code == 404
        assert browser.post(path, {"email": admin.user.email}).status_code == 404
    assert get_adapter().get_reauthentication_methods(admin.user) == []  # no password, no second factor
    assert mailoutbox == []
