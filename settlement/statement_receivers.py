"""What statements have to say to the floors below."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from accounts.errors import ServiceError
from inbound.models import Adjustment
from inbound.signals import adjustment_restoring
from settlement.models import StatementEntry


@receiver(adjustment_restoring)
def keep_settled_adjustment(sender: type[Adjustment], adjustment: Adjustment, **rest: Any) -> None:
    """An adjustment on an issued statement stays accepted. (Its row is locked by whoever asks.)"""
    held = StatementEntry.objects.filter(workspace_id=adjustment.workspace_id, adjustment=adjustment)
    number = held.values_list("statement__number", flat=True).first()
    if number is not None:
        raise ServiceError(f"Statement {number} settles this adjustment. Void that statement first.")
