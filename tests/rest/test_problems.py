"""Every error under /api/ is an RFC 9457 problem, and nothing that a client can send is a 500."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import Client

from accounts.models import Membership
from accounts.rest.problems import flatten
from accounts.tenancy import tenant_scope
from clients import services
from config.wsgi import Utf8Request, application
from tests.factories import make_client, make_key, make_workspace
from tests.rest.client import Api

pytestmark = pytest.mark.django_db


def problem(response: Any) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v1/nothing/", "/api/v2/clients/", "/api/v1/clients/x/y/"]
)
def test_unknown_path_is_a_problem_for_anyone(method: str, path: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, path)
    assert response.status_code == 404
    assert problem(response)["type"] == "not-found"


def test_path_without_its_slash_says_so(admin: Membership) -> None:
    response = Api(admin).post("/api/v1/clients", {"name": "Acme"})
    assert response.status_code == 404
    assert "ends with a slash" in problem(response)["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "clients/"), ("DELETE", "me/"), ("OPTIONS", "clients/")]
)
def test_wrong_method_is_405_whatever_the_role(method: str, path: str, member: Membership) -> None:
    response = Api(member).send(method, path)
    assert response.status_code == 405
    assert problem(response)["type"] == "method-not-allowed"
    assert "GET" in response.headers["Allow"]


BAD_BODIES = {
    "truncated": b'{"name": ',
    "empty": b"",
    "not utf-8": b'{"name": "\xff"}',
    "nan": b'{"name": NaN}',
    "infinity": b'{"name": -Infinity}',
    "thousands of digits": b'{"name": ' + b"9" * 5000 + b"}",
    "nested too deeply": b"[" * 100_000,
    "nested too deeply, closed": b"[" * 50_000 + b"]" * 50_000,
    "array": b"[]",
    "string": b'"Acme"',
    "number": b"17",
    "null": b"null",
    "name is a number": b'{"name": 17}',
    "name is an object": b'{"name": {}}',
    "name is null": b'{"name": null}',
    "name is true": b'{"name": true}',
    "name is blank": b'{"name": "  "}',
    "name holds NUL": b'{"name": "a\\u0000b"}',
    "name holds a lone surrogate": b'{"name": "\\ud800"}',
    "name is too long": b'{"name": "' + b"a" * 201 + b'"}',
    "unknown field": b'{"name": "Acme", "nmae": "x"}',
    "unknown field with a lone surrogate": b'{"name": "Acme", "\\ud800": "x"}',
    "archived is a list": b'{"name": "Acme", "archived": []}',
    "archived is a word with a surrogate": b'{"name": "Acme", "archived": "\\udfff"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_body_is_a_400_with_errors_and_changes_nothing(body: bytes, admin: Membership) -> None:
    api = Api(admin)
    response = api.post("clients/", body)
    assert response.status_code == 400
    errors = problem(response)["errors"]
    assert errors
    assert all(isinstance(messages, list) and messages for messages in errors.values())
    assert api.get("clients/").json()["results"] == []


def test_errors_name_their_fields(admin: Membership) -> None:
    response = Api(admin).post(
        "time-logs/",
        {"client": "x", "seconds": -1, "spent_date": "2026-02-30", "billable": "perhaps", "whose": 1},
    )
    assert response.status_code == 400
    body = problem(response)
    assert body["type"] == "validation-error"
    assert set(body["errors"]) == {"client", "seconds", "spent_date", "billable", "whose"}
    assert body["errors"]["client"] == ["There is nothing with this id."]


def test_other_content_types_are_415(admin: Membership) -> None:
    http = Client(headers={"Authorization": f"Bearer {make_key(admin)}"})
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "a" * 999,
    ):
        response = http.generic("POST", "/api/v1/clients/", b"name=Acme", content_type=content_type)
        assert response.status_code == 415, content_type
        assert problem(response)["type"] == "unsupported-media-type"


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "hex", "rot13", "no-such-charset", "idna", "latin-1"])
def test_json_and_addresses_are_utf_8_whatever_charset_is_claimed(
    charset: str, admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert application.request_class is Utf8Request
    # The test client makes requests of Django's own class; the server makes them of ours.
    monkeypatch.setattr("django.test.client.WSGIRequest", Utf8Request)
    http = Client(headers={"Authorization": f"Bearer {make_key(admin)}"})
    content_type = f"application/json; charset={charset}"
    made = http.generic("POST", "/api/v1/clients/", '{"name": "Zoë"}'.encode(), content_type=content_type)
    assert (made.status_code, made.json()["name"]) == (201, "Zoë")
    found = http.generic("GET", "/api/v1/clients/?q=zo%C3%AB", content_type=content_type)
    assert [one["name"] for one in found.json()["results"]] == ["Zoë"]


def test_body_beyond_the_limit_is_413(admin: Membership, settings: Any) -> None:
    body = json.dumps({"name": "a" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    response = Api(admin).post("clients/", body)
    assert response.status_code == 413
    assert problem(response)["type"] == "content-too-large"


def test_more_query_parameters_than_the_limit_are_a_400(admin: Membership, settings: Any) -> None:
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    response = Api(admin).get("/api/v1/clients/?" + "&".join(["x=1"] * (most + 1)))
    assert response.status_code == 400
    assert problem(response)["type"] == "malformed-request"


def test_answer_that_the_client_does_not_take_is_406(admin: Membership) -> None:
    response = Api(admin).get("clients/", headers={"Accept": "text/html"})
    assert response.status_code == 406
    assert problem(response)["type"] == "not-acceptable"
    browser = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
    assert Api(admin).get("clients/", headers={"Accept": browser}).status_code == 200


@pytest.mark.parametrize(
    "name", ["x", "0", "%00", "..%2f", "a" * 2000, "00000000-0000-0000-0000-000000000000", "{id}"]
)
def test_id_that_cannot_be_one_is_a_404(name: str, admin: Membership) -> None:
    response = Api(admin).http.get(
        f"/api/v1/clients/{name}/", headers={"Authorization": f"Bearer {make_key(admin)}"}
    )
    assert response.status_code == 404
    assert problem(response)["type"] == "not-found"


def test_id_has_one_spelling(admin: Membership) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    assert api.get(f"clients/{client.id}/").status_code == 200
    for other in (str(client.id).upper(), client.id.hex, f"{{{client.id}}}"):
        assert api.get(f"clients/{other}/").status_code == 404


def test_requests_that_cross_are_a_409(admin: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**values: Any) -> None:
        raise IntegrityError("insert or update violates foreign key constraint")

    monkeypatch.setattr("clients.services.save_client", refuse)
    response = Api(admin).post("clients/", {"name": "Acme"})
    assert response.status_code == 409
    assert problem(response)["type"] == "conflict"


def test_what_nobody_foresaw_is_a_problem_without_its_words(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**values: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr("clients.services.save_client", fail)
    api = Api(admin)
    api.http.raise_request_exception = False
    response = api.post("clients/", {"name": "Acme"})
    assert response.status_code == 500
    assert problem(response)["type"] == "internal-error"
    assert "secret" not in response.content.decode()


def test_nested_errors_are_named_by_their_path() -> None:
    assert flatten({"mappings": [{}, {"target": ["No."], "detail": ["Row."]}], "detail": ["All."]}) == {
        "mappings.1.target": ["No."],
        "mappings.1": ["Row."],
        "detail": ["All."],
    }
    assert flatten(["Plain."]) == {"detail": ["Plain."]}
    assert flatten({"ids": {0: ["Bad."]}}) == {"ids.0": ["Bad."]}


@pytest.mark.django_db(transaction=True)
def test_row_that_vanishes_meanwhile_is_a_409_and_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is checked when the transaction ends: by then another request has deleted the client."""
    admin = make_workspace()
    client = make_client(admin.workspace)
    save_project = services.save_project

    def delete_client() -> None:
        with tenant_scope(admin.workspace_id):
            client.delete()
        connection.close()

    def save_then_lose_the_client(**values: Any) -> Any:
        project = save_project(**values)
        other = threading.Thread(target=delete_client)
        other.start()
        other.join(30)
        return project

    monkeypatch.setattr(services, "save_project", save_then_lose_the_client)
    api = Api(admin)
    response = api.post("projects/", {"client": str(client.id), "name": "Site"})
    assert response.status_code == 409
    assert problem(response)["type"] == "conflict"
    assert api.get("projects/").json()["results"] == []
    assert api.get("clients/").json()["results"] == []
