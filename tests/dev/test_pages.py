"""The `page` fixture is as strict as it says: a test run of its own, over pages with one fault each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from dev.state import CHECKOUT

TESTS = """
import http.server, threading
import pytest

PAGES = {
    "/fine": "<h1>Fine</h1>",
    "/console": "<script>console.error('boo')</script>",
    "/thrown": "<script>throw new Error('thrown')</script>",
    "/foreign": "<img src='http://elsewhere.example/x.png'>",
    "/favicon.ico": "",
}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = PAGES[self.path].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

@pytest.fixture
def site(page):  # ends before the page, if nobody sees to it that pages end first
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()

@pytest.mark.parametrize("name", ["fine", "console", "thrown", "foreign"])
def test_page(page, site, name):
    page.goto(f"{site}/{name}")
    page.wait_for_timeout(300)

def test_allowed(page, site, allowed_errors):
    allowed_errors.append("boo")
    page.goto(f"{site}/console")

def test_failing(page, site):
    page.goto(f"{site}/fine")
    assert page.title() == "something else"
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_faults_of_a_page_fail_its_test(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_strict.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--config-file", CHECKOUT / "pyproject.toml", tmp_path / "test_strict.py"],
        cwd=CHECKOUT,
        env=os.environ | {"TEST_ARTIFACTS": str(tmp_path / "artifacts")},
        capture_output=True,
        text=True,
    )
    problems = re.findall(r"^(ERROR|FAILED) \S*::(\S+)", done.stdout, re.MULTILINE)
    assert sorted(problems) == [
        ("ERROR", "test_page[console]"),
        ("ERROR", "test_page[foreign]"),
        ("ERROR", "test_page[thrown]"),
        ("FAILED", "test_failing"),
    ], done.stdout
    for expected in ("console: boo", "uncaught: thrown", "another host: http://elsewhere.example/x.png"):
        assert expected in done.stdout
    assert len(list((tmp_path / "artifacts").glob("*.png"))) == 4
