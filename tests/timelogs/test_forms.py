"""What is written by hand in the forms of time is what Django would write, and offers what selectors offer."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from html import escape
from typing import Any

import pytest
from django import forms as django_forms
from django.http import QueryDict
from django.template.loader import render_to_string
from django.test import Client as Browser
from django.test import SimpleTestCase

from accounts.models import Membership, Role
from accounts.templatetags.ui import field
from accounts.tenancy import tenant_scope
from clients.models import Client
from clients.selectors import choosable_clients
from tests.factories import make_activity_type, make_client, make_member
from timelogs import forms
from timelogs.forms import Choices, FilterForm, TimeLogForm, offered
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
        form = FilterForm({"client": str(gone.id)})
        form.offer(offered(workspace, Choices(workspace), form.cleaned_data["client"]))
        names = [name for _, name in form.fields["client"].widget.choices]  # type: ignore[attr-defined]
        assert names[-2:] == ["Charlie", "Gamma"]


# --- Kept HTML -------------------------------------------------------------------------------------------------------
def browser_of(person: Membership, **options: Any) -> Browser:
    browser = Browser(**options)
    browser.force_login(person.user)
    return browser


def selected(page: str, id: str) -> list[str]:
    """What a select has chosen, in words."""
    found = re.search(rf'<select[^>]* id="{id}".*?</select>', page, re.DOTALL)
    return re.findall(r"<option[^>]* selected>([^<]*)", found[0]) if found else []


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER])
def test_empty_form_is_the_one_that_a_form_would_draw(admin: Membership, role: str) -> None:
    workspace = admin.workspace
    person = make_member(workspace, role, name=NASTY)
    with tenant_scope(workspace.id):
        ActivityType.objects.create(workspace=workspace, name=NASTY)
        plain = render_to_string(
            "timelogs/_log_fields.html", {"form": TimeLogForm(workspace=workspace, by=person)}
        )
    page = browser_of(person).get("/time-logs/").content.decode()
    assert plain in page
    assert ('id="id_log_owner"' in plain) == (role == Role.ADMIN)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        "",
        "from=2026-06-01&to=2026-06-30",
        "from=&to=&billable=true",
        "q=words",
        "from=never&owner=x",
        "to=%00",
    ],
)
def test_filters_are_those_that_a_form_would_draw(admin: Membership, query: str) -> None:
    workspace = admin.workspace
    with tenant_scope(workspace.id):
        make_client(workspace, name=NASTY)
        form = FilterForm(QueryDict(query))
        form.offer(offered(workspace, Choices(workspace), None))
        plain = render_to_string("timelogs/_filter_fields.html", {"filters": form})
    browser = browser_of(admin)
    for _ in range(2):
        assert plain in browser.get(f"/time-logs/?{query}").content.decode()


@pytest.mark.django_db
def test_forms_show_what_is_there_now_and_nothing_of_others(
    admin: Membership, stranger: Membership, member: Membership, time_machine: Any
) -> None:
    time_machine.move_to(datetime(2026, 6, 1, 12, tzinfo=UTC))
    workspace = admin.workspace
    names = {"client": make_client(workspace, "Acme"), "type": make_activity_type(workspace, "Design")}
    theirs = make_client(stranger.workspace, "Stranger's own"), make_activity_type(stranger.workspace, "Odd")
    designer = make_member(workspace, Role.DESIGNER, name="Dora")
    people = {one.id: browser_of(one) for one in (admin, stranger, member, designer)}

    def page(person: Membership) -> str:
        return people[person.id].get("/time-logs/").content.decode()

    for _ in range(2):  # the second time from what was kept
        assert selected(page(admin), "id_log_owner") == [str(admin.user)]
        assert selected(page(designer), "id_log_owner") == ["Dora"]
        assert selected(page(member), "id_log_owner") == []
        for one in (admin, designer, member):
            assert ">Acme</option>" in page(one)
            assert page(one).count(">Design</option>") == 2
            assert ">Stranger" not in page(one)
        assert escape(theirs[0].name) in page(stranger)
        assert page(stranger).count(">Odd</option>") == 2
        assert ">Acme</option>" not in page(stranger)
        assert ">Dora</option>" not in page(stranger)
    with tenant_scope(workspace.id):
        for kind, one in names.items():
            one.name = f"New {kind}"
            one.save()
        designer.user.name = "Dorothea"
        designer.user.save()
    for one in (admin, member):
        assert ">New client</option>" in page(one)
        assert page(one).count(">New type</option>") == 2
        assert ">Dorothea</option>" in page(one)
        assert "Acme" not in page(one)
        assert "Dora<" not in page(one)
    assert 'value="2026-06-01" required id="id_log_spent_date"' in page(admin)
    time_machine.move_to(datetime(2026, 6, 2, 12, tzinfo=UTC))
    assert 'value="2026-06-02" required id="id_log_spent_date"' in page(admin)
    with tenant_scope(workspace.id):
        admin.role = Role.MEMBER
        admin.save()
    assert 'id="id_log_owner"' not in page(admin)


@pytest.mark.django_db
def test_words_looked_for_and_errors_are_not_kept(admin: Membership) -> None:
    browser = browser_of(admin)
    browser.get("/time-logs/?from=2026-06-01")
    before = forms._filter_fields.cache_info().currsize
    for query in ("q=secret", "from=never"):
        browser.get(f"/time-logs/?{query}")
    assert forms._filter_fields.cache_info().currsize == before


@pytest.mark.django_db
def test_each_answer_has_a_token_of_its_own_that_is_good(admin: Membership) -> None:
    make_client(admin.workspace, "Acme")
    browser = browser_of(admin, enforce_csrf_checks=True)
    tokens: list[str] = []
    for _ in range(2):
        found = set(
            re.findall(r'csrfmiddlewaretoken" value="(\w+)"', browser.get("/time-logs/").content.decode())
        )
        assert len(found) == 1
        tokens += found
    assert tokens[0] != tokens[1]
    values = {"place": "Acme", "spent_date": "2026-06-01", "seconds": "1:30", "owner": admin.user_id}
    for token in tokens:
        sent = browser.post("/time-logs/new/", values | {"csrfmiddlewaretoken": token})
        assert sent.status_code == 302
    assert browser.post("/time-logs/new/", values).status_code == 403
