"""The API of client links."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import IdField, Moment, Reference, Resource
from accounts.rest.filters import by_id
from accounts.rest.views import CollectionViewSet
from clients.selectors import clients_of
from settlement.link_selectors import links_of
from settlement.links import make_link, path_of, revoke_link
from settlement.models import ClientLink


class ClientLinkSerializer(Resource):
    id = IdField()
    client = Reference(clients_of)
    show_notes = serializers.BooleanField(default=False, help_text="Show what people wrote about their time.")
    expires_at = Moment(required=False, help_text="90 days from now unless given; at most a year.")
    revoked_at = Moment(read_only=True, allow_null=True)
    last_used_at = Moment(read_only=True, allow_null=True, help_text="To the minute.")
    created_by = Reference(read_only=True, allow_null=True)
    created_at = Moment(read_only=True)


class NewClientLinkSerializer(ClientLinkSerializer):
    url = serializers.CharField(
        read_only=True,
        help_text="Its address: shown this once, and not kept. The secret stands behind its #.",
    )


class ClientLinkViewSet(CollectionViewSet[ClientLink]):
    """Read-only links that show a client what is left of its budgets and what was done, without signing in.

    POST makes one and shows its `url` once; DELETE revokes it, at once. A revoked one stays in the list.
    """

    serializer_class = ClientLinkSerializer
    selector = staticmethod(links_of)
    filters = {"client": by_id("client")}
    http_method_names = ["get", "head", "post", "delete"]

    @extend_schema(responses={201: NewClientLinkSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row, token = make_link(by=self.membership, **self.read(ClientLinkSerializer))
        return self.created(row, url=request.build_absolute_uri(path_of(token)))

    def remove(self, row: ClientLink) -> None:
        revoke_link(link=row, by=self.membership)
