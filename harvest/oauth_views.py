"""The pages of connecting by consent: to Harvest, back, and the choice of an account.

They ask Harvest, so they run outside any transaction and open the workspace's scope for what they read and write.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import AccountMismatch, Invalid, ServiceError, UpstreamUnavailable
from accounts.middleware import WorkspaceRequest
from accounts.pages import UNPROCESSABLE, View, managers_only, notify, words_of
from accounts.tenancy import tenant_scope
from harvest.catalogue import refresh_catalogue
from harvest.consents import Choice, Refused, begin, choice_of, choose, finish
from harvest.oauth import is_available
from integrations.models import Connection


def unscoped(view: View) -> View:
    view.unscoped = True  # type: ignore[attr-defined]  # read by the middleware
    return view


def leads_to_harvest(response: HttpResponse) -> HttpResponse:
    """Let a form of this page be redirected to Harvest's consent page: browsers hold `form-action` against that too."""
    if is_available():
        address = urlsplit(settings.HARVEST_ID_URL)
        origin = f"{address.scheme}://{address.netloc}"
        response._csp_update = {"form-action": [origin]}  # type: ignore[attr-defined]  # read by django-csp
    return response


def callback_url(request: HttpRequest) -> str:
    """Where Harvest sends the browser back to: this site as this browser knows it, where its session is."""
    return request.build_absolute_uri(reverse("harvest-callback"))


@require_POST
@managers_only
def authorize(request: WorkspaceRequest) -> HttpResponse:
    """To Harvest's consent page."""
    place = begin(
        workspace=request.tenancy.workspace,
        by=request.tenancy.user,
        redirect_uri=callback_url(request),
        session=request.session,
    )
    return HttpResponseRedirect(place)


@unscoped
@require_GET
@managers_only
@sensitive_variables()
def callback(request: WorkspaceRequest) -> HttpResponse:
    """Back from Harvest, with a code or a refusal."""
    try:
        found = finish(
            workspace=request.tenancy.workspace,
            by=request.tenancy.user,
            session=request.session,
            state=request.GET.get("state", ""),
            code=request.GET.get("code", ""),
            error=request.GET.get("error", ""),
        )
    except AccountMismatch as error:
        # The consent is good: it may be used to start afresh.
        return redirect("harvest-choose", str(error.extra["consent"]))
    except (Refused, Invalid, UpstreamUnavailable) as error:
        return _trouble(request, error)
    if isinstance(found, Choice):
        return redirect("harvest-choose", found.consent_id)
    return _connected(request, found)


callback.secret_query = True  # type: ignore[attr-defined]  # a code is not carried on to where one signs in


@unscoped
@require_http_methods(["GET", "POST"])
@managers_only
@sensitive_variables()
def choose_account(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Which of several accounts to connect; or, where another one's time is here, whether to start afresh."""
    workspace, by = request.tenancy.workspace, request.tenancy.user
    said, status, mismatch = "", 200, False
    chosen = request.POST.get("account", "")
    if request.method == "POST":
        try:
            return _connected(
                request,
                choose(
                    workspace=workspace,
                    by=by,
                    consent_id=id,
                    account_id=chosen,
                    replace=request.POST.get("replace") == "on",
                ),
            )
        except AccountMismatch as error:
            said, status, mismatch = error.detail, UNPROCESSABLE, True
        except (Invalid, UpstreamUnavailable) as error:
            said, status = words_of(error), UNPROCESSABLE
        except Refused as error:
            return _trouble(request, error)
    with tenant_scope(workspace.id):
        choice = choice_of(workspace=workspace, by=by, consent_id=id)
        if choice is None:
            return _trouble(
                request, Refused("This took longer than ten minutes, or was finished already. Start again.")
            )
        known = Connection.objects.filter(workspace=workspace).exclude(account_id="").first()
        ids = [one.id for one in choice.accounts]
        before = known.account_id if known is not None and known.account_id in ids else ""
        context: dict[str, Any] = {
            "accounts": choice.accounts,
            "chosen": chosen or before or (ids[0] if len(ids) == 1 else ""),
            "known": known,
            "said": said,
            "mismatch": mismatch or (known is not None and not before and len(ids) == 1),
        }
        return render(request, "harvest/choose_account.html", context, status=status)


def _connected(request: WorkspaceRequest, connection: Connection) -> HttpResponse:
    notify(request, f"Connected to {connection.account_name}. Map what you want to bring in, then import.")
    try:
        refresh_catalogue(request.tenancy.workspace, connection)
    except UpstreamUnavailable as error:
        notify(request, error.detail, "warn")
    return redirect("harvest")


def _trouble(request: WorkspaceRequest, error: ServiceError) -> HttpResponse:
    context = {"detail": words_of(error), "by_consent": is_available()}
    return leads_to_harvest(render(request, "harvest/consent_refused.html", context, status=error.status))
