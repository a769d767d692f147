"""Which characters the PDF's fonts have, and how the others are shown.

The fonts are those inside the typst wheel (Libertinus Serif, New Computer Modern, DejaVu Sans Mono), so a PDF looks
the same wherever it is made: Latin with all accents, Greek, Cyrillic, Hebrew, phonetics, arrows, mathematics. `RANGES`
is what they cover together, private use areas aside; a test reads it from the wheel again.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

RANGES = """
20-7E A0-377 37A-37F 384-38A 38C 38E-3A1 3A3-4FF 510-513 51A-51D 531-58F 591-5C7 5D0-5EB 5EF-5F5 5F7 606-607
609-60C 615 61B 61F 621-63A 640-655 65A 660-66D 674 679-67B 67E-680 683-684 686-687 691 698 6A4 6A9 6AF 6BE 6CC
6F0-6F9 E3F E81-E82 E84 E87-E88 E8A E8D E94-E97 E99-E9F EA1-EA3 EA5 EA7 EAA-EAB EAD-EB9 EBB-EBC EC8-ECD
10D0-10FF 13A0-13FD 1AB0-1ACE 1D00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D
1F80-1FB4 1FB6-1FC4 1FC6-1FD3 1FD6-1FDB 1FDD-1FEF 1FF2-1FF4 1FF6-1FFE 2000-2027 2029 202F-2037 2039-2040 2042
2044-204B 204F 2052 2054 205F 2070-2071 2074-208E 2090-209C 20A0-20C0 20D0-20F0 2100-2103 2105-2106 2109
210C-210F 2111 2113 2115-2117 2119-211A 211C-211E 2120 2122 2124 2126-2127 212A-212B 212E 2132 2135-2139 2148
214F-2151 2153-2184 2189 2190-222E 2234-223D 2241-226B 226D-228B 228D-22A6 22B2-22B8 22C2-22C6 22CD-22D1
22DA-22E9 22EE-22EF 2300-2306 2308-2315 2318-2319 231C-2322 2325-232B 2335-237A 237D 2380-2383 2388-238B 2395
239B-23AE 23CE-23CF 23D3 2422-2423 2460-262F 2638-268B 2690-269C 26A0-26A7 26AC-26B2 2701-2704 2706-2709
270C-2727 2729-274B 274D 274F-2752 2756 2758-275E 2761-277F 2794 2798-27AF 27B1-27BF 27C2 27C5-27C6 27DC 27E0
27E6-27EB 27F5-27F7 2800-28FF 2987-2988 2997-2998 29EB 29FA-29FB 2A00 2A2F 2A6A-2A6B 2B05-2B0D 2B12-2B1A
2C60-2CF3 2CF9-2CFF 2E02-2E05 2E08-2E0A 2E17-2E18 2E1F 2E22-2E25 2E2E 301A-301B A46A-A46B A640-A641 A648-A649
A656-A657 A708-A716 A71B-A727 A72D A730 A735 A765 A789-A78E A790-A791 A793 A7AA A7F8-A7F9 AB52 AB66 AB70-ABBF
FB00-FB06 FB13-FB17 FB1D-FB4F FB52-FB81 FB8A-FB95 FB9E-FB9F FBAA-FBAD FBE8-FBE9 FBFC-FBFF FE20-FE2F FE66
FE70-FE74 FE76-FEFC FFF9-FFFD 10140-1018E 102E0-102FB 1D106-1D107 1D55A 1D670-1D6A3 1D703 1D7F6-1D7FF 1F12F
"""
COVERED = frozenset(
    chr(point)
    for first, _, last in (part.partition("-") for part in RANGES.split())
    for point in range(int(first, 16), int(last or first, 16) + 1)
)
# What joins, varies or hints and has no look of its own: joiners, variation selectors, soft hyphens, byte order marks.
INVISIBLE = re.compile("[\u00ad\u034f\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
MOST_OF_A_NAME = 32
# A word of this many characters gets places where it may be broken.
LONG_WORD = re.compile(r"\S{30,}")


@lru_cache(maxsize=8192)
def substitute(character: str) -> str:
    """A character in words: "⟨U+1F600 GRINNING FACE⟩"; by its code alone where its name says no more ("⟨U+65E5⟩")."""
    code = f"{ord(character):04X}"
    name = unicodedata.name(character, "")
    if name.endswith(code):
        name = ""
    if len(name) > MOST_OF_A_NAME:
        name = name[:MOST_OF_A_NAME].rsplit(" ", 1)[0] + "…"
    return f"⟨U+{code} {name}⟩" if name else f"⟨U+{code}⟩"


def printable(text: str) -> str:
    """The text with nothing in it that the fonts lack: such characters are named, never dropped.

    Line ends of all kinds become "\\n", tabs a space; letters and their accents are composed where that is possible.
    Long words may be broken (U+200B says where), so that an address does not leave its column.
    """
    if text.isascii() and text.isprintable():
        return _breakable(text)
    text = unicodedata.normalize("NFC", INVISIBLE.sub("", text.replace("\t", " ")))
    text = "\n".join(text.splitlines())
    return _breakable("".join(one if one in COVERED or one == "\n" else substitute(one) for one in text))


def _breakable(text: str) -> str:
    return LONG_WORD.sub(lambda found: "\u200b".join(re.findall(r".{1,10}", found[0])), text)
