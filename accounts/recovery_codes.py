"""Recovery codes of which nothing but their SHA-256 is ever kept.

allauth keeps what its codes are made of, so that it can show them later, and they are eight digits. These are made at
the moment in which they are shown, and forgotten with the answer that shows them. A code has 120 random bits, which
makes a plain hash enough: nobody tries that many.

What an authenticator's `data` holds: `hashes`, of the codes that are left, in hex; `viewed_at`, seconds since 1970,
once they have been shown. Between switching recovery codes on and looking at them there are none.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import auth, flows
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

RANDOM_BYTES = 15  # as base32 without padding, in six groups of four
GROUP = 4
HIDDEN = "****"  # in the place of a code that was shown before


class HashedCodes(auth.RecoveryCodes):
    """allauth's interface, with nothing in the database to make a code from."""

    instance: Authenticator
    _shown: tuple[str, ...] = ()

    @classmethod
    def activate(cls, user: User) -> HashedCodes:
        kind = Authenticator.Type.RECOVERY_CODES
        row, _ = Authenticator.objects.get_or_create(user=user, type=kind, defaults={"data": {"hashes": []}})
        return cls(row)

    @sensitive_variables()
    def mark_as_viewed(self) -> None:
        """Make the codes, for who is about to see them. Of two at once, one gets codes and the other none."""
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().get(pk=self.instance.pk)
            self.instance = row
            if self.did_view:
                return
            codes = tuple(make_code() for _ in range(app_settings.RECOVERY_CODE_COUNT))
            row.data = {"hashes": [hash_of(one) for one in codes], "viewed_at": time.time()}
            row.save(update_fields=["data"])
        self._shown = codes

    def get_unused_codes(self) -> list[str]:
        """The codes while they are shown; later as many stars as there are codes left."""
        return list(self._shown) or [HIDDEN] * len(self.instance.data["hashes"])

    def generate_codes(self) -> list[str]:
        raise NotImplementedError("Nothing is kept that codes could be made from again.")

    @sensitive_variables()
    def validate_code(self, code: str) -> bool:
        """Whether it is one that is left. It is none afterwards, whoever else tries it at the same moment."""
        with transaction.atomic():
            row = self.instance = Authenticator.objects.select_for_update().get(pk=self.instance.pk)
            left: list[str] = row.data["hashes"]
            given = hash_of(code)
            if given not in left:
                return False
            row.data["hashes"] = [one for one in left if one != given]
            row.save(update_fields=["data"])
            return True


def make_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RANDOM_BYTES)).decode().lower()
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def hash_of(code: str) -> str:
    """However it was typed: hyphens, spaces and capitals do not matter."""
    return hashlib.sha256(normalize_user_code(code).encode()).hexdigest()


def use_hashed_codes() -> None:
    """Put ours in the place of allauth's, which has no setting for it: where it wraps a row, and where it makes one."""
    for module in (auth, flows):
        place: Any = module
        place.RecoveryCodes = HashedCodes
