"""The API of imports and runs: starting one, watching it, its entries, taking it back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import Workspace
from accounts.rest.fields import IdField, Moment, Resource, parse_id
from accounts.rest.filters import by_choice, by_truth
from accounts.rest.views import ListViewSet, WorkspaceView
from harvest.adoption import unlink_entry
from harvest.importing import start_apply, start_import
from harvest.night import start_sync
from harvest.sweep import confirm_attention, leave_attention
from harvest.undo import undo_run
from integrations.models import Outcome, Reason, RunEntry, RunKind, RunState, SyncRun
from integrations.runs import (
    amounts_by_client,
    counts_of,
    entries_of,
    name_what_came_in,
    represent,
    runs_of,
)
from timelogs.api import HoursField

Fields = dict[str, "serializers.Field[Any, Any, Any, Any]"]


class WindowSerializer(Resource):
    """A window of days, both included, as the workspace counts them: the last 14 where nothing is given."""

    to = serializers.DateField(required=False, allow_null=True, help_text="Today where not given.")
    dry_run = serializers.BooleanField(
        default=False, help_text="A preview: tells what an import would do, and writes nothing but itself."
    )

    def get_fields(self) -> Fields:
        first = serializers.DateField(
            required=False, allow_null=True, help_text="13 days before `to` where not given."
        )
        return {"from": first, **super().get_fields()}  # a word of Python's


class SkippedSerializer(Resource):
    reason = serializers.ChoiceField(choices=Reason.choices, read_only=True)
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    count = serializers.IntegerField(read_only=True)


class AttentionSerializer(Resource):
    kind = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class RunSerializer(Resource):
    """One reading of Harvest and what it came to; `done` of `total` is its progress.

    Once it has ended, imported + updated + linked + proposed + unchanged + failed + the skipped = total, where what
    failed stands in `skipped` too, under `save_failed`, and counts once.
    """

    id = IdField()
    kind = serializers.ChoiceField(choices=RunKind.choices, read_only=True)
    state = serializers.ChoiceField(choices=RunState.choices, read_only=True)
    dry_run = serializers.BooleanField(read_only=True)
    to = serializers.DateField(read_only=True, allow_null=True)
    total = serializers.IntegerField(read_only=True)
    done = serializers.IntegerField(read_only=True)
    imported = serializers.IntegerField(read_only=True)
    updated = serializers.IntegerField(read_only=True)
    linked = serializers.IntegerField(read_only=True)
    proposed = serializers.IntegerField(read_only=True)
    unchanged = serializers.IntegerField(read_only=True)
    failed = serializers.IntegerField(read_only=True)
    skipped = SkippedSerializer(many=True, read_only=True)
    deleted = serializers.IntegerField(read_only=True)
    pushed = serializers.IntegerField(
        read_only=True,
        help_text="Time logs that it found had to go out, once they have; not part of the total.",
    )
    held = serializers.IntegerField(read_only=True)
    error = serializers.CharField(read_only=True, allow_null=True)
    attention = AttentionSerializer(read_only=True, allow_null=True)
    summary = serializers.CharField(read_only=True, help_text="The run in words, a line each.")
    started_at = Moment(read_only=True, allow_null=True)
    finished_at = Moment(read_only=True, allow_null=True)

    def get_fields(self) -> Fields:
        return {**super().get_fields(), "from": serializers.DateField(read_only=True, allow_null=True)}


class RunEntrySerializer(Resource):
    id = IdField()
    external_id = serializers.CharField(read_only=True, help_text="The Harvest entry's id.")
    outcome = serializers.ChoiceField(choices=Outcome.choices, read_only=True)
    reason = serializers.ChoiceField(choices=Reason.choices, read_only=True, allow_null=True)
    detail = serializers.CharField(read_only=True)
    time_log = IdField(allow_null=True)
    proposal = IdField(allow_null=True)
    spent_date = serializers.DateField(read_only=True, allow_null=True)
    hours = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True, allow_null=True)
    notes = serializers.CharField(read_only=True, help_text="The first 1,000 characters.")
    harvest = serializers.DictField(
        child=serializers.CharField(),
        read_only=True,
        help_text="For what was not brought in: client, project, task and user in Harvest, with their ids.",
    )


class KeptSerializer(Resource):
    time_log = IdField(allow_null=True)
    proposal = IdField(allow_null=True)
    detail = serializers.CharField(read_only=True)


class ClientAmountSerializer(Resource):
    client = IdField(source="client_id")
    client_name = serializers.CharField(read_only=True)
    entries = serializers.IntegerField(read_only=True)
    seconds = serializers.IntegerField(read_only=True)
    hours = HoursField(read_only=True)
    amount = serializers.DecimalField(
        max_digits=20, decimal_places=2, read_only=True, help_text="Of what is billable, in the currency."
    )


class AmountsSerializer(Resource):
    currency = serializers.CharField(read_only=True)
    results = ClientAmountSerializer(many=True, read_only=True)


class UndoneSerializer(Resource):
    undone = serializers.IntegerField(read_only=True)
    kept = KeptSerializer(many=True, read_only=True)


def shown_runs(runs: Iterable[SyncRun]) -> list[dict[str, Any]]:
    """Runs as they go over the wire, their counts in one query."""
    rows = list(runs)
    counts = counts_of(rows)
    return [represent(run, counts[run.id]) for run in rows]


def shown_run(run: SyncRun) -> dict[str, Any]:
    return shown_runs([run])[0]


def shown_entry(entry: RunEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "external_id": entry.external_id,
        "outcome": entry.outcome,
        "reason": entry.reason or None,
        "detail": entry.detail,
        "time_log": entry.time_log_id and str(entry.time_log_id),
        "proposal": entry.proposal_id and str(entry.proposal_id),
        "spent_date": entry.spent_date,
        "hours": entry.hours if entry.hours is None else str(entry.hours),
        "notes": entry.notes,
        "harvest": entry.remote,
    }


def run_of(workspace: Workspace, text: str) -> SyncRun:
    """The run with this id. Raises NotFound: unknown, malformed or another workspace's."""
    key = parse_id(text)
    run = runs_of(workspace).filter(pk=key).first() if key else None
    if run is None:
        raise NotFound
    return run


def accepted(request: Request, run: SyncRun) -> Response:
    """202 with a run that a worker will take up, and where to watch it."""
    place = reverse("api:harvest-run-detail", [run.id], request=request)
    return Response(shown_run(run), status=202, headers={"Location": place})


class ImportsView(WorkspaceView):
    """Import a window from Harvest, or preview it. A worker does it: watch the run at its Location.

    409 `run-in-progress` while another run of the connection is under way, with that one's id as `run`;
    409 `not-connected` without a connection that works.
    """

    needs_plan = frozenset({"write"})

    @extend_schema(
        request=WindowSerializer, responses={202: RunSerializer}, operation_id="harvest_imports_create"
    )
    def post(self, request: Request) -> Response:
        values = self.read(WindowSerializer)
        run = start_import(
            workspace=self.workspace,
            by=self.tenancy.user,
            from_date=values.get("from"),
            to_date=values.get("to"),
            dry_run=values["dry_run"],
        )
        return accepted(request, run)


class SyncView(WorkspaceView):
    """Read what has changed in Harvest since the last success, as the night does, now. Answers as `imports/` does."""

    needs_plan = frozenset({"write"})

    @extend_schema(request=None, responses={202: RunSerializer}, operation_id="harvest_sync_create")
    def post(self, request: Request) -> Response:
        return accepted(request, start_sync(workspace=self.workspace, by=self.tenancy.user))


class RunViewSet(ListViewSet[SyncRun]):
    """Every run, newest first, with what it came to."""

    serializer_class = RunSerializer
    filters = {
        "kind": by_choice("kind", RunKind),
        "state": by_choice("state", RunState),
        "dry_run": by_truth("dry_run"),
    }

    needs_plan = frozenset({"apply", "confirm"})  # undoing asks nothing of Harvest

    def get_queryset(self) -> QuerySet[SyncRun]:
        return runs_of(self.workspace).select_related(None)

    def shown(self, row: SyncRun) -> Any:
        return shown_run(row)

    def shown_all(self, rows: Iterable[SyncRun]) -> Any:
        return shown_runs(rows)

    @extend_schema(
        responses=AmountsSerializer,
        operation_id="harvest_runs_amounts",
        filters=False,
        description="What a preview would bring in, by client. Empty for a run that is none.",
    )
    def amounts(self, request: Request, id: str) -> Response:
        amounts = amounts_by_client(self.get_object())
        return Response(
            self.write(AmountsSerializer, {"currency": self.workspace.currency, "results": amounts})
        )

    @extend_schema(
        request=None,
        responses=UndoneSerializer,
        operation_id="harvest_runs_undo",
        description="Take back what this run brought in, save what has since been edited, decided or settled: `kept`.",
    )
    def undo(self, request: Request, id: str) -> Response:
        run = self.get_object()
        done = undo_run(workspace=self.workspace, by=self.tenancy.user, run=run)
        return Response(self.write(UndoneSerializer, done))

    @extend_schema(
        request=None,
        responses={202: RunSerializer},
        operation_id="harvest_runs_apply",
        description="Import exactly what this preview showed; what has moved since is named, not imported.",
    )
    def apply(self, request: Request, id: str) -> Response:
        preview = self.get_object()
        return accepted(request, start_apply(workspace=self.workspace, by=self.tenancy.user, preview=preview))

    @extend_schema(
        request=None,
        responses={202: RunSerializer},
        operation_id="harvest_runs_confirm",
        description="Answer what a guard asks (`attention`): what is gone from Harvest is to be deleted here. Another "
        "run goes on with that answered. 409 where this run asks nothing, or going on would not help.",
    )
    def confirm(self, request: Request, id: str) -> Response:
        run = self.get_object()
        return accepted(request, confirm_attention(workspace=self.workspace, by=self.tenancy.user, run=run))

    @extend_schema(
        request=None,
        responses=RunSerializer,
        operation_id="harvest_runs_leave",
        description="Answer a guard's question with no: nothing is deleted, and a later run asks again. 409 where this "
        "run asks nothing.",
    )
    def leave(self, request: Request, id: str) -> Response:
        run = self.get_object()
        leave_attention(workspace=self.workspace, by=self.tenancy.user, run=run)
        return Response(shown_run(run_of(self.workspace, id)))


class UnlinkedSerializer(Resource):
    time_log = IdField()


class RunEntryViewSet(ListViewSet[RunEntry]):
    """What became of each Harvest entry that a run read."""

    serializer_class = RunEntrySerializer
    filters = {"outcome": by_choice("outcome", Outcome), "reason": by_choice("reason", Reason)}
    orderings = {"id": "id"}
    default_ordering = "-id"

    def get_queryset(self) -> QuerySet[RunEntry]:
        return entries_of(run_of(self.workspace, self.kwargs["id"]))

    def shown_all(self, rows: Iterable[RunEntry]) -> Any:
        entries = list(rows)
        name_what_came_in(run_of(self.workspace, self.kwargs["id"]), entries)
        return [shown_entry(one) for one in entries]

    @extend_schema(
        request=None,
        responses=UnlinkedSerializer,
        operation_id="harvest_runs_entries_unlink",
        filters=False,
        description="Part an entry that was `linked` from its time log, which is not linked to anything then. The "
        "entry comes in by itself with the next import that lists it, and is not linked to that log again.",
    )
    def unlink(self, request: Request, id: str, entry: str) -> Response:
        key = parse_id(entry)
        one = self.get_queryset().select_related("run").filter(pk=key).first() if key else None
        if one is None:
            raise NotFound
        log = unlink_entry(workspace=self.workspace, by=self.tenancy.user, entry=one)
        return Response(self.write(UnlinkedSerializer, {"time_log": log.id}))
