"""The side in memory keeps what every side promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from itertools import count

import pytest

from integrations.sync.memory import Fault, MemorySide
from integrations.sync.types import Field, Unavailable, Value, Values
from tests.contracts.side_contract import Bench, SideContract
from tests.integrations.sync.world import FIRST, LAST, harvest_keeps

HERE: Sequence[Values] = (
    dict(zip(Field, (("acme", "site"), "design", FIRST, 7600, "Header", "ines", True), strict=True)),
    dict(zip(Field, (("globex", None), None, LAST, 36, "", "tom", False), strict=True)),
)
THERE: Sequence[Values] = (
    dict(zip(Field, (("11", "21"), "31", FIRST, Decimal("2.11"), "Header", "71", True), strict=True)),
    dict(zip(Field, (("11", "29"), "32", LAST, Decimal("0.01"), "", "72", False), strict=True)),
)


def bench_of(side: MemorySide, examples: Sequence[Values], *, moves_owner: bool) -> Bench:
    numbers = count(1)

    @contextmanager
    def lose_answers() -> Iterator[None]:
        side.faults.append(Fault.LOST)
        yield
        assert not side.faults

    return Bench(
        side=side,
        first=FIRST,
        last=LAST,
        examples=examples,
        references=lambda many: [f"ref-{next(numbers)}" for _ in range(many)],
        edit=side.edit,
        remove=side.remove,
        lock=side.lock,
        lose_answers=lose_answers,
        moves_owner=moves_owner,
    )


class TestMemorySide(SideContract):
    @pytest.fixture
    def bench(self) -> Bench:
        return bench_of(MemorySide(), HERE, moves_owner=True)


class TestMemorySideAsHarvest(SideContract):
    """One that rounds, trims and decides, as Harvest does."""

    @pytest.fixture
    def bench(self) -> Bench:
        return bench_of(MemorySide(keep=harvest_keeps, owner_stays=True), THERE, moves_owner=False)


def test_it_keeps_values_in_its_own_way() -> None:
    side = MemorySide(keep=harvest_keeps, owner_stays=True)
    sent: dict[Field, Value] = {**THERE[0], Field.DURATION: Decimal("2.114"), Field.NOTES: " Header\n"}
    del sent[Field.BILLABLE]
    made = side.create(sent, reference="")
    assert made.values == {
        **sent,
        Field.DURATION: Decimal("2.11"),
        Field.NOTES: "Header",
        Field.BILLABLE: True,
    }


def test_a_side_that_is_down_does_nothing() -> None:
    side = MemorySide()
    made = side.create(HERE[0], reference="a")
    for call in (
        lambda: side.create(HERE[1], reference="b"),
        lambda: side.update(made.id, {Field.NOTES: "x"}, seen=made.values),
        lambda: side.delete(made.id, seen=made.values),
        lambda: side.get(made.id),
        lambda: side.find("a"),
        lambda: list(side.list_all(date.min, date.max)),
    ):
        side.faults.append(Fault.DOWN)
        with pytest.raises(Unavailable):
            call()
    assert side.entries == {made.id: made}
