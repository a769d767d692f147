"""The filters of Inbound."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import Workspace
from accounts.selectors import members_of
from clients.selectors import choosable_clients, clients_of
from timelogs.forms import DateInput


class FilterForm(forms.Form):
    """Filters of proposals and of adjustments, by the names that the API gives them."""

    q = forms.CharField(label="In notes", required=False, max_length=200)
    client = forms.UUIDField(required=False)
    owner = forms.UUIDField(label="Person", required=False)
    from_ = forms.DateField(label="From", required=False, widget=DateInput())
    to = forms.DateField(label="To", required=False, widget=DateInput())

    def __init__(self, data: Any, *, workspace: Workspace) -> None:
        super().__init__(data, auto_id="id_filter_%s")
        self.fields["from"] = self.fields.pop("from_")
        self.order_fields(["q", "client", "owner", "from", "to"])
        for field in self.fields.values():
            field.mark_optional = False  # type: ignore[attr-defined]  # filters all are
        self.full_clean()
        clients = choosable_clients(workspace).values_list("id", "name")
        if chosen := self.cleaned_data.get("client"):  # an archived one may be chosen by its page's link
            clients = clients.union(clients_of(workspace).filter(id=chosen).values_list("id", "name"))
        people = members_of(workspace).order_by("user__name", "user__email")
        self._offer("client", [*clients])
        self._offer("owner", [(one.user_id, str(one.user)) for one in people])

    def _offer(self, name: str, choices: list[tuple[Any, str]]) -> None:
        self.fields[name].widget = forms.Select(choices=[("", "All"), *choices])

    def conditions(self) -> dict[str, Any]:
        """The filters that are set, for the selectors."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}
