"""Automated sync and consent by the REST API, its answers held against the document; a night with a real worker."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import Role, Workspace
from harvest.importing import execute_run
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox
from integrations.models import SyncRun
from tests.factories import make_member, make_workspace
from tests.harvest.conftest import Studio, build_studio
from tests.rest.client import Api
from tests.worker import Worker, Workers

CONNECTION = "integrations/harvest/connection/"
SYNC = "integrations/harvest/sync/"
AUTHORIZE = "integrations/harvest/authorize/"


@pytest.mark.django_db
def test_sync_now_and_how_far_the_data_goes(studio: Studio) -> None:
    api = Api(studio.admin)
    assert api.get(CONNECTION).json()["complete_up_to"] is None
    answer = api.post(SYNC)
    run = answer.json()
    assert (answer.status_code, run["kind"], run["state"]) == (202, "sync", "queued")
    again = api.post(SYNC)
    assert (again.status_code, again.json()["type"], again.json()["run"]) == (
        409,
        "run-in-progress",
        run["id"],
    )
    with studio.scope():
        row = SyncRun.objects.get()
    execute_run(workspace_id=studio.workspace_id, run_id=row.id)
    shown = api.get(f"integrations/harvest/runs/{run['id']}/").json()
    assert (shown["state"], shown["total"], shown["summary"]) == ("succeeded", 0, "Nothing new in Harvest")
    connection = api.get(CONNECTION).json()
    assert connection["complete_up_to"] is not None
    assert connection["last_auto_sync"] is None  # that was by hand


@pytest.mark.django_db
def test_automated_sync_is_switched_by_who_may(studio: Studio) -> None:
    assert Api(studio.admin).patch(CONNECTION, {"auto_sync": True}).json()["auto_sync"] is True
    designer = make_member(studio.admin.workspace, Role.DESIGNER)
    assert Api(designer).patch(CONNECTION, {"auto_sync": False}).json()["auto_sync"] is False
    member = Api(make_member(studio.admin.workspace))
    for answer in (member.patch(CONNECTION, {"auto_sync": True}), member.post(SYNC), member.post(AUTHORIZE)):
        assert (answer.status_code, answer.json()["type"]) == (403, "forbidden")
    with studio.scope():
        Workspace.objects.update(plan="free")
    for answer in (
        Api(studio.admin).patch(CONNECTION, {"auto_sync": True}),
        Api(studio.admin).post(SYNC),
    ):
        assert (answer.status_code, answer.json()["type"]) == (403, "plan-required")
    nobody = Api(make_workspace())
    for answer in (nobody.patch(CONNECTION, {"auto_sync": True}), nobody.post(SYNC)):
        assert (answer.status_code, answer.json()["type"]) == (409, "not-connected")


@pytest.mark.django_db
def test_authorize_answers_as_the_document_says(studio: Studio, settings: Any) -> None:
    api = Api(studio.admin)
    assert api.post(AUTHORIZE).status_code == 409
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    answer = api.post(AUTHORIZE)
    assert answer.json()["authorize_url"].startswith(f"{settings.HARVEST_ID_URL}/oauth2/authorize?")


@pytest.mark.worker
def test_nights_with_a_real_worker(
    celery_worker_process: Worker, workers: Workers, transactional_db: None, sandbox: Sandbox
) -> None:
    studio = build_studio(sandbox)
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"]})
    api = Api(studio.admin)
    api.patch(CONNECTION, {"auto_sync": True})
    shown: list[dict[str, Any]] = []
    for hours in ("1.00", "2.00"):
        studio.add_entry("Website", "Design", "2026-06-11", hours)
        call_command("harvest_nightly")

        def done() -> dict[str, Any] | None:
            last = api.get(CONNECTION).json()["last_auto_sync"]
            fresh = last and last["id"] not in {one["id"] for one in shown}
            return last if fresh and last["state"] not in ("queued", "running") else None

        shown.append(workers.wait_for(done))
    assert [(one["kind"], one["imported"], one["unchanged"]) for one in shown] == [
        ("auto", 1, 0),
        ("auto", 1, 1),
    ]
    assert api.get("time-logs/summary/").json()["hours"] == "3.00"
