"""The routes of Harvest API v2, as one table; each answers with a `Reply`.

Source: Harvest API v2, the endpoints' own pages. All of it runs under the sandbox's lock and does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import wire
from .account import Account, Viewer
from .resources import ADMIN, ANYBODY, MANAGER, RESOURCES, Resource
from .state import Sandbox
from .wire import PageRequest, Reply, Row, ok


@dataclass(frozen=True, slots=True)
class Call:
    """One request, past its credentials. `base` is its address without the query."""

    account: Account
    viewer: Viewer
    base: str
    query: Mapping[str, str]
    body: Mapping[str, Any]


Handler = Callable[..., Reply]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Registers a handler; `{}` in the path is an id, passed on as an int."""
    pattern = re.compile(path.replace("{}", r"(\d{1,18})") + "/?")

    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, pattern, handler))
        return handler

    return register


def answer(
    sandbox: Sandbox,
    method: str,
    path: str,
    *,
    base: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: Mapping[str, Any],
) -> Reply:
    """Credentials, rate limit, then the route. `path` starts after the version. Raises ApiError."""
    if not headers.get("user-agent"):
        raise wire.no_user_agent()
    account, viewer = _authenticate(sandbox, headers, query)
    throttled = sandbox.rate_limit.admit(account.id)
    if throttled:
        return throttled
    for allowed, pattern, handler in _ROUTES:
        if allowed == method and (found := pattern.fullmatch(path)):
            return handler(Call(account, viewer, base, query, body), *map(int, found.groups()))
    raise wire.unroutable()


def bearer(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else query.get("access_token", "")


def account_id(headers: Mapping[str, str], query: Mapping[str, str]) -> int | None:
    try:
        return wire.integer(headers.get("harvest-account-id") or query.get("account_id"))
    except ValueError:
        return None


def _authenticate(
    sandbox: Sandbox, headers: Mapping[str, str], query: Mapping[str, str]
) -> tuple[Account, Viewer]:
    """A wrong account id cannot be told from a bad token: both are 401 invalid_token."""
    token = sandbox.identity.token(bearer(headers, query))
    number = account_id(headers, query)
    if token is None or number is None or number not in sandbox.accounts:
        raise wire.invalid_token()
    user_id = sandbox.identity.people[token.person_id].users.get(number)
    account = sandbox.accounts[number]
    if token.account_ids is not None and number not in token.account_ids:
        raise wire.invalid_token()
    if user_id not in account.tables["users"] or not account.tables["users"][user_id]["is_active"]:
        raise wire.invalid_token()
    return account, account.viewer(user_id)


# --- company ---


@route("GET", "/company")
def show_company(call: Call) -> Reply:
    return ok(call.account.company)


@route("PATCH", "/company")
def update_company(call: Call) -> Reply:
    _require(call, ADMIN)
    casts: dict[str, Callable[[Any], Any]] = {
        "wants_timestamp_timers": wire.boolean,
        "weekly_capacity": wire.integer,
    }
    problems: list[str] = []
    values = wire.cast_fields(call.body, casts, problems)
    if problems:
        raise wire.refused(", ".join(problems))
    call.account.company.update({key: value for key, value in values.items() if value is not None})
    return ok(call.account.company)


# --- time entries ---


@route("GET", "/time_entries")
def list_entries(call: Call) -> Reply:
    sheet = call.account.timesheet
    ask = PageRequest.read(call.base, call.query, cursors=False)
    keys = sheet.find(call.viewer, call.query)
    window, envelope = wire.numbered_page(ask, len(keys))
    page = sheet.encode_page(keys[window], call.viewer)
    return Reply(200, b'{"time_entries":[' + page + b"]," + wire.encode(envelope)[1:])


@route("POST", "/time_entries")
def create_entry(call: Call) -> Reply:
    sheet = call.account.timesheet
    return Reply(201, sheet.encode(sheet.create(call.body, call.viewer), call.viewer))


@route("GET", "/time_entries/{}")
def show_entry(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    entry = sheet.get(entry_id)
    if not sheet.sees(call.viewer, entry):
        raise wire.not_found()
    return Reply(200, sheet.encode(entry, call.viewer))


@route("PATCH", "/time_entries/{}")
def update_entry(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    return Reply(200, sheet.encode(sheet.update(sheet.get(entry_id), call.body, call.viewer), call.viewer))


@route("DELETE", "/time_entries/{}")
def delete_entry(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    entry = sheet.get(entry_id)
    gone = sheet.encode(entry, call.viewer)
    sheet.delete(entry, call.viewer)
    return Reply(200, gone)


@route("PATCH", "/time_entries/{}/restart")
def restart_entry(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    return Reply(200, sheet.encode(sheet.restart(sheet.get(entry_id), call.viewer), call.viewer))


@route("PATCH", "/time_entries/{}/stop")
def stop_entry(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    return Reply(200, sheet.encode(sheet.stop(sheet.get(entry_id), call.viewer), call.viewer))


@route("DELETE", "/time_entries/{}/external_reference")
def delete_reference(call: Call, entry_id: int) -> Reply:
    sheet = call.account.timesheet
    sheet.drop_reference(sheet.get(entry_id), call.viewer)
    return ok({})


# --- people ---


@route("GET", "/users/me")
def show_me(call: Call) -> Reply:
    return ok(call.account.show("users", call.viewer.user_id, call.viewer))


@route("GET", "/users/me/project_assignments")
def list_my_assignments(call: Call) -> Reply:
    return _project_assignments(call, call.viewer.user_id, cursors=False)


@route("GET", "/users/{}/project_assignments")
def list_project_assignments(call: Call, user_id: int) -> Reply:
    call.account.row("users", user_id)
    if not call.viewer.is_administrator and user_id not in call.account.visible_people(call.viewer):
        raise wire.forbidden()
    return _project_assignments(call, user_id, cursors=True)


def _project_assignments(call: Call, user_id: int, *, cursors: bool) -> Reply:
    """Active assignments to active projects, newest first; the tasks within may be inactive ones."""
    tables = call.account.tables
    on_project: dict[int, list[Row]] = {}
    for row in tables["task_assignments"].values():
        on_project.setdefault(row["project_id"], []).append(row)
    rows = [
        row
        for row in tables["user_assignments"].values()
        if row["user_id"] == user_id
        and row["is_active"]
        and tables["projects"][row["project_id"]]["is_active"]
    ]
    if cursors:
        rows = [row for row in rows if row["updated_at"] >= _since(call)]

    def shown(row: Row) -> Row:
        rendered = call.account.render(RESOURCES["user_assignments"], row)
        del rendered["user"]
        client = tables["clients"][tables["projects"][row["project_id"]]["client_id"]]
        rendered["client"] = {"id": client["id"], "name": client["name"]}
        tasks = [
            call.account.render(RESOURCES["task_assignments"], task)
            for task in on_project.get(row["project_id"], [])
        ]
        for task in tasks:
            del task["project"]
        return rendered | {"task_assignments": tasks}

    return _page(call, "project_assignments", rows, shown, cursors=cursors)


@route("GET", "/users/{}/teammates")
def list_teammates(call: Call, user_id: int) -> Reply:
    manager = _manager(call, user_id)
    rows = [call.account.tables["users"][mate] for mate in manager["teammate_ids"]]
    return _page(call, "teammates", rows, _teammate, cursors=True)


@route("PATCH", "/users/{}/teammates")
def update_teammates(call: Call, user_id: int) -> Reply:
    """Replaces the set of teammates."""
    manager = _manager(call, user_id)
    try:
        mates = wire.integers(call.body.get("teammate_ids"))
    except ValueError:
        raise wire.refused("Teammates is not valid") from None
    if any(mate not in call.account.tables["users"] for mate in mates):
        raise wire.refused("Teammate does not exist")
    call.account.edit("users", manager["id"], teammate_ids=mates)
    return ok({"teammates": [_teammate(call.account.tables["users"][mate]) for mate in mates]})


def _manager(call: Call, user_id: int) -> Row:
    _require(call, ADMIN)
    user = call.account.row("users", user_id)
    if "manager" not in user["access_roles"]:
        raise wire.refused("User must be a manager to have teammates")
    return user


def _teammate(user: Row) -> Row:
    return {key: user[key] for key in ("id", "first_name", "last_name", "email")}


# --- every other table ---


def _routes_of(table: str, path: str, *, parent: str = "", writable: bool = True) -> None:
    """Registers list, show, create, update and delete of a table; with `parent` (a column), under its id."""
    resource = RESOURCES[table]
    ids = 2 if parent else 1

    def rows_of(call: Call, above: tuple[int, ...]) -> list[Row]:
        rows = call.account.tables[table].values()
        if above:
            call.account.row(resource.fields[parent].ref, above[0])
            rows = [row for row in rows if row[parent] == above[0]]  # type: ignore[assignment]
        return [row for row in rows if call.account.may_see(resource, row, call.viewer)]

    def one(call: Call, numbers: tuple[int, ...]) -> Row:
        row = call.account.row(table, numbers[-1])
        if numbers[:-1] and row[parent] != numbers[0]:
            raise wire.not_found()
        if not call.account.may_see(resource, row, call.viewer):
            raise wire.not_found()
        return row

    def shown(call: Call, row: Row) -> Row:
        return call.account.render(resource, row, call.viewer)

    def index(call: Call, *above: int) -> Reply:
        _require(call, resource.read_roles)
        if table == "users" and not (call.viewer.is_administrator or call.viewer.user["teammate_ids"]):
            raise wire.forbidden()  # managers list people once they have teammates
        rows = [row for row in rows_of(call, above) if _admitted(call, resource, row)]
        # Lists under a project are page-based although the tables' own lists go by cursor.
        cursors = resource.cursors and parent != "project_id"
        return _page(call, table, rows, lambda row: shown(call, row), cursors=cursors)

    def show(call: Call, *numbers: int) -> Reply:
        _require(call, resource.read_roles)
        return ok(shown(call, one(call, numbers)))

    def create(call: Call, *above: int) -> Reply:
        _require_write(call, resource, above[0] if parent == "project_id" else None)
        fixed = {parent: call.account.row(resource.fields[parent].ref, above[0])["id"]} if above else {}
        return ok(shown(call, call.account.create(resource, call.body, call.viewer, **fixed)), 201)

    def update(call: Call, *numbers: int) -> Reply:
        row = one(call, numbers)
        _require_write(call, resource, row["id"] if table == "projects" else row.get("project_id"), row)
        return ok(shown(call, call.account.update(resource, row, call.body)))

    def delete(call: Call, *numbers: int) -> Reply:
        row = one(call, numbers)
        _require_write(call, resource, row["id"] if table == "projects" else row.get("project_id"), row)
        gone = shown(call, row)
        call.account.delete(resource, row)
        return ok(gone)

    handlers: list[tuple[str, str, Handler]] = [("GET", path, index)]
    if path.count("{}") == ids - 1:
        handlers.append(("GET", path + "/{}", show))
    if writable:
        handlers += [
            ("POST", path, create),
            ("PATCH", path + "/{}", update),
            ("DELETE", path + "/{}", delete),
        ]
    for method, where, handler in handlers:
        route(method, where)(handler)


def _require(call: Call, roles: frozenset[str]) -> None:
    if not call.viewer.has_any(roles):
        raise wire.forbidden()


def _require_write(call: Call, resource: Resource, project_id: int | None, row: Row | None = None) -> None:
    """Administrators, the resource's own permissions, a project's managers, and the owner of an expense."""
    viewer = call.viewer
    if viewer.is_administrator:
        return
    of_project = resource.name in ("projects", "task_assignments", "user_assignments")
    if of_project and project_id in call.account.managed_projects(viewer):
        return
    if resource.name == "expenses" and row and not call.account.may_write_time_of(viewer, row["user_id"]):
        raise wire.forbidden()
    _require(call, resource.write_roles)


def _since(call: Call) -> int:
    value = call.query.get("updated_since")
    try:
        return wire.instant(value) if value else 0
    except ValueError:
        raise wire.refused(f"Invalid updated_since {value}") from None


def _admitted(call: Call, resource: Resource, row: Row) -> bool:
    for name in resource.filters:
        if call.query.get(name):
            try:
                if resource.fields[name].cast(call.query[name]) != row[name]:
                    return False
            except ValueError:
                raise wire.refused(f"Invalid {name} {call.query[name]}") from None
    if "spent_date" in resource.fields:
        try:
            if call.query.get("from") and row["spent_date"] < wire.day(call.query["from"]):
                return False
            if call.query.get("to") and row["spent_date"] > wire.day(call.query["to"]):
                return False
        except ValueError:
            raise wire.refused("Invalid from or to") from None
    return bool(row["updated_at"] >= _since(call))


def _page(call: Call, key: str, rows: list[Row], shown: Callable[[Row], Row], *, cursors: bool) -> Reply:
    """Newest first, in either paging style."""
    rows.sort(key=lambda row: int(row["id"]), reverse=True)
    ask = PageRequest.read(call.base, call.query, cursors=cursors)
    if cursors:
        window, envelope = wire.cursor_page(ask, [row["id"] for row in rows])
    else:
        window, envelope = wire.numbered_page(ask, len(rows))
    return ok({key: [shown(row) for row in rows[window]], **envelope})


for _table in (
    "users",
    "clients",
    "contacts",
    "projects",
    "tasks",
    "roles",
    "expense_categories",
    "expenses",
    "invoices",
    "invoice_item_categories",
    "estimates",
    "estimate_item_categories",
):
    _routes_of(_table, f"/{_table}")
for _table in ("task_assignments", "user_assignments"):
    _routes_of(_table, f"/{_table}", writable=False)
    _routes_of(_table, f"/projects/{{}}/{_table}", parent="project_id")
for _table in ("billable_rates", "cost_rates"):
    _routes_of(_table, f"/users/{{}}/{_table}", parent="user_id")
_routes_of("invoice_messages", "/invoices/{}/messages", parent="invoice_id")
_routes_of("invoice_payments", "/invoices/{}/payments", parent="invoice_id")
_routes_of("estimate_messages", "/estimates/{}/messages", parent="estimate_id")

__all__ = ["ANYBODY", "MANAGER", "Call", "account_id", "answer", "bearer"]
