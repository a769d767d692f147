"""A studio that goes both ways, and what people do in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils import timezone

from accounts.models import Membership
from harvest.pushing import drain
from integrations.models import Connection, Direction, OutboundChange, SyncEvent, SyncLink
from tests.harvest.conftest import Studio
from timelogs.models import TimeLog
from timelogs.services import delete_time_log, record_time_log, restore_time_log, revise_time_log

DAY = date(2026, 6, 1)


@dataclass
class Both:
    """A connected studio with Website and Acme, Design and Code mapped, everybody and everything assigned."""

    studio: Studio

    @property
    def account(self) -> Any:
        return self.studio.sandbox.account

    def log(self, *, by: Membership | None = None, **values: Any) -> TimeLog:
        """Save a log as a person does: on Website, Design, 1.5 h, unless told otherwise."""
        studio = self.studio
        given = {
            "project": studio.projects["Website"],
            "activity_type": studio.types["Design"],
            "spent_date": DAY,
            "seconds": 5400,
            "notes": "Sketches",
            **values,
        }
        if given["project"] is None:
            del given["project"]
        with studio.scope():
            return record_time_log(workspace=studio.admin.workspace, by=by or studio.admin, **given)

    def edit(self, log: TimeLog, **values: Any) -> TimeLog:
        with self.studio.scope():
            return revise_time_log(log=log, by=self.studio.admin, **values)

    def delete(self, log: TimeLog) -> None:
        with self.studio.scope():
            delete_time_log(log=log, by=self.studio.admin)

    def restore(self, log: TimeLog) -> None:
        with self.studio.scope():
            restore_time_log(log=log, by=self.studio.admin)

    def drain(self) -> float | None:
        return drain(workspace_id=self.studio.workspace_id)

    def send_all(self, rounds: int = 30) -> None:
        """Drain until nothing is pending, with all waits over at once."""
        for _ in range(rounds):
            with self.studio.scope():
                OutboundChange.objects.filter(state="pending").update(not_before=timezone.now())
                OutboundChange.objects.filter(state="sending").update(lease_until=timezone.now())
                if not OutboundChange.objects.filter(state__in=("pending", "sending")).exists():
                    return
            self.drain()
        raise AssertionError("It does not come to rest.")

    def reload(self, log: TimeLog) -> TimeLog:
        with self.studio.scope():
            return TimeLog.objects.get(pk=log.pk)

    def state(self, log: TimeLog) -> tuple[str, str]:
        now = self.reload(log)
        return now.sync_state, now.sync_detail

    def changes(self, log: TimeLog | None = None) -> list[OutboundChange]:
        with self.studio.scope():
            rows = OutboundChange.objects.order_by("id")
            return list(rows.filter(time_log=log) if log else rows)

    def link(self, log: TimeLog) -> SyncLink | None:
        with self.studio.scope():
            return SyncLink.objects.filter(time_log=log).first()

    def deeds(self, log: TimeLog) -> list[str]:
        with self.studio.scope():
            return list(SyncEvent.objects.filter(time_log=log).order_by("id").values_list("deed", flat=True))

    def entries(self) -> list[dict[str, Any]]:
        return list(self.account.entries())

    def seen(self, method: str, path: str = "/time_entries") -> int:
        return len(self.studio.sandbox.seen(method, path))

    def set(self, **values: Any) -> None:
        with self.studio.scope():
            Connection.objects.update(**values)


def go_both_ways(studio: Studio) -> Both:
    account, ids = studio.sandbox.account, studio.harvest
    ids["Bo"] = account.add_user("Bo", "Berg", "bo@northlight.example")
    for project in ("Website", "App", "Loose"):
        for user in ("Ada", "Bo"):
            account.assign_user(ids[project], ids[user])
        for task in ("Design", "Code"):
            account.assign_task(ids[project], ids[task])
    studio.map("clients", {"Acme": studio.clients["Acme"]})
    studio.map("projects", {"Website": studio.projects["Website"]})
    studio.map("tasks", {"Design": studio.types["Design"], "Code": studio.types["Code"]})
    with studio.scope():
        Connection.objects.update(direction=Direction.TWO_WAY)
    studio.connection.direction = Direction.TWO_WAY
    studio.refresh()
    return Both(studio)
