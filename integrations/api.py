"""The API of the integrations as a whole: the catalogue of providers."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import Resource
from accounts.rest.views import WorkspaceView
from integrations.catalogue import cards_of


class ProviderSerializer(Resource):
    provider = serializers.CharField(read_only=True, help_text="Its name in addresses.")
    name = serializers.CharField(read_only=True)
    description = serializers.CharField(read_only=True)
    available = serializers.BooleanField(
        read_only=True, help_text="Whether this workspace's plan allows it to be connected."
    )
    connected = serializers.BooleanField(read_only=True)
    detail = serializers.CharField(read_only=True, help_text="How it stands, in words for people.")


class IntegrationsView(WorkspaceView):
    """The providers that can be integrated, whole, and how each stands in this workspace."""

    @extend_schema(responses=ProviderSerializer(many=True), operation_id="integrations")
    def get(self, request: Request) -> Response:
        return Response(self.write(ProviderSerializer, cards_of(self.workspace), many=True))
