"""The fonts inside the typst wheel, read from its library: which characters each has."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

import typst

MAGICS = (b"OTTO", b"\x00\x01\x00\x00")


@lru_cache(maxsize=1)
def covered() -> dict[str, set[int]]:
    """Font name -> code points, for every font that the library carries."""
    [library] = Path(typst.__file__).parent.glob("_typst*.so")
    data = library.read_bytes()
    fonts: dict[str, set[int]] = {}
    for magic in MAGICS:
        place = data.find(magic)
        while place >= 0:
            if tables := _tables(data, place):
                fonts[_name(data, *tables["name"])] = _characters(data, tables["cmap"][0])
            place = data.find(magic, place + 1)
    return fonts


def _tables(data: bytes, place: int) -> dict[str, tuple[int, int]] | None:
    """Tag -> (offset, length) of the font that may begin here; None where none does."""
    (count,) = struct.unpack_from(">H", data, place + 4)
    if not 4 <= count <= 64:
        return None
    found = {}
    for number in range(count):
        tag, _, offset, length = struct.unpack_from(">4sIII", data, place + 12 + 16 * number)
        if not all(32 <= one < 127 for one in tag) or place + offset + length > len(data):
            return None
        found[tag.decode()] = (place + offset, length)
    return found if {"cmap", "name", "head"} <= set(found) else None


def _name(data: bytes, place: int, length: int) -> str:
    _, count, storage = struct.unpack_from(">HHH", data, place)
    for number in range(count):
        platform, _, _, kind, size, offset = struct.unpack_from(">6H", data, place + 6 + 12 * number)
        if platform == 3 and kind == 4:
            start = place + storage + offset
            return data[start : start + size].decode("utf-16-be")
    raise AssertionError("A font without a name.")


def _characters(data: bytes, place: int) -> set[int]:
    _, count = struct.unpack_from(">HH", data, place)
    found: set[int] = set()
    for number in range(count):
        platform, _, offset = struct.unpack_from(">HHI", data, place + 4 + 8 * number)
        (format,) = struct.unpack_from(">H", data, place + offset)
        if format == 12:
            (groups,) = struct.unpack_from(">I", data, place + offset + 12)
            for group in range(groups):
                first, last, _ = struct.unpack_from(">III", data, place + offset + 16 + 12 * group)
                found.update(range(first, last + 1))
        elif format == 4 and platform in (0, 3):
            found |= _segments(data, place + offset)
    return found


def _segments(data: bytes, place: int) -> set[int]:
    """Of a character map in format 4."""
    count = struct.unpack_from(">H", data, place + 6)[0] // 2
    ends = struct.unpack_from(f">{count}H", data, place + 14)
    starts = struct.unpack_from(f">{count}H", data, place + 16 + 2 * count)
    deltas = struct.unpack_from(f">{count}H", data, place + 16 + 4 * count)
    table = place + 16 + 6 * count
    offsets = struct.unpack_from(f">{count}H", data, table)
    found = set()
    for number in range(count):
        for point in range(starts[number], ends[number] + 1):
            glyph = point + deltas[number] & 0xFFFF
            if offsets[number]:
                where = table + 2 * number + offsets[number] + 2 * (point - starts[number])
                (glyph,) = struct.unpack_from(">H", data, where)
            if glyph and point != 0xFFFF:
                found.add(point)
    return found
