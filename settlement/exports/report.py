"""What an exported statement says, gathered once for all formats, and the file that it becomes.

A file is made whole while the workspace's scope is open: nothing is read from the database once the answer is on its
way, and a failure is an error and not half a file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from django.db import models
from django.http import HttpResponse
from django.utils.text import slugify

from accounts.models import Workspace
from settlement.models import Statement, StatementStatus
from settlement.statement_math import Line, Sheet
from settlement.statement_selectors import Entry, entries_of, key_of, sheet_of


class Format(models.TextChoices):
    CSV = "csv", "CSV"
    XLSX = "xlsx", "Excel"
    PDF = "pdf", "PDF"


class Paper(models.TextChoices):
    A4 = "a4", "A4"
    LETTER = "letter", "Letter"


CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A statement with its figures and entries.

    issued_on, voided_on: days on the workspace's clock. entries: by day. groups: each line with its entries.
    """

    studio: str
    number: int | None
    status: StatementStatus
    first: date
    last: date
    issued_on: date | None
    voided_on: date | None
    sheet: Sheet
    entries: list[Entry]

    @property
    def title(self) -> str:
        return f"Statement {self.number}" if self.number else "Draft statement"

    @property
    def groups(self) -> list[tuple[Line, list[Entry]]]:
        found = defaultdict(list)
        for one in self.entries:
            found[key_of(one)].append(one)
        return [(line, found[line.key]) for line in self.sheet.lines]

    @property
    def filename(self) -> str:
        """In plain letters, whatever the client is called: "statement-12-acme-2026-06-01-2026-06-30"."""
        parts = [f"statement-{self.number or 'draft'}", slugify(self.sheet.client)[:40].strip("-")]
        return "-".join(filter(None, [*parts, str(self.first), str(self.last)]))


def report_of(statement: Statement) -> Report:
    """All that is exported of a statement, in eight queries at most."""
    zone = statement.workspace.zone
    return Report(
        studio=statement.workspace.name,
        number=statement.number,
        status=StatementStatus(statement.status),
        first=statement.from_date,
        last=statement.to_date,
        issued_on=statement.issued_at.astimezone(zone).date() if statement.issued_at else None,
        voided_on=statement.voided_at.astimezone(zone).date() if statement.voided_at else None,
        sheet=sheet_of(statement),
        entries=entries_of(statement),
    )


def usual_paper(workspace: Workspace) -> Paper:
    """Letter where the workspace's clock is in the Americas, A4 everywhere else."""
    return Paper.LETTER if workspace.timezone.startswith(("America/", "US/", "Canada/")) else Paper.A4


def file_of(statement: Statement, format: Format, paper: Paper | None = None) -> HttpResponse:
    """A statement as an attachment. paper: of the PDF; the workspace's usual one unless given."""
    from settlement.exports import csv, pdf, xlsx  # each brings a library of its own

    report = report_of(statement)
    if format == Format.CSV:
        content = csv.write(report)
    elif format == Format.XLSX:
        content = xlsx.write(report)
    else:
        content = pdf.write(report, paper or usual_paper(statement.workspace))
    return HttpResponse(
        content,
        content_type=CONTENT_TYPES[format],
        headers={
            "Content-Disposition": f'attachment; filename="{report.filename}.{format}"',
            "Cache-Control": "no-store",
        },
    )
