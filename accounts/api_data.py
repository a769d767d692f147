"""The API of exports, and of deleting the workspace."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import deletion
from accounts.data_views import as_download
from accounts.export import exports_of, request_export
from accounts.models import DataExport, ExportKind, ExportState
from accounts.rest.fields import IdField, Moment, Reference, Resource, Text
from accounts.rest.filters import by_choice
from accounts.rest.permissions import ADMINS, EVERYONE
from accounts.rest.views import ListViewSet, WorkspaceView


class ExportSerializer(Resource):
    id = IdField()
    kind = serializers.ChoiceField(
        choices=ExportKind.choices, help_text="`workspace` is for admins; `person` is one's own data."
    )
    state = serializers.ChoiceField(choices=ExportState.choices, read_only=True)
    requested_by = Reference(read_only=True)
    rows = serializers.IntegerField(read_only=True)
    size = serializers.IntegerField(read_only=True, help_text="In bytes; 0 while it is being made.")
    sha256 = serializers.CharField(read_only=True, help_text="Of the file; empty while it is being made.")
    created_at = Moment(read_only=True)
    finished_at = Moment(read_only=True, allow_null=True)
    expires_at = Moment(read_only=True, allow_null=True, help_text="When the file is removed.")


class ExportViewSet(ListViewSet[DataExport]):
    """Exports of data: one's own, and for admins the workspace's.

    POST queues one, and answers 202 with it; once `state` is `ready`, `file/` gives the ZIP, for seven days.
    """

    serializer_class = ExportSerializer
    roles = {"write": EVERYONE}
    delicate = frozenset({"create"})
    filters = {"kind": by_choice("kind", ExportKind), "state": by_choice("state", ExportState)}

    def get_queryset(self) -> QuerySet[DataExport]:
        return exports_of(self.membership)

    @extend_schema(request=ExportSerializer, responses={202: ExportSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = request_export(by=self.membership, kind=self.read(ExportSerializer)["kind"])
        return Response(self.shown(row), status=202, headers={"Location": f"{request.path}{row.pk}/"})

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    @action(detail=True, methods=["get"], url_path="file", url_name="file")
    def file(self, request: Request, id: str) -> StreamingHttpResponse:
        """The ZIP of an export that is ready."""
        row = self.get_object()
        if row.state != ExportState.READY:
            raise NotFound
        return as_download(row, self.workspace)


class DeletionSerializer(Resource):
    name = Text(write_only=True, max_length=120, help_text="The workspace's name, typed once more.")
    deletes_at = Moment(read_only=True, allow_null=True, help_text="When deleting begins; null: it does not.")


class DeletionView(WorkspaceView):
    """Deleting the workspace: POST its name to have it deleted in 14 days, DELETE to call that off. For admins."""

    roles = {"write": ADMINS}
    delicate = frozenset({"post"})

    @extend_schema(responses=DeletionSerializer, operation_id="workspace_deletion_retrieve")
    def get(self, request: Request) -> Response:
        return Response(self.write(DeletionSerializer, self.workspace))

    @extend_schema(
        request=DeletionSerializer, responses=DeletionSerializer, operation_id="workspace_deletion_create"
    )
    def post(self, request: Request) -> Response:
        values = self.read(DeletionSerializer)
        workspace = deletion.request_deletion(by=self.membership, name=values["name"])
        return Response(self.write(DeletionSerializer, workspace))

    @extend_schema(responses={200: DeletionSerializer}, operation_id="workspace_deletion_destroy")
    def delete(self, request: Request) -> Response:
        return Response(self.write(DeletionSerializer, deletion.call_off(by=self.membership)))
