"""The API of the mappings: four tables, each one view made from the same pattern."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar, cast
from uuid import UUID

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import NotConnected, UpstreamUnavailable
from accounts.models import Plan
from accounts.rest.fields import ID_SCHEMA, IdField, Moment, Resource, Text
from accounts.rest.filters import IdText
from accounts.rest.views import WorkspaceView
from harvest.api.runs import RunSerializer, accepted
from harvest.catalogue import is_stale, refresh_catalogue
from harvest.credentials import connection_of, live_connection, usable_connection
from harvest.importing import start_incoming
from harvest.incoming import Incoming, incoming
from harvest.mappings import (
    KINDS,
    Change,
    Cleared,
    Kind,
    Row,
    create_missing,
    rows_of,
    set_mappings,
    suggest_mappings,
)
from integrations.models import Connection


# --- On the wire -----------------------------------------------------------------------------------------------------
@extend_schema_field(ID_SCHEMA)
class TargetId(IdText):
    """The id of something here, or null; whether it is there is checked with the whole."""

    def to_representation(self, value: UUID) -> str:
        return str(value)


class MappingSerializer(Resource):
    harvest_id = Text(max_length=40)
    harvest_name = serializers.CharField(read_only=True)
    active = serializers.BooleanField(read_only=True, help_text="Not archived in Harvest.")
    target = TargetId(allow_null=True, help_text="What it is here; null for not mapped.")


class ClientMappingSerializer(MappingSerializer):
    push_project = Text(
        max_length=40,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="The Harvest project that pushed time lands in.",
    )


class ProjectMappingSerializer(MappingSerializer):
    harvest_client = serializers.CharField(read_only=True, help_text="The Harvest client's name.")


class TaskMappingSerializer(MappingSerializer):
    target = TargetId(allow_null=True, help_text="The id of an activity type; null for not mapped.")


class PersonMappingSerializer(MappingSerializer):
    target = TargetId(
        allow_null=True, help_text="The user id of a member; null leaves it to the e-mail address."
    )


class ClearedSerializer(Resource):
    harvest_id = serializers.CharField(read_only=True)
    harvest_name = serializers.CharField(read_only=True)
    target = IdField()


class MappingSuggestionSerializer(Resource):
    harvest_id = serializers.CharField(read_only=True)
    target = IdField()
    score = serializers.FloatField(read_only=True, help_text="0 to 1; 1 for equal names.")


class MappingSuggestionsSerializer(Resource):
    results = MappingSuggestionSerializer(many=True, read_only=True)


class HarvestIdsSerializer(Resource):
    harvest_ids = serializers.ListField(child=Text(max_length=40))


class PairSerializer(Resource):
    harvest_id = serializers.CharField(read_only=True)
    target = IdField()


class CreatedSerializer(Resource):
    results = PairSerializer(many=True, read_only=True, help_text="The pairs that were made.")


class IncomingSerializer(Resource):
    entries = serializers.IntegerField(read_only=True)
    hours = serializers.DecimalField(max_digits=14, decimal_places=2, read_only=True)


class RefreshedSerializer(Resource):
    read_at = Moment(read_only=True, allow_null=True)


def shown_row(row: Row, kind: Kind) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "harvest_id": row.harvest_id,
        "harvest_name": row.harvest_name,
        "active": row.active,
        "target": row.target and str(row.target),
    }
    if kind.slug == "clients":
        shown["push_project"] = row.push_project or None
    if kind.slug == "projects":
        shown["harvest_client"] = row.harvest_client
    return shown


def change_of(values: dict[str, Any]) -> Change:
    """A row of the body: a `push_project` of null clears it, none leaves it."""
    push = (values["push_project"] or "") if "push_project" in values else None
    return Change(values["harvest_id"], values["target"], push)


def shown_cleared(cleared: Iterable[Cleared]) -> list[dict[str, str]]:
    return [
        {"harvest_id": one.harvest_id, "harvest_name": one.harvest_name, "target": str(one.target)}
        for one in cleared
    ]


# --- Views -----------------------------------------------------------------------------------------------------------
class HarvestListsView(WorkspaceView):
    """A view that reads Harvest's lists again where they are old, outside of any transaction."""

    unscoped = True
    needs_plan = frozenset({"write"})
    notice: str | None = None

    def live(self) -> Connection:
        """The connection, with its lists read again where they are stale. Raises NotConnected."""
        with self.scope():
            connection = live_connection(self.workspace)
        self.notice = self.refresh_if_stale(connection)
        return connection

    def refresh_if_stale(self, connection: Connection) -> str | None:
        """Try to read Harvest's lists where the last reading is old; what hindered it, in words for people."""
        if not (connection.connected and self.workspace.plan == Plan.PRO and is_stale(connection)):
            return None
        try:
            refresh_catalogue(self.workspace, connection)
        except UpstreamUnavailable as error:
            return f"{error.detail} What is shown is from the last reading."
        return None


class MappingsView(HarvestListsView):
    kind: ClassVar[Kind]
    serializer: ClassVar[type[Resource]]  # of the body of PUT

    def shown(self, connection: Connection | None, **more: Any) -> Response:
        rows = rows_of(connection, self.kind) if connection else []
        return Response(
            {
                "results": [shown_row(row, self.kind) for row in rows],
                "read_at": connection and connection.catalogue_read_at,
                "notice": self.notice,
                **more,
            }
        )

    def get(self, request: Request) -> Response:
        try:
            connection: Connection | None = self.live()
        except NotConnected:
            connection = None
        with self.scope():
            return self.shown(connection)

    def put(self, request: Request) -> Response:
        changes = [change_of(values) for values in self.read(self.serializer)["mappings"]]
        connection = self.live()
        with self.scope():
            cleared = set_mappings(
                workspace=self.workspace,
                connection=connection,
                kind=self.kind,
                changes=changes,
                by=self.tenancy.user,
            )
            return self.shown(connection, cleared=shown_cleared(cleared))


class SuggestView(HarvestListsView):
    """Match by name: targets for rows that are not mapped, where one matches clearly. Nothing is saved."""

    kind = KINDS["clients"]

    @extend_schema(request=None, responses=MappingSuggestionsSerializer)
    def post(self, request: Request) -> Response:
        connection = self.live()
        with self.scope():
            found = suggest_mappings(workspace=self.workspace, connection=connection, kind=self.kind)
        return Response(
            {
                "results": [
                    {"harvest_id": one.harvest_id, "target": str(one.target), "score": one.score}
                    for one in found
                ]
            }
        )


class CreateView(HarvestListsView):
    """Make what these Harvest items lack here, and map it; items that are mapped already stay as they are.

    A free target of exactly the same name is taken rather than doubled, and a project brings its client along.
    People are not made this way (400).
    """

    kind = KINDS["clients"]

    @extend_schema(request=HarvestIdsSerializer, responses=CreatedSerializer)
    def post(self, request: Request) -> Response:
        harvest_ids = self.read(HarvestIdsSerializer)["harvest_ids"]
        connection = self.live()
        with self.scope():
            made = create_missing(
                workspace=self.workspace,
                connection=connection,
                kind=self.kind,
                harvest_ids=harvest_ids,
                by=self.tenancy.user,
            )
        return Response(
            {"results": [{"harvest_id": one.harvest_id, "target": str(one.target)} for one in made]}
        )


class IncomingView(WorkspaceView):
    """What was skipped for a missing mapping and can come in now. POST brings exactly that in."""

    needs_plan = frozenset({"write"})

    @extend_schema(responses=IncomingSerializer, operation_id="harvest_mappings_incoming_retrieve")
    def get(self, request: Request) -> Response:
        connection = connection_of(self.workspace)
        found = incoming(connection) if connection else Incoming(0, Decimal("0.00"))
        return Response(self.write(IncomingSerializer, found))

    @extend_schema(
        request=None, responses={202: RunSerializer}, operation_id="harvest_mappings_incoming_start"
    )
    def post(self, request: Request) -> Response:
        return accepted(request, start_incoming(workspace=self.workspace, by=self.tenancy.user))


class RefreshView(WorkspaceView):
    """Read Harvest's clients, projects, tasks and people again, now. 503 `harvest-unavailable` where it cannot be."""

    unscoped = True
    needs_plan = frozenset({"write"})

    @extend_schema(request=None, responses=RefreshedSerializer, operation_id="harvest_mappings_refresh")
    def post(self, request: Request) -> Response:
        with self.scope():
            connection = usable_connection(self.workspace)
        refresh_catalogue(self.workspace, connection)
        return Response({"read_at": connection.catalogue_read_at})


def _addresses(slug: str, row: type[Resource], words: str) -> list[URLPattern]:
    """The addresses of one table: its views, described with the fields that this table has."""
    kind, name = KINDS[slug], row.__name__.removesuffix("Serializer")
    listing: dict[str, Any] = {
        "results": row(many=True, read_only=True),
        "read_at": Moment(read_only=True, allow_null=True, help_text="When Harvest's lists were last read."),
        "notice": serializers.CharField(
            read_only=True, allow_null=True, help_text="Why the lists could not be read again just now."
        ),
    }
    listed = type(f"{name}sSerializer", (Resource,), dict(listing))
    saved = type(
        f"{name}sSavedSerializer",
        (Resource,),
        {**listing, "cleared": ClearedSerializer(many=True, read_only=True)},
    )
    body = type(f"{name}ChangesSerializer", (Resource,), {"mappings": row(many=True)})
    described = extend_schema_view(
        get=extend_schema(
            responses=listed,
            operation_id=f"harvest_mappings_{slug}_retrieve",
            description=f"{words} Harvest's lists are read again first where they are over five minutes old; where "
            "that fails, `notice` says so.",
        ),
        put=extend_schema(
            request=body,
            responses=saved,
            operation_id=f"harvest_mappings_{slug}_update",
            description="Set these rows and leave the others. `cleared` tells the other pairs that a one-to-one change "
            "undid. An unknown id changes nothing: 400.",
        ),
    )
    view = type(f"{name}View", (MappingsView,), {"kind": kind, "serializer": body})
    table = described(cast(type[MappingsView], view))
    return [
        path(f"mappings/{slug}/", table.as_view(), name=f"harvest-mappings-{slug}"),
        path(
            f"mappings/{slug}/suggest/",
            SuggestView.as_view(kind=kind),
            name=f"harvest-mappings-{slug}-suggest",
        ),
        path(
            f"mappings/{slug}/create/", CreateView.as_view(kind=kind), name=f"harvest-mappings-{slug}-create"
        ),
    ]


urlpatterns = [
    path("mappings/incoming/", IncomingView.as_view(), name="harvest-mappings-incoming"),
    path("mappings/refresh/", RefreshView.as_view(), name="harvest-mappings-refresh"),
    *_addresses("clients", ClientMappingSerializer, "Harvest client ↔ client, one to one."),
    *_addresses("projects", ProjectMappingSerializer, "Harvest project ↔ project, one to one."),
    *_addresses("tasks", TaskMappingSerializer, "Harvest task ↔ activity type, one to one."),
    *_addresses(
        "people", PersonMappingSerializer, "Harvest user → member; by e-mail address where none is set."
    ),
]
