"""`make run`: everything that Timebridge consists of, on this machine, until Ctrl-C.

PostgreSQL and Redis (unless DATABASE_URL and REDIS_URL name others), a Harvest sandbox (unless
HARVEST_SANDBOX=0), web, worker and beat, and a demo workspace to sign in to. PORT is the web port,
SANDBOX_PORT the sandbox's, TIMEBRIDGE_STATE the directory of the data; VERBOSE=1 shows all that is logged.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from dev.processes import blocks, follow, free_port, without_proxy
from dev.services import ServiceError, Services, application_secrets
from dev.state import CHECKOUT, InUseError, only_one, state_dir, write_pairs
from dev.supervisor import Program, Supervisor
from harvest.sandbox import ADMIN_TOKEN, CLIENT_ID, CLIENT_SECRET, MAIN_ACCOUNT_ID

READY_SECONDS = 90.0
# What manage.py needs to know of a run, besides what the person's own shell says.
SHARED = (
    *("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "FIELD_KEYS", "TIMEBRIDGE_ENV", "DEMO", "EMAIL_URL", "PORT"),
    *("HARVEST_SANDBOX", "SANDBOX_PORT", "HARVEST_API_URL", "HARVEST_ID_URL"),
    *("HARVEST_CLIENT_ID", "HARVEST_CLIENT_SECRET"),
)


class RunError(RuntimeError):
    """`make run` cannot go on; the message says what to do."""


def say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(line, flush=True)


def is_free(port: int) -> bool:
    """Whether nothing on this machine listens on the port, by either address of localhost."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn will
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return not listens("::1", port)


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wanted_port(name: str, default: int, *, insist: bool) -> int:
    """The port that a variable names; RunError when it is taken, or another free one where nobody insists."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RunError(f"{name}={text} is not a port number.")
    port = int(text)
    if is_free(port):
        return port
    if not insist and not os.environ.get(name):
        return free_port()
    other = next(
        (candidate for candidate in range(port + 1, min(port + 200, 65536)) if is_free(candidate)), 0
    )
    raise RunError(
        f"Port {port} is taken by another program. Choose another: {name}={other or 8123} make run"
    )


def harvest_environment(given: Mapping[str, str], sandbox_port: int | None) -> dict[str, str]:
    """Where Harvest is: as given, else the sandbox, else Harvest itself, which is the settings' default."""
    if sandbox_port is None:
        return {"HARVEST_SANDBOX": "0"}
    sandbox = {
        "HARVEST_SANDBOX": "1",
        "SANDBOX_PORT": str(sandbox_port),
        "HARVEST_API_URL": f"http://127.0.0.1:{sandbox_port}/v2",
        "HARVEST_ID_URL": f"http://localhost:{sandbox_port}",
        "HARVEST_CLIENT_ID": CLIENT_ID,
        "HARVEST_CLIENT_SECRET": CLIENT_SECRET,
    }
    return {name: given.get(name) or value for name, value in sandbox.items()}


def programs(state: Path, port: int, sandbox_port: int | None) -> list[Program]:
    """In the order in which they end."""
    python = sys.executable
    web = f"-m gunicorn config.wsgi:application --bind 127.0.0.1:{port} --worker-class gthread"
    web += " --workers 2 --threads 4 --graceful-timeout 4 --no-control-socket"
    worker = "-m celery -A config worker --concurrency 2 --loglevel INFO --without-mingle --without-gossip"
    beat = "-m celery -A config beat --loglevel INFO --pidfile= --schedule"
    made = [
        Program("web", [python, *web.split()], patience=8),
        Program("worker", [python, *worker.split()], patience=10),
        Program("beat", [python, *beat.split(), state / "celerybeat-schedule"], patience=5),
    ]
    if sandbox_port is not None:
        command = [python, "manage.py", "harvest_sandbox", "--port", str(sandbox_port)]
        made.append(Program("sandbox", command, patience=5))
    return made


def is_ready(port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, or urllib's own HTTPError and URLError
        return False


def make_was_interrupted() -> bool:
    """Whether a SIGINT has reached make alone, not its whole group as from a terminal: then it waits for us."""
    return "MAKELEVEL" in os.environ and blocks(os.getppid(), signal.SIGINT)


def welcome(port: int, sandbox_port: int | None, demo: str, state: Path) -> str:
    lines = ["", "Timebridge is up.", "", f"  Open     http://localhost:{port}"]
    lines += [f"           {line}" for line in demo.splitlines() if line.startswith(("Sign in", "Mail "))]
    if sandbox_port is not None:
        lines.append(f"  Harvest  http://localhost:{sandbox_port}, a sandbox; to connect with a token:")
        lines.append(f"           account {MAIN_ACCOUNT_ID}, token {ADMIN_TOKEN}")
    lines += [f"  Logs     {state / 'logs'}", "  Stop     Ctrl-C (the data stays)", ""]
    return "\n".join(lines)


def run(state: Path) -> None:
    """Everything, until a stop is asked for. Raises RunError, ServiceError or InUseError."""
    with only_one(state, "make run"):
        port = wanted_port("PORT", 8000, insist=True)
        with_sandbox = os.environ.get("HARVEST_SANDBOX", "1") != "0"
        sandbox_port = wanted_port("SANDBOX_PORT", 8801, insist=False) if with_sandbox else None
        services = Services(state, durable=True, given=os.environ)
        environment = application_secrets(state) | {"TIMEBRIDGE_ENV": "development", "DEMO": "1"} | os.environ
        environment |= {"PORT": str(port), "PYTHONUNBUFFERED": "1"}
        environment |= harvest_environment(os.environ, sandbox_port)
        environment |= without_proxy(os.environ)
        supervisor = Supervisor(
            programs(state, port, sandbox_port),
            services.servers,
            environment=environment,
            directory=CHECKOUT,
            logs=state / "logs",
            say=say,
            verbose=os.environ.get("VERBOSE") == "1",
        )
        with supervisor.signals():
            say("Starting PostgreSQL and Redis.")
            services.start()
            environment |= services.environment
            write_pairs(state / "env", {name: environment[name] for name in SHARED if environment.get(name)})
            say("Preparing the database.")
            supervisor.run_to_end([sys.executable, "manage.py", "migrate", "--no-input"])
            demo = supervisor.run_to_end([sys.executable, "manage.py", "demo"])
            if supervisor.stop_asked:
                return
            say("Starting web, worker, beat" + (" and the Harvest sandbox." if with_sandbox else "."))
            supervisor.start_all()
            deadline = time.monotonic() + READY_SECONDS

            def ready() -> bool:
                return is_ready(port) and (sandbox_port is None or listens("127.0.0.1", sandbox_port))

            supervisor.watch(until=lambda: ready() or time.monotonic() > deadline)
            if ready():
                say(welcome(port, sandbox_port, demo, state))
            elif not supervisor.stop_asked:
                say(f"It is not ready yet, after {READY_SECONDS:g} s; the reason may be in {state / 'logs'}.")
            if supervisor.watch(until=make_was_interrupted):
                say("Stopping.")


def main() -> int:
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        say(f"Timebridge runs on Python 3.11 or 3.12; this is {sys.version.split()[0]}.")
        return 1
    if "MAKELEVEL" in os.environ:
        follow(os.getppid(), signal.SIGTERM)  # also when make itself is killed outright
    try:
        run(state_dir())
    except (RunError, ServiceError, InUseError) as error:
        say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        say(
            f"{error.output}\nThe database could not be prepared: {' '.join(map(str, error.cmd[1:]))} failed."
        )
        return 1
    say("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
