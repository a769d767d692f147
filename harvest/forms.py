"""The Harvest page's small forms; its mapping tables, one large form, are in `harvest.sheets`."""

from __future__ import annotations

from django import forms


class ConnectForm(forms.Form):
    """Account ID and personal access token. The token is never shown again: not even where it is refused."""

    account_id = forms.CharField(
        label="Account ID",
        max_length=20,
        help_text="Open id.getharvest.com/developers in Harvest; the number stands beside each token.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Fill in the account ID, the number beside your token in Harvest."},
    )
    access_token = forms.CharField(
        label="Personal access token",
        max_length=2000,
        help_text="On the same page: Create new personal access token, then copy it. Harvest shows it once.",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Paste the token. For safety it is not kept in this form."},
    )
    replace = forms.BooleanField(
        label="Start afresh with this account: the mappings are cleared, the time already here stays",
        required=False,
    )


class WindowForm(forms.Form):
    """The days to read, both included; empty means the last 14. `from` is a word of Python's own, hence the table."""


for _name in ("from", "to"):
    WindowForm.base_fields[_name] = forms.DateField(
        label=_name.title(),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": "Give a date as year-month-day, such as 2026-06-12."},
    )
    WindowForm.base_fields[_name].mark_optional = False  # type: ignore[attr-defined]  # read by parts/field.html
