"""How signing in bends to this product: accounts are made by invitation, and nobody can lock somebody else out.

Wrong passwords are counted by address, and by account and address together: who guesses from one place is stopped
there, and the account's own person gets in from another. Guesses at one account from very many places are held to
`login_failed_account` in all, which would stop its person too. So a browser that has signed in to the account before
carries a signed cookie that says so: it is counted by itself, wherever it is, and what others guess does not touch it.
Passkeys and the link of a forgotten password stay open in any case.
"""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal import ratelimit
from django.conf import settings
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import get_random_string, salted_hmac

from accounts.models import User
from accounts.security_log import account_of, note

DEVICE_COOKIE = "__Host-device" if settings.SESSION_COOKIE_SECURE else "device"
DEVICE_SALT = "accounts.device"
DEVICE_SECONDS = 180 * 86_400


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "The e-mail address or the password is not correct.",
        "too_many_login_attempts": "Too many attempts from here that did not succeed. Wait five minutes, sign in with a"
        " passkey, or set a new password.",
        "incorrect_password": "This is not your password.",
        "rate_limited": "Too many attempts. Wait five minutes.",
        "same_as_current": "Choose another one than the present.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    # --- Throttling ---
    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        email = _email(credentials)
        return f"{email}:{known_device(request, email) or ratelimit.get_ip(request)}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            self._count_attempt(request, **credentials)
        except ValidationError:
            note("sign-in-throttled", request, bad=True, account=account_of(_email(credentials)))
            raise

    def _count_attempt(self, request: HttpRequest, **credentials: Any) -> None:
        super().pre_authenticate(request, **credentials)
        email = _email(credentials)
        if known_device(request, email):
            return
        usage = ratelimit.consume(request, app="allauth.account", action="login_failed_account", key=email)
        if usage is None:
            raise self.validation_error("too_many_login_attempts")
        # Given back with the others where the password is right.
        self._login_failed_rl_usage.usage.extend(usage.usage)

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: Any) -> None:
        super()._delete_login_attempts_cached_email(request, **credentials)
        ratelimit.clear(
            request, app="allauth.account", action="login_failed_account", key=_email(credentials)
        )

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        if not known_device(request, user.email):
            value = {"account": _mark(user.email), "device": get_random_string(22)}
            response.set_cookie(
                DEVICE_COOKIE,
                signing.dumps(value, salt=DEVICE_SALT),
                max_age=DEVICE_SECONDS,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response

    # --- Addresses: those of e-mails begin with BASE_URL, whatever name a request came by; keys stand behind the # ---
    def get_reset_password_from_key_url(self, key: str) -> str:
        return f"{settings.BASE_URL}{reverse('account_reset_password_link')}#{key}"

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return f"{settings.BASE_URL}{reverse('account_confirm_email')}#{emailconfirmation.key}"

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("security")

    def is_safe_url(self, url: str) -> bool:
        """Only paths of this site: nothing needs to lead elsewhere after signing in."""
        return url.startswith("/") and super().is_safe_url(url)


def _email(credentials: dict[str, Any]) -> str:
    return str(credentials.get("email") or "").strip().lower()


def _mark(email: str) -> str:
    """An account in a cookie, without its address."""
    return salted_hmac(DEVICE_SALT, email.lower(), algorithm="sha256").hexdigest()[:32]


def known_device(request: HttpRequest, email: str) -> str | None:
    """A name of this browser, if it has signed in to the account with this address before."""
    try:
        value = signing.loads(
            request.COOKIES.get(DEVICE_COOKIE, ""), salt=DEVICE_SALT, max_age=DEVICE_SECONDS
        )
    except signing.BadSignature:
        return None
    return f"device:{value['device']}" if value["account"] == _mark(email) else None
