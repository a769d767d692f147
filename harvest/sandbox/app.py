"""The sandbox as an ASGI app: reads a request, lets a fault strike, asks `api` or `identity`, logs it."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import api, pages, wire
from .faults import Fault, FaultKind
from .state import RequestRecord, Sandbox
from .wire import ApiError, Reply

TRANSPORT: Final = "harvest.sandbox.transport"
_API_PREFIX: Final = re.compile(r"(?:/api)?/v2(?=/|$)")
_METHODS: Final = ["GET", "POST", "PATCH", "DELETE", "PUT"]
_GARBAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"
)


def make_app(sandbox: Sandbox) -> Starlette:
    def endpoint(work: Callable[[Request, Mapping[str, Any]], Reply]) -> Endpoint:
        return Endpoint(sandbox, work)

    def accounts(request: Request, body: Mapping[str, Any]) -> Reply:
        if not request.headers.get("user-agent"):
            raise wire.no_user_agent()
        token = sandbox.identity.token(api.bearer(request.headers, request.query_params))
        if token is None:
            raise wire.invalid_token()
        return wire.ok(sandbox.identity.accounts_of(token))

    def token(request: Request, body: Mapping[str, Any]) -> Reply:
        if not request.headers.get("user-agent"):
            raise wire.no_user_agent()
        return wire.ok(sandbox.identity.exchange({key: str(value) for key, value in body.items()}))

    def call(request: Request, body: Mapping[str, Any]) -> Reply:
        path = request.url.path
        found = _API_PREFIX.match(path)
        if found is None:
            raise wire.unroutable()
        return api.answer(
            sandbox,
            request.method,
            path[found.end() :],
            base=str(request.url.replace(query="")),
            headers=request.headers,
            query=request.query_params,
            body=body,
        )

    return Starlette(
        routes=[
            *pages.routes(sandbox),
            Route("/api/v2/accounts", endpoint(accounts), methods=["GET"]),
            Route("/api/v2/oauth2/token", endpoint(token), methods=["POST"]),
            Route("/{path:path}", endpoint(call), methods=_METHODS),
        ]
    )


class Endpoint:
    """Wraps the work of one request, done under the sandbox's lock, in everything that surrounds it."""

    def __init__(self, sandbox: Sandbox, work: Callable[[Request, Mapping[str, Any]], Reply]) -> None:
        self.sandbox = sandbox
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, started = Request(scope, receive), time.perf_counter()
        with self.sandbox.lock:
            fault = self.sandbox.faults.strike(request.method, request.url.path, _page_number(request))
        if fault and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        cut = fault is not None and fault.kind in (FaultKind.CUT, FaultKind.LOST)
        reply = fault.instead() if fault else None
        if reply is None and not (fault and fault.kind is FaultKind.CUT):
            body = await _body(request)
            with self.sandbox.lock:
                reply = self._work(request, body)
        self._log(request, started, 0 if cut or reply is None else reply.status, fault)
        if cut or reply is None:
            await _cut(scope)
            return
        await self._send(reply, fault, scope, receive, send)

    def _work(self, request: Request, body: Mapping[str, Any] | ApiError) -> Reply:
        try:
            if isinstance(body, ApiError):
                raise body
            return self.work(request, body)
        except ApiError as error:
            return error.reply

    async def _send(
        self, reply: Reply, fault: Fault | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = {
            "Cache-Control": "no-store",
            "Date": format_datetime(self.sandbox.clock(), usegmt=True),
            "Vary": "Origin",
            "X-Request-Id": str(uuid.uuid4()),
            **reply.headers,
        }
        kind = fault.kind if fault else None
        if kind is FaultKind.GARBAGE:
            reply = Reply(200, _GARBAGE, "text/html; charset=utf-8")
        elif kind is FaultKind.CUT_JSON:
            reply.body = reply.body[: len(reply.body) // 2]
        headers["Content-Type"] = reply.content_type
        if kind is FaultKind.TRUNCATED:
            headers["Content-Length"] = str(len(reply.body))
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": reply.status, "headers": raw})
            half = reply.body[: len(reply.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await _cut(scope, gently=True)
            return
        await Response(reply.body, reply.status, headers)(scope, receive, send)

    def _log(self, request: Request, started: float, status: int, fault: Fault | None) -> None:
        query = [(key, value) for key, value in parse_qsl(request.url.query) if key != "access_token"]
        self.sandbox.record(
            RequestRecord(
                at=self.sandbox.clock(),
                method=request.method,
                path=request.url.path,
                query=urlencode(query),
                status=status,
                milliseconds=(time.perf_counter() - started) * 1000,
                account_id=api.account_id(request.headers, request.query_params),
                fault=fault.kind if fault else None,
            )
        )


async def _cut(scope: Scope, *, gently: bool = False) -> None:
    """Closes the connection under the request; `gently` lets what was written reach the other side first."""
    transport = scope["extensions"][TRANSPORT]
    if gently:
        transport.close()
    else:
        transport.abort()
    await asyncio.sleep(
        0.01
    )  # the server learns of it in a later turn of the loop, and then expects no answer


def _page_number(request: Request) -> int:
    value = request.query_params.get("page", "1")
    return int(value) if value.isdecimal() else 1


async def _body(request: Request) -> dict[str, Any] | ApiError:
    """JSON or form data; `a[b]=c` in a form is nested. What cannot be read is Harvest's 400."""
    kind = request.headers.get("content-type", "")
    if kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        async with request.form() as form:
            return _nested(form)
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(Reply(400, wire.encode({"status": 400, "error": "Bad Request"})))
    return body


def _nested(form: FormData) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for key, value in form.multi_items():
        found = re.fullmatch(r"(\w+)(?:\[(\w*)\])?", key)
        if not found or not isinstance(value, str):
            continue
        name, inner = found.groups()
        if inner is None:
            body[name] = value
        elif inner == "":
            body.setdefault(name, []).append(value)
        elif isinstance(body.setdefault(name, {}), dict):
            body[name][inner] = value
    return body
