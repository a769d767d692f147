"""What a workspace chooses about its Harvest connection: direction, who wins a conflict, the default task."""

from __future__ import annotations

from typing import Any

from accounts.errors import Invalid
from accounts.models import User, Workspace
from accounts.services import record_audit
from harvest.credentials import live_connection
from harvest.models import HarvestItem, ItemKind
from harvest.night import switched_on
from integrations.models import Connection, Direction

PREFERENCES = ("auto_sync", "direction", "conflict_policy", "default_task")
NOT_YET = "This is not available yet."


def save_preferences(*, workspace: Workspace, by: User, **values: Any) -> Connection:
    """Change the preferences that are given, inside the workspace's scope; default_task: a Harvest task id, or ''.

    Raises NotConnected; Invalid for what cannot be chosen, and then nothing is changed.
    """
    if unknown := values.keys() - set(PREFERENCES):
        raise TypeError(f"No such preference: {', '.join(sorted(unknown))}")
    live_connection(workspace)
    connection = Connection.objects.select_for_update().get(workspace=workspace, provider="harvest")
    errors: dict[str, list[str]] = {}
    if values.get("direction") == Direction.TWO_WAY:
        errors["direction"] = [NOT_YET]
    task = values.get("default_task")
    tasks = HarvestItem.objects.filter(workspace=workspace, kind=ItemKind.TASK)
    if task and not tasks.filter(harvest_id=task).exists():
        errors["default_task"] = ["Harvest has no such task here."]
    if errors:
        raise Invalid(errors)
    changed = {name: value for name, value in values.items() if getattr(connection, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(connection, name, value)
        if changed.get("auto_sync"):
            switched_on(connection)
        connection.save(update_fields=[*changed, "night_on"])
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.preferences",
            target=connection.account_name,
            **changed,
        )
    return connection
