"""The providers that a workspace can be integrated with, and how each stands there."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import Plan, Workspace
from integrations.models import Connection, ConnectionStatus


@dataclass(frozen=True, slots=True)
class Provider:
    """What can be connected: its name on the wire, its name and description for people."""

    slug: str
    name: str
    description: str


PROVIDERS = (
    Provider(
        "harvest",
        "Harvest",
        "Brings the time that your team tracks in Harvest to the right client, project and budget here.",
    ),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A provider as a workspace sees it.

    available: whether it can be connected here; status: a ConnectionStatus; detail: how it stands, in words.
    """

    provider: str
    name: str
    description: str
    available: bool
    connected: bool
    status: str
    detail: str


def cards_of(workspace: Workspace) -> list[Card]:
    """Every provider, connected or not. One query."""
    connections = {one.provider: one for one in Connection.objects.filter(workspace=workspace)}
    available = workspace.plan == Plan.PRO
    return [
        Card(
            provider=provider.slug,
            name=provider.name,
            description=provider.description,
            available=available,
            connected=(connection := connections.get(provider.slug)) is not None and connection.connected,
            status=connection.status if connection else ConnectionStatus.NOT_CONNECTED,
            detail=_detail(connection, available),
        )
        for provider in PROVIDERS
    ]


def _detail(connection: Connection | None, available: bool) -> str:
    status = connection.status if connection else ConnectionStatus.NOT_CONNECTED
    if not available:
        paused = "" if status == ConnectionStatus.NOT_CONNECTED else " Nothing is synced until then."
        return f"Integrations need the Pro plan.{paused}"
    if connection is None or status == ConnectionStatus.NOT_CONNECTED:
        return "Not connected."
    if status == ConnectionStatus.RECONNECT_NEEDED:
        return "Reconnect needed: the credentials are no longer good."
    return f"Connected to {connection.account_name or connection.account_id}."
