"""The API's way to Harvest's consent page."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import Resource
from accounts.rest.views import WorkspaceView
from harvest.consents import begin
from harvest.oauth_views import callback_url


class AuthorizeSerializer(Resource):
    authorize_url = serializers.CharField(read_only=True, help_text="Send the person's browser there.")


class AuthorizeView(WorkspaceView):
    """Begin to connect by consent (OAuth 2).

    Good for ten minutes and for one return: of the browser whose session asked, or, with an API key, of any browser
    that is signed in as the key's person. It comes back to `/integrations/harvest/callback/`. 409
    `oauth-not-available` where this installation is not registered with Harvest.
    """

    needs_plan = frozenset({"write"})

    @extend_schema(
        request=None, responses=AuthorizeSerializer, operation_id="harvest_authorize", filters=False
    )
    def post(self, request: Request) -> Response:
        place = begin(
            workspace=self.workspace,
            by=self.tenancy.user,
            redirect_uri=callback_url(request),
            session=request.session if self.tenancy.api_key is None else None,
        )
        return Response({"authorize_url": place})
