"""What the home page is composed of: each part asked of the floor it belongs to, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Exists
from django.urls import reverse

from accounts.models import Membership, Plan, Workspace
from clients.models import Client
from harvest.results import Result
from inbound.models import TimeProposal
from inbound.selectors import adjustments_waiting, waiting
from integrations.models import (
    ChangeState,
    Connection,
    ConnectionStatus,
    OutboundChange,
    RunKind,
)
from integrations.runs import Counts, runs_of
from timelogs.models import ActivityType, TimeLog

MOST_SHOWN = 4  # proposals in the list


# --- Sync health -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Health:
    """How the workspace stands with Harvest. last, last_auto: the newest run at all, and the newest automated one.

    pending, held, conflicts: time that is not in step: to be pushed still, that cannot travel, changed on both sides.
    """

    connection: Connection
    paused: bool
    last: Result | None
    last_auto: Result | None
    pending: int
    held: int
    conflicts: int

    @property
    def state(self) -> tuple[str, str]:
        """The badge's words and tone."""
        if not self.connection.connected:
            return "Reconnect needed", "warn"
        return ("Paused", "warn") if self.paused else ("Connected", "good")


def health_of(workspace: Workspace) -> Health | None:
    """The connection's health, or None where there is none now."""
    connection = (
        Connection.objects.filter(workspace=workspace).exclude(status=ConnectionStatus.NOT_CONNECTED).first()
    )
    if connection is None:
        return None
    runs = runs_of(workspace).filter(connection=connection, dry_run=False).order_by("-id")
    newest = [runs.first(), runs.filter(kind=RunKind.AUTO).first()]
    # How each ended is all that is shown: what it counted is a click away.
    last, last_auto = (Result(run, Counts()) if run else None for run in newest)
    open_changes = (ChangeState.PENDING, ChangeState.SENDING, ChangeState.HELD, ChangeState.CONFLICT)
    states: dict[str, int] = dict(
        OutboundChange.objects.filter(workspace=workspace, state__in=open_changes)
        .order_by()
        .values_list("state")
        .annotate(count=Count("id"))
    )
    return Health(
        connection=connection,
        paused=workspace.plan != Plan.PRO,
        last=last,
        last_auto=last_auto,
        pending=states.get(ChangeState.PENDING, 0) + states.get(ChangeState.SENDING, 0),
        held=states.get(ChangeState.HELD, 0),
        conflicts=states.get(ChangeState.CONFLICT, 0),
    )


# --- What waits ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in Inbound: how many there are, and the newest proposals."""

    proposals: list[TimeProposal]
    proposal_count: int
    adjustment_count: int

    @property
    def count(self) -> int:
        return self.proposal_count + self.adjustment_count


def waiting_of(workspace: Workspace) -> Waiting:
    proposals = waiting(workspace).select_related("client", "owner").order_by("-spent_date", "-id")
    return Waiting(
        proposals=list(proposals[:MOST_SHOWN]),
        proposal_count=waiting(workspace).count(),
        adjustment_count=adjustments_waiting(workspace).count(),
    )


# --- A new workspace -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Step:
    """One of the first things to do. url: where; empty where this person may not."""

    title: str
    text: str
    action: str
    url: str
    done: bool


def first_steps(workspace: Workspace, by: Membership) -> list[Step]:
    """What to do first in a workspace without time: none once there is any. One query."""
    logs = TimeLog.objects.filter(workspace=workspace)
    row = (
        Workspace.objects.filter(pk=workspace.pk)
        .annotate(
            has_logs=Exists(logs),
            has_clients=Exists(Client.objects.filter(workspace=workspace)),
            has_types=Exists(ActivityType.objects.filter(workspace=workspace)),
            has_connection=Exists(
                Connection.objects.filter(workspace=workspace).exclude(status=ConnectionStatus.NOT_CONNECTED)
            ),
        )
        .values("has_logs", "has_clients", "has_types", "has_connection")
        .get()
    )
    if row["has_logs"]:
        return []

    def place(name: str) -> str:
        return reverse(name) if by.can_manage else ""

    pro = workspace.plan == Plan.PRO
    return [
        Step(
            "Connect Harvest",
            "Then its clients, projects and tasks are matched with yours, and its time comes in."
            if pro
            else "It needs the Pro plan. Without it, everything else works.",
            "Connect",
            place("harvest") if pro else "",
            row["has_connection"],
        ),
        Step(
            "Add a client",
            "Time, projects, budgets and statements belong to one.",
            "Add client",
            place("client-new"),
            row["has_clients"],
        ),
        Step(
            "Say what kinds of work there are",
            "Each with its hourly rate: design, development, meetings.",
            "Add activity type",
            place("activity-type-new"),
            row["has_types"],
        ),
        Step(
            "Log the first time",
            "By hand, or bring it in from Harvest.",
            "Log time",
            reverse("time-log-new") if row["has_clients"] else "",
            False,
        ),
    ]
