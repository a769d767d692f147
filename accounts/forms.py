"""Forms of people, API keys and the workspace. What values mean is checked by the services."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import ApiKeyAccess, Plan, Role

ROLES = (
    (Role.MEMBER, "Member: logs their own time"),
    (Role.DESIGNER, "Designer: also clients, projects, mappings, Inbound"),
    (Role.ADMIN, "Admin: also people, plan and workspace"),
)
LIFETIMES = (("", "Until it is revoked"), ("30", "30 days"), ("90", "90 days"), ("365", "One year"))


class PersonForm(forms.Form):
    email = forms.EmailField(
        label="E-mail address",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text="They are a member from now on, and sign in with this address.",
    )
    name = forms.CharField(max_length=150, required=False)
    role = forms.ChoiceField(choices=ROLES, initial=Role.MEMBER)


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What will use it: “Payroll script”.")
    access = forms.ChoiceField(choices=ApiKeyAccess.choices, initial=ApiKeyAccess.READ)
    lifetime = forms.ChoiceField(label="Good for", choices=LIFETIMES, required=False)
    lifetime.mark_optional = False  # type: ignore[attr-defined]  # "Until it is revoked" says it

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["lifetime"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class WorkspaceForm(forms.Form):
    name = forms.CharField(max_length=120)
    timezone = forms.CharField(
        label="Time zone",
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off"}),
        help_text="Its clock says what “today” is. Type a city: Europe/Oslo.",
    )
    currency = forms.CharField(
        max_length=3,
        help_text="Three letters, such as EUR. Rates and amounts are in it; changing it converts nothing.",
    )
    plan = forms.ChoiceField(choices=Plan.choices, help_text="Integrations need the Pro plan.")
    require_second_factor = forms.BooleanField(
        label="Require a second factor of everybody",
        required=False,
        help_text="Who has none sees only how to set one up. API keys go on: revoke those you do not want.",
    )

    @staticmethod
    def zones() -> list[str]:
        """The names of places on the map, without the aliases that nobody looks for."""
        return sorted(
            name
            for name in zoneinfo.available_timezones()
            if name == "UTC" or name.split("/")[0] in CONTINENTS
        )

    def clean_currency(self) -> Any:
        return self.cleaned_data["currency"].upper()


CONTINENTS = {
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
}
