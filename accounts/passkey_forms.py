"""allauth's forms of passkeys, for answers that no browser gives: refused as wrong ones, where allauth would fail.

What a browser answers is parsed by a library that raises whatever a malformed answer makes it trip over.
"""

from __future__ import annotations

import struct
from typing import Any

from allauth.mfa.webauthn import forms
from django.core.exceptions import ValidationError

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, struct.error)
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
