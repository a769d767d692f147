"""Which work items a proposal may belong on, best first. Pure: texts in, scores out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from rapidfuzz import fuzz, process, utils

MOST = 5
KEY_NAMED, TITLE_EQUAL, MOST_LIKE, LEAST_LIKE = 1.0, 0.95, 0.9, 0.5
# Scripts written without spaces (Thai to Khmer, kana, ideographs), and Hangul, part words by themselves.
LETTER = (
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u3040-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
LONGEST_LINE = 500  # characters of the notes' first line that are compared with titles


@dataclass(frozen=True, slots=True)
class Candidate:
    """A work item of the proposal's client. A done one is suggested only where its key is named."""

    id: UUID
    key: str
    title: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """score: 1.0 where its key is named, 0.95 where its title is the notes' first line, else 0.5 to 0.9 by likeness."""

    work_item: UUID
    key: str
    title: str
    score: float


class Candidates:
    """The work items of one client, prepared once for all the notes of a page."""

    def __init__(self, items: Sequence[Candidate]) -> None:
        self.items = items
        self.open = [item for item in items if not item.done]
        self.titles = [_plain(item.title) for item in self.open]

    def suggest(self, notes: str) -> list[Suggestion]:
        """At most five, best first; keys in the order in which the notes name them."""
        found: dict[UUID, Suggestion] = {}
        for _, item in sorted(self._named(notes), key=lambda pair: pair[0]):
            found[item.id] = Suggestion(item.id, item.key, item.title, KEY_NAMED)
        line = _plain(notes.strip().partition("\n")[0][:LONGEST_LINE])
        if line:
            like = process.extract(
                line,
                self.titles,
                scorer=fuzz.token_set_ratio,
                processor=None,
                score_cutoff=100 * LEAST_LIKE / MOST_LIKE,
                limit=MOST,
            )
            for title, percent, index in like:
                item = self.open[index]
                score = TITLE_EQUAL if title == line else round(percent / 100 * MOST_LIKE, 2)
                found.setdefault(item.id, Suggestion(item.id, item.key, item.title, score))
        return sorted(found.values(), key=lambda one: -one.score)[:MOST]

    def _named(self, notes: str) -> list[tuple[int, Candidate]]:
        """Work items whose key stands in the notes as a whole word, with where."""
        text = notes.upper()
        named = []
        for item in self.items:
            key = item.key.upper()
            # The plain search first: it settles nearly all of them, and a pattern each would be slow.
            if key in text and (place := re.search(_whole_word(key), text)):
                named.append((place.start(), item))
        return named


def _plain(text: str) -> str:
    """For comparing: case, punctuation and runs of space aside."""
    return " ".join(utils.default_process(text).split())


def _whole_word(key: str) -> str:
    """ACME-12, but not in XACME-12, PRE-ACME-12, ACME-123 or ACME-12.5; yes in ACME-12-fix-header."""
    return rf"(?<!{LETTER})(?<!{LETTER}-){re.escape(key)}(?!{LETTER})(?![-.]\d)"
