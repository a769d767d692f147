"""The keeper of processes behind `make run`, with small programs in the place of web, worker and beat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dev.supervisor import Program, Supervisor
from tests.dev.processes import processes_with, wait_until

# Says its name into a file when it has started and when it is asked to end.
POLITE = """
import pathlib, signal, sys, time
name, journal = sys.argv[1], pathlib.Path(sys.argv[2])
def note(text):
    with journal.open("a") as file:
        file.write(text + chr(10))
def end(number, frame):
    note("end " + name)
    sys.exit()
signal.signal(signal.SIGTERM, end)
note("start " + name)
while True:
    time.sleep(60)
"""
# Ignores SIGTERM, as does its child.
STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
pathlib.Path(sys.argv[2]).write_text("start stubborn" + chr(10))
while True:
    time.sleep(60)
"""


class Stage:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.said: list[str] = []

    def program(self, name: str, code: str = POLITE, patience: float = 5.0) -> Program:
        return Program(name, [sys.executable, "-c", code, name, self.journal], patience=patience)

    def supervisor(self, *programs: Program, verbose: bool = False) -> Supervisor:
        return Supervisor(
            programs,
            [],
            environment={**os.environ, "STAGE": str(self.directory)},
            directory=self.directory,
            logs=self.directory / "logs",
            say=self.said.append,
            verbose=verbose,
        )

    def events(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def processes(self) -> list[int]:
        return processes_with(f"STAGE={self.directory}")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_stop_ends_all_in_order(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.program("web"), stage.program("worker"), stage.program("beat"))
    with supervisor.signals():
        supervisor.start_all()
        assert supervisor.watch(until=lambda: len(stage.events()) == 3)
        assert len(stage.processes()) == 3
        os.kill(os.getpid(), signal.SIGINT)
        assert not supervisor.watch(until=lambda: False)
    assert stage.events()[3:] == ["end web", "end worker", "end beat"]
    assert stage.processes() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_dead_program_starts_again_ever_more_slowly(stage: Stage) -> None:
    once = stage.program("web", "import sys; print('ERROR no luck', flush=True); sys.exit(3)")
    supervisor = stage.supervisor(once, stage.program("worker"))
    with supervisor.signals():
        supervisor.start_all()
        supervisor.watch(until=lambda: sum("web ended" in line for line in stage.said) == 3)
    ends = [line.partition(" (")[0] for line in stage.said if "web ended" in line]
    assert ends == [
        f"web ended with exit code 3; starting it again in {wait} s." for wait in ("0.5", "1", "2")
    ]
    assert stage.said.count("web     | ERROR no luck") == 3
    assert stage.events() == ["start worker", "end worker"]


def test_killed_program_starts_again(stage: Stage) -> None:
    program = stage.program("worker")
    supervisor = stage.supervisor(program)
    with supervisor.signals():
        supervisor.start_all()
        supervisor.watch(until=lambda: stage.events() == ["start worker"])
        assert program.process is not None
        program.process.kill()
        assert supervisor.watch(until=lambda: stage.events() == ["start worker"] * 2)
    assert "worker ended by signal 9; starting it again in 0.5 s." in stage.said[0]


def test_stubborn_program_is_killed_with_its_children(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.program("stubborn", STUBBORN, patience=0.5))
    with supervisor.signals():
        supervisor.start_all()
        supervisor.watch(until=lambda: stage.events() == ["start stubborn"])
        assert len(stage.processes()) == 2
    wait_until(lambda: stage.processes() == [], seconds=2)
    assert stage.said == ["stubborn did not end within 0.5 s; killing it."]


def test_second_interrupt_stops_at_once(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.program("stubborn", STUBBORN, patience=60), stage.program("web"))
    started = time.monotonic()
    with supervisor.signals():
        supervisor.start_all()
        supervisor.watch(until=lambda: "start stubborn" in stage.events())
        os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert time.monotonic() - started < 20
    wait_until(lambda: stage.processes() == [], seconds=2)


def test_failure_inside_ends_everything(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.program("web"))

    def started() -> bool:
        if stage.events() == ["start web"]:
            raise ZeroDivisionError
        return False

    with pytest.raises(ZeroDivisionError), supervisor.signals():  # noqa: PT012  # the failure is the inner one's
        supervisor.start_all()
        supervisor.watch(until=started)
    assert stage.events() == ["start web", "end web"]
    assert stage.processes() == []


def test_logs_are_shown_where_they_matter(stage: Stage) -> None:
    code = "import time; print('INFO fine'); print('WARNING hot', flush=True); time.sleep(60)"
    supervisor = stage.supervisor(stage.program("web", code))
    with supervisor.signals():
        supervisor.start_all()
        assert supervisor.watch(until=lambda: "web     | WARNING hot" in stage.said)
    assert not any("INFO" in line for line in stage.said)
    assert (stage.directory / "logs/web.log").read_text() == "INFO fine\nWARNING hot\n"


def test_set_up_command_gives_its_output_or_its_failure(stage: Stage) -> None:
    supervisor = stage.supervisor()
    assert supervisor.run_to_end(["echo", "done"]) == "done\n"
    with pytest.raises(subprocess.CalledProcessError) as failure:
        supervisor.run_to_end(["sh", "-c", "echo sorry; exit 4"])
    assert (failure.value.returncode, failure.value.output) == (4, "sorry\n")
