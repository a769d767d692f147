"""How one time log stands with Harvest, on its page: a floor below, which may not import this one, writes the tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from accounts.middleware import Tenancy
from accounts.models import Plan
from harvest.sync_selectors import pause_of, story_of
from timelogs.models import TimeLog

register = template.Library()

MOST_QUOTED = 120


@register.filter
def quoted(words: str) -> SafeString:
    """What one side holds, cut to what a line takes, in quotation marks; "nothing" without."""
    if not words:
        return SafeString("nothing")
    return format_html("<q>{}</q>", Truncator(words).chars(MOST_QUOTED))


@register.inclusion_tag("harvest/_agreement.html", takes_context=True)
def agreement(context: Mapping[str, Any], log: TimeLog) -> dict[str, Any]:
    """The log's sync state in words, what helps, and the history of its agreement. A fixed number of queries."""
    tenancy: Tenancy = context["tenancy"]
    workspace = tenancy.workspace
    story = story_of(log)
    may = tenancy.membership.can_manage and workspace.plan == Plan.PRO
    pause = pause_of(workspace, story.connection) if story.connection else ""
    return {
        "story": story,
        "log": log,
        "workspace": workspace,
        "csrf_token": context.get("csrf_token"),
        "may": may,
        "may_settle": may and story.both_ways and not pause,
        "pause": pause,
    }
