"""A client of the API for tests: speaks for one person, and checks every answer against the document."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from django.test import Client

from accounts.models import Membership
from tests.factories import make_key
from tests.rest.contract import check

BASE = "/api/v1/"


class Api:
    """`Api(person).post("clients/", {"name": "Acme"})`: by an API key, or `session=True`, or nobody (None).

    Keyword arguments of a call are query parameters (`from_` for from). Answers are Django's test responses.
    """

    def __init__(self, person: Membership | None, *, session: bool = False, key: str = "") -> None:
        self.http = Client(enforce_csrf_checks=not session)
        self.headers: dict[str, str] = {}
        if person is not None and session:
            self.http.force_login(person.user)
            self.headers["X-Workspace"] = person.workspace.slug
        elif person is not None:
            self.headers["Authorization"] = f"Bearer {key or make_key(person)}"

    def send(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: Any
    ) -> Any:
        url = path if path.startswith(("/", "http")) else f"{BASE}{path}"
        if query:
            url += "?" + urlencode({name.rstrip("_"): value for name, value in query.items()}, doseq=True)
        content: dict[str, Any] = {}
        if body is not None:
            content = {"data": body, "content_type": "application/json"}
        response = self.http.generic(
            method,
            url,
            **self._encoded(content),
            headers={**self.headers, **(headers or {})},
        )
        if urlsplit(url).path.startswith(BASE):
            check(method, urlsplit(url).path, response)
        return response

    def _encoded(self, content: dict[str, Any]) -> dict[str, Any]:
        if content and not isinstance(content["data"], (str, bytes)):
            content["data"] = self.http._encode_json(content["data"], content["content_type"])
        return content

    def get(self, path: str, **options: Any) -> Any:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.send("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.send("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.send("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.send("DELETE", path, **options)
