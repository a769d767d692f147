"""The OpenAPI document: valid, without gaps, stable names. That answers match it is checked on every call of `Api`."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from accounts.rest.docs import document

pytestmark = pytest.mark.django_db


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def test_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_document_is_made_without_a_warning() -> None:
    call_command("spectacular", "--fail-on-warn", stdout=StringIO(), stderr=StringIO())


def test_each_operation_declares_its_problems_headers_and_security() -> None:
    for method, path, operation in operations():
        where = f"{method} {path}"
        codes = set(operation["responses"])
        assert {"401", "403", "404", "default"} <= codes, where
        problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/Problem"}, where
        assert operation["security"] == [{"apiKey": []}, {"session": []}], where
        headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        assert headers == {"X-Workspace"} | ({"Idempotency-Key"} if method == "post" else set()), where
        if method in ("post", "patch", "put"):
            assert {"400", "409", "413", "415"} <= codes, where


def test_lists_declare_their_paging() -> None:
    lists = [
        operation for method, path, operation in operations() if operation["operationId"].endswith("_list")
    ]
    assert len(lists) >= 8
    for operation in lists:
        names = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert {"page_size", "cursor", "ordering"} <= names, operation["operationId"]


def test_enums_have_stable_names() -> None:
    schemas = document()["components"]["schemas"]
    enums = {name for name, schema in schemas.items() if "enum" in schema}
    assert {"Role", "Plan", "ApiKeyAccess", "WorkItemStatus", "Source", "SyncState"} <= enums
    assert not [name for name in enums if name.endswith("Enum")]


def test_schema_is_served_to_anyone_as_json_or_yaml() -> None:
    http = Client()
    response = http.get("/api/schema/")
    assert response.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    assert json.loads(response.content) == json.loads(json.dumps(document()))
    assert http.get("/api/schema/?format=json").json()["openapi"] == "3.1.0"
    assert http.get("/api/schema/", headers={"Accept": "application/yaml"}).content.startswith(
        b"openapi: 3.1.0"
    )
    assert http.get("/api/schema/?format=yaml").content.startswith(b"openapi: 3.1.0")
    assert http.get("/api/schema/?format=xml").status_code == 404


def test_docs_page_keeps_to_this_host_and_allows_no_inline_script() -> None:
    http = Client()
    page = http.get("/api/docs/")
    text = page.content.decode()
    assert page.status_code == 200
    assert "swagger-ui-bundle.js" in text
    assert "//cdn" not in text
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert "script-src 'self'" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    script = http.get("/api/docs/?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert b"SwaggerUIBundle" in script.content
