"""The second factor: an authenticator app or a passkey, with recovery codes for the day they are lost.

A workspace may require one (`Workspace.require_second_factor`); an operator may ask it of all of them
(`REQUIRE_SECOND_FACTOR`). Then a session in which none was used opens nothing of
that workspace but the page that says so: its person sets one up, or confirms with the one they have. API keys are not
asked for one. Each is a credential of its own that was made in a session that had what the workspace requires at the
time, is shown to the admins by name, and ends by revoking it.
"""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
HIDDEN = "secret"  # what the data of an app's authenticator holds that must not be read


def has_second_factor(user: User) -> bool:
    """Whether a person has set one up. Recovery codes alone are none."""
    return Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists()


def used_second_factor(request: HttpRequest) -> bool:
    """Whether one that is still set up was used, or set up, in this session."""
    user: Any = request.user
    records = get_authentication_records(request, user)
    return any(record.get("method") == "mfa" for record in records) and has_second_factor(user)


def remember_set_up(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """Receiver: to have set a second factor up is to have used it."""
    if authenticator.type in FACTORS:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of apps are encrypted at rest with FIELD_KEYS; of recovery codes there are hashes (recovery_codes.py)."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This is not the code. One is good for half a minute, and once.",
    }

    @sensitive_variables()
    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    @sensitive_variables()
    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def generate_authenticator_name(self, user: AbstractBaseUser, type: str) -> str:
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"


@sensitive_variables()
def reencrypt_second_factors() -> int:
    """Bring every secret under the newest of FIELD_KEYS; returns how many rows were written anew.

    May be repeated, and stopped at any time. Raises InvalidToken where no key opens a value.
    """
    newest, cipher, written = Fernet(settings.FIELD_KEYS[0]), _cipher(), 0
    apps = Authenticator.objects.filter(type=Authenticator.Type.TOTP)
    for pk in apps.order_by("pk").values_list("pk", flat=True).iterator():
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            old = row.data[HIDDEN]
            if (anew := _anew(old, newest, cipher)) != old:
                row.data[HIDDEN] = anew
                row.save(update_fields=["data"])
                written += 1
    return written


@sensitive_variables()
def factors_under_older_keys() -> int:
    """How many secrets of apps the newest of FIELD_KEYS does not open."""
    newest, found = Fernet(settings.FIELD_KEYS[0]), 0
    for data in (
        Authenticator.objects.filter(type=Authenticator.Type.TOTP).values_list("data", flat=True).iterator()
    ):
        try:
            newest.decrypt(data[HIDDEN].encode())
        except InvalidToken:
            found += 1
    return found


@sensitive_variables()
def _anew(token: str, newest: Fernet, cipher: MultiFernet) -> str:
    try:
        newest.decrypt(token.encode())
    except InvalidToken:
        return cipher.rotate(token.encode()).decode()
    return token
