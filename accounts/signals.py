"""What accounts tell the floors above."""

from django.dispatch import Signal

# A workspace is about to be erased, inside its scope; what opens other systems is to be forgotten first.
# Arguments: workspace_id.
workspace_ending = Signal()

# A person has left a workspace, inside its scope, in the transaction of that. Arguments: workspace_id, user.
member_left = Signal()
