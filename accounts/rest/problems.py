"""Every error under /api/ as an RFC 9457 problem: `application/problem+json` with type, title, status, detail.

`type` is a slug (`validation-error`, `plan-required`, ...). Bad input (400) also carries `errors`, field -> messages;
a field inside a list or an object is named by its path (`mappings.0.target`), and what concerns no field in particular
is under `detail`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.signals import got_request_exception
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from accounts.errors import Invalid, ServiceError

logger = logging.getLogger("django.request")

CONTENT_TYPE = "application/problem+json"
DETAIL = "detail"

# What DRF raises -> the problem's slug; a class of our own says its slug itself.
SLUGS: dict[type[Exception], str] = {
    exceptions.NotAuthenticated: "not-authenticated",
    exceptions.AuthenticationFailed: "not-authenticated",
    exceptions.PermissionDenied: "forbidden",
    exceptions.NotFound: "not-found",
    exceptions.MethodNotAllowed: "method-not-allowed",
    exceptions.NotAcceptable: "not-acceptable",
    exceptions.UnsupportedMediaType: "unsupported-media-type",
    exceptions.Throttled: "too-many-requests",
    exceptions.ParseError: "malformed-request",
}
NOTHING_HERE = "There is nothing here with this id or address."
CROSSED = "Somebody changed this at the same moment. Nothing was saved: load it again and repeat."
# PostgreSQL: serialization failure, deadlock. One of two crossing requests is ended, and may be sent again.
CROSSING_STATES = {"40001", "40P01"}


class Problem(exceptions.APIException):
    """Raise it for a problem that no service error describes. `extra` become further members."""

    def __init__(self, status: int, slug: str, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status_code = status
        self.slug = slug
        self.extra = extra


def problem_response(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> HttpResponse:
    """The problem as a response, also for use outside of REST views. `extra` become further members."""
    body: dict[str, object] = {
        "type": slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    # A lone surrogate that a client sent and a message repeats cannot be encoded: it is shown as "?".
    text = json.dumps({**body, **(extra or {})}, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return HttpResponse(text, status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Turn whatever a REST view raises into a problem. What nobody foresaw is logged, and a 500 without its words."""
    match error:
        case Invalid():
            return problem_response(400, error.slug, error.detail, errors=error.errors)
        case ServiceError():
            return problem_response(error.status, error.slug, error.detail, extra=error.extra)
        case Problem():
            return problem_response(error.status_code, error.slug, str(error.detail), extra=error.extra)
        case exceptions.ValidationError():
            return problem_response(
                400,
                Invalid.slug,
                "Some of what was sent is not valid. Nothing was changed.",
                errors=flatten(error.detail),
            )
        case exceptions.APIException():
            detail = NOTHING_HERE if isinstance(error, exceptions.NotFound) else str(error.detail)
            errors = {DETAIL: [detail]} if error.status_code == 400 else None
            slug = next((SLUGS[kind] for kind in type(error).__mro__ if kind in SLUGS), "error")
            return problem_response(error.status_code, slug, detail, errors=errors, headers=_headers(error))
        case Http404():
            return problem_response(404, "not-found", NOTHING_HERE)
        case PermissionDenied():
            return problem_response(403, "forbidden", "You may not do this.")
        case RequestDataTooBig():
            return problem_response(413, "content-too-large", "The body is too large.")
        case SuspiciousOperation():
            detail = "The request cannot be understood."
            return problem_response(400, "malformed-request", detail, errors={DETAIL: [detail]})
        case IntegrityError() | OperationalError() if _crossed(error):
            logger.warning("Two requests crossed: %s", type(error).__name__)
            return problem_response(409, "conflict", CROSSED)
    return _unforeseen(error, context["request"]._request)


def flatten(detail: Any) -> dict[str, list[str]]:
    """DRF's nested error detail as field path -> messages."""
    errors: dict[str, list[str]] = {}
    for path, message in _walk(detail, ""):
        errors.setdefault(path or DETAIL, []).append(message)
    return errors


def _walk(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = str(name)
            yield from _walk(inner, path if own == DETAIL and path else f"{path}.{own}" if path else own)
    elif isinstance(detail, (list, tuple)):
        for index, inner in enumerate(detail):
            if isinstance(inner, (Mapping, list, tuple)):
                yield from _walk(inner, f"{path}.{index}" if path else str(index))
            else:
                yield path, str(inner)
    else:
        yield path, str(detail)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def _crossed(error: Exception) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, IntegrityError) or state in CROSSING_STATES


def _unforeseen(error: Exception, request: HttpRequest) -> HttpResponse:
    logger.error("Internal server error: %s", request.path, exc_info=error, extra={"status_code": 500})
    got_request_exception.send(sender=None, request=request)
    return problem_response(500, "internal-error", "Something went wrong here. It has been noted.")
