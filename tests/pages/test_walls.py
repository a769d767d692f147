"""What browsers are told and given: headers, no code in any page, and whatever is stored shown as text.

Every address of the site is walked, with a workspace in which every text of every table holds markup.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.urls.converters import IntConverter, UUIDConverter

from accounts.models import Membership
from accounts.tenancy import tenant_scope
from dev.state import CHECKOUT
from tests.dev.test_deployment import PRODUCTION
from tests.factories import make_session
from tests.pages.conftest import Visit
from tests.security.everything import fill

pytestmark = pytest.mark.django_db

MARK = "zq-"  # a CSRF token has no hyphen, so that none holds it by chance
MARKUP = f"""{MARK}<img src=x onerror=alert(1)>'"{{{{7*7}}}}{{% now %}}</textarea></title>"""
FORMULA = '=HYPERLINK("http://evil.test","x")'

PAGES_AT_LEAST = 40
NO_PAGES = {"schema", "docs"}  # of another's making: looked at by themselves


class Page(HTMLParser):
    """What of a page could run, be fetched from elsewhere, or is markup that somebody stored."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.troubles: list[str] = []
        self.text: list[str] = []
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._script = tag == "script"
        if (tag == "script" and not given.get("src")) or tag in (
            "style",
            "base",
            "iframe",
            "object",
            "embed",
        ):
            self.troubles.append(f"<{tag}>")
        if tag == "img" and given.get("src") == "x":
            self.troubles.append("markup that was stored")
        for name, value in given.items():
            text = (value or "").strip().lower()
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.troubles.append(f"{name}={value}")
            if re.match(r"(javascript|vbscript|data):", text) and not text.startswith(
                "data:image/svg+xml;base64,"
            ):
                self.troubles.append(f"{name}={value}")
            fetched = name in ("src", "action", "formaction", "poster") or (tag, name) == ("link", "href")
            if fetched and re.match(r"[\w+.-]*:?//", text):
                self.troubles.append(f"{name}={value}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._script and data.strip():
            self.troubles.append(f"code: {data[:60]}")

    def handle_endtag(self, tag: str) -> None:
        self._script = False


@dataclass(frozen=True)
class Address:
    """A named address that is no endpoint of the API: what stands in it, and what the view is given besides."""

    name: str
    kinds: dict[str, type]
    given: dict[str, Any]


def addresses() -> Iterator[Address]:
    def walk(found: Any, space: str, outer: dict[str, type]) -> Iterator[Address]:
        for one in found:
            groups = one.pattern.regex.groupindex
            kinds = {**outer, **{name: type(one.pattern.converters.get(name)) for name in groups}}
            if not isinstance(one, URLPattern):
                yield from walk(
                    one.url_patterns, f"{space}{one.namespace}:" if one.namespace else space, kinds
                )
            elif one.name and space != "api:":
                yield Address(f"{space}{one.name}", kinds, one.default_args)

    return walk(get_resolver().url_patterns, "", {})


def answers(client: Client, ids: list[UUID | int], only: str = "") -> Iterator[tuple[str, str, Any]]:
    """(name, address, answer) of a GET of every address, with the first ids by which it is found."""
    for one in addresses():
        if not re.search(only, one.name):
            continue
        for arguments in _arguments(one.kinds, ids):
            path = reverse(one.name, kwargs={**one.given, **arguments} or None)
            answer = client.get(path)
            if answer.status_code != 404:
                break
        yield one.name, path, answer


def _arguments(kinds: dict[str, type], ids: list[UUID | int]) -> Iterator[dict[str, Any]]:
    """Every way to fill an address: each id, and each pair of them where it takes two."""
    uuids = [one for one in ids if isinstance(one, UUID)]
    number = next(one for one in ids if isinstance(one, int))
    wanted = list(kinds.values()).count(UUIDConverter)
    for chosen in product(uuids, repeat=wanted):
        values = iter(chosen)
        yield {
            name: next(values) if kind is UUIDConverter else number if kind is IntConverter else "x-y"
            for name, kind in kinds.items()
        }


@pytest.fixture
def marked(admin: Membership) -> tuple[Membership, list[UUID | int]]:
    """A workspace all of whose texts are markup, and the ids of what is in it."""
    workspace = admin.workspace
    made = fill(admin, MARKUP)
    with tenant_scope(workspace.id):
        workspace.name = MARKUP[:120]
        workspace.save(update_fields=["name"])
    admin.user.name = MARKUP
    admin.user.save(update_fields=["name"])
    session = make_session(admin, user_agent=MARKUP)
    return admin, [*made.values(), session.pk]


def html(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(content.decode())


def is_page(answer: Any) -> bool:
    return (
        str(answer.headers.get("Content-Type", "")).startswith("text/html")
        and not 300 <= answer.status_code < 400
    )


def check_headers(answer: Any) -> None:
    headers = answer.headers
    directives = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    assert directives["object-src"] == directives["frame-ancestors"] == "'none'"
    assert directives["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "*" not in headers["Content-Security-Policy"]
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert "no-store" in headers["Cache-Control"]


def test_every_page_of_a_signed_in_person(marked: tuple[Membership, list[UUID | int]], visit: Visit) -> None:
    person, ids = marked
    client = visit(person)
    seen, found, troubles = set(), 0, []
    for name, path, answer in answers(client, ids):
        assert answer.status_code < 500, path
        if not is_page(answer) or name in NO_PAGES:
            continue
        page = Page(html(answer))
        troubles += [f"{path}: {trouble}" for trouble in page.troubles]
        check_headers(answer)
        text = "".join(page.text)
        assert f"{MARK}49" not in text, path
        if answer.status_code == 200:
            seen.add(name)
            found += "onerror=alert(1)" in text
        if not client.session.get("_auth_user_id"):
            client.force_login(person.user)
    assert troubles == []
    assert len(seen) >= PAGES_AT_LEAST, sorted(seen)
    assert found >= PAGES_AT_LEAST // 2, "the markup was shown as text"


def test_every_page_of_nobody(marked: tuple[Membership, list[UUID | int]]) -> None:
    client = Client()
    seen = set()
    for name, path, answer in answers(client, marked[1]):
        assert answer.status_code < 500, path
        if is_page(answer) and name not in NO_PAGES:
            assert Page(html(answer)).troubles == [], path
            check_headers(answer)
            seen.add(name)
            assert MARK not in html(answer) or "link" in name, path  # links are for whoever has one
    assert {"account_login", "account_reset_password", "account_signup"} <= seen


def test_pages_that_say_what_went_wrong(marked: tuple[Membership, list[UUID | int]], visit: Visit) -> None:
    for client in (Client(), visit(marked[0])):
        for path in (
            "/nothing/<script>/",
            "/clients/x/",
            "/api/nothing/",
            "/accounts/password/reset/key/1-x/",
            "/accounts/password/reset/key/1-set-password/",
            "/accounts/password/reset/link/",
            "/accounts/confirm-email/link/",
            "/shared/",
        ):
            answer = client.get(path, follow=True)
            if is_page(answer):
                assert Page(html(answer)).troubles == [], path
                check_headers(answer)


def test_documentation_of_the_api_runs_no_code_of_its_own(client: Client) -> None:
    answer = client.get("/api/docs/")
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert [one for one in Page(html(answer)).troubles if not re.match("<?style", one)] == []


@pytest.mark.parametrize("text", [FORMULA, "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1"])
def test_no_cell_of_a_table_to_download_is_a_formula(text: str, admin: Membership, visit: Visit) -> None:
    made = fill(admin, text)
    tables = 0
    for _, path, answer in answers(visit(admin), [*made.values(), 1], only="csv|export"):
        if str(answer.headers.get("Content-Type", "")).startswith("text/csv"):
            assert answer.headers["Content-Disposition"].startswith("attachment")
            rows = list(csv.reader(io.StringIO(html(answer).removeprefix("\ufeff"), newline="")))
            tables += len(rows) > 1
            for cell in (cell for row in rows for cell in row):
                assert not re.match(r"[=+@\t\r]|-(?!\d+([.:]\d+)*$)", cell), f"{path}: {cell!r}"
    assert tables


# --- Production ------------------------------------------------------------------------------------------------------
def test_production_sends_cookies_and_people_by_tls_alone() -> None:
    """With the settings of production, in a process of its own: no database is asked for the way to sign in."""
    code = """
import django; django.setup()
from django.test import Client
plain = Client().get("/accounts/login/", headers={"host": "time.example.com"})
print(plain.status_code, plain["Location"])
client = Client()
client.get("/accounts/login/", headers={"host": "time.example.com"}, secure=True)
answer = client.get("/accounts/login/", headers={"host": "time.example.com"}, secure=True)
print(answer["Strict-Transport-Security"])
for cookie in answer.cookies.values():
    print(cookie.key, cookie["secure"], cookie["path"], cookie["samesite"], repr(cookie["domain"]))
print(Client().get("/healthz", headers={"host": "evil.test"}, secure=True).status_code)
from django.conf import settings
print(settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_HTTPONLY, settings.DEBUG)
from accounts.adapter import DEVICE_COOKIE
from config.headers import NoticeCookie
from settlement.link_views import COOKIE
print(DEVICE_COOKIE, NoticeCookie.cookie_name, settings.THEME_COOKIE_NAME, COOKIE)
print(Client().get("/api/v1/me/", headers={"host": "time.example.com"}).status_code)
"""
    import os

    environment = {"PATH": os.environ["PATH"], "TIMEBRIDGE_STATE": "/nonexistent", **PRODUCTION}
    environment |= {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings", "LOG_LEVEL": "CRITICAL"}
    collected = "from django.conf import settings; settings.STORAGES['staticfiles']['BACKEND'] = "
    collected += (
        "'django.contrib.staticfiles.storage.StaticFilesStorage'\n"  # a checkout has no manifest of files
    )
    done = subprocess.run(
        [sys.executable, "-c", collected + code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "301 https://time.example.com/accounts/login/",
        "max-age=31536000; includeSubDomains; preload",
        "__Host-csrftoken True / Lax ''",
        "400",
        "__Host-sessionid True True False",
        "__Host-device __Host-messages __Host-theme __Host-link-key-",
        "403",
    ], done.stderr
