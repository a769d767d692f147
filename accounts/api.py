"""The API of the workspace itself: who am I, members, the workspace's settings, API keys."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services
from accounts.api_keys import make_api_key, revoke_api_key
from accounts.errors import Invalid
from accounts.models import ApiKey, ApiKeyAccess, Membership, Plan, Role
from accounts.rest.fields import IdField, Moment, Reference, Resource, Text
from accounts.rest.permissions import ADMINS, EVERYONE
from accounts.rest.views import CollectionViewSet, WorkspaceView
from accounts.selectors import api_keys_of, members_of


class WorkspaceSerializer(Resource):
    id = IdField()
    slug = serializers.CharField(read_only=True)
    name = Text(max_length=services.MOST_NAME)
    plan = serializers.ChoiceField(choices=Plan.choices)
    timezone = Text(max_length=60, help_text="A name of the IANA time zone database, such as Europe/Berlin.")
    currency = Text(max_length=3, help_text="Three capital letters, such as EUR.")


class WorkspaceSettingsSerializer(WorkspaceSerializer):
    require_second_factor = serializers.BooleanField(
        required=False,
        help_text="Sessions need a second factor to open the workspace; API keys are not asked for one."
        " To set it, have one yourself.",
    )


class UserSerializer(Resource):
    id = IdField()
    email = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)


class MeSerializer(Resource):
    user = UserSerializer(read_only=True)
    workspace = WorkspaceSerializer(read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)


class MeView(WorkspaceView):
    """Who these credentials speak for, in which workspace, in which role."""

    @extend_schema(responses=MeSerializer, operation_id="me")
    def get(self, request: Request) -> Response:
        membership = self.membership
        me = {"user": membership.user, "workspace": self.workspace, "role": membership.role}
        return Response(self.write(MeSerializer, me))


class WorkspaceSettingsView(WorkspaceView):
    """The workspace: its name, plan, time zone and currency. Admins change it."""

    roles = {"write": ADMINS}

    @extend_schema(responses=WorkspaceSettingsSerializer, operation_id="workspace_retrieve")
    def get(self, request: Request) -> Response:
        return Response(self.write(WorkspaceSettingsSerializer, self.workspace))

    @extend_schema(
        request=WorkspaceSettingsSerializer,
        responses=WorkspaceSettingsSerializer,
        operation_id="workspace_partial_update",
    )
    def patch(self, request: Request) -> Response:
        values = self.read(WorkspaceSettingsSerializer, row=self.workspace, partial=True)
        changed = services.save_workspace(workspace=self.workspace, actor=self.tenancy.user, **values)
        return Response(self.write(WorkspaceSettingsSerializer, changed))


class MemberSerializer(Resource):
    id = IdField()
    user = Reference(read_only=True, help_text="The user id, as in a time log's owner.")
    email = serializers.EmailField(source="user.email", max_length=254)
    name = Text(source="user.name", max_length=150, required=False, allow_blank=True)
    role = serializers.ChoiceField(choices=Role.choices, default=Role.MEMBER)


class MemberViewSet(CollectionViewSet[Membership]):
    """The people of the workspace.

    POST adds a person, who is a member from then on and is invited by e-mail; `name` is used for somebody new only.
    PATCH changes the role; e-mail address and name are the person's own. The last admin stays one (409 `in-use`).
    """

    serializer_class = MemberSerializer
    selector = staticmethod(members_of)
    orderings = {"created_at": "created_at", "email": "user__email"}
    roles = {"write": ADMINS}

    def save(self, row: Membership | None, values: dict[str, Any]) -> Membership:
        if row is not None:
            if "role" not in values:
                return row
            return services.change_role(membership=row, role=values["role"], actor=self.tenancy.user)
        person = values.pop("user")
        return services.add_member(
            workspace=self.workspace, actor=self.tenancy.user, **person, role=values["role"]
        )

    def remove(self, row: Membership) -> None:
        services.remove_member(membership=row, actor=self.tenancy.user)


class ApiKeySerializer(Resource):
    id = IdField()
    name = Text(max_length=80)
    prefix = serializers.CharField(read_only=True, help_text="How the key begins: tb_PREFIX_…")
    access = serializers.ChoiceField(choices=ApiKeyAccess.choices, default=ApiKeyAccess.WRITE)
    user = Reference(read_only=True)
    created_at = Moment(read_only=True)
    last_used_at = Moment(read_only=True, allow_null=True, help_text="To the minute.")
    expires_at = Moment(required=False, allow_null=True)

    def validate_expires_at(self, value: Any) -> Any:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("Give a time in the future, or none.")
        return value


class NewApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(read_only=True, help_text="The key itself: shown this once, and not kept.")


class ApiKeyViewSet(CollectionViewSet[ApiKey]):
    """API keys: one's own, and everybody's for admins.

    POST makes one for oneself and shows the `key` once; DELETE revokes it, at once. PATCH changes the name alone.
    A key that is made by another one ends with it at the latest. A session must have shown of late who it is (403
    `confirmation-required`).
    """

    serializer_class = ApiKeySerializer
    roles = {"write": EVERYONE}
    delicate = frozenset({"create"})

    def get_queryset(self) -> QuerySet[ApiKey]:
        return api_keys_of(self.workspace, viewer=self.membership)

    @extend_schema(responses={201: NewApiKeySerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        values = self.read(ApiKeySerializer)
        maker = self.tenancy.api_key
        if maker is not None and maker.expires_at is not None:
            if (values.get("expires_at") or maker.expires_at) > maker.expires_at:
                raise Invalid(
                    {"expires_at": ["The key that makes it ends sooner: give its time, or an earlier one."]}
                )
            values["expires_at"] = values.get("expires_at") or maker.expires_at
        row, key = make_api_key(workspace=self.workspace, user=self.tenancy.user, **values)
        return self.created(row, key=key)

    def save(self, row: ApiKey | None, values: dict[str, Any]) -> ApiKey:
        if row is None:
            raise TypeError("Keys are made by create.")
        if "name" in values:
            row.name = values["name"]
            row.save(update_fields=["name"])
        return row

    def remove(self, row: ApiKey) -> None:
        revoke_api_key(row)
