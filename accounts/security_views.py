"""How one signs in and where one is signed in: a person's own, in every workspace alike.

The forms behind it are allauth's, in our templates (config/templates/account, .../mfa).
"""

from __future__ import annotations

import functools
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from accounts.middleware import Tenancy
from accounts.pages import View, notify, safe_path, sign_in, unlocked
from accounts.second_factor import FACTORS, has_second_factor
from accounts.sessions import confirmed_of_late, end_other_sessions, end_session, places_of


def person_page(view: View) -> View:
    """A page about a person and no workspace: open to who is signed in, also without any, and from a locked one."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        tenancy: Tenancy | None = request.tenancy  # type: ignore[attr-defined]
        if not request.user.is_authenticated or (tenancy is not None and tenancy.api_key is not None):
            return sign_in(request)
        response = view(request, *args, **kwargs)
        patch_vary_headers(response, ["Cookie"])
        patch_cache_control(response, private=True, no_store=True)
        return response

    return unlocked(wrapped)


def unconfirmed(request: HttpRequest, up: str) -> HttpResponse | None:
    """For what is delicate: None where a person has shown of late who they are, else the way to, and back to `up`.

    To have signed in of late will do. (allauth's own pages, which change how one signs in, ask in any case.)
    """
    if confirmed_of_late(request):
        return None
    methods = get_adapter().get_reauthentication_methods(request.user)
    notify(request, "Confirm that it is you, then choose it again.", "")
    return redirect(f"{methods[0]['url']}?{urlencode({'next': up})}")


@person_page
def security(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    factors = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    by_type = {one.type: one for one in factors}
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    context = {
        "app": by_type.get(Authenticator.Type.TOTP),
        "passkeys": [one for one in factors if one.type == Authenticator.Type.WEBAUTHN],
        "protected": any(one.type in FACTORS for one in factors),
        "codes": codes,
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "places": places_of(user, current_key=request.session.session_key),
    }
    return render(request, "accounts/security.html", context)


@require_POST
@person_page
def end(request: HttpRequest, id: int) -> HttpResponse:
    """End one other session; this one ends by signing out."""
    user: Any = request.user
    current = request.session.session_key
    get_object_or_404(UserSession.objects.filter(user=user).exclude(session_key=current), pk=id)
    if asked := unconfirmed(request, reverse("security")):
        return asked
    if end_session(user, id, current_key=current):
        notify(request, "That session is ended.")
    return redirect("security")


@require_POST
@person_page
def end_others(request: HttpRequest) -> HttpResponse:
    if asked := unconfirmed(request, reverse("security")):
        return asked
    user: Any = request.user
    count = end_other_sessions(user, current_key=request.session.session_key)
    notify(request, f"Ended {count} other session{'' if count == 1 else 's'}.")
    return redirect("security")


@person_page
def second_factor(request: HttpRequest) -> HttpResponse:
    """What a workspace that requires a second factor shows to a session without one."""
    tenancy: Tenancy | None = request.tenancy  # type: ignore[attr-defined]
    after = safe_path(request, request.GET.get("next")) or "/"
    if tenancy is None or not tenancy.locked:
        return redirect(after)
    user: Any = request.user
    ways = []
    if has_second_factor(user):
        methods = get_adapter().get_reauthentication_methods(user)
        ways = [
            {"url": f"{one['url']}?{urlencode({'next': after})}", "passkey": "webauthn" in one["id"]}
            for one in methods
            if one["id"].startswith("mfa")
        ]
    return render(request, "accounts/second_factor.html", {"ways": ways})
