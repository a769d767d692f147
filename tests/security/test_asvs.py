"""docs/asvs.md holds every requirement of the standard, and names tests and settings: each is there.

And what it says of code that no other test looks at.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.test import Client

from accounts.errors import Invalid
from accounts.invitations import invite
from accounts.models import Membership, User
from accounts.services import check_email
from tests.security.everything import fill

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/asvs.md").read_text()
FLOORS = ("accounts", "clients", "config", "harvest", "inbound", "integrations", "settlement", "timelogs")

# The levels of ASVS 5.0.0: of each section, those of its requirements 1, 2, 3, …
LEVELS = (
    "1.1:22 1.2:1111122223 1.3:112222222223 1.4:222 1.5:123 2.1:122 2.2:112 2.3:12223 2.4:23 3.1:3 3.2:113 3.3:12223"
    " 3.4:11222233 3.5:11122333 3.6:3 3.7:22333 4.1:12233 4.2:23333 4.3:22 4.4:1222 5.1:2 5.2:112333 5.3:113 5.4:222"
    " 6.1:122 6.2:111111112222 6.3:11223333 6.4:112233 6.5:22222333 6.6:2223 6.7:33 6.8:2222 7.1:222 7.2:1111 7.3:22"
    " 7.4:11222 7.5:223 7.6:22 8.1:1233 8.2:1123 8.3:133 8.4:23 9.1:111 9.2:1222 10.1:22 10.2:223 10.3:22223"
    " 10.4:1111122222233333 10.5:22222 10.6:22 10.7:222 11.1:2233 11.2:22233 11.3:11233 11.4:1222 11.5:23 11.6:23"
    " 11.7:33 12.1:12233 12.2:11 12.3:22223 13.1:2333 13.2:222223 13.3:2233 13.4:1222233 14.1:22 14.2:12223333"
    " 14.3:122 15.1:12233 15.2:12233 15.3:1222222 15.4:3333 16.1:2 16.2:22222 16.3:2222 16.4:222 16.5:2223 17.1:23"
    " 17.2:22223333 17.3:22"
)
LEVEL = {
    f"{section}.{number}": int(level)
    for section, levels in (one.split(":") for one in LEVELS.split())
    for number, level in enumerate(levels, 1)
}
PLACE = re.compile(r"`([\w/.-]+\.(?:py|yml|md))(?:::(\w+))?`")
SETTING = re.compile(r"`([A-Z][A-Z_]{3,})`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| \d", line)
]
OUT = [row for row in ROWS if len(row) == 2]
IN = [row for row in ROWS if len(row) != 2]


def numbers(cell: str) -> Iterator[str]:
    """`1.2.3–1.2.5, 1.3.1` as one number after the other."""
    for part in cell.split(", "):
        first, _, last = part.partition("–")
        assert re.fullmatch(r"\d+\.\d+\.\d+", first), cell
        section, _, begin = first.rpartition(".")
        end = last.rpartition(".")[2] if last else begin
        assert not last or last.startswith(f"{section}."), cell
        for number in range(int(begin), int(end) + 1):
            yield f"{section}.{number}"


def test_every_requirement_of_both_levels_is_there_once() -> None:
    named = Counter(one for row in ROWS for one in numbers(row[0]))
    assert [one for one, times in named.items() if times > 1] == []
    assert set(named) <= set(LEVEL), "numbers that the standard does not have"
    assert {one for one, level in LEVEL.items() if level < 3} - set(named) == set()
    for rows in (OUT, IN):
        order = [tuple(map(int, next(numbers(row[0])).split("."))) for row in rows]
        assert order == sorted(order)


def test_every_requirement_names_what_meets_it() -> None:
    for row in IN:
        assert len(row) == 5, row
        cell, level, what, met, by = row
        assert level == ", ".join(map(str, sorted({LEVEL[one] for one in numbers(cell)}))), row
        assert what, row
        assert met in ("yes", "partly", "no"), row
        assert (f"**{met}**" in what) == (met != "yes"), f"say what is open: {row}"
        assert PLACE.search(by) or SETTING.search(by), row


def test_the_page_counts_right() -> None:
    met = Counter(row[3] for row in IN for one in numbers(row[0]) if LEVEL[one] < 3)
    assert sum(level < 3 for level in LEVEL.values()) == 253
    told = re.search(
        r"Of the 253 .*? there are (\d+) that apply here: (\d+) are met, (\d+) partly, (\d+) are\s+not",
        PAGE,
        re.DOTALL,
    )
    assert told
    assert tuple(map(int, told.groups())) == (met.total(), met["yes"], met["partly"], met["no"])


def test_every_test_and_setting_is_there() -> None:
    missing = []
    for path, name in PLACE.findall(PAGE):
        if not (ROOT / path).is_file():
            missing.append(path)
        elif name and not re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE):
            missing.append(f"{path}::{name}")
    missing += [name for row in IN for name in SETTING.findall(row[4]) if not hasattr(settings, name)]
    assert missing == []


# --- What it says of code --------------------------------------------------------------------------------------------
# Typesetting a PDF takes a process of its own, which can be ended: this Python, with fixed arguments and no shell.
PROGRAMS = {"settlement/exports/typeset.py": {"subprocess.run"}}


@cache
def sources() -> list[tuple[str, list[ast.Call]]]:
    """Every module of the product: where it is, and what it calls."""
    return [
        (
            path.relative_to(ROOT).as_posix(),
            [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)],
        )
        for floor in FLOORS
        for path in sorted((ROOT / floor).rglob("*.py"))
    ]


FORBIDDEN = re.compile(
    r"(eval|exec|compile|__import__|pickle\.\w+|marshal\.\w+|os\.(system|popen|exec\w*|spawn\w*)|subprocess\.\w+)"
)
WEAK = re.compile(r"(hashlib\.)?(md5|sha1|new)|random\.(Random|random|choice|randint|getrandbits)")
# By its SHA-1 a service knows a password of a breach; nothing is kept or protected by it.
NAMED_BY = {"accounts/passwords.py": {"hashlib.sha1"}}
# The demo and the sandbox draw example data by a seed, which is no secret.
EXAMPLES = ("config/demo", "harvest/sandbox/")


def test_no_product_code_evaluates_or_starts_a_program() -> None:
    for path, calls in sources():
        found = {name for call in calls if FORBIDDEN.fullmatch(name := ast.unparse(call.func))}
        assert found <= PROGRAMS.get(path, set()), f"{path}: {found}"
        assert not any("shell" in [word.arg for word in call.keywords] for call in calls), path


def test_no_weak_hash_is_used() -> None:
    for path, calls in sources():
        found = {name for call in calls if WEAK.fullmatch(name := ast.unparse(call.func))}
        found -= NAMED_BY.get(path, set())
        assert not found or path.startswith(EXAMPLES), f"{path}: {found}"


def test_no_certificate_goes_unchecked() -> None:
    """Nor is a redirect followed by itself: httpx follows none unless told to, requests all unless told not to."""
    for path, calls in sources():
        for call in calls:
            for word in call.keywords:
                given = ast.unparse(word.value)
                assert (word.arg, given) not in {("verify", "False"), ("check_hostname", "False")}, path
                assert (word.arg, given) not in {("follow_redirects", "True"), ("allow_redirects", "True")}, (
                    path
                )
            if re.fullmatch(r"requests\.(get|post|request)", ast.unparse(call.func)):
                assert "allow_redirects" in [word.arg for word in call.keywords], path


def test_only_written_texts_are_formatted() -> None:
    """`.format` of a text that stands in the code, by itself or under a name in capitals; SQL's is another thing."""
    for path, calls in sources():
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("format", "format_map"):
                text = ast.unparse(call.func.value)
                written = isinstance(call.func.value, ast.Constant) or re.match(r"[A-Z_]+$|sql\.SQL\(", text)
                assert written or path in FORMATTED, f"{path}: {text}.format"


# Texts of a table beside; and what a handler of the log calls `format`, which takes a record.
FORMATTED = {"inbound/views.py", "config/remote_log.py"}


def test_every_cookie_is_known() -> None:
    """Each is written with what holds it to this host; their names in production stand in the settings."""
    written = {
        path: {word.arg for word in call.keywords}
        for path, calls in sources()
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "set_cookie"
    }
    assert written.keys() == {"accounts/adapter.py", "accounts/views.py", "settlement/link_views.py"}
    assert all({"secure", "samesite"} <= words for words in written.values())


def test_scripts_write_text_and_keep_nothing() -> None:
    """Ours, that is. What htmx puts into pages is what the server has drawn, with its escaping."""
    for path in sorted((ROOT / "config/static").glob("*.js")):
        text = path.read_text()
        assert not re.search(
            r"(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function"
            r"|localStorage|sessionStorage|indexedDB|postMessage|__proto__|\.prototype\b",
            text,
        ), path
        assert re.findall(r"document\.cookie = `(.*?)=", text) == (
            ["${name}"] if path.name == "app.js" else []
        ), path


# --- What it says of answers -----------------------------------------------------------------------------------------
def test_no_other_origin_may_read() -> None:
    for url in ("/accounts/login/", "/api/schema/", "/api/v1/me/"):
        answer = Client().get(url, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in answer, url
        preflight = Client().options(url, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in preflight, url


def test_the_api_refuses_plain_http_where_pages_redirect(settings: Any) -> None:
    """A program would follow the redirect, and send its key in clear for ever."""
    settings.SECURE_SSL_REDIRECT = True
    page = Client().get("/accounts/login/")
    assert (page.status_code, page["Location"]) == (301, "https://testserver/accounts/login/")
    for method in ("GET", "POST", "DELETE"):
        answer = Client().generic(method, "/api/v1/me/", headers={"Authorization": "Bearer tb_a_b"})
        assert (answer.status_code, answer.json()["type"]) == (403, "tls-required")
    assert Client().get("/healthz").status_code == 200  # asked for by the machine itself


@pytest.mark.django_db
def test_no_directory_is_listed_and_nothing_is_traced() -> None:
    for url in ("/static/", "/static/../config/", "/.git/config", "/config/settings.py"):
        assert Client().get(url).status_code == 404, url
    assert Client().generic("TRACE", "/api/v1/me/", secure=True).status_code == 405
    for url in ("/", "/accounts/login/", "/healthz", "/api/v1/me/"):
        answer = Client().generic("TRACE", url, headers={"X-Secret": "s3cret"})
        assert answer.status_code == 405, url
        assert b"s3cret" not in answer.content, url


@pytest.mark.django_db
def test_what_is_open_to_all_shows_nothing_of_a_workspace(admin: Membership) -> None:
    made = fill(admin, "zq-mark")
    for url in ("/healthz", "/readyz", "/metrics", "/api/schema/", "/api/docs/", "/accounts/login/"):
        text = Client().get(url).content.decode()
        assert text, url
        assert not [word for word in ("zq-mark", admin.user.email, admin.workspace.slug, *map(str, made.values()))
                    if word in text], url  # fmt: skip


# --- People ----------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_no_migration_makes_a_person() -> None:
    assert not User.objects.exists()


def test_the_list_of_commonplace_passwords_is_long_enough() -> None:
    assert sum(len(one) >= 8 for one in CommonPasswordValidator().passwords) >= 3000


@pytest.mark.django_db
def test_mail_has_the_headers_that_were_meant(
    admin: Membership, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    admin.workspace.name = "Studio\r\nBcc: everybody@evil.test"
    with django_capture_on_commit_callbacks(execute=True):
        invite(workspace=admin.workspace, user=admin.user, actor=None)
    message = mailoutbox[-1].message()
    assert message["Subject"] == "You are in the workspace Studio Bcc: everybody@evil.test"
    assert message["Bcc"] is None
    for address in ("a@b.test\nBcc: c@d.test", "a@b.test, c@d.test", "a\r\n@b.test"):
        with pytest.raises(Invalid):
            check_email(address)
