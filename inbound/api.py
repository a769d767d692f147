"""The API of Inbound: time proposals and what becomes of them; adjustments of settled time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest.fields import NOTHING, IdField, Moment, Money, Reference, Resource, parse_id
from accounts.rest.filters import by_choice, by_id, by_text, since, until
from accounts.rest.views import ListViewSet
from clients.selectors import projects_of
from inbound import adjustments, services
from inbound.models import Adjustment, AdjustmentKind, AdjustmentStatus, ProposalStatus, TimeProposal
from inbound.selectors import adjustments_of, proposals_of, suggestions_for
from timelogs.api import HoursField
from timelogs.selectors import activity_types_of, with_words, work_items_of

MOST_AT_ONCE = 500
WORDS = "Beginnings of words in the notes, all of which must be there."


class WorkItemSuggestionSerializer(Resource):
    work_item = serializers.CharField(read_only=True)
    key = serializers.CharField(read_only=True)
    title = serializers.CharField(read_only=True)
    score = serializers.FloatField(
        read_only=True,
        help_text="1: its key is named. 0.95: its title is the notes' first line. Else likeness.",
    )
    why = serializers.CharField(
        read_only=True,
        help_text="`key`, `title`, or `earlier`: like notes of this person's time that were accepted on it.",
    )


class ProposalSerializer(Resource):
    id = IdField()
    client = Reference(read_only=True)
    spent_date = serializers.DateField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    hours = HoursField(read_only=True)
    notes = serializers.CharField(read_only=True)
    billable = serializers.BooleanField(read_only=True)
    owner = Reference(read_only=True)
    owner_email = serializers.CharField(source="owner.email", read_only=True)
    activity_type = Reference(read_only=True, allow_null=True)
    external_id = serializers.CharField(read_only=True)
    status = serializers.ChoiceField(choices=ProposalStatus.choices, read_only=True)
    suggestions = serializers.SerializerMethodField(
        help_text="Work items, best first, while the proposal waits."
    )
    time_log = Reference(read_only=True, allow_null=True)
    created_at = Moment(read_only=True)

    @extend_schema_field(WorkItemSuggestionSerializer(many=True))
    def get_suggestions(self, proposal: TimeProposal) -> list[dict[str, Any]]:
        found = self.context["suggestions"].get(proposal.id, [])
        return [
            {
                "work_item": str(one.work_item),
                "key": one.key,
                "title": one.title,
                "score": one.score,
                "why": one.why.value,
            }
            for one in found
        ]


class TargetSerializer(Resource):
    work_item = Reference(work_items_of, required=False, allow_null=True)
    project = Reference(projects_of, required=False, allow_null=True)
    activity_type = Reference(
        activity_types_of, required=False, allow_null=True, help_text="The proposal's own unless given."
    )


class BulkSerializer(TargetSerializer):
    ids = serializers.ListField(
        child=serializers.CharField(max_length=100), allow_empty=False, max_length=MOST_AT_ONCE
    )
    action = serializers.ChoiceField(choices=services.Decision.choices)


class UndecidedSerializer(Resource):
    id = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)


class BulkResultSerializer(Resource):
    done = serializers.IntegerField(read_only=True, help_text="How many were decided.")
    failed = UndecidedSerializer(many=True, read_only=True)


class ProposalViewSet(ListViewSet[TimeProposal]):
    """Entries of mapped clients that wait for a person to say where they belong.

    Admins and designers decide. Deciding the same way twice gives the proposal as it is.
    """

    serializer_class = ProposalSerializer
    selector = staticmethod(proposals_of)
    filters = {
        "client": by_id("client"),
        "owner": by_id("owner"),
        "status": by_choice("status", ProposalStatus),
        "from": since("spent_date"),
        "to": until("spent_date"),
        "q": by_text(with_words, WORDS),
    }
    orderings = {"spent_date": "spent_date", "created_at": "created_at"}
    default_ordering = "-spent_date"

    def shown(self, row: TimeProposal) -> Any:
        return self.shown_all([row])[0]

    def shown_all(self, rows: Iterable[TimeProposal]) -> Any:
        rows = list(rows)
        context = {**self.serializer_context(), "suggestions": suggestions_for(self.workspace, rows)}
        return ProposalSerializer(rows, many=True, context=context).data

    @extend_schema(request=TargetSerializer, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make the time log, on a work item, or on a project with an activity type."""
        target = self.read(TargetSerializer)
        return Response(
            self.shown(services.accept_proposal(proposal=self.get_object(), by=self.membership, **target))
        )

    @extend_schema(request=None, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def dismiss(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Keep it out for good, until it is restored."""
        return Response(self.shown(services.dismiss_proposal(proposal=self.get_object(), by=self.membership)))

    @extend_schema(request=None, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let a dismissed proposal wait again."""
        return Response(self.shown(services.restore_proposal(proposal=self.get_object(), by=self.membership)))

    @extend_schema(request=None, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take the decision back; of an acceptance only while its time log is as accepting made it."""
        return Response(self.shown(services.undo_proposal(proposal=self.get_object(), by=self.membership)))

    @extend_schema(request=BulkSerializer, responses=BulkResultSerializer)
    @action(detail=False, methods=["post"])
    def bulk(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Accept many (all on one target) or dismiss many; each stands for itself."""
        values = self.read(BulkSerializer)
        ids: list[UUID] = []
        failed: list[services.Undecided] = []
        for text in dict.fromkeys(values.pop("ids")):
            if key := parse_id(text):
                ids.append(key)
            else:
                failed.append(services.Undecided(text, NOTHING))
        done, undecided = services.decide_proposals(ids=ids, by=self.membership, **values)
        return Response(self.write(BulkResultSerializer, {"done": done, "failed": failed + undecided}))


class SideReferenceSerializer(Resource):
    id = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)


class SideSerializer(Resource):
    """What one side holds of the time."""

    client = SideReferenceSerializer(read_only=True)
    project = SideReferenceSerializer(read_only=True, allow_null=True)
    activity_type = SideReferenceSerializer(read_only=True, allow_null=True)
    owner = SideReferenceSerializer(read_only=True)
    spent_date = serializers.DateField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    notes = serializers.CharField(read_only=True)
    billable = serializers.BooleanField(read_only=True)
    hourly_rate = serializers.CharField(read_only=True)


class AdjustmentLineSerializer(Resource):
    project = serializers.CharField(source="project_id", read_only=True, allow_null=True)
    activity_type = serializers.CharField(source="activity_type_id", read_only=True, allow_null=True)
    hourly_rate = Money(read_only=True)
    billable = serializers.BooleanField(read_only=True)
    seconds = serializers.IntegerField(read_only=True, help_text="Negative: taken back.")
    hours = HoursField(read_only=True)


class AdjustmentSerializer(Resource):
    id = IdField()
    time_log = Reference(read_only=True)
    client = Reference(read_only=True)
    kind = serializers.ChoiceField(choices=AdjustmentKind.choices, read_only=True)
    before = SideSerializer(read_only=True, help_text="What is settled so far.")
    after = SideSerializer(read_only=True, allow_null=True, help_text="What Harvest holds; null: it is gone.")
    seconds_delta = serializers.IntegerField(read_only=True)
    hours_delta = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True)
    amount = serializers.DecimalField(
        max_digits=20, decimal_places=2, read_only=True, help_text="Of the billable lines."
    )
    currency = serializers.SerializerMethodField()
    lines = AdjustmentLineSerializer(many=True, read_only=True, help_text="What the next statement settles.")
    spent_date = serializers.DateField(read_only=True)
    external_id = serializers.CharField(read_only=True)
    status = serializers.ChoiceField(choices=AdjustmentStatus.choices, read_only=True)
    decided_at = Moment(read_only=True, allow_null=True)
    created_at = Moment(read_only=True)

    def get_currency(self, adjustment: Adjustment) -> str:
        currency: str = self.context["workspace"].currency
        return currency


class AdjustmentViewSet(ListViewSet[Adjustment]):
    """What Harvest changed of time on issued statements, and what becomes of it.

    Admins and designers decide. Deciding the same way twice gives the adjustment as it is.
    """

    serializer_class = AdjustmentSerializer
    selector = staticmethod(adjustments_of)
    filters = {
        "client": by_id("client"),
        "time_log": by_id("time_log"),
        "owner": by_id("time_log__owner"),
        "status": by_choice("status", AdjustmentStatus),
        "from": since("spent_date"),
        "to": until("spent_date"),
        "q": by_text(partial(with_words, field="time_log__notes"), WORDS),
    }
    orderings = {"spent_date": "spent_date", "created_at": "created_at"}
    default_ordering = "-created_at"

    @extend_schema(request=None, responses=AdjustmentSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let it onto the client's next statement."""
        row = adjustments.accept_adjustment(adjustment=self.get_object(), by=self.membership)
        return Response(self.shown(row))

    @extend_schema(request=None, responses=AdjustmentSerializer)
    @action(detail=True, methods=["post"])
    def dismiss(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Leave the time settled as it is, until Harvest changes again."""
        row = adjustments.dismiss_adjustment(adjustment=self.get_object(), by=self.membership)
        return Response(self.shown(row))

    @extend_schema(request=None, responses=AdjustmentSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let a dismissed one, or an accepted one that is on no statement yet, wait again."""
        row = adjustments.restore_adjustment(adjustment=self.get_object(), by=self.membership)
        return Response(self.shown(row))
