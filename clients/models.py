"""Clients, the people at them, and their projects."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.audit import audited
from accounts.tenancy import TenantForeignKey, TenantModel


@audited("client", "name", "archived")
class Client(TenantModel):
    """A customer of the studio."""

    name = models.CharField(max_length=200)
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["workspace", "name"], name="clients_client_by_name")]

    def __str__(self) -> str:
        return self.name


@audited("contact", "client", "name", "email")
class Contact(TenantModel):
    """A person at a client."""

    client = TenantForeignKey(Client, on_delete=models.CASCADE, related_name="contacts")
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


@audited("project", "client", "name", "code", "archived")
class Project(TenantModel):
    """A project of one client."""

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="projects")
    name = models.CharField(max_length=200)
    code = models.CharField(max_length=40, blank=True)
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["workspace", "name"], name="clients_project_by_name")]

    def __str__(self) -> str:
        return self.name
