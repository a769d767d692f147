"""The API of statements: drafting, issuing, voiding, their entries, and their files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Model
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Invalid
from accounts.rest.fields import IdField, Moment, Reference, Resource
from accounts.rest.filters import Filter, by_choice, by_id
from accounts.rest.pagination import KeysetPagination
from accounts.rest.views import CollectionViewSet
from clients.selectors import clients_of
from settlement.exports.report import Format, Paper, file_of
from settlement.models import EntryKind, Statement, StatementStatus
from settlement.statement_math import Sheet, hours
from settlement.statement_selectors import Entry, entries_page, sheet_of, sheets_of, statements_of
from settlement.statements import (
    change_period,
    delete_draft,
    draft_statement,
    issue_statement,
    void_statement,
)

Fields = dict[str, "serializers.Field[Any, Any, Any, Any]"]
HOURS = "Decimal hours, rounded half-up to hundredths."
AMOUNT = "A decimal string with the currency's decimals."


class LineSerializer(Resource):
    kind = serializers.ChoiceField(choices=EntryKind.choices, read_only=True)
    project = IdField(allow_null=True)
    project_name = serializers.CharField(read_only=True)
    activity_type = IdField(allow_null=True)
    activity_type_name = serializers.CharField(read_only=True)
    seconds = serializers.IntegerField(read_only=True, help_text="Negative where an adjustment takes back.")
    hours = serializers.CharField(read_only=True, help_text=HOURS)
    rate = serializers.CharField(read_only=True)
    amount = serializers.CharField(read_only=True, help_text=f"{AMOUNT} Rounded half-up, once a line.")
    billable = serializers.BooleanField(read_only=True)
    entries = serializers.IntegerField(read_only=True)


class StatementSerializer(Resource):
    id = IdField()
    number = serializers.IntegerField(read_only=True, allow_null=True, help_text="Null while a draft.")
    client = Reference(clients_of)
    client_name = serializers.CharField(read_only=True)
    to = serializers.DateField(source="to_date", help_text="Included.")
    status = serializers.ChoiceField(choices=StatementStatus.choices, read_only=True)
    currency = serializers.CharField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    hours = serializers.CharField(read_only=True, help_text=f"{HOURS} Of all seconds.")
    amount = serializers.CharField(read_only=True, help_text=f"{AMOUNT} The sum of the lines' amounts.")
    lines = LineSerializer(many=True, read_only=True)
    created_at = Moment(read_only=True)
    issued_at = Moment(read_only=True, allow_null=True)
    voided_at = Moment(read_only=True, allow_null=True)

    def get_fields(self) -> Fields:
        first = serializers.DateField(source="from_date", help_text="Included.")
        return {**super().get_fields(), "from": first}  # a word of Python's


class BudgetBeforeAndAfterSerializer(Resource):
    """A period of a budget of the client, before this statement's time and after it. Decimal strings."""

    budget = IdField()
    name = serializers.CharField(read_only=True)
    project = IdField(allow_null=True)
    unit = serializers.CharField(read_only=True, help_text="hours or money")
    currency = serializers.CharField(read_only=True)
    starts_on = serializers.DateField(read_only=True)
    ends_on = serializers.DateField(read_only=True)
    amount = serializers.CharField(read_only=True)
    carried = serializers.CharField(read_only=True)
    available = serializers.CharField(read_only=True)
    used_before = serializers.CharField(read_only=True)
    used_after = serializers.CharField(read_only=True)
    remaining_before = serializers.CharField(read_only=True)
    remaining_after = serializers.CharField(read_only=True)


class WholeStatementSerializer(StatementSerializer):
    """One statement: as in the list, with the budgets before and after."""

    budgets = BudgetBeforeAndAfterSerializer(many=True, read_only=True)


class StatementEntrySerializer(Resource):
    """What one log, or one part of an adjustment, was when its statement was issued; in a draft, as it is now."""

    kind = serializers.ChoiceField(choices=EntryKind.choices, read_only=True)
    time_log = IdField(allow_null=True)
    adjustment = IdField(allow_null=True)
    spent_date = serializers.DateField(read_only=True)
    owner = IdField()
    owner_name = serializers.CharField(read_only=True)
    project = IdField(allow_null=True)
    project_name = serializers.CharField(read_only=True)
    activity_type = IdField(allow_null=True)
    activity_type_name = serializers.CharField(read_only=True)
    work_item_key = serializers.CharField(read_only=True)
    notes = serializers.CharField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    hours = serializers.CharField(read_only=True, help_text=HOURS)
    rate = serializers.CharField(read_only=True)
    billable = serializers.BooleanField(read_only=True)


class ExportSerializer(Resource):
    paper = serializers.ChoiceField(choices=Paper.choices, required=False)

    def get_fields(self) -> Fields:
        return {**super().get_fields(), "format": serializers.ChoiceField(choices=Format.choices)}


def represent(statement: Statement, sheet: Sheet) -> dict[str, Any]:
    """A statement as the list shows it."""
    return {
        "id": str(statement.id),
        "number": statement.number,
        "client": str(statement.client_id),
        "client_name": sheet.client,
        "from": statement.from_date,
        "to": statement.to_date,
        "status": statement.status,
        "currency": sheet.currency,
        "seconds": sheet.seconds,
        "hours": str(sheet.hours),
        "amount": str(sheet.amount),
        "lines": [
            {
                "kind": one.kind,
                "project": one.project,
                "project_name": one.project_name,
                "activity_type": one.activity_type,
                "activity_type_name": one.activity_type_name,
                "seconds": one.seconds,
                "hours": str(one.hours),
                "rate": str(one.rate),
                "amount": str(one.amount),
                "billable": one.billable,
                "entries": one.entries,
            }
            for one in sheet.lines
        ],
        "created_at": _utc(statement.created_at),
        "issued_at": _utc(statement.issued_at),
        "voided_at": _utc(statement.voided_at),
    }


def represent_whole(statement: Statement) -> dict[str, Any]:
    """A statement with its budgets."""
    sheet = sheet_of(statement)
    renamed = {"budget_id": "budget", "project_id": "project", "first": "starts_on", "last": "ends_on"}
    budgets = [{renamed.get(name, name): one[name] for name in one} for one in sheet.budgets]
    return {**represent(statement, sheet), "budgets": budgets}


def represent_entry(one: Entry) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "time_log": str(one.source) if one.kind == EntryKind.TIME else None,
        "adjustment": str(one.source) if one.kind == EntryKind.ADJUSTMENT else None,
        "spent_date": one.spent_date,
        "owner": str(one.owner_id),
        "owner_name": one.owner_name,
        "project": str(one.project_id) if one.project_id else None,
        "project_name": one.project_name,
        "activity_type": str(one.activity_type_id) if one.activity_type_id else None,
        "activity_type_name": one.activity_type_name,
        "work_item_key": one.work_item_key,
        "notes": one.notes,
        "seconds": one.seconds,
        "hours": str(hours(one.seconds)),
        "rate": str(one.rate),
        "billable": one.billable,
    }


_moment = Moment()


def _utc(moment: Any) -> str | None:
    return _moment.to_representation(moment) if moment else None


class EntryPagination(KeysetPagination):
    """Pages of one statement's entries, which a draft keeps in no one table."""

    page = staticmethod(entries_page)


class StatementViewSet(CollectionViewSet[Statement]):
    """What a client's time of a period comes to, against its budgets.

    A draft follows the time logs: it takes every log of its client in its period that is on no live statement. Issuing
    gives it the workspace's next number and freezes it, and its logs are settled: they can be neither changed nor
    deleted. Voiding frees them; the number stays used. A client has one draft at a time (409 `draft-exists`).
    """

    selector = staticmethod(statements_of)
    filters = {
        "client": by_id("client"),
        "status": by_choice("status", StatementStatus),
        "from": Filter(
            serializers.DateField(),
            lambda rows, day: rows.filter(to_date__gte=day),
            "Whose period reaches this day or later.",
        ),
        "to": Filter(
            serializers.DateField(),
            lambda rows, day: rows.filter(from_date__lte=day),
            "Whose period begins on this day or earlier.",
        ),
    }

    def get_serializer_class(self) -> type[StatementSerializer]:
        return StatementSerializer if self.action == "list" else WholeStatementSerializer

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """A file is what `format` says, whatever the request says it accepts."""
        return super().perform_content_negotiation(request, force or self.action == "export")

    def shown(self, row: Statement) -> Any:
        return represent_whole(row)

    def shown_all(self, rows: Iterable[Statement]) -> Any:
        rows = list(rows)
        sheets = sheets_of(self.workspace, rows)
        return [represent(one, sheets[one.id]) for one in rows]

    def save(self, row: Statement | None, values: dict[str, Any]) -> Statement:
        if row is None:
            return draft_statement(workspace=self.workspace, by=self.membership, **values)
        client: Model | None = values.pop("client", None)
        if client is not None and client.pk != row.client_id:
            raise Invalid(
                {"client": ["A statement stays with its client. Delete this draft, and make another."]}
            )
        return change_period(statement=row, by=self.membership, **values)

    def remove(self, row: Statement) -> None:
        delete_draft(statement=row, by=self.membership)

    @extend_schema(request=None, responses=WholeStatementSerializer)
    @action(detail=True, methods=["post"])
    def issue(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Number a draft and freeze it. One with nothing on it is a 400."""
        return Response(self.shown(issue_statement(statement=self.get_object(), by=self.membership)))

    @extend_schema(request=None, responses=WholeStatementSerializer)
    @action(detail=True, methods=["post"])
    def void(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take an issued statement back: its time is free for another one."""
        return Response(self.shown(void_statement(statement=self.get_object(), by=self.membership)))

    @extend_schema(responses=StatementEntrySerializer(many=True))
    @action(
        detail=True,
        pagination_class=EntryPagination,
        filters={},
        orderings={"spent_date": "spent_date"},
        default_ordering="-spent_date",
    )
    def entries(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The logs and adjustments that the lines are made of."""
        statement = self.get_object()
        self.narrowed(Statement.objects.none())  # a parameter that does not exist is a 400
        rows: Any = self.paginate_queryset(statement)  # type: ignore[arg-type]  # what its paginator pages
        return self.get_paginated_response([represent_entry(one) for one in rows])

    @extend_schema(
        parameters=[
            OpenApiParameter("format", str, required=True, enum=Format.values),
            OpenApiParameter(
                "paper",
                str,
                enum=Paper.values,
                description="Of a PDF; unless given, what is usual where the workspace is.",
            ),
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"): OpenApiTypes.BINARY,
            (200, "application/pdf"): OpenApiTypes.BINARY,
        },
    )
    @action(detail=True, pagination_class=None, filters={}, query_names=("format", "paper"))
    def export(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The statement as a file."""
        statement = self.get_object()
        self.narrowed(Statement.objects.none())
        serializer = ExportSerializer(data=request.query_params.dict())
        if not serializer.is_valid():
            raise ValidationError(serializer.errors)
        chosen = serializer.validated_data
        paper = Paper(chosen["paper"]) if chosen.get("paper") else None
        return file_of(statement, Format(chosen["format"]), paper)
