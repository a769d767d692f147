"""Links that show a client, who has no account, what is left of its budgets and what was done."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantForeignKey, TenantModel
from clients.models import Client


class ClientLink(TenantModel):
    """A read-only link for one client, good until it expires or is revoked.

    Of the token in its address only the SHA-256 is kept, which the one query across workspaces goes by: a token has 256
    random bits, so a slow hash would protect nothing more. last_used_at: to the minute.
    """

    client = TenantForeignKey(Client, on_delete=models.CASCADE, related_name="links", db_index=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    show_notes = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "client", "-id"], name="settlement_link_client"),
            models.Index(fields=["workspace", "-id"], name="settlement_link_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} until {self.expires_at:%Y-%m-%d}"

    def last_day(self, zone: tzinfo) -> date:
        """The last day on which it opens, by a clock."""
        return (self.expires_at - timedelta(seconds=1)).astimezone(zone).date()

    def good(self, now: datetime | None = None) -> bool:
        """Whether it still opens."""
        return self.revoked_at is None and self.expires_at > (now or timezone.now())
