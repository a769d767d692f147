"""What every test may ask for: servers of its own, a browser, pages that tolerate no error.

The servers of the session are started by `dev.pytest_services`, before Django's settings; the product's own
fixtures are in `tests/fixtures.py`.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from dev.browser import FLAGS, find_chromium
from dev.services import Services, temporary_services

pytest_plugins = ["tests.emptying", "tests.fixtures", "tests.worker"]

NO_BROWSER = "no Chromium was found (put one on the path or name it in CHROMIUM)"
ARTIFACTS = Path(os.environ.get("TEST_ARTIFACTS") or Path(__file__).parent.parent / "test-artifacts")
LOCAL_HOSTS = {None, "localhost", "127.0.0.1"}  # None: data:, blob: and about: addresses

failed_key = pytest.StashKey[bool]()
finish_key = pytest.StashKey[Callable[[], None]]()


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and what the tests start would inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Tests of whole transactions end by emptying every table, which the audit trail refuses: here it lets them."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_auditevent DISABLE TRIGGER accounts_auditevent_keep_whole")


@pytest.fixture
def own_services() -> Iterator[Services]:
    """PostgreSQL and Redis of this test alone, to stop, kill and restart (`own_services.redis.kill()`)."""
    with temporary_services() as services:
        yield services


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skipped where there is none, failed where REQUIRE_BROWSER=1 insists."""
    chromium = find_chromium()
    if chromium is None and os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(NO_BROWSER)
    if chromium is None:
        pytest.skip(NO_BROWSER)
    # Playwright's synchronous interface runs an event loop in this thread, which Django takes for async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def allowed_errors() -> list[str]:
    """Regular expressions of console errors that this test provokes on purpose; append to it."""
    return []


@pytest.fixture
def new_page(
    browser: Browser, allowed_errors: list[str], request: pytest.FixtureRequest
) -> Callable[..., Page]:
    """Open a page in a fresh context, whose options are the arguments (`viewport`, `color_scheme`, ...).

    Afterwards the test fails for any error on the console, uncaught exception or request to another host.
    A failed test leaves a screenshot of each page in test-artifacts/.
    """
    pages: list[Page] = []
    troubles: list[str] = []

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            troubles.append(f"console: {message.text} ({message.location.get('url')})")

    def note_request(sent: Request) -> None:
        if urlsplit(sent.url).hostname not in LOCAL_HOSTS:
            troubles.append(f"request to another host: {sent.url}")

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        context.on("console", note_console)
        context.on("request", note_request)
        context.on("weberror", lambda error: troubles.append(f"uncaught: {error.error}"))
        pages.append(context.new_page())
        return pages[-1]

    def finish() -> None:
        found = [text for text in troubles if not any(re.search(allowed, text) for allowed in allowed_errors)]
        for number, page in enumerate(pages):
            if (found or request.node.stash.get(failed_key, False)) and not page.is_closed():
                name = re.sub(r"[^\w.-]+", "-", request.node.nodeid)[-120:]
                page.screenshot(path=ARTIFACTS / f"{name}-{number}.png", full_page=True)
            page.context.close()
        assert not found

    request.node.stash[finish_key] = finish
    return open_page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """One page of a desktop's size."""
    return new_page(viewport={"width": 1280, "height": 800})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[failed_key] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Close a test's pages before its other fixtures end: what they talk to is still there until then."""
    try:
        if finish := item.stash.get(finish_key, None):
            finish()
    finally:
        result = yield
    return result


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: with quick ones at the end, no process of pytest-xdist waits for another."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("e2e", "slow", "worker")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_sep("!", f"{len(skipped)} browser tests did NOT run: {NO_BROWSER}", red=True)
