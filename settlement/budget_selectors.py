"""Reading budgets, and how they stand by the time logs as they are now.

Money: what is used is the sum of seconds x hourly rate / 3600 over the billable logs, exact until it is rounded half-up
once. So it does not depend on how the time is cut into statements, and agrees with the totals of the time logs; a
statement, which rounds each of its lines, may differ by half a cent a line. Hours: billable and other time alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Case, DecimalField, F, QuerySet, TextChoices, Value, When
from django.db.models import Sum as SumOf
from django.db.models.functions import Coalesce, Lower

from accounts.models import Workspace
from clients.models import Client
from settlement.budget_math import (
    Period,
    carry,
    even_use,
    months_before,
    per_hour,
    percent,
    period_on,
    periods_within,
    reached,
    runs_out_on,
)
from settlement.models import Budget, BudgetPeriod, BudgetUnit, Rollover
from settlement.statement_math import minor_units
from timelogs.models import TimeLog
from timelogs.places import label_of
from timelogs.selectors import time_logs_of
from timelogs.totals import NOTHING, Sum, Window, sums_of, total_of

GLANCE = 6


def budgets_of(workspace: Workspace) -> QuerySet[Budget]:
    """Every budget with its client and project."""
    return Budget.objects.filter(workspace=workspace).select_related("client", "project", "workspace")


def by_name(budgets: QuerySet[Budget]) -> QuerySet[Any]:
    """With `by_client` and `by_project` to order by: a client's own budget comes before those of its projects."""
    return budgets.annotate(
        by_client=Lower("client__name"), by_project=Coalesce(Lower("project__name"), Value(""))
    )


def used_of(budget: Budget, time: Sum) -> Decimal:
    """What time uses of a budget: hours of all of it, or money of the billable part, in whole minor units."""
    if budget.unit == BudgetUnit.HOURS:
        return per_hour(time.seconds)
    return per_hour(time.weighted, minor_units(budget.workspace.currency))


class State(TextChoices):
    """Of a budget's period, on a day."""

    UPCOMING = "upcoming", "Not begun"
    RUNNING = "running", "Running"
    ENDED = "ended", "Ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands on a day, in the period that the day is in (the first one before it begins, the last after).

    carried: what came over from the months before; used: of this period. In hours or money, two decimals each; money is
    in the workspace's currency.
    """

    budget: Budget
    on: date
    period: Period
    carried: Decimal
    used: Decimal

    @property
    def name(self) -> str:
        """Whom or what it is for: "Acme", "Acme / Website"."""
        return label_of(self.budget.client, self.budget.project, None)

    @property
    def available(self) -> Decimal:
        """All that the period has: the amount, and what was carried over."""
        return self.budget.amount + self.carried

    @property
    def remaining(self) -> Decimal:
        """What is left; below zero where more was used than there was."""
        return self.available - self.used

    @property
    def percent_used(self) -> Decimal | None:
        """None where nothing is available: of zero there are no shares."""
        return percent(self.used, self.available)

    @property
    def over(self) -> bool:
        return self.remaining < 0

    @property
    def even_use(self) -> Decimal:
        """What an even pace would have used by the end of the day."""
        return even_use(self.available, self.period, self.on)

    @property
    def runs_out_on(self) -> date | None:
        """The day it is used up at the present pace; None where it lasts, or is used up already."""
        return runs_out_on(self.used, self.available, self.period, self.on)

    @property
    def reached(self) -> list[int]:
        """The thresholds that are reached, rising."""
        return reached(self.used, self.available, self.budget.alert_at)

    @property
    def state(self) -> State:
        if self.on < self.period.first:
            return State.UPCOMING
        return State.ENDED if self.on > self.period.last else State.RUNNING

    @property
    def tone(self) -> str:
        """bad: used up, or more; warn: a threshold is reached, or it will not last; good: neither."""
        if self.used and self.remaining <= 0:
            return "bad"
        return "warn" if self.reached or self.runs_out_on else "good"


def standings(workspace: Workspace, budgets: Iterable[Budget], *, on: date | None = None) -> list[Standing]:
    """How budgets stand on a day (today unless given), in their order: one query for all of them."""
    day = on or workspace.today()
    return standings_on(workspace, [(budget, day) for budget in budgets])


def standings_on(workspace: Workspace, wanted: Iterable[tuple[Budget, date]]) -> list[Standing]:
    """How each of these budgets stands on its day: one query for all of them."""
    asked = [(budget, day, _period(budget, day)) for budget, day in wanted]
    sums = sums_of(workspace, [_window(budget, period) for budget, _, period in asked])
    found = []
    for (budget, day, period), by_month in zip(asked, sums, strict=True):
        time = by_month.get(period.first.replace(day=1) if _rolls(budget) else None, NOTHING)
        found.append(Standing(budget, day, period, _carried(budget, period, by_month), used_of(budget, time)))
    return found


def standing(workspace: Workspace, budget: Budget, *, on: date | None = None) -> Standing:
    """How one budget stands."""
    return standings(workspace, [budget], on=on)[0]


def _rolls(budget: Budget) -> bool:
    return budget.rollover != Rollover.NONE and budget.starts_on is not None


def _period(budget: Budget, on: date) -> Period:
    return period_on(
        monthly=budget.period == BudgetPeriod.MONTHLY,
        starts_on=budget.starts_on,
        ends_on=budget.ends_on,
        on=on,
    )


def _window(budget: Budget, period: Period) -> Window:
    """The time that a period's standing follows from: where it rolls over, all of it since the first month."""
    rolls = _rolls(budget)
    first = budget.starts_on if rolls and budget.starts_on else period.first
    return Window(budget.client_id, budget.project_id, first, period.last, by_month=rolls)


def _carried(budget: Budget, period: Period, by_month: dict[date | None, Sum]) -> Decimal:
    if not _rolls(budget) or budget.starts_on is None:
        return Decimal("0.00")
    used = (
        used_of(budget, by_month.get(month, NOTHING)) for month in months_before(period, budget.starts_on)
    )
    return carry(budget.amount, used, budget.rollover_cap)


# --- For the home page -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Glance:
    """The budgets of a workspace at a glance: those that are on today, of clients and projects not archived.

    tightest: the `GLANCE` ones with the most used of what they have, first those that are over. count: how many are
    on; over: of these, used up or more; near: not used up, but at a threshold, or not lasting at the present pace.
    """

    tightest: list[Standing]
    count: int
    over: int
    near: int


def budgets_at_a_glance(workspace: Workspace, *, on: date | None = None) -> Glance:
    """What the home page says of budgets, in two queries. `parts/budgets.html` shows it."""
    budgets = budgets_of(workspace).filter(client__archived=False).exclude(project__archived=True)
    found = [one for one in standings(workspace, budgets, on=on) if one.state == State.RUNNING]
    found.sort(key=lambda one: (-_fullness(one), one.name.casefold(), one.budget.id))
    tones = [one.tone for one in found]
    return Glance(found[:GLANCE], len(found), tones.count("bad"), tones.count("warn"))


def _fullness(one: Standing) -> Decimal:
    """By what share a budget is used; one of zero is beyond measure once anything is."""
    if one.percent_used is not None:
        return one.percent_used
    return Decimal("Infinity") if one.used else Decimal(0)


# --- For a statement -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StatementBudget:
    """One period of one budget, before and after the time on a statement.

    name: whom or what it is for ("Acme", "Acme / Website"). unit: "hours" or "money", which is in `currency`.
    available: what the period has, with `carried` from the months before. used_before: by other time up to the
    statement's last day; used_after: by that and the statement's own.
    """

    budget_id: UUID
    name: str
    project_id: UUID | None
    unit: str
    currency: str
    first: date
    last: date
    amount: Decimal
    carried: Decimal
    used_before: Decimal
    used_after: Decimal

    @property
    def available(self) -> Decimal:
        return self.amount + self.carried

    @property
    def remaining_before(self) -> Decimal:
        return self.available - self.used_before

    @property
    def remaining_after(self) -> Decimal:
        return self.available - self.used_after

    def as_json(self) -> dict[str, str | None]:
        """All of it as texts, to be kept with an issued statement: decimals with two places, dates ISO 8601."""
        names = (
            "budget_id", "name", "project_id", "unit", "currency", "first", "last", "amount", "carried", "available",
            "used_before", "used_after", "remaining_before", "remaining_after",
        )  # fmt: skip
        values = ((name, getattr(self, name)) for name in names)
        return {name: None if value is None else str(value) for name, value in values}


def statement_budget(
    client: Client, first: date, last: date, *, logs: QuerySet[TimeLog] | None = None
) -> list[StatementBudget]:
    """The budgets of a client and of its projects, before and after a statement from `first` to `last`.

    logs: those on the statement. Unless given, all of the client's live time from first to last is taken for its own,
    and what is before it for the rest; with them, time of the same days on an earlier statement counts as before.
    One entry for each period of each budget that shares a day with the statement: the client's own first, then those of
    its projects by name, each in the order of time. Three queries, in the scope of the client's workspace.
    """
    workspace = client.workspace
    budgets = by_name(budgets_of(workspace).filter(client=client)).order_by("by_project", "id")
    asked = [
        (budget, period)
        for budget in budgets
        for period in periods_within(
            monthly=budget.period == BudgetPeriod.MONTHLY,
            starts_on=budget.starts_on,
            ends_on=budget.ends_on,
            first=first,
            last=last,
        )
    ]
    if not asked:
        return []
    own = _by_project_and_day(
        logs if logs is not None else time_logs_of(workspace).filter(client=client), first, last
    )
    until = [Period(period.first, min(period.last, last)) for _, period in asked]
    windows = [_window(budget, period) for (budget, _), period in zip(asked, until, strict=True)]
    found = []
    for (budget, period), shown, by_month in zip(asked, until, sums_of(workspace, windows), strict=True):
        after = by_month.get(period.first.replace(day=1) if _rolls(budget) else None, NOTHING)
        mine = total_of(
            time
            for (project_id, day), time in own.items()
            if shown.first <= day <= shown.last and budget.project_id in (None, project_id)
        )
        before = Sum(after.seconds - mine.seconds, after.weighted - mine.weighted)
        found.append(
            StatementBudget(
                budget_id=budget.id,
                name=label_of(budget.client, budget.project, None),
                project_id=budget.project_id,
                unit=budget.unit,
                currency=workspace.currency,
                first=period.first,
                last=period.last,
                amount=budget.amount,
                carried=_carried(budget, period, by_month),
                used_before=used_of(budget, before),
                used_after=used_of(budget, after),
            )
        )
    return found


# --- Day by day ------------------------------------------------------------------------------------------------------
def _by_project_and_day(
    logs: QuerySet[TimeLog], first: date, last: date
) -> dict[tuple[UUID | None, date], Sum]:
    """The time of logs by project and day, in one query."""
    money: Any = DecimalField(max_digits=30, decimal_places=2)
    weighted = Case(
        When(billable=True, then=F("seconds") * F("hourly_rate")), default=Decimal(0), output_field=money
    )
    rows = (
        logs.order_by()
        .filter(spent_date__range=(first, last), deleted_at=None)
        .values_list("project_id", "spent_date")
        .annotate(total=SumOf("seconds"), money=SumOf(weighted, output_field=money))
    )
    return {(project_id, day): Sum(seconds, weight) for project_id, day, seconds, weight in rows}


def burn_of(client: Client, found: Iterable[Standing]) -> dict[UUID, list[tuple[date, Decimal]]]:
    """Budget id -> what is used by the end of each day of its period that has time, for budgets of one client.

    One query for all of them, over the days from the first period's beginning to the last one's end.
    """
    found = list(found)
    if not found:
        return {}
    first, last = min(one.period.first for one in found), max(one.period.last for one in found)
    times = _by_project_and_day(time_logs_of(client.workspace).filter(client=client), first, last)
    burn: dict[UUID, list[tuple[date, Decimal]]] = {}
    for one in found:
        by_day: dict[date, list[Sum]] = defaultdict(list)
        for (project_id, day), time in times.items():
            if one.period.first <= day <= one.period.last and one.budget.project_id in (None, project_id):
                by_day[day].append(time)
        running, series = NOTHING, []
        for day in sorted(by_day):
            running = total_of([running, *by_day[day]])
            series.append((day, used_of(one.budget, running)))
        burn[one.budget.id] = series
    return burn
