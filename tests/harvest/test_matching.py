"""Match by name: what is plainly the same, what only looks like it, and what must hold for any names."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest.matching import Named, Suggestion, suggest


def score(source: Named | str, target: Named | str) -> float | None:
    """The score of one source against one target, None where it is not suggested."""
    one = source if isinstance(source, Named) else Named("s", source)
    other = target if isinstance(target, Named) else Named("t", target)
    found = suggest([one], [other])
    return found[0].score if found else None


def pairs(sources: list[str], targets: list[str]) -> set[tuple[str, str]]:
    found = suggest([Named(name, name) for name in sources], [Named(name, name) for name in targets])
    return {(str(each.source_id), str(each.target_id)) for each in found}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("Website", "Website"),
        ("WEBSITE", "website"),
        ("  Web site ", "Website"),
        ("Café Müller", "cafe muller"),
        ("Cafe\u0301 Noir", "Café Noir"),
        ("Straße", "STRASSE"),
        ("Łódź Søren Æther", "Lodz Soren Aether"),
        ("Web-Site: Relaunch!", "Website (relaunch)"),
        ("Ben's Bakery", "Bens Bakery"),
        ("Ben’s Bakery", "Ben's Bakery"),
        ("Smith & Sons", "Smith and Sons"),
        ("Foo S.A.", "Foo SA"),
        ("Ａｃｍｅ", "Acme"),
        # a leading code
        ("[ACME-1] Website", "Website"),
        ("ACME-1 Website", "Website"),
        ("ACME1 - Website", "Website"),
        ("(24-017) Website", "Website"),
        ("1001: Website", "Website"),
        ("[ACME] Website", "Website"),
        ("[ACME-1] Website", "ACME1 - Website"),
        ("acme-1 Website", "[ACME 1] Website"),
        # other scripts
        ("Αθήνα", "ΑΘΗΝΑ"),
        ("Йога Студия", "йога студия"),
        ("東京支社", "東京支社"),
        ("한국 지사", "한국지사"),
        ("हिन्दी अनुवाद", "हिन्दी  अनुवाद"),
        ("ออกแบบ", "ออกแบบ"),
        ("[ACME-1] Ιστότοπος", "ιστοτοπος"),
    ],
)
def test_equal_names_score_one(source: str, target: str) -> None:
    assert score(source, target) == 1.0
    assert score(target, source) == 1.0


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Northlight Ltd", "Northlight", 0.95),
        ("Northlight GmbH & Co. KG", "Northlight GmbH", None),
        ("Northlight, Inc.", "Northlight", 0.95),
        ("ООО Ромашка", "Ромашка", 0.95),
        ("Nortlight", "Northlight", 0.9),
        ("Northligth", "Northlight", 0.9),
        ("Northlightt", "Northlight", 0.9),
        ("Northlixht", "Northlight", 0.9),
        ("Nortlight Ltd", "Northlight", 0.9),
        ("Markting Reserch", "Marketing Research", 0.85),
        ("Markting Reserch Desgin", "Marketing Research Design", None),
        ("Research & Design", "Design & Research", 0.9),
        ("[ACME-1] Markting", "Marketing", 0.9),
        ("Διαφημιση Αθηνων", "Διαφήμιση Αθηνών", 1.0),
        ("Κατασκευη", "Κατασκευη Α.Ε.", 0.95),
        # what only looks alike
        ("Phase 1", "Phase 2", None),
        ("Sprint 12", "Sprint 13", None),
        ("Website 2025", "Website 2026", None),
        ("ACME-1 Website", "ACME-2 Website", None),
        ("[ACME-1] Website", "[GLOB-1] Website", None),
        ("Design UI", "Design UX", None),
        ("Team East", "Team West", None),
        ("Inbound", "Unbound", None),
        ("Unpaid leave", "Paid leave", None),
        ("Billable", "Non-billable", None),
        ("Internal meetings", "External meetings", None),
        ("Ad design", "Design", None),
        ("Co-design", "Design", None),
        ("Acme Ltd", "Acme GmbH", None),
        ("Acme", "Acme Europe", None),
        ("東京本社開発部", "東京支社開発部", None),
        ("がっこう", "かっこう", None),
        ("दिन", "दान", None),
        ("C++", "C", None),
        ("***", "---", None),
        ("", "", None),
        ("ACME-1", "ACME-2", None),
        ("Website", "Shop", None),
    ],
)
def test_near_names(source: str, target: str, expected: float | None) -> None:
    assert score(source, target) == expected
    assert score(target, source) == expected


@pytest.mark.parametrize(
    ("sources", "targets", "expected"),
    [
        (["A", "B", "C"], ["c", "a", "d"], {("A", "a"), ("C", "c")}),
        # an equal name goes before a near one
        (["Northlight", "Northlight Ltd"], ["Northlight"], {("Northlight", "Northlight")}),
        (["Acme Ltd", "Acme"], ["Acme", "Acme GmbH"], {("Acme", "Acme")}),
        # the same spelling goes before an equal one
        (["Cafe", "Café"], ["Café", "Cafe"], {("Cafe", "Cafe"), ("Café", "Café")}),
        # two that would do: none
        (["Website"], ["[A-1] Website", "[B-1] Website"], set()),
        (["[A-1] Website", "[B-1] Website"], ["Website"], set()),
        (["website"], ["Website", "[B-1] Website"], {("website", "Website")}),
        (["Q-1 Website", "Website"], ["Website"], {("Website", "Website")}),
        (["Nortlight"], ["Northlight", "Nortlights"], set()),
        # what an equal pair leaves over is plain
        (
            ["Northlight", "Northlights"],
            ["Northlights", "Northlight Ltd"],
            {("Northlights", "Northlights"), ("Northlight", "Northlight Ltd")},
        ),
        # codes tell projects of one name apart
        (
            ["[A-1] Website", "[B-1] Website"],
            ["B1 - Website", "A1 - Website"],
            {("[A-1] Website", "A1 - Website"), ("[B-1] Website", "B1 - Website")},
        ),
        ([], ["A"], set()),
        (["A"], [], set()),
    ],
)
def test_several_names(sources: list[str], targets: list[str], expected: set[tuple[str, str]]) -> None:
    assert pairs(sources, targets) == expected
    assert pairs(targets, sources) == {(target, source) for source, target in expected}


def test_two_rows_of_one_name_are_told_apart_by_nothing() -> None:
    assert suggest([Named(1, "Website"), Named(2, "Website")], [Named("t", "Website")]) == []
    assert suggest([Named(1, "Website")], [Named("t", "Website"), Named("u", "Website")]) == []


def test_codes_beside_the_names_tell_them_apart() -> None:
    sources = [Named(1, "Website", "ACME-1"), Named(2, "Website", "GLOB-1")]
    targets = [Named("g", "Website", "glob1"), Named("a", "Website", "acme1"), Named("n", "Website")]
    assert suggest(sources, targets) == [Suggestion(1, "a", 1.0), Suggestion(2, "g", 1.0)]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (Named(1, "WEB Relaunch"), Named("t", "Relaunch", "WEB"), 1.0),
        (Named(1, "Relaunch", "WEB"), Named("t", "WEB - Relaunch", "WEB"), 1.0),
        (Named(1, "ACME-1 Website", "ACME-1"), Named("t", "Website"), 1.0),
        (Named(1, "ACME-1 Website"), Named("t", "Website", "GLOB-9"), None),
        # one name, and codes of two systems: the name is plain
        (Named(1, "Website", "W1"), Named("t", "Website", "ACME-WEB"), 1.0),
        # a code is no part of a word
        (Named(1, "Acme", "A"), Named("t", "Cme"), None),
    ],
)
def test_codes(source: Named, target: Named, expected: float | None) -> None:
    assert score(source, target) == expected
    assert score(target, source) == expected


def test_projects_of_different_clients_are_not_matched() -> None:
    source = Named(1, "Website", parent="Acme Ltd")
    assert score(source, Named("t", "Website", parent="Globex")) is None
    assert score(source, Named("t", "Website", parent="ACME")) == 1.0
    assert score(source, Named("t", "Website", parent="Acne")) is None
    assert score(source, Named("t", "Website")) == 1.0
    assert score(Named(1, "Website", parent="Inbound"), Named("t", "Website", parent="Unbound")) is None
    targets = [Named("g", "Website", parent="Globex"), Named("a", "Website", parent="Acme")]
    assert suggest([source], targets) == [Suggestion(1, "a", 1.0)]


def test_the_very_client_goes_before_one_that_may_be_the_same() -> None:
    targets = [Named("ltd", "Website", parent="Acme Ltd"), Named("plain", "Website", parent="Acme")]
    assert suggest([Named(1, "Website", parent="ACME")], targets) == [Suggestion(1, "plain", 1.0)]
    assert suggest([Named(1, "Website", parent="ACME ltd.")], targets) == [Suggestion(1, "ltd", 1.0)]


def test_suggestions_come_in_the_order_of_the_sources() -> None:
    found = suggest(
        [Named(n, f"Client {n}") for n in (3, 1, 2)], [Named(n, f"client {n}") for n in (1, 2, 3)]
    )
    assert [each.source_id for each in found] == [3, 1, 2]


@pytest.mark.parametrize(
    "name",
    [
        "Client number {}",
        "Northlight Studio Marketing {}",
        "Project {}",
        "[ACME-{}] Website",
        "Website",
        "Nightlif{}",
    ],
)
def test_five_hundred_by_five_hundred_is_quick(name: str) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tags = [letters[n % 26] + letters[n // 26] if "Night" in name else str(n) for n in range(500)]
    rows = [Named(tag, name.format(tag)) for tag in tags]
    began = time.process_time()
    suggest(rows, rows[::-1])
    assert time.process_time() - began < 1.0


NAMES = st.one_of(
    st.text(max_size=12),
    st.lists(
        st.sampled_from(
            ["Northlight", "Nortlight", "Ltd", "GmbH", "[A-1]", "A-1", "-", "Web", "Café", "cafe", "1", "東"]
        ),
        max_size=4,
    ).map(" ".join),
)
CODES = st.sampled_from(["", "", "A-1", "a1", "WEB"])
PARENTS = st.sampled_from(["", "", "Acme", "ACME Ltd", "Globex"])


def rows(side: str) -> st.SearchStrategy[list[Named]]:
    each = st.tuples(NAMES, CODES, PARENTS)
    return st.lists(each, max_size=12).map(
        lambda them: [Named((side, n), name, code, parent) for n, (name, code, parent) in enumerate(them)]
    )


@given(rows("s"), rows("t"))
def test_each_row_is_suggested_once_at_most_and_sides_do_not_matter(
    sources: list[Named], targets: list[Named]
) -> None:
    found = suggest(sources, targets)
    assert len({each.source_id for each in found}) == len(found) == len({each.target_id for each in found})
    assert {each.source_id for each in found} <= {each.id for each in sources}
    assert {each.target_id for each in found} <= {each.id for each in targets}
    assert all(0.8 <= each.score <= 1.0 for each in found)
    swapped = {(each.target_id, each.source_id, each.score) for each in suggest(targets, sources)}
    assert swapped == {(each.source_id, each.target_id, each.score) for each in found}


@given(rows("s"), rows("t"), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    sources: list[Named], targets: list[Named], chance: object
) -> None:
    found = set(suggest(sources, targets))
    chance.shuffle(sources)  # type: ignore[attr-defined]
    chance.shuffle(targets)  # type: ignore[attr-defined]
    assert set(suggest(sources, targets)) == found


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=8), unique=True, max_size=12))
def test_distinct_plain_names_find_themselves(names: list[str]) -> None:
    assert pairs(names, [name.upper() for name in names]) == {(name, name.upper()) for name in names}
