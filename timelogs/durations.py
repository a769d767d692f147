"""Durations as people type them, in whole seconds. The preview in config/static/app.js reads by the same rules."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

_CLOCK = re.compile(r"([0-9]{0,3}):([0-5]?[0-9])(?::([0-5][0-9]))?")
_NUMBER = re.compile(r"([0-9]{1,3}(?:[.,][0-9]{1,4})?|[.,][0-9]{1,4}) ?(h|hours?|m|min|minutes?)?")
_WORDS = re.compile(r"([0-9]{1,3}) ?h(?:ours?)? ?([0-5]?[0-9]) ?(?:m|min|minutes?)?")


def parse(text: str) -> int | None:
    """Seconds of "1:30", "1:30:15", "1.5", "1,5 h", "90m" or "1h 30m", else None. A bare number is hours."""
    text = re.sub(r"\s+", " ", text.strip().lower())
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds
    if match := _NUMBER.fullmatch(text):
        unit = 60 if (match[2] or "h").startswith("m") else 3600
        number = Decimal(match[1].replace(",", "."))
        return int((number * unit).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    if match := _WORDS.fullmatch(text):
        return int(match[1]) * 3600 + int(match[2]) * 60
    return None


def clock(seconds: int) -> str:
    """Seconds as one would type them, exactly: "1:30", "1:30:15"."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}" + (f":{rest:02}" if rest else "")
