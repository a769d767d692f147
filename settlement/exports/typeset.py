"""Sets a document by typst, here or in a process of its own.

Setting ten thousand entries takes some 700 MB, which an allocator does not give back: a web process would keep them. So
a long document is set by `python -m settlement.exports.typeset`, which ends with it. This module imports nothing of
ours: that process is up in a moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import typst

TEMPLATE = Path(__file__).with_name("statement.typ")
ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120


def typeset(data: dict[str, Any], *, format: Any = "pdf", tags: bool = True, **options: Any) -> list[bytes]:
    """The document that the template makes of `data`: one PDF, or a PNG a page. The same data is the same file.

    Only the fonts inside typst's wheel are used, wherever it runs. tags: for screen readers.
    """
    return _typeset(json.dumps(data, ensure_ascii=False), format=format, pdf_tags=tags, **options)


def typeset_apart(data: dict[str, Any], *, tags: bool = True) -> bytes:
    """The PDF, set by a process of its own. Raises CalledProcessError, TimeoutExpired."""
    done = subprocess.run(
        [sys.executable, "-m", "settlement.exports.typeset"],
        input=f"{'tags' if tags else ''}\n{json.dumps(data, ensure_ascii=False)}".encode(),
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=True,
        cwd=ROOT,
    )
    return done.stdout


def _typeset(data: str, *, format: Any = "pdf", **options: Any) -> list[bytes]:
    compiler = typst.Compiler(
        TEMPLATE.read_bytes(), font_paths=[], ignore_system_fonts=True, sys_inputs={"data": data}
    )
    made: Any = compiler.compile(format=format, timestamp=0, **options)
    return list(made) if isinstance(made, list) else [made]


if __name__ == "__main__":
    wanted, _, whole = sys.stdin.buffer.read().decode().partition("\n")
    sys.stdout.buffer.write(_typeset(whole, pdf_tags=bool(wanted))[0])
