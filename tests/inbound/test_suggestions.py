"""Which work items are suggested for a proposal's notes, best first."""

from __future__ import annotations

from uuid import UUID

import pytest

from inbound.suggestions import Candidate, Candidates, Earlier, Why

KEYS = ["ACME-1", "ACME-12", "ACME-2", "BOLT/7", "x"]


def candidates(*pairs: tuple[str, str], done: str = "") -> Candidates:
    return Candidates(
        [Candidate(UUID(int=number), key, title, key == done) for number, (key, title) in enumerate(pairs)]
    )


def keys(found: Candidates, notes: str) -> list[tuple[str, float]]:
    return [(one.key, one.score) for one in found.suggest(notes)]


@pytest.mark.parametrize(
    ("notes", "named"),
    [
        ("ACME-12", ["ACME-12"]),
        ("acme-12 fix the header", ["ACME-12"]),
        ("fix (ACME-12), then rest", ["ACME-12"]),
        ("acme-12-fix-header", ["ACME-12"]),
        ("ACME-2 after ACME-1", ["ACME-2", "ACME-1"]),
        ("line\nBOLT/7.", ["BOLT/7"]),
        ("X", ["x"]),
        ("ACME-123", []),
        ("XACME-12", []),
        ("PRE-ACME-12", []),
        ("ACME-12.5", []),
        ("ACME-1-2", []),
        ("éACME-12", []),
        ("修正ACME-12の続き", ["ACME-12"]),
        ("xx exact x_", []),
        ("", []),
    ],
)
def test_key_named_as_a_whole_word_comes_first(notes: str, named: list[str]) -> None:
    found = candidates(*((key, f"zzz{number} qqq") for number, key in enumerate(KEYS)))
    assert [key for key, score in keys(found, notes) if score == 1.0] == named


def test_equal_title_then_likeness() -> None:
    found = candidates(
        ("A-1", "Header redesign"),
        ("A-2", "Redesign of the header and footer"),
        ("A-3", "Invoices"),
        ("A-4", "Header"),
    )
    assert keys(found, "  header   REDESIGN\nmore words here")[0] == ("A-1", 0.95)
    assert [key for key, _ in keys(found, "header redesign")][-1] != "A-3"
    assert "A-3" not in dict(keys(found, "header redesign"))
    assert keys(found, "A-3: header redesign")[0] == ("A-3", 1.0)
    assert keys(found, "completely unrelated words") == []


def test_scores_fall_and_five_are_enough() -> None:
    found = candidates(*((f"A-{number}", f"Landing page part {number}") for number in range(20)))
    scores = [score for _, score in keys(found, "landing page")]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 <= score <= 0.95 for score in scores)


def test_done_item_is_suggested_only_by_its_key() -> None:
    found = candidates(("A-1", "Header"), ("A-2", "Header"), done="A-2")
    assert [key for key, _ in keys(found, "Header")] == ["A-1"]
    assert keys(found, "A-2 Header")[0] == ("A-2", 1.0)


# --- What was accepted earlier ---------------------------------------------------------------------------------------
LOGO, HOSTING, NEWS, DONE = (UUID(int=number) for number in range(4))
ITEMS = (("A-1", "Logo"), ("A-2", "Hosting"), ("A-3", "Newsletter spring"), ("A-4", "Old site"))


@pytest.mark.parametrize(
    ("notes", "earlier", "expected"),
    [
        # The same words again: what they were put on.
        ("Weekly call", [(HOSTING, "Weekly call")], [("A-2", 0.85, Why.EARLIER)]),
        ("  weekly CALL!\nmore", [(HOSTING, "Weekly call\nother")], [("A-2", 0.85, Why.EARLIER)]),
        ("call, weekly", [(HOSTING, "Weekly call")], [("A-2", 0.85, Why.EARLIER)]),
        # The likelier one first; each work item once.
        (
            "Weekly call with Bo",
            [(LOGO, "Weekly calls"), (HOSTING, "Weekly call with Bo"), (LOGO, "Weekly call with Di")],
            [("A-2", 0.85, Why.EARLIER), ("A-1", 0.72, Why.EARLIER)],
        ),
        # One common word is not enough.
        ("Call", [(HOSTING, "Call with the printer about the spring campaign")], []),
        ("Weekly call", [(HOSTING, "Backup moved")], []),
        # A key beats a title, a title beats what was earlier.
        (
            "Logo (A-3)",
            [(HOSTING, "Logo (A-3)")],
            [("A-3", 1.0, Why.KEY), ("A-1", 0.9, Why.TITLE), ("A-2", 0.85, Why.EARLIER)],
        ),
        ("Logo", [(HOSTING, "Logo")], [("A-1", 0.95, Why.TITLE), ("A-2", 0.85, Why.EARLIER)]),
        ("Logo", [(LOGO, "Logo")], [("A-1", 0.95, Why.TITLE)]),
        # The same notes beat a title that they are only a little like.
        (
            "Spring cleaning",
            [(LOGO, "Spring cleaning")],
            [("A-1", 0.85, Why.EARLIER), ("A-3", 0.51, Why.TITLE)],
        ),
        # No work item of this client's open ones any more.
        ("Weekly call", [(DONE, "Weekly call"), (UUID(int=99), "Weekly call")], []),
        ("", [(LOGO, "")], []),
        ("...", [(LOGO, "...")], []),
    ],
)
def test_likeness_to_what_was_accepted_earlier(
    notes: str, earlier: list[tuple[UUID, str]], expected: list[tuple[str, float, Why]]
) -> None:
    found = candidates(*ITEMS, done="A-4").suggest(notes, [Earlier(*one) for one in earlier])
    assert [(one.key, one.score, one.why) for one in found] == expected
