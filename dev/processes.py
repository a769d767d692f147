"""Child processes that end when they are told to, and with their starter."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PR_SET_PDEATHSIG = 1


def follow(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process `number` when the thread that started it dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before that
            os._exit(1)


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for children that shall not outlive a starter which is killed outright.

    Start them from the main thread: it is the thread's death that counts.
    """
    return functools.partial(follow, os.getpid(), number)


def end(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal, waiting its number of seconds, until the process has ended; SIGKILL comes last."""
    for number, patience in (*steps, (signal.SIGKILL, 10.0)):
        if process.poll() is None:
            process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def command_of(pid: int) -> str:
    """The command line of a living process; empty when there is none."""
    try:
        if Path("/proc/self").exists():
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
    except OSError:
        return ""


def blocks(pid: int, number: signal.Signals) -> bool:
    """Whether a process has this signal blocked, as it has while it handles it (Linux only)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep requests to this machine from a proxy, whatever else goes through it."""
    return {
        name: ",".join(filter(None, (environment.get(name), "localhost,127.0.0.1")))
        for name in ("NO_PROXY", "no_proxy")
    }


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
