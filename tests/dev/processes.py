"""Looking for what is left of a server or a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def processes_with(text: str) -> list[int]:
    """The living processes that have `text` in their command line or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = b"".join((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:  # it has just ended, or belongs to someone else
            continue
        if text.encode() in said:
            found.append(int(process.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
