"""The shared limit: its script in simulated time, then processes, a real Harvest sandbox, and a Redis that goes away.

The simulations run the product's own script in a real Redis; only what it takes for the time is theirs.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import multiprocessing
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.services import Redis
from harvest.sandbox import ADMIN_TOKEN, MAIN_ACCOUNT_ID, Sandbox, SandboxServer
from harvest.sandbox.ratelimit import RateLimit
from integrations import ratelimit
from integrations.ratelimit import ACQUIRE, HANDICAP, LIMIT, PERIOD, SPREAD, SharedThrottle, usage
from tests.integrations.callers import hammer, read_harvest

WINDOW = PERIOD + SPREAD
EPOCH_KEY = "timebridge:rate:epoch"

CLOCK = "redis.call('TIME')"
SIMULATED = ACQUIRE.replace(CLOCK, "{ARGV[7], ARGV[8]}")
assert ACQUIRE.count(CLOCK) == 1


def most_in(times: Sequence[float], seconds: float) -> int:
    """The most that any interval [t, t + seconds) holds."""
    ordered, first, most = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis of this file's own."""
    server = Redis(tmp_path_factory.mktemp("redis"), durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(server: Redis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as database:
        yield database


@pytest.fixture
def long_known(database: redis.Redis) -> None:
    """An empty Redis that has been up for ever: what it does not know did not happen."""
    database.flushall()
    database.set(EPOCH_KEY, 1)


# The script, in simulated time


@dataclass
class Caller:
    """One of those who send: as a process knows itself (epoch, age of its last grant)."""

    name: str
    interactive: bool = False
    epoch: str = ""
    granted_at: float = -1e6
    asked_at: float | None = None  # when it first asked for what it waits for
    waits: list[float] = field(default_factory=list)


class World:
    """Callers of one account in a Redis whose clock is `now`, in seconds; `skew` is how wrong Redis's clock is."""

    def __init__(self, database: redis.Redis, *, limit: int = LIMIT, window: float = WINDOW) -> None:
        database.flushall()
        self.database = database
        self.script = database.register_script(SIMULATED)
        self.limit, self.window = limit, window
        self.now, self.skew = 1_700_000_000.0, 0.0
        self.grants: list[float] = []
        self.known_for_long()

    def known_for_long(self) -> None:
        self.database.set("epoch", int((self.now - 1000) * 1e6))

    def ask(self, caller: Caller) -> float:
        if caller.asked_at is None:
            caller.asked_at = self.now
        shown = self.now + self.skew
        handicap = 0 if caller.interactive else HANDICAP
        age = min(self.now - caller.granted_at, 1e6)
        rule = (int(handicap * 1e6), self.limit, int(self.window * 1e6))
        clock = (int(shown), int(shown % 1 * 1e6))
        wait, epoch = self.script(
            keys=["log", "state", "line", "due", "epoch"],
            args=[caller.name, *rule, caller.epoch, int(age * 1e6), *clock],
        )
        if wait == 0:
            self.grants.append(self.now)
            caller.waits.append(self.now - caller.asked_at)
            caller.epoch, caller.granted_at, caller.asked_at = epoch, self.now, None
        return wait / 1e6

    def run(
        self, callers: Sequence[Caller], seconds: float, *, pause: Callable[[Caller], float], seed: int = 1
    ) -> None:
        """Each asks, sleeps as long as it is told and up to 30 ms more, asks again; once granted it works `pause`."""
        chance = random.Random(seed)
        end, order = self.now + seconds, itertools.count()
        agenda = [(self.now + chance.random() / 10, next(order), caller) for caller in callers]
        heapq.heapify(agenda)
        while agenda[0][0] < end:
            self.now, _, caller = heapq.heappop(agenda)
            wait = self.ask(caller)
            then = self.now + (wait + chance.random() * 0.03 if wait else pause(caller))
            heapq.heappush(agenda, (then, next(order), caller))
        self.now = end

    def stand_the_limit(self) -> None:
        assert most_in(self.grants, self.window - 1e-5) <= self.limit


def crew(number: int, *, interactive: bool) -> list[Caller]:
    kind = "interactive" if interactive else "background"
    return [Caller(f"{kind} {index}", interactive) for index in range(number)]


@pytest.mark.parametrize(("people", "background"), [(0, 6), (6, 0), (4, 4), (60, 90), (1, 120)])
def test_a_busy_account_uses_all_of_its_limit_and_never_more(
    database: redis.Redis, people: int, background: int
) -> None:
    world, chance = World(database), random.Random(people)
    world.run(
        crew(people, interactive=True) + crew(background, interactive=False),
        75,
        pause=lambda caller: 0.02 + chance.random() * 0.3,
    )
    world.stand_the_limit()
    first = world.grants[0]
    assert sum(at < first + 60 for at in world.grants) >= 0.95 * 100 * 60 / 15
    # Each on its way for up to SPREAD: Harvest's own rule refuses none.
    arrivals = sorted(at + chance.random() * SPREAD for at in world.grants)
    clock = iter([])
    harvest = RateLimit(lambda: next(clock))
    for at in arrivals:
        clock = itertools.repeat(at)
        assert harvest.admit(1) is None


def test_paced_grants_forgive_three_late_requests(database: redis.Redis) -> None:
    world = World(database)
    world.run(crew(8, interactive=False), 60, pause=lambda caller: 0.1)
    late = random.Random(5).sample(range(len(world.grants)), 3)
    arrivals = [at + 7 if index in late else at for index, at in enumerate(world.grants)]
    assert most_in(arrivals, PERIOD) <= LIMIT


def test_people_go_first_and_hardly_wait(database: redis.Redis) -> None:
    """Twelve workers of the night against three people who ask about once a second each."""
    world, chance = World(database), random.Random(2)
    people, night = crew(3, interactive=True), crew(12, interactive=False)
    world.run(
        people + night,
        120,
        pause=lambda caller: chance.expovariate(1) if caller.interactive else 0.05,
    )
    world.stand_the_limit()
    waits = sorted(wait for caller in people for wait in caller.waits)
    assert len(waits) > 250
    assert waits[int(0.95 * len(waits))] < 0.4
    assert len(world.grants) >= 0.95 * 100 * 120 / 15


def test_nobody_starves(database: redis.Redis) -> None:
    """More people than the limit serves, all the time: the night still gets its turns."""
    world = World(database)
    people, night = crew(40, interactive=True), crew(4, interactive=False)
    world.run(people + night, 240, pause=lambda caller: 0.05)
    world.stand_the_limit()
    for caller in night:
        assert len(caller.waits) > 7
        assert max(caller.waits) < HANDICAP + 44 * WINDOW / LIMIT + 1
    served = [len(caller.waits) for caller in people]
    assert min(served) > 0.8 * max(served)
    assert min(served) > 2 * max(len(caller.waits) for caller in night)


def test_who_does_not_come_back_blocks_nobody(database: redis.Redis) -> None:
    world = World(database, limit=4, window=2)
    (hasty,) = crew(1, interactive=True)
    for _ in range(4):
        assert world.ask(hasty) == 0
    gone, staying = Caller("gone", True), Caller("staying", True)
    assert world.ask(gone) == pytest.approx(2, abs=0.01)
    world.now += 0.01
    assert world.ask(staying) == pytest.approx(1.99, abs=0.01)  # four slots are free then
    world.now += 1.99
    for _ in range(3):
        assert world.ask(staying) == 0
    assert world.ask(staying) > 0  # the last slot is promised
    world.now += 1.1
    assert world.ask(staying) == 0  # and free when its owner has not come for a second


def test_who_leaves_the_line_keeps_nobody_waiting(server: Redis, long_known: None) -> None:
    def caller() -> SharedThrottle:
        return SharedThrottle(1, redis_url=server.url, interactive=True, processes=1, limit=4, period=2)

    first = caller()
    assert [first.acquire() for _ in range(4)] == [0, 0, 0, 0]
    for _ in range(12):
        hasty = caller()
        assert (
            0 < hasty.acquire() < 2 + SPREAD
        )  # its own turn, three windows later were the others still there
        hasty.leave()
    assert 0 < caller().acquire() < 2 + SPREAD


def test_a_caller_is_told_exactly_when(database: redis.Redis) -> None:
    world = World(database)
    for number in range(LIMIT):
        assert world.ask(Caller(f"first {number}", True)) == 0
        world.now += 0.1
    line = [Caller(f"next {number:03}", True) for number in range(150)]
    began = world.grants[0]
    for number, caller in enumerate(line):
        expected = began + 0.1 * (number % LIMIT) + WINDOW * (1 + number // LIMIT)
        assert world.ask(caller) == pytest.approx(expected - world.now, abs=0.001)


def test_an_emptied_redis_waits_a_window_when_someone_remembers(database: redis.Redis) -> None:
    world = World(database)
    workers = crew(5, interactive=True)
    world.run(workers, 3, pause=lambda caller: 0.01)
    assert len(world.grants) == LIMIT
    database.flushall()
    emptied_at = world.now
    world.run(workers, 60, pause=lambda caller: 0.01)
    world.stand_the_limit()
    again = next(at for at in world.grants if at > emptied_at)
    assert WINDOW <= again - emptied_at < WINDOW + 0.5


def test_an_emptied_redis_gives_newcomers_a_quarter_until_someone_remembers(database: redis.Redis) -> None:
    world = World(database)
    workers, newcomers = crew(5, interactive=True), [Caller(f"new {n}", True) for n in range(5)]
    world.run(workers, 3, pause=lambda caller: 0.01)
    database.flushall()
    world.run(newcomers, 2, pause=lambda caller: 0.01)
    assert len(world.grants) == LIMIT + 25
    told = world.now
    world.run([*workers, *newcomers], 60, pause=lambda caller: 0.01)
    assert not [at for at in world.grants if told + 0.1 < at < told + WINDOW]
    assert most_in([at for at in world.grants if at > told], WINDOW - 1e-5) <= LIMIT


def test_an_emptied_redis_gives_a_quarter_when_nobody_remembers(database: redis.Redis) -> None:
    world = World(database)
    database.flushall()
    world.run(crew(5, interactive=True), 40, pause=lambda caller: 0.01)
    first = world.grants[0]
    assert sum(at < first + WINDOW for at in world.grants) == 25
    assert sum(at < first + 1.9 * WINDOW for at in world.grants) == 125


def test_a_grant_without_redis_fills_the_window_once(database: redis.Redis) -> None:
    world = World(database)
    alone = [Caller(f"alone {n}", True, granted_at=world.now - 1 - n / 10) for n in range(3)]
    assert world.ask(alone[0]) == pytest.approx(WINDOW)
    world.now += 0.3
    assert world.ask(alone[1]) == pytest.approx(WINDOW - 0.3)  # sent before that: nothing new
    long_ago = Caller("long ago", True, granted_at=world.now - 20)
    world.now += WINDOW
    assert world.ask(long_ago) == 0


def test_a_clock_put_far_back_costs_one_window(database: redis.Redis) -> None:
    world = World(database)
    workers = crew(5, interactive=True)
    world.run(workers, 3, pause=lambda caller: 0.01)
    world.skew = -86_400
    world.run(workers, 40, pause=lambda caller: 0.01)
    world.stand_the_limit()
    assert len(world.grants) == 3 * LIMIT


step = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 7)),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.001, 0.05, 0.11, 0.5, 1.0, 1.2])),
    st.tuples(st.just("back"), st.sampled_from([0.1, 1.0, 3.0, 5000.0])),
    st.tuples(st.just("empty"), st.just(0)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, min_size=20, max_size=150))
def test_no_window_holds_more_whatever_happens(database: redis.Redis, steps: list[tuple[str, Any]]) -> None:
    """Whoever asks when, a clock put back, and a Redis emptied, once a window, beside a caller that remembers."""
    world = World(database, limit=5, window=1.2)
    emptied = 0.0
    callers = crew(4, interactive=True) + crew(4, interactive=False)
    for what, value in steps:
        match what:
            case "ask":
                world.ask(callers[value])
            case "pass":
                world.now += value
            case "back":
                world.skew -= value
            case "empty" if world.grants and world.now - emptied > world.window:
                emptied = world.now
                database.flushall()
                world.ask(max(callers, key=lambda caller: caller.granted_at))
    world.stand_the_limit()


# In real time


def test_usage_and_hold(database: redis.Redis, server: Redis, long_known: None) -> None:
    def throttle() -> SharedThrottle:
        return SharedThrottle("880123", redis_url=server.url, interactive=True)

    def figures() -> ratelimit.Usage:
        found = usage("880123", redis_url=server.url)
        assert found is not None
        return found

    assert figures() == ratelimit.Usage(used=0, limit=100, held_until=None)
    one, other = throttle(), throttle()
    assert [one.acquire() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert figures().used == 3
    before = time.time()
    other.hold(2)
    other.hold(1)  # the longest stands
    held = figures().held_until
    assert held is not None
    assert 1.9 < held.timestamp() - before < 2.5
    assert 1 < one.acquire() <= 2
    database.delete(*database.keys("timebridge:rate:*:state"))
    assert 1 < other.acquire() <= 2  # who was told obeys without Redis too
    for nonsense in (0, -5, float("nan")):
        other.hold(nonsense)
    assert figures().held_until is None
    SharedThrottle("77", redis_url=server.url, interactive=True).hold(1e12)
    ends = usage("77", redis_url=server.url)
    assert ends is not None
    assert ends.held_until is not None
    assert 3500 < ends.held_until.timestamp() - time.time() <= 3601
    keys = database.keys("*")
    assert not [key for key in keys if "880123" in key]
    assert all(database.ttl(key) > 0 for key in keys if key != EPOCH_KEY)


def test_accounts_do_not_share(server: Redis, long_known: None) -> None:
    busy = SharedThrottle("1", redis_url=server.url, interactive=True)
    assert [busy.acquire() for _ in range(100)] == [0.0] * 100
    assert 10 < busy.acquire() <= WINDOW
    assert SharedThrottle("2", redis_url=server.url, interactive=True).acquire() == 0
    assert SharedThrottle("1", redis_url=server.url, interactive=True, provider="other").acquire() == 0


@pytest.mark.parametrize("processes", [0, 101])
def test_so_many_processes_cannot_stay_below_the_limit(processes: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 100"):
        SharedThrottle("1", redis_url="redis://127.0.0.1:1/0", interactive=True, processes=processes)


def test_a_hold_is_obeyed_by_all_and_ends_to_the_second(server: Redis, long_known: None) -> None:
    throttles = [SharedThrottle("3", redis_url=server.url, interactive=n % 2 == 0) for n in range(6)]
    throttles[0].hold(1.5)
    until = time.monotonic() + 1.5
    granted = []

    def take(throttle: SharedThrottle) -> None:
        while (wait := throttle.acquire()) > 0:
            time.sleep(wait)
        granted.append(time.monotonic())

    threads = [threading.Thread(target=take, args=(throttle,)) for throttle in throttles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(granted) == 6
    assert min(granted) >= until - 0.005
    assert min(granted) < until + 1


# Processes


@contextmanager
def processes(number: int, target: Callable[..., None], *arguments: Any) -> Iterator[Callable[[], list[Any]]]:
    """So many processes that begin together; gives what waits for their ends and returns their notes."""
    context = multiprocessing.get_context("spawn")
    start, notes = context.Barrier(number + 1), context.Queue()
    started = [
        context.Process(target=target, args=(*arguments, start, notes), daemon=True) for _ in range(number)
    ]

    def finish() -> list[Any]:
        found = []
        while any(process.is_alive() for process in started) or not notes.empty():
            try:
                found.append(notes.get(timeout=0.2))
            except Empty:
                continue
        assert [process.exitcode for process in started] == [0] * number
        return found

    try:
        for process in started:
            process.start()
        start.wait(60)
        yield finish
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
            process.join(10)
        notes.close()


def watch(database: redis.Redis, grants: set[int], stop: threading.Event) -> None:
    """Collect the log's times, by Redis's clock, often enough to miss none."""
    while not stop.wait(0.1):
        for key in database.keys("timebridge:rate:*:log"):
            grants.update(map(int, database.lrange(key, 0, -1)))


def test_many_threads_of_three_processes(database: redis.Redis, server: Redis, long_known: None) -> None:
    options = {"redis_url": server.url, "limit": 40, "period": 1.0, "spread": 0.04}
    grants: set[int] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(database, grants, stop))
    watcher.start()
    with processes(3, hammer, options, 8, 3.0) as finish:
        noted = finish()
    stop.set()
    watcher.join()
    times = sorted(at / 1e6 for at in grants)
    assert len(times) >= len(noted) > 100
    assert most_in(times, 1.04 - 1e-6) <= 40


@pytest.mark.slow
def test_three_processes_read_a_limited_harvest(
    server: Redis, long_known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one 429, nearly all of the limit used, and people hardly wait."""
    arrivals: list[float] = []
    sandbox = Sandbox.empty()
    admit = sandbox.rate_limit.admit

    def note(account_id: int) -> Any:
        arrivals.append(time.monotonic())
        return admit(account_id)

    monkeypatch.setattr(sandbox.rate_limit, "admit", note)
    with (
        SandboxServer(sandbox) as harvest,
        processes(3, read_harvest, MAIN_ACCOUNT_ID, ADMIN_TOKEN, harvest.api_url, server.url, 20.0) as finish,
    ):
        noted = finish()
    assert sandbox.rate_limit.refused == 0
    assert most_in(arrivals, PERIOD) <= LIMIT
    assert len(noted) > 100
    busy = arrivals[-1] - arrivals[0]
    assert busy > 15
    assert len(arrivals) >= 0.95 * 100 * busy / 15
    waits = sorted(wait for interactive, wait in noted if interactive)
    assert waits[int(0.95 * len(waits))] < 1.5  # with the request itself, on a busy machine


# Without Redis


def test_redis_killed_and_started_again(tmp_path: Path) -> None:
    """Three processes go on slowly without it and quickly with it, and stay below the limit all the time.

    A quarter of the limit each, as four may send: 10 in a window of 1.4 s, three times that together; with it 40.
    """
    server = Redis(tmp_path, durable=False)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as database:
            database.set(EPOCH_KEY, 1)
        options = {"redis_url": server.url, "limit": 40, "period": 1.0, "spread": 0.4, "processes": 4}
        with processes(3, hammer, options, 2, 9.5) as finish:
            time.sleep(2)
            server.kill()
            killed = time.monotonic()
            time.sleep(3.5)
            server.start()
            back = time.monotonic()
            noted = finish()
    finally:
        server.stop()
    times = sorted(noted)
    assert most_in(times, 1.0) <= 40
    assert len([at for at in times if at < killed]) > 60
    assert not [at for at in times if killed + 0.3 < at < killed + 1.2]  # a window of silence first
    alone = [at for at in times if killed + 2 < at < back]
    assert 8 < len(alone) <= 30 * ((back - killed - 2) / 1.4 + 1)
    assert most_in(alone, 1.4) <= 30
    assert most_in([at for at in times if at > back + 2.2], 1.4) > 30


def test_a_process_alone_keeps_its_share(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    server = Redis(tmp_path, durable=False)
    server.start()
    with redis.Redis.from_url(server.url) as database:
        database.set(EPOCH_KEY, 1)
    caplog.set_level(logging.INFO, "integrations.ratelimit")
    mine = [
        SharedThrottle(
            "6",
            redis_url=server.url,
            interactive=n == 0,
            limit=10,
            period=1.0,
            spread=0.0,
            processes=5,
        )
        for n in range(2)
    ]
    try:
        assert mine[0].acquire() == 0
        server.stop()
        began = time.monotonic()
        granted: list[float] = []
        while time.monotonic() < began + 2.9:
            waits = [throttle.acquire() for throttle in mine]
            granted += [time.monotonic() - began for wait in waits if wait == 0]
            assert max(waits) <= 0.5
            time.sleep(min(waits) if min(waits) else 0.01)
        assert granted[0] >= 1  # a window of silence: what others were granted is unknown
        assert 3 <= len(granted) <= 4  # two a window for this process
        assert most_in(granted, 0.99) <= 2
        server.start()
        since = time.monotonic() - began - granted[-1]
        wait = mine[0].acquire()
        # It sent alone a moment ago, and others may have; unless starting the server has taken a whole window.
        assert 0.9 < wait <= 1 or since > 0.9
        time.sleep(wait)
        assert mine[0].acquire() == 0
    finally:
        server.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert not any("redis://" in record.getMessage() for record in caplog.records)


def test_usage_without_redis() -> None:
    with temporary_port() as port:
        assert usage("1", redis_url=f"redis://127.0.0.1:{port}/0") is None


def test_a_redis_that_hangs_costs_little_time() -> None:
    with temporary_port(listening=True) as port:
        throttle = SharedThrottle("1", redis_url=f"redis://127.0.0.1:{port}/0", interactive=True)
        began = time.monotonic()
        assert 0 < throttle.acquire() <= 0.5
        throttle.hold(30)
        assert time.monotonic() - began < 3
        assert 29 < throttle.acquire() <= 30


@contextmanager
def temporary_port(*, listening: bool = False) -> Iterator[int]:
    """A port that refuses connections, or takes them and says nothing."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        if listening:
            holder.listen()
        yield holder.getsockname()[1]
