"""The control API under `/_sandbox/`: the test hooks over HTTP, in JSON. No part of Harvest's own API.

Answers 200 with what now holds, 400 with `{"error": ...}` for what makes no sense, 404 for what is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from . import wire
from .account import Account
from .faults import LABELS, Fault
from .resources import RESOURCES
from .state import Sandbox
from .wire import Json

# What can be done to one entry, beside editing and deleting it.
ENTRY_ACTIONS: Mapping[str, Callable[[Account, int], object]] = {
    "lock": lambda account, entry: account.lock_entries(entry),
    "unlock": lambda account, entry: account.unlock_entries(entry),
    "submit": lambda account, entry: account.submit(entry),
    "approve": lambda account, entry: account.approve(entry),
    "bill": lambda account, entry: account.bill(entry),
    "start": lambda account, entry: account.start_timer(entry),
    "stop": lambda account, entry: account.stop_timer(entry),
    "delete": lambda account, entry: account.delete_entry(entry),
}
SWITCHES = (
    "rate_limit",
    "retry_after",
    "rotate_refresh",
    "track_start_and_end",
    "unassigned_is_404",
    "administrators_edit_locked",
)


def settings_of(sandbox: Sandbox) -> dict[str, bool]:
    """The switches of the sandbox and of its main account."""
    account = sandbox.account
    return {
        "rate_limit": sandbox.rate_limit.enabled,
        "retry_after": sandbox.rate_limit.with_retry_after,
        "rotate_refresh": sandbox.identity.rotate,
        "track_start_and_end": bool(account.company["wants_timestamp_timers"]),
        "unassigned_is_404": account.unassigned_is_404,
        "administrators_edit_locked": account.administrators_edit_locked,
    }


def change_settings(sandbox: Sandbox, values: Mapping[str, Any]) -> None:
    """Raises ValueError for an unknown switch or a value that is no boolean."""
    if unknown := set(values) - set(SWITCHES):
        raise ValueError(f"unknown switch: {', '.join(sorted(unknown))}")
    account = sandbox.account
    for name, given in values.items():
        value = wire.boolean(given)
        match name:
            case "rate_limit":
                sandbox.rate_limit.enabled = value
            case "retry_after":
                sandbox.rate_limit.with_retry_after = value
            case "rotate_refresh":
                sandbox.identity.rotate = value
            case "track_start_and_end":
                account.track_start_and_end(value)
            case _:
                setattr(account, name, value)


def describe(sandbox: Sandbox) -> Json:
    """Everything that the page shows beside time entries."""
    identity = sandbox.identity
    tokens: dict[int, list[str]] = {}
    for token in identity.tokens.values():
        if token.personal:
            tokens.setdefault(token.person_id, []).append(token.value)
    return {
        "accounts": [asdict(name) for name in identity.accounts.values()],
        "people": [
            {
                "id": person.id,
                "name": person.name,
                "email": person.email,
                "users": person.users,
                "roles": [
                    sandbox.accounts[number].tables["users"][user]["access_roles"][0]
                    for number, user in person.users.items()
                    if user in sandbox.accounts[number].tables["users"]
                ],
                "tokens": tokens.get(person.id, []),
            }
            for person in identity.people.values()
        ],
        "oauth": {
            "client_id": identity.client_id,
            "client_secret": identity.client_secret,
            "redirect_prefixes": identity.redirect_prefixes,
            "grants": sum(not token.personal for token in identity.tokens.values()),
        },
        "settings": settings_of(sandbox),
        "rate_limit": {
            "limit": sandbox.rate_limit.limit,
            "window_seconds": sandbox.rate_limit.window_seconds,
            "refused": sandbox.rate_limit.refused,
            "used": {str(number): sandbox.rate_limit.used(number) for number in sandbox.accounts},
        },
        "faults": [{**asdict(fault), "label": LABELS[fault.kind]} for fault in sandbox.faults.active],
        "requests": len(sandbox.requests),
    }


def same_site(request: Request) -> bool:
    """Whether a write comes from this page or from no page at all: no foreign page may drive the sandbox."""
    return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")


Work = Callable[[Sandbox, Request, Mapping[str, Any]], Json]


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    def at(path: str, **works: Work) -> Route:
        async def endpoint(request: Request) -> Response:
            if request.method != "GET" and not same_site(request):
                return _json({"error": "not from another site"}, 403)
            try:
                body = await request.json() if await request.body() else {}
                with sandbox.lock:
                    return _json(works[request.method](sandbox, request, body))
            except (KeyError, wire.ApiError) as error:
                return _json({"error": f"not there: {error}"}, 404)
            except (ValueError, TypeError, AttributeError, re.error) as error:
                return _json({"error": str(error)}, 400)

        return Route(f"/_sandbox/{path}", endpoint, methods=list(works))

    return [
        at("state", GET=lambda box, request, body: describe(box)),
        at("settings", GET=lambda box, request, body: settings_of(box), PATCH=_change_settings),
        at("faults", GET=_faults, POST=_add_fault, DELETE=_clear_faults),
        at("faults/{id:int}", DELETE=_remove_fault),
        at("requests", GET=_requests, DELETE=_forget_requests),
        at("reset", POST=_reset),
        at("tokens/revoke", POST=_revoke),
        at("grants/revoke", POST=lambda box, request, body: {"revoked": box.revoke_grants()}),
        at("accounts/{account:int}/entries", POST=_add_entry),
        at("accounts/{account:int}/entries/{id:int}", GET=_entry, PATCH=_edit_entry, DELETE=_delete_entry),
        at("accounts/{account:int}/entries/{id:int}/{action}", POST=_act),
        at("accounts/{account:int}/{table}", POST=_insert),
        at("accounts/{account:int}/{table}/{id:int}", PATCH=_edit, DELETE=_remove),
    ]


def _json(value: Json, status: int = 200) -> Response:
    return Response(wire.encode(value), status, {"Cache-Control": "no-store"}, "application/json")


def _change_settings(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    change_settings(box, body)
    return settings_of(box)


def _faults(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    return describe(box)["faults"]


def _add_fault(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    if "kind" not in body:
        raise ValueError("kind is missing")
    return {"id": box.faults.add(Fault.read(dict(body)))}


def _remove_fault(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    box.faults.remove(request.path_params["id"])
    return _faults(box, request, body)


def _clear_faults(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    box.clear_faults()
    return []


def _requests(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    return [{**asdict(record), "at": record.at.isoformat()} for record in box.requests]


def _forget_requests(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    box.forget_requests()
    return []


def _reset(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    box.reset()
    return describe(box)


def _revoke(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    box.revoke(body["token"])
    return {}


def _account(box: Sandbox, request: Request) -> Account:
    return box.accounts[request.path_params["account"]]


def _add_entry(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    account = _account(box, request)
    return account.entry(account.add_entry(**body))


def _entry(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    return _account(box, request).entry(request.path_params["id"])


def _edit_entry(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    account = _account(box, request)
    account.edit_entry(request.path_params["id"], **body)
    return account.entry(request.path_params["id"])


def _delete_entry(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    _account(box, request).delete_entry(request.path_params["id"])
    return {}


def _act(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    account, entry = _account(box, request), request.path_params["id"]
    ENTRY_ACTIONS[request.path_params["action"]](account, entry)
    return account.entry(entry) if entry in account.timesheet.entries else {}


def _insert(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    account, table = _account(box, request), request.path_params["table"]
    if missing := [
        name for name, spec in RESOURCES[table].fields.items() if spec.required and name not in body
    ]:
        raise ValueError(f"missing: {', '.join(missing)}")
    return account.show(table, account.insert(table, **body))


def _edit(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    account, table, row = _account(box, request), request.path_params["table"], request.path_params["id"]
    account.edit(table, row, **body)
    return account.show(table, row)


def _remove(box: Sandbox, request: Request, body: Mapping[str, Any]) -> Json:
    _account(box, request).remove(request.path_params["table"], request.path_params["id"])
    return {}
