"""Which work items a proposal may belong on, best first. Pure: texts in, scores out.

A key that the notes name beats a title that they begin with, that beats a title they are like, and at the same likeness
a title beats what the same person's time with like notes was accepted on before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from rapidfuzz import fuzz, process, utils

MOST = 5
KEY_NAMED, TITLE_EQUAL, MOST_LIKE, LEAST_LIKE = 1.0, 0.95, 0.9, 0.5
MOST_EARLIER = 0.85
# Scripts written without spaces (Thai to Khmer, kana, ideographs), and Hangul, part words by themselves.
LETTER = (
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u3040-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
LONGEST_LINE = 500  # characters of the notes' first line that are compared


class Why(StrEnum):
    """What a suggestion rests on."""

    KEY = "key"
    TITLE = "title"
    EARLIER = "earlier"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A work item of the proposal's client. A done one is suggested only where its key is named."""

    id: UUID
    key: str
    title: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class Earlier:
    """Notes of time that the same person spent for the same client, and the work item it was accepted on."""

    work_item: UUID
    notes: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """score: 1.0 where its key is named, 0.95 where its title is the notes' first line; by likeness 0.5 to 0.9 of its
    title, to 0.85 of notes accepted on it earlier.
    """

    work_item: UUID
    key: str
    title: str
    score: float
    why: Why


class Candidates:
    """The work items of one client, prepared once for all the notes of a page."""

    def __init__(self, items: Sequence[Candidate]) -> None:
        self.items = items
        self.open = [item for item in items if not item.done]
        self.by_id = {item.id: item for item in self.open}
        self.titles = [_plain(item.title) for item in self.open]

    def suggest(self, notes: str, earlier: Sequence[Earlier] = ()) -> list[Suggestion]:
        """At most five, best first, each work item once; keys in the order in which the notes name them."""
        found = [
            Suggestion(item.id, item.key, item.title, KEY_NAMED, Why.KEY)
            for _, item in sorted(self._named(notes), key=lambda pair: pair[0])
        ]
        line = _first_line(notes)
        if line:
            for title, likeness, index in _alike(line, self.titles, fuzz.token_set_ratio, MOST_LIKE):
                item = self.open[index]
                score = TITLE_EQUAL if title == line else likeness
                found.append(Suggestion(item.id, item.key, item.title, score, Why.TITLE))
            past = [one for one in earlier if one.work_item in self.by_id]
            lines = [_first_line(one.notes) for one in past]
            # By all the words, not by those in common: "Call" is little like "Call about the spring campaign".
            for _, likeness, index in _alike(line, lines, fuzz.token_sort_ratio, MOST_EARLIER, len(past)):
                item = self.by_id[past[index].work_item]
                found.append(Suggestion(item.id, item.key, item.title, likeness, Why.EARLIER))
        best: dict[UUID, Suggestion] = {}
        for one in sorted(found, key=lambda one: -one.score):
            best.setdefault(one.work_item, one)
        return list(best.values())[:MOST]

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


def _alike(
    line: str, texts: Sequence[str], scorer: Callable[..., float], most: float, limit: int = MOST
) -> list[tuple[str, float, int]]:
    """(text, score, index) of the texts like a line, likest first; a score of `most` where they are the same."""
    cutoff = 100 * LEAST_LIKE / most
    found = process.extract(line, texts, scorer=scorer, processor=None, score_cutoff=cutoff, limit=limit)
    return [(text, round(percent / 100 * most, 2), index) for text, percent, index in found]


def _first_line(notes: str) -> str:
    return _plain(notes.strip().partition("\n")[0][:LONGEST_LINE])


def _plain(text: str) -> str:
    """For comparing: case, punctuation and runs of space aside."""
    return " ".join(utils.default_process(text).split())


def _whole_word(key: str) -> str:
    """ACME-12, but not in XACME-12, PRE-ACME-12, ACME-123 or ACME-12.5; yes in ACME-12-fix-header."""
    return rf"(?<!{LETTER})(?<!{LETTER}-){re.escape(key)}(?!{LETTER})(?![-.]\d)"
