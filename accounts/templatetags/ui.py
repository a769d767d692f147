"""The tags and filters that pages are made of; `config/templates/README.md` shows each in use.

Built in to every template: no `{% load %}`. What is written once a page is a fragment in config/templates/parts/; what
is written once a row (durations, money, moments) is made here, since an include a cell would be most of a list's time.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import urlencode

from django import template
from django.core.signals import setting_changed
from django.forms import BoundField
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django_htmx.jinja import htmx_script

from accounts.models import Workspace

register = template.Library()


# --- Values ----------------------------------------------------------------------------------------------------------
def duration_text(seconds: int) -> str:
    """Whole seconds in words, to the nearest minute: "2 h 07 m", "45 m"."""
    hours, minutes = divmod((seconds + 30) // 60, 60)
    return f"{hours:,} h {minutes:02} m" if hours else f"{minutes} m"


@register.filter
def duration(seconds: int | None) -> SafeString:
    """Seconds as "2 h 07 m", with the exact value on hover."""
    return _duration(seconds or 0)


@lru_cache(maxsize=4096)  # people mostly log quarters of an hour
def _duration(seconds: int) -> SafeString:
    exact = f"{seconds // 3600:,}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    hours = f"{Decimal(seconds) / 3600:.2f}"
    # Digits and our own words: nothing to escape, in what is written once a row.
    return SafeString(
        f'<data class="duration" value="{seconds}" title="{exact} ({hours} h)">{duration_text(seconds)}</data>'
    )


@register.filter
def money(amount: Decimal | None, currency: str) -> SafeString:
    """An amount with its currency, two decimals, grouped."""
    text = f"{amount or Decimal(0):,.2f}"
    return SafeString(
        f'<data class="money" value="{text.replace(",", "")}">'
        f'<span class="currency">{escape(currency)}</span>{text}</data>'
    )


@register.filter
def day(value: date) -> SafeString:
    """A plain date: "Mon 2 Mar", with the year where it is not this one."""
    return _day(value, timezone.now().year)


@lru_cache(maxsize=4096)  # a list has many rows of few days
def _day(value: date, this_year: int) -> SafeString:
    text = f"{value:%a} {value.day} {value:%b}"
    if value.year != this_year:
        text += f" {value.year}"
    return SafeString(f'<time class="nowrap" datetime="{value.isoformat()}">{text}</time>')


def ago_text(then: datetime, now: datetime) -> str:
    """How long ago, in one unit: "3 minutes ago"; "in 2 hours" for what is still to come."""
    seconds = (now - then).total_seconds()
    size = abs(seconds)
    if size < 45:
        return "just now" if seconds >= 0 else "in a moment"
    for name, unit, limit in (
        ("minute", 60, 3600),
        ("hour", 3600, 86400),
        ("day", 86400, 30 * 86400),
        ("month", 30 * 86400, 365 * 86400),
        ("year", 365 * 86400, float("inf")),
    ):
        if round(size / unit) * unit < limit:
            count = max(1, round(size / unit))
            words = f"{count} {name}{'' if count == 1 else 's'}"
            return f"{words} ago" if seconds >= 0 else f"in {words}"
    raise AssertionError("unreachable: the last unit has no limit")


@register.simple_tag(takes_context=True)
def when(context: dict[str, Any], moment: datetime | None, *, never: str = "Never") -> SafeString | str:
    """A moment as "3 minutes ago", with the exact time, on the workspace's clock, on hover."""
    if moment is None:
        return never
    workspace: Workspace | None = context.get("workspace")
    local = moment.astimezone(workspace.zone if workspace else UTC)
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}">{}</time>',
        moment.astimezone(UTC).isoformat(timespec="seconds"),
        f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}",
        ago_text(moment, timezone.now()),
    )


@register.filter
def as_json(value: Any) -> str:
    """A value for an attribute that a script reads."""
    return json.dumps(value)


@register.filter
def initials(name: str) -> str:
    """Up to two letters for an avatar: "Ada Lovelace" -> "AL"."""
    words = [word for word in str(name).replace("@", " ").replace(".", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper()


# --- Addresses -------------------------------------------------------------------------------------------------------
# A page asks for some fifty, the same ones each time: each is found once, and anew where a test has changed settings.
@lru_cache(maxsize=256)
def asset_url(path: str) -> str:
    """Where a static file is, for an attribute."""
    return escape(static(path))


@lru_cache(maxsize=256)
def _page_url(name: str, prefix: str) -> str:
    return reverse(name)


def page_url(name: str) -> str:
    """Where a page is whose address says nothing but its name."""
    return _page_url(name, get_script_prefix())


def _forget(**_: Any) -> None:
    for found in (asset_url, _page_url, _icon, _htmx):
        found.cache_clear()


setting_changed.connect(_forget)


@register.simple_tag
def asset(path: str) -> SafeString:
    """{% static %}, for the files of every page."""
    return SafeString(asset_url(path))


@register.simple_tag
def address(page: str) -> SafeString:
    """{% url %}, for pages whose address says nothing but their name."""
    return SafeString(escape(page_url(page)))


@register.simple_tag
def htmx() -> SafeString:
    """The script of htmx; without a nonce, which our policy has none of."""
    return _htmx()


@lru_cache(maxsize=1)
def _htmx() -> SafeString:
    return SafeString(htmx_script())


# --- Pieces ----------------------------------------------------------------------------------------------------------
@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """A symbol of the sprite, beside a word: hidden from screen readers."""
    return _icon(name, size)


@lru_cache(maxsize=512)  # a page has some twenty
def _icon(name: str, size: str) -> SafeString:
    return SafeString(
        f'<svg class="icon {escape(size)}" aria-hidden="true">'
        f'<use href="{asset_url("icons.svg")}#{escape(name)}"></use></svg>'
    )


@register.simple_tag
def badge(text: str, tone: str = "", *, dot: bool = False) -> SafeString:
    """A short state in words. tone: good, warn, bad, accent or none; dot adds a coloured one."""
    return format_html('<span class="badge {}{}">{}</span>', tone, " dot" if dot else "", text)


@register.simple_tag
def field(bound: BoundField, label: str = "", klass: str = "") -> SafeString:
    """A form field: label above, help below it, errors last in words. {% field form.name label="Client" klass="full" %}

    Django's bound field names its help and errors by aria-describedby; their ids are set here to match. It is written
    here, as a page of filters and forms has fifteen of them: as a template they were a good part of its price.
    """
    widget: Any = bound.field.widget
    said = conditional_escape(label or bound.label or "")
    if getattr(widget, "input_type", "") == "checkbox":
        body = f'<label class="check">{bound}<span>{said}</span></label>'
    else:
        optional = not bound.field.required and getattr(bound.field, "mark_optional", None) is not False
        mark = ' <span class="optional">(optional)</span>' if optional else ""
        body = f'<label for="{escape(bound.id_for_label)}">{said}{mark}</label>\n{bound}'
    if bound.help_text:
        body += (
            f'\n<span class="help" id="{escape(bound.auto_id)}_helptext">'
            f"{conditional_escape(bound.help_text)}</span>"
        )
    if errors := bound.errors:
        words = "".join(f"<li>{conditional_escape(str(error))}</li>" for error in errors)
        body += f'\n<ul class="errors" id="{escape(bound.auto_id)}_error">{words}</ul>'
    return SafeString(f'<div class="field {escape(klass)}">{body}</div>')


@register.simple_block_tag(takes_context=True)
def card(context: dict[str, Any], content: str, title: str = "", hint: str = "", **more: Any) -> str:
    """A card around its content; id, klass and level (of its heading) may be given."""
    return render_to_string("parts/card.html", {"title": title, "hint": hint, "content": content, **more})


@register.simple_block_tag
def table(content: str, label: str, klass: str = "") -> str:
    """A table around its thead and tbody; label names it for screen readers."""
    return render_to_string("parts/table.html", {"label": label, "klass": klass, "content": content})


@register.simple_block_tag
def dialog(content: str, id: str, title: str) -> str:
    """A <dialog>, opened by any element with data-dialog="its id"."""
    return render_to_string("parts/dialog.html", {"id": id, "title": title, "content": content})


@register.simple_tag(takes_context=True)
def place(
    context: dict[str, Any],
    page: str,
    symbol: str,
    words: str,
    *,
    also: str = "",
    count: int = 0,
    of: str = "",
) -> SafeString:
    """A link of the frame to the page of that name; aria-current there, below it, and below the address `also`.

    count: how many are there that are `of` some state ("unread"), told beside the words.
    """
    address = page_url(page)
    path = context["request"].path
    here = path.startswith((address, also or address)) if address != "/" else path == address
    mark = ' aria-current="page"' if here else ""
    said: str = conditional_escape(words)
    if count:
        unit = f'<span class="visually-hidden"> {conditional_escape(of)}</span>'
        said += f'<span class="count">{count}{unit}</span>'
    return SafeString(f'<a class="place" href="{address}"{mark}>{icon(symbol)} {said}</a>')


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: str | date | None) -> str:
    """This page's query string with some parameters changed (None: dropped); "?" where none is left."""
    kept = dict(context["request"].GET.lists())
    for name, value in changes.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = [value]
    return "?" + urlencode(kept, doseq=True)


@register.filter
def action(message: Any) -> dict[str, str] | None:
    """The button of a notice that `accounts.pages.notify` gave one: {label, url}."""
    _, found, rest = str(message.extra_tags or "").partition("action:")
    label, _, url = rest.partition("|")
    return {"label": label, "url": url} if found else None
