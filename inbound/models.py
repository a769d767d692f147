"""Time proposals: what came in for a client but could not be placed by itself."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantForeignKey, TenantModel, TenantOneToOneField
from clients.models import Client
from timelogs.models import ActivityType, TimeLog


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
        ]

    def __str__(self) -> str:
        return f"{self.spent_date} {self.seconds} s ({self.status})"
