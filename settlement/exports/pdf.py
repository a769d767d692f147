"""A statement as PDF: what its pages say, for `statement.typ` to set.

All of it goes to typst as JSON and is set as text, so that nothing that somebody typed is read as markup.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from settlement.exports.glyphs import printable
from settlement.exports.report import Paper, Report
from settlement.exports.typeset import typeset, typeset_apart
from settlement.models import StatementStatus
from settlement.statement_math import TIME, Line, hours, minor_units, rate_text

PAPERS = {Paper.A4: "a4", Paper.LETTER: "us-letter"}
# Tags for screen readers take some 800 bytes an entry: a longer document goes without.
MOST_TAGGED = 2000
# A longer one is set by a process of its own.
MOST_HERE = 2000
# What fits into the person's column; a longer name goes before the notes.
MOST_OF_A_NAME = 20
MINUS = "\u2212"


def write(report: Report, paper: Paper) -> bytes:
    data, tags = content(report, paper), len(report.entries) <= MOST_TAGGED
    if len(report.entries) > MOST_HERE:
        return typeset_apart(data, tags=tags)
    return typeset(data, tags=tags)[0]


def pictures(report: Report, paper: Paper, *, ppi: float = 80) -> list[bytes]:
    """The pages as PNG."""
    return typeset(content(report, paper), format="png", ppi=ppi)


def content(report: Report, paper: Paper) -> dict[str, Any]:
    """All that the page says, in the template's words; every text printable."""
    sheet = report.sheet
    places = minor_units(sheet.currency)
    facts = [
        ("Client", printable(sheet.client)),
        ("Period", f"{day(report.first)} – {day(report.last)}"),
    ]
    if report.issued_on:
        facts.append(("Issued", day(report.issued_on)))
    if report.voided_on:
        facts.append(("Void since", day(report.voided_on)))
    facts.append(("Hours", f"{sheet.hours:,.2f}, of which {sheet.billable_hours:,.2f} billable"))
    stamps = {
        StatementStatus.DRAFT: "Draft: it follows the time until it is issued.",
        StatementStatus.VOID: "Void: this statement no longer holds.",
    }
    return {
        "paper": PAPERS[paper],
        "studio": printable(report.studio),
        "title": report.title,
        "client": printable(sheet.client),
        "period": f"{report.first} – {report.last}",
        "made": report.title if report.number else "Draft",
        "stamp": stamps.get(report.status),
        "facts": facts,
        "currency": sheet.currency,
        "hours": number(sheet.hours),
        "amount": number(sheet.amount, places),
        "projects": [
            {
                "name": project_name(lines[0]),
                "hours": number(hours(sum(one.seconds for one in lines))),
                "amount": number(sum((one.amount for one in lines[1:]), lines[0].amount), places),
                "lines": [
                    {
                        "name": printable(one.activity_type_name) or "Without activity type",
                        "mark": "adjustment" if one.kind != TIME else None,
                        "hours": number(one.hours),
                        "rate": rate_text(one.rate, sheet.currency) if one.billable else "not billable",
                        "amount": number(one.amount, places),
                    }
                    for one in lines
                ],
            }
            for lines in (
                list(found) for _, found in groupby(sheet.lines, key=lambda one: (one.kind, one.project))
            )
        ],
        "budgets": [_budget(one, sheet.currency) for one in sheet.budgets],
        "budget_note": sheet.budget_note,
        "groups": [
            {
                "name": f"{project_name(line)}, {printable(line.activity_type_name) or 'without activity type'}",
                "mark": f"{sheet.currency} {rate_text(line.rate, sheet.currency)} an hour"
                if line.billable
                else "not billable",
                "hours": number(line.hours),
                "amount": f"{sheet.currency} {number(line.amount, places)}",
                "entries": [_entry(one) for one in entries],
            }
            for line, entries in report.groups
        ],
    }


def _entry(one: Any) -> tuple[str, str, str, str]:
    person, notes = printable(one.owner_name), printable(one.notes)
    if one.work_item_key:
        notes = f"{printable(one.work_item_key)} {notes}"
    if len(person) > MOST_OF_A_NAME:
        person, notes = "", f"{person}: {notes}"
    return (str(one.spent_date), number(hours(one.seconds)), person, notes)


def _budget(one: Any, currency: str) -> tuple[str, ...]:
    def shown(name: str) -> str:
        text = number(Decimal(one[name]))
        return f"{text} h" if one["unit"] == "hours" else f"{currency} {text}"

    return (
        printable(one["name"]),
        f"{one['first']} – {one['last']}",
        shown("available"),
        shown("remaining_before"),
        shown("remaining_after"),
    )


def project_name(line: Line) -> str:
    name = printable(line.project_name) or "Without project"
    return name if line.kind == TIME else f"{name}, adjustments"


def number(value: Any, places: int = 2) -> str:
    """A number with its decimals, grouped, with a real minus."""
    return f"{value:,.{places}f}".replace("-", MINUS)


def day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"
