"""The OpenAPI document: what every operation has in common, said once. `docs.py` serves it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_lib_doc_excludes
from rest_framework.request import Request

from accounts.rest.fields import ID_SCHEMA, Resource
from accounts.rest.idempotency import HEADER, MOST_CHARACTERS, REPLAYED
from accounts.rest.problems import CONTENT_TYPE

CONVENTIONS = """Clients, projects, time, what comes in from Harvest, and the Harvest connection of a workspace.

**Authentication**: `Authorization: Bearer KEY`, where an API key belongs to one person in one workspace; or the
session cookie, with the CSRF token in `X-CSRFToken` on everything but GET, and `X-Workspace: SLUG` where the person is
in several workspaces.

**Values**: ids are opaque strings, money and hours decimal strings, dates `YYYY-MM-DD`, times RFC 3339 in UTC.
In a body, fields that are only read are passed over (what was read may be sent back), a field that does not
exist is an error. In a query, a parameter that does not exist or a bad value is an error, an empty one is none.
Bodies are JSON in UTF-8.

**Lists** come in pages: follow `next` until it is null.

**Errors** are RFC 9457 problems, `application/problem+json`: `type` is a slug that programs may rely on, and bad input
(400) has `errors`, field to messages; what concerns no field in particular is under `detail`, what is inside a list
under its path (`mappings.0.target`). An error changes nothing. An id of another workspace does not exist: 404 in a
path, 400 in a body.

**Limits**: an API key may send so many requests in a time. Every answer to it says how it stands, in `RateLimit-Policy`
(`"key";q=3000;w=60`: 3000 in 60 seconds) and `RateLimit` (`"key";r=2999;t=60`: so many left, for so many seconds to
come); one too many is a 429 (`too-many-requests`) with `Retry-After`. A person's sessions are counted together, as
`"person"`.

**Idempotency-Key** on any POST: the same key and body within 24 hours gives the first answer again, with
`Idempotency-Replayed: true`; the same key with another body or path is a 409. Errors are not kept.
"""

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Some types carry further members.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A slug, such as validation-error."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, in words for people."},
        "errors": {
            "type": "object",
            "description": "With status 400: field to messages.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}

WORDS = {
    400: "What was sent is not valid.",
    401: "No credentials, or bad ones.",
    403: "Not allowed by role, plan or a read-only key.",
    404: "Nothing here with this id, or no such workspace.",
    409: "The state of things forbids it; `type` says which.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    429: "This API key asks too often; Retry-After says in how many seconds it may again.",
}


WAIT: dict[str, Any] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "RateLimit-Policy": {
        "description": 'The limit of a key: `"key";q=REQUESTS;w=SECONDS`.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'How the key stands: `"key";r=REQUESTS LEFT;t=SECONDS`.',
        "schema": {"type": "string"},
    },
}


class ProblemAutoSchema(AutoSchema):
    """Adds to each operation its problem answers, the headers it understands, and ids as opaque strings."""

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._get_parameters()
        parameters.append(
            {
                "name": "X-Workspace",
                "in": "header",
                "description": "The workspace's slug, where a session's person is in several.",
                "schema": {"type": "string"},
            }
        )
        if self.method == "POST":
            parameters.append(
                {
                    "name": HEADER,
                    "in": "header",
                    "description": "A value of your own for this one deed, so that sending it again repeats nothing.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS},
                }
            )
        return parameters

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)
        if direction == "response":
            # An answer holds all its fields; what may be written does not bound what may be read.
            schema["required"] = sorted(schema.get("properties", {}))
            for field in schema.get("properties", {}).values():
                for bound in ("minimum", "maximum", "minLength", "maxLength", "default"):
                    field.pop(bound, None)
        return schema

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "in": "path", "required": True, "schema": ID_SCHEMA} for name in variables]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        for code, response in responses.items():
            if self.method == "POST" and code.startswith("2"):
                response.setdefault("headers", {})[REPLAYED] = {
                    "description": "Set on an answer that is given again.",
                    "schema": {"type": "string", "enum": ["true"]},
                }
        codes = {401, 403, 404, 429}
        if self.method != "GET":
            codes |= {400, 409}
        if self._is_list_view() or self._get_filter_parameters():
            codes.add(400)
        if self.method in ("POST", "PUT", "PATCH"):
            codes |= {413, 415}
        content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status in sorted(codes):
            responses.setdefault(str(status), {"description": WORDS[status], "content": content})
        responses.setdefault("default", {"description": "Any other error.", "content": content})
        responses["429"]["headers"] = WAIT
        return responses


def add_conventions(
    result: dict[str, Any], generator: SchemaGenerator, request: Request | None, public: bool
) -> dict[str, Any]:
    """A postprocessing hook: the conventions in words, and the problem that every operation refers to."""
    result["info"]["description"] = CONVENTIONS
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    return result


def lib_doc_excludes() -> list[type]:
    """Base classes whose docstrings describe nothing on the wire."""
    return [*get_lib_doc_excludes(), Resource]


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.rest.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of one person in one workspace.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.rest.authentication.WorkspaceSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Signing in on the pages; unsafe methods need X-CSRFToken too.",
        }
