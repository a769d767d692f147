"""clients/, contacts/, projects/."""

from __future__ import annotations

import pytest

from accounts.models import Membership
from tests.factories import make_client, make_contact, make_project, make_time_log, make_work_item
from tests.rest.client import Api

pytestmark = pytest.mark.django_db
NOTHING = ["There is nothing with this id."]


def test_client_is_made_read_changed_and_deleted(designer: Membership) -> None:
    api = Api(designer)
    made = api.post("clients/", {"name": "  Acme  "})
    assert made.status_code == 201
    client = made.json()
    assert client == {"id": client["id"], "name": "Acme", "archived": False}
    assert made.headers["Location"] == f"http://testserver/api/v1/clients/{client['id']}/"
    path = f"clients/{client['id']}/"
    assert api.get(path).json() == client
    assert api.patch(path, {"archived": True}).json() == {**client, "archived": True}
    assert api.patch(path, {}).json() == {**client, "archived": True}
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


def test_newest_come_first(admin: Membership) -> None:
    for name in ("b", "a", "C"):
        make_client(admin.workspace, name)
    api = Api(admin)

    def names(**query: str) -> list[str]:
        return [one["name"] for one in api.get("clients/", **query).json()["results"]]

    assert names() == ["C", "a", "b"]
    assert names(ordering="created_at") == ["b", "a", "C"]
    assert sorted(names(ordering="name"), key=str.lower) == ["a", "b", "C"]


def test_client_that_is_used_cannot_be_deleted(admin: Membership) -> None:
    api = Api(admin)
    for use in (
        make_project,
        make_work_item,
        lambda client: make_time_log(admin, client),
    ):
        client = make_client(admin.workspace)
        use(client)
        refused = api.delete(f"clients/{client.id}/")
        assert refused.status_code == 409
        assert refused.json()["type"] == "in-use"
    client = make_client(admin.workspace)
    contact = make_contact(client)
    assert api.delete(f"clients/{client.id}/").status_code == 204
    assert api.get(f"contacts/{contact.id}/").status_code == 404


def test_contact_may_be_sent_back_as_it_was_read(admin: Membership) -> None:
    client = make_client(admin.workspace)
    api = Api(admin)
    contact = api.post(
        "contacts/", {"client": str(client.id), "name": "Cleo", "email": "cleo@acme.test"}
    ).json()
    assert contact | {"id": ""} == {
        "id": "",
        "client": str(client.id),
        "name": "Cleo",
        "email": "cleo@acme.test",
    }
    assert api.patch(f"contacts/{contact['id']}/", contact).json() == contact
    assert api.patch(f"contacts/{contact['id']}/", {"email": ""}).json()["email"] == ""
    refused = api.patch(f"contacts/{contact['id']}/", {"email": "no address"})
    assert list(refused.json()["errors"]) == ["email"]


def test_reference_to_another_workspace_reads_like_one_to_nothing(
    admin: Membership, stranger: Membership
) -> None:
    theirs = make_client(stranger.workspace)
    api = Api(admin)
    answers = [
        api.post("projects/", {"client": client, "name": "Site"})
        for client in (str(theirs.id), "00000000-0000-7000-8000-000000000000", "nonsense", "")
    ]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert [answer.json()["errors"] for answer in answers[:3]] == [{"client": NOTHING}] * 3
    for wrong in (17, None, [], {"id": str(theirs.id)}, True):
        assert list(api.post("projects/", {"client": wrong, "name": "Site"}).json()["errors"]) == ["client"]


def test_rows_of_another_workspace_are_not_there(admin: Membership, stranger: Membership) -> None:
    client = make_client(stranger.workspace, "Secret")
    rows = {"clients": client, "contacts": make_contact(client), "projects": make_project(client)}
    api = Api(admin)
    for path, row in rows.items():
        assert api.get(f"{path}/").json()["results"] == []
        assert api.get(f"{path}/{row.id}/").status_code == 404
        assert api.patch(f"{path}/{row.id}/", {"name": "Taken"}).status_code == 404
        assert api.delete(f"{path}/{row.id}/").status_code == 404
    assert Api(stranger).get(f"clients/{client.id}/").json()["name"] == "Secret"


def test_project_with_time_stays_with_its_client(admin: Membership) -> None:
    acme, bolt = make_client(admin.workspace, "Acme"), make_client(admin.workspace, "Bolt")
    project = make_project(acme, "Site", code="ST")
    api = Api(admin)
    path = f"projects/{project.id}/"
    assert api.get(path).json() == {
        "id": str(project.id), "client": str(acme.id), "name": "Site", "code": "ST", "archived": False,
    }  # fmt: skip
    assert api.patch(path, {"client": str(bolt.id)}).json()["client"] == str(bolt.id)
    logged = api.post("time-logs/", {"project": str(project.id), "seconds": 60, "spent_date": "2026-06-01"})
    assert logged.json()["client"] == str(bolt.id)
    assert api.patch(path, {"client": str(acme.id)}).json()["type"] == "in-use"
    assert api.patch(path, {"client": str(bolt.id), "code": ""}).json()["code"] == ""
    assert api.delete(path).json()["type"] == "in-use"
    assert api.patch(path, {"code": "x" * 41}).status_code == 400
