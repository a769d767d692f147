"""`make run`, whole: on free ports, with a state directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev.processes import free_port
from dev.run import RunError, harvest_environment, is_ready, wanted_port
from dev.state import CHECKOUT, read_pairs
from tests.dev.processes import processes_with, wait_until

GIVEN = ("DATABASE_URL", "REDIS_URL", "MAKELEVEL", "HARVEST_SANDBOX", "HARVEST_API_URL", "HARVEST_ID_URL")

READ_KEPT = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT answer FROM kept")
    print(cursor.fetchone())
"""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_taken_port_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, taken_port: int) -> None:
    monkeypatch.setenv("PORT", str(taken_port))
    with pytest.raises(RunError) as refused:
        wanted_port("PORT", 8000, insist=True)
    text, _, remedy = str(refused.value).partition(": ")
    assert text == f"Port {taken_port} is taken by another program. Choose another"
    other = int(remedy.removeprefix("PORT=").removesuffix(" make run"))
    monkeypatch.setenv("PORT", str(other))
    assert wanted_port("PORT", 8000, insist=True) == other


@pytest.mark.parametrize("text", ["http", "0", "70000", "-1"])
def test_port_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PORT", text)
    with pytest.raises(RunError, match=f"PORT={text} is not a port number"):
        wanted_port("PORT", 8000, insist=True)


def test_sandbox_takes_another_port_unless_it_was_named(
    monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    monkeypatch.delenv("SANDBOX_PORT", raising=False)
    assert wanted_port("SANDBOX_PORT", taken_port, insist=False) != taken_port
    monkeypatch.setenv("SANDBOX_PORT", str(taken_port))
    with pytest.raises(RunError, match=f"Port {taken_port} is taken"):
        wanted_port("SANDBOX_PORT", 8801, insist=False)


def test_harvest_given_by_the_environment_wins_over_the_sandbox() -> None:
    found = harvest_environment({"HARVEST_API_URL": "https://harvest.example/v2", "HARVEST_ID_URL": ""}, 8801)
    assert found["HARVEST_API_URL"] == "https://harvest.example/v2"
    assert found["HARVEST_ID_URL"] == "http://localhost:8801"
    assert harvest_environment({}, None) == {"HARVEST_SANDBOX": "0"}


class Run:
    """A `python -m dev.run` in its own process group, as a terminal would start it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port, self.sandbox_port = free_port(), free_port()
        self.output = state.with_name("output.txt")
        self.environment = {name: value for name, value in os.environ.items() if name not in GIVEN}
        self.environment |= {
            "TIMEBRIDGE_STATE": str(state),
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
        }

    def start(self) -> None:
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dev.run"],
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(lambda: self.process.poll() is not None or "Timebridge is up." in self.said(), seconds=120)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.output.read_text()

    def manage(self, *arguments: str) -> str:
        environment = {name: value for name, value in self.environment.items() if not name.endswith("PORT")}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.check_output(command, cwd=CHECKOUT, env=environment, text=True)

    def processes(self) -> list[int]:
        return processes_with(str(self.state))

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def a_run() -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="timebridge-run-") as name:
        Path(name).chmod(0o711)
        run = Run(Path(name) / "state")
        try:
            yield run
        finally:
            if getattr(run, "process", None) and run.process.poll() is None:
                run.end(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whole_run(a_run: Run) -> None:
    a_run.start()
    assert is_ready(a_run.port)
    assert f"Open     http://localhost:{a_run.port}\n" in a_run.said()
    assert "Sign in with " in a_run.said()
    assert f"http://localhost:{a_run.sandbox_port}, a sandbox" in a_run.said()
    with urllib.request.urlopen(f"http://127.0.0.1:{a_run.sandbox_port}/") as answer:
        assert answer.status == 200

    with psycopg.connect(read_pairs(a_run.state / "env")["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    # In the same checkout manage.py reaches the same database, by what the run keeps in its environment file.
    assert a_run.manage("shell", "--verbosity", "0", "--command", READ_KEPT) == "(42,)\n"

    second = subprocess.run(
        [sys.executable, "-m", "dev.run"], cwd=CHECKOUT, env=a_run.environment, capture_output=True, text=True
    )
    assert (second.returncode, second.stdout) == (
        1,
        f"This checkout is in use already, by make run (process {a_run.process.pid}). End that first.\n",
    )

    [worker] = [pid for pid in a_run.processes() if is_leader(pid, "celery -A config worker")]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "worker ended by signal 9; starting it again" in a_run.said())
    wait_until(lambda: any(is_leader(pid, "celery -A config worker") for pid in a_run.processes()))
    postgres = int((a_run.state / "postgres.pid").read_text())
    os.kill(postgres, signal.SIGKILL)
    wait_until(lambda: "postgres ended; starting it again." in a_run.said())
    wait_until(lambda: is_ready(a_run.port), seconds=30)

    assert a_run.end(signal.SIGINT) == 0
    assert a_run.said().endswith("Stopped.\n")
    wait_until(lambda: a_run.processes() == [], seconds=2)

    a_run.start()
    with psycopg.connect(read_pairs(a_run.state / "env")["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    a_run.process.kill()  # and nothing outlives a run that is killed outright
    wait_until(lambda: a_run.processes() == [], seconds=30)


def is_leader(pid: int, command: str) -> bool:
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return command in said and os.getsid(pid) == pid
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_interrupt_that_reaches_make_alone_is_noticed(tmp_path: Path) -> None:
    code = "import time; from dev.run import make_was_interrupted as asked; print('waiting', flush=True)\n"
    code += "while not asked(): time.sleep(0.05)\nprint('noticed', flush=True)"
    (tmp_path / "wait.py").write_text(code)
    (tmp_path / "Makefile").write_text(
        f"run:\n\t@PYTHONPATH={CHECKOUT} exec {sys.executable} {tmp_path}/wait.py\n"
    )
    make = subprocess.Popen(
        ["make", "-C", tmp_path, "run"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with make:
        try:
            assert make.stdout is not None
            while make.stdout.readline() != "waiting\n":
                assert make.poll() is None
            make.send_signal(signal.SIGINT)
            assert make.stdout.readline() == "noticed\n"
        except BaseException:  # the end of the block waits for make, which may wait for ever
            os.killpg(make.pid, signal.SIGKILL)
            raise
