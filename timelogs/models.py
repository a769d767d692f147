"""Activity types, work items and time logs."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from accounts.audit import audited
from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel
from clients.models import Client, Project
from timelogs.money import amount_of


@audited("activity_type", "name", "hourly_rate", "billable")
class ActivityType(TenantModel):
    """A kind of work, with the hourly rate (in the workspace's currency) that a log takes from it when it is made."""

    name = models.CharField(max_length=200)
    hourly_rate = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal("0.00"))
    billable = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(hourly_rate__gte=0), name="timelogs_activity_rate_positive"
            )
        ]

    def __str__(self) -> str:
        return self.name


class WorkItemStatus(models.TextChoices):
    OPEN = "open", "Open"
    DONE = "done", "Done"


@audited("work_item", "client", "project", "key", "title", "description", "status")
class WorkItem(TenantModel):
    """Something to be done for a client, named in notes by its key."""

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="work_items")
    project = TenantForeignKey(
        Project, on_delete=models.PROTECT, null=True, blank=True, related_name="work_items"
    )
    key = models.CharField(max_length=40)
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=5, choices=WorkItemStatus.choices, default=WorkItemStatus.OPEN)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint("workspace", Upper("key"), name="timelogs_workitem_key_once"),
            models.CheckConstraint(
                condition=models.Q(status__in=WorkItemStatus.values), name="timelogs_workitem_status"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.title}"


class Source(models.TextChoices):
    MANUAL = "manual", "Logged here"
    HARVEST = "harvest", "Harvest"


class SyncState(models.TextChoices):
    NONE = "none", "Not synced"
    PENDING = "pending", "Waiting to be pushed"
    SYNCED = "synced", "In step"
    HELD = "held", "Held"
    CONFLICT = "conflict", "Conflict"
    DIFFERS = "differs", "Differs in Harvest"


@audited(
    "time_log",
    *(
        "client",
        "project",
        "work_item",
        "activity_type",
        "owner",
        "spent_date",
        "seconds",
        "notes",
        "billable",
    ),
    *("hourly_rate", "deleted_at"),
    made=False,
    people_only=True,
)
class TimeLog(TenantChild):
    """Time that somebody spent for a client on one day.

    seconds: whole seconds. hourly_rate: as it was when the log was made or moved to another activity type.
    A log with `deleted_at` set is deleted and can be restored; one with `settled_at` set is on an issued statement
    and can be neither changed nor deleted. `settled_at` is written by the settlement alone.
    """

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="time_logs", db_index=False)
    project = TenantForeignKey(
        Project, on_delete=models.PROTECT, null=True, blank=True, related_name="time_logs"
    )
    work_item = TenantForeignKey(
        WorkItem, on_delete=models.PROTECT, null=True, blank=True, related_name="time_logs", db_index=False
    )
    activity_type = TenantForeignKey(
        ActivityType, on_delete=models.PROTECT, null=True, blank=True, related_name="time_logs"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    spent_date = models.DateField()
    seconds = models.PositiveIntegerField()
    notes = models.TextField(blank=True)
    billable = models.BooleanField(default=True)
    hourly_rate = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal("0.00"))
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.MANUAL)
    external_id = models.CharField(max_length=40, null=True, blank=True)
    sync_state = models.CharField(max_length=10, choices=SyncState.choices, default=SyncState.NONE)
    sync_detail = models.TextField(blank=True)
    settled_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(source__in=Source.values), name="timelogs_timelog_source"
            ),
            models.CheckConstraint(
                condition=models.Q(sync_state__in=SyncState.values), name="timelogs_timelog_sync_state"
            ),
            models.CheckConstraint(
                condition=models.Q(hourly_rate__gte=0), name="timelogs_timelog_rate_positive"
            ),
        ]
        indexes = [
            # The list's order, newest first; keyset pages compare (spent_date, id) as one row value.
            models.Index(
                fields=["workspace", "-spent_date", "-id"],
                condition=models.Q(deleted_at=None),
                name="timelogs_newest",
            ),
            # With what sums ask for: a thousand clients' days are summed from the index alone, at a fifth of the price.
            models.Index(
                fields=["workspace", "client", "-spent_date", "-id"],
                include=["project", "seconds", "billable", "hourly_rate"],
                condition=models.Q(deleted_at=None),
                name="timelogs_by_client",
            ),
            models.Index(
                fields=["workspace", "owner", "-spent_date", "-id"],
                condition=models.Q(deleted_at=None),
                name="timelogs_by_owner",
            ),
            models.Index(
                fields=["workspace", "work_item"],
                condition=models.Q(work_item__isnull=False),
                name="timelogs_by_work_item",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.spent_date} {self.seconds} s"

    @property
    def settled(self) -> bool:
        return self.settled_at is not None

    @property
    def amount(self) -> Decimal:
        """What this log alone comes to, rounded half-up to cents; nothing where it is not billable."""
        return amount_of(self.seconds, self.hourly_rate) if self.billable else Decimal("0.00")


class MonthTotal(TenantChild):
    """What the live time logs of a client, or of a project of it, came to in a month, up to the changes not yet added.

    The sum of these rows and those of `MonthChange` is true in every snapshot: the database keeps it (migration 0008).
    project_id is no reference: of a project that is gone, total and changes cancel out until they are merged.
    logs: how many. weighted: seconds x hourly rate, summed over billable logs; divided by 3600 it is money.
    """

    client = TenantForeignKey(Client, on_delete=models.CASCADE, related_name="+", db_index=False)
    project_id = models.UUIDField(null=True)
    month = models.DateField()
    logs = models.BigIntegerField()
    seconds = models.BigIntegerField()
    billable_seconds = models.BigIntegerField()
    weighted = models.DecimalField(max_digits=30, decimal_places=2)

    class Meta:
        constraints = [
            # Its index answers alone what sums of months ask for.
            models.UniqueConstraint(
                fields=["workspace", "client", "month", "project_id"],
                include=["logs", "seconds", "billable_seconds", "weighted"],
                nulls_distinct=False,
                name="timelogs_monthtotal_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.seconds} s"


class MonthChange(TenantChild):
    """By how much one statement changed a month's total; below zero where time went.

    Each statement that changes time logs writes rows of its own, by a trigger: no two writers ever wait for the same
    row, whatever their order. `totals.merge_totals` adds them to the totals. Every writer pays for its indexes: it has
    no more than any table.
    """

    client = TenantForeignKey(Client, on_delete=models.CASCADE, related_name="+", db_index=False)
    project_id = models.UUIDField(null=True)
    month = models.DateField()
    logs = models.BigIntegerField()
    seconds = models.BigIntegerField()
    billable_seconds = models.BigIntegerField()
    weighted = models.DecimalField(max_digits=30, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.seconds:+} s"
