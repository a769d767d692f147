"""The API of clients, contacts and projects."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.rest.fields import IdField, Reference, Resource, Text
from accounts.rest.filters import by_id, by_text, by_truth
from accounts.rest.views import CollectionViewSet
from clients import services
from clients.models import Client, Contact, Project
from clients.selectors import clients_of, contacts_of, projects_of


class ClientSerializer(Resource):
    id = IdField()
    name = Text(max_length=200)
    archived = serializers.BooleanField(default=False)


class ClientViewSet(CollectionViewSet[Client]):
    """The studio's clients. One with projects, work items or time is archived instead of deleted (409 `in-use`)."""

    serializer_class = ClientSerializer
    selector = staticmethod(clients_of)
    filters = {
        "archived": by_truth("archived"),
        "q": by_text("name__icontains", "A part of the name, in any case."),
    }
    orderings = {"created_at": "created_at", "name": "name"}

    def save(self, row: Client | None, values: dict[str, Any]) -> Client:
        return services.save_client(workspace=self.workspace, client=row, **values)

    def remove(self, row: Client) -> None:
        services.delete(row)


class ContactSerializer(Resource):
    id = IdField()
    client = Reference(clients_of)
    name = Text(max_length=200)
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)


class ContactViewSet(CollectionViewSet[Contact]):
    """People at the clients."""

    serializer_class = ContactSerializer
    selector = staticmethod(contacts_of)
    filters = {
        "client": by_id("client"),
        "q": by_text("name__icontains", "A part of the name, in any case."),
    }
    orderings = {"created_at": "created_at", "name": "name"}

    def save(self, row: Contact | None, values: dict[str, Any]) -> Contact:
        return services.save_contact(workspace=self.workspace, contact=row, **values)

    def remove(self, row: Contact) -> None:
        services.delete(row)


class ProjectSerializer(Resource):
    id = IdField()
    client = Reference(clients_of)
    name = Text(max_length=200)
    code = Text(max_length=40, required=False, allow_blank=True)
    archived = serializers.BooleanField(default=False)


class ProjectViewSet(CollectionViewSet[Project]):
    """Projects of the clients. One with work items or time stays with its client (409 `in-use`)."""

    serializer_class = ProjectSerializer
    selector = staticmethod(projects_of)
    filters = {
        "client": by_id("client"),
        "archived": by_truth("archived"),
        "q": by_text("name__icontains", "A part of the name, in any case."),
    }
    orderings = {"created_at": "created_at", "name": "name"}

    def save(self, row: Project | None, values: dict[str, Any]) -> Project:
        return services.save_project(workspace=self.workspace, project=row, **values)

    def remove(self, row: Project) -> None:
        services.delete(row)
