"""The files of a statement, read back: CSV, XLSX, PDF and the page say the same, whatever people have typed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import load_workbook
from pypdf import PdfReader

from accounts.models import Membership
from accounts.tabular import FORMULA
from accounts.tenancy import tenant_scope
from clients.models import Client
from settlement.exports import csv as as_csv
from settlement.exports import pdf, typeset, xlsx
from settlement.exports.report import Paper, Report, report_of, usual_paper
from settlement.models import Budget, Statement, StatementStatus
from settlement.statement_math import Sheet
from settlement.statement_selectors import Entry, lines_of, statements_of
from tests.factories import (
    make_activity_type,
    make_client,
    make_project,
    make_time_log,
    make_work_item,
    make_workspace,
)
from tests.pages.conftest import Visit, visit
from tests.rest.client import Api
from tests.settlement.statements import days, draft, issued, make_adjustment, sheet, void

__all__ = ["visit"]  # a fixture

pytestmark = pytest.mark.django_db

# What spreadsheets have been known to run.
ATTACKS = (
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "=1\n+2",
    "＝1+1",
)
NASTY = "Łódź Ελλάδα Привіт 😀 日本 $x$ #panic() *no* _no_ `no` \\ <b> @label [a](b) // c /* d"


@contextmanager
def reported(statement: Statement) -> Iterator[Report]:
    with tenant_scope(statement.workspace_id):
        yield report_of(statements_of(statement.workspace).get(pk=statement.pk))


def rows_of(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def text_of(content: bytes) -> str:
    """What the PDF says, in one line, as it was typed: without the places where a word may be broken."""
    pages = PdfReader(io.BytesIO(content)).pages
    text = " ".join(page.extract_text() for page in pages)
    return " ".join(text.replace("\u200b", "").replace("\u2212", "-").split())


def cells(content: bytes, name: str) -> list[tuple[Any, ...]]:
    book = load_workbook(io.BytesIO(content))
    return [tuple(cell.value for cell in row) for row in book[name].iter_rows()]


@pytest.fixture
def statement(admin: Membership) -> Statement:
    """An issued one with several lines that do not come out even, an adjustment and budgets."""
    workspace = admin.workspace
    client = make_client(workspace, "Acme & Søn")
    website = make_project(client, "Website")
    design = make_activity_type(workspace, "Design", "99.99")
    code = make_activity_type(workspace, "Code", "120.00")
    with tenant_scope(workspace.id):
        Budget.objects.create(workspace=workspace, client=client, unit="hours", amount=5)
        Budget.objects.create(workspace=workspace, client=client, project=website, unit="money", amount=100)
    log = make_time_log(admin, client, activity_type=design, seconds=7200)
    issued(admin, client)
    make_adjustment(log, (-1250, "99.99"))
    item = make_work_item(client, project=website, key="ACME-7")
    for number, on in enumerate(days(20)):
        make_time_log(
            admin, client, on=on, project=website, activity_type=design if number % 3 else code,
            seconds=1201 + 7 * number, billable=bool(number % 4), notes=f"Note {number} {NASTY}",
        )  # fmt: skip
    make_time_log(admin, client, work_item=item, seconds=40000, activity_type=code, notes="Long")
    return issued(admin, client)


def test_page_api_csv_xlsx_and_pdf_agree_to_the_cent(
    admin: Membership, statement: Statement, visit: Visit
) -> None:
    found = sheet(admin.workspace, statement)
    amounts = [str(line.amount) for line in found.lines]
    line_hours = [str(line.hours) for line in found.lines]
    assert len(amounts) == 5
    assert "-34.72" in amounts  # 1250 s at 99.99 is 34.71875
    total = str(sum(map(Decimal, amounts)))
    assert str(found.amount) == total

    said = Api(admin).get(f"settlement/statements/{statement.id}/").json()
    assert [one["amount"] for one in said["lines"]] == amounts
    assert [one["hours"] for one in said["lines"]] == line_hours
    assert (said["amount"], said["hours"]) == (total, str(found.hours))

    browser = visit(admin)
    page = browser.get(reverse("statement", args=[statement.id])).content.decode()
    shown = re.findall(r'<data class="money" value="([^"]+)"><span class="currency">USD</span>([^<]+)', page)
    plain = [text.replace("\u2212", "-").replace(",", "") for _, text in shown]
    assert [value for value, _ in shown] == plain
    assert plain[: len(amounts) + 1] == [*amounts, total]

    def download(format: str) -> bytes:
        answer = browser.get(reverse("statement-export", args=[statement.id]), {"format": format})
        by_api = Api(admin).get(f"settlement/statements/{statement.id}/export/", format=format)
        assert answer.status_code == by_api.status_code == 200
        if format != "xlsx":  # which notes when it was made
            assert answer.content == by_api.content
        return bytes(answer.content)

    rows = rows_of(download("csv"))
    assert [row["amount"] for row in rows if row["row"] == "line"] == amounts
    assert [row["hours"] for row in rows if row["row"] == "line"] == line_hours
    [sum_row] = [row for row in rows if row["row"] == "total"]
    assert (sum_row["amount"], sum_row["hours"]) == (total, str(found.hours))
    assert sum(int(row["seconds"]) for row in rows if row["row"] == "entry") == found.seconds

    book = cells(download("xlsx"), "Statement")
    head = next(number for number, row in enumerate(book) if row[0] == "Project")
    lines = book[head + 1 : head + 1 + len(amounts)]
    assert [f"{row[5]:.2f}" for row in lines] == amounts
    assert [f"{row[3]:.2f}" for row in lines] == line_hours
    last = book[head + 1 + len(amounts)]
    assert (last[0], f"{last[3]:.2f}", f"{last[5]:.2f}") == ("Total", str(found.hours), total)

    text = text_of(download("pdf")).replace(",", "")
    for amount in amounts:
        assert f" {amount} " in text
        assert f"USD {amount}" in text  # above its entries
    assert f"Total {found.hours} USD {total}" in text


def test_budgets_are_in_every_file(statement: Statement) -> None:
    with reported(statement) as report:
        [hours, money] = report.sheet.budgets
        rows = [row for row in rows_of(as_csv.write(report)) if row["row"] == "budget"]
        book = cells(xlsx.write(report), "Statement")
        text = text_of(pdf.write(report, Paper.A4)).replace(",", "")
    assert [(row["kind"], row["project"], row["hours"], row["amount"]) for row in rows] == [
        ("remaining before", hours["name"], hours["remaining_before"], ""),
        ("remaining after", hours["name"], hours["remaining_after"], ""),
        ("remaining before", money["name"], "", money["remaining_before"]),
        ("remaining after", money["name"], "", money["remaining_after"]),
    ]
    at = next(number for number, row in enumerate(book) if row[0] == "Budget")
    assert [f"{value:.2f}" for value in book[at + 1][3:6]] == [
        hours["available"], hours["remaining_before"], hours["remaining_after"],
    ]  # fmt: skip
    assert f"{hours['remaining_before']} h {hours['remaining_after']} h" in text
    assert f"USD {money['remaining_before']} USD {money['remaining_after']}" in text
    note = "Adjustments are not counted here: a budget is used by time as it was logged."
    assert note in text
    assert note in [row[0] for row in book]
    assert replace(report.sheet, lines=report.sheet.lines[:1]).budget_note == ""  # of time alone


def test_csv_runs_no_formula_and_keeps_numbers(admin: Membership) -> None:
    client = make_client(admin.workspace, "=cmd|' /C calc'!A0")
    project = make_project(client, "@project")
    kind = make_activity_type(admin.workspace, "+type", "10.00")
    for notes in ATTACKS:
        make_time_log(admin, client, notes=notes, project=project, activity_type=kind)
    make_time_log(admin, client, notes='Plain, with "quotes" and\nlines; and \'this')
    with tenant_scope(admin.workspace_id):
        admin.user.name = "-Ada"
        admin.user.save()
    with reported(draft(admin, client)) as report:
        content = as_csv.write(report)
    rows = rows_of(content)
    for row in rows:
        for name, value in row.items():
            if name in ("hours", "seconds", "rate", "amount"):
                assert value == "" or Decimal(value) >= 0
            else:
                assert not value.lstrip(" ").startswith(FORMULA), (name, value)
    entries = [row for row in rows if row["row"] == "entry"]
    assert [row["notes"] for row in entries] == [
        *(f"'{notes}" for notes in ATTACKS),
        'Plain, with "quotes" and\nlines; and \'this',
    ]
    assert {row["client"] for row in rows} == {"'=cmd|' /C calc'!A0"}
    assert {row["person"] for row in entries} == {"'-Ada"}


def test_csv_keeps_negative_numbers_numbers(statement: Statement) -> None:
    with reported(statement) as report:
        rows = rows_of(as_csv.write(report))
    [row] = [row for row in rows if row["row"] == "line" and row["kind"] == "adjustment"]
    assert (row["hours"], row["seconds"], row["amount"]) == ("-0.35", "-1250", "-34.72")


def test_xlsx_has_real_numbers_and_dates_and_no_formulas_or_links(admin: Membership) -> None:
    client = make_client(admin.workspace, "http://acme.example/")
    kind = make_activity_type(admin.workspace, "=A1", "10.50")
    for notes in (*ATTACKS, "http://evil.example/", "12345", "x" * 40_000, "\x07bell"):
        make_time_log(admin, client, notes=notes, activity_type=kind, seconds=4001)
    with reported(draft(admin, client)) as report:
        book = load_workbook(io.BytesIO(xlsx.write(report)))
    page = book["Entries"]
    assert page.freeze_panes == "A2"
    assert page.auto_filter.ref == f"A1:K{len(report.entries) + 1}"
    for row in page.iter_rows(min_row=2):
        day, _, _, what, _, notes, hours, seconds, rate, *_ = row
        assert (day.value, day.is_date) == (datetime(2026, 6, 1), True)  # noqa: DTZ001 - a cell has no zone
        assert (hours.value, seconds.value, rate.value) == (1.11, 4001, 10.5)
        assert [cell.data_type for cell in (hours, seconds, rate)] == ["n", "n", "n"]
        assert rate.number_format == '"USD" #,##0.00'
        assert (what.value, what.data_type) == ("=A1", "s") or what.data_type == "inlineStr"
        assert notes.data_type in ("s", "inlineStr")
        assert notes.hyperlink is None
        assert len(notes.value) <= xlsx.MOST_IN_A_CELL
    long = next(row[5].value for row in page.iter_rows(min_row=2) if row[5].value.startswith("xxx"))
    assert long.endswith(xlsx.CUT)


@pytest.mark.parametrize(
    ("currency", "seconds", "amount", "number_format"),
    [
        ("JPY", 1800, "4751", '"JPY" #,##0'),
        ("KWD", 1801, "4753.139", '"KWD" #,##0.000'),
        ("EUR", 1801, "4753.14", '"EUR" #,##0.00'),
    ],
)
def test_currencies_keep_their_decimals(
    visit: Visit, currency: str, seconds: int, amount: str, number_format: str
) -> None:
    admin = make_workspace(currency=currency)
    client = make_client(admin.workspace)
    make_time_log(
        admin, client, seconds=seconds, activity_type=make_activity_type(admin.workspace, rate="9501.00")
    )
    statement = issued(admin, client)
    with reported(statement) as report:
        [line] = [row for row in rows_of(as_csv.write(report)) if row["row"] == "line"]
        book = load_workbook(io.BytesIO(xlsx.write(report)))["Statement"]
        text = text_of(pdf.write(report, Paper.A4)).replace(",", "")
    assert line["amount"] == amount
    [cell] = [row[5] for row in book.iter_rows() if row[0].value == "Total"]
    assert (Decimal(str(cell.value)), cell.number_format) == (Decimal(amount), number_format)
    assert f"Total 0.50 {currency} {amount}" in text
    page = visit(admin).get(reverse("statement", args=[statement.id])).content.decode()
    assert f'value="{amount}"' in page
    assert Api(admin).get(f"settlement/statements/{statement.id}/").json()["amount"] == amount


# --- PDF -------------------------------------------------------------------------------------------------------------
def a_report(count: int, **values: Any) -> Report:
    """A statement that never was, with so many entries in two projects."""
    entries = [
        Entry(
            id=UUID(int=number), kind="time", source=UUID(int=number), part=0,
            spent_date=days(30)[number * 30 // count], owner_id=UUID(int=1), owner_name="Ingrid Solheim",
            project_id=UUID(int=1 + number % 2), project_name=f"Project {number % 2}",
            activity_type_id=UUID(int=9), activity_type_name="Design", work_item_key="",
            notes=f"Entry-{number} about the crew roster", seconds=900, rate=Decimal("100.00"), billable=True,
        )
        for number in range(count)
    ]  # fmt: skip
    report = Report(
        "Northlight", 12, StatementStatus.ISSUED, date(2026, 6, 1), date(2026, 6, 30), date(2026, 7, 1), None,
        Sheet.of("Acme", "EUR", lines_of(entries, "EUR")), entries,
    )  # fmt: skip
    return replace(report, **values)


def test_pdf_shows_what_was_typed_as_text_and_names_what_the_fonts_lack() -> None:
    report = a_report(1)
    [entry] = report.entries
    long = "Maximilian von Hohenstein-Oettingen"  # longer than its column
    entry = entry._replace(notes=NASTY, owner_name=long, work_item_key="ACME-7")
    report = replace(report, entries=[entry], sheet=replace(report.sheet, client="#Acme *Søn* 😀"))
    text = text_of(pdf.write(report, Paper.A4))
    named = NASTY.replace("😀", "⟨U+1F600 GRINNING FACE⟩").replace("日本", "⟨U+65E5⟩⟨U+672C⟩")
    assert f"Maximilian von Hohenstein-Oettingen: ACME-7 {named}" in text
    assert "#Acme *Søn* ⟨U+1F600 GRINNING FACE⟩" in text


def test_pdf_embeds_the_wheels_fonts_and_no_others() -> None:
    reader = PdfReader(io.BytesIO(pdf.write(a_report(3), Paper.A4)))
    names = set()
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor)
            names.add(str(font.get_object()["/BaseFont"]).partition("+")[2])
    assert names
    assert all(name.startswith(("LibertinusSerif", "NewCM", "DejaVuSansMono")) for name in names)


@pytest.mark.parametrize(("paper", "size"), [(Paper.A4, (595, 842)), (Paper.LETTER, (612, 792))])
def test_paper_and_page_numbers_with_heads_on_every_page(paper: Paper, size: tuple[int, int]) -> None:
    report = a_report(300)
    reader = PdfReader(io.BytesIO(pdf.write(report, paper)))
    assert reader.metadata is not None
    assert reader.metadata.title == "Statement 12, Acme"
    pages = [" ".join(page.extract_text().split()) for page in reader.pages]
    assert len(pages) > 5
    for number, (page, text) in enumerate(zip(reader.pages, pages, strict=True), 1):
        assert (round(page.mediabox.width), round(page.mediabox.height)) == size
        assert f"Page {number} of {len(pages)}" in text
        if number > 1:
            assert "Statement 12 Acme 2026-06-01 – 2026-06-30" in text
            assert "Date Hours Person Notes" in text
    whole = " ".join(pages)
    found = [int(one) for one in re.findall(r"Entry-(\d+) ", whole)]
    assert sorted(found) == list(range(300))
    assert found == [*range(0, 300, 2), *range(1, 300, 2)]  # by project, then by day
    assert whole.count("37.50 h EUR 3,750.00") == 2


def test_long_pdf_made_apart_is_the_one_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(40)
    here = pdf.write(report, Paper.A4)
    made = []
    monkeypatch.setattr(pdf, "MOST_HERE", 39)
    monkeypatch.setattr(
        pdf, "typeset_apart", lambda *args, **more: made.append(1) or typeset.typeset_apart(*args, **more)
    )
    assert pdf.write(report, Paper.A4) == here
    assert made == [1]


def test_lines_over_many_pages_repeat_their_head_and_sum_up() -> None:
    entries = [
        Entry(
            id=UUID(int=number), kind="time", source=UUID(int=number), part=0, spent_date=date(2026, 6, 1),
            owner_id=UUID(int=1), owner_name="Ada",
            project_id=UUID(int=number // 10 + 1), project_name=f"Project {number // 10:03}",
            activity_type_id=UUID(int=number), activity_type_name=f"Kind {number}", work_item_key="", notes="",
            seconds=3600, rate=Decimal("10.00"), billable=True,
        )
        for number in range(200)
    ]  # fmt: skip
    report = a_report(1, sheet=Sheet.of("Acme", "EUR", lines_of(entries, "EUR")), entries=entries)
    pages = [
        " ".join(page.extract_text().split())
        for page in PdfReader(io.BytesIO(pdf.write(report, Paper.A4))).pages
    ]
    heads = [page for page in pages if "Activity Hours Rate (EUR) Amount (EUR)" in page]
    assert len(heads) >= 4
    assert " ".join(pages).count("10.00 100.00 ") == 20  # of each project: hours, and what they come to
    assert "Total 200.00 EUR 2,000.00" in " ".join(pages)


def test_draft_and_void_say_so(admin: Membership) -> None:
    client = make_client(admin.workspace)
    make_time_log(admin, client)
    with reported(draft(admin, client)) as report:
        text = text_of(pdf.write(report, Paper.A4))
        assert "Draft statement" in text
        assert "Draft: it follows the time until it is issued." in text
        assert rows_of(as_csv.write(report))[0]["statement"] == "Draft statement"
    with tenant_scope(admin.workspace_id):
        Statement.objects.all().delete()
    with reported(void(admin, issued(admin, client))) as report:
        assert "Void: this statement no longer holds." in text_of(pdf.write(report, Paper.A4))
        assert ("Status", "Void") in [row[:2] for row in cells(xlsx.write(report), "Statement")]


def test_empty_draft_is_exported_too(admin: Membership) -> None:
    with reported(draft(admin, make_client(admin.workspace))) as report:
        assert "There is nothing on it" in text_of(pdf.write(report, Paper.A4))
        assert [row["row"] for row in rows_of(as_csv.write(report))] == ["total"]
        assert len(cells(xlsx.write(report), "Entries")) == 1


@pytest.mark.parametrize(
    ("zone", "paper"),
    [
        ("Europe/Oslo", Paper.A4),
        ("America/New_York", Paper.LETTER),
        ("UTC", Paper.A4),
        ("Asia/Tokyo", Paper.A4),
    ],
)
def test_usual_paper(zone: str, paper: Paper) -> None:
    assert usual_paper(make_workspace(timezone=zone).workspace) == paper


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Acme", "-acme-"), ("../../etc/passwd", "-etcpasswd-"), ('a"; x=\r\nSet-Cookie: y', "-a-x-set-cookie-y-"),
        ("日本", "-1-2026"), ("x" * 200, "-" + "x" * 40 + "-"),
    ],
)  # fmt: skip
def test_filenames_are_plain(admin: Membership, visit: Visit, name: str, part: str) -> None:
    client = make_client(admin.workspace, " ".join(name.split()))
    make_time_log(admin, client)
    one = issued(admin, client)
    answer = visit(admin).get(reverse("statement-export", args=[one.id]), {"format": "csv"})
    disposition = answer.headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="[a-z0-9-]+\.csv"', disposition)
    assert part in disposition
    assert (
        answer.headers["Cache-Control"].startswith("no-store") or "private" in answer.headers["Cache-Control"]
    )


@pytest.mark.parametrize("state", ["draft", "issued"])
@pytest.mark.parametrize("format", ["csv", "xlsx", "pdf"])
def test_files_take_as_many_queries_for_many_entries_as_for_one(
    admin: Membership, format: str, state: str
) -> None:
    def made(count: int) -> Statement:
        client: Client = make_client(admin.workspace)
        kind = make_activity_type(admin.workspace)
        for _ in range(count):
            make_time_log(admin, client, project=make_project(client), activity_type=kind)
        return issued(admin, client) if state == "issued" else draft(admin, client)

    api = Api(admin)

    def count(statement: Statement) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"settlement/statements/{statement.id}/export/", format=format).status_code == 200
        return len(queries)

    few, many = made(1), made(30)
    count(few)
    assert count(many) == count(few)
