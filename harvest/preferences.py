"""What a workspace chooses about its Harvest connection: direction, who wins a conflict, the default task."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from accounts.errors import Invalid, ServiceError
from accounts.models import User, Workspace
from accounts.services import record_audit
from harvest.credentials import live_connection, usable_connection
from harvest.models import HarvestItem, ItemKind
from harvest.night import switched_on
from harvest.waiting import retry_mapped
from integrations import outgoing
from integrations.models import Connection, Direction

PREFERENCES = ("auto_sync", "direction", "conflict_policy", "default_task")


def _half(field: str, ours: str) -> str:
    """SQL: our half of a field of a link's base, which is kept once where Harvest's is equal, is not `ours`."""
    kept = f"link.base->'{field}'"
    half = f"CASE jsonb_typeof({kept}) WHEN 'array' THEN {kept}->>0 ELSE link.base->>'{field}' END"
    return f"{half} IS DISTINCT FROM {ours}"


# A linked log that is not as both sides agreed on; a link of which no base is known: that was edited since it came.
EDITED = " OR ".join(
    [
        "link.base IS NULL AND log.updated_at <> log.created_at",
        "log.deleted_at IS NOT NULL",
        f"""link.base IS NOT NULL AND ({
            " OR ".join(
                [
                    _half("notes", "log.notes"),
                    _half("spent_date", "log.spent_date::text"),
                    _half("duration", "log.seconds::text"),
                    _half("activity", "log.activity_type_id::text"),
                    _half("owner", "log.owner_id::text"),
                    "link.base->'placement'->0->>0 IS DISTINCT FROM log.client_id::text",
                    "link.base->'placement'->0->>1 IS DISTINCT FROM log.project_id::text",
                ]
            )
        })""",
    ]
)


def save_preferences(*, workspace: Workspace, by: User, **values: Any) -> Connection:
    """Change the preferences that are given, inside the workspace's scope; default_task: a Harvest task id, or ''.

    Switching to both ways sends what was edited here since both sides agreed; older time waits for `push_older`.
    Switching back cancels what has not gone out, and says so on the logs. Raises NotConnected; Invalid for what cannot
    be chosen, and then nothing is changed.
    """
    if unknown := values.keys() - set(PREFERENCES):
        raise TypeError(f"No such preference: {', '.join(sorted(unknown))}")
    live_connection(workspace)
    connection = Connection.objects.select_for_update().get(workspace=workspace, provider="harvest")
    task = values.get("default_task")
    tasks = HarvestItem.objects.filter(workspace=workspace, kind=ItemKind.TASK)
    if task and not tasks.filter(harvest_id=task).exists():
        raise Invalid({"default_task": ["Harvest has no such task here."]})
    changed = {name: value for name, value in values.items() if getattr(connection, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(connection, name, value)
        if changed.get("auto_sync"):
            switched_on(connection)
        connection.save(update_fields=[*changed, "night_on"])
        if changed.get("direction") == Direction.TWO_WAY:
            outgoing.push_edited(connection, EDITED)
        elif "direction" in changed:
            outgoing.cancel_all(connection, detail=outgoing.NOT_SENT)
        elif "default_task" in changed:
            retry_mapped(connection)
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.preferences",
            target=connection.account_name,
            **changed,
        )
    return connection


# --- Older time ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Older:
    """Time of mapped clients and projects that was logged before both ways were on, and is not in Harvest."""

    count: int
    hours: Decimal

    @property
    def hours_text(self) -> str:
        """The hours without zeros at their end: "1,081.5"."""
        return f"{self.hours.normalize():,f}"


def older_time(connection: Connection) -> Older | None:
    """That time; None where nothing goes out. One query."""
    if not connection.connected or connection.direction != Direction.TWO_WAY:
        return None
    return time_not_sent(connection)


def time_not_sent(connection: Connection) -> Older:
    """That time, whichever way the connection goes: what switching to both ways would leave. One query."""
    count, seconds = outgoing.older_time(connection)
    return Older(count, (Decimal(seconds) / 3600).quantize(Decimal("0.01"), ROUND_HALF_UP))


def push_older(*, workspace: Workspace, by: User) -> int:
    """Have that time sent too, behind what people save now, inside the scope. Returns how many logs.

    Raises NotConnected, PlanRequired, and ServiceError while the connection goes one way.
    """
    connection = usable_connection(workspace)
    if connection.direction != Direction.TWO_WAY:
        raise ServiceError("This connection only imports. Switch it to both ways first.")
    count = outgoing.push_older(connection)
    record_audit(
        workspace=workspace, actor=by, action="harvest.push_older", target=f"{count} time logs", count=count
    )
    return count
