"""What the shared rate limit costs, how much of the limit it lets through, and how long people wait beside the night.

.venv/bin/python -m tests.benchmarks.rate_limit [SECONDS]
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import redis

from dev.services import Redis
from integrations.ratelimit import LIMIT, PERIOD, SharedThrottle

PROCESSES, WORKERS = 3, 4  # threads of a process; one more asks once a second, for a person


def work(url: str, until: float, interactive: bool, notes: Any) -> None:
    throttle = SharedThrottle("bench", redis_url=url, interactive=interactive)
    while True:
        began, asked = time.monotonic(), 1
        while (wait := throttle.acquire()) > 0:
            if time.monotonic() + wait > until:
                return
            time.sleep(wait)
            asked += 1
        granted = time.monotonic()
        if granted > until:
            return
        notes.put((interactive, granted, granted - began, asked))
        time.sleep(1 if interactive else 0.05)


def process(url: str, until: float, notes: Any) -> None:
    threads = [
        threading.Thread(target=work, args=(url, until, number == 0, notes)) for number in range(WORKERS + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cost(url: str, rounds: int = 3000) -> tuple[float, float]:
    """Microseconds of a grant and of a refusal, the way to Redis and back included."""
    free = SharedThrottle("free", redis_url=url, interactive=True, limit=rounds, period=0.001, spread=0)
    full = SharedThrottle("full", redis_url=url, interactive=True)
    while full.acquire() == 0:
        pass
    figures = []
    for throttle in (free, full):
        began = time.perf_counter()
        for _ in range(rounds):
            throttle.acquire()
        figures.append((time.perf_counter() - began) / rounds * 1e6)
    return figures[0], figures[1]


def saturate(url: str, seconds: float) -> list[tuple[bool, float, float, int]]:
    """(interactive, when, seconds waited, how often asked) of every grant."""
    context = multiprocessing.get_context("spawn")
    notes = context.Queue()
    until = time.monotonic() + seconds
    started = [context.Process(target=process, args=(url, until, notes)) for _ in range(PROCESSES)]
    for one in started:
        one.start()
    found = []
    while any(one.is_alive() for one in started) or not notes.empty():
        if notes.empty():
            time.sleep(0.05)
        else:
            found.append(notes.get())
    return sorted(found, key=lambda note: note[1])


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(prefix="timebridge-bench-") as directory:
        server = Redis(Path(directory), durable=True)
        server.start()
        try:
            with redis.Redis.from_url(server.url) as database:
                database.set("timebridge:rate:epoch", 1)  # up for long, and idle
            grant, refusal = cost(server.url)
            notes = saturate(server.url, seconds)
        finally:
            server.stop()
    times = [at for _, at, _, _ in notes]
    most = max(sum(start <= at < start + PERIOD for at in times) for start in times)
    rate = (len(times) - 1) / (times[-1] - times[0])
    print(
        f"a grant {grant:.0f} µs, a refusal {refusal:.0f} µs; asked {_mean([n[3] for n in notes]):.2f} times a grant"
    )
    print(
        f"{len(times)} grants: at most {most} in any {PERIOD:.0f} s, {rate * PERIOD / LIMIT:.1%} of the limit"
    )
    for name, kind in (("people", True), ("night", False)):
        waits = sorted(wait for interactive, _, wait, _ in notes if interactive == kind)
        middle, late = waits[len(waits) // 2], waits[int(len(waits) * 0.95)]
        figures = f"{middle:.3f} s (p50), {late:.3f} s (p95), {waits[-1]:.3f} s at most"
        print(f"  {name:7} {len(waits):5} grants, waited {figures}")


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
