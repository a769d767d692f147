"""The API of conflicts: both versions side by side, until somebody chooses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import Resource
from accounts.rest.filters import by_id
from accounts.rest.views import ListViewSet
from harvest.api.held import WaitingChangeSerializer, shown_waiting
from harvest.waiting import conflicts_of, resolve_conflict
from integrations.models import Keep, OutboundChange


class ConflictSerializer(WaitingChangeSerializer):
    keep = serializers.ChoiceField(
        choices=Keep.choices, read_only=True, allow_null=True, help_text="Whose version was chosen."
    )


class KeepSerializer(Resource):
    keep = serializers.ChoiceField(choices=Keep.choices)


def shown_conflict(change: OutboundChange) -> dict[str, Any]:
    return {**shown_waiting(change), "keep": change.keep or None}


class ConflictViewSet(ListViewSet[OutboundChange]):
    """Fields that were changed on both sides, where the policy is to ask. Newest first."""

    serializer_class = ConflictSerializer
    selector = staticmethod(conflicts_of)
    filters = {"time_log": by_id("time_log")}
    orderings = {"id": "id"}
    default_ordering = "-id"
    needs_plan = frozenset({"resolve"})

    def get_queryset(self) -> QuerySet[OutboundChange]:
        return conflicts_of(self.workspace)

    def shown(self, row: OutboundChange) -> Any:
        return shown_conflict(row)

    def shown_all(self, rows: Iterable[OutboundChange]) -> Any:
        return [shown_conflict(row) for row in rows]

    @extend_schema(
        request=KeepSerializer,
        responses=ConflictSerializer,
        operation_id="harvest_conflicts_resolve",
        description="Keep one side's version of all contested fields; a worker writes it to the other.",
    )
    def resolve(self, request: Request, id: str) -> Response:
        change, keep = self.get_object(), self.read(KeepSerializer)["keep"]
        row = resolve_conflict(workspace=self.workspace, by=self.tenancy.user, change=change, keep=keep)
        return Response(self.shown(row))
