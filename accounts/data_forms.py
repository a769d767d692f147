"""Forms of what is to be taken away or deleted."""

from __future__ import annotations

from django import forms


class NameForm(forms.Form):
    """Asks for a name to be typed, so that nobody deletes by a slip of the hand."""

    name = forms.CharField(max_length=254, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, data: object = None, *, label: str) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.fields["name"].label = label
