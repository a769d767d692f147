"""Workspaces, people and what they may do. No rows of a workspace are reached but through it (`accounts.tenancy`)."""

from __future__ import annotations

import zoneinfo
from datetime import date, datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now as utc_now

from accounts.ids import uuid7
from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email.strip().lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in by e-mail address; may belong to several workspaces. Not a tenant's row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=utc_now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="accounts_user_email_ci")]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name.split(" ")[0] if self.name else self.email


class Plan(models.TextChoices):
    FREE = "free", "Free"
    PRO = "pro", "Pro"


class Workspace(models.Model):
    """One tenant. Its row is visible in its own scope, and to its members while they sign in."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    plan = models.CharField(max_length=10, choices=Plan.choices, default=Plan.FREE)
    timezone = models.CharField(max_length=60, default="UTC")
    currency = models.CharField(max_length=3, default="USD")
    # A session in which no second factor was used opens nothing of the workspace (accounts/second_factor.py).
    require_second_factor = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=utc_now, editable=False)
    # Set while it is to be deleted: when that will begin, unless it is called off (accounts/deletion.py).
    deletes_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(plan__in=Plan.values), name="accounts_workspace_plan"),
            models.CheckConstraint(
                condition=models.Q(currency__regex=r"^[A-Z]{3}$"), name="accounts_workspace_currency"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.timezone)

    def local_now(self) -> datetime:
        """The present moment on this workspace's clock."""
        return utc_now().astimezone(self.zone)

    def today(self) -> date:
        """The day it is now in this workspace's time zone: what "today" means everywhere in it."""
        return self.local_now().date()


class Role(models.TextChoices):
    ADMIN = "admin", "Admin"
    DESIGNER = "designer", "Designer"
    MEMBER = "member", "Member"


class Membership(TenantModel):
    """A person's place and role in a workspace."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(default=utc_now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="accounts_membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="accounts_membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"

    @property
    def can_manage(self) -> bool:
        """Admins and designers connect, map, import, decide and write everything but people and the plan."""
        return self.role in (Role.ADMIN, Role.DESIGNER)

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN


class ApiKeyAccess(models.TextChoices):
    READ = "read", "Read only"
    WRITE = "write", "Read and write"


class ApiKey(TenantModel):
    """A key of one person in one workspace. Only its prefix and a hash are kept; the key is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64)
    access = models.CharField(max_length=5, choices=ApiKeyAccess.choices, default=ApiKeyAccess.WRITE)
    created_at = models.DateTimeField(default=utc_now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(access__in=ApiKeyAccess.values), name="accounts_apikey_access"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


class IdempotencyRecord(TenantModel):
    """The first answer to a POST with an `Idempotency-Key`, kept for 24 hours, written with its effect."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.BinaryField(default=b"")
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=utc_now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user", "key"], name="accounts_idempotency_once")
        ]
        indexes = [models.Index(fields=["created_at"], name="accounts_idempotency_age")]

    def __str__(self) -> str:
        return self.key


class AuditEvent(TenantModel):
    """Who did what, when, from where: one row a deed, never changed (a trigger refuses it). `data` holds no secrets.

    Written by `accounts.audit`, whose `Origin` says what address and agent are. People are never deleted, only made
    nameless, so an actor stays.
    """

    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200, blank=True)
    data = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    agent = models.CharField(max_length=80, blank=True)
    at = models.DateTimeField(default=utc_now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["workspace", "-at"], name="accounts_audit_newest")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}".strip()


class Notice(TenantModel):
    """Something that one person is told, once an incident: what happened, and where to put it right.

    remedy: the words of a button; remedy_path: the page of this site where it leads.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    incident = models.CharField(max_length=120)
    title = models.CharField(max_length=200)
    text = models.TextField()
    remedy = models.CharField(max_length=60, blank=True)
    remedy_path = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=utc_now, editable=False)
    read_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user", "incident"], name="accounts_notice_once")
        ]
        indexes = [models.Index(fields=["workspace", "user", "-created_at"], name="accounts_notice_newest")]

    def __str__(self) -> str:
        return self.title


class ExportKind(models.TextChoices):
    WORKSPACE = "workspace", "The whole workspace"
    PERSON = "person", "One's own data"


class ExportState(models.TextChoices):
    QUEUED = "queued", "Being made"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class DataExport(TenantModel):
    """A ZIP of data, made by a worker and kept for some days in pieces (`DataExportChunk`), for any web server to give.

    requested_by: who may fetch one's own data; a whole workspace's any admin may.
    """

    kind = models.CharField(max_length=10, choices=ExportKind.choices)
    state = models.CharField(max_length=10, choices=ExportState.choices, default=ExportState.QUEUED)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    attempts = models.PositiveSmallIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    rows = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=utc_now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=ExportKind.values), name="accounts_export_kind"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ExportState.values), name="accounts_export_state"
            ),
        ]
        # What the sweep looks for over all workspaces: those no worker has taken, those whose days are over.
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(state=ExportState.QUEUED),
                name="accounts_export_queued",
            ),
            models.Index(fields=["expires_at"], name="accounts_export_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.created_at:%Y-%m-%d}"


class DataExportChunk(TenantChild):
    """A piece of an export's file, numbered from 0."""

    export = TenantForeignKey(DataExport, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "export", "number"], name="accounts_exportchunk_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.export_id} {self.number}"
