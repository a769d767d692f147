"""Reading clients, contacts and projects of one workspace."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Lower

from accounts.models import Workspace
from clients.models import Client, Contact, Project


def clients_of(workspace: Workspace) -> QuerySet[Client]:
    """Every client, archived ones too."""
    return Client.objects.filter(workspace=workspace)


def contacts_of(workspace: Workspace) -> QuerySet[Contact]:
    return Contact.objects.filter(workspace=workspace).select_related("client")


def projects_of(workspace: Workspace) -> QuerySet[Project]:
    """Every project with its client, archived ones too."""
    return Project.objects.filter(workspace=workspace).select_related("client")


def choosable_clients(workspace: Workspace) -> QuerySet[Client]:
    """Clients one may log time for, by name."""
    return clients_of(workspace).filter(archived=False).order_by(Lower("name"), "id")


def choosable_projects(workspace: Workspace) -> QuerySet[Project]:
    """Projects one may log time on, by client and name."""
    return (
        projects_of(workspace)
        .filter(archived=False, client__archived=False)
        .order_by(Lower("client__name"), Lower("name"), "id")
    )
