"""Ten thousand requests with another workspace's ids, in path, query and body, and nothing crosses.

Two workspaces, each with a row in every table, all texts of which carry a mark. One's admin sends requests made from
the OpenAPI document and from the addresses of the pages, with the other's ids (and now and then its slug, its marks,
one's own ids) wherever an id can stand. Of every answer: no 5xx, nothing of the other's in it that was not sent, no 2xx
for a path that names a row of theirs. After every write that went through: each of their rows is as it was, and each
reference is to a row of one's own. Each request finds the rows as they were.

More, or others: CROSSINGS=100000 CROSSINGS_SEED=7 .venv/bin/python -m pytest tests/security/test_crossing.py
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import UUIDConverter

from accounts.models import Membership
from accounts.registry import tenant_models
from accounts.rest.docs import document
from accounts.tenancy import tenant_scope
from tests.security.conftest import key_in_use
from tests.security.everything import fill

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.timeout(1200)]

REQUESTS = int(os.environ.get("CROSSINGS", "10000"))
SEED = int(os.environ.get("CROSSINGS_SEED", "20260601"))
PARTS = 4
OURS, THEIRS = "ours-9f3c", "theirs-7a1e"
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass
class Ids:
    """Ids by what they name, ours and theirs."""

    ours: dict[str, str]
    theirs: dict[str, str]


@dataclass
class Sent:
    """One request, and what it may be answered."""

    method: str
    url: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    form: bool = False
    foreign_path: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.headers} {json.dumps(self.body, default=str)[:500]}"


# --- Making requests -------------------------------------------------------------------------------------------------
class Maker:
    """Makes requests of an operation, from a seed."""

    def __init__(self, ids: Ids, slug: str, dice: random.Random) -> None:
        self.ids, self.slug, self.dice = ids, slug, dice
        self.theirs = sorted(ids.theirs.values())
        self.ours = sorted(ids.ours.values())

    def some_id(self, hint: str) -> tuple[str, bool]:
        """An id for a place of that name, and whether it is theirs: mostly of the right kind."""
        foreign = self.dice.random() < 0.8
        known = self.ids.theirs if foreign else self.ids.ours
        name = hint.replace("_", "").replace("-", "").lower().rstrip("s")
        fitting = [id for kind, id in known.items() if kind.endswith(name)] if name not in ("", "id") else []
        if fitting and self.dice.random() < 0.8:
            return self.dice.choice(fitting), foreign
        return self.dice.choice(self.theirs if foreign else self.ours), foreign

    def path(self, template: str, hints: list[str]) -> tuple[str, bool]:
        foreign = False
        for place, hint in zip(re.findall(r"\{\w+\}", template), hints, strict=True):
            id, theirs = self.some_id(hint)
            foreign |= theirs
            template = template.replace(place, id, 1)
        return template, foreign

    def value(self, schema: dict[str, Any], name: str, depth: int = 0) -> Any:
        """A value of a schema, with ids wherever there is room for one."""
        if "$ref" in schema:
            return self.value(
                document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name, depth
            )
        for several in ("oneOf", "anyOf", "allOf"):
            if several in schema:
                return self.value(self.dice.choice(schema[several]), name, depth)
        if "enum" in schema:
            return self.dice.choice(schema["enum"])
        kind = schema.get("type")
        kind = (
            self.dice.choice([one for one in kind if one != "null"] or ["null"])
            if isinstance(kind, list)
            else kind
        )
        if kind == "object" or "properties" in schema:
            parts = schema.get("properties", {})
            wanted = schema.get("required", [])
            return {
                one: self.value(parts[one], one, depth + 1)
                for one in parts
                if one in wanted or self.dice.random() < 0.6
            }
        if kind == "array":
            return [
                self.value(schema.get("items", {}), name, depth + 1) for _ in range(self.dice.randint(1, 3))
            ]
        if kind == "boolean":
            return self.dice.random() < 0.5
        if kind in ("integer", "number"):
            return self.dice.choice([0, 1, 60, 3600])
        return self.text(schema, name)

    def text(self, schema: dict[str, Any], name: str) -> str:
        form = schema.get("format")
        if form == "date":
            return self.dice.choice(["2026-06-01", "2026-06-30", "2026-05-01"])
        if form == "date-time":
            return "2030-01-01T00:00:00Z"
        if form == "decimal":
            return self.dice.choice(["1.00", "0.50"])
        if form == "email":
            return f"{THEIRS}1@marked.test"
        if "opaque id" in schema.get("description", "") or self.dice.random() < 0.3:
            return self.some_id(name)[0]
        return self.dice.choice(["Europe/Berlin", "EUR", "5", "some words"])

    def swapped(self, body: Any) -> Any:
        """The body with an id of theirs somewhere that none was asked for."""
        if isinstance(body, dict) and body and self.dice.random() < 0.7:
            key = self.dice.choice(sorted(body))
            return {
                **body,
                key: self.swapped(body[key]) if self.dice.random() < 0.3 else self.dice.choice(self.theirs),
            }
        return self.dice.choice([self.dice.choice(self.theirs), body, body])

    def headers(self, method: str) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.dice.random() < 0.05:
            found["X-Workspace"] = self.slug
        if method == "POST" and self.dice.random() < 0.2:
            found["Idempotency-Key"] = self.dice.choice([THEIRS, "once"])
        return found


def api_operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in sorted(document()["paths"].items())
        for method, operation in sorted(methods.items())
    ]


def by_api(maker: Maker, method: str, template: str, operation: dict[str, Any]) -> Sent:
    kinds = template.removeprefix("/api/v1/").split("/{")[0].split("/")
    places = re.findall(r"\{(\w+)\}", template)
    path, foreign = maker.path(template, [kinds[-1] if one == "id" else one for one in places])
    query = []
    for one in operation.get("parameters", []):
        if one["in"] == "query" and maker.dice.random() < 0.3:
            query.append(f"{one['name']}={maker.value(one['schema'], one['name'])}")
    body = None
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        body = maker.value(content["schema"], "body")
        body = maker.swapped(body) if maker.dice.random() < 0.25 else body
    url = path + ("?" + "&".join(query) if query else "")
    return Sent(method, url, body, maker.headers(method), foreign_path=foreign and bool(places))


def pages(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every address of a page of ours, as a template, with the names of its ids."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            if not route.startswith(("api/", "accounts/")):
                yield from pages(one.url_patterns, route)
        elif isinstance(one, URLPattern) and not route.startswith(
            ("mail/", "healthz", "readyz", "metrics", "^")
        ):
            names = [name for name, kind in one.pattern.converters.items() if isinstance(kind, UUIDConverter)]
            if len(names) == len(one.pattern.converters):
                yield "/" + re.sub(r"<[^>]+>", "{id}", route), names or []


FORM_FIELDS = (
    "client", "project", "work_item", "activity_type", "owner", "place", "ids", "selected", "workspace", "target",
    "budget", "statement", "harvest_id", "keep", "run", "user", "proposal", "adjustment",
)  # fmt: skip
WORDS = {
    "name": "Some name", "title": "A title", "spent_date": "2026-06-01", "duration": "1:00", "hours": "1",
    "from": "2026-06-01", "to": "2026-06-30", "role": "member", "action": "accept", "notes": "words", "amount": "10",
    "unit": "hours", "period": "monthly", "status": "open", "hourly_rate": "10", "currency": "EUR", "plan": "pro",
    "timezone": "UTC", "next": "/time-logs/",
}  # fmt: skip


def by_page(maker: Maker, template: str, names: list[str]) -> Sent:
    kind = template.split("/{")[0].rpartition("/")[2]
    path, foreign = maker.path(template, [kind for _ in names])
    method = maker.dice.choice(["GET", "POST"])
    headers = {"HX-Request": "true"} if maker.dice.random() < 0.5 else {}
    form = {name: maker.some_id(name)[0] for name in FORM_FIELDS if maker.dice.random() < 0.4}
    form |= {name: word for name, word in WORDS.items() if maker.dice.random() < 0.8}
    if method == "GET":
        chosen = [
            name for name in ("client", "project", "owner", "actor", "who", "q") if maker.dice.random() < 0.3
        ]
        query = "&".join(f"{name}={maker.some_id(name)[0]}" for name in chosen)
        return Sent("GET", f"{path}?{query}", headers=headers, foreign_path=foreign and bool(names))
    return Sent("POST", path, form, headers, form=True, foreign_path=foreign and bool(names))


# --- Looking at answers ----------------------------------------------------------------------------------------------
def kinds(made: dict[Any, Any]) -> dict[str, str]:
    return {model.__name__.lower(): str(id) for model, id in made.items()}


@pytest.fixture
def summing(db: None) -> Iterator[None]:
    """A statement that sums all tables up, planned once."""
    parts = " UNION ALL ".join(
        f"SELECT '{model._meta.db_table}' AS name, count(*) AS n, md5(string_agg(t::text, '|' ORDER BY id)) AS sum"
        f" FROM {model._meta.db_table} t"
        for model in tenant_models()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "PREPARE everything AS"
            f" SELECT md5(string_agg(name || n || coalesce(sum, ''), ',' ORDER BY name)) FROM ({parts}) x"
        )
        yield
        cursor.execute("DEALLOCATE everything")


def state_of(person: Membership) -> str:
    """Everything in a workspace, as one sum."""
    with tenant_scope(person.workspace_id), connection.cursor() as cursor:
        cursor.execute("EXECUTE everything")
        return str(cursor.fetchone())


class Attack:
    """Sends requests as one's admin, by key and by session, and holds the answers against what must not be."""

    def __init__(self, admin: Membership, stranger: Membership, ids: Ids) -> None:
        self.stranger, self.ids = stranger, ids
        self.api = Browser(
            headers={"Authorization": f"Bearer {key_in_use(admin)}"}, raise_request_exception=False
        )
        self.browser = Browser(raise_request_exception=False)
        self.browser.force_login(admin.user)
        self.before = state_of(stranger)
        self.secret = set(ids.theirs.values()) | {str(stranger.workspace_id), str(stranger.user_id)}
        self.statuses: Counter[int] = Counter()
        self.troubles: list[str] = []

    def send(self, sent: Sent) -> None:
        http = self.api if sent.url.startswith("/api/") else self.browser
        with transaction.atomic():  # each finds the rows as they were
            if sent.form:
                answer = http.post(sent.url, sent.body, headers=sent.headers)
            else:
                data = b"" if sent.body is None else json.dumps(sent.body).encode()
                kind = "application/json" if sent.body is not None else "application/octet-stream"
                answer = http.generic(sent.method, sent.url, data, content_type=kind, headers=sent.headers)
            self.look(sent, answer)
            transaction.set_rollback(True)

    def look(self, sent: Sent, answer: Any) -> None:
        status = answer.status_code
        self.statuses[status] += 1
        text = answer.getvalue().decode("utf-8", "replace") + str(dict(answer.headers))
        asked = str(sent)
        if status >= 500 and not (status == 503 and "harvest-unavailable" in text):
            self.troubles.append(f"{status}: {sent}")
        if THEIRS in text and THEIRS not in asked:
            self.troubles.append(f"a mark of theirs: {sent}: {self.around(text, THEIRS)}")
        if told := (set(UUID.findall(text)) & self.secret) - set(UUID.findall(asked)):
            self.troubles.append(f"an id of theirs, {told}: {sent}")
        if sent.foreign_path and 200 <= status < 300:
            self.troubles.append(f"{status} for a row of theirs: {sent}")
        if sent.method != "GET" and status < 400:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if state_of(self.stranger) != self.before:
                self.troubles.append(f"their rows have changed: {sent}")

    @staticmethod
    def around(text: str, mark: str) -> str:
        place = text.index(mark)
        return text[max(0, place - 200) : place + 100]


@pytest.fixture
def ids(admin: Membership, stranger: Membership, in_thousands: None, summing: None) -> Ids:
    return Ids(kinds(fill(admin, OURS)), kinds(fill(stranger, THEIRS)))


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_crosses(part: int, admin: Membership, stranger: Membership, ids: Ids) -> None:
    """In parts, each over every spot with a seed of its own, so that several processes may share them."""
    maker = Maker(ids, stranger.workspace.slug, random.Random(SEED + part))
    attack = Attack(admin, stranger, ids)
    # A page costs several answers of the API, and shows no more: it gets a quarter as many.
    spots: list[tuple[Any, ...]] = [(4, by_api, *one) for one in api_operations()]
    spots += [(1, by_page, *one) for one in pages()]
    assert len(spots) > 120
    share = PARTS * sum(weight for weight, *_ in spots)
    for weight, make, *spot in spots:
        for _ in range(-(-REQUESTS * weight // share)):
            attack.send(make(maker, *spot))
    assert not attack.troubles, "\n".join(attack.troubles[:20])
    sent = attack.statuses.total()
    assert sent >= REQUESTS / PARTS
    # It did reach what it attacks: some went through, most found nothing.
    assert attack.statuses[200] > sent / 50, attack.statuses
    assert attack.statuses[404] > sent / 5, attack.statuses


def test_the_attack_would_notice(admin: Membership, stranger: Membership, ids: Ids) -> None:
    """Sent by the other's own admin, the same requests find what they ask for: the looking is not blind."""
    attack = Attack(stranger, stranger, ids)
    id = ids.theirs["client"]
    attack.send(Sent("GET", "/api/v1/clients/", foreign_path=True))
    attack.send(Sent("PATCH", f"/api/v1/clients/{id}/", {"archived": True}, foreign_path=True))
    found = "\n".join(attack.troubles)
    for words in (
        "a mark of theirs",
        "an id of theirs",
        "200 for a row of theirs",
        "their rows have changed",
    ):
        assert words in found
