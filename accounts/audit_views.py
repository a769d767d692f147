"""The page of the trail: who did what, to what, when, from where; filtered, and to take away."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts import keyset
from accounts.audit import WATCHED
from accounts.audit_list import ORDER, events_of, file_of
from accounts.middleware import WorkspaceRequest
from accounts.models import AuditEvent, Workspace
from accounts.pages import UNPROCESSABLE, admins_only, workspace_page
from accounts.selectors import members_of

EVENTS = 50
# How actions begin, as suggestions.
KINDS = sorted(
    {f"{watch.kind}." for watch in WATCHED.values()}
    | {"api_key.", "export.", "harvest.", "member.", "workspace."}
)
DateInput = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class TrailForm(forms.Form):
    """The filters, by the names that the API gives them."""

    q = forms.CharField(label="Search", required=False, max_length=200)
    actor = forms.UUIDField(label="Who", required=False)
    action = forms.CharField(label="What", required=False, max_length=60)
    first = forms.DateField(label="From", required=False, widget=DateInput)
    last = forms.DateField(label="To", required=False, widget=DateInput)

    def __init__(self, data: Any, *, workspace: Workspace) -> None:
        super().__init__(data, auto_id="id_filter_%s")
        self.fields["from"], self.fields["to"] = self.fields.pop("first"), self.fields.pop("last")
        people = members_of(workspace).order_by("user__name", "user__email")
        choices = [("", "Everybody"), *((one.user_id, str(one.user)) for one in people)]
        self.fields["actor"].widget = forms.Select(choices=choices)
        self.fields["action"].widget.attrs.update({"list": "actions", "placeholder": "harvest."})
        for field in self.fields.values():
            field.mark_optional = False  # type: ignore[attr-defined]  # filters all are
        self.full_clean()

    def conditions(self) -> dict[str, Any]:
        """Arguments of `events_of`."""
        found = {name: value for name, value in self.cleaned_data.items() if value}
        names = {"from": "first", "to": "last"}
        return {names.get(name, name): value for name, value in found.items()}


def changes_of(event: AuditEvent) -> list[dict[str, Any]]:
    """What a deed changed, field by field; and what else it says of itself."""
    before, after = event.data.get("before"), event.data.get("after")
    if isinstance(before, dict) or isinstance(after, dict):
        before, after = before or {}, after or {}
        rows = [
            {"name": name, "before": _words(before.get(name)), "after": _words(after.get(name))}
            for name in {**before, **after}
        ]
    elif before is not None or after is not None:
        rows = [{"name": "value", "before": _words(before), "after": _words(after)}]
    else:
        rows = []
    return rows + [
        {"name": name, "after": _words(value)}
        for name, value in event.data.items()
        if name not in ("before", "after")
    ]


def _words(value: Any) -> str:
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else ((None, one) for one in value)
        return ", ".join(f"{name}: {_words(one)}" if name else _words(one) for name, one in items) or "—"
    return str(value)


@require_GET
@workspace_page
def trail(request: WorkspaceRequest) -> HttpResponseBase:
    """Who did what, newest first."""
    tenancy = request.tenancy
    form = TrailForm(request.GET, workspace=tenancy.workspace)
    events = events_of(tenancy.membership, **form.conditions(), zone=tenancy.workspace.zone)
    page = keyset.page(events, order=ORDER, cursor=request.GET.get("cursor"), size=EVENTS)
    rows = [{"event": event, "changes": changes_of(event)} for event in page.rows]
    context = {
        "kinds": KINDS,
        "page": page,
        "rows": rows,
        "filters": form,
        "filtered": bool(form.conditions()),
    }
    return render(request, "accounts/audit.html", context, status=UNPROCESSABLE if form.errors else 200)


@require_GET
@admins_only
def export(request: WorkspaceRequest, form: str) -> HttpResponseBase:
    """All that the filters leave, as a file."""
    tenancy = request.tenancy
    conditions = TrailForm(request.GET, workspace=tenancy.workspace).conditions()
    events = events_of(tenancy.membership, **conditions, zone=tenancy.workspace.zone)
    return file_of(tenancy.membership, events, form)
