"""Holds every answer of the API against the OpenAPI document: status, content type, and each field of the body."""

from __future__ import annotations

import copy
import json
import re
from functools import cache, lru_cache
from typing import Any

from django.http import HttpResponse
from jsonschema import Draft202012Validator, FormatChecker

from accounts.rest.docs import document


@lru_cache(maxsize=1)
def strict_document() -> dict[str, Any]:
    """The document, in which no answer may hold a field that it does not name (problems aside)."""
    strict = copy.deepcopy(document())
    for name, schema in strict["components"]["schemas"].items():
        if "properties" in schema and name != "Problem":
            schema["additionalProperties"] = False
    return strict


@lru_cache(maxsize=1)
def templates() -> list[tuple[re.Pattern[str], str]]:
    """Each path of the document as a pattern, those without parameters first."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path) for path in paths]


@cache
def validator(schema: str) -> Draft202012Validator:
    whole = {**json.loads(schema), "components": strict_document()["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    for pattern, template in templates():
        if pattern.match(path):
            return document()["paths"][template].get(method.lower())
    return None


def check(method: str, path: str, response: HttpResponse) -> None:
    """Fail where the answer is not one that the document describes."""
    where = f"{method} {path} -> {response.status_code}"
    operation = operation_of(method, path)
    if operation is None:
        assert response.status_code in (404, 405), f"{where}: not in the document"
        declared: dict[str, Any] = {
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        }
    else:
        responses = operation["responses"]
        found = responses.get(str(response.status_code)) or (
            responses["default"] if response.status_code >= 400 else None
        )
        assert found is not None, f"{where}: this status is not in the document"
        declared = found
    content = declared.get("content")
    if not content:
        assert response.content == b"", f"{where}: a body where the document has none"
        return
    media_type = response.headers["Content-Type"].partition(";")[0]
    assert media_type in content, f"{where}: {media_type} is not in the document"
    if response.streaming or "json" not in media_type:
        return  # a file: its own tests open it
    if not media_type.endswith("json"):
        return  # a file
    body = response.json()
    errors = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator(json.dumps(content[media_type]["schema"])).iter_errors(body)
    ]
    assert not errors, f"{where}: {errors} in {body}"
    if response.status_code >= 400:
        assert body["status"] == response.status_code
        assert ("errors" in body) == (response.status_code == 400), f"{where}: {body}"
