"""The browsable document, in a real browser: under the strict policy, without an error, and it can be tried out."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from tests.factories import make_workspace

SLOW = 60_000  # milliseconds: Swagger UI draws slowly where other tests share the machine
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_docs_open_and_try_out_an_operation(page: Page, live_server: Any) -> None:
    admin = make_workspace("Northlight")
    http = Client()
    http.force_login(admin.user)
    page.context.add_cookies(
        [{"name": "sessionid", "value": http.cookies["sessionid"].value, "url": live_server.url}]
    )
    page.set_default_timeout(SLOW)
    page.goto(f"{live_server.url}/api/docs/")
    expect(page.get_by_role("heading", name="Timebridge API")).to_be_visible(timeout=SLOW)
    operation = page.locator("#operations-clients-clients_create")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").fill('{"name": "Acme"}')
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer).to_contain_text("201", timeout=SLOW)
    expect(answer).to_contain_text('"name": "Acme"')
