"""A statement as a workbook: the sheet *Statement* with lines, totals and budgets, and *Entries* with each entry.

Dates are dates and numbers are numbers, in formats of the currency. Text is written as text only: nothing that somebody
typed becomes a formula or a link.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import xlsxwriter
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from settlement.exports.report import Report
from settlement.statement_math import hours, minor_units

MOST_IN_A_CELL = 32_767  # Excel's limit
CUT = " … (cut here: a cell holds no more)"
HOURS, DATE = "#,##0.00", "yyyy-mm-dd"
DAY_ZERO = date(1899, 12, 30).toordinal()  # of the days that Excel counts, from March 1900 on


class Sheet:
    """Writes rows, downwards, as the constant-memory mode wants it."""

    def __init__(self, book: Workbook, name: str, widths: Sequence[float]) -> None:
        self.page: Worksheet = book.add_worksheet(name)
        self.row = 0
        for column, width in enumerate(widths):
            self.page.set_column(column, column, width)

    def write(self, *cells: tuple[Any, Any] | None) -> None:
        """A row of (value, format), None where a cell is empty."""
        for column, cell in enumerate(cells):
            if cell is None:
                continue
            value, style = cell
            if isinstance(value, date):
                self.page.write_datetime(self.row, column, datetime.combine(value, time()), style)
            elif isinstance(value, (int, Decimal)):
                self.page.write_number(self.row, column, float(value), style)
            else:
                self.page.write_string(self.row, column, fitting(value), style)
        self.row += 1


def fitting(text: str) -> str:
    """The text, cut where a cell holds no more, and saying so. (Excel counts UTF-16 units.)"""
    if 2 * len(text) <= MOST_IN_A_CELL or len(text.encode("utf-16-le")) // 2 <= MOST_IN_A_CELL:
        return text
    kept = text.encode("utf-16-le")[: 2 * (MOST_IN_A_CELL - len(CUT))]
    return kept.decode("utf-16-le", "ignore") + CUT


def write(report: Report) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(
        file,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    book.set_properties({"title": f"{report.title}, {report.sheet.client}", "author": report.studio})
    styles = _styles(book, report.sheet.currency)
    _statement(Sheet(book, "Statement", (36, 26, 12, 12, 14, 18)), report, styles)
    _entries(
        Sheet(book, "Entries", (12, 24, 30, 24, 12, 60, 10, 12, 12, 10, 12)),
        report,
        styles,
    )
    book.close()
    return file.getvalue()


def _styles(book: Workbook, currency: str) -> dict[str, Any]:
    places = minor_units(currency)
    decimals = "." + "0" * places if places else ""
    money = f'"{currency}" #,##0{decimals}'
    rate = f'"{currency}" #,##0.{"0" * max(2, places)}'  # rates have two decimals whatever the minor unit is
    head = {"bold": True, "bottom": 1, "valign": "top"}
    top = {"bold": True, "top": 1}
    return {
        "title": book.add_format({"bold": True, "font_size": 16}),
        "text": book.add_format({"valign": "top"}),
        "wrap": book.add_format({"valign": "top", "text_wrap": True}),
        "strong": book.add_format({"bold": True}),
        "head": book.add_format(head),
        "head right": book.add_format({**head, "align": "right"}),
        "date": book.add_format({"num_format": DATE, "align": "left", "valign": "top"}),
        "hours": book.add_format({"num_format": HOURS, "valign": "top"}),
        "money": book.add_format({"num_format": money, "valign": "top"}),
        "rate": book.add_format({"num_format": rate, "valign": "top"}),
        "total": book.add_format(top),
        "total hours": book.add_format({**top, "num_format": HOURS}),
        "total money": book.add_format({**top, "num_format": money}),
    }


def _statement(page: Sheet, report: Report, styles: dict[str, Any]) -> None:
    sheet, text, strong = report.sheet, styles["text"], styles["strong"]
    page.write((report.title, styles["title"]))
    page.write((report.studio, text))
    page.write()
    page.write(("Client", strong), (sheet.client, text))
    page.write(("From", strong), (report.first, styles["date"]))
    page.write(("To", strong), (report.last, styles["date"]))
    page.write(("Status", strong), (report.status.label, text))
    if report.issued_on:
        page.write(("Issued", strong), (report.issued_on, styles["date"]))
    if report.voided_on:
        page.write(("Void since", strong), (report.voided_on, styles["date"]))
    page.write(("Currency", strong), (sheet.currency, text))
    page.write()
    head, right = styles["head"], styles["head right"]
    page.write(
        ("Project", head), ("Activity type", head), ("Billable", head), ("Hours", right), ("Rate", right),
        ("Amount", right),
    )  # fmt: skip
    for line in sheet.lines:
        kind = " (adjustment)" if line.kind != "time" else ""
        page.write(
            ((line.project_name or "No project") + kind, text),
            (line.activity_type_name, text),
            ("Yes" if line.billable else "No", text),
            (line.hours, styles["hours"]),
            (line.rate, styles["rate"]),
            (line.amount, styles["money"]),
        )
    total = styles["total"]
    page.write(
        ("Total", total), ("", total), ("", total), (sheet.hours, styles["total hours"]), ("", total),
        (sheet.amount, styles["total money"]),
    )  # fmt: skip
    if sheet.budgets:
        page.write()
        page.write(
            ("Budget", head), ("Period", head), ("Unit", head), ("Available", right), ("Left before", right),
            ("Left after", right),
        )  # fmt: skip
    for one in sheet.budgets:
        style = styles["money" if one["unit"] == "money" else "hours"]
        page.write(
            (one["name"], text),
            (f"{one['first']} to {one['last']}", text),
            (one["unit"], text),
            (Decimal(one["available"]), style),
            (Decimal(one["remaining_before"]), style),
            (Decimal(one["remaining_after"]), style),
        )
    if sheet.budget_note:
        page.write((sheet.budget_note, text))


def _entries(page: Sheet, report: Report, styles: dict[str, Any]) -> None:
    head, right, text = styles["head"], styles["head right"], styles["text"]
    page.page.freeze_panes(1, 0)
    page.page.repeat_rows(0)
    page.write(
        ("Date", head), ("Person", head), ("Project", head), ("Activity type", head), ("Work item", head),
        ("Notes", head), ("Hours", right), ("Seconds", right), ("Rate", right), ("Billable", head), ("Kind", head),
    )  # fmt: skip
    # Cell by cell, since there are many: what `write` asks of each is known of these.
    string, number = page.page.write_string, page.page.write_number
    for one in report.entries:
        row = page.row
        number(row, 0, one.spent_date.toordinal() - DAY_ZERO, styles["date"])
        for column, said in enumerate((one.owner_name, one.project_name, one.activity_type_name), 1):
            if said:
                string(row, column, said, text)
        if one.work_item_key:
            string(row, 4, one.work_item_key, text)
        if one.notes:
            string(row, 5, fitting(one.notes), styles["wrap"])
        number(row, 6, float(hours(one.seconds)), styles["hours"])
        number(row, 7, one.seconds, text)
        number(row, 8, float(one.rate), styles["rate"])
        string(row, 9, "Yes" if one.billable else "No", text)
        string(row, 10, one.kind, text)
        page.row += 1
    if report.entries:
        page.page.autofilter(0, 0, page.row - 1, 10)
