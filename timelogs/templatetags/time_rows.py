"""The rows of the list of time. Written here, as what a template takes for fifty of them is most of the page's price.

Everything that a person or Harvest may have written goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from accounts.middleware import Tenancy
from accounts.templatetags.ui import day, duration, icon, money
from timelogs.models import Source, SyncState
from timelogs.money import amount_of

register = template.Library()

MOST_NOTES = 140
MOST_WHY = 160
TONES = {
    SyncState.SYNCED: "good",
    SyncState.PENDING: "accent",
    SyncState.HELD: "warn",
    SyncState.CONFLICT: "warn",
    SyncState.DIFFERS: "warn",
}
SOME_ID = UUID(int=0)


@register.simple_tag(takes_context=True)
def time_rows(
    context: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *, focus: bool = False
) -> SafeString:
    """Table rows of what `listing.page_of` gives. focus: the way to edit the first takes the keyboard's focus."""
    tenancy: Tenancy = context["tenancy"]
    can_manage, reader, currency = tenancy.membership.can_manage, tenancy.user.id, tenancy.workspace.currency
    names = ("time-log-edit", "time-log-delete", "time-log")
    # What stands before and after a log's id in each address.
    edit, delete, page = (reverse(name, args=[SOME_ID]).split(str(SOME_ID)) for name in names)
    settled = f'<span class="badge" title="On an issued statement">{icon("lock", "small")} Settled</span>'

    def state(row: Mapping[str, Any]) -> str:
        """How it stands with Harvest, leading to its page. Not boosted: the answer would take the row's place."""
        if row["sync_state"] not in TONES:
            return ""
        label, tone = SyncState(row["sync_state"]).label, TONES[row["sync_state"]]
        return f'<a class="badge {tone}" hx-boost="false" href="{str(row["id"]).join(page)}">{label}</a>'

    def tools(row: Mapping[str, Any]) -> str:
        said = state(row)
        if row["settled_at"]:
            return said + settled
        if can_manage or row["owner_id"] == reader:
            id = str(row["id"])
            said += (
                f'<a href="{id.join(edit)}"{" autofocus" if focus else ""}>Edit</a>'
                f'<button form="rows" formaction="{id.join(delete)}">Delete</button>'
            )
        return said

    def written(row: Mapping[str, Any]) -> str:
        key, project, notes = row["work_item_key"], row["project_name"], row["notes"]
        place: str = escape(row["client_name"])
        if project is not None:
            place += f" / {escape(project)}"
        if key is not None:
            place = f'<span class="code">{escape(key)}</span> {place}'
        if len(notes) > MOST_NOTES:
            notes = Truncator(notes).chars(MOST_NOTES)
        if notes:
            place += f'<span class="under">{escape(notes)}</span>'
        if row["sync_detail"] and TONES.get(row["sync_state"]) == "warn":
            why = f"{SyncState(row['sync_state']).label}: {Truncator(row['sync_detail']).chars(MOST_WHY)}"
            place += f'<span class="under why">{escape(why)}</span>'
        person: str = escape(row["owner_name"])
        if row["source"] == Source.HARVEST:
            person += ", Harvest"
        if row["billable"]:
            amount = money(amount_of(row["seconds"], row["hourly_rate"]), currency)
        else:
            amount = SafeString('<span class="muted small">not billable</span>')
        return (
            f'<tr><td class="lead">{day(row["spent_date"])}</td><td class="full main wrap">{place}</td>'
            f'<td class="wrap">{escape(row["activity_type_name"] or "")}<span class="under">{person}</span></td>'
            f'<td class="number lead-number">{duration(row["seconds"])}</td><td class="number">{amount}</td>'
            f'<td class="tools">{tools(row)}</td></tr>'
        )

    return SafeString("".join(map(written, rows)))
