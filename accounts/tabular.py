"""Text for spreadsheets: CSV whose cells are text and nothing else, whatever people wrote into them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

# A program that opens the file takes a cell that begins so for a formula. The quote before it says: text.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(value: Any) -> str:
    """A cell's text: nothing for None, true and false, ISO dates; numbers as they are, other text never a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    text = str(value)
    if isinstance(value, str) and text.lstrip(" ").startswith(FORMULA):
        return f"'{text}"
    return text


def csv_line(values: Sequence[Any]) -> str:
    """One line of CSV (RFC 4180), its end included."""
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(value) for value in values])
    return line.getvalue()
