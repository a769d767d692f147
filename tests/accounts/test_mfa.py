"""Second factors, and workspaces that require one."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest
import redis
import time_machine
from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.errors import Invalid
from accounts.models import Membership, User
from accounts.recovery_codes import HashedCodes, hash_of
from accounts.second_factor import has_second_factor, reencrypt_second_factors
from accounts.services import create_workspace, save_workspace
from accounts.tenancy import tenant_scope
from tests.accounts.test_signin import SECRET, ada, is_in, somewhere, try_in  # noqa: F401 - ada is a fixture
from tests.factories import make_client, make_key
from tests.fragments import TO_RESET, follow, link_in
from tests.pages.test_pages import words
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

SECOND = "/accounts/2fa/authenticate/"
HTMX = {"HX-Request": "true"}
IDS = {"UUIDConverter": "01a1ff61-ca8d-7ddd-aeb8-0dff715ae3ad", "IntConverter": "7"}


def code_of(key: str) -> str:
    """The code that an app shows, with time left to type it."""
    if (left := app_settings.TOTP_PERIOD - time.time() % app_settings.TOTP_PERIOD) < 5:
        time.sleep(left)
    return str(format_hotp_value(hotp_value(key, next(yield_hotp_counters_from_time()))))


def give_app(user: User) -> str:
    """An authenticator app; returns its key."""
    key = generate_totp_secret()
    TOTP.activate(user, key)
    return key


def give_codes(user: User) -> list[str]:
    """Recovery codes, as their page shows them."""
    codes = HashedCodes.activate(user)
    codes.mark_as_viewed()
    return codes.get_unused_codes()


def require(person: Membership, required: bool = True) -> None:
    person.workspace.require_second_factor = required
    with tenant_scope(person.workspace_id):
        person.workspace.save(update_fields=["require_second_factor"])


def entered(person: Membership, key: str | None = None) -> Client:
    client = somewhere()
    try_in(client, person.user.email, SECRET)
    if key:
        assert is_in(client.post(SECOND, {"code": code_of(key)}))
    return client


# --- Signing in with one ---------------------------------------------------------------------------------------------
def test_password_alone_opens_nothing(ada: Membership) -> None:  # noqa: F811
    key = give_app(ada.user)
    client = somewhere()
    answer = try_in(client, ada.user.email, SECRET)
    assert answer["Location"] == SECOND
    assert client.get("/").status_code == 302
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get("/settings/security/").status_code == 302
    assert "This is not the code" in words(client.post(SECOND, {"code": "000000"}))
    assert is_in(client.post(SECOND, {"code": code_of(key)}))
    assert client.get("/").status_code == 200


def test_new_password_passes_by_no_second_factor(ada: Membership, mailoutbox: list[Any]) -> None:  # noqa: F811
    key = give_app(ada.user)
    client = somewhere()
    client.post("/accounts/password/reset/", {"email": ada.user.email})
    place = follow(client, link_in(mailoutbox[-1].body, TO_RESET))["Location"]
    client.post(place, {"password1": "another-horse-10", "password2": "another-horse-10"})
    assert client.get("/").status_code == 302
    assert try_in(client, ada.user.email, "another-horse-10")["Location"] == SECOND
    assert client.get("/").status_code == 302
    assert is_in(client.post(SECOND, {"code": code_of(key)}))


def test_code_serves_once(ada: Membership) -> None:  # noqa: F811
    key = give_app(ada.user)
    code = code_of(key)
    first, second = somewhere(), somewhere()
    try_in(first, ada.user.email, SECRET)
    try_in(second, ada.user.email, SECRET)
    assert is_in(first.post(SECOND, {"code": code}))
    assert not is_in(second.post(SECOND, {"code": code}))
    # Nor later, while it would still be good: allauth remembers it for half a minute.
    assert cache.delete(f"allauth.mfa.totp.used?user={ada.user.pk}&code={code}")
    assert "was used already" in words(second.post(SECOND, {"code": code}))
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        assert 25 < server.ttl(cache.make_key(f"code-used:{ada.user.pk}:{code}")) <= 30
    again = reverse("mfa_reauthenticate")  # asks for one that was not used
    cache.delete(f"allauth.mfa.totp.used?user={ada.user.pk}&code={code}")
    assert "was used already" in words(first.post(again, {"code": code, "next": "/"}))


def test_code_is_good_for_its_half_minute(ada: Membership) -> None:  # noqa: F811
    """Neither before nor after the app shows it."""
    key = give_app(ada.user)
    app = Authenticator.objects.get(user=ada.user).wrap()
    step = int(time.time()) // 30 + 1
    code = str(format_hotp_value(hotp_value(key, step)))
    for at, good in ((step * 30 - 1, False), (step * 30 + 30, False), (step * 30 + 29, True)):
        with time_machine.travel(at, tick=False):
            assert app.validate_code(code) is good, at


def test_recovery_code_serves_once_and_is_counted(ada: Membership) -> None:  # noqa: F811
    give_app(ada.user)
    codes = give_codes(ada.user)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}", one) for one in codes)  # 120 bits
    for expected in (True, False):
        client = somewhere()
        try_in(client, ada.user.email, SECRET)
        assert is_in(client.post(SECOND, {"code": codes[0]})) == expected
    client = somewhere()
    try_in(client, ada.user.email, SECRET)
    client.post(SECOND, {"code": codes[1].upper().replace("-", " ")})  # as it may be typed
    assert "8 left" in words(client.get("/settings/security/"))


def test_codes_cannot_be_guessed_at_leisure(ada: Membership) -> None:  # noqa: F811
    key = give_app(ada.user)
    client = somewhere()
    try_in(client, ada.user.email, SECRET)
    for number in range(5):
        client.post(SECOND, {"code": f"00000{number}"})
    assert not is_in(client.post(SECOND, {"code": code_of(key)}))


def test_second_factor_is_changed_after_confirming_alone(ada: Membership, mailoutbox: list[Any]) -> None:  # noqa: F811
    key = give_app(ada.user)
    client = entered(ada, key)
    for name in ("mfa_deactivate_totp", "mfa_add_webauthn", "mfa_generate_recovery_codes"):
        answer = client.get(reverse(name))
        assert answer["Location"].startswith("/accounts/reauthenticate/"), name
    assert has_second_factor(ada.user)
    client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
    assert client.post(reverse("mfa_deactivate_totp"))["Location"] == "/accounts/2fa/"
    assert client.get("/accounts/2fa/", follow=True).redirect_chain == [("/settings/security/", 302)]
    assert not has_second_factor(ada.user)
    assert mailoutbox[-1].subject == "Authenticator app switched off"
    assert "198.51." in mailoutbox[-1].body


def test_passkeys_of_others_are_out_of_reach(ada: Membership, stranger: Membership) -> None:  # noqa: F811
    theirs = Authenticator.objects.create(
        user=stranger.user, type=Authenticator.Type.WEBAUTHN, data={"name": "Theirs", "credential": {}}
    )
    client = entered(ada)
    client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
    for name in ("mfa_remove_webauthn", "mfa_edit_webauthn"):
        assert client.post(reverse(name, args=[theirs.pk]), {"name": "Mine"}).status_code == 404
    theirs.refresh_from_db()
    assert theirs.data["name"] == "Theirs"


ODD = [
    "",
    "x",
    "{}",
    "[]",
    "null",
    '{"response": 1}',
    '{"id": "a", "rawId": "é", "response": {"userHandle": "é"}}',
]


@pytest.mark.parametrize("credential", ODD)
def test_odd_passkey_is_refused(credential: str, ada: Membership) -> None:  # noqa: F811
    client = somewhere()
    assert client.get(reverse("mfa_login_webauthn"), headers={"accept": "application/json"}).json()
    answer = client.post(reverse("mfa_login_webauthn"), {"credential": credential})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    give_app(ada.user)
    try_in(client, ada.user.email, SECRET)
    client.get(SECOND)
    assert client.post(SECOND, {"credential": credential}).status_code == 200
    Authenticator.objects.all().delete()
    inside = entered(ada)
    inside.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
    inside.get(reverse("mfa_add_webauthn"))
    answer = inside.post(reverse("mfa_add_webauthn"), {"name": "Odd", "credential": credential})
    assert answer.status_code == 200
    assert not Authenticator.objects.exists()


# --- Secrets at rest -------------------------------------------------------------------------------------------------
def test_secrets_are_encrypted_at_rest(ada: Membership) -> None:  # noqa: F811
    key = give_app(ada.user)
    assert key not in json.dumps(list(Authenticator.objects.values_list("data", flat=True)))


def test_recovery_codes_are_hashed_and_shown_once(ada: Membership) -> None:  # noqa: F811
    """They are made for the answer that shows them; neither the database nor the session ever has them."""
    client = entered(ada, give_app(ada.user))
    client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
    client.post(reverse("mfa_generate_recovery_codes"))
    row = Authenticator.objects.get(user=ada.user, type="recovery_codes")
    assert row.data == {"hashes": []}
    page = client.get(reverse("mfa_view_recovery_codes")).content.decode()
    codes = re.findall(r"(?:[a-z2-7]{4}-){5}[a-z2-7]{4}", page)
    assert len(codes) == 10
    row.refresh_from_db()
    assert row.data["hashes"] == [hash_of(one) for one in codes]
    kept = json.dumps([row.data, *(one.get_decoded() for one in Session.objects.all())])
    assert not [code for code in codes if code in kept or code.replace("-", "") in kept]
    again = client.get(reverse("mfa_view_recovery_codes")).content.decode()
    assert "10 of 10 are unused" in again
    assert not [code for code in codes if code in again]
    row.refresh_from_db()
    assert len(row.data["hashes"]) == 10
    client.post(reverse("mfa_generate_recovery_codes"))
    assert not row.wrap().__class__.activate(ada.user).validate_code(codes[0])  # the old ones end at once


@pytest.mark.django_db(transaction=True)
def test_recovery_code_that_two_try_at_once_serves_one(ada: Membership) -> None:  # noqa: F811
    give_app(ada.user)
    code = give_codes(ada.user)[0]
    row = Authenticator.objects.get(user=ada.user, type="recovery_codes")

    def try_it(_: int) -> bool:
        try:
            return HashedCodes(row).validate_code(code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(try_it, range(4))) == [False, False, False, True]


def test_codes_of_before_end(ada: Membership) -> None:  # noqa: F811
    """Those that were kept under FIELD_KEYS, to be made again from their seed."""
    mine = {"user": ada.user, "type": Authenticator.Type.RECOVERY_CODES}
    row = Authenticator.objects.create(**mine, data={"seed": "gAAAA", "used_mask": 0})
    module = import_module("accounts.migrations.0009_hashed_recovery_codes")
    module.forget_seeds(apps, None)
    assert not Authenticator.objects.filter(pk=row.pk).exists()
    give_codes(ada.user)
    module.forget_seeds(apps, None)
    assert Authenticator.objects.filter(**mine).exists()


def test_keys_are_changed_by_the_command(ada: Membership, settings: Any, capsys: Any) -> None:  # noqa: F811
    key = give_app(ada.user)
    old, new = settings.FIELD_KEYS[0], Fernet.generate_key().decode()
    settings.FIELD_KEYS = [new, old]
    call_command("reencrypt")
    assert "newest key: 1." in capsys.readouterr().out
    assert reencrypt_second_factors() == 0
    settings.FIELD_KEYS = [new]
    assert Authenticator.objects.get(user=ada.user).wrap().validate_code(code_of(key))
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(InvalidToken):
        reencrypt_second_factors()


# --- A workspace that requires one -----------------------------------------------------------------------------------
def test_session_without_one_sees_only_how_to_set_one_up(ada: Membership) -> None:  # noqa: F811
    make_client(ada.workspace, "Acme the Secret")
    require(ada)
    client = entered(ada)
    answer = client.get("/clients/?q=1")
    assert answer["Location"] == "/settings/security/second-factor/?next=%2Fclients%2F%3Fq%3D1"
    page = client.get(answer["Location"])
    assert page.status_code == 200
    assert f"{ada.workspace} requires a second factor" in words(page)
    assert "Inbound" not in words(page)
    assert client.get("/clients/", headers=HTMX)["HX-Redirect"] == "/settings/security/second-factor/"
    assert client.post("/clients/new/", {"name": "X"})["Location"] == "/settings/security/second-factor/"


def test_where_the_server_requires_one_every_workspace_does(ada: Membership, settings: Any) -> None:  # noqa: F811
    settings.REQUIRE_SECOND_FACTOR = True
    assert not ada.workspace.require_second_factor
    client = entered(ada)
    assert client.get("/clients/")["Location"].startswith("/settings/security/second-factor/")
    assert client.get("/api/v1/clients/").json()["type"] == "second-factor-required"
    assert entered(ada, give_app(ada.user)).get("/clients/").status_code == 200


def test_every_page_and_endpoint_is_shut_to_it(ada: Membership, no_log: None) -> None:  # noqa: F811
    """Walks every address there is: none but those that show nothing of the workspace answers as it would."""
    require(ada)
    client = entered(ada)
    opened = set()
    walked = addresses()
    assert len(walked) > 100
    for name, path in walked:
        for method in ("get", "post"):
            answer = getattr(client, method)(path)
            place = answer.headers.get("Location", "")
            shut = place.startswith("/settings/security/second-factor/") or (
                answer.status_code == 403 and b"second-factor-required" in answer.content
            )
            if not shut:
                opened.add(name)
        if "_auth_user_id" not in client.session:
            client.force_login(ada.user)  # one of them signs out
    theirs = {name for name in opened if name.startswith(("account_", "mfa_"))}
    ours = {"theme", "workspace-switch", "security", "second-factor", "sessions-end", "session-end"}
    assert opened - theirs <= ours | {"mail-list", "mail", "schema", "docs", "shared", "shared-client"}


def addresses() -> list[tuple[str, str]]:
    """Every named address with some id in it, by its name."""
    found = []

    def walk(patterns: Any, space: str) -> None:
        for one in patterns:
            if hasattr(one, "url_patterns"):
                walk(one.url_patterns, f"{space}{one.namespace}:" if one.namespace else space)
            elif one.name:
                found.append(f"{space}{one.name}")

    walk(get_resolver().url_patterns, "")
    made = []
    for name in found:
        space, _, short = name.rpartition(":")
        resolver, prefix = get_resolver(), "/"
        for part in filter(None, space.split(":")):
            start, resolver = resolver.namespace_dict[part]
            prefix += start
        possibilities, _, _, converters = resolver.reverse_dict.getlist(short)[0]
        shape, names = possibilities[0]
        values = {one: IDS.get(type(converters.get(one)).__name__, "x") for one in names}
        made.append((name, prefix + shape % values))
    return made


def test_api_by_session_is_refused_and_by_key_is_not(ada: Membership) -> None:  # noqa: F811
    require(ada)
    client = entered(ada)
    answer = client.get("/api/v1/clients/")
    assert answer.status_code == 403
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "second-factor-required"
    assert Api(ada).get("clients/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_setting_one_up_opens_the_workspace(ada: Membership) -> None:  # noqa: F811
    require(ada)
    client = entered(ada)
    page = client.get("/settings/security/second-factor/?next=/clients/").content.decode()
    assert reverse("mfa_activate_totp") in page
    client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": "/"})
    client.get(reverse("mfa_activate_totp"))
    key = client.session["mfa.totp.secret"]
    client.post(reverse("mfa_activate_totp"), {"code": code_of(key)})
    assert client.get("/clients/").status_code == 200
    assert client.get("/settings/security/second-factor/?next=/clients/")["Location"] == "/clients/"


def test_older_session_confirms_with_the_factor_that_was_set_up_elsewhere(ada: Membership) -> None:  # noqa: F811
    older = entered(ada)
    key = give_app(ada.user)
    require(ada)
    answer = older.get("/clients/", follow=True)
    assert "Confirm with it" in words(answer)
    place = reverse("mfa_reauthenticate")
    assert place in answer.content.decode()
    assert older.post(place, {"code": code_of(key), "next": "/clients/"})["Location"] == "/clients/"
    assert older.get("/clients/").status_code == 200


def test_factor_that_is_taken_away_shuts_the_workspace_again(ada: Membership) -> None:  # noqa: F811
    key = give_app(ada.user)
    require(ada)
    client = entered(ada, key)
    assert client.get("/clients/").status_code == 200
    Authenticator.objects.all().delete()
    assert client.get("/clients/").status_code == 302


def test_another_workspace_stays_open_and_can_be_gone_to(ada: Membership) -> None:  # noqa: F811
    second = create_workspace(name="Second", email=ada.user.email)
    require(ada)
    client = entered(ada)
    page = client.get("/", follow=True)
    assert "Second" in words(page)
    answer = client.post("/switch-workspace/", {"workspace": str(second.workspace_id), "next": "/clients/"})
    assert answer["Location"] == "/clients/"
    assert client.get("/clients/").status_code == 200
    session = client.get("/api/v1/me/", headers={"X-Workspace": ada.workspace.slug})
    assert session.json()["type"] == "second-factor-required"


def test_admin_requires_it_who_has_one(ada: Membership) -> None:  # noqa: F811
    api = Api(ada)
    answer = api.patch("workspace/", {"require_second_factor": True})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["require_second_factor"]
    with tenant_scope(ada.workspace_id), pytest.raises(Invalid):
        save_workspace(workspace=ada.workspace, actor=ada.user, require_second_factor=True)
    key = give_app(ada.user)
    client = entered(ada, key)
    values = {
        "name": "Northlight",
        "timezone": "UTC",
        "currency": "USD",
        "plan": "pro",
        "require_second_factor": "on",
    }
    assert client.post("/settings/workspace/", values).status_code == 302
    assert api.get("workspace/").json()["require_second_factor"] is True
    assert api.patch("workspace/", {"require_second_factor": False}).json()["require_second_factor"] is False
    assert "Require a second factor" in words(client.get("/settings/workspace/"))


def test_key_that_was_made_before_goes_on(ada: Membership) -> None:  # noqa: F811
    """A key is a credential of its own, seen and revoked by the admins (accounts/second_factor.py)."""
    key = make_key(ada)
    require(ada)
    assert Api(ada, key=key).get("me/").status_code == 200


# --- Lost ------------------------------------------------------------------------------------------------------------
def test_operator_takes_lost_factors_away(ada: Membership, capsys: Any) -> None:  # noqa: F811
    key = give_app(ada.user)
    give_codes(ada.user)
    client = entered(ada, key)
    call_command("reset_second_factor", ada.user.email.upper())
    assert "Taken away: 2. Sessions ended: 1." in capsys.readouterr().out
    assert client.get("/").status_code == 302
    assert is_in(try_in(somewhere(), ada.user.email, SECRET))
    with pytest.raises(CommandError, match="Nobody"):
        call_command("reset_second_factor", "nobody@signin.test")
