"""How the server's log is written: an event a line, in UTC, whatever stands in it."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

# What would begin another line, or move a terminal's cursor: C0, DEL, C1, and Unicode's own ends of lines.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
CONTROLS |= {0x2028: "\\u2028", 0x2029: "\\u2029"}


class Formatter(logging.Formatter):
    """Escapes what could pass for another event: addresses and names that people sent are in these lines.

    A traceback has lines of its own; each is indented.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(CONTROLS)

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        found: Any = super().formatException(ei)
        return "\n".join(f"\t{line}" for line in found.splitlines())
