"""Pages of clients, their projects and contacts. (Work items, of a higher floor, are at `timelogs.views`.)"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, Q
from django.db.models.functions import Lower
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import confirm_page, form_page, managers_only, notify, submit, workspace_page
from clients import services
from clients.forms import ClientForm, ContactForm, ProjectForm
from clients.models import Client, Contact, Project
from clients.selectors import clients_of, contacts_of, projects_of

PAGE = 100
BY_NAME = ("by_name", "id")


# --- Clients ---------------------------------------------------------------------------------------------------------
@workspace_page
def clients(request: WorkspaceRequest) -> HttpResponse:
    """The clients by name: `q` (part of the name), `archived`, `cursor`."""
    q = request.GET.get("q", "").replace("\x00", "").strip()
    archived = request.GET.get("archived") == "1"
    found = clients_of(request.tenancy.workspace).filter(archived=archived, name__icontains=q)
    rows = found.annotate(
        by_name=Lower("name"),
        active_projects=Count("projects", filter=Q(projects__archived=False), distinct=True),
        people=Count("contacts", distinct=True),
    )
    page = keyset.page(rows, order=BY_NAME, cursor=request.GET.get("cursor"), size=PAGE)
    return render(request, "clients/clients.html", {"page": page, "q": q, "archived": archived})


@workspace_page
def client(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """A client with its projects and contacts."""
    one = _client(request, id)
    projects = keyset.page(
        projects_of(one.workspace).filter(client=one).annotate(by_name=Lower("name")),
        order=("archived", *BY_NAME),
        cursor=request.GET.get("cursor"),
        size=PAGE,
    )
    contacts = contacts_of(one.workspace).filter(client=one).order_by(Lower("name"), "id")
    return render(request, "clients/client.html", {"client": one, "projects": projects, "contacts": contacts})


@managers_only
def new_client(request: WorkspaceRequest) -> HttpResponse:
    form = ClientForm(request.POST or None)
    if made := submit(form, services.save_client, workspace=request.tenancy.workspace):
        notify(request, f"{made} is a client now.")
        return redirect("client", made.id)
    return form_page(
        request, form, heading="Add a client", up=("Clients", reverse("clients")), button="Add client"
    )


@managers_only
def edit_client(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _client(request, id)
    form = ClientForm(request.POST or None, initial={"name": one.name})
    if submit(form, services.save_client, workspace=request.tenancy.workspace, client=one):
        notify(request, "Saved.")
        return redirect("client", one.id)
    name = form.initial["name"]
    return form_page(
        request,
        form,
        heading=f"Edit {name}",
        up=(name, reverse("client", args=[id])),
        archive=(reverse("client-archive", args=[id]), one.archived),
        delete=(
            reverse("client-delete", args=[id]),
            name,
            "Its contacts go with it. A client with projects, work items or time stays.",
        ),
    )


@require_POST
@managers_only
def archive_client(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _client(request, id)
    archived = request.POST.get("archived") == "1"
    services.save_client(workspace=request.tenancy.workspace, client=one, archived=archived)
    notify(request, f"{one} is archived." if archived else f"{one} is active again.")
    return redirect("client", id)


@managers_only
def delete_client(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _client(request, id)
    if request.method != "POST":
        return confirm_page(
            request,
            heading=f"Delete {one}?",
            text="Its contacts go with it. This cannot be undone.",
            button=f"Delete {one}",
            up=(one.name, reverse("client", args=[id])),
        )
    services.delete(one)
    notify(request, f"{one} is deleted.")
    return redirect("clients")


def _client(request: WorkspaceRequest, id: UUID) -> Client:
    return get_object_or_404(clients_of(request.tenancy.workspace), id=id)


# --- Projects --------------------------------------------------------------------------------------------------------
@managers_only
def new_project(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    client = _client(request, client_id)
    form = ProjectForm(request.POST or None)
    if made := submit(form, services.save_project, workspace=request.tenancy.workspace, client=client):
        notify(request, f"{made} is a project of {client} now.")
        return redirect("client", client_id)
    return form_page(
        request,
        form,
        heading="Add a project",
        up=(client.name, reverse("client", args=[client_id])),
        button="Add project",
    )


@managers_only
def edit_project(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    project = _project(request, client_id, id)
    form = ProjectForm(request.POST or None, initial={"name": project.name, "code": project.code})
    if submit(form, services.save_project, workspace=request.tenancy.workspace, project=project):
        notify(request, "Saved.")
        return redirect("client", client_id)
    return form_page(
        request,
        form,
        heading=f"Edit {form.initial['name']}",
        up=(project.client.name, reverse("client", args=[client_id])),
        archive=(reverse("project-archive", args=[client_id, id]), project.archived),
        delete=(
            reverse("project-delete", args=[client_id, id]),
            form.initial["name"],
            "A project with work items or time stays.",
        ),
    )


@require_POST
@managers_only
def archive_project(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    project = _project(request, client_id, id)
    archived = request.POST.get("archived") == "1"
    services.save_project(workspace=request.tenancy.workspace, project=project, archived=archived)
    notify(request, f"{project} is archived." if archived else f"{project} is active again.")
    return redirect("client", client_id)


@managers_only
def delete_project(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    return _delete(request, _project(request, client_id, id))


def _project(request: WorkspaceRequest, client_id: UUID, id: UUID) -> Project:
    return get_object_or_404(projects_of(request.tenancy.workspace), id=id, client_id=client_id)


def _delete(request: WorkspaceRequest, row: Project | Contact) -> HttpResponse:
    """Delete something on a client's page, or ask before it."""
    up = reverse("client", args=[row.client_id])
    if request.method != "POST":
        return confirm_page(
            request,
            heading=f"Delete {row}?",
            text="This cannot be undone.",
            button=f"Delete {row}",
            up=(row.client.name, up),
        )
    services.delete(row)
    notify(request, f"{row} is deleted.")
    return redirect(up)


# --- Contacts --------------------------------------------------------------------------------------------------------
@managers_only
def new_contact(request: WorkspaceRequest, client_id: UUID) -> HttpResponse:
    client = _client(request, client_id)
    form = ContactForm(request.POST or None)
    if made := submit(form, services.save_contact, workspace=request.tenancy.workspace, client=client):
        notify(request, f"{made} is a contact at {client} now.")
        return redirect("client", client_id)
    return form_page(
        request,
        form,
        heading="Add a contact",
        up=(client.name, reverse("client", args=[client_id])),
        button="Add contact",
    )


@managers_only
def edit_contact(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    contact = _contact(request, client_id, id)
    form = ContactForm(request.POST or None, initial={"name": contact.name, "email": contact.email})
    if submit(form, services.save_contact, workspace=request.tenancy.workspace, contact=contact):
        notify(request, "Saved.")
        return redirect("client", client_id)
    return form_page(
        request,
        form,
        heading=f"Edit {form.initial['name']}",
        up=(contact.client.name, reverse("client", args=[client_id])),
        delete=(
            reverse("contact-delete", args=[client_id, id]),
            form.initial["name"],
            "The client and its time stay.",
        ),
    )


@managers_only
def delete_contact(request: WorkspaceRequest, client_id: UUID, id: UUID) -> HttpResponse:
    return _delete(request, _contact(request, client_id, id))


def _contact(request: WorkspaceRequest, client_id: UUID, id: UUID) -> Contact:
    return get_object_or_404(contacts_of(request.tenancy.workspace), id=id, client_id=client_id)
