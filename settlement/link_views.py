"""The pages of client links: making and revoking them on the client's page, and what a link shows to anybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import address_of
from accounts.fragments import PastedLink, key_in
from accounts.middleware import WorkspaceRequest
from accounts.models import Workspace
from accounts.pages import form_status, managers_only, notify, submit, workspace_page
from accounts.rest.throttling import Rate, take
from accounts.tenancy import tenant_scope
from clients.models import Client
from clients.selectors import clients_of
from settlement.link_selectors import links_of, month_of, report_of
from settlement.links import LIFETIME, LONGEST, make_link, open_link, path_of, revoke_link
from timelogs.forms import DateInput

RATE = Rate(120, 60)  # requests of one address for links, good ones or not
# The name of a link's cookie begins so and ends with its id; error reports hide what is called a key.
COOKIE = "__Host-link-key-" if settings.SESSION_COOKIE_SECURE else "link-key-"
MOST_OPEN = 20  # links in one browser: their cookies come with every request
MOST_SHOWN = 100  # of a client's links, the latest


# --- For people of the workspace -------------------------------------------------------------------------------------
class LinkForm(forms.Form):
    until = forms.DateField(label="Good until", widget=DateInput(), help_text="The end of that day.")
    show_notes = forms.BooleanField(
        label="Show notes", required=False, help_text="What people wrote about their time. Off, hours alone."
    )

    def __init__(self, data: Any = None, *, workspace: Workspace) -> None:
        self.workspace = workspace
        super().__init__(data, initial={"until": workspace.today() + LIFETIME})

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        today = self.workspace.today()
        if not today <= until < today + LONGEST:
            raise forms.ValidationError("Choose a day from today on, within a year.")
        return until

    def expires_at(self) -> datetime:
        return datetime.combine(
            self.cleaned_data["until"] + timedelta(days=1), time(), tzinfo=self.workspace.zone
        )


@workspace_page
def client_links(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    """A client's links; make one, whose address is in this answer only."""
    tenancy = request.tenancy
    client = _client(request, client_id)
    if request.method == "POST":
        return make(request, client)  # type: ignore[return-value]  # a wrapped view answers as it does
    return _page(request, client, LinkForm(workspace=tenancy.workspace))


@managers_only
def make(request: WorkspaceRequest, client: Client) -> HttpResponse:
    form = LinkForm(request.POST, workspace=request.tenancy.workspace)

    def service(**values: Any) -> str:
        return make_link(
            by=request.tenancy.membership,
            client=client,
            expires_at=form.expires_at(),
            show_notes=values["show_notes"],
        )[1]

    token = submit(form, service)
    if token is None:
        return _page(request, client, form)
    url = request.build_absolute_uri(path_of(token))
    return _page(request, client, LinkForm(workspace=request.tenancy.workspace), url=url)


@require_POST
@managers_only
def revoke(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    link = get_object_or_404(links_of(request.tenancy.workspace), id=id, client_id=client_id)
    revoke_link(link=link, by=request.tenancy.membership)
    notify(request, f"The link for {link.client} is revoked. Whoever has it sees nothing from now on.")
    return redirect("client-links", client_id)


def _page(request: WorkspaceRequest, client: Client, form: LinkForm, url: str = "") -> HttpResponse:
    workspace = request.tenancy.workspace
    links = links_of(workspace).filter(client=client).order_by("-id")[:MOST_SHOWN]
    rows = [(one, one.last_day(workspace.zone)) for one in links]
    context = {
        "client": client,
        "form": form,
        "url": url,
        "links": [row for row in rows if row[0].good()],
        "ended": [row for row in rows if not row[0].good()],
    }
    return render(request, "settlement/links.html", context, status=form_status(form))


def _client(request: WorkspaceRequest, id: UUID) -> Client:
    return get_object_or_404(clients_of(request.tenancy.workspace), id=id)


# --- For anybody who has a link --------------------------------------------------------------------------------------
def open_to_all(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The scope of such a page is the link's, whoever is signed in; and so is what it shows."""
    view.unscoped = view.unlocked = True  # type: ignore[attr-defined]  # read by the middleware
    return view


# Without a token against forgery, as a link is meant to be followed from anywhere: whoever could forge this form may as
# well send a link. It puts the one link that it carries into a cookie of its own, opens that link's page, and touches
# nothing else that the browser has open.
@open_to_all
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def shared(request: HttpRequest) -> HttpResponse:
    """Where every link leads: its token, which the address keeps to itself, comes by POST and becomes a cookie."""
    if request.method != "POST":
        return _bare("settlement/link_open.html", {"form": PastedLink()})
    if busy := _busy(request):
        return busy
    token = key_in(request.POST.get("key", ""))
    link = open_link(token)
    if link is None:
        return _bare("settlement/link_gone.html", status=404)
    response = _quiet(redirect("shared-client", link.id))
    response.status_code = 303
    for old in _opened(request, besides=link.id)[: 1 - MOST_OPEN]:
        response.delete_cookie(old)
    response.set_cookie(
        f"{COOKIE}{link.id.hex}",
        token,
        max_age=link.expires_at - timezone.now(),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@open_to_all
@require_safe
def shared_client(request: HttpRequest, id: UUID) -> HttpResponse:
    """What is left and what was done, of one client in one month; nothing of who looks.

    The id is no secret: who has not opened the link finds the page of one that never was.
    """
    if busy := _busy(request):
        return busy
    cookie = f"{COOKIE}{id.hex}"
    link = open_link(request.COOKIES.get(cookie, ""), id=id)
    if link is None:
        gone = _bare("settlement/link_gone.html", status=404)
        if cookie in request.COOKIES:
            gone.delete_cookie(cookie)
        return gone
    with tenant_scope(link.workspace_id):
        workspace = Workspace.objects.get(pk=link.workspace_id)
        client = Client.objects.get(pk=link.client_id, workspace=workspace)
        month = month_of(request.GET.get("month"), workspace.today())
        report = report_of(workspace, client, month=month, show_notes=link.show_notes)
        until = link.last_day(workspace.zone)
        context = {"workspace": workspace, "client": client, "until": until, "report": report}
        return _bare("settlement/link.html", context)


def _busy(request: HttpRequest) -> HttpResponse | None:
    """The answer to an address that asks too often."""
    count = take(f"links:{address_of(request)}", RATE)
    if count.used <= RATE.limit:
        return None
    return _bare("settlement/link_busy.html", status=429, retry_after=str(max(1, int(count.left) + 1)))


def _opened(request: HttpRequest, besides: UUID) -> list[str]:
    """The cookies of other links that this browser has opened: it sends the oldest first (RFC 6265, 5.4)."""
    names = [name for name in request.COOKIES if re.fullmatch(rf"{COOKIE}[0-9a-f]{{32}}", name)]
    return [name for name in names if name != f"{COOKIE}{besides.hex}"]


def _bare(
    name: str, context: dict[str, Any] | None = None, *, status: int = 200, retry_after: str = ""
) -> HttpResponse:
    """A page without a request: nothing about a session or a token against forgery finds its way into it."""
    response = _quiet(HttpResponse(render_to_string(name, context or {}), status=status))
    if retry_after:
        response["Retry-After"] = retry_after
    return response


def _quiet(response: HttpResponse) -> HttpResponse:
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "private, no-store"
    return response
