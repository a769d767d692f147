"""The API of what people are told."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Notice
from accounts.notices import mark_read, notices_of
from accounts.rest.fields import IdField, Moment, Resource
from accounts.rest.filters import by_truth
from accounts.rest.permissions import EVERYONE
from accounts.rest.views import ListViewSet


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
