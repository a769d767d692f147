"""The API of the trail of who did what."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request

from accounts import audit_list
from accounts.audit_list import FORMS, file_of
from accounts.models import AuditEvent
from accounts.rest.fields import IdField, Moment, Reference, Resource
from accounts.rest.filters import Filter, by_id, by_text
from accounts.rest.permissions import ADMINS
from accounts.rest.views import ListViewSet
from accounts.selectors import audit_of


class AuditSerializer(Resource):
    id = IdField()
    at = Moment(read_only=True)
    actor = Reference(read_only=True, allow_null=True, help_text="A user id; null where nobody did it.")
    actor_email = serializers.CharField(source="actor.email", read_only=True, allow_null=True, default=None)
    action = serializers.CharField(read_only=True)
    target = serializers.CharField(read_only=True)
    data = serializers.DictField(  # type: ignore[assignment]
        read_only=True, help_text="More of it: `before` and `after` where something changed."
    )
    address = serializers.CharField(
        read_only=True, allow_null=True, help_text="Where from, on the network: for admins, else null."
    )
    agent = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="`session`, `key PREFIX`, `task NAME` or `command NAME`: for admins, else null.",
    )

    def to_representation(self, instance: AuditEvent) -> Any:
        shown = super().to_representation(instance)
        if not self.context["view"].membership.is_admin:
            shown |= {"address": None, "agent": None}
        return shown


def by_day(which: Any, words: str) -> Filter:
    return Filter(serializers.DateField(), lambda rows, day: rows.filter(which(day)), words)


def keep(rows: QuerySet[Any], value: Any) -> QuerySet[Any]:
    """Leave them all: this parameter is no filter."""
    return rows


class AuditViewSet(ListViewSet[AuditEvent]):
    """Who did what, when, newest first. Of API keys, one's own; everybody's for admins."""

    serializer_class = AuditSerializer
    orderings = {"at": "at"}
    default_ordering = "-at"
    roles = {"export": ADMINS}
    filters = {
        "actor": by_id("actor_id"),
        "action": by_text("action__startswith", "How the action begins, such as `harvest.`."),
        "from": by_day(audit_list.since, "This day or later, in UTC."),
        "to": by_day(audit_list.until, "This day or earlier, in UTC."),
        "q": by_text(
            lambda rows, text: rows.filter(audit_list.about(text)),
            "Any part of what was done, to what, or by whom.",
        ),
    }

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return audit_of(self.workspace, viewer=self.membership)

    @extend_schema(
        filters=True,
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/json"): OpenApiTypes.OBJECT},
    )
    @action(
        detail=False,
        methods=["get"],
        url_path="export",
        url_name="export",
        query_names=(),
        filters={
            **filters,
            "format": Filter(serializers.ChoiceField(choices=FORMS), keep, "`csv` unless given."),
        },
    )
    def export(self, request: Request) -> StreamingHttpResponse:
        """All that the filters leave, newest first, as one file: CSV, or a JSON array."""
        events = self.narrowed(self.get_queryset())
        return file_of(self.membership, events, request.query_params.get("format") or FORMS[0])
