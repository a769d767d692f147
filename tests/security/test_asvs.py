"""docs/asvs.md names tests and settings: each is there. And what it says of code that no other test looks at."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/asvs.md").read_text()
LINES = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
PLACE = re.compile(r"`([\w/.-]+\.(?:py|yml))(?:::(\w+))?`")
SETTING = re.compile(r"`([A-Z][A-Z_]{3,})`")
FLOORS = ("accounts", "clients", "config", "harvest", "inbound", "integrations", "settlement", "timelogs")


def test_every_requirement_names_what_meets_it() -> None:
    assert len(LINES) > 90
    for line in LINES:
        numbers, level, what, by = (part.strip() for part in line.strip("|").split("|"))
        assert re.fullmatch(r"\d+\.\d+\.\d+([–,]\s*\d+\.\d+\.\d+)*", numbers), line
        assert re.fullmatch(r"[123](, [123])*", level), line
        assert what, line
        assert PLACE.search(by) or SETTING.search(by), line
    first = [re.match(r"\| (\d+)\.(\d+)\.(\d+)", line) for line in LINES]
    order = [tuple(int(part) for part in one.groups()) for one in first if one]
    assert order == sorted(order)


def test_every_test_and_setting_is_there() -> None:
    missing = []
    for path, name in PLACE.findall(PAGE):
        if not (ROOT / path).is_file():
            missing.append(path)
        elif name and not re.search(rf"^\s*def {name}\(", (ROOT / path).read_text(), re.MULTILINE):
            missing.append(f"{path}::{name}")
    missing += [name for line in LINES for name in SETTING.findall(line) if not hasattr(settings, name)
                and name not in ("DATABASE_URL", "REDIS_URL")]  # fmt: skip
    assert missing == []


# Typesetting a PDF takes a process of its own, which can be ended: this Python, with fixed arguments and no shell.
PROGRAMS = {"settlement/exports/typeset.py": {"subprocess.run"}}


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("floor", FLOORS)
def test_no_product_code_evaluates_or_starts_a_program(floor: str) -> None:
    forbidden = re.compile(
        r"(eval|exec|compile|__import__|pickle\.\w+|marshal\.\w+|os\.(system|popen|exec\w*|spawn\w*)|subprocess\.\w+)"
    )
    for path in (ROOT / floor).rglob("*.py"):
        found = {name for name in calls(ast.parse(path.read_text())) if forbidden.fullmatch(name)}
        assert found <= PROGRAMS.get(path.relative_to(ROOT).as_posix(), set()), f"{path}: {found}"
        assert "shell=True" not in path.read_text(), path


def test_no_other_origin_may_read() -> None:
    for url in ("/accounts/login/", "/api/schema/", "/api/v1/me/"):
        answer = Client().get(url, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in answer, url
        preflight = Client().options(url, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in preflight, url
