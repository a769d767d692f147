"""Forms of statements. What values mean is checked by the services."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models import Workspace
from accounts.rest.fields import parse_id
from clients.models import Client
from clients.selectors import clients_of
from settlement.models import Statement, StatementStatus
from timelogs.forms import DateInput


def last_month(today: date) -> tuple[date, date]:
    """The first and the last day of the month before."""
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


class PeriodForm(forms.Form):
    """Two days, both included; by the names that the service's errors have."""

    def __init__(self, data: Any = None, *, first: date, last: date) -> None:
        super().__init__(data, initial={"from": first, "to": last})
        self.fields["from"] = forms.DateField(label="From", widget=DateInput())  # a word of Python's
        self.fields["to"] = forms.DateField(label="To", widget=DateInput(), help_text="This day included.")

    def values(self) -> dict[str, Any]:
        """What the service takes."""
        return {"from_date": self.cleaned_data["from"], "to_date": self.cleaned_data["to"]}


class StatementForm(PeriodForm):
    """A new statement: whom it is for, and which days; last month unless changed."""

    def __init__(self, data: Any = None, *, workspace: Workspace, client: UUID | None = None) -> None:
        first, last = last_month(workspace.today())
        super().__init__(data, first=first, last=last)
        self.initial["client"] = str(client or "")
        # Those one works for, and the one whose page this was opened from.
        chosen = clients_of(workspace).filter(Q(archived=False) | Q(id=client))
        self.clients = {str(one.id): one for one in chosen.order_by(Lower("name"), "id")}
        field = forms.ChoiceField(
            label="Client",
            choices=[("", "Choose a client"), *((id, one.name) for id, one in self.clients.items())],
        )
        self.fields = {"client": field, **self.fields}

    def clean_client(self) -> Client:
        return self.clients[self.cleaned_data["client"]]

    def values(self) -> dict[str, Any]:
        return {**super().values(), "client": self.cleaned_data["client"]}


class StatementFilterForm(forms.Form):
    """The list's filters, from the address; what does not fit there filters nothing."""

    client = forms.ChoiceField(required=False)
    client.mark_optional = False  # type: ignore[attr-defined]  # its first choice says it
    status = forms.ChoiceField(required=False, choices=[("", "All"), *StatementStatus.choices])

    def __init__(self, data: Any, *, workspace: Workspace) -> None:
        super().__init__(data)
        with_statements = Statement.objects.filter(workspace=workspace).values("client_id")
        found = clients_of(workspace).filter(Q(id__in=with_statements) | Q(id=parse_id(data.get("client"))))
        names = found.order_by(Lower("name"), "id").values_list("id", "name")
        field = self.fields["client"]
        assert isinstance(field, forms.ChoiceField)  # for types
        field.choices = [("", "All"), *((str(id), name) for id, name in names)]

    def conditions(self) -> dict[str, str]:
        self.full_clean()
        found = getattr(self, "cleaned_data", {})
        return {name: found[name] for name in ("client", "status") if found.get(name)}
