"""The README tells of every setting, and its links lead somewhere."""

from __future__ import annotations

import re

import pytest

from dev.state import CHECKOUT

README = (CHECKOUT / "README.md").read_text()
# Read, but nobody's to set: said by pytest, make and Playwright.
NOT_SETTINGS = {"PYTEST_XDIST_WORKER", "MAKELEVEL", "PLAYWRIGHT_BROWSERS_PATH", "DJANGO_ALLOW_ASYNC_UNSAFE"}
READS = r"(?:env\.\w+\(|environ(?:\.get\(|\[)|\bsecret\(|wanted_port\()\s*\"([A-Z][A-Z_]+)\""


def names() -> set[str]:
    found: set[str] = set()
    for path in [
        *(CHECKOUT / "config").glob("*.py"),
        *(CHECKOUT / "dev").glob("*.py"),
        CHECKOUT / "tests/conftest.py",
    ]:
        found |= set(re.findall(READS, path.read_text()))
    for path in ("docker-compose.yml", ".env.example"):
        text = (CHECKOUT / path).read_text()
        found |= set(re.findall(r"(?<!\$)\$\{([A-Z][A-Z_]+)", text)) | set(
            re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.M)
        )
    return found - NOT_SETTINGS


def test_every_setting_is_named() -> None:
    settings = names()
    assert {"DATABASE_URL", "FIELD_KEYS", "SANDBOX_PORT", "LOG_URL", "REQUIRE_BROWSER"} <= settings
    assert sorted(name for name in settings if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", README)) == []


@pytest.mark.parametrize("page", ["README.md", "harvest/README.md", "docs/extending.md"])
def test_what_is_linked_or_named_is_there(page: str) -> None:
    text = (CHECKOUT / page).read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:config|harvest|tests|integrations|accounts|docs)/[\w./]+)`", text)
    missing = [one for one in linked if not ((CHECKOUT / page).parent / one).exists()]
    missing += [one for one in named if not (CHECKOUT / one).exists()]
    assert missing == []
