"""Tokens: under the newest key at rest, and nowhere to be read but there."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
import time_machine
from cryptography.fernet import Fernet
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import Client, RequestFactory
from django.views.debug import ExceptionReporter

from accounts.export import request_export
from accounts.models import AuditEvent, DataExport, ExportKind, ExportState, Notice
from accounts.rest.idempotency import KEPT
from accounts.tasks import erase_workspace, make_export
from accounts.tenancy import tenant_scope
from config.celery import app
from harvest import oauth
from harvest.credentials import check_token, open_client, open_with, save_connection
from harvest.errors import HarvestError
from harvest.models import Consent
from harvest.renewal import renewed_token
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox
from harvest.sandbox.state import ADMIN_TOKEN
from harvest.tasks import push_changes, renew_token, run_import, sweep_tokens
from integrations.models import Connection, RunEntry, RunState, SyncRun
from integrations.reencrypt import Column, columns, reencrypt_all
from settlement.tasks import follow_time
from tests.accounts.test_mfa import give_app
from tests.factories import make_key
from tests.harvest.conftest import Studio, build_studio, connect, make_admin
from tests.rest.client import Api
from tests.tenancy.test_walls import SWEEPS

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent.parent
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
TYPED = "88.pt.typed"  # named, as reports show the lines of the code


# --- At rest ---------------------------------------------------------------------------------------------------------
def raw(column: str = "access_token") -> str:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM integrations_connection")
        return str(cursor.fetchone()[0])


def test_the_command_brings_every_secret_of_every_workspace_under_the_newest_key(
    sandbox: Sandbox, settings: Any, capsys: Any
) -> None:
    settings.FIELD_KEYS = [OLD]
    admins = [make_admin(name=f"Studio {number}") for number in range(3)]
    for admin in admins:
        connect(admin)
    with tenant_scope(admins[0].workspace_id):
        Consent.objects.create(
            workspace=admins[0].workspace, user=admins[0].user, redirect_uri="x", access_token="88.at.waiting"
        )
    settings.FIELD_KEYS = [NEW, OLD]
    call_command("reencrypt")
    assert capsys.readouterr().out == "Written under the newest key: 4.\n"
    settings.FIELD_KEYS = [NEW]
    for admin in admins:
        with tenant_scope(admin.workspace_id):
            assert Connection.objects.get().access_token == ADMIN_TOKEN
            before = raw()
            assert ADMIN_TOKEN not in before
    with tenant_scope(admins[0].workspace_id):
        assert Consent.objects.get().access_token == "88.at.waiting"
    call_command("reencrypt")
    assert capsys.readouterr().out == "Written under the newest key: 0.\n"
    with tenant_scope(admins[-1].workspace_id):
        assert raw() == before


def test_it_says_when_the_keys_before_the_newest_are_needed_no_more(
    sandbox: Sandbox, settings: Any, capsys: Any
) -> None:
    """Of a vault: rotated, every secret brought under the new key, answers to repeat forgotten; and retired."""
    settings.FIELD_KEYS = [OLD]
    admins = [make_admin(name=f"Studio {number}") for number in range(2)]
    for admin in admins:
        connect(admin)
    give_app(admins[0].user)
    Api(admins[1]).post("clients/", {"name": "Acme"}, headers={"Idempotency-Key": "once"})
    call_command("reencrypt", check=True)
    assert "those before it may go" in capsys.readouterr().out
    settings.FIELD_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match="or one that is missing: 4"):
        call_command("reencrypt", check=True)
    call_command("reencrypt")
    with pytest.raises(CommandError, match="or one that is missing: 1"):
        call_command("reencrypt", check=True)
    with time_machine.travel(datetime.now(UTC) + KEPT, tick=False):
        call_command("reencrypt", check=True)
    settings.FIELD_KEYS = [NEW]
    for admin in admins:
        with tenant_scope(admin.workspace_id):
            assert Connection.objects.get().access_token == ADMIN_TOKEN


def test_a_key_that_is_missing_is_said_and_changes_nothing(studio: Studio, settings: Any) -> None:
    with studio.scope():
        before = raw()
    settings.FIELD_KEYS = [NEW]
    with pytest.raises(CommandError, match="under a key that FIELD_KEYS does not hold"):
        call_command("reencrypt")
    with studio.scope():
        assert raw() == before
        with pytest.raises(ImproperlyConfigured, match="Was a key removed"):
            Connection.objects.get()


def test_a_token_that_is_renewed_meanwhile_is_not_overwritten(
    transactional_db: None, sandbox: Sandbox, settings: Any
) -> None:
    """The row is locked by somebody who writes a new token; the command waits, and finds that one."""
    settings.FIELD_KEYS = [OLD]
    studio = build_studio(sandbox)
    settings.FIELD_KEYS = [NEW, OLD]
    done = threading.Event()

    def work() -> None:
        try:
            reencrypt_all()
        finally:
            done.set()
            database.close()

    worker = threading.Thread(target=work)
    with studio.scope():
        row = Connection.objects.select_for_update().get()
        worker.start()
        assert not done.wait(0.7)
        row.access_token = "88.pt.newer"
        row.save(update_fields=["access_token"])
    worker.join(30)
    with studio.scope():
        assert Connection.objects.get().access_token == "88.pt.newer"


def test_every_encrypted_column_is_known() -> None:
    connection, consent = "integrations_connection", "harvest_consent"
    assert set(columns()) == {
        Column(table, name) for table in (connection, consent) for name in ("access_token", "refresh_token")
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", None),
        ("FIELD_KEYS", None),
        ("SECRET_KEY", "development-only-secret-key-that-production-refuses-to-start-with"),
        ("FIELD_KEYS", "ZGV2ZWxvcG1lbnQtb25seS1maWVsZC1rZXktMDAwMDE="),
    ],
)
def test_production_refuses_to_start_with_a_default_key(tmp_path: Path, name: str, value: str | None) -> None:
    good = {
        "SECRET_KEY": "of-our-own",
        "FIELD_KEYS": NEW,
        "TIMEBRIDGE_ENV": "production",
        "ALLOWED_HOSTS": "x",
    }
    environment = {**os.environ, **good, "TIMEBRIDGE_STATE": str(tmp_path)}
    command = [sys.executable, "-c", "import config.settings"]
    assert subprocess.run(command, env=environment, cwd=ROOT, capture_output=True).returncode == 0
    del environment[name]
    if value is not None:
        environment[name] = value
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode != 0
    assert f"Set {name} in the environment" in ended.stderr


# --- Nowhere else ----------------------------------------------------------------------------------------------------
@pytest.fixture
def oauth_studio(studio: Studio, settings: Any) -> Studio:
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    back = studio.sandbox.consent(redirect_uri="http://testserver/x/")
    code = parse_qs(urlsplit(back).query)["code"][0]
    tokens = oauth.exchange(code=code, redirect_uri="http://testserver/x/")
    found = check_token(account_id="880123", access_token=tokens.access_token, tokens=tokens)
    with studio.scope():
        studio.connection = save_connection(
            workspace=studio.admin.workspace, by=studio.admin.user, credentials=found
        )
    studio.connection.workspace = studio.admin.workspace
    return studio


def test_what_workers_do_signs_and_checks_nothing(
    oauth_studio: Studio, monkeypatch: Any, mailoutbox: list[Any]
) -> None:
    """They have no SECRET_KEY (docker-compose.yml): what they signed, nobody would take."""
    studio = oauth_studio
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-11", "1.00")
    with studio.scope():
        exports = [request_export(by=studio.admin, kind=kind) for kind in ExportKind.values]

    def signs(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("this is the web's")

    for place in (
        "django.core.signing.Signer.signature",
        "django.contrib.auth.tokens.PasswordResetTokenGenerator._make_token_with_timestamp",
        "accounts.adapter.salted_hmac",
        "accounts.security_log.salted_hmac",
    ):
        monkeypatch.setattr(place, signs)
    with pytest.raises(AssertionError):
        signing.dumps("x")
    assert studio.import_window().state == RunState.SUCCEEDED
    for export in exports:
        make_export(str(studio.workspace_id), str(export.id))
    with studio.scope():
        assert set(DataExport.objects.values_list("state", flat=True)) == {ExportState.READY}
    renew_token(str(studio.workspace_id), str(studio.connection.id))
    push_changes(str(studio.workspace_id))
    follow_time([str(studio.workspace_id)])
    app.loader.import_default_modules()
    for name in SWEEPS - {"settlement.tasks.follow_time"}:
        app.tasks[name].run()
    erase_workspace(str(studio.workspace_id))


def test_no_token_is_anywhere(
    oauth_studio: Studio, caplog: Any, mailoutbox: list[Any], monkeypatch: Any
) -> None:
    """Everything that the product says while it connects, renews, syncs, shows, fails and disconnects."""
    studio, said = oauth_studio, []
    caplog.set_level(logging.DEBUG, logger="")
    for name in list(logging.root.manager.loggerDict):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    sent: list[str] = []
    for task in (run_import, renew_token, sweep_tokens):
        monkeypatch.setattr(task, "apply_async", lambda *args, **kwargs: sent.append(repr((args, kwargs))))
    secrets = set(remembered(studio))
    renewed_token(studio.connection, instead_of=studio.connection.access_token)
    secrets |= set(remembered(studio))
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-11", "1.00")
    run = studio.import_window()
    browser = Client()
    browser.force_login(studio.admin.user)
    api = Client(headers={"Authorization": f"Bearer {make_key(studio.admin)}"})
    wrong = {"account_id": "880123", "access_token": "88.pt.wrong-but-secret"}
    secrets.add(wrong["access_token"])
    answers = [
        *(browser.get(path) for path in ("/", "/integrations/", "/integrations/harvest/")),
        browser.get(f"/integrations/harvest/runs/{run.id}/"),
        browser.post("/integrations/harvest/connect/", wrong),
        browser.post("/integrations/harvest/authorize/"),
        *(
            api.get(f"/api/v1/{path}")
            for path in (
                "integrations/",
                "integrations/harvest/connection/",
                "integrations/harvest/runs/",
                "audit/",
                "notices/",
                "workspace/",
            )
        ),
        api.put("/api/v1/integrations/harvest/connection/", wrong, content_type="application/json"),
        api.post("/api/v1/integrations/harvest/authorize/"),
    ]
    studio.sandbox.revoke_grants()
    with open_client(stored(studio)) as client:
        said += [repr(client), repr(vars(client)), str(client)]
        with pytest.raises(HarvestError):
            client.me()
    answers += [browser.get("/integrations/harvest/"), api.get("/api/v1/notices/")]
    answers.append(browser.post("/integrations/harvest/disconnect/"))
    for answer in answers:
        assert answer.status_code < 500
        said += [answer.content.decode(), repr(answer.headers)]
    said += [caplog.text, *(repr(vars(record)) for record in caplog.records), *sent]
    said += [repr(mail.message().as_string()) for mail in mailoutbox]
    with studio.scope():
        for model in (AuditEvent, Notice, SyncRun, RunEntry):
            said += [repr(row) for row in model.objects.values()]
        said += [repr(Connection.objects.get()), str(Connection.objects.get())]
    assert len(secrets) >= 4
    assert "harvest.client" in caplog.text
    assert "urllib3" in caplog.text  # what Harvest ID is asked by
    for secret in [*secrets, CLIENT_SECRET]:
        assert not [text for text in said if secret in text]


def remembered(studio: Studio) -> list[str]:
    row = stored(studio)
    return [row.access_token, row.refresh_token]


def stored(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.select_related("workspace").get()


def reported(error: BaseException, request: Any = None) -> str:
    """An error's report, in words and as the page that DEBUG shows."""
    reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
    return reporter.get_traceback_text() + reporter.get_traceback_html()


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
def test_no_error_report_holds_a_token(oauth_studio: Studio, settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    row = stored(oauth_studio)
    secrets = [row.access_token, row.refresh_token, CLIENT_SECRET, ADMIN_TOKEN, TYPED]
    found = []

    class Bug(Exception):
        pass

    def bug(*args: Any, **kwargs: Any) -> Any:
        raise Bug

    def note(work: Any) -> None:
        request = RequestFactory().post(
            "/integrations/harvest/connect/", {"account_id": "880123", "access_token": TYPED}
        )
        try:
            work()
        except Exception as error:
            found.append(reported(error, request))

    note(lambda: check_token(account_id="880123", access_token=ADMIN_TOKEN + "x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("requests.sessions.Session.send", bug)
        note(lambda: renewed_token(row, instead_of=row.access_token))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx.HTTPTransport.handle_request", bug)
        note(lambda: check_token(account_id="880123", access_token=ADMIN_TOKEN))
        note(lambda: open_with(account_id="880123", access_token=ADMIN_TOKEN).me())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harvest.credentials.record_audit", bug)
        tokens = oauth.Tokens(row.access_token, row.refresh_token, row.connected_at, None)
        checked = check_token(account_id="880123", access_token=row.access_token, tokens=tokens)

        def keep() -> None:
            with oauth_studio.scope():
                save_connection(
                    workspace=oauth_studio.admin.workspace, by=oauth_studio.admin.user, credentials=checked
                )

        note(keep)
    assert len(found) == 5
    assert all("Bug" in one for one in found[1:])
    for secret in secrets:
        for one in found:
            place = one.find(secret)
            assert place < 0, one[max(0, place - 300) : place]


@responses.activate
def test_what_the_oauth_client_is_made_of_shows_nothing(settings: Any) -> None:
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = "id", "9f-client-secret"
    app = oauth._harvest_id()
    responses.post(f"{settings.HARVEST_ID_URL}/api/v2/oauth2/token", json={"access_token": "77.at.a"})
    tokens = oauth.refresh("77.rt.b")
    for thing in (app, tokens, [tokens], {"tokens": tokens}):
        for secret in ("9f-client-secret", "77.at.a", "77.rt.b"):
            assert secret not in repr(thing)
            assert secret not in str(thing)
    with pytest.raises(TypeError):
        json.dumps(tokens)
