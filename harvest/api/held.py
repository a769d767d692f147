"""The API of what is held: what could not travel, why, and what helps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import IdField, Moment, Resource
from accounts.rest.filters import by_choice, by_id
from accounts.rest.views import ListViewSet
from harvest.terms import hours_of
from harvest.waiting import assign_in_harvest, held_of, retry_change, retry_held, waiting_of
from integrations.models import ChangeState, OutboundChange, Way
from integrations.sync.types import Field
from timelogs.api import HoursField


class VersionsSerializer(Resource):
    """One field on both sides, in people's words; null where a side holds nothing."""

    field = serializers.CharField(read_only=True, help_text=", ".join(Field))
    timebridge = serializers.CharField(read_only=True, allow_null=True)
    harvest = serializers.CharField(read_only=True, allow_null=True)


class WaitingChangeSerializer(Resource):
    """A change that waits, with what tells its time log from others."""

    id = IdField()
    time_log = IdField()
    state = serializers.ChoiceField(choices=ChangeState.choices, read_only=True)
    detail = serializers.CharField(read_only=True, help_text="Why it waits, and what helps.")
    versions = VersionsSerializer(many=True, read_only=True)
    client = IdField()
    client_name = serializers.CharField(read_only=True)
    project = IdField(allow_null=True)
    project_name = serializers.CharField(read_only=True, allow_null=True)
    owner = IdField()
    owner_email = serializers.CharField(read_only=True)
    spent_date = serializers.DateField(read_only=True)
    hours = HoursField(read_only=True)
    notes = serializers.CharField(read_only=True)
    external_id = serializers.CharField(read_only=True, allow_null=True)
    created_at = Moment(read_only=True)
    updated_at = Moment(read_only=True)


class HeldSerializer(WaitingChangeSerializer):
    way = serializers.ChoiceField(
        choices=Way.choices,
        read_only=True,
        help_text="Whose change cannot travel: `out` ours, `in` Harvest's.",
    )
    reason = serializers.CharField(read_only=True, help_text="A slug, such as `not_mapped` or `approved`.")
    can_assign = serializers.BooleanField(
        read_only=True,
        help_text="Whether `assign/` may help: task or person are not on the project in Harvest.",
    )


class RetriedSerializer(Resource):
    retried = serializers.IntegerField(read_only=True)


def shown_waiting(change: OutboundChange) -> dict[str, Any]:
    """What held changes and conflicts have in common, as it goes over the wire."""
    log = change.time_log
    return {
        "id": str(change.id),
        "time_log": str(log.id),
        "state": change.state,
        "detail": change.detail,
        "versions": [
            {
                "field": name,
                "timebridge": _word(pair.get("timebridge")),
                "harvest": _word(pair.get("harvest")),
            }
            for name, pair in (change.fields or {}).items()
        ],
        "client": str(log.client_id),
        "client_name": log.client.name,
        "project": log.project_id and str(log.project_id),
        "project_name": log.project.name if log.project else None,
        "owner": str(log.owner_id),
        "owner_email": log.owner.email,
        "spent_date": log.spent_date,
        "hours": str(hours_of(log.seconds)),
        "notes": log.notes,
        "external_id": log.external_id,
        "created_at": change.created_at,
        "updated_at": change.updated_at,
    }


def _word(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)


def shown_held(change: OutboundChange) -> dict[str, Any]:
    return {
        **shown_waiting(change),
        "way": change.way,
        "reason": change.reason,
        "can_assign": (change.remedy or {}).get("kind") == "assign",
    }


class HeldViewSet(ListViewSet[OutboundChange]):
    """What could not travel, newest first. It is tried again when its log is saved, or when a mapping may lift it."""

    serializer_class = HeldSerializer
    selector = staticmethod(held_of)
    filters = {"time_log": by_id("time_log"), "way": by_choice("way", Way)}
    orderings = {"id": "id"}
    default_ordering = "-id"
    needs_plan = frozenset({"retry", "retry_all", "assign"})

    def get_queryset(self) -> QuerySet[OutboundChange]:
        return held_of(self.workspace)

    def shown(self, row: OutboundChange) -> Any:
        return shown_held(row)

    def shown_all(self, rows: Iterable[OutboundChange]) -> Any:
        return [shown_held(row) for row in rows]

    @extend_schema(
        request=None,
        responses=HeldSerializer,
        operation_id="harvest_held_retry",
        description="Try it again, now: the answer shows it waiting (`pending`), or as far as it is by then.",
    )
    def retry(self, request: Request, id: str) -> Response:
        change = retry_change(workspace=self.workspace, by=self.tenancy.user, change=self.get_object())
        return Response(self.shown(change))

    @extend_schema(
        request=None,
        responses=RetriedSerializer,
        operation_id="harvest_held_retry_all",
        description="Try all of them again, now; with the list's filters, those that meet them.",
    )
    def retry_all(self, request: Request) -> Response:
        rows = self.filter_queryset(self.get_queryset())
        count = retry_held(workspace=self.workspace, by=self.tenancy.user, changes=rows.order_by())
        return Response(self.write(RetriedSerializer, {"retried": count}))


class AssignView(HeldViewSet):
    unscoped = True  # it asks Harvest

    @extend_schema(
        request=None,
        responses=HeldSerializer,
        operation_id="harvest_held_assign",
        description="Put the task and the person on the project in Harvest, and try it again, with all that wait for "
        "the same. 403 where the token may not; 503 where Harvest does not answer.",
    )
    def assign(self, request: Request, id: str) -> Response:
        with self.scope():
            change_id = self.get_object().pk
        assign_in_harvest(workspace=self.workspace, by=self.tenancy.user, change_id=change_id)
        with self.scope():
            return Response(self.shown(waiting_of(self.workspace).get(pk=change_id)))
