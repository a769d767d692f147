"""Writing clients, contacts and projects. Callers have checked that the person may (`Membership.can_manage`)."""

from __future__ import annotations

from typing import Any

from django.db.models import ProtectedError

from accounts.errors import InUse, Invalid
from accounts.models import Workspace
from clients.models import Client, Contact, Project


def required(errors: dict[str, list[str]], field: str, value: str, most: int = 200) -> str:
    """Strip a text; note in `errors` where it is empty, too long, or holds a NUL (which the database cannot keep)."""
    value = value.strip()
    if not value:
        errors.setdefault(field, []).append("Fill this in.")
    elif len(value) > most:
        errors.setdefault(field, []).append(f"Use at most {most} characters.")
    if "\x00" in value:
        errors.setdefault(field, []).append("Null characters are not allowed.")
    return value


def save_client(*, workspace: Workspace, client: Client | None = None, **values: Any) -> Client:
    """Make or change a client from `name`, `archived`; what is not given stays. Raises Invalid."""
    client = client or Client(workspace=workspace)
    errors: dict[str, list[str]] = {}
    client.name = required(errors, "name", values.get("name", client.name))
    client.archived = values.get("archived", client.archived)
    if errors:
        raise Invalid(errors)
    client.save()
    return client


def save_contact(*, workspace: Workspace, contact: Contact | None = None, **values: Any) -> Contact:
    """Make or change a contact from `client`, `name`, `email`. Raises Invalid."""
    contact = contact or Contact(workspace=workspace)
    errors: dict[str, list[str]] = {}
    if "client" in values:
        contact.client = values["client"]
    contact.name = required(errors, "name", values.get("name", contact.name))
    contact.email = (values.get("email", contact.email) or "").strip()
    if contact.client_id is None:
        errors["client"] = ["Choose the client this person works at."]
    if errors:
        raise Invalid(errors)
    contact.save()
    return contact


def save_project(*, workspace: Workspace, project: Project | None = None, **values: Any) -> Project:
    """Make or change a project from `client`, `name`, `code`, `archived`.

    The client of a project with time or work items on it stays: their client follows from it. Raises Invalid, InUse.
    """
    project = project or Project(workspace=workspace)
    errors: dict[str, list[str]] = {}
    moved = "client" in values and project.client_id not in (None, values["client"].id)
    if moved and not project._state.adding and (project.time_logs.exists() or project.work_items.exists()):
        raise InUse(
            "This project has time or work items. It stays with its client; make another project instead."
        )
    if "client" in values:
        project.client = values["client"]
    project.name = required(errors, "name", values.get("name", project.name))
    project.code = (values.get("code", project.code) or "").strip()
    if len(project.code) > 40:
        errors["code"] = ["Use at most 40 characters."]
    project.archived = values.get("archived", project.archived)
    if project.client_id is None:
        errors["client"] = ["Choose the client this project is for."]
    if errors:
        raise Invalid(errors)
    project.save()
    return project


def delete(row: Client | Contact | Project) -> None:
    """Delete a row that nothing rests on. Raises InUse: what has time on it is archived instead."""
    try:
        row.delete()
    except ProtectedError as error:
        raise InUse(f"{row} is in use, so it cannot be deleted. Archive it instead.") from error
