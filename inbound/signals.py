"""News of proposals for higher floors, sent inside the transaction that decides them."""

from django.dispatch import Signal

# Sent with: proposal (TimeProposal), time_log (TimeLog, just made of it). Before `time_log_changed` of that log.
proposal_accepted = Signal()

# Sent with: proposal (TimeProposal, about to wait again), time_log (TimeLog, about to be removed without a trace). A
# receiver lets go of the log, or raises ServiceError where it has gone on since.
proposal_reopening = Signal()

# Sent with: adjustment (Adjustment, accepted). It is about to wait again: a receiver may raise ServiceError against it.
adjustment_restoring = Signal()
