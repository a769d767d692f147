"""Time proposals, what came in for a client but could not be placed by itself; adjustments of settled time."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantForeignKey, TenantModel, TenantOneToOneField
from clients.models import Client, Project
from timelogs.models import ActivityType, TimeLog
from timelogs.money import amount_of, hours_of


class ProposalStatus(models.TextChoices):
    PENDING = "pending", "Waiting"
    ACCEPTED = "accepted", "Accepted"
    DISMISSED = "dismissed", "Dismissed"
    WITHDRAWN = "withdrawn", "Withdrawn"


class TimeProposal(TenantModel):
    """An entry of a mapped client that waits for a person to say where it belongs.

    pending -> accepted (it has its time log then), dismissed (restorable) or withdrawn (deleted in Harvest). Each step
    updates with the old state in its filter, so that two people pressing at once make one log.
    """

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="proposals")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    activity_type = TenantForeignKey(
        ActivityType, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    spent_date = models.DateField()
    seconds = models.PositiveIntegerField()
    notes = models.TextField(blank=True)
    billable = models.BooleanField(default=True)
    hourly_rate = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal("0.00"))
    external_id = models.CharField(max_length=40)
    status = models.CharField(max_length=10, choices=ProposalStatus.choices, default=ProposalStatus.PENDING)
    time_log = TenantOneToOneField(
        TimeLog, on_delete=models.PROTECT, null=True, blank=True, related_name="proposal"
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=ProposalStatus.values), name="inbound_proposal_status"
            ),
            models.CheckConstraint(
                condition=models.Q(status=ProposalStatus.ACCEPTED, time_log__isnull=False)
                | (~models.Q(status=ProposalStatus.ACCEPTED) & models.Q(time_log__isnull=True)),
                name="inbound_proposal_accepted_has_log",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "status", "-spent_date", "-id"], name="inbound_proposal_newest"
            ),
            # What a person's earlier time for a client was accepted on, latest first: suggestions compare with it.
            models.Index(
                fields=["workspace", "client", "owner", "-decided_at"],
                condition=models.Q(status=ProposalStatus.ACCEPTED),
                name="inbound_proposal_accepted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.spent_date} {self.seconds} s ({self.status})"


class AdjustmentKind(models.TextChoices):
    CHANGED = "changed", "Changed in Harvest"
    GONE = "gone", "Gone from Harvest"


class AdjustmentStatus(models.TextChoices):
    PENDING = "pending", "Waiting"
    ACCEPTED = "accepted", "Accepted"
    DISMISSED = "dismissed", "Dismissed"
    WITHDRAWN = "withdrawn", "Withdrawn"


@dataclass(frozen=True, slots=True)
class AdjustmentLine:
    """Seconds to settle (negative: to take back) at one place and rate of the adjustment's client."""

    project_id: UUID | None
    activity_type_id: UUID | None
    hourly_rate: Decimal
    billable: bool
    seconds: int


class Adjustment(TenantModel):
    """The difference between a settled time log and its Harvest entry, which waits for the next statement.

    `before` is what is settled so far (the log as its statement froze it, with the adjustments accepted since),
    `after` is what Harvest holds; null where the entry is gone, or has moved to another client (`kind` is gone then).
    Both are {"spent_date": "2026-06-01", "seconds": 3600, "notes": "…", "billable": true, "hourly_rate": "120.00",
    "client" | "project" | "activity_type" | "owner": {"id": "…", "name": "…"} or null}.

    `lines` is what to settle: one line, or two where time moved to another project, activity type, rate or billable
    (taken back there, added here), or none where only words, person or day changed. `seconds_delta` is their sum;
    project, activity_type, hourly_rate and billable are those of the added time (of what is taken back, where gone).

    pending -> accepted or dismissed (both restorable, an accepted one until a statement takes it) or withdrawn (Harvest
    is again as settled, or has changed once more: a newer adjustment takes its place, so that nobody accepts what they
    have not seen). dismissed -> withdrawn once Harvest is again as settled. At most one of a log is pending.
    """

    time_log = TenantForeignKey(TimeLog, on_delete=models.PROTECT, related_name="adjustments")
    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="adjustments", db_index=False)
    kind = models.CharField(max_length=7, choices=AdjustmentKind.choices)
    before = models.JSONField()
    after = models.JSONField(null=True)
    seconds_delta = models.IntegerField()
    parts = models.JSONField(default=list)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, null=True, related_name="+")
    activity_type = TenantForeignKey(ActivityType, on_delete=models.PROTECT, null=True, related_name="+")
    hourly_rate = models.DecimalField(max_digits=12, decimal_places=2)
    billable = models.BooleanField()
    spent_date = models.DateField()
    external_id = models.CharField(max_length=40)
    status = models.CharField(
        max_length=9, choices=AdjustmentStatus.choices, default=AdjustmentStatus.PENDING
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "time_log"],
                condition=models.Q(status=AdjustmentStatus.PENDING),
                name="inbound_adjustment_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=AdjustmentStatus.values), name="inbound_adjustment_status"
            ),
            models.CheckConstraint(
                condition=models.Q(kind=AdjustmentKind.CHANGED, after__isnull=False)
                | models.Q(kind=AdjustmentKind.GONE),
                name="inbound_adjustment_kind",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "status", "-spent_date", "-id"], name="inbound_adjustment_newest"
            ),
            models.Index(fields=["workspace", "client", "status"], name="inbound_adjustment_client"),
        ]

    def __str__(self) -> str:
        return f"{self.spent_date} {self.seconds_delta:+} s ({self.status})"

    @property
    def hours_delta(self) -> Decimal:
        return hours_of(self.seconds_delta)

    @property
    def amount(self) -> Decimal:
        """What its billable lines come to, each rounded half-up to cents."""
        amounts = (amount_of(one.seconds, one.hourly_rate) for one in self.lines if one.billable)
        return sum(amounts, Decimal("0.00"))

    @property
    def lines(self) -> list[AdjustmentLine]:
        """What to settle of this adjustment, taken back first."""
        return [
            AdjustmentLine(
                UUID(part["project"]) if part["project"] else None,
                UUID(part["activity_type"]) if part["activity_type"] else None,
                Decimal(part["hourly_rate"]),
                part["billable"],
                part["seconds"],
            )
            for part in self.parts
        ]
