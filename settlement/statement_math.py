"""What recorded time comes to: lines, totals, one rounding. Pure: the standard library alone.

Seconds are whole, rates exact, and money is rounded once a line, half-up (away from zero, so that a line that is taken
back is the line it takes back) to the currency's minor unit. A statement's amount is the sum of its lines; its hours
are those of all its seconds, rounded once, and not the sum of rounded hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

SECONDS_PER_HOUR = 3600
TIME, ADJUSTMENT = "time", "adjustment"

# ISO 4217: how many decimals a currency's minor unit has, where that is not two.
MINOR_UNITS: Mapping[str, int] = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
         "XAF", "XOF", "XPF"), 0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip


def minor_units(currency: str) -> int:
    """Decimals of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD."""
    return MINOR_UNITS.get(currency, 2)


def rounded(amount: Decimal, places: int) -> Decimal:
    """An amount rounded half-up to so many decimals."""
    with localcontext() as context:
        context.prec = 60  # of the longest sums no digit is lost before the one rounding
        return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def hours(seconds: int) -> Decimal:
    """Seconds as hours with two decimals, half-up."""
    return rounded(Decimal(seconds) / SECONDS_PER_HOUR, 2)


def worth(seconds: int, rate: Decimal, currency: str) -> Decimal:
    """What so much time comes to at an hourly rate, in the currency's minor unit."""
    with localcontext() as context:
        context.prec = 60
        return rounded(rate * seconds / SECONDS_PER_HOUR, minor_units(currency))


def rate_text(rate: Decimal, currency: str) -> str:
    """An hourly rate with the currency's decimals, or with as many as it has: "120.00", "9500", "0.50"."""
    places = minor_units(currency)
    return f"{rate:,.{places}f}" if rounded(rate, places) == rate else f"{rate:,f}"


@dataclass(frozen=True, slots=True)
class Line:
    """Time of one project, activity type, rate and billable (ids as texts, None where there is none).

    kind: "time", or "adjustment" for what is made good of earlier statements, whose seconds may be negative.
    entries: how many it is made of.
    """

    kind: str
    project: str | None
    project_name: str
    activity_type: str | None
    activity_type_name: str
    rate: Decimal
    billable: bool
    seconds: int
    entries: int
    currency: str

    @property
    def hours(self) -> Decimal:
        return hours(self.seconds)

    @property
    def amount(self) -> Decimal:
        """Rounded here, once; 0 in the currency's decimals where it is not billable."""
        return worth(self.seconds if self.billable else 0, self.rate, self.currency)

    @property
    def key(self) -> tuple[object, ...]:
        """What its entries have in common."""
        return (self.kind, self.project, self.activity_type, self.rate, self.billable)

    @property
    def _order(self) -> tuple[object, ...]:
        return (
            self.kind != TIME,
            self.project is None,  # time for the client itself comes last
            self.project_name.casefold(),
            self.project or "",
            self.activity_type is None,
            self.activity_type_name.casefold(),
            self.activity_type or "",
            not self.billable,
            -self.rate,
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """A statement's figures: lines in their order, and what they come to.

    budgets: each budget of the client before and after, as `settlement.budget_selectors` tells it, in JSON.
    """

    client: str
    currency: str
    lines: tuple[Line, ...] = ()
    budgets: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(
        cls,
        client: str,
        currency: str,
        lines: Iterable[Line],
        budgets: Iterable[Mapping[str, Any]] = (),
    ) -> Sheet:
        return cls(client, currency, tuple(sorted(lines, key=lambda line: line._order)), tuple(budgets))

    @property
    def seconds(self) -> int:
        return sum(line.seconds for line in self.lines)

    @property
    def billable_seconds(self) -> int:
        return sum(line.seconds for line in self.lines if line.billable)

    @property
    def hours(self) -> Decimal:
        return hours(self.seconds)

    @property
    def billable_hours(self) -> Decimal:
        return hours(self.billable_seconds)

    @property
    def amount(self) -> Decimal:
        """The sum of the lines' amounts, in the currency's decimals."""
        return sum((line.amount for line in self.lines), worth(0, Decimal(0), self.currency))

    @property
    def entries(self) -> int:
        return sum(line.entries for line in self.lines)

    @property
    def budget_note(self) -> str:
        """What to say below the budgets: they are used by time as it stands, which adjustments leave as it was."""
        adjusted = any(line.kind == ADJUSTMENT for line in self.lines)
        note = "Adjustments are not counted here: a budget is used by time as it was logged."
        return note if adjusted and self.budgets else ""

    def as_json(self) -> dict[str, Any]:
        """All of it, as it is frozen: amounts too, so that what was issued stands whatever this module becomes."""
        return {
            "client": self.client,
            "currency": self.currency,
            "seconds": self.seconds,
            "amount": str(self.amount),
            "lines": [
                {
                    "kind": line.kind,
                    "project": line.project,
                    "project_name": line.project_name,
                    "activity_type": line.activity_type,
                    "activity_type_name": line.activity_type_name,
                    "rate": str(line.rate),
                    "billable": line.billable,
                    "seconds": line.seconds,
                    "entries": line.entries,
                    "amount": str(line.amount),
                }
                for line in self.lines
            ],
            "budgets": list(self.budgets),
        }


@dataclass(frozen=True, slots=True)
class FrozenLine(Line):
    """A line of an issued statement: its amount is the one that was issued."""

    issued_amount: Decimal = Decimal(0)

    @property
    def amount(self) -> Decimal:
        return self.issued_amount


def thawed(frozen: Mapping[str, Any]) -> Sheet:
    """The sheet that `Sheet.as_json` was made of."""
    lines = tuple(
        FrozenLine(
            kind=one["kind"],
            project=one["project"],
            project_name=one["project_name"],
            activity_type=one["activity_type"],
            activity_type_name=one["activity_type_name"],
            rate=Decimal(one["rate"]),
            billable=one["billable"],
            seconds=one["seconds"],
            entries=one["entries"],
            currency=frozen["currency"],
            issued_amount=Decimal(one["amount"]),
        )
        for one in frozen["lines"]
    )
    return Sheet(frozen["client"], frozen["currency"], lines, tuple(frozen["budgets"]))
