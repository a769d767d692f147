"""The API of what people are told, and of the trail of who did what."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AuditEvent, Notice
from accounts.notices import mark_read, notices_of
from accounts.rest.fields import IdField, Moment, Reference, Resource
from accounts.rest.filters import by_id, by_text, by_truth
from accounts.rest.permissions import EVERYONE
from accounts.rest.views import ListViewSet
from accounts.selectors import audit_of


class RemedySerializer(Resource):
    words = serializers.CharField(read_only=True, source="remedy")
    path = serializers.CharField(read_only=True, source="remedy_path", help_text="A page of this site.")


class NoticeSerializer(Resource):
    id = IdField()
    title = serializers.CharField(read_only=True)
    text = serializers.CharField(read_only=True)
    remedy = serializers.SerializerMethodField()
    created_at = Moment(read_only=True)
    read_at = Moment(read_only=True, allow_null=True)

    @extend_schema_field(RemedySerializer(allow_null=True))
    def get_remedy(self, notice: Notice) -> dict[str, Any] | None:
        return RemedySerializer(notice).data if notice.remedy else None


class NoticeViewSet(ListViewSet[Notice]):
    """What one was told: trouble that needs a person, once an incident. `read` tells those read from those not yet."""

    serializer_class = NoticeSerializer
    roles = {"write": EVERYONE}
    filters = {"read": by_truth("read_at__isnull", negated=True)}

    def get_queryset(self) -> QuerySet[Notice]:
        return notices_of(self.workspace, self.tenancy.user)

    @extend_schema(request=None, responses=NoticeSerializer)
    @action(detail=True, methods=["post"], url_path="read", url_name="read")
    def mark(self, request: Request, id: str) -> Response:
        return Response(self.shown(mark_read(self.locked())))


class AuditSerializer(Resource):
    id = IdField()
    at = Moment(read_only=True)
    actor = Reference(read_only=True, allow_null=True, help_text="A user id; null where nobody did it.")
    actor_email = serializers.CharField(source="actor.email", read_only=True, allow_null=True, default=None)
    action = serializers.CharField(read_only=True)
    target = serializers.CharField(read_only=True)
    data = serializers.DictField(read_only=True)  # type: ignore[assignment]


class AuditViewSet(ListViewSet[AuditEvent]):
    """Who did what, when, newest first. Of API keys, one's own; everybody's for admins."""

    serializer_class = AuditSerializer
    orderings = {"at": "at"}
    default_ordering = "-at"
    filters = {
        "actor": by_id("actor_id"),
        "action": by_text("action__startswith", "How the action begins, such as `harvest.`."),
    }

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return audit_of(self.workspace, viewer=self.membership)
