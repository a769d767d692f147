"""Pages of statements: the list, a statement with its entries, and what is done with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts import keyset
from accounts.middleware import WorkspaceRequest
from accounts.pages import confirm_page, form_page, managers_only, notify, submit, workspace_page
from accounts.rest.fields import parse_id
from settlement import statements as services
from settlement.exports.report import Format, Paper, file_of, usual_paper
from settlement.models import Statement, StatementStatus
from settlement.statement_forms import PeriodForm, StatementFilterForm, StatementForm
from settlement.statement_math import hours
from settlement.statement_selectors import entries_page, sheet_of, sheets_of, statements_of

NEWEST = ("-created_at", "-id")
PAGE, ENTRIES = 50, 100


@workspace_page
def statements(request: WorkspaceRequest) -> HttpResponse:
    """The statements, newest first: `client`, `status`, `cursor`."""
    workspace = request.tenancy.workspace
    filters = StatementFilterForm(request.GET, workspace=workspace)
    conditions = filters.conditions()
    found = statements_of(workspace).filter(**conditions)
    page = keyset.page(found, order=NEWEST, cursor=request.GET.get("cursor"), size=PAGE)
    sheets = sheets_of(workspace, page.rows)
    context = {
        "page": page,
        "rows": [(one, sheets[one.id]) for one in page.rows],
        "filters": filters,
        "filtered": bool(conditions),
        "client": conditions.get("client"),
        "status": conditions.get("status", ""),
    }
    return render(request, "settlement/statements.html", context)


@managers_only
def new_statement(request: WorkspaceRequest) -> HttpResponse:
    """Make a draft: `client` in the address chooses one."""
    tenancy = request.tenancy
    chosen = parse_id(request.GET.get("client"))
    form = StatementForm(request.POST or None, workspace=tenancy.workspace, client=chosen)
    made = _submit(form, services.draft_statement, workspace=tenancy.workspace, by=tenancy.membership)
    if made:
        return redirect("statement", made.id)
    return form_page(
        request,
        form,
        heading="New statement",
        up=("Settlement", reverse("statements")),
        about="A draft: it takes the client's time of these days that is on no statement yet, and follows it until "
        "you issue it.",
        button="Make draft",
    )


@workspace_page
def statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """A statement with its figures, budgets and entries (`cursor`)."""
    one = _statement(request, id)
    sheet = sheet_of(one)
    page = entries_page(one, cursor=request.GET.get("cursor"), size=ENTRIES)
    context = {
        "statement": one,
        "sheet": sheet,
        "page": page,
        "entries": [(entry, hours(entry.seconds)) for entry in page.rows],
        "formats": Format.choices,
        "papers": Paper.choices,
        "usual_paper": usual_paper(request.tenancy.workspace),
        "effect": _effect(one, sheet.entries),
    }
    return render(request, "settlement/statement.html", context)


@managers_only
def edit_statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """Another period for a draft."""
    one = _statement(request, id)
    if not one.is_draft:
        return redirect("statement", id)
    form = PeriodForm(request.POST or None, first=one.from_date, last=one.to_date)
    if _submit(form, services.change_period, statement=one, by=request.tenancy.membership):
        notify(request, "Saved.")
        return redirect("statement", id)
    return form_page(
        request,
        form,
        heading=f"Period of {one.client}’s draft",
        up=(f"Draft for {one.client}", reverse("statement", args=[id])),
        delete=(
            reverse("statement-delete", args=[id]),
            f"the draft for {one.client}",
            "The time stays as it is.",
        ),
    )


@managers_only
def issue_statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _statement(request, id)
    if request.method != "POST":
        if not one.is_draft:
            return redirect("statement", id)
        return _ask(request, one, f"Issue the statement for {one.client}?", "Issue")
    issued = services.issue_statement(statement=one, by=request.tenancy.membership)
    notify(
        request, f"Statement {issued.number} for {one.client} is issued. Its time can no longer be changed."
    )
    return redirect("statement", id)


@managers_only
def void_statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _statement(request, id)
    if request.method != "POST":
        if one.status != StatementStatus.ISSUED:
            return redirect("statement", id)
        return _ask(request, one, f"Void statement {one.number}?", "Void")
    services.void_statement(statement=one, by=request.tenancy.membership)
    notify(request, f"Statement {one.number} is void. Its time is free for another one.")
    return redirect("statement", id)


@managers_only
def delete_statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    one = _statement(request, id)
    if request.method != "POST":
        if not one.is_draft:
            return redirect("statement", id)
        return confirm_page(
            request,
            heading=f"Delete the draft for {one.client}?",
            text="The time stays as it is.",
            button="Delete draft",
            up=(f"Draft for {one.client}", reverse("statement", args=[id])),
        )
    services.delete_draft(statement=one, by=request.tenancy.membership)
    notify(request, f"The draft for {one.client} is deleted.")
    return redirect("statements")


@workspace_page
def export_statement(request: WorkspaceRequest, id: UUID) -> HttpResponse:
    """The file: `format` (csv, xlsx, pdf), `paper` (a4, letter)."""
    one = _statement(request, id)
    format, paper = request.GET.get("format", Format.PDF), request.GET.get("paper")
    if format not in Format.values:
        raise Http404
    return file_of(one, Format(format), Paper(paper) if paper in Paper.values else None)


def _statement(request: WorkspaceRequest, id: UUID) -> Statement:
    one = get_object_or_404(statements_of(request.tenancy.workspace), id=id)
    # What belongs to it asks for its workspace: this one, without a query.
    one.workspace = one.client.workspace = request.tenancy.workspace
    return one


def _submit(form: PeriodForm, service: Any, **values: Any) -> Statement | None:
    """`accounts.pages.submit` for a form whose fields have the names of the wire."""

    def call(**_: Any) -> Statement:
        made: Statement = service(**form.values(), **values)
        return made

    return submit(form, call)


def _ask(request: WorkspaceRequest, one: Statement, heading: str, button: str) -> HttpResponse:
    name = f"Draft for {one.client}" if one.is_draft else f"Statement {one.number}"
    return confirm_page(
        request,
        heading=heading,
        text=_effect(one, sheet_of(one).entries),
        button=button,
        up=(name, reverse("statement", args=[one.id])),
    )


def _effect(one: Statement, entries: int) -> str:
    """What issuing, or voiding, does."""
    count = f"{entries:,} {'entry' if entries == 1 else 'entries'}"
    if one.is_draft:
        return (
            f"It gets the next number and keeps what it says now: {count}. Their time can no longer be changed or "
            "deleted, by a sync neither."
        )
    return f"The time of its {count} is free again, for a new statement. It keeps its number, which is not used again."
