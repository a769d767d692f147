"""The API of the connection itself: how it stands, connecting with a token, preferences, disconnecting."""

from __future__ import annotations

import contextlib
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import UpstreamUnavailable
from accounts.models import Workspace
from accounts.rest.fields import Moment, Reference, Resource, Text
from accounts.rest.views import WorkspaceView
from harvest.api.runs import RunSerializer, shown_run
from harvest.catalogue import refresh_catalogue
from harvest.credentials import (
    WITHDRAW_URL,
    check_token,
    connection_of,
    disconnect,
    limit_use,
    save_connection,
)
from harvest.preferences import older_time, push_older, save_preferences
from harvest.waiting import waiting_in
from integrations.models import (
    AuthKind,
    ConflictPolicy,
    Connection,
    ConnectionStatus,
    Direction,
    RunKind,
)
from integrations.ratelimit import PERIOD
from integrations.runs import runs_of


class TokenSerializer(Resource):
    """An account's number and a personal access token, as Harvest shows them side by side."""

    account_id = serializers.CharField(max_length=20)
    access_token = serializers.CharField(max_length=2000, write_only=True)
    replace = serializers.BooleanField(
        default=False,
        help_text="Connect although another account's history is here: mappings start afresh, its time stays.",
    )


class OlderSerializer(Resource):
    count = serializers.IntegerField(read_only=True)
    hours = serializers.DecimalField(max_digits=14, decimal_places=2, read_only=True)


class WaitingSerializer(Resource):
    """Time logs by how they wait."""

    pending = serializers.IntegerField(read_only=True, help_text="To be sent, or on their way.")
    held = serializers.IntegerField(read_only=True)
    conflicts = serializers.IntegerField(read_only=True)


class LimitSerializer(Resource):
    limit = serializers.IntegerField(read_only=True, help_text="Requests in a period.")
    period_seconds = serializers.IntegerField(read_only=True)
    used = serializers.IntegerField(read_only=True, help_text="Of these, within the last period.")


class PushedOlderSerializer(Resource):
    count = serializers.IntegerField(read_only=True, help_text="Time logs that are sent now.")


class ConnectionSerializer(Resource):
    connected = serializers.BooleanField(read_only=True)
    status = serializers.ChoiceField(choices=ConnectionStatus.choices, read_only=True)
    detail = serializers.CharField(read_only=True, help_text="Why a reconnect is needed.")
    auth = serializers.ChoiceField(choices=AuthKind.choices, read_only=True, allow_null=True)
    account_id = serializers.CharField(read_only=True, allow_null=True)
    account_name = serializers.CharField(read_only=True, allow_null=True)
    connected_at = Moment(read_only=True, allow_null=True)
    connected_by = Reference(read_only=True, allow_null=True, help_text="A user id.")
    connected_by_email = serializers.CharField(read_only=True, allow_null=True)
    harvest_role = serializers.CharField(
        read_only=True, allow_null=True, help_text="administrator, manager or member: what the token may see."
    )
    sees_all = serializers.BooleanField(
        read_only=True, allow_null=True, help_text="Whether the token reads everybody's time."
    )
    direction = serializers.ChoiceField(choices=Direction.choices)
    conflict_policy = serializers.ChoiceField(choices=ConflictPolicy.choices)
    auto_sync = serializers.BooleanField()
    default_task = Text(max_length=40, allow_null=True, allow_blank=True, help_text="A Harvest task id.")
    last_auto_sync = RunSerializer(read_only=True, allow_null=True)
    older = OlderSerializer(
        read_only=True,
        allow_null=True,
        help_text="Time of mapped clients and projects from before both ways were on; `push-older/` sends it too.",
    )
    waiting = WaitingSerializer(read_only=True, allow_null=True)
    limit = LimitSerializer(
        read_only=True,
        allow_null=True,
        help_text="Of Harvest's rate limit for the account; null where none is kept.",
    )
    complete_up_to = Moment(
        read_only=True, allow_null=True, help_text="What was changed in Harvest until then has been read."
    )


def shown_connection(workspace: Workspace) -> dict[str, Any]:
    """The connection as it goes over the wire, inside the scope. What a connection alone has is null without one."""
    connection = connection_of(workspace) or Connection(workspace=workspace)
    there = connection.status != ConnectionStatus.NOT_CONNECTED
    person = connection.connected_by if there else None
    last = (
        runs_of(workspace).filter(connection=connection, kind=RunKind.AUTO).order_by("-id").first()
        if there
        else None
    )
    older = older_time(connection) if there else None
    return {
        "connected": connection.connected,
        "status": connection.status,
        "detail": connection.status_detail,
        "auth": connection.auth if there else None,
        "account_id": connection.account_id if there else None,
        "account_name": connection.account_name if there else None,
        "connected_at": connection.connected_at if there else None,
        "connected_by": str(person.id) if person else None,
        "connected_by_email": person.email if person else None,
        "harvest_role": connection.remote_role if there else None,
        "sees_all": connection.sees_all if there else None,
        "direction": connection.direction,
        "conflict_policy": connection.conflict_policy,
        "auto_sync": connection.auto_sync,
        "default_task": connection.default_task or None,
        "last_auto_sync": shown_run(last) if last else None,
        "older": {"count": older.count, "hours": str(older.hours)} if older else None,
        "waiting": waiting_in(connection) if there else None,
        "limit": shown_limit(connection) if there else None,
        "complete_up_to": connection.watermark_at if there else None,
    }


def shown_limit(connection: Connection) -> dict[str, int] | None:
    use = limit_use(connection.account_id)
    return None if use is None else {"limit": use.limit, "period_seconds": round(PERIOD), "used": use.used}


class ConnectionView(WorkspaceView):
    """The workspace's connection to Harvest.

    PATCH `direction: two_way` sends what is saved from then on, and what was edited since both sides agreed; `import`
    cancels what has not gone out, and nothing is written to Harvest any more. `auto_sync` reads what has changed every
    night at 02:00 UTC; it pauses while a reconnect is needed, and without the pro plan.
    """

    unscoped = True  # PUT asks Harvest
    needs_plan = frozenset({"put", "patch"})

    def shown(self) -> Response:
        with self.scope():
            return Response(shown_connection(self.workspace))

    @extend_schema(responses=ConnectionSerializer, operation_id="harvest_connection_retrieve")
    def get(self, request: Request) -> Response:
        return self.shown()

    @extend_schema(
        request=TokenSerializer,
        responses=ConnectionSerializer,
        operation_id="harvest_connection_connect",
        description="Connect with a personal access token, which Harvest is asked about at once: where it refuses, the "
        "answer is a 400 and nothing is kept. 409 `account-mismatch` where time of another account is here, unless "
        "`replace` is true. 503 `harvest-unavailable` where Harvest does not answer.",
    )
    def put(self, request: Request) -> Response:
        values = self.read(TokenSerializer)
        credentials = check_token(account_id=values["account_id"], access_token=values["access_token"])
        with self.scope():
            connection = save_connection(
                workspace=self.workspace,
                by=self.tenancy.user,
                credentials=credentials,
                replace=values["replace"],
            )
        # Connected it is, whether or not the lists can be read just now: they are asked for again with the mappings.
        with contextlib.suppress(UpstreamUnavailable):
            refresh_catalogue(self.workspace, connection)
        return self.shown()

    @extend_schema(
        request=ConnectionSerializer,
        responses=ConnectionSerializer,
        operation_id="harvest_connection_partial_update",
    )
    def patch(self, request: Request) -> Response:
        values = self.read(ConnectionSerializer, partial=True)
        if "default_task" in values:
            values["default_task"] = values["default_task"] or ""
        with self.scope():
            save_preferences(workspace=self.workspace, by=self.tenancy.user, **values)
        return self.shown()

    @extend_schema(
        responses={204: None},
        operation_id="harvest_connection_disconnect",
        description="Forget the token and the mappings. Time logs stay, with their Harvest ids. Harvest documents no "
        f"way to revoke a token from outside: withdraw it at {WITHDRAW_URL}.",
    )
    def delete(self, request: Request) -> Response:
        with self.scope():
            disconnect(workspace=self.workspace, by=self.tenancy.user)
        return Response(status=204)


class PushOlderView(WorkspaceView):
    """Send the time of mapped clients and projects that was logged before both ways were on, behind what is saved now.

    409 while the connection only imports, or does not work.
    """

    needs_plan = frozenset({"write"})

    @extend_schema(
        request=None, responses={202: PushedOlderSerializer}, operation_id="harvest_connection_push_older"
    )
    def post(self, request: Request) -> Response:
        return Response({"count": push_older(workspace=self.workspace, by=self.tenancy.user)}, status=202)
