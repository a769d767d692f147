"""A statement as CSV: one table, its `row` column telling lines, total, budgets and entries apart.

In UTF-8 with a byte order mark, which Excel needs to take it for that, and with CRLF, as RFC 4180 has it. A text that a
spreadsheet would take for a formula gets an apostrophe in front, as OWASP recommends; numbers are numbers, also
negative ones.
"""

from __future__ import annotations

import csv
import io

from accounts.tabular import safe_cell as safe
from settlement.exports.report import Report
from settlement.statement_math import hours

COLUMNS = (
    "row", "kind", "statement", "client", "date", "person", "project", "activity type", "work item", "notes", "hours",
    "seconds", "rate", "amount", "currency", "billable",
)  # fmt: skip


def write(report: Report) -> bytes:
    sheet = report.sheet
    file = io.StringIO(newline="")
    rows = csv.writer(file, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    name, client, currency = report.title, safe(sheet.client), sheet.currency
    for line in sheet.lines:
        rows.writerow(
            (
                "line", line.kind, name, client, f"{report.first}/{report.last}", "", safe(line.project_name),
                safe(line.activity_type_name), "", "", line.hours, line.seconds, line.rate, line.amount, currency,
                "yes" if line.billable else "no",
            )
        )  # fmt: skip
    rows.writerow(
        (
            "total", "", name, client, f"{report.first}/{report.last}", "", "", "", "", "", sheet.hours, sheet.seconds,
            "", sheet.amount, currency, "",
        )
    )  # fmt: skip
    for budget in sheet.budgets:
        for when in ("before", "after"):
            money = budget["unit"] == "money"
            rows.writerow(
                (
                    "budget", f"remaining {when}", name, client, f"{budget['first']}/{budget['last']}", "",
                    safe(budget["name"]), "", "", "", "" if money else budget[f"remaining_{when}"], "", "",
                    budget[f"remaining_{when}"] if money else "", currency if money else "", "",
                )
            )  # fmt: skip
    for one in report.entries:
        rows.writerow(
            (
                "entry", one.kind, name, client, one.spent_date, safe(one.owner_name), safe(one.project_name),
                safe(one.activity_type_name), safe(one.work_item_key), safe(one.notes), hours(one.seconds), one.seconds,
                one.rate, "", currency, "yes" if one.billable else "no",
            )
        )  # fmt: skip
    return b"\xef\xbb\xbf" + file.getvalue().encode()
