"""The mapping tables by REST: reading, setting, one to one, suggestions, create and map, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Membership
from harvest.models import HarvestItem, ItemKind
from integrations.models import Connection
from tests.factories import make_client, make_member, make_project
from tests.harvest.conftest import Studio
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

MAPPINGS = "integrations/harvest/mappings/"
KINDS = ("clients", "projects", "tasks", "people")


def make_stale(studio: Studio) -> None:
    """The last reading was over five minutes ago."""
    with studio.scope():
        Connection.objects.update(catalogue_read_at=timezone.now() - timedelta(minutes=6))


def pair(harvest_id: object, target: Any, **more: Any) -> dict[str, Any]:
    return {"harvest_id": str(harvest_id), "target": target and str(target), **more}


def targets(api: Api, kind: str) -> dict[str, str | None]:
    return {row["harvest_id"]: row["target"] for row in api.get(f"{MAPPINGS}{kind}/").json()["results"]}


def test_each_table_has_its_fields(studio: Studio) -> None:
    api = Api(studio.admin)
    rows = {kind: api.get(f"{MAPPINGS}{kind}/").json() for kind in KINDS}
    common = {"harvest_id", "harvest_name", "active", "target"}
    assert set(rows["clients"]["results"][0]) == common | {"push_project"}
    assert set(rows["projects"]["results"][0]) == common | {"harvest_client"}
    assert set(rows["tasks"]["results"][0]) == set(rows["people"]["results"][0]) == common
    assert {row["harvest_name"]: row["harvest_client"] for row in rows["projects"]["results"]} == {
        "Website": "Acme",
        "Loose ends": "Acme",
        "App": "Birch",
    }
    assert {table["notice"] for table in rows.values()} == {None}
    assert rows["people"]["results"][0]["harvest_id"] == str(studio.harvest["Ada"])


def test_put_sets_the_rows_given_and_leaves_the_others(studio: Studio) -> None:
    api, ids = Api(studio.admin), studio.harvest
    website, app = studio.projects["Website"].id, studio.projects["App"].id
    first = api.put(
        f"{MAPPINGS}projects/", {"mappings": [pair(ids["Website"], website), pair(ids["App"], app)]}
    )
    assert first.json()["cleared"] == []
    moved = api.put(f"{MAPPINGS}projects/", {"mappings": [pair(ids["Loose"], website)]}).json()
    assert moved["cleared"] == [
        {"harvest_id": str(ids["Website"]), "harvest_name": "Website", "target": str(website)}
    ]
    wanted = {str(ids["Website"]): None, str(ids["App"]): str(app), str(ids["Loose"]): str(website)}
    assert {row["harvest_id"]: row["target"] for row in moved["results"]} == wanted
    assert targets(api, "projects") == wanted
    assert api.put(f"{MAPPINGS}projects/", {"mappings": []}).json()["cleared"] == []
    api.put(f"{MAPPINGS}projects/", {"mappings": [pair(ids["App"], None)]})
    assert targets(api, "projects")[str(ids["App"])] is None


def test_what_was_read_may_be_sent_back(studio: Studio) -> None:
    api = Api(studio.admin)
    for kind in KINDS:
        rows = api.get(f"{MAPPINGS}{kind}/").json()["results"]
        answer = api.put(f"{MAPPINGS}{kind}/", {"mappings": rows})
        assert (answer.status_code, answer.json()["results"]) == (200, rows), kind


def test_push_project_is_kept_changed_and_cleared(studio: Studio) -> None:
    api, ids = Api(studio.admin), studio.harvest
    acme = studio.clients["Acme"].id

    def put(**more: Any) -> Any:
        answer = api.put(f"{MAPPINGS}clients/", {"mappings": [pair(ids["Acme"], acme, **more)]})
        rows = {row["harvest_id"]: row for row in answer.json().get("results", [])}
        return rows[str(ids["Acme"])]["push_project"] if rows else answer

    assert put(push_project=str(ids["Website"])) == str(ids["Website"])
    assert put() == str(ids["Website"])
    assert put(push_project=str(ids["App"])).status_code == 400  # another client's
    assert put(push_project=None) is None


def test_people_are_not_one_to_one(studio: Studio) -> None:
    second = studio.sandbox.add_person("Ada", "Again", "ada2@sandbox.example", "member")
    make_stale(studio)
    api, user = Api(studio.admin), studio.admin.user_id
    rows = [pair(studio.harvest["Ada"], user), pair(second, user)]
    assert api.put(f"{MAPPINGS}people/", {"mappings": rows}).json()["cleared"] == []
    assert set(targets(api, "people").values()) == {str(user)}


def test_archived_items_show_while_mapped_or_in_recent_entries(studio: Studio) -> None:
    api, account = Api(studio.admin), studio.sandbox.account
    studio.map("projects", {"Website": studio.projects["Website"]})
    for name in ("Website", "App"):
        account.archive("projects", studio.harvest[name])
    assert api.post(f"{MAPPINGS}refresh/").status_code == 200
    rows = {row["harvest_name"]: row["active"] for row in api.get(f"{MAPPINGS}projects/").json()["results"]}
    assert rows == {"Website": False, "Loose ends": True}


def test_lists_are_read_again_when_stale_and_on_demand(studio: Studio) -> None:
    api, sandbox = Api(studio.admin), studio.sandbox
    sandbox.forget_requests()
    sandbox.account.add_task("New")
    assert "New" not in str(api.get(f"{MAPPINGS}tasks/").json())
    assert sandbox.seen() == []
    read_at = api.post(f"{MAPPINGS}refresh/").json()["read_at"]
    shown = api.get(f"{MAPPINGS}tasks/").json()
    assert shown["read_at"] == read_at
    assert "New" in {row["harvest_name"] for row in shown["results"]}
    sandbox.account.add_task("Newer")
    make_stale(studio)
    assert "Newer" in {row["harvest_name"] for row in api.get(f"{MAPPINGS}tasks/").json()["results"]}


def test_with_harvest_away_the_stored_rows_are_shown_with_a_notice(studio: Studio) -> None:
    api = Api(studio.admin)
    before = targets(api, "projects")
    make_stale(studio)
    studio.sandbox.fault("503", times=None)
    shown = api.get(f"{MAPPINGS}projects/")
    assert shown.status_code == 200
    assert {row["harvest_id"]: row["target"] for row in shown.json()["results"]} == before
    assert "could not be read" in shown.json()["notice"]
    body = {"mappings": [pair(studio.harvest["Website"], studio.projects["Website"].id)]}
    assert api.put(f"{MAPPINGS}projects/", body).status_code == 200
    refused = api.post(f"{MAPPINGS}refresh/")
    assert (refused.status_code, refused.json()["type"]) == (503, "harvest-unavailable")


def test_a_new_item_can_be_mapped_at_once(studio: Studio) -> None:
    """A stale reading is renewed before a PUT too: what Harvest has just got is no unknown id."""
    project = studio.sandbox.account.add_project(studio.harvest["Acme"], "Brand new")
    make_stale(studio)
    body = {"mappings": [pair(project, studio.projects["Website"].id)]}
    assert Api(studio.admin).put(f"{MAPPINGS}projects/", body).status_code == 200


def test_without_a_connection(admin: Membership) -> None:
    api = Api(admin)
    for kind in KINDS:
        assert api.get(f"{MAPPINGS}{kind}/").json()["results"] == []
    assert api.get(f"{MAPPINGS}incoming/").json() == {"entries": 0, "hours": "0.00"}
    for path, body in (
        ("refresh/", None),
        ("incoming/", None),
        ("clients/suggest/", None),
        ("tasks/create/", {"harvest_ids": []}),
    ):
        answer = api.post(MAPPINGS + path, body)
        assert (answer.status_code, answer.json()["type"]) == (409, "not-connected"), path
    assert api.put(f"{MAPPINGS}clients/", {"mappings": []}).status_code == 409


def test_suggestions_save_nothing(studio: Studio) -> None:
    api = Api(studio.admin)
    found = api.post(f"{MAPPINGS}clients/suggest/").json()["results"]
    assert {(one["harvest_id"], one["target"]) for one in found} == {
        (str(studio.harvest[name]), str(studio.clients[name].id)) for name in ("Acme", "Birch")
    }
    assert {one["score"] for one in found} == {1.0}
    assert set(targets(api, "clients").values()) == {None}
    body = {"mappings": [pair(one["harvest_id"], one["target"]) for one in found]}
    assert api.put(f"{MAPPINGS}clients/", body).status_code == 200
    assert api.post(f"{MAPPINGS}clients/suggest/").json()["results"] == []


def test_create_and_map(studio: Studio) -> None:
    api, loose = Api(studio.admin), str(studio.harvest["Loose"])
    headers = {"Idempotency-Key": "make-it"}
    made = api.post(f"{MAPPINGS}projects/create/", {"harvest_ids": [loose]}, headers=headers).json()[
        "results"
    ]
    assert [one["harvest_id"] for one in made] == [loose]
    project = api.get(f"projects/{made[0]['target']}/").json()
    assert project["name"] == "Loose ends"
    assert targets(api, "projects")[loose] == project["id"]
    again = api.post(f"{MAPPINGS}projects/create/", {"harvest_ids": [loose]}, headers=headers)
    assert (again.json()["results"], again.headers["Idempotency-Replayed"]) == (made, "true")
    assert api.post(f"{MAPPINGS}projects/create/", {"harvest_ids": [loose]}).json()["results"] == []
    for kind, ids in (("projects", ["999999"]), ("people", [str(studio.harvest["Ada"])]), ("tasks", [loose])):
        answer = api.post(f"{MAPPINGS}{kind}/create/", {"harvest_ids": ids})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["harvest_ids"]), kind


def test_what_can_come_in_now(studio: Studio) -> None:
    studio.map("tasks", {"Design": studio.types["Design"]})
    studio.add_entry("Website", "Design", "2026-06-02", "1.25")
    studio.add_entry("App", "Design", "2026-06-02", "3.00")
    studio.import_window()
    api = Api(studio.admin)
    assert api.get(f"{MAPPINGS}incoming/").json() == {"entries": 0, "hours": "0.00"}
    refused = api.post(f"{MAPPINGS}incoming/")
    assert refused.status_code == 409
    studio.map("projects", {"Website": studio.projects["Website"]})
    assert api.get(f"{MAPPINGS}incoming/").json() == {"entries": 1, "hours": "1.25"}
    started = api.post(f"{MAPPINGS}incoming/")
    assert (started.status_code, started.json()["state"]) == (202, "queued")
    assert api.post(f"{MAPPINGS}incoming/").json()["run"] == started.json()["id"]


# --- What is refused -----------------------------------------------------------------------------------------
def unknown_rows(studio: Studio, stranger: Membership) -> list[list[dict[str, Any]]]:
    good = pair(studio.harvest["Website"], studio.projects["Website"].id)
    theirs = make_project(make_client(stranger.workspace))
    return [
        [good, pair(999999, studio.projects["App"].id)],
        [good, pair(studio.harvest["App"], uuid4())],
        [good, pair(studio.harvest["App"], theirs.id)],
        [good, pair(studio.harvest["App"], "nonsense")],
        [good, pair(studio.harvest["App"], studio.clients["Acme"].id)],
        [good, pair(studio.harvest["App"], studio.projects["Website"].id)],  # one target twice
        [good, pair(studio.harvest["Website"], None)],  # one item twice
        [good, pair(studio.harvest["Design"], studio.projects["App"].id)],  # a task
    ]


def test_an_unknown_id_changes_nothing(studio: Studio, stranger: Membership) -> None:
    api = Api(studio.admin)
    before = api.get(f"{MAPPINGS}projects/").json()
    for rows in unknown_rows(studio, stranger):
        answer = api.put(f"{MAPPINGS}projects/", {"mappings": rows})
        assert (answer.status_code, answer.json()["type"]) == (400, "validation-error"), rows
        assert api.get(f"{MAPPINGS}projects/").json() == before, rows


def test_a_strangers_id_is_worded_as_one_that_does_not_exist(studio: Studio, stranger: Membership) -> None:
    api = Api(studio.admin)
    theirs = make_project(make_client(stranger.workspace))
    words = [
        api.put(f"{MAPPINGS}projects/", {"mappings": [pair(studio.harvest["App"], one)]}).json()["errors"]
        for one in (theirs.id, uuid4())
    ]
    assert words[0] == words[1] == {"mappings": ["There is nothing with this id."]}
    people = {"mappings": [pair(studio.harvest["Ada"], stranger.user_id)]}
    assert api.put(f"{MAPPINGS}people/", people).status_code == 400
    colleague = make_member(studio.admin.workspace)
    people = {"mappings": [pair(studio.harvest["Ada"], colleague.user_id)]}
    assert api.put(f"{MAPPINGS}people/", people).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        5,
        {},
        {"mappings": None},
        {"mappings": {}},
        {"mappings": "x"},
        {"mappings": [None]},
        {"mappings": [[]]},
        {"mappings": [{}]},
        {"mappings": [{"harvest_id": "1"}]},
        {"mappings": [{"harvest_id": 1, "target": None}]},
        {"mappings": [{"harvest_id": None, "target": None}]},
        {"mappings": [{"harvest_id": "\0", "target": None}]},
        {"mappings": [{"harvest_id": "9" * 100, "target": None}]},
        {"mappings": [{"harvest_id": "1", "target": 5}]},
        {"mappings": [{"harvest_id": "1", "target": {}}]},
        {"mappings": [{"harvest_id": "1", "target": None, "tarjet": "x"}]},
        {"mappings": [{"harvest_id": str(number), "target": None} for number in range(5001)]},
    ],
)
def test_bad_bodies_are_400(studio: Studio, body: Any) -> None:
    for kind in KINDS:
        answer = Api(studio.admin).put(f"{MAPPINGS}{kind}/", json.dumps(body))
        assert answer.status_code == 400, kind
        assert answer.json()["errors"], kind


def test_a_huge_body_is_413(studio: Studio) -> None:
    body = {"mappings": [{"harvest_id": "x" * 3_000_000, "target": None}]}
    assert Api(studio.admin).put(f"{MAPPINGS}tasks/", body).status_code == 413


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
row = st.dictionaries(
    st.sampled_from(["harvest_id", "target", "push_project", "active"]), anything, max_size=4
)
BODIES = {
    ("PUT", f"{MAPPINGS}clients/"): anything | st.fixed_dictionaries({"mappings": st.lists(row, max_size=3)}),
    ("POST", f"{MAPPINGS}tasks/create/"): anything | st.fixed_dictionaries({"harvest_ids": anything}),
    ("POST", "integrations/harvest/imports/"): anything
    | st.dictionaries(st.sampled_from(["from", "to", "dry_run"]), anything, max_size=3),
    ("PATCH", "integrations/harvest/connection/"): anything
    | st.dictionaries(st.sampled_from(["direction", "default_task", "auto_sync"]), anything, max_size=3),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_that_a_client_sends_is_a_500(studio: Studio, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(sorted(BODIES)))
    body = json.dumps(data.draw(BODIES[method, path]))
    assert Api(studio.admin, session=True).send(method, path, body).status_code in (200, 202, 400, 409)


# --- Speed ---------------------------------------------------------------------------------------------------
@pytest.fixture
def queries() -> Callable[[Callable[[], Any]], int]:
    def count(call: Callable[[], Any]) -> int:
        with CaptureQueriesContext(database) as captured:
            assert call().status_code == 200
        return len(captured)

    return count


def test_reading_and_saving_take_as_many_queries_at_500_rows(
    studio: Studio, queries: Callable[[Callable[[], Any]], int]
) -> None:
    api = Api(studio.admin)
    api.get(f"{MAPPINGS}projects/")  # whatever is done once a process or a connection
    few = [pair(studio.harvest["Website"], studio.projects["Website"].id)]
    reading = queries(lambda: api.get(f"{MAPPINGS}projects/"))
    saving = queries(lambda: api.put(f"{MAPPINGS}projects/", {"mappings": few}))
    with studio.scope():
        HarvestItem.objects.bulk_create(
            HarvestItem(
                workspace=studio.admin.workspace, kind=ItemKind.PROJECT, harvest_id=str(n), name=f"P {n}"
            )
            for n in range(500)
        )
    ours = [make_project(studio.clients["Acme"]) for _ in range(20)]
    many = [pair(number, project.id) for number, project in enumerate(ours)]
    many += [pair(number, None) for number in range(20, 500)]
    assert queries(lambda: api.get(f"{MAPPINGS}projects/")) == reading
    assert queries(lambda: api.put(f"{MAPPINGS}projects/", {"mappings": many})) <= saving + 1
