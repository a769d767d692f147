"""allauth's forms of second factors, made stricter where they need it.

A malformed passkey is refused like a wrong one: it is parsed by a library that raises whatever it trips over. And a
code of an app serves once in all the time that it is good for, with whatever `MFA_TOTP_TOLERANCE` says; allauth
remembers it for one step only.
"""

from __future__ import annotations

import struct
from typing import Any

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.base import forms as code_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms
from django.core.cache import cache
from django.core.exceptions import ValidationError

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, struct.error)
USED_CODE = "This code was used already. Wait for the next one."
REFUSAL = "No passkey of yours was given. Try again, or choose another way."


class _Checked:
    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except MALFORMED as error:
            raise ValidationError(REFUSAL) from error


class LoginForm(_Checked, forms.LoginWebAuthnForm):
    pass


class AuthenticateForm(_Checked, forms.AuthenticateWebAuthnForm):
    pass


class ReauthenticateForm(_Checked, forms.ReauthenticateWebAuthnForm):
    pass


class AddForm(forms.AddWebAuthnForm):
    def clean(self) -> Any:
        try:
            return super().clean()
        except MALFORMED as error:
            raise ValidationError(REFUSAL) from error


class _Once:
    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        good_for = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
        digits = normalize_user_code(code)  # as it was compared
        if self.authenticator.type == Authenticator.Type.TOTP and not cache.add(
            f"code-used:{self.user.pk}:{digits}", 1, good_for
        ):
            raise ValidationError(USED_CODE)
        return code


class CodeForm(_Once, code_forms.AuthenticateForm):
    pass


class ReauthenticateCodeForm(_Once, code_forms.ReauthenticateForm):
    pass
