"""News of time logs for higher floors, sent inside the transaction that writes them."""

from django.dispatch import Signal

# Sent with: workspace_id (UUID), time_log_ids (list of UUID), change ("created" | "updated" | "deleted" | "restored"),
# origin ("person" | "sync"). One signal a page of rows, never one a row. A receiver answers whether it wrote on the
# logs' sync state.
time_log_changed = Signal()
