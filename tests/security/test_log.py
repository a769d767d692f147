"""The server's log: what it tells of signing in and of refusals, and that nobody writes lines of their own into it."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership
from config.logs import FORMAT, Formatter
from tests.accounts.test_mfa import SECOND, code_of, give_app
from tests.accounts.test_signin import SECRET, ada, somewhere, try_in  # noqa: F401 - ada is a fixture
from tests.factories import make_key

pytestmark = pytest.mark.django_db


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name == "timebridge.security"]
    caplog.clear()
    return lines


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "timebridge.security")


def test_signing_in_is_told(ada: Membership, caplog: pytest.LogCaptureFixture, mailoutbox: list[Any]) -> None:  # noqa: F811
    client = somewhere()
    whole = []

    def last(count: int = 1) -> list[str]:
        lines = told(caplog)
        whole.extend(lines)
        assert len(lines) == count, lines
        return [line.split(" ")[0] for line in lines]

    try_in(client, ada.user.email, "wrong-horse-1")
    assert last() == ["sign-in-failed"]
    assert "by=password" in whole[-1]
    try_in(client, ada.user.email, SECRET)
    assert last() == ["signed-in"]
    assert re.fullmatch(
        rf"signed-in account=\w{{16}} user={ada.user_id} by=password address=198\.51\.\S+", whole[-1]
    )
    assert re.findall(r"account=(\w+)", whole[0]) == re.findall(r"account=(\w+)", whole[1])
    client.post(reverse("account_reauthenticate"), {"password": "wrong-horse-2"})
    assert last() == ["sign-in-failed"]
    new = "another-horse-10"
    client.post(
        reverse("account_change_password"), {"oldpassword": SECRET, "password1": new, "password2": new}
    )
    assert "password-changed" in last(len(caplog.records) and 1)
    client.post(reverse("account_logout"))
    assert last() == ["signed-out"]
    key = give_app(ada.user)
    try_in(client, ada.user.email, new)
    assert last(0) == [], "not yet in"
    client.post(SECOND, {"code": "000000"})
    client.post(SECOND, {"code": code_of(key)})
    assert last(3) == ["sign-in-failed", "factor-used", "signed-in"]
    assert "by=totp" in whole[-3]
    assert "by=password,totp" in whole[-1]
    other = somewhere()
    for number in range(6):
        try_in(other, ada.user.email, f"wrong-{number}")
    assert last(6)[-1] == "sign-in-throttled"
    text = "\n".join(whole)
    assert not [word for word in (ada.user.email, SECRET, new, "wrong", key) if word in text]


def test_refusals_are_told(member: Membership, caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    key = make_key(member)
    http = Client(headers={"Authorization": f"Bearer {key}"})
    assert (
        http.post("/api/v1/clients/?q=private", {"name": "x"}, content_type="application/json").status_code
        == 403
    )
    (line,) = told(caplog)
    assert line == (
        f"refused status=403 method=POST path=/api/v1/clients/ user={member.user_id}"
        f" workspace={member.workspace_id} key={key.split('_')[1]} address=127.0.0.1"
    )
    bad = Client(headers={"Authorization": "Bearer tb_0000_s3cret"})
    assert bad.get("/api/v1/me/").status_code == 401
    assert told(caplog) == ["refused status=401 method=GET path=/api/v1/me/ address=127.0.0.1"]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member.user)
    told(caplog)
    assert browser.post("/clients/new/", {"name": "x"}).status_code == 403
    (forged,) = told(caplog)
    assert "status=403 method=POST path=/clients/new/" in forged
    browser.post("/accounts/password/reset/link/", {"key": "1-s3cret"})
    (forged,) = told(caplog)
    assert "path=/accounts/password/reset/link/ " in forged
    assert "s3cret" not in forged
    settings.API_RATE_LIMIT = "1/minute"
    http.get("/api/v1/me/")
    assert http.get("/api/v1/me/").status_code == 429
    assert "status=429" in told(caplog)[-1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x85", "\u2028", "\x1b[2K"])
def test_a_line_stays_a_line(end: str) -> None:
    shape = Formatter(FORMAT)
    forged = f"/nothing{end}2026-06-01T09:00:00.000Z INFO timebridge.security signed-in"
    record = logging.LogRecord(
        "django.request", logging.WARNING, __file__, 1, "Not Found: %s", (forged,), None
    )
    record.created, record.msecs = 1_780_304_400.0, 0.0
    text = shape.format(record)
    assert text.startswith("2026-06-01T09:00:00.000Z WARNING django.request Not Found: /nothing\\")
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    try:
        raise ValueError(forged)
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    first, *others = shape.format(record).splitlines()
    assert first == text
    assert all(line.startswith("\t") for line in others)


def test_workers_write_alike() -> None:
    from celery.signals import after_setup_logger, after_setup_task_logger

    for signal in (after_setup_logger, after_setup_task_logger):
        logger = logging.Logger("celery")
        logger.addHandler(logging.StreamHandler())
        signal.send(sender=None, logger=logger)
        assert isinstance(logger.handlers[0].formatter, Formatter)
