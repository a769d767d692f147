"""The Harvest page's small forms; its mapping tables, one large form, are in `harvest.sheets`."""

from __future__ import annotations

from collections.abc import Iterable

from django import forms

from integrations.models import ConflictPolicy, Connection, Direction


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


DIRECTIONS = {
    Direction.IMPORT: "Time comes in from Harvest, with later changes and deletions. Nothing is ever written to "
    "Harvest, and what is edited here stays as edited.",
    Direction.TWO_WAY: "Besides, time of mapped clients and projects that is logged, edited or deleted here is so in "
    "Harvest within seconds.",
}
POLICIES = {
    ConflictPolicy.HARVEST: "Harvest’s version replaces ours.",
    ConflictPolicy.TIMEBRIDGE: "Our version replaces Harvest’s.",
    ConflictPolicy.NEWEST: "Whichever was saved last stays.",
    ConflictPolicy.ASK: "Both stay as they are, and wait under Conflicts until somebody chooses.",
}


class DirectionForm(forms.Form):
    """Which way time travels, who wins where both sides changed the same, and the task of time without one."""

    direction = forms.ChoiceField(choices=Direction.choices, widget=forms.RadioSelect)
    conflict_policy = forms.ChoiceField(
        label="Where both sides changed the same", choices=ConflictPolicy.choices, widget=forms.RadioSelect
    )
    default_task = forms.ChoiceField(
        label="Default task",
        required=False,
        help_text="In Harvest every entry has a task. Time whose activity type is not mapped gets this one.",
    )

    def __init__(
        self, data: object = None, *, connection: Connection, tasks: Iterable[tuple[str, str]]
    ) -> None:
        """tasks: (Harvest id, name) of those that can be chosen."""
        names = ("direction", "conflict_policy", "default_task")
        super().__init__(data, initial={name: getattr(connection, name) for name in names})  # type: ignore[arg-type]
        chosen = self.fields["default_task"]
        assert isinstance(chosen, forms.ChoiceField)  # for types
        chosen.choices = [("", "The project’s first task"), *tasks]
        chosen.mark_optional = False  # type: ignore[attr-defined]  # its first choice says it

    @property
    def directions(self) -> list[tuple[str, str, str, bool]]:
        """(value, label, what it means, whether it is chosen)."""
        value = self["direction"].value()
        return [(one.value, one.label, DIRECTIONS[one], one.value == value) for one in Direction]

    @property
    def policies(self) -> list[tuple[str, str, str, bool]]:
        value = self["conflict_policy"].value()
        return [(one.value, one.label, POLICIES[one], one.value == value) for one in ConflictPolicy]


class WindowForm(forms.Form):
    """The days to read, both included; empty means the last 14. `from` is a word of Python's own, hence the table."""


for _name in ("from", "to"):
    WindowForm.base_fields[_name] = forms.DateField(
        label=_name.title(),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": "Give a date as year-month-day, such as 2026-06-12."},
    )
    WindowForm.base_fields[_name].mark_optional = False  # type: ignore[attr-defined]  # read by ui.field
