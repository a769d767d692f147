"""The API of activity types, work items and time logs."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, QuerySet, TextField
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Invalid
from accounts.models import User, Workspace
from accounts.rest.fields import IdField, Moment, Money, Reference, Resource, Text
from accounts.rest.filters import Filter, by_choice, by_id, by_text, by_truth, read_filters, since, until
from accounts.rest.permissions import EVERYONE
from accounts.rest.views import CollectionViewSet
from clients.selectors import clients_of, projects_of
from timelogs import services
from timelogs.listing import summary_of
from timelogs.models import ActivityType, Source, SyncState, TimeLog, WorkItem, WorkItemStatus
from timelogs.money import hours_of, seconds_of
from timelogs.selectors import activity_types_of, time_logs_of, with_words, work_items_of


def people_of(workspace: Workspace) -> QuerySet[User]:
    """The users who are members."""
    return User.objects.filter(memberships__workspace=workspace)


class ActivityTypeSerializer(Resource):
    id = IdField()
    name = Text(max_length=200)
    hourly_rate = Money(
        required=False,
        min_value=0,
        max_value=services.MOST_RATE,
        help_text="In the workspace's currency. Time logged before keeps the rate it was logged at.",
    )
    billable = serializers.BooleanField(default=True)


class ActivityTypeViewSet(CollectionViewSet[ActivityType]):
    """Kinds of work, with the hourly rate that a time log takes from them."""

    serializer_class = ActivityTypeSerializer
    selector = staticmethod(activity_types_of)
    filters = {
        "billable": by_truth("billable"),
        "q": by_text("name__icontains", "A part of the name, in any case."),
    }
    orderings = {"created_at": "created_at", "name": "name"}

    def save(self, row: ActivityType | None, values: dict[str, Any]) -> ActivityType:
        return services.save_activity_type(workspace=self.workspace, activity_type=row, **values)

    def remove(self, row: ActivityType) -> None:
        services.delete(row)


class WorkItemSerializer(Resource):
    id = IdField()
    client = Reference(clients_of, required=False, help_text="Follows from the project where one is given.")
    project = Reference(projects_of, required=False, allow_null=True)
    key = Text(max_length=40, required=False, allow_blank=True, help_text="Made where none is given.")
    title = Text(max_length=300)
    description = Text(
        max_length=services.MOST_NOTES, required=False, allow_blank=True, trim_whitespace=False
    )
    status = serializers.ChoiceField(choices=WorkItemStatus.choices, default=WorkItemStatus.OPEN)


class WorkItemViewSet(CollectionViewSet[WorkItem]):
    """Things to be done for a client, named in notes by their key, which is unique in the workspace in any case."""

    serializer_class = WorkItemSerializer
    selector = staticmethod(work_items_of)
    filters = {
        "client": by_id("client"),
        "project": by_id("project"),
        "status": by_choice("status", WorkItemStatus),
        "key": by_text("key__iexact", "The key, in any case."),
        "q": by_text("title__icontains", "A part of the title, in any case."),
    }
    orderings = {"created_at": "created_at", "key": "key", "title": "title"}

    def save(self, row: WorkItem | None, values: dict[str, Any]) -> WorkItem:
        return services.save_work_item(workspace=self.workspace, work_item=row, **values)

    def remove(self, row: WorkItem) -> None:
        services.delete(row)


class HoursField(serializers.DecimalField):
    """Hours, read from the seconds and rounded half-up to hundredths; written instead of the seconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=12, decimal_places=2, **kwargs)

    def get_attribute(self, instance: TimeLog) -> Any:
        return hours_of(instance.seconds)


class TimeLogSerializer(Resource):
    id = IdField()
    client = Reference(clients_of, required=False, help_text="Follows from a work item or project.")
    project = Reference(projects_of, required=False, allow_null=True)
    work_item = Reference(work_items_of, required=False, allow_null=True)
    activity_type = Reference(activity_types_of, required=False, allow_null=True)
    owner = Reference(people_of, required=False, help_text="A user id; the caller unless given.")
    owner_email = serializers.CharField(source="owner.email", read_only=True)
    spent_date = serializers.DateField()
    seconds = serializers.IntegerField(required=False, min_value=0, max_value=services.MOST_SECONDS)
    hours = HoursField(required=False, min_value=0, max_value=24)
    notes = Text(max_length=services.MOST_NOTES, required=False, allow_blank=True, trim_whitespace=False)
    billable = serializers.BooleanField(required=False, help_text="The activity type's unless given.")
    hourly_rate = Money(read_only=True)
    source = serializers.ChoiceField(choices=Source.choices, read_only=True)  # type: ignore[assignment]
    external_id = serializers.CharField(read_only=True, allow_null=True)
    sync_state = serializers.ChoiceField(choices=SyncState.choices, read_only=True)
    sync_detail = serializers.CharField(read_only=True)
    settled = serializers.BooleanField(read_only=True)
    created_at = Moment(read_only=True)
    updated_at = Moment(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "seconds" in attrs and "hours" in attrs:
            twice = "Give seconds or hours, not both."
            raise serializers.ValidationError({"seconds": twice, "hours": twice})
        if "hours" in attrs:
            attrs["seconds"] = seconds_of(attrs.pop("hours"))
        return attrs


# What TimeLogSerializer makes of a log, written by the database; a test holds both equal. Hours are rounded half-up, as
# `hours_of` does it: numbers here are decimals. A moment has no fraction of a second, or one of six digits.
AS_JSON = """(
    SELECT row_to_json(log)::text FROM (
        SELECT id, client_id AS client, project_id AS project, work_item_id AS work_item,
            activity_type_id AS activity_type, owner_id AS owner,
            %(expressions)s AS owner_email,
            spent_date, seconds, round(seconds / 3600.0, 2)::text AS hours, notes, billable,
            hourly_rate::text AS hourly_rate, source, external_id, sync_state, sync_detail,
            settled_at IS NOT NULL AS settled,
            replace(to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')
                AS created_at,
            replace(to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')
                AS updated_at
        FROM (SELECT timelogs_timelog.*) AS columns
    ) AS log
)"""


class TotalsSerializer(Resource):
    count = serializers.IntegerField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    hours = HoursField(read_only=True)
    billable_seconds = serializers.IntegerField(read_only=True)
    amount = serializers.DecimalField(
        max_digits=20, decimal_places=2, read_only=True, help_text="Of the billable time."
    )
    currency = serializers.CharField(read_only=True)


def _deleted(rows: QuerySet[TimeLog], value: bool) -> QuerySet[TimeLog]:
    return rows.filter(deleted_at__isnull=not value)


class TimeLogViewSet(CollectionViewSet[TimeLog]):
    """Time that people spent. Members write their own only; settled time (on an issued statement) stays as it is.

    DELETE can be taken back: `restore/`. Deleted logs are not listed, unless by `deleted=true`.
    """

    serializer_class = TimeLogSerializer
    filters = {
        "client": by_id("client"),
        "project": by_id("project"),
        "work_item": by_id("work_item"),
        "activity_type": by_id("activity_type"),
        "owner": by_id("owner"),
        "source": by_choice("source", Source),
        "billable": by_truth("billable"),
        "settled": by_truth("settled_at__isnull", negated=True),
        "sync_state": by_choice("sync_state", SyncState),
        "from": since("spent_date"),
        "to": until("spent_date"),
        "q": by_text(with_words, "Beginnings of words in the notes, all of which must be there."),
        "deleted": Filter(serializers.BooleanField(), _deleted, "The deleted ones instead of the others."),
    }
    orderings = {"spent_date": "spent_date", "created_at": "created_at", "updated_at": "updated_at"}
    default_ordering = "-spent_date"
    as_json = Func(F("owner__email"), template=AS_JSON, output_field=TextField())
    roles = {"write": EVERYONE}  # the services see to it that members write their own only

    def get_queryset(self) -> QuerySet[TimeLog]:
        wants_deleted = self.action == "list" and self.request.query_params.get("deleted")
        logs = (
            TimeLog.objects.filter(workspace=self.workspace)
            if wants_deleted
            else time_logs_of(self.workspace)
        )
        # Of what a page shows of a log, only the owner's address is not in the log's own row.
        logs = logs.select_related(None)
        return logs if self.action == "list" else logs.select_related("owner")

    def save(self, row: TimeLog | None, values: dict[str, Any]) -> TimeLog:
        try:
            if row is None:
                return services.record_time_log(workspace=self.workspace, by=self.membership, **values)
            return services.revise_time_log(log=row, by=self.membership, **values)
        except Invalid as error:
            # The service speaks of seconds; who wrote hours reads of hours.
            if "seconds" in error.errors and "hours" in self.request.data:
                error.errors["hours"] = error.errors.pop("seconds")
            raise

    def remove(self, row: TimeLog) -> None:
        services.delete_time_log(log=row, by=self.membership)

    @extend_schema(request=None, responses=TimeLogSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Bring a deleted log back; one that is not deleted stays as it is."""
        log = self.find(TimeLog.objects.filter(workspace=self.workspace))
        return Response(self.shown(services.restore_time_log(log=log, by=self.membership)))

    @extend_schema(responses=TotalsSerializer, filters=True)
    @action(detail=False, pagination_class=None, query_names=())
    def summary(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Totals of the logs that the filters leave."""
        totals = summary_of(self.workspace, read_filters(request, self))
        return Response(
            {
                "count": totals.count,
                "seconds": totals.seconds,
                "hours": str(hours_of(totals.seconds)),
                "billable_seconds": totals.billable_seconds,
                "amount": str(totals.amount),
                "currency": self.workspace.currency,
            }
        )
