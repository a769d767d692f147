"""What the PDF's fonts have, against the fonts themselves; and how the rest is shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
import typst
from hypothesis import given
from hypothesis import strategies as st

from settlement.exports.glyphs import COVERED, INVISIBLE, RANGES, printable, substitute
from tests.settlement.fonts import covered


def text_fonts() -> set[int]:
    return set().union(*(points for name, points in covered().items() if "Math" not in name))


def test_table_is_what_the_wheels_fonts_have() -> None:
    """Private use areas and controls aside. After a new typst: write RANGES anew where this fails."""
    fonts = {
        point
        for point in text_fonts()
        if point >= 0x20
        and not 0x7F <= point < 0xA0
        and not 0xE000 <= point < 0xF900
        and point < 0xF0000
        and point != 0xFEFF
    }
    assert {ord(one) for one in COVERED} == fonts
    assert len(RANGES.split()) < 300


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x180, 0x24F), (0x1E00, 0x1EFF),  # Latin
        (0x300, 0x36F),  # accents
        (0x370, 0x3FF), (0x1F00, 0x1FFF),  # Greek
        (0x400, 0x4FF),  # Cyrillic
        (0x2010, 0x2027), (0x20A0, 0x20C0),  # dashes, quotes, currencies
    ],
)  # fmt: skip
def test_scripts_are_covered_whole(first: int, last: int) -> None:
    points = [chr(point) for point in range(first, last + 1) if unicodedata.category(chr(point)) != "Cn"]
    assert [one for one in points if one not in COVERED] == []


def test_typst_itself_finds_a_glyph_for_each_and_none_for_the_rest() -> None:
    """PDF/A refuses text without a glyph."""
    fonts = b'#set text(font: ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono"))'
    source = fonts + b'\n#json(bytes(sys.inputs.t)).join(" ")'

    def compile(texts: list[str]) -> None:
        typst.compile(
            source, ignore_system_fonts=True, sys_inputs={"t": json.dumps(texts)}, pdf_standards="a-2b"
        )

    compile(sorted(COVERED))
    for one in ("😀", "日", "ひ"):
        assert one not in COVERED
        with pytest.raises(typst.TypstError):
            compile([one])
        compile([printable(one)])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Łódź, Ελληνικά, Привіт", "Łódź, Ελληνικά, Привіт"),
        ("e\u0301", "é"),
        ("ok 😀!", "ok ⟨U+1F600 GRINNING FACE⟩!"),
        ("日本", "⟨U+65E5⟩⟨U+672C⟩"),
        ("한", "⟨U+D55C HANGUL SYLLABLE HAN⟩"),
        ("👨‍👩‍👧", "⟨U+1F468 MAN⟩⟨U+1F469 WOMAN⟩⟨U+1F467 GIRL⟩"),
        ("❤️", "❤"),
        ("a\tb\r\nc\u2028d", "a b\nc\nd"),
        ("\x07\x1b[0m", "⟨U+0007⟩⟨U+001B⟩[0m"),
        ("\u202egnp.exe", "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩gnp.exe"),
        ("x" * 30, "xxxxxxxxxx\u200bxxxxxxxxxx\u200bxxxxxxxxxx"),
        ("", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_names_are_cut_at_a_word() -> None:
    assert substitute("🧑🏽"[1]) == "⟨U+1F3FD EMOJI MODIFIER FITZPATRICK…⟩"


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_nothing_unprintable_is_left_and_nothing_visible_is_dropped(text: str) -> None:
    shown = printable(text)
    assert {one for one in shown if one not in COVERED} <= {"\n", "\u200b"}
    for one in unicodedata.normalize("NFC", INVISIBLE.sub("", text)):
        if one.isprintable() and one != " ":
            plain = shown.replace("\u200b", "")
            assert one in plain or substitute(one) in plain


def test_every_character_there_is_has_words() -> None:
    for point in range(0x20, sys.maxunicode + 1, 97):
        if not 0xD800 <= point < 0xE000:
            words = substitute(chr(point))
            assert words.isprintable()
            assert all(one in COVERED for one in words)
