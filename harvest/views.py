"""The Harvest settings page: connection, mappings, sync, history; and the page of one run.

Everybody in the workspace may look; admins and designers act. Views that ask Harvest something are `unscoped`: they do
so outside any transaction and open the workspace's scope for what they read and write themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect, retarget, trigger_client_event

from accounts import keyset
from accounts.errors import (
    AccountMismatch,
    Invalid,
    NotConnected,
    RunInProgress,
    UpstreamUnavailable,
)
from accounts.middleware import WorkspaceRequest
from accounts.models import Plan
from accounts.pages import (
    UNPROCESSABLE,
    View,
    back,
    confirm_page,
    managers_only,
    notify,
    toast,
    workspace_page,
)
from accounts.tenancy import tenant_scope
from clients.selectors import clients_of, projects_of
from harvest import credentials
from harvest.adoption import unlink_entry
from harvest.catalogue import is_stale, refresh_catalogue
from harvest.credentials import WITHDRAW_URL, connection_of, limit_use, live_connection
from harvest.forms import ConnectForm, DirectionForm, WindowForm
from harvest.importing import EARLIEST, checked_window, start_apply, start_import, start_incoming
from harvest.incoming import incoming
from harvest.mappings import KINDS, create_missing
from harvest.models import HarvestItem, ItemKind
from harvest.night import start_sync
from harvest.oauth import is_available
from harvest.oauth_views import leads_to_harvest
from harvest.preferences import older_time, save_preferences
from harvest.results import Link, Result, remedy_of, results_of
from harvest.sheets import Sheets, load_sheets
from harvest.sweep import confirm_attention, leave_attention
from harvest.sync_selectors import pause_of, stated_by, waiting
from harvest.undo import undo_run
from integrations.models import (
    Connection,
    ConnectionStatus,
    Direction,
    Outcome,
    Reason,
    RunEntry,
    RunKind,
    SyncLink,
    SyncRun,
)
from integrations.ratelimit import PERIOD
from integrations.runs import amounts_by_client, entries_of, name_what_came_in, runs_of

NEWEST = ("-id",)
LATEST_DAY = ("-on", "-id")
RUNS = 10  # of the history at once
ENTRIES = 100  # of a run's page
PEEK = 50  # of a group that is opened in place
NAMED = 5  # of what was created
SHOWN_OF_LOGS = ("client", "project", "owner")
SHOWN_OF_ENTRIES = (*(f"time_log__{name}" for name in SHOWN_OF_LOGS), "proposal__client")
KEPT = 200  # of what an undo leaves are listed
LEFT = "left-by-undo"  # in the session: a run's id, and what the undo of it left
RUNS_CHANGED = "runs-changed"  # the history listens for it


def unscoped(view: View) -> View:
    """Leave it to the view to open scopes: it calls another server."""
    view.unscoped = True  # type: ignore[attr-defined]  # read by the middleware
    return view


# --- The page --------------------------------------------------------------------------------------------------------
@require_GET
@workspace_page
def harvest(request: WorkspaceRequest) -> HttpResponse:
    """The whole page; by htmx its history alone. `tab`, `filter`, `unmapped` choose rows, `cursor` older runs."""
    if request.htmx.target == "history":
        return render(request, "harvest/_history.html", _history(request))
    return settings_page(request)


def settings_page(
    request: WorkspaceRequest, *, status: int = 200, sheets: Sheets | None = None, **more: Any
) -> HttpResponse:
    """The page inside the scope; `more` replaces parts of its context (a form that was refused)."""
    workspace = request.tenancy.workspace
    connection = connection_of(workspace)
    context: dict[str, Any] = {
        **rights(request, connection),
        **_history(request),
        "form": ConnectForm(initial={"account_id": connection.account_id if connection else ""}),
        "withdraw_url": WITHDRAW_URL,
        "by_consent": is_available(),
    }
    if connection is not None and context["live"]:
        sheets = sheets or load_sheets(workspace, connection)
        first, last = checked_window(workspace=workspace, from_date=None, to_date=None)
        newest = runs_of(workspace).filter(connection=connection).order_by("-id").first()
        context |= _mappings(request, connection, sheets)
        context |= {
            "window": WindowForm(initial={"from": first, "to": last}),
            "last_auto": _last_auto(connection),
            "direction_form": direction_form(connection),
            "older": older_time(connection),
            "changes_minutes": settings.HARVEST_CHANGES_MINUTES,
            **flow(request, connection),
            **_shown(newest),
        }
    return leads_to_harvest(render(request, "harvest/harvest.html", context | more, status=status))


def direction_form(connection: Connection, data: Any = None) -> DirectionForm:
    """The form of direction, policy and default task, which any task may be that is active or is it now."""
    tasks = HarvestItem.objects.filter(workspace_id=connection.workspace_id, kind=ItemKind.TASK)
    names = sorted(tasks.values_list("name", "harvest_id", "active"), key=lambda one: one[0].casefold())
    return DirectionForm(
        data,
        connection=connection,
        tasks=[
            (harvest_id, name if active else f"{name} (archived)")
            for name, harvest_id, active in names
            if active or harvest_id == connection.default_task
        ],
    )


def flow(request: WorkspaceRequest, connection: Connection | None) -> dict[str, Any]:
    """What waits, and how much of Harvest's limit is in use: what changes while one looks."""
    workspace = request.tenancy.workspace
    live = connection is not None and connection.status != ConnectionStatus.NOT_CONNECTED
    use = limit_use(connection.account_id) if connection is not None and live else None
    return {
        "waiting": waiting(workspace),
        "both_ways": live and connection is not None and connection.direction == Direction.TWO_WAY,
        "pause": pause_of(workspace, connection) if live and connection else "",
        "limit": use,
        "limit_seconds": round(PERIOD),
    }


def _last_auto(connection: Connection) -> Result | None:
    """The newest automated sync."""
    run = (
        runs_of(connection.workspace).filter(connection=connection, kind=RunKind.AUTO).order_by("-id").first()
    )
    return _result(run) if run else None


def rights(request: WorkspaceRequest, connection: Connection | None) -> dict[str, Any]:
    pro = request.tenancy.workspace.plan == Plan.PRO
    manages = request.tenancy.membership.can_manage
    return {
        "connection": connection,
        "live": connection is not None and connection.status != ConnectionStatus.NOT_CONNECTED,
        "pro": pro,
        "manages": manages,
        "may": pro and manages,
    }


def _history(request: WorkspaceRequest) -> dict[str, Any]:
    page = keyset.page(
        runs_of(request.tenancy.workspace), order=NEWEST, cursor=request.GET.get("cursor"), size=RUNS
    )
    return {"history": page, "results": results_of(page.rows)}


def _result(run: SyncRun) -> Result:
    return results_of([run])[0]


def _shown(run: SyncRun | None) -> dict[str, Any]:
    """A run with what it came to, and of a finished preview the amounts."""
    if run is None:
        return {"result": None}
    return {
        "result": _result(run),
        "stated": stated_by(run) if not run.live else None,
        "amounts": amounts_by_client(run) if run.dry_run and not run.live else None,
    }


# --- Connection ------------------------------------------------------------------------------------------------------
@unscoped
@require_POST
@managers_only
def connect(request: WorkspaceRequest) -> HttpResponse:
    """Check a token with Harvest, keep it, and read the lists to map. Refused, the page says so on the form."""
    workspace = request.tenancy.workspace
    credentials.check_plan(workspace)
    form = ConnectForm(request.POST)
    mismatch = False
    connection: Connection | None = None
    if form.is_valid():
        values = form.cleaned_data
        try:
            found = credentials.check_token(
                account_id=values["account_id"], access_token=values["access_token"]
            )
            with tenant_scope(workspace.id):
                connection = credentials.save_connection(
                    workspace=workspace,
                    by=request.tenancy.user,
                    credentials=found,
                    replace=values["replace"],
                )
        except Invalid as error:
            for name, messages in error.errors.items():
                form.add_error(name if name in form.fields else None, messages)
        except AccountMismatch as error:
            form.add_error(None, f"{error.detail} Either way, paste the token again.")
            mismatch = True
        except UpstreamUnavailable as error:
            form.add_error(None, error.detail)
    if connection is None:
        with tenant_scope(workspace.id):
            return settings_page(request, status=UNPROCESSABLE, form=form, mismatch=mismatch)
    connection.workspace = workspace
    notify(request, f"Connected to {connection.account_name}. Map what you want to bring in, then import.")
    try:
        refresh_catalogue(workspace, connection)
    except UpstreamUnavailable as error:
        notify(request, error.detail, "warn")
    return redirect("harvest")


@require_POST
@managers_only
def auto_sync(request: WorkspaceRequest) -> HttpResponse:
    """Switch automated sync on or off."""
    workspace = request.tenancy.workspace
    credentials.check_plan(workspace)
    on = request.POST.get("auto_sync") == "on"
    save_preferences(workspace=workspace, by=request.tenancy.user, auto_sync=on)
    words = "Automated sync is on. It begins tonight, at 02:00 UTC." if on else "Automated sync is off."
    if request.htmx:
        return toast(HttpResponse(status=204), words)
    notify(request, words)
    return redirect("harvest")


@managers_only
def disconnect(request: WorkspaceRequest) -> HttpResponse:
    """Ask, then forget the tokens and the mappings. Allowed on any plan."""
    workspace = request.tenancy.workspace
    connection = live_connection(workspace)
    if request.method != "POST":
        return confirm_page(
            request,
            heading=f"Disconnect {connection.account_name}?",
            text="Timebridge forgets the token and clears the mappings. Time that is here stays, and connecting the "
            "same account again makes no duplicates.",
            button="Disconnect",
            up=("Harvest", reverse("harvest")),
        )
    credentials.disconnect(workspace=workspace, by=request.tenancy.user)
    notify(
        request,
        f"Disconnected from {connection.account_name}. The token is forgotten here and the mappings are cleared; your "
        "time logs stay. Harvest offers no way to revoke a token from outside, so it is still valid there: "
        f"withdraw it at {WITHDRAW_URL}.",
        "",
    )
    return redirect("harvest")


# --- Mappings --------------------------------------------------------------------------------------------------------
def _mappings(
    request: WorkspaceRequest, connection: Connection, sheets: Sheets, **more: Any
) -> dict[str, Any]:
    wrong = sheets.first_wrong()
    tab = request.POST.get("tab") or request.GET.get("tab", "")
    if wrong and not (tab in sheets.by_slug and sheets.by_slug[tab].errors):
        tab = wrong.kind.slug
    return {
        **rights(request, connection),
        "sheets": sheets,
        "tab": tab if tab in KINDS else "clients",
        "unmapped_first": request.GET.get("unmapped") == "first",
        "filter": request.GET.get("filter", "")[:200],
        "stale": is_stale(connection) and connection.connected,
        "incoming": (waiting := incoming(connection)),
        "incoming_hours": f"{waiting.hours.normalize():,f}",
        **more,
    }


@require_POST
@managers_only
def mappings(request: WorkspaceRequest) -> HttpResponse:
    """Save all tables, fill one in by name, or make what is missing. `do`: save, suggest:TABLE, create:TABLE[:ID]."""
    workspace = request.tenancy.workspace
    credentials.check_plan(workspace)
    connection = live_connection(workspace)
    sheets = load_sheets(workspace, connection)
    sheets.take(request.POST.dict())
    verb, _, rest = request.POST.get("do", "save").partition(":")
    slug, _, harvest_id = rest.partition(":")
    if verb == "create" and slug in KINDS:
        return _create(request, connection, sheets, slug, harvest_id)
    if verb == "suggest" and slug in KINDS:
        found = sheets.suggest(slug, workspace)
        title = KINDS[slug].title.lower()
        words = (
            f"{found} matched by name. Look them over, then save."
            if found
            else f"No more {title} have a name that clearly matches one of yours."
        )
        return _sheets_page(request, connection, sheets, said=words, tone="" if found else "warn")
    saved = sheets.save(workspace=workspace, by=request.tenancy.user)
    if saved is None:
        return _sheets_page(request, connection, sheets, status=UNPROCESSABLE)
    if not request.htmx:
        notify(request, saved.words)
        return redirect(_at_tab(request))
    fresh = load_sheets(workspace, connection)
    return _sheets_page(request, connection, fresh, said=saved.words, tone="good")


def _create(
    request: WorkspaceRequest, connection: Connection, sheets: Sheets, slug: str, harvest_id: str
) -> HttpResponse:
    """Make one item here, or all that are missing, and map them. What is typed in other rows stays, unsaved."""
    workspace = request.tenancy.workspace
    wanted = [harvest_id] if harvest_id else sheets.by_slug[slug].missing
    made = create_missing(
        workspace=workspace,
        connection=connection,
        kind=KINDS[slug],
        harvest_ids=wanted,
        by=request.tenancy.user,
    )
    names = {line.row.harvest_id: line.row.harvest_name for line in sheets.by_slug[slug].lines}
    told = [f"“{names.get(one.harvest_id, one.harvest_id)}”" for one in made]
    more = f" and {len(told) - NAMED:,} more" if len(told) > NAMED else ""
    words = f"Created and mapped: {', '.join(told[:NAMED])}{more}." if told else "Nothing was missing."
    if not request.htmx:
        notify(request, words)
    fresh = load_sheets(workspace, connection)
    fresh.take(request.POST.dict())
    return _sheets_page(request, connection, fresh, said=words if request.htmx else "", tone="good")


def _at_tab(request: WorkspaceRequest) -> str:
    tab = request.POST.get("tab", "")
    return f"{reverse('harvest')}?tab={tab if tab in KINDS else 'clients'}#mappings"


def _sheets_page(
    request: WorkspaceRequest, connection: Connection, sheets: Sheets, *, status: int = 200, **more: Any
) -> HttpResponse:
    """The mapping tables as they stand in the form: by htmx alone, else within the page."""
    if not request.htmx:
        return settings_page(request, status=status, sheets=sheets, **more)
    context = _mappings(request, connection, sheets, **more)
    return render(request, "harvest/_mappings.html", context, status=status)


@unscoped
@require_POST
@managers_only
def refresh(request: WorkspaceRequest) -> HttpResponse:
    """Read Harvest's lists again. What is typed and not saved stays; where nothing changed, nothing is redrawn.

    `quietly`: the page asks by itself, since its lists are over five minutes old.
    """
    workspace = request.tenancy.workspace
    with tenant_scope(workspace.id):
        connection = credentials.usable_connection(workspace)
        before = _catalogue(connection)
    quietly = "quietly" in request.POST
    trouble = ""
    if not quietly or is_stale(connection):
        try:
            refresh_catalogue(workspace, connection)
        except UpstreamUnavailable as error:
            trouble = f"{error.detail} The rows are those read before."
    with tenant_scope(workspace.id):
        if not request.htmx:
            notify(request, trouble or "Harvest's lists are read again.", "warn" if trouble else "good")
            return redirect(_at_tab(request))
        connection = live_connection(workspace)
        if quietly and not trouble and before == _catalogue(connection):
            return HttpResponse(status=204)
        sheets = load_sheets(workspace, connection)
        sheets.take(request.POST.dict())
        said = trouble or ("" if quietly else "Harvest's lists are read again.")
        context = _mappings(request, connection, sheets, said=said, tone="warn" if trouble else "good")
        # Asked once: where Harvest does not answer, the page does not ask again and again.
        return render(request, "harvest/_mappings.html", context | {"stale": False})


def _catalogue(connection: Connection) -> frozenset[tuple[Any, ...]]:
    return frozenset(
        HarvestItem.objects.filter(workspace_id=connection.workspace_id).values_list(
            "kind", "harvest_id", "name", "code", "parent_id", "parent_name", "active"
        )
    )


# --- Runs ------------------------------------------------------------------------------------------------------------
@require_POST
@managers_only
def start(request: WorkspaceRequest) -> HttpResponse:
    """Start an import, a preview (`do=preview`), a sync, or a run of what was skipped (`do=incoming`)."""
    workspace, by = request.tenancy.workspace, request.tenancy.user
    verb = request.POST.get("do", "import")
    form = WindowForm(request.POST)
    run: SyncRun | None = None
    try:
        if verb == "incoming":
            run = start_incoming(workspace=workspace, by=by)
        elif verb == "sync":
            run = start_sync(workspace=workspace, by=by)
        elif form.is_valid():
            run = start_import(
                workspace=workspace,
                by=by,
                from_date=form.cleaned_data["from"],
                to_date=form.cleaned_data["to"],
                dry_run=verb == "preview",
            )
    except Invalid as error:
        for name, messages in error.errors.items():
            form.add_error(name if name in form.fields else None, messages)
    except RunInProgress as error:
        return _running_already(request, error)
    except NotConnected as error:
        notify(request, error.detail, "warn")
        return _to_sync(request)
    if run is None:
        if not request.htmx:
            return settings_page(request, status=UNPROCESSABLE, window=form)
        context = {**rights(request, connection_of(workspace)), "window": form}
        return retarget(
            render(request, "harvest/_sync_form.html", context, status=UNPROCESSABLE), "#sync-form"
        )
    return _started(request, run, window=None if verb in ("incoming", "sync") else form)


@require_POST
@managers_only
def confirm(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Answer what a guard asks: go on, and delete here what is gone from Harvest; or `do=leave` it."""
    workspace, by = request.tenancy.workspace, request.tenancy.user
    asking = _run(request, id)
    if request.POST.get("do") == "leave":
        leave_attention(workspace=workspace, by=by, run=asking)
        words = "Nothing is deleted. A later sync asks again if they are still gone."
        if not request.htmx:
            notify(request, words)
            return _to_sync(request)
        context = {**rights(request, asking.connection), **_shown(_run(request, id))}
        return toast(render(request, "harvest/_run.html", context), words)
    try:
        run = confirm_attention(workspace=workspace, by=by, run=asking)
    except RunInProgress as error:
        return _running_already(request, error)
    return _started(request, run)


@require_POST
@managers_only
def apply(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Import exactly what a preview showed."""
    try:
        run = start_apply(
            workspace=request.tenancy.workspace, by=request.tenancy.user, preview=_run(request, id)
        )
    except RunInProgress as error:
        return _running_already(request, error)
    return _started(request, run)


def _started(request: WorkspaceRequest, run: SyncRun, window: WindowForm | None = None) -> HttpResponse:
    if not request.htmx:
        return _to_sync(request)
    context = {**rights(request, run.connection), **_shown(run), "window": window}
    return trigger_client_event(render(request, "harvest/_started.html", context), RUNS_CHANGED)


def _running_already(request: WorkspaceRequest, error: RunInProgress) -> HttpResponse:
    """Say so, and show the one that runs."""
    if not request.htmx:
        notify(request, error.detail, "warn")
        return _to_sync(request)
    run = runs_of(request.tenancy.workspace).filter(id=str(error.extra["run"])).first()
    context = {**rights(request, run.connection if run else None), **_shown(run)}
    return toast(render(request, "harvest/_started.html", context), error.detail, "warn")


def _to_sync(request: WorkspaceRequest) -> HttpResponse:
    url = f"{reverse('harvest')}#sync"
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)


@require_GET
@workspace_page
def run_panel(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """A run's progress, or its result: what a live page asks for until the run has ended."""
    run = _run(request, id)
    context = {**rights(request, run.connection), **_shown(run), "asked": True}
    response = render(request, "harvest/_run.html", context)
    return response if run.live else trigger_client_event(response, RUNS_CHANGED)


@require_GET
@workspace_page
def run(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """A run with its entries, `outcome` and `reason` choosing some; by htmx the first of a group alone."""
    one = _run(request, id)
    # An entry that Harvest sent in no readable form has no date; it comes last.
    entries = entries_of(one).select_related(*SHOWN_OF_ENTRIES).annotate(on=Coalesce("spent_date", EARLIEST))
    outcome, reason = request.GET.get("outcome", ""), request.GET.get("reason", "")
    if outcome in Outcome.values:
        entries = entries.filter(outcome=outcome)
    if reason in Reason.values:
        entries = entries.filter(outcome__in=(Outcome.SKIPPED, Outcome.FAILED), reason=reason)
    peek = bool(request.htmx) and (request.htmx.target or "").startswith("group-")
    page = keyset.page(
        entries, order=LATEST_DAY, cursor=request.GET.get("cursor"), size=PEEK if peek else ENTRIES
    )
    name_what_came_in(one, page.rows, *SHOWN_OF_ENTRIES, *(f"former_log__{name}" for name in SHOWN_OF_LOGS))
    context = {
        **rights(request, one.connection),
        **_shown(one),
        "page": page,
        "rows": _told(request, one, page.rows),
        "linked": _linked(one, page.rows),
        "chosen": reason or outcome,
        "peek": peek,
        "kept": _kept(request, id),
    }
    return render(request, "harvest/_entries.html" if peek else "harvest/run.html", context)


def _told(
    request: WorkspaceRequest, run: SyncRun, entries: Sequence[RunEntry]
) -> list[tuple[RunEntry, Link | None, str]]:
    """Entries with what can be done about each, and of a preview where each would go."""
    places: dict[str, str] = {}
    if run.dry_run:
        plans = [entry.plan for entry in entries if entry.plan]
        clients = clients_of(request.tenancy.workspace).filter(
            id__in={plan["client"] for plan in plans if plan.get("client")}
        )
        projects = projects_of(request.tenancy.workspace).filter(
            id__in={plan["project"] for plan in plans if plan.get("project")}
        )
        places = {str(one.id): str(one) for one in (*clients, *projects)}
    return [
        (
            entry,
            remedy_of(entry),
            " · ".join(
                places[pk] for key in ("client", "project") if (pk := (entry.plan or {}).get(key)) in places
            ),
        )
        for entry in entries
    ]


def _linked(run: SyncRun, entries: Sequence[RunEntry]) -> set[str]:
    """Of the entries that this run linked, those that still are, and so can be unlinked."""
    joined = [entry for entry in entries if entry.outcome == Outcome.LINKED and not run.dry_run]
    if not joined:
        return set()
    links = SyncLink.objects.filter(
        workspace_id=run.workspace_id,
        account_id=run.account_id,
        external_id__in=[entry.external_id for entry in joined],
        time_log_id__in=[entry.time_log_id for entry in joined],
    )
    return set(links.values_list("external_id", flat=True))


@require_POST
@managers_only
def unlink(request: WorkspaceRequest, id: UUID, entry: UUID) -> HttpResponse:
    """Part an entry and the log it was linked to."""
    entries = entries_of(_run(request, id)).select_related("run")
    log = unlink_entry(
        workspace=request.tenancy.workspace,
        by=request.tenancy.user,
        entry=get_object_or_404(entries, id=entry),
    )
    notify(
        request,
        "Unlinked: the time log is one of its own again, and the Harvest entry comes in by itself with the next "
        "import that lists it.",
    )
    return redirect(back(request, reverse("time-log", args=[log.id])))


@managers_only
def undo(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Ask, then take back what a run brought in; say what stays, and why."""
    one = _run(request, id)
    result = _result(one)
    if request.method != "POST":
        return confirm_page(
            request,
            heading="Undo this import?",
            text=f"What came in by it ({result.imported + result.proposed:,} entries) is taken back, save what has "
            "been edited or settled since. Importing the window again brings it in anew.",
            button="Undo the import",
            up=("Import", reverse("harvest-run", args=[id])),
        )
    done = undo_run(workspace=request.tenancy.workspace, by=request.tenancy.user, run=one)
    entries = "1 entry" if done.undone == 1 else f"{done.undone:,} entries"
    if not done.kept:
        notify(request, f"Taken back: {entries}.")
        return redirect("harvest-run", id)
    notify(
        request,
        f"Taken back: {entries}. {len(done.kept):,} stay; they are listed below, with the reason.",
        "",
    )
    request.session[LEFT] = [
        str(id),
        [[str(kept.time_log or ""), str(kept.proposal or ""), kept.detail] for kept in done.kept[:KEPT]],
    ]
    return redirect("harvest-run", id)


def _kept(request: WorkspaceRequest, id: UUID) -> list[list[str]] | None:
    """What the last undo of this session left of a run, also when the page is looked at again."""
    run_id, kept = request.session.get(LEFT, ("", None))
    return kept if run_id == str(id) else None


def _run(request: WorkspaceRequest, id: UUID) -> SyncRun:
    return get_object_or_404(runs_of(request.tenancy.workspace), id=id)
