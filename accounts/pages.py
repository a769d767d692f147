"""What every page view shares: who may open it, how a refusal is said, how a form meets its service.

A view is a function that parses, calls one service or selector, and renders:

    @managers_only
    def edit(request: WorkspaceRequest, id: UUID) -> HttpResponse: ...

`workspace_page` asks for a signed-in member, `managers_only` for an admin or designer, `admins_only` for an admin; each
stands alone. They run inside the workspace's scope (`accounts.middleware`), where an answer of 400 or more rolls back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from accounts.errors import Forbidden, Invalid, PlanRequired, ServiceError
from accounts.middleware import Tenancy, WorkspaceRequest, asked_for

View = Callable[..., HttpResponseBase]
Result = TypeVar("Result")

# The status of a page whose form was refused: browsers and htmx show it, and the view's transaction is rolled back.
UNPROCESSABLE = 422
LEVELS = {"good": messages.SUCCESS, "warn": messages.WARNING, "bad": messages.ERROR, "": messages.INFO}


# --- Who may -------------------------------------------------------------------------------------------------------
def _page(may: Callable[[Tenancy], bool], refusal: str) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapped(request: WorkspaceRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            tenancy: Tenancy | None = request.tenancy
            # API keys speak to the API alone: a page never asks whether a key may write.
            if not request.user.is_authenticated or (tenancy is not None and tenancy.api_key is not None):
                return sign_in(request)
            if tenancy is None:
                return render(request, "no_workspace.html", status=403)
            try:
                if not may(tenancy):
                    raise Forbidden(refusal)
                response = view(request, *args, **kwargs)
            except ServiceError as error:
                response = refused(request, error)
            # One address answers with a page or with a piece of it, and what it shows is one person's.
            patch_vary_headers(response, ["HX-Request", "Cookie"])
            patch_cache_control(response, private=True, no_store=True)
            return response

        return wrapped

    return decorate


workspace_page = _page(lambda tenancy: True, "")
managers_only = _page(
    lambda tenancy: tenancy.membership.can_manage,
    "Only admins and designers may do this. Ask one of them, or ask an admin for another role.",
)
admins_only = _page(
    lambda tenancy: tenancy.membership.is_admin,
    "Only admins may do this. Ask an admin of this workspace.",
)


def unlocked(view: View) -> View:
    """A view that shows nothing of the workspace: open also to a session without the second factor that it requires."""
    view.unlocked = True  # type: ignore[attr-defined]
    return view


def sign_in(request: HttpRequest) -> HttpResponseBase:
    """The way to sign in, and back to the page that was asked for."""
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(redirect_to_login("/").url)
    return redirect_to_login(asked_for(request) if request.method == "GET" else "/")


# --- What is said ----------------------------------------------------------------------------------------------------
def notify(request: HttpRequest, text: str, tone: str = "good", *, action: str = "", url: str = "") -> None:
    """Leave a notice for the next page. tone: good, warn, bad, or "" (information).

    action, url: the words of a button and the address it POSTs to ("Undo").
    """
    messages.add_message(request, LEVELS[tone], text, extra_tags=f"action:{action}|{url}" if action else "")


def toast(response: HttpResponse, text: str, tone: str = "good") -> HttpResponse:
    """Say something along with an htmx answer."""
    return trigger_client_event(response, "notice", {"text": text, "tone": tone})


def refused(request: HttpRequest, error: ServiceError) -> HttpResponse:
    """A service's refusal, in words; nothing of what the view wrote stays.

    By htmx a toast; for want of a right, a page that says so; after a form, a notice on the page one came from.
    """
    text = words_of(error)
    if request.htmx:  # type: ignore[attr-defined]
        response = toast(HttpResponse(status=error.status), text, "bad")
    elif isinstance(error, (Forbidden, PlanRequired)):
        response = render(request, "403.html", {"detail": text}, status=403)
    elif request.method == "POST":
        notify(request, text, "bad")
        response = redirect(back(request))
    else:
        response = render(request, "400.html", {"detail": text}, status=error.status)
    if connection.in_atomic_block:
        # Last: nothing more can be asked of the database then. A redirect alone would let the view's writes stand.
        transaction.set_rollback(True)
    return response


def words_of(error: ServiceError) -> str:
    """A refusal as one text: an invalid field's messages, or its detail."""
    if isinstance(error, Invalid):
        return " ".join(message for found in error.errors.values() for message in found)
    return error.detail


# --- Ways back -------------------------------------------------------------------------------------------------------
def safe_path(request: HttpRequest, url: str | None) -> str | None:
    """The address, if it is one of this site."""
    good = url and url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if good else None


def back(request: HttpRequest, default: str = "/") -> str:
    """Where a form leads when it is done: its `next`, else the page it was sent from, else `default`."""
    referer = request.headers.get("Referer")
    return (
        safe_path(request, request.POST.get("next") or request.GET.get("next"))
        or (safe_path(request, referer) if referer and request.method == "POST" else None)
        or default
    )


# --- Forms -----------------------------------------------------------------------------------------------------------
def submit(form: forms.Form, service: Callable[..., Result], **values: Any) -> Result | None:
    """Call a service with a form's values; None where the form or the service refuses, with the errors on the form.

    values: further arguments, which win over the form's own.
    """
    if not form.is_valid():
        return None
    try:
        with transaction.atomic():
            return service(**{**form.cleaned_data, **values})
    except Invalid as error:
        for field, found in error.errors.items():
            form.add_error(field if field in form.fields else None, found)
    except (Forbidden, PlanRequired):
        raise
    except ServiceError as error:
        form.add_error(None, error.detail)
    return None


def form_status(form: forms.Form) -> int:
    """The status of a page with a form on it: refused, or not yet sent."""
    return UNPROCESSABLE if form.is_bound and form.errors else 200


def form_page(
    request: HttpRequest,
    form: forms.Form,
    *,
    heading: str,
    up: tuple[str, str],
    about: str = "",
    button: str = "Save",
    **more: Any,
) -> HttpResponse:
    """A page that is one form. up: (words, address) of the page above it, where *Cancel* leads too.

    more: `tone` (of the button: danger), `archive` (address, whether it is archived), `delete` (address, what it is
    called, consequence in words), `datalist` (id, texts), as form_page.html shows them.
    """
    context = {"form": form, "heading": heading, "up": up, "about": about, "button": button, **more}
    return render(request, "form_page.html", context, status=form_status(form))


def confirm_page(
    request: HttpRequest, *, heading: str, text: str, button: str, up: tuple[str, str]
) -> HttpResponse:
    """Asks before what cannot be undone, for those whose browser shows no dialog."""
    context = {"heading": heading, "text": text, "button": button, "up": up}
    return render(request, "confirm_page.html", context)
