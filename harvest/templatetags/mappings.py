"""The rows of a mapping table. Made here rather than by a template: a page may have 2,000 of them."""

from __future__ import annotations

from html import escape

from django import template
from django.utils.safestring import SafeString

from harvest.sheets import Line, Sheet

register = template.Library()


@register.simple_tag
def mapping_rows(sheet: Sheet, may: bool, unmapped_first: bool) -> SafeString:
    """Every row as a list item: with boxes for those who may change them, else with words."""
    lines = sheet.ordered if unmapped_first else sheet.lines
    return SafeString("\n".join([_row(sheet, line, may) for line in lines]))


def _row(sheet: Sheet, line: Line, may: bool) -> str:
    row = line.row
    name = escape(row.harvest_name)
    archived = "" if row.active else ' <span class="badge">Archived</span>'
    client = f"<small>{escape(row.harvest_client)}</small>" if row.harvest_client else ""
    ours, after = _boxes(sheet, line, name) if may else _words(line)
    changed = ' class="changed"' if line.changed else ""
    return f"<li{changed}><label><span>{name}{archived}{client}</span>{ours}</label>{after}</li>"


def _words(line: Line) -> tuple[str, str]:
    if line.text:
        ours = f"<b>{escape(line.text)}</b>"
    elif line.otherwise:
        ours = f"<b>{escape(line.otherwise)} <small>By e-mail</small></b>"
    else:
        ours = "<i>Not mapped</i>"
    return ours, f"<b>{escape(line.push_text)}</b>" if line.push_text else ""


def _boxes(sheet: Sheet, line: Line, name: str) -> tuple[str, str]:
    """The box of the target, in its label; and what follows: where pushed time lands, Create, marks, errors."""
    after = []
    hint = f"{escape(line.otherwise)} (by e-mail)" if line.otherwise else "Not mapped"
    more = _was(line.text, line.saved)
    if line.suggested:
        more += ' class="suggested"'
        after.append('<small class="hint">Suggested</small>')
    if line.error:
        more += f' aria-invalid="true" aria-describedby="e{line.box}"'
        after.append(f'<span class="errors" id="e{line.box}">{escape(line.error)}</span>')
    if not line.text and not line.saved and sheet.kind.slug != "people":
        verb = f"create:{sheet.kind.slug}:{escape(line.row.harvest_id)}"
        after.insert(0, f'<button name="do" value="{verb}" aria-label="Create {name} here">Create</button>')
    if line.push_box:
        options = "".join(f"<option>{escape(text)}</option>" for text in line.push_options)
        after.insert(
            0,
            f'<input name="{line.push_box}" value="{escape(line.push_text)}" list="l{line.push_box}"'
            f' aria-label="Project in Harvest where time pushed for {name} lands" placeholder="Push to… (optional)"'
            f"{_was(line.push_text, line.push_saved)}>"
            f'<datalist id="l{line.push_box}">{options}</datalist>',
        )
    box = f'<input name="{line.box}" value="{escape(line.text)}" list="{sheet.prefix}" placeholder="{hint}"{more}>'
    return box, "".join(after)


def _was(text: str, saved: str) -> str:
    """What is saved, where the box shows something else."""
    return f' data-was="{escape(saved)}"' if text != saved else ""
