"""Where the links of our mail lead: to set a password, to confirm an address.

The key stands behind the # (accounts/fragments.py says why) and comes in the body of a POST. What it is good for,
allauth's own form and view decide; for a key in the address there is no route.
"""

from __future__ import annotations

from typing import Any

from allauth.account import app_settings
from allauth.account.forms import UserTokenForm
from allauth.account.utils import user_pk_to_url_str
from allauth.account.views import ConfirmEmailView, PasswordResetFromKeyView
from allauth.account.views._password_reset import INTERNAL_RESET_SESSION_KEY
from allauth.decorators import rate_limit
from allauth.utils import get_form_class
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from accounts.fragments import PastedLink, key_in
from accounts.pages import unlocked

throttled = rate_limit(action="mail_key")  # POSTs alone are counted


@unlocked
@require_http_methods(["GET", "HEAD", "POST"])
@throttled
def reset_password_link(request: HttpRequest) -> HttpResponse:
    """Of an invitation or a forgotten password. A good key goes into the session; allauth's page sets the password."""
    if request.method != "POST":
        return _asked(request, "Set a new password")
    uid, _, key = key_in(request.POST.get("key", "")).partition("-")
    form = get_form_class(app_settings.FORMS, "user_token", UserTokenForm)({"uidb36": uid, "key": key})
    if not form.is_valid():
        return render(request, "account/password_reset_from_key.html", {"token_fail": True})
    request.session[INTERNAL_RESET_SESSION_KEY] = key
    return redirect(
        "account_reset_password_from_key",
        uidb36=user_pk_to_url_str(form.reset_user),
        key=PasswordResetFromKeyView.reset_url_key,
    )


reset_password_link.unscoped = True  # type: ignore[attr-defined]  # it is about a person, whoever is signed in


@method_decorator(throttled, name="dispatch")
class ConfirmEmailLinkView(ConfirmEmailView):
    """allauth's, with the key from the body: a first POST asks whether it is one's address, a second one says so."""

    unscoped = unlocked = True

    def get(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return _asked(self.request, "Confirm your address")

    def post(self, *args: Any, **kwargs: Any) -> HttpResponse:
        self.kwargs["key"] = key_in(self.request.POST.get("key", ""))
        return super().post() if "confirm" in self.request.POST else super().get()


def _asked(request: HttpRequest, heading: str) -> HttpResponse:
    return render(request, "account/mail_link.html", {"heading": heading, "form": PastedLink()})
