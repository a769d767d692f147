"""Match by name: which of our clients, projects or activity types a Harvest one plainly is. Pure.

Two names match exactly when they are equal with case, accents, punctuation, spaces and a leading project code
aside; they match nearly when only a legal form ("Ltd"), the order of words, or a slip of the pen in a long
word sets them apart. A suggestion is made where one target is the plain choice for a source *and* the source
for that target: where two would do, none is suggested. So each side is suggested once at most, and swapping
the sides changes nothing.

Numbers are never slips: "Phase 1" is not "Phase 2", and ACME-1 is not ACME-2.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Id: TypeAlias = Hashable
Rank: TypeAlias = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A name to match. code: a project's, "" without. parent: a project's client's name, "" to leave it
    aside; projects whose clients' names plainly differ are not matched.
    """

    id: Id
    name: str
    code: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """score: 1.0 for equal names, 0.80 to 0.95 for near ones."""

    source_id: Id
    target_id: Id
    score: float


def suggest(sources: Sequence[Named], targets: Sequence[Named]) -> list[Suggestion]:
    """The plain pairs among sources and targets that are both still unmapped, in the order of the sources."""
    left, right = [_Form(each) for each in sources], [_Form(each) for each in targets]
    pairs = {source: (target, 1.0) for source, target in _plain(left, right, _Form.exact_keys, _exact)}
    taken = {target for target, _ in pairs.values()}
    rest = [form for form in left if form not in pairs], [form for form in right if form not in taken]
    for source, target in _plain(*rest, _Form.near_keys, _near):
        pairs[source] = (target, _score(source, target))
    return [
        Suggestion(source.named.id, pairs[source][0].named.id, pairs[source][1])
        for source in left
        if source in pairs
    ]


class _Form:
    """A name taken apart. Compared by identity: two rows may have one name."""

    def __init__(self, named: Named) -> None:
        self.named = named
        words = _words(named.name)
        self.full = "".join(words)
        self.mark, self.words = _without_code(named, words)  # the code before the name, or else its own
        self.bare = "".join(self.words)
        self.coded = "".join(_words(named.code)) + self.full if named.code else self.full
        self.parent = _Form(Named(None, named.parent)) if named.parent else None

    def exact_keys(self) -> Iterable[str]:
        return {self.full, self.bare, self.coded} - {""}

    def near_keys(self) -> Iterable[str]:
        """The initials: legal forms aside, near names have equal ones."""
        return {"".join(sorted(word[0] for word in self.core))} - {""}

    @cached_property
    def core(self) -> tuple[str, ...]:
        """The words without the legal form; all of them, where it is nothing else."""
        words = list(self.words)
        while words and words[-1] in _LEGAL_FORMS:
            words.pop()
        while words and words[0] in _LEADING_LEGAL_FORMS:
            words.pop(0)
        return tuple(words or self.words)

    @cached_property
    def legal_form(self) -> frozenset[str]:
        return frozenset(self.words) - frozenset(self.core)

    @cached_property
    def sorted_core(self) -> tuple[str, ...]:
        return tuple(sorted(self.core))


def _plain(
    sources: Sequence[_Form],
    targets: Sequence[_Form],
    keys: Callable[[_Form], Iterable[str]],
    rank: Callable[[_Form, _Form], Rank | None],
) -> list[tuple[_Form, _Form]]:
    """Pairs that are each other's one best: rank None is no match, the greatest is best, and a tie is
    nobody's.

    keys: matching forms share one at least, so that not every pair need be looked at.
    """
    by_key: defaultdict[str, list[_Form]] = defaultdict(list)
    for target in targets:
        for key in keys(target):
            by_key[key].append(target)
    best_of_source: dict[_Form, tuple[Rank, _Form | None]] = {}
    best_of_target: dict[_Form, tuple[Rank, _Form | None]] = {}
    for source in sources:
        candidates = dict.fromkeys(target for key in keys(source) for target in by_key.get(key, ()))
        for target in candidates:
            if (value := rank(source, target)) is not None:
                _offer(best_of_source, source, value, target)
                _offer(best_of_target, target, value, source)
    return [
        (source, target)
        for source, (_, target) in best_of_source.items()
        if target is not None and best_of_target[target][1] is source
    ]


def _offer(best: dict[_Form, tuple[Rank, _Form | None]], form: _Form, rank: Rank, other: _Form) -> None:
    held = best.get(form)
    if held is None or rank > held[0]:
        best[form] = (rank, other)
    elif rank == held[0]:
        best[form] = (rank, None)


def _exact(source: _Form, target: _Form) -> Rank | None:
    """What speaks for a pair of equal names, strongest first; it decides between several of one name."""
    whole = source.full == target.full
    same_code = source.mark == target.mark != ""
    free = not (source.mark and target.mark)  # a code on one side only is set aside
    equal = (
        whole
        or source.full == target.coded
        or source.coded == target.full
        or (source.bare == target.bare and (same_code or free))
    )
    if not equal or not _akin(source.parent, target.parent):
        return None
    same_parent = bool(source.parent and target.parent and source.parent.full == target.parent.full)
    spelt_alike = source.named.name.strip() == target.named.name.strip()
    return same_parent, same_code, whole, spelt_alike


def _near(source: _Form, target: _Form) -> Rank | None:
    """No rank but being near at all: where two are near, neither is plain."""
    if source.mark and target.mark and source.mark != target.mark:
        return None
    return () if _slips(source, target) is not None and _akin(source.parent, target.parent) else None


def _akin(one: _Form | None, other: _Form | None) -> bool:
    """Whether two clients' names can be the same one's, as far as they are known."""
    return one is None or other is None or one.full == other.full or _slips(one, other) is not None


def _slips(source: _Form, target: _Form) -> int | None:
    """How many words differ by one slip, at most two; None where the names differ by more."""
    if source.legal_form and target.legal_form and source.legal_form != target.legal_form:
        return None  # Acme Ltd and Acme GmbH are two companies
    one, other = source.sorted_core, target.sorted_core
    if len(one) != len(other):
        return None
    slips = 0
    for ours, theirs in zip(one, other, strict=True):
        if ours != theirs:
            slips += 1
            if slips > 2 or not _one_slip(ours, theirs):
                return None
    return slips


def _score(source: _Form, target: _Form) -> float:
    slips = _slips(source, target) or 0
    reordered = slips == 0 and source.core != target.core
    return round(0.95 - 0.05 * slips - 0.05 * reordered, 2)


def _one_slip(one: str, other: str) -> bool:
    """Whether one letter is missing, added, wrong or swapped with its neighbour in an alphabetic word of five
    or more.

    The first letter counts as written, and shorter words as meant: UI is not UX. Ideographs stand for words,
    so among them a different one is a different name.
    """
    if one[0] != other[0] or min(len(one), len(other)) < 5 or abs(len(one) - len(other)) > 1:
        return False
    if not (one.isalpha() and other.isalpha()) or max(one + other) >= _NO_ALPHABET_FROM:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


_NO_ALPHABET_FROM = "\u0e00"  # Thai and beyond; Latin letters beyond it have lost their accents by then

# Of companies, as they are left out in speech: at the end of a name, or before it.
_FORMS = """
    ab ag aps as asa bv co company corp corporation doo gmbh inc incorporated kft kg kk limited llc llp ltd mbh nv
    ohg oy oyj plc pte pty sa sarl sas se sl spa srl sro ug ооо ао зао еоод αε επε 株式会社 有限公司
"""
_LEGAL_FORMS = frozenset(_FORMS.split())
_LEADING_LEGAL_FORMS = frozenset({"ооо", "ао", "зао", "株式会社"})

_SIGNS = str.maketrans(
    {
        "&": " and ", "+": " and ", "™": None, "®": None, "©": None, "'": None, "’": None, "‘": None, "ʼ": None,
        "`": None, "´": None, "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
        "ħ": "h",
    }
)  # fmt: skip
_INITIALS = re.compile(r"(?<![^\W_])([^\W\d_])[./]\s?(?=[^\W\d_](?![^\W_]))")  # S.A. is SA, A/S is AS
_ACCENTS = re.compile("[\u0300-\u036f]")  # those of alphabets; the marks of other scripts are letters

# A code before a name: [ACME-1] or (ACME-1) or [ACME]; ACME-1 or 24-017; ACME1 or 1001 where a dash or colon
# follows.
_LEADING_CODE = re.compile(
    r"\s*(?:"
    r"[\[(]\s*(?P<enclosed>(?=[^\])]*\d)[^\])]{1,24}|[A-Z]{2,12})\s*[\])][\s:|–—-]*"
    r"|(?P<hyphened>[^\W_]{1,12}[-_.]\d{1,8}[a-z]?)(?=[\s:|–—-])[\s:|–—-]*"
    r"|(?P<set_off>(?=\w*\d)\w{1,12})(?:\s+[-–—|]|:)\s+"
    r")(?=\S)"
)


def _words(text: str) -> list[str]:
    """The words of a text, with case, accents and punctuation aside."""
    if not text.isascii():
        text = text.translate(_SIGNS)
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
        text = unicodedata.normalize("NFC", text)
    text = _INITIALS.sub(r"\1", text.casefold().translate(_SIGNS))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text).split()


def _without_code(named: Named, words: list[str]) -> tuple[str, list[str]]:
    """The code that a name begins with, or else the one beside it, and the words after it.

    A code is compared by its letters and digits: ACME-1 is ACME1.
    """
    own = "".join(_words(named.code))
    for count in range(1, min(4, len(words))):
        if own and "".join(words[:count]) == own:
            return own, words[count:]
    if found := _LEADING_CODE.match(named.name):
        rest = _words(named.name[found.end() :])
        if rest:
            return "".join(_words(found["enclosed"] or found["hyphened"] or found["set_off"])), rest
    return own, words
