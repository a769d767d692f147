"""Statements, their entries, and the counter that numbers them."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel
from clients.models import Client
from inbound.models import Adjustment
from timelogs.models import TimeLog


class StatementStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    ISSUED = "issued", "Issued"
    VOID = "void", "Void"


class Statement(TenantModel):
    """What a client's recorded time comes to in a period, both days included.

    draft -> issued -> void. A draft holds no entries: it is what the logs come to as they stand, so it follows them by
    itself. Issuing writes the entries, each with its values as they are then, and `frozen`: client, currency, lines,
    totals and budgets (`statement_math.Sheet.as_json`); nothing of it is written again. A void one keeps its number
    and all that it said, and holds no log any more.
    """

    client = TenantForeignKey(Client, on_delete=models.PROTECT, related_name="statements")
    from_date = models.DateField()
    to_date = models.DateField()
    status = models.CharField(
        max_length=6, choices=StatementStatus.choices, default=StatementStatus.DRAFT, editable=False
    )
    number = models.PositiveIntegerField(null=True, editable=False)
    frozen = models.JSONField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    issued_at = models.DateTimeField(null=True, editable=False)
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", editable=False
    )
    voided_at = models.DateTimeField(null=True, editable=False)
    voided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", editable=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "client"],
                condition=models.Q(status=StatementStatus.DRAFT),
                name="settlement_statement_one_draft",
            ),
            models.UniqueConstraint(fields=["workspace", "number"], name="settlement_statement_number"),
            models.CheckConstraint(
                condition=models.Q(status__in=StatementStatus.values), name="settlement_statement_status"
            ),
            models.CheckConstraint(
                condition=models.Q(to_date__gte=models.F("from_date")), name="settlement_statement_period"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    status=StatementStatus.DRAFT,
                    number=None,
                    frozen__isnull=True,
                    issued_at=None,
                    voided_at=None,
                )
                | models.Q(
                    status=StatementStatus.ISSUED,
                    number__isnull=False,
                    frozen__isnull=False,
                    issued_at__isnull=False,
                    voided_at=None,
                )
                | models.Q(
                    status=StatementStatus.VOID,
                    number__isnull=False,
                    frozen__isnull=False,
                    issued_at__isnull=False,
                    voided_at__isnull=False,
                ),
                name="settlement_statement_state",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="settlement_statement_newest")
        ]

    def __str__(self) -> str:
        return f"Statement {self.number}" if self.number else "Draft statement"

    @property
    def is_draft(self) -> bool:
        return self.status == StatementStatus.DRAFT


class EntryKind(models.TextChoices):
    TIME = "time", "Time"
    ADJUSTMENT = "adjustment", "Adjustment"


class StatementEntry(TenantChild):
    """One log, or one part of an adjustment, as it was when its statement was issued. Never changed afterwards.

    time_log, adjustment: what this entry holds while its statement is live; null once that is void. The database lets
    each be held once, so no log is ever on two live statements. `source` is the same id, kept for good and without a
    reference: a log that a void released may be taken back for good with the import that brought it.
    part: 0, or 1 for the second line of an adjustment that moved time from one place to another.
    """

    statement = TenantForeignKey(Statement, on_delete=models.PROTECT, related_name="entries", db_index=False)
    kind = models.CharField(max_length=10, choices=EntryKind.choices)
    time_log = TenantForeignKey(
        TimeLog, on_delete=models.PROTECT, null=True, related_name="statement_entries", db_index=False
    )
    adjustment = TenantForeignKey(
        Adjustment, on_delete=models.PROTECT, null=True, related_name="statement_entries", db_index=False
    )
    part = models.PositiveSmallIntegerField(default=0)
    source = models.UUIDField()
    spent_date = models.DateField()
    owner_id = models.UUIDField()
    owner_name = models.CharField(max_length=254)
    project_id = models.UUIDField(null=True)
    project_name = models.CharField(max_length=200, blank=True)
    activity_type_id = models.UUIDField(null=True)
    activity_type_name = models.CharField(max_length=200, blank=True)
    work_item_key = models.CharField(max_length=40, blank=True)
    notes = models.TextField(blank=True)
    seconds = models.IntegerField()
    rate = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal("0.00"))
    billable = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "time_log"],
                condition=models.Q(time_log__isnull=False),
                name="settlement_entry_log_once",
            ),
            models.UniqueConstraint(
                fields=["workspace", "adjustment", "part"],
                condition=models.Q(adjustment__isnull=False),
                name="settlement_entry_adjustment_once",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=EntryKind.TIME, adjustment=None, seconds__gte=0)
                | models.Q(kind=EntryKind.ADJUSTMENT, time_log=None),
                name="settlement_entry_kind",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "statement", "spent_date", "id"], name="settlement_entry_order")
        ]

    def __str__(self) -> str:
        return f"{self.spent_date} {self.seconds} s"


class StatementCounter(TenantModel):
    """The number that the workspace's next issued statement gets; its row is locked while one is issued."""

    next_number = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace"], name="settlement_counter_once")]

    def __str__(self) -> str:
        return str(self.next_number)
