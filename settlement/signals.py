"""News of settlement for higher floors, sent inside the transaction that makes it."""

from django.dispatch import Signal

# Sent with: workspace_id (UUID), time_log_ids (list of UUID). Their statement was voided: they are on none any more.
time_released = Signal()
