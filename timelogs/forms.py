"""Forms of time logs, activity types and work items. What values mean is checked by the services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache
from html import escape
from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.forms.widgets import Input
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from accounts.models import Membership, User, Workspace
from accounts.prepared import fetch
from accounts.selectors import members_of
from clients.models import Client
from clients.selectors import clients_of, projects_of
from timelogs.durations import clock, parse
from timelogs.models import ActivityType, Source, SyncState, TimeLog, WorkItem, WorkItemStatus
from timelogs.places import Place, UnknownPlace, find, label_of_log, places_of
from timelogs.selectors import choosable_activity_types

Choice = tuple[UUID, str]
YES_NO = (("true", "Billable"), ("false", "Not billable"))


def written(attrs: Mapping[str, Any]) -> str:
    """Attributes of an element as Django's templates write them."""
    return "".join(
        f" {name}" if value is True else f' {name}="{escape(str(value))}"'
        for name, value in attrs.items()
        if value is not False
    )


class WrittenInput(Input):
    """An input that is written in one go: Django takes two templates for each."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        found = {"type": self.input_type, "name": name}
        if (text := self.format_value(value)) is not None:
            found["value"] = text
        return SafeString(f"<input{written(found | self.build_attrs(self.attrs, attrs))}>")


class TextInput(WrittenInput, forms.TextInput):
    """A line of text."""


class Textarea(forms.Textarea):
    """Lines of text, written like the inputs."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        found = {"name": name, **self.build_attrs(self.attrs, attrs)}
        text: Any = self.format_value(value)
        return SafeString(f"<textarea{written(found)}>\n{escape(str(text or ''))}</textarea>")


class DateInput(WrittenInput, forms.DateInput):
    input_type = "date"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs, format="%Y-%m-%d")


class Select(forms.Select):
    """A select that is written in one go: Django takes two templates for each of its options."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = self.format_value(value)
        options = "".join(
            f'<option value="{escape(key)}"{" selected" if key in chosen else ""}>{escape(str(words))}</option>'
            for key, words in ((str(key), words) for key, words in self.choices)
        )
        found = {"name": name, **self.build_attrs(self.attrs, attrs)}
        return SafeString(f"<select{written(found)}>{options}</select>")


# In the order of `choosable_clients` and `choosable_activity_types`; people by their names.
OFFERED = """
(SELECT 'clients', id, name FROM clients_client WHERE workspace_id = $1 AND NOT archived
    ORDER BY lower(name), id)
UNION ALL
(SELECT 'types', id, name FROM timelogs_activitytype WHERE workspace_id = $1 ORDER BY lower(name), id)
UNION ALL
(SELECT 'people', person.id, coalesce(nullif(person.name, ''), person.email) FROM accounts_membership AS place
    JOIN accounts_user AS person ON person.id = place.user_id WHERE place.workspace_id = $1
    ORDER BY person.name, person.email)
"""


class Choices:
    """What selects offer in a workspace: asked for once for all the forms of a page, and only where one does."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @cached_property
    def _offered(self) -> dict[str, list[Choice]]:
        """All three in one question: as three of Django's they were a tenth of the page's price."""
        found: dict[str, list[Choice]] = {"clients": [], "types": [], "people": []}
        for kind, id, name in fetch("timelogs_offered", OFFERED, [self.workspace.id]):
            found[kind].append((id, name))
        return found

    @property
    def clients(self) -> list[Choice]:
        """Those one may log time for."""
        return self._offered["clients"]

    @property
    def types(self) -> list[Choice]:
        return self._offered["types"]

    @property
    def people(self) -> list[Choice]:
        """The members' user ids, with their names."""
        return self._offered["people"]


class DurationField(forms.CharField):
    """A duration as people type it; cleaned to whole seconds."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"data-duration": True, "autocomplete": "off", "placeholder": "1:30", "inputmode": "text"}
        super().__init__(max_length=20, widget=TextInput(attrs=attrs), **kwargs)

    def clean(self, value: Any) -> Any:
        seconds = parse(super().clean(value))
        if seconds is None:
            raise forms.ValidationError("Type it like 1:30, 1.5, 90m or 1h 30m.")
        return seconds


class TimeFields(forms.Form):
    """What is asked of time. One field names the client, project or work item (`timelogs.places`).

    Nothing is offered but what it is given: `types` and `people` as `Choices` has them, None where the one who asks
    logs for nobody else. new: it logs time, and changes no log.
    """

    place = forms.CharField(
        label="Client, project or work item",
        max_length=600,
        widget=TextInput(attrs={"list": "places", "autocomplete": "off"}),
    )
    spent_date = forms.DateField(label="Date", widget=DateInput())
    seconds = DurationField(label="Duration")
    activity_type = forms.ChoiceField(label="Activity type", required=False, widget=Select)
    billable = forms.ChoiceField(label="Billable", required=False, widget=Select)
    owner = forms.ChoiceField(label="Person", widget=Select)
    notes = forms.CharField(
        required=False, strip=True, widget=Textarea(attrs={"rows": 1}), max_length=100_000
    )

    activity_type.mark_optional = billable.mark_optional = False  # type: ignore[attr-defined]  # their first choice says it

    def __init__(
        self,
        data: Any = None,
        *,
        types: Iterable[Choice],
        people: Iterable[Choice] | None,
        new: bool,
        initial: dict[str, Any],
        auto_id: str = "id_log_%s",
    ) -> None:
        super().__init__(data, initial=initial, auto_id=auto_id)
        self._choose("activity_type", [("", "None"), *types])
        first = [("", "As the activity type")] if new else []
        self._choose("billable", [*first, *YES_NO])
        if people is None:
            del self.fields["owner"]
        else:
            self._choose("owner", list(people))

    def _choose(self, name: str, choices: list[tuple[Any, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # for types
        field.choices = choices


@lru_cache(maxsize=256)
def empty_fields(
    types: tuple[Choice, ...], people: tuple[Choice, ...] | None, today: date, owner: UUID | None
) -> SafeString:
    """The fields of a form in which time can be logged, as HTML, drawn once for all who are offered the same.

    All that is in them is among the arguments: what another workspace has, or what has changed, is drawn anew.
    """
    form = TimeFields(types=types, people=people, new=True, initial=_initial(today, owner))
    return SafeString(render_to_string("timelogs/_log_fields.html", {"form": form}))


def _initial(today: date, owner: UUID | None) -> dict[str, Any]:
    return {"spent_date": today, "owner": str(owner)}


class TimeLogForm(TimeFields):
    """Logging time, or changing a log."""

    def __init__(
        self,
        data: Any = None,
        *,
        workspace: Workspace,
        by: Membership,
        log: TimeLog | None = None,
        choices: Choices | None = None,
    ) -> None:
        choices = choices or Choices(workspace)
        self.workspace, self.by, self.log = workspace, by, log
        people = dict(choices.people) if by.can_manage else None
        if people is not None and log is not None:  # somebody who has left keeps their time
            people.setdefault(log.owner_id, str(log.owner))
        super().__init__(
            data,
            types=choices.types,
            people=None if people is None else people.items(),
            new=log is None,
            initial=_initial(workspace.today(), by.user_id) if log is None else self._values_of(log),
            auto_id=f"id_{log.id.hex}_%s" if log else "id_log_%s",
        )
        if log is not None:  # the row is another one now: who edits by keyboard goes on in it
            self.fields["place"].widget.attrs["autofocus"] = True

    @staticmethod
    def _values_of(log: TimeLog) -> dict[str, Any]:
        return {
            "place": label_of_log(log),
            "spent_date": log.spent_date,
            "seconds": clock(log.seconds),
            "activity_type": str(log.activity_type_id or ""),
            "billable": "true" if log.billable else "false",
            "owner": str(log.owner_id),
            "notes": log.notes,
        }

    def clean_place(self) -> Place | None:
        """The place that is named; None where the log stays where it is (which may be archived by now)."""
        text: str = self.cleaned_data["place"]
        if self.log is not None and text == self.initial["place"]:
            return None
        try:
            return find(places_of(self.workspace), text)
        except UnknownPlace as error:
            raise forms.ValidationError(str(error)) from error

    def clean_activity_type(self) -> ActivityType | None:
        chosen = self.cleaned_data["activity_type"]
        return choosable_activity_types(self.workspace).filter(id=chosen).first() if chosen else None

    def clean_owner(self) -> User:
        chosen = self.cleaned_data["owner"]
        if self.log is not None and chosen == str(self.log.owner_id):
            return self.log.owner
        member = members_of(self.workspace).filter(user_id=chosen).first()
        if member is None:
            raise forms.ValidationError("This person has just left the workspace.")
        return member.user

    def values(self) -> dict[str, Any]:
        """What to record, or to revise: what was left alone is not among it, so that it stays as it is by now."""
        cleaned = self.cleaned_data
        values = {name: cleaned[name] for name in ("spent_date", "seconds", "notes", "activity_type")}
        if cleaned["place"] is not None:
            values |= cleaned["place"].values()
        if cleaned["billable"] and "billable" in self.changed_data:
            values["billable"] = cleaned["billable"] == "true"
        if "owner" in self.fields and (self.log is None or "owner" in self.changed_data):
            values["owner"] = cleaned["owner"]
        return values


class FilterForm(forms.Form):
    """The filters of the list of time, by the names that the API gives them. What selects offer is given by `offer`."""

    q = forms.CharField(
        label="In notes", required=False, max_length=200, widget=TextInput({"data-live": True})
    )
    client = forms.UUIDField(required=False)
    project = forms.UUIDField(required=False)
    activity_type = forms.UUIDField(label="Activity type", required=False)
    owner = forms.UUIDField(label="Person", required=False)
    from_ = forms.DateField(label="From", required=False, widget=DateInput())
    to = forms.DateField(label="To", required=False, widget=DateInput())
    billable = forms.ChoiceField(required=False, choices=[("", "All"), *YES_NO], widget=Select)
    source = forms.ChoiceField(required=False, choices=[("", "All"), *Source.choices], widget=Select)
    sync_state = forms.ChoiceField(
        label="In Harvest", required=False, choices=[("", "All"), *SyncState.choices], widget=Select
    )

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data, auto_id="id_filter_%s")
        self.fields["from"] = self.fields.pop("from_")
        self.order_fields(
            [
                "q", "from", "to", "client", "project", "activity_type", "owner", "billable", "source",
                "sync_state",
            ]
        )  # fmt: skip
        for field in self.fields.values():
            field.mark_optional = False  # type: ignore[attr-defined]  # filters all are
        self.full_clean()

    def offer(self, offered: Offered) -> None:
        for name, choices in offered._asdict().items():
            self.fields[name].widget = Select(choices=[("", "All"), *choices])
        if not self.cleaned_data.get("client"):
            del self.fields["project"]

    @property
    def more_is_set(self) -> bool:
        """Whether one of the filters that are folded away is set."""
        return any(
            self.cleaned_data.get(name)
            for name in ("activity_type", "owner", "billable", "source", "sync_state")
        )

    def conditions(self) -> dict[str, Any]:
        """The filters that are set, as `listing` takes them."""
        found = {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}
        if "billable" in found:
            found["billable"] = found["billable"] == "true"
        return found


class Offered(NamedTuple):
    """What the selects among the filters offer, by their names."""

    client: tuple[Choice, ...]
    project: tuple[Choice, ...]
    activity_type: tuple[Choice, ...]
    owner: tuple[Choice, ...]


def offered(workspace: Workspace, choices: Choices, client: UUID | None) -> Offered:
    """Projects are those of the chosen client: all would be too many to choose from."""
    clients, projects = choices.clients, tuple[Choice, ...]()
    if client is not None:
        if client not in dict(clients):  # an archived one
            archived = clients_of(workspace).filter(id=client).values_list("id", "name")
            clients = sorted([*clients, *archived], key=lambda one: one[1].lower())
        of_client = projects_of(workspace).filter(client_id=client).order_by("name", "id")
        projects = tuple(of_client.values_list("id", "name"))
    return Offered(tuple(clients), projects, tuple(choices.types), tuple(choices.people))


def filter_fields(filters: FilterForm, offered: Offered) -> SafeString:
    """The fields of the filters as HTML. Those of words that somebody looks for, and of errors, are not kept."""
    said = tuple((name, filters.data[name]) for name in filters.fields if name in filters.data)
    draw = _filter_fields.__wrapped__ if filters.errors or filters.data.get("q") else _filter_fields
    return SafeString(draw(said, offered))


@lru_cache(maxsize=256)
def _filter_fields(said: tuple[tuple[str, str], ...], offered: Offered) -> str:
    """Drawn once for all who are offered the same, and have chosen the same. All that is drawn is in the arguments."""
    filters = FilterForm(dict(said))
    filters.offer(offered)
    return render_to_string("timelogs/_filter_fields.html", {"filters": filters})


class ActivityTypeForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autofocus": True}))
    hourly_rate = forms.DecimalField(
        label="Hourly rate", min_value=Decimal(0), max_digits=12, decimal_places=2, initial="0.00"
    )
    billable = forms.BooleanField(required=False, initial=True)

    def __init__(self, data: Any = None, *, currency: str, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["hourly_rate"].help_text = f"In {currency}. Time logged before keeps the rate it had."


class WorkItemForm(forms.Form):
    title = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))
    key = forms.CharField(
        max_length=40, required=False, help_text="Named in notes, such as ACME-12. Made for you where empty."
    )
    project = forms.ChoiceField(required=False)
    description = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Becomes the notes of time logged on it without any.",
    )
    status = forms.ChoiceField(choices=WorkItemStatus.choices, initial=WorkItemStatus.OPEN)

    def __init__(self, data: Any = None, *, client: Client, item: WorkItem | None = None) -> None:
        initial = (
            {
                "title": item.title,
                "key": item.key,
                "project": str(item.project_id or ""),
                "description": item.description,
                "status": item.status,
            }
            if item
            else {}
        )
        super().__init__(data, initial=initial)
        projects = projects_of(client.workspace).filter(client=client).order_by("archived", "name", "id")
        self.projects = {str(one.id): one for one in projects}
        field = self.fields["project"]
        assert isinstance(field, forms.ChoiceField)  # for types
        field.choices = [("", "None"), *((id, one.name) for id, one in self.projects.items())]
        field.mark_optional = False  # type: ignore[attr-defined]  # its first choice says it

    def clean_project(self) -> Any:
        return self.projects.get(self.cleaned_data["project"])
