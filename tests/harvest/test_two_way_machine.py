"""Whatever people and trouble do on two sides, they come together: nothing twice, nothing lost, no echo.

The machine takes its numbers from the environment: `TWO_WAY_EXAMPLES=2000 TWO_WAY_STEPS=60` is a long run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from harvest.sandbox import FaultKind, Sandbox
from tests.harvest.world import FAULTS, Steps, World, in_process

# Few and long: to begin and to end a world costs as much as thirty steps in it.
EXAMPLES = int(os.environ.get("TWO_WAY_EXAMPLES", "40"))
STEPS = int(os.environ.get("TWO_WAY_STEPS", "60"))
# The same walks each time, so that CI judges the change at hand and not the dice; a longer run throws them.
DERANDOMIZE = "TWO_WAY_EXAMPLES" not in os.environ

SOME = st.integers(0, 5)
FIELDS = st.lists(
    st.sampled_from(["notes", "duration", "spent_date", "placement", "activity", "owner"]),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip
POLICIES = st.sampled_from(["harvest", "timebridge", "newest", "ask"])
METHODS = st.sampled_from(["", "POST", "POST", "PATCH", "DELETE"])
MAKING = st.sampled_from(["log", "log of client", "owner", "collide owner", "restore"])
BEFORE = st.sampled_from(
    ["nothing", "log", "log", "log of client", "edit here", "edit there", "collide", "owner", "collide owner",
     "delete here", "delete there", "restore", "unmap"]
)  # fmt: skip
WORKS = st.sampled_from([["push"], ["push", "push"], ["push", "push"], ["push", "sync"], ["sync", "push"]])
DEEDS = st.sampled_from(
    ["edit here", "edit there", "delete here", "delete there", "restore", "owner", "settle", "lock", "unmap",
     "push", "sync", "back and push"]
)  # fmt: skip


@pytest.fixture
def box(settings: Any, transactional_db: None) -> Sandbox:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # many workspaces are made
    settings.HARVEST_API_URL, settings.HARVEST_ID_URL = "http://harvest.test/v2", "http://harvest.test"
    return Sandbox.empty(name="Northlight", rate_limit=False)


class TwoWays(RuleBasedStateMachine):
    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox, self.steps = sandbox, Steps()
        self.world: World
        self.around = in_process(sandbox, self.steps)
        self.around.__enter__()

    @initialize(policy=POLICIES, pushing_first=st.booleans())
    def begin(self, policy: str, pushing_first: bool) -> None:
        self.pushing_first = pushing_first
        self.world = World(self.sandbox, self.steps, policy=policy)
        for deed in ("log", "log", "log of client", "push"):
            self.world.do(deed)
        self.world.entry()
        self.world.entry(1)

    # --- People ---
    @rule(place=st.sampled_from([0, 0, 1, 2]), owner=st.integers(0, 1))
    def log(self, place: int, owner: int) -> None:
        self.world.log(place, owner)

    @rule(n=SOME, what=FIELDS, jitter=st.sampled_from([0, 0, 17, -17]))
    def edit_here(self, n: int, what: list[str], jitter: int) -> None:
        self.world.edit_here(n, what, jitter)

    @rule(n=SOME)
    def delete_here(self, n: int) -> None:
        self.world.delete_here(n)

    @rule(n=SOME)
    def restore_here(self, n: int) -> None:
        self.world.restore_here(n)

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule()
    def void(self) -> None:
        self.world.void()

    @rule(kind=SOME, on=st.booleans())
    def map(self, kind: int, on: bool) -> None:
        self.world.map(kind, on)

    @rule(policy=POLICIES)
    def policy(self, policy: str) -> None:
        self.world.policy(policy)

    @rule(n=SOME, keep=st.sampled_from(["harvest", "timebridge"]))
    def resolve(self, n: int, keep: str) -> None:
        self.world.resolve(n, keep)

    @rule(n=SOME)
    def retry_and_accept(self, n: int) -> None:
        self.world.retry()
        self.world.accept(n)

    @rule(project=st.integers(0, 2), task=st.integers(0, 2), user=st.integers(0, 1))
    def entry(self, project: int, task: int, user: int) -> None:
        self.world.entry(project, task, user)

    @rule(n=SOME, what=FIELDS, to=st.integers(0, 2))
    def edit_there(self, n: int, what: list[str], to: int) -> None:
        self.world.edit_there(n, what, to)

    @rule(n=SOME, what=FIELDS)
    def collide(self, n: int, what: list[str]) -> None:
        self.world.collide(n, what)

    @rule(n=SOME)
    def delete_there(self, n: int) -> None:
        self.world.delete_there(n)

    @rule(n=SOME, how=st.integers(0, 2))
    def lock(self, n: int, how: int) -> None:
        self.world.lock(n, how)

    @rule(n=SOME)
    def unlock(self, n: int) -> None:
        self.world.unlock(n)

    # --- Trouble: something is done, a worker that takes it up meets trouble, and another one comes ---
    @rule(
        deed=BEFORE,
        n=SOME,
        kind=st.sampled_from(FAULTS),
        after=st.integers(0, 6),
        method=METHODS,
        works=WORKS,
    )
    def fault(self, deed: str, n: int, kind: FaultKind, after: int, method: str, works: list[str]) -> None:
        self.world.do(deed, n)
        self.world.fault(kind, after=0 if method else after, method=method)
        self.work(works)

    @rule(deed=MAKING, n=SOME, works=WORKS)
    def lose(self, deed: str, n: int, works: list[str]) -> None:
        """Of all answers the one that hurts is lost: that to making an entry."""
        self.world.do(deed, n)
        self.world.lose()
        self.work(works)

    @rule(deed=BEFORE, n=SOME, after=st.integers(0, 30), works=WORKS)
    def kill(self, deed: str, n: int, after: int, works: list[str]) -> None:
        self.world.do(deed, n)
        self.world.kill(after)
        self.work(works)

    @rule(deed=BEFORE, n=SOME, after=st.integers(0, 6), other=DEEDS, m=SOME, works=WORKS)
    def meanwhile(self, deed: str, n: int, after: int, other: str, m: int, works: list[str]) -> None:
        self.world.do(deed, n)
        self.world.meanwhile(after, other, m)
        self.work(works)

    def work(self, works: list[str]) -> None:
        for one in works:
            self.world.do(one)

    @rule(whose=st.sampled_from(["here", "there"]), seconds=st.sampled_from([-1, 1, 2]))
    def step(self, whose: str, seconds: int) -> None:
        self.world.step(whose, seconds)

    # --- Workers ---
    @rule(times=st.integers(1, 2))
    def push(self, times: int) -> None:
        self.world.push(times)

    @rule()
    def sync(self) -> None:
        self.world.sync()

    @rule()
    def import_all(self) -> None:
        self.world.import_all()

    @rule()
    def answer(self) -> None:
        self.world.answer()

    @invariant()
    def nothing_twice(self) -> None:
        if hasattr(self, "world"):
            self.world.nothing_twice()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                if self.pushing_first:
                    self.world.push()
                self.world.rest()
        finally:
            self.around.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.timeout(max(300, EXAMPLES * STEPS))
def test_whatever_happens_both_sides_come_together(box: Sandbox) -> None:
    run_state_machine_as_test(
        lambda: TwoWays(box),  # type: ignore[arg-type]
        settings=machine_settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize=DERANDOMIZE,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


# --- What it found ---------------------------------------------------------------------------------------------------
@pytest.fixture
def world(box: Sandbox) -> Iterator[World]:
    steps = Steps()
    with in_process(box, steps):
        yield World(box, steps)


def test_a_quiet_day(world: World) -> None:
    world.log()
    world.log(1)
    world.entry()
    world.push()
    world.sync()
    world.edit_here(0, ("notes", "duration"))
    world.edit_there(1, ("spent_date",))
    world.rest()
    assert len(world.entries) == len(world.logs()) == 3


def test_what_timebridge_overrules_is_in_the_history_though_the_answer_was_lost(world: World) -> None:
    world.policy("timebridge")
    world.log()
    world.push()
    world.collide()
    world.fault(FaultKind.LOST, method="PATCH")
    world.push()
    world.rest()


def test_what_timebridge_overrules_is_in_the_history_though_the_log_was_saved_meanwhile(world: World) -> None:
    world.policy("timebridge")
    world.log()
    world.push()
    world.collide()
    world.meanwhile(3, "edit here")
    world.push()
    assert world.steps.struck
    world.rest()


@pytest.mark.parametrize("after", range(40))
def test_a_replacement_under_a_policy_that_is_cut_anywhere(world: World, after: int) -> None:
    world.policy("timebridge")
    world.log()
    world.push()
    world.collide(0, ("owner", "notes"))
    world.kill(after)
    world.push()
    world.rest()
    assert len(world.entries) == 1


def test_a_clock_that_goes_back_while_a_run_reads(world: World) -> None:
    world.log()
    world.push()
    world.edit_there()
    world.edit_here(0, ("duration",))
    world.meanwhile(0, "back and push")
    world.sync()
    assert world.steps.struck
    world.rest()


def test_what_timebridge_overruled_is_in_the_history_though_the_entry_is_deleted_next(world: World) -> None:
    world.policy("timebridge")
    world.log()
    world.push()
    world.collide()
    world.fault(FaultKind.LOST, method="PATCH")
    world.push()
    world.delete_there()
    world.rest()


def test_what_harvest_refused_is_not_asked_again_by_every_sync(world: World) -> None:
    """The entry also holds what cannot come in, so each sync looks at it anew."""
    world.log()
    world.push()
    world.edit_there(0, ("activity",), 2)
    world.edit_here(0, ("notes", "placement"))
    world.rest()
    assert "PATCH" not in [one.method for one in world.sandbox.seen()]


def test_what_harvest_refused_is_asked_again_once_the_entry_has_changed(world: World) -> None:
    world.log()
    world.push()
    world.edit_there(0, ("activity",), 2)
    world.edit_here(0, ("notes", "placement"))
    world.push()
    world.edit_there(0, ("activity",), 0)
    world.rest()
    [entry] = world.entries
    [log] = world.logs()
    assert entry.notes == log.notes


@pytest.mark.parametrize("touched", [(), (0,), (1,), (0, 1)])
def test_an_entry_that_is_edited_while_a_run_takes_its_replacement_for_the_log(
    world: World, touched: tuple[int, ...]
) -> None:
    """The answer to making the new one was lost, so both are there: nobody's edit of either goes without a word."""
    world.log()
    world.push()
    world.edit_here(0, ("owner", "notes"))
    world.lose()
    world.push()
    world.sync()
    assert len(world.entries) == 2
    for n in touched:
        world.edit_there(n, ("notes", "duration"))
    world.rest()
    assert len(world.entries) == 1


@pytest.mark.parametrize("kind", [FaultKind.LOST, FaultKind.UNAVAILABLE])
def test_a_log_that_is_restored_after_its_deletion_was_lost(world: World, kind: FaultKind) -> None:
    """Done or not, it was our own: it must not come back as a deletion in Harvest."""
    world.log()
    world.push()
    world.delete_here()
    world.fault(kind, method="DELETE")
    world.push()
    world.restore_here()
    world.rest()
    assert len(world.entries) == len(world.logs()) == 1


def test_an_entry_that_is_locked_while_a_run_takes_its_replacement_for_the_log(world: World) -> None:
    """The new one goes, and the log waits with the locked one until it is unlocked."""
    world.log()
    world.push()
    world.edit_here(0, ("owner", "notes"))
    world.lose()
    world.push()
    world.sync()
    world.lock(0, 0)
    world.rest()
    assert len(world.entries) == 1
    world.unlock(0)
    world.retry()
    world.rest()
    [entry], [log] = world.entries, world.logs()
    assert entry.notes == log.notes


def test_a_difference_is_told_once_though_the_clock_that_settled_was_ahead(world: World) -> None:
    world.log()
    world.push()
    world.collide()
    world.step("here", 1)
    world.settle()
    world.rest()
