"""The sandbox's own pages: consent, as Harvest ID asks for it, and `/`, to look around and break things."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from . import control, wire
from .account import Account
from .faults import LABELS, Fault
from .identity import OAuthProblem, Person
from .state import Sandbox
from .timesheet import TimeEntry

HERE: Final = Path(__file__).parent
PAGE_SIZE: Final = 25
# The part of the page to come back to.
_ACTION_PLACES: Final = {
    "fault": "faults",
    "remove-fault": "faults",
    "settings": "settings",
    "revoke": "connect",
    "revoke-grants": "connect",
    "forget-requests": "requests",
}
_OAUTH_PARAMS: Final = ("client_id", "redirect_uri", "response_type", "state", "scope")
# No form-action: consent is a form whose answer leads to the app's own address.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    ui = _Pages(sandbox)
    return [
        Route("/", ui.home),
        Route("/oauth2/authorize", ui.consent, methods=["GET", "POST"]),
        Route("/_sandbox/entries", ui.add_entry, methods=["POST"]),
        Route("/_sandbox/entries/{account:int}/{id:int}", ui.entry, methods=["GET", "POST"]),
        Route("/_sandbox/do/{action}", ui.do, methods=["POST"]),
        Mount("/_sandbox/static", StaticFiles(directory=HERE / "static")),
        *control.routes(sandbox),
    ]


def _page(template: str, status: int = 200, **values: Any) -> Response:
    html = _templates.get_template(template).render(values)
    return HTMLResponse(html, status, {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})


def _problem(message: str, status: int = 400) -> Response:
    return _page("problem.html", status, message=message)


class _Pages:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.actions: Mapping[str, Callable[[FormData], object]] = {
            "fault": self._add_fault,
            "remove-fault": lambda form: sandbox.faults.remove(wire.integer(form["id"])),
            "clear-faults": lambda form: sandbox.clear_faults(),
            "settings": self._change_settings,
            "revoke": lambda form: sandbox.revoke(str(form["token"])),
            "revoke-grants": lambda form: sandbox.revoke_grants(),
            "forget-requests": lambda form: sandbox.forget_requests(),
            "reset": lambda form: sandbox.reset(),
        }

    # --- the page at / ---

    async def home(self, request: Request) -> Response:
        with self.sandbox.lock:
            account = self._account(request.query_params.get("account"))
            query = {key: value for key, value in request.query_params.items() if value}
            number = int(query.get("page", "1")) if query.get("page", "1").isdecimal() else 1
            number = max(1, number)
            try:
                found = list(itertools.islice(_matching(account, query), PAGE_SIZE * number + 1))
            except ValueError:
                return _problem("From and to are dates, such as 2026-05-31.")
            shown, more = (
                found[PAGE_SIZE * (number - 1) : PAGE_SIZE * number],
                len(found) > PAGE_SIZE * number,
            )

            def link(page: int) -> str:
                return f"/?{urlencode({**query, 'page': page})}#time"

            return _page(
                "home.html",
                account=account,
                state=control.describe(self.sandbox),
                entries=[_entry_row(account, entry) for entry in shown],
                total=len(account.timesheet.entries),
                query=query,
                filtered=bool(query.keys() - {"account", "page"}),
                later=link(number - 1) if number > 1 else None,
                earlier=link(number + 1) if more else None,
                today=self.sandbox.clock().date().isoformat(),
                requests=list(self.sandbox.requests)[-40:][::-1],
                fault_kinds=LABELS,
                base=str(request.base_url).rstrip("/"),
                **_choices(account),
            )

    def _account(self, number: str | None) -> Account:
        if number and number.isdecimal() and int(number) in self.sandbox.accounts:
            return self.sandbox.accounts[int(number)]
        return self.sandbox.account

    async def add_entry(self, request: Request) -> Response:
        if not control.same_site(request):
            return _problem("A page of another site cannot do that.", 403)
        form = await request.form()
        try:
            with self.sandbox.lock:
                account = self._account(str(form["account"]))
                running = form.get("running") == "on"
                account.add_entry(
                    **_entry_fields(form),
                    hours=form.get("hours") or ("0" if running else "1"),
                    running=running,
                )
        except (KeyError, ValueError):
            return _problem("That entry cannot be made: look at its date and its hours.")
        return _back(f"/?account={account.id}#time")

    async def entry(self, request: Request) -> Response:
        account = self.sandbox.accounts.get(request.path_params["account"])
        number = request.path_params["id"]
        if account is None or number not in account.timesheet.entries:
            return _problem("There is no such entry (any more).", 404)
        if request.method == "POST":
            if not control.same_site(request):
                return _problem("A page of another site cannot do that.", 403)
            form = await request.form()
            try:
                with self.sandbox.lock:
                    action = str(form.get("action", "save"))
                    if action == "save":
                        account.edit_entry(number, hours=form["hours"], **_entry_fields(form))
                    else:
                        control.ENTRY_ACTIONS[action](account, number)
            except (KeyError, ValueError):
                return _problem("That cannot be saved: look at the date and the hours.")
            except wire.ApiError as error:
                return _problem(error.reply.body.decode())
            return _back(f"/?account={account.id}#time")
        with self.sandbox.lock:
            row = account.timesheet.entries[number]
            return _page(
                "entry.html",
                account=account,
                entry=_entry_row(account, row),
                json=json.dumps(account.entry(number), indent=2, ensure_ascii=False),
                **_choices(account),
            )

    # --- buttons ---

    async def do(self, request: Request) -> Response:
        action = self.actions.get(request.path_params["action"])
        if action is None:
            return _problem("There is no such action.", 404)
        if not control.same_site(request):
            return _problem("A page of another site cannot do that.", 403)
        form = await request.form()
        try:
            with self.sandbox.lock:
                action(form)
        except (KeyError, ValueError, re.error) as error:
            return _problem(f"That makes no sense: {error}")
        return _back(f"/#{_ACTION_PLACES.get(request.path_params['action'], '')}")

    def _add_fault(self, form: FormData) -> None:
        self.sandbox.faults.add(Fault.read(dict(form)))

    def _change_settings(self, form: FormData) -> None:
        control.change_settings(self.sandbox, {name: form.get(name) == "on" for name in control.SWITCHES})

    # --- consent ---

    async def consent(self, request: Request) -> Response:
        form: Mapping[str, Any] = await request.form() if request.method == "POST" else request.query_params
        params = {name: str(form[name]) for name in _OAUTH_PARAMS if name in form}
        identity = self.sandbox.identity
        with self.sandbox.lock:
            try:
                identity.check_request(params)
            except OAuthProblem as problem:
                return _problem(str(problem))
            person = _chosen_person(self.sandbox, form.get("person"))
            decision = form.get("decision") if request.method == "POST" else None
            if decision == "deny":
                return _back(identity.deny(params))
            reach = [*person.users, *person.forecast_ids]
            chosen = frozenset(
                int(str(number))
                for number in (form.getlist("account") if isinstance(form, FormData) else [])
                if str(number).isdecimal() and int(str(number)) in reach
            )
            if decision == "allow" and (chosen or not reach):
                return _back(identity.allow(params, person, chosen))
            return _page(
                "consent.html",
                params=params,
                person=person,
                people=identity.people.values(),
                accounts=[identity.accounts[number] for number in reach],
                missing=decision == "allow",
            )


def _back(address: str) -> Response:
    return RedirectResponse(address, 303)


def _chosen_person(sandbox: Sandbox, number: Any) -> Person:
    people = sandbox.identity.people
    if number is not None and str(number).isdecimal() and int(number) in people:
        return people[int(number)]
    return next(iter(people.values()))


def _choices(account: Account) -> dict[str, Any]:
    tables = account.tables
    projects = sorted(tables["projects"].values(), key=lambda row: str(row["name"]))
    return {
        "users": [(row["id"], account.label("users", row)) for row in tables["users"].values()],
        "projects": [(row["id"], row["name"]) for row in projects],
        "tasks": [(row["id"], row["name"]) for row in tables["tasks"].values()],
    }


def _matching(account: Account, query: Mapping[str, str]) -> Iterator[TimeEntry]:
    """Entries as the page's filters ask for them, newest first. Raises ValueError for a bad date."""
    first = wire.day(query["from"]) if "from" in query else None
    last = wire.day(query["to"]) if "to" in query else None
    words, state = query.get("q", "").casefold(), query.get("state")
    sheet = account.timesheet
    for entry in sheet.newest_first(first, last):
        if "user" in query and str(entry.user_id) != query["user"]:
            continue
        if "project" in query and str(entry.project_id) != query["project"]:
            continue
        if words and words not in (entry.notes or "").casefold() and words != str(entry.id):
            continue
        if state == "running" and entry.timer_started_at is None:
            continue
        if state in ("locked", "open") and (sheet.locked_reason(entry) is None) == (state == "locked"):
            continue
        yield entry


def _entry_row(account: Account, entry: TimeEntry) -> dict[str, Any]:
    shown = account.entry(entry.id)
    return {
        **shown,
        "hours_text": f"{shown['hours']:.2f}" if isinstance(shown["hours"], int | float) else "?",
    }


def _entry_fields(form: FormData) -> dict[str, Any]:
    return {
        "project": wire.integer(form["project"]),
        "task": wire.integer(form["task"]),
        "user": wire.integer(form["user"]),
        "spent_on": str(form["spent_on"]),
        "notes": str(form.get("notes") or "").replace("\r\n", "\n") or None,
    }
