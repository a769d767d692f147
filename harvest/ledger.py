"""How an entry stands in a run's ledger: the columns of its rows, and what they keep of it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

NOTES_KEPT = 1000  # characters of an entry's notes on the run entry; the log keeps them all

ENTRY_COLUMNS = (
    "id", "workspace_id", "run_id", "external_id", "outcome", "reason", "detail", "time_log_id", "proposal_id",
    "spent_date", "hours", "notes", "remote", "plan",
)  # fmt: skip


def kept_hours(hours: Decimal) -> Decimal | None:
    """Hours as the run entry keeps them: two decimals, or None where they are no sensible number."""
    if not hours.is_finite() or abs(hours) >= 10**9:
        return None
    return hours.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
