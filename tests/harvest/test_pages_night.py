"""The connection card: connecting by consent first, automated sync, what the last night did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Role, Workspace
from harvest.importing import execute_run
from harvest.night import start_all
from harvest.preferences import save_preferences
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET
from integrations.models import Connection, SyncRun
from tests.factories import make_member
from tests.harvest.conftest import Studio, make_admin
from tests.harvest.pages import HTMX, PAGE, browse, text_of

pytestmark = pytest.mark.django_db

TOGGLE = f"{PAGE}auto-sync/"


def row(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.get()


def a_night(studio: Studio) -> SyncRun:
    start_all()
    with studio.scope():
        run = SyncRun.objects.order_by("-id")[0]
    execute_run(workspace_id=studio.workspace_id, run_id=run.id)
    return studio.reload(run)


def test_consent_comes_first_and_the_token_second(settings: Any, sandbox: Any) -> None:
    client = browse(make_admin())
    assert "Or use a personal access token" not in text_of(client.get(PAGE))
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    answer = client.get(PAGE)
    page = answer.content.decode()
    assert (
        page.index(f'action="{PAGE}authorize/"')
        < page.index("Or use a personal access token")
        < page.index('name="access_token"')
    )
    assert page.count('class="button primary"') == 1
    assert f"form-action 'self' {settings.HARVEST_ID_URL}" in answer["Content-Security-Policy"]


def test_the_toggle(studio: Studio) -> None:
    client = browse(studio.admin)
    assert "Every night at 02:00 UTC" in text_of(client.get(PAGE))
    answer = client.post(TOGGLE, {"auto_sync": "on"}, headers=HTMX)
    assert (answer.status_code, row(studio).auto_sync) == (204, True)
    assert "begins tonight" in answer["HX-Trigger"]
    assert 'role="switch" name="auto_sync" value="on" checked' in client.get(PAGE).content.decode()
    assert client.post(TOGGLE)["Location"] == PAGE
    assert not row(studio).auto_sync
    assert "Automated sync is off" in text_of(client.get(PAGE))


def test_who_may_switch_it(studio: Studio) -> None:
    member = make_member(studio.admin.workspace, Role.MEMBER)
    with studio.scope():
        save_preferences(workspace=studio.admin.workspace, by=studio.admin.user, auto_sync=True)
    assert browse(member).post(TOGGLE).status_code == 403
    page = browse(member).get(PAGE)
    assert 'name="auto_sync"' not in page.content.decode()
    assert "Automated sync: every night at 02:00 UTC." in text_of(page)
    assert row(studio).auto_sync
    with studio.scope():
        Workspace.objects.update(plan="free")
    assert browse(studio.admin).post(TOGGLE).status_code == 403
    for person in (member, studio.admin):
        assert "Automated sync: paused without the Pro plan." in text_of(browse(person).get(PAGE))


def test_what_the_last_night_did(studio: Studio) -> None:
    client = browse(studio.admin)
    assert "Last auto-sync Never" in text_of(client.get(PAGE))
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    with studio.scope():
        save_preferences(workspace=studio.admin.workspace, by=studio.admin.user, auto_sync=True)
    a_night(studio)
    words = text_of(client.get(PAGE))
    assert "Result Succeeded Nothing new in Harvest" in words
    assert "Complete up to" in words
    studio.add_entry("Website", "Design", timezone.now().date(), "1.00")
    run = a_night(studio)
    answer = client.get(PAGE)
    assert "Result Succeeded 1 imported, of 1" in text_of(answer)
    assert f"{PAGE}runs/{run.id}/" in answer.content.decode()
    assert "Read 1 changed entry: 1 imported" in text_of(client.get(f"{PAGE}runs/{run.id}/"))


def test_a_night_that_failed_is_seen(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvest.importing.AGAIN_AFTER", [])
    with studio.scope():
        save_preferences(workspace=studio.admin.workspace, by=studio.admin.user, auto_sync=True)
        Connection.objects.update(watermark_at=datetime(2026, 6, 1, 2, 0, tzinfo=UTC))
    studio.sandbox.fault("503", times=None)
    assert a_night(studio).state == "failed"
    client = browse(studio.admin)
    assert "Result Failed Harvest answered 503: try again later." in text_of(client.get(PAGE))
    home = text_of(client.get("/"))
    assert " failed It failed: Harvest answered 503: try again later." in home
    assert "Everything up to 2026-06-01 02:00 UTC is in." in home
    assert "See how it stands" in home


def test_the_reason_of_a_pause_is_on_the_card(studio: Studio) -> None:
    with studio.scope():
        Connection.objects.update(
            auto_sync=True, status="reconnect_needed", connected_at=timezone.now() - timedelta(days=2)
        )
    assert "Paused until Harvest is connected again." in text_of(browse(studio.admin).get(PAGE))
