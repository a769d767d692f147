"""Forms of clients, their contacts and projects. What values mean is checked by the services."""

from __future__ import annotations

from django import forms


class ClientForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autofocus": True}))


class ProjectForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autofocus": True}))
    code = forms.CharField(
        max_length=40, required=False, help_text="A short name: its work items are numbered by it (WEB-12)."
    )


class ContactForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autofocus": True}))
    email = forms.EmailField(label="E-mail address", required=False)
