"""What is written by hand in the forms of time is what Django would write, and offers what selectors offer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django import forms as django_forms
from django.test import SimpleTestCase

from accounts.models import Membership
from accounts.templatetags.ui import field
from accounts.tenancy import tenant_scope
from clients.models import Client
from clients.selectors import choosable_clients
from tests.factories import make_client, make_member
from timelogs import forms
from timelogs.forms import Choices, FilterForm
from timelogs.models import ActivityType
from timelogs.selectors import choosable_activity_types

same = SimpleTestCase().assertHTMLEqual
NASTY = '<b>"it\'s" & all</b>'
ATTRS = {"id": "id_x", "required": True, "autofocus": False, "data-x": NASTY, "rows": 1}


@pytest.mark.parametrize("value", [None, "", NASTY, "plain", date(2026, 3, 2)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (forms.TextInput({"list": "places"}), django_forms.TextInput({"list": "places"})),
        (forms.DateInput(), django_forms.DateInput({"type": "date"}, format="%Y-%m-%d")),
        (forms.Textarea({"rows": 3}), django_forms.Textarea({"rows": 3})),
    ],
)
def test_a_widget_is_written_as_django_writes_it(ours: Any, theirs: Any, value: Any) -> None:
    same(ours.render("x", value, ATTRS), theirs.render("x", value, ATTRS))


def test_a_select_is_written_as_django_writes_it() -> None:
    choices = [("", "All"), ("a", NASTY), (NASTY, "b")]
    for value in (None, "", "a", NASTY):
        ours, theirs = forms.Select(choices=choices), django_forms.Select(choices=choices)
        same(ours.render("x", value, ATTRS), theirs.render("x", value, ATTRS))


class Form(django_forms.Form):
    name = django_forms.CharField(label=NASTY, help_text="Any <em>name</em>.")
    note = django_forms.CharField(required=False)
    good = django_forms.BooleanField(label="Good & well", required=False)

    def clean_name(self) -> None:
        raise django_forms.ValidationError(NASTY)


def test_a_field_names_its_help_and_errors_and_escapes_what_it_is_given() -> None:
    form = Form({"name": "x"}, auto_id="id_%s")
    escaped = "&lt;b&gt;&quot;it&#x27;s&quot; &amp; all&lt;/b&gt;"
    same(
        field(form["name"], klass=NASTY),
        f'<div class="field {escaped}"><label for="id_name">{escaped}</label>{form["name"]}'
        '<span class="help" id="id_name_helptext">Any &lt;em&gt;name&lt;/em&gt;.</span>'
        f'<ul class="errors" id="id_name_error"><li>{escaped}</li></ul></div>',
    )
    assert 'aria-describedby="id_name_helptext id_name_error"' in field(form["name"])
    assert 'Note <span class="optional">(optional)</span></label>' in field(form["note"])
    assert field(form["good"]).startswith('<div class="field "><label class="check"><input type="checkbox"')
    assert "<span>Good &amp; well</span></label></div>" in field(form["good"])


@pytest.mark.django_db
def test_choices_are_those_of_the_selectors(admin: Membership, django_assert_num_queries: Any) -> None:
    workspace = admin.workspace
    make_member(workspace, name="Aaron")
    with tenant_scope(workspace.id):
        for name in ("beta", "Alpha", "alpha", "Gamma"):
            make_client(workspace, name=name)
            ActivityType.objects.create(workspace=workspace, name=name)
        gone = make_client(workspace, name="Charlie")
        Client.objects.filter(id=gone.id).update(archived=True)
        choices = Choices(workspace)
        with django_assert_num_queries(1):
            found = choices.clients, choices.types, choices.people
        assert found[0] == list(choosable_clients(workspace).values_list("id", "name"))
        assert found[1] == list(choosable_activity_types(workspace).values_list("id", "name"))
        assert [name for _, name in found[2]] == sorted(name for _, name in found[2])
        assert len(found[2]) == 2
        # An archived client is offered where it is chosen, in its place.
        form = FilterForm({"client": str(gone.id)}, workspace=workspace)
        offered = [name for _, name in form.fields["client"].widget.choices]  # type: ignore[attr-defined]
        assert offered[-2:] == ["Charlie", "Gamma"]
