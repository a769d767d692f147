"""Harvest's catalogue as last read, and what it is mapped to."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantForeignKey, TenantModel
from clients.models import Client, Project
from integrations.fields import EncryptedTextField
from timelogs.models import ActivityType


class ItemKind(models.TextChoices):
    CLIENT = "client", "Client"
    PROJECT = "project", "Project"
    TASK = "task", "Task"
    PERSON = "person", "Person"


class HarvestItem(TenantModel):
    """A client, project, task or person of the connected Harvest account, as last read.

    active: not archived in Harvest. seen_in_entries_on: the last spent date of an entry that carried it, so that an
    archived one is offered while entries of the last 90 days carry it.
    """

    kind = models.CharField(max_length=10, choices=ItemKind.choices)
    harvest_id = models.CharField(max_length=40)
    name = models.CharField(max_length=300)
    code = models.CharField(max_length=60, blank=True)
    email = models.CharField(max_length=254, blank=True)
    parent_id = models.CharField(max_length=40, blank=True)
    parent_name = models.CharField(max_length=300, blank=True)
    active = models.BooleanField(default=True)
    hourly_rate = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    billable = models.BooleanField(default=True)
    seen_in_entries_on = models.DateField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "kind", "harvest_id"], name="harvest_item_once"),
        ]

    def __str__(self) -> str:
        return self.name


class ClientMapping(TenantModel):
    """Harvest client ↔ client, one to one, and the Harvest project in which time pushed for it lands."""

    harvest_id = models.CharField(max_length=40)
    target = TenantForeignKey(Client, on_delete=models.CASCADE, related_name="+")
    push_project = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "harvest_id"], name="harvest_client_mapped_once"),
            models.UniqueConstraint(fields=["workspace", "target"], name="harvest_client_target_once"),
        ]

    def __str__(self) -> str:
        return f"{self.harvest_id} ↔ {self.target_id}"


class ProjectMapping(TenantModel):
    """Harvest project ↔ project, one to one."""

    harvest_id = models.CharField(max_length=40)
    target = TenantForeignKey(Project, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "harvest_id"], name="harvest_project_mapped_once"),
            models.UniqueConstraint(fields=["workspace", "target"], name="harvest_project_target_once"),
        ]

    def __str__(self) -> str:
        return f"{self.harvest_id} ↔ {self.target_id}"


class TaskMapping(TenantModel):
    """Harvest task ↔ activity type, one to one; its rate travels with each entry."""

    harvest_id = models.CharField(max_length=40)
    target = TenantForeignKey(ActivityType, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "harvest_id"], name="harvest_task_mapped_once"),
            models.UniqueConstraint(fields=["workspace", "target"], name="harvest_task_target_once"),
        ]

    def __str__(self) -> str:
        return f"{self.harvest_id} ↔ {self.target_id}"


class PersonMapping(TenantModel):
    """Harvest user → member, set by hand. Unset, a Harvest user is the member with the same e-mail address."""

    harvest_id = models.CharField(max_length=40)
    target = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "harvest_id"], name="harvest_person_mapped_once"),
        ]

    def __str__(self) -> str:
        return f"{self.harvest_id} ↔ {self.target_id}"


class RememberedSkip(TenantModel):
    """An entry that a run left out for a missing mapping, until it comes in: what a new mapping could bring in now."""

    account_id = models.CharField(max_length=40)
    external_id = models.CharField(max_length=40)
    harvest_client_id = models.CharField(max_length=40)
    harvest_project_id = models.CharField(max_length=40)
    harvest_task_id = models.CharField(max_length=40)
    spent_date = models.DateField()
    hours = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "account_id", "external_id"], name="harvest_remembered_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} of {self.spent_date}"


class Consent(TenantModel):
    """One person's way to Harvest's consent page and back, good for ten minutes and for one return.

    browser: a hash of the mark that their browser's session holds; '' where an API key asked, which has no browser.
    Where the person must still choose an account, the tokens that Harvest gave wait here, with the accounts to choose
    from ([[id, name], ...]).
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    browser = models.CharField(max_length=64, blank=True)
    redirect_uri = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    used_at = models.DateTimeField(null=True)
    access_token = EncryptedTextField(blank=True)
    refresh_token = EncryptedTextField(blank=True)
    lifetime_seconds = models.PositiveIntegerField(null=True)
    received_at = models.DateTimeField(null=True)
    accounts = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="harvest_consent_age")]

    def __str__(self) -> str:
        return f"{self.user_id} at {self.created_at:%Y-%m-%d %H:%M}"
