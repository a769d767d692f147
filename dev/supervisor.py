"""Keeps a few programs running: starts them, starts again what died, and ends them all in order.

Each program writes to its own log file; the lines that matter (warnings, errors, tracebacks) are also shown.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from dev.processes import end, end_with_parent
from dev.services import Server

TICK_SECONDS = 0.1
STEADY_SECONDS = 30.0  # a program that ran this long starts again at once when it dies
LONGEST_WAIT_SECONDS = 30.0

NOTEWORTHY = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|Traceback|^\s?\w*(Error|Exception)\b")


class ForcedError(Exception):
    """A second Ctrl-C: no more patience."""


@dataclass
class Program:
    """A program that ends at SIGTERM, within `patience` seconds."""

    name: str
    command: Sequence[str | Path]
    patience: float = 10.0

    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)  # not before this moment of the monotonic clock
    wait: float = field(default=0.5, init=False)  # seconds before the next start, doubled at each early death
    read_to: int = field(default=0, init=False)  # how much of its log has been shown


class Supervisor:
    """Runs `programs`, and watches over `servers`, which somebody else has started, until asked to stop.

    environment: of every program. logs: a directory for NAME.log. say: shows a line to the person.
    verbose: shows every line of every log. Ctrl-C and SIGTERM ask to stop; a second one kills what is left.
    Use it from the main thread.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        servers: Sequence[Server],
        *,
        environment: Mapping[str, str],
        directory: Path,
        logs: Path,
        say: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        self.programs = programs
        self.servers = servers
        self.stop_asked = 0
        self._environment = environment
        self._directory = directory
        self._logs = logs
        self._say = say
        self._verbose = verbose
        logs.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as requests to stop; nothing that was started survives this block."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._ask_to_stop) for number in numbers}
        try:
            with contextlib.suppress(ForcedError):
                try:
                    yield
                finally:
                    if self.stop_asked < 2:
                        self._end_all()
        finally:
            self._kill_all()  # which finds nothing, unless it was forced
            for number, handler in before.items():
                signal.signal(number, handler)

    def run_to_end(self, command: Sequence[str | Path]) -> str:
        """Run a command that ends by itself; its output. Raises CalledProcessError when it fails.

        A request to stop ends it early, with an empty answer.
        """
        with open(self._logs / "setup.log", "w+b") as log:
            process = self._popen(command, log.fileno())
            while process.poll() is None and not self.stop_asked:
                time.sleep(TICK_SECONDS)
            if process.poll() is None:
                end(process, (signal.SIGTERM, 5.0))
                return ""
            log.seek(0)
            output = log.read().decode(errors="replace")
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, list(command), output)
        return output

    def start_all(self) -> None:
        for program in self.programs:
            self._log(program).write_bytes(b"")
            self._start(program)

    def watch(self, until: Callable[[], bool]) -> bool:
        """Keep everything running until the condition holds (True) or a stop is asked for (False)."""
        while not self.stop_asked:
            self._tick()
            if until():
                return True
            time.sleep(TICK_SECONDS)
        return False

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked += 1
        if self.stop_asked == 1:
            self._say("Stopping. (Ctrl-C again to stop at once.)")
        elif self.stop_asked == 2:
            raise ForcedError

    def _log(self, program: Program) -> Path:
        return self._logs / f"{program.name}.log"

    def _popen(self, command: Sequence[str | Path], output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
            preexec_fn=end_with_parent(signal.SIGTERM),
        )

    def _start(self, program: Program) -> None:
        with open(self._log(program), "ab") as log:
            program.process = self._popen(program.command, log.fileno())
        program.started_at = time.monotonic()

    def _tick(self) -> None:
        for server in self.servers:
            if not server.running:
                self._say(f"{server.name} ended; starting it again.")
                server.start()
        now = time.monotonic()
        for program in self.programs:
            self._show_log(program)
            if program.process is None:
                if now >= program.start_at:
                    self._start(program)
            elif program.process.poll() is not None:
                self._note_death(program, program.process.returncode, now)

    def _note_death(self, program: Program, code: int, now: float) -> None:
        if now - program.started_at > STEADY_SECONDS:
            program.wait = 0.5
        self._kill_group(program)  # children that it left
        program.start_at = now + program.wait
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        self._say(
            f"{program.name} ended {how}; starting it again in {program.wait:g} s. ({self._log(program)})"
        )
        program.wait = min(program.wait * 2, LONGEST_WAIT_SECONDS)

    def _show_log(self, program: Program) -> None:
        with open(self._log(program), "rb") as log:
            log.seek(program.read_to)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                program.read_to += len(line)
                text = line.decode(errors="replace").rstrip()
                if self._verbose or NOTEWORTHY.search(text):
                    self._say(f"{program.name:8}| {text}")

    def _end_all(self) -> None:
        for program in self.programs:
            process = program.process
            if process is None:
                continue
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(program.patience)
            if process.poll() is None:
                self._say(f"{program.name} did not end within {program.patience:g} s; killing it.")
            self._kill_group(program)
            self._show_log(program)
        for server in reversed(self.servers):
            server.stop()

    def _kill_all(self) -> None:
        for program in self.programs:
            self._kill_group(program)
        for server in self.servers:
            server.kill()
            server.stop()

    @staticmethod
    def _kill_group(program: Program) -> None:
        """Kill the program and whatever it started, where anything of them is left."""
        if program.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()
            program.process = None
