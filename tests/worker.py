"""Real Celery workers for tests: processes of their own, on the test's database and a Redis that no other test uses.

A test asks for `workers` and starts some, or for `celery_worker_process` and finds one running. Either brings
`transactional_db`: workers see only what is committed. They are told the settings (Harvest's addresses, the lease) as
the test has them when they start, so change these first. There is no beat: `workers.sweep()` does what beat does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import kombu.pools
import pytest
import redis
from django.db import connection

from config.celery import app
from dev.processes import end_with_parent
from dev.services import Redis, temporary_services

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0

Found = TypeVar("Found")


@dataclass
class Worker:
    """One worker with its pool processes, all in a process group of their own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it, pool and all, as a crash of the machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Workers:
    """Starts workers, and ends them all with the test."""

    def __init__(self, broker: Redis, directory: Path, settings: Any) -> None:
        self.broker = broker
        self._directory = directory
        self._settings = settings
        self._started: list[Worker] = []

    def start(self, *, concurrency: int = 1, **environment: str) -> Worker:
        """A worker that is ready for its first task."""
        log = self._directory / f"worker-{len(self._started)}.log"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "worker",
            "--loglevel=DEBUG",
            "--without-mingle",
        ]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [
                    *command,
                    "--without-gossip",
                    f"--concurrency={concurrency}",
                    f"--hostname=test{os.getpid()}@%h",
                ],
                cwd=ROOT,
                env={**os.environ, **self._environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),
            )
        worker = Worker(process, log)
        self._started.append(worker)
        deadline = time.monotonic() + READY_SECONDS
        while " ready." not in worker.output:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The worker did not start:\n{worker.output[-3000:]}")
            time.sleep(0.05)
        return worker

    def _environment(self) -> dict[str, str]:
        database = urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"])
        names = ("HARVEST_API_URL", "HARVEST_ID_URL", "HARVEST_RUN_LEASE_SECONDS", "HARVEST_PROCESSES")
        return {
            "DATABASE_URL": database.geturl(),
            "REDIS_URL": self.broker.url,
            "HARVEST_RATE_LIMIT": "1" if self._settings.HARVEST_RATE_LIMIT else "0",
            **{name: str(getattr(self._settings, name)) for name in names},
        }

    def sweep(self) -> None:
        """Send what beat sends every few seconds."""
        from harvest.tasks import sweep_pushes, sweep_runs

        sweep_runs.delay()
        sweep_pushes.delay()

    def wait_for(
        self, look: Callable[[], Found], *, seconds: float = 60.0, every: float = 0.1, sweeping: bool = False
    ) -> Found:
        """What `look` finds, once that is true; with `sweeping`, sweeps every second meanwhile."""
        began = time.monotonic()
        swept = began
        while not (found := look()):
            now = time.monotonic()
            if now - began > seconds:
                logs = "\n".join(worker.output[-2000:] for worker in self._started)
                pytest.fail(f"It did not come to pass within {seconds:.0f} s.\n{logs}")
            if sweeping and now - swept >= 1:
                self.sweep()
                swept = now
            time.sleep(every)
        return found

    def flush(self) -> None:
        """Empty Redis: every message is lost."""
        with redis.Redis.from_url(self.broker.url) as client:
            client.flushall()
        self.broker.say_when_it_began()

    def messages(self) -> str:
        """Everything that waits in Redis, as text."""
        with redis.Redis.from_url(self.broker.url) as client:
            return repr(
                [client.lrange(key, 0, -1) for key in client.scan_iter() if client.type(key) == b"list"]
            )

    def end(self) -> None:
        for worker in self._started:
            worker.kill()


@pytest.fixture(scope="session")
def broker() -> Iterator[Redis]:
    """A Redis for the messages of these tests alone."""
    with temporary_services({"DATABASE_URL": os.environ["DATABASE_URL"]}) as services:
        assert services.redis is not None
        yield services.redis


@pytest.fixture
def workers(transactional_db: None, broker: Redis, settings: Any, tmp_path: Path) -> Iterator[Workers]:
    """To start workers; this process sends its tasks to them."""
    found = Workers(broker, tmp_path, settings)
    found.flush()
    before = app.conf.broker_url
    _send_by(broker.url)
    yield found
    found.end()
    _send_by(before)


def _send_by(url: str) -> None:
    """Have this process publish its tasks there, by connections made anew."""
    kombu.pools.reset()
    app._pool = None
    app.amqp._producer_pool = None
    app.conf.broker_url = url


@pytest.fixture
def celery_worker_process(request: pytest.FixtureRequest, workers: Workers) -> Worker:
    """A worker with two processes, on the sandbox where the test has one."""
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox")
    return workers.start(concurrency=2)
