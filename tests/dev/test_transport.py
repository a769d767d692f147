"""What goes over the network goes by TLS, to whom it is meant for: certificates, PostgreSQL, web, the log, settings.

PostgreSQL's part needs a server that was built with TLS, which that of the wheel was not: one of the system's, where
there is one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509

from config.certificates import GOOD_FOR, RENEW_BEFORE, make
from config.remote_log import MOST_WAITING, RemoteLog
from dev.processes import free_port
from dev.services import server_account
from dev.state import CHECKOUT
from tests.dev.test_deployment import PRODUCTION, in_production

NAMES = ["web", "worker", "beat", "migrate", "postgres", "redis"]
SERVERS = ["web", "postgres", "redis"]


@pytest.fixture(scope="module")
def tls() -> Iterator[Path]:
    """As the compose file has them made; where the servers' account can reach them."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o755)
    assert make(place, NAMES, SERVERS, ["proxy"])
    yield place
    shutil.rmtree(place)


def certificate(place: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((place / name / "certificate.pem").read_bytes())


# --- Certificates ----------------------------------------------------------------------------------------------------
def test_each_has_a_key_of_its_own_and_the_authority_none(tls: Path) -> None:
    keys = {(tls / name / "key.pem").read_text() for name in NAMES}
    assert len(keys) == len(NAMES)
    assert sorted(path.name for path in (tls / "proxy").iterdir()) == ["authority.pem"]
    authority = {(tls / name / "authority.pem").read_text() for name in [*NAMES, "proxy"]}
    assert len(authority) == 1
    [issuer] = x509.load_pem_x509_certificates(authority.pop().encode())
    public = issuer.public_key().public_numbers()  # type: ignore[union-attr]
    assert public not in [certificate(tls, one).public_key().public_numbers() for one in NAMES]  # type: ignore[union-attr]
    for name in NAMES:
        certificate(tls, name).verify_directly_issued_by(issuer)
        assert (tls / name / "key.pem").stat().st_mode & 0o777 == (
            0o644 if name in ("postgres", "redis") else 0o600
        )
    assert not make(tls, NAMES, SERVERS, ["proxy"]), "nothing is due"


def test_they_are_made_anew_in_time_and_the_old_authority_is_known_on(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    make(tmp_path, NAMES, SERVERS, ["proxy"], now=began)
    before = certificate(tmp_path, "web")
    due = began + GOOD_FOR - RENEW_BEFORE
    assert not make(tmp_path, NAMES, SERVERS, ["proxy"], now=due - timedelta(days=1))
    assert make(tmp_path, NAMES, SERVERS, ["proxy"], now=due + timedelta(days=1))
    assert certificate(tmp_path, "web").serial_number != before.serial_number
    for name in [*NAMES, "proxy"]:
        new, old = x509.load_pem_x509_certificates((tmp_path / name / "authority.pem").read_bytes())
        certificate(tmp_path, "redis").verify_directly_issued_by(new)
        before.verify_directly_issued_by(old)
    # One that was stopped half-way is made up for; the ended authority is forgotten.
    (tmp_path / "redis/certificate.pem").unlink()
    assert make(tmp_path, NAMES, SERVERS, ["proxy"], now=began + GOOD_FOR + timedelta(days=1))
    assert len(x509.load_pem_x509_certificates((tmp_path / "web/authority.pem").read_bytes())) == 2


# --- PostgreSQL ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def postgres(tls: Path) -> Iterator[int]:
    """The port of one that was started by the compose file's own script, with its own rules."""
    account = server_account()
    for binaries in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        place = Path(tempfile.mkdtemp(dir="/var/tmp"))
        place.chmod(0o777)
        run: Any = {"check": True, "capture_output": True, "text": True, "cwd": place, **account}
        subprocess.run([binaries / "initdb", "-D", place / "data", "-U", "postgres"], **run)
        library = subprocess.run([binaries / "postgres", "-D", place / "data", "-C", "ssl_library"], **run)
        if library.stdout.strip():
            break
    else:
        pytest.skip("no PostgreSQL with TLS is installed")
    sql = "".join(f"{line}\n" for line in role_of_the_script())
    single = [binaries / "postgres", "--single", "-D", place / "data", "postgres"]
    subprocess.run(single, input=sql, **run)
    port = free_port()
    (place / "bin").mkdir()
    (place / "docker").mkdir()
    # The image's own way in, as far as it matters here.
    entry = place / "bin/docker-entrypoint.sh"
    entry.write_text(
        f'#!/bin/sh\nset -eu\ntest "$1" = postgres; test -n "$POSTGRES_PASSWORD"; shift\n'
        f'exec {binaries}/postgres -D {place}/data -p {port} -k {place} -c listen_addresses=127.0.0.1 "$@"\n'
    )
    entry.chmod(0o755)
    for one in ("postgres.sh", "pg_hba.conf", "pg_ident.conf"):
        text = (CHECKOUT / "docker" / one).read_text()
        text = text.replace("/tls/", f"{tls}/postgres/").replace("/docker/", f"{place}/docker/")
        (place / "docker" / one).write_text(text.replace("/tmp/key.pem", f"{place}/key.pem"))
    place.chmod(0o777)
    path = f"{place}/bin:{os.environ['PATH']}"
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            ["sh", place / "docker/postgres.sh"],
            env={"PATH": path},
            cwd=place,
            stdout=log,
            stderr=log,
            **account,
        )
    try:
        for _ in range(100):
            if "ready to accept" in (place / "log").read_text():
                break
            time.sleep(0.1)
        else:
            pytest.fail((place / "log").read_text())
        yield port
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(place, ignore_errors=True)


def role_of_the_script() -> list[str]:
    """What docker/postgres-role.sh tells PostgreSQL."""
    text = (CHECKOUT / "docker/postgres-role.sh").read_text()
    return [line for line in text.splitlines() if line.startswith("CREATE ")]


def asking(tls: Path, port: int, name: str, **changes: str) -> str:
    values = {
        "host": "localhost", "hostaddr": "127.0.0.1", "port": str(port), "user": "timebridge",
        "dbname": "timebridge", "sslmode": "verify-full", "sslrootcert": f"{tls}/{name}/authority.pem",
        "sslcert": f"{tls}/{name}/certificate.pem", "sslkey": f"{tls}/{name}/key.pem",
    }  # fmt: skip
    return psycopg.conninfo.make_conninfo(**{key: one for key, one in (values | changes).items() if one})


def test_application_comes_by_tls_and_certificate(tls: Path, postgres: int) -> None:
    for name in ("web", "worker", "migrate"):
        with psycopg.connect(asking(tls, postgres, name)) as connection:
            row = connection.execute(
                "SELECT ssl, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            ).fetchone()
            assert row == (True, "TLSv1.3", f"/CN={name}")
            rights = connection.execute(
                "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert rights == (False, False, False, False)
            connection.execute("CREATE TABLE mine (id int)")
            connection.rollback()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("beat", {}, "certificate authentication failed"),
        ("web", {"sslmode": "disable"}, "no pg_hba.conf entry"),
        ("web", {"sslcert": "/nonexistent", "sslkey": "/nonexistent"}, "valid client certificate"),
        ("web", {"user": "postgres"}, "no pg_hba.conf entry"),
        ("web", {"dbname": "postgres"}, "no pg_hba.conf entry"),
        ("web", {"host": "another.example"}, "does not match host name"),
        ("web", {"sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, "certificate verify failed"),
    ],
)
def test_nobody_else_does_nor_elsewhere(
    name: str, changes: dict[str, str], words: str, tls: Path, postgres: int
) -> None:
    if not Path(changes.get("sslrootcert", "/")).exists():
        changes = {"sslrootcert": "system"}
    with pytest.raises(psycopg.OperationalError, match=words):
        psycopg.connect(asking(tls, postgres, name, **changes))


# --- Web -------------------------------------------------------------------------------------------------------------
def test_web_answers_by_tls_alone(tls: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "TIMEBRIDGE_STATE": "/nonexistent"} | PRODUCTION
    environment |= {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    command = [
        sys.executable, "-m", "gunicorn", "config.wsgi:application", f"--bind=127.0.0.1:{port}",
        f"--certfile={tls}/web/certificate.pem", f"--keyfile={tls}/web/key.pem", "--worker-class=gthread",
        "--no-control-socket",
    ]  # fmt: skip
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=log)
    try:
        context = ssl.create_default_context(cafile=f"{tls}/proxy/authority.pem")
        for _ in range(150):
            with contextlib.suppress(OSError):
                assert ask(port, context).startswith(b"HTTP/1.1 200")
                break
            time.sleep(0.2)
        else:
            pytest.fail((tmp_path / "log").read_text())
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            ask(port, old)
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, ssl.create_default_context())
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: time.example.com\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert not plain.recv(4096).startswith(b"HTTP/1.1 2")
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def ask(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="web") as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: time.example.com\r\nConnection: close\r\n\r\n")
        return connection.recv(4096)


# --- The log ---------------------------------------------------------------------------------------------------------
class LogServer:
    """Takes syslog over TLS by a certificate of `tls`, and keeps its frames."""

    def __init__(self, tls: Path, port: int) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls / "web/certificate.pem", tls / "web/key.pem")
        self.got = b""
        self._socket = socket.create_server(("127.0.0.1", port))
        self._context = context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as one:
                    while part := one.recv(65536):
                        self.got += part

    def lines(self, count: int) -> list[str]:
        """So many frames, cut by their lengths."""
        end = time.monotonic() + 10
        while True:
            found, rest = [], self.got
            while b" " in rest:
                length, _, rest = rest.partition(b" ")
                if len(rest) < int(length):
                    break
                found.append(rest[: int(length)].decode())
                rest = rest[int(length) :]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, self.got
            time.sleep(0.02)

    def close(self) -> None:
        self._socket.close()


def record(text: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("timebridge.security", level, "", 0, text, (), None)


def test_lines_go_to_another_system_by_tls_and_wait_while_it_is_away(tls: Path) -> None:
    port = free_port()
    handler = RemoteLog(f"syslog+tls://localhost:{port}?ca={tls}/web/authority.pem")
    began = time.monotonic()
    handler.emit(record("refused status=403"))  # nobody listens yet
    handler.emit(record("signed-in user=é", logging.INFO))
    assert time.monotonic() - began < 0.5
    server = LogServer(tls, port)
    try:
        first, second = server.lines(2)
        assert first.startswith("<84>1 20")
        assert first.endswith(f" timebridge {os.getpid()} timebridge.security - refused status=403")
        assert second.startswith("<86>1 20")
        assert second.endswith("signed-in user=é")
    finally:
        server.close()


def test_nobody_else_gets_them(tls: Path, tmp_path: Path) -> None:
    make(tmp_path, ["web"], ["web"], [])
    port = free_port()
    server = LogServer(tmp_path, port)
    try:
        handler = RemoteLog(f"syslog+tls://localhost:{port}?ca={tls}/web/authority.pem")
        handler.emit(record("refused"))
        handler.drain()
        assert server.got == b""
    finally:
        server.close()
    with pytest.raises(ValueError, match=r"syslog\+tls"):
        RemoteLog("syslog://localhost:514")


def test_a_log_that_is_away_for_long_costs_so_many_lines_and_says_how_many(tls: Path) -> None:
    port = free_port()
    handler = RemoteLog(f"syslog+tls://localhost:{port}?ca={tls}/web/authority.pem")
    for number in range(MOST_WAITING + 50):
        handler.emit(record(f"event={number}"))
    server = LogServer(tls, port)
    try:
        found = server.lines(MOST_WAITING)
        assert any("lines were dropped" in line for line in found)
        assert found[-1].endswith(f"event={MOST_WAITING + 49}")
    finally:
        server.close()


# --- Settings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://timebridge:x@db.example:5432/timebridge"),
        ("DATABASE_URL", "postgres://timebridge:x@db.example:5432/timebridge?sslmode=require"),
        ("REDIS_URL", "redis://:x@redis.example:6379/0"),
        ("REDIS_URL", "rediss://:x@redis.example:6379/0?ssl_cert_reqs=none"),
        ("EMAIL_URL", "smtp://u:p@mail.example:25"),
        ("HARVEST_API_URL", "http://harvest.example/v2"),
        ("LOG_URL", "syslog://logs.example:514"),
    ],
)
def test_production_refuses_what_goes_in_clear(name: str, value: str) -> None:
    done = in_production("check", **{name: value})
    assert done.returncode != 0
    assert f"{name} goes to " in done.stderr
    assert "without TLS" in done.stderr


def test_production_takes_what_goes_by_tls() -> None:
    done = in_production(
        "check",
        DATABASE_URL="postgres://timebridge@db.example/timebridge?sslmode=verify-full&sslrootcert=/tls/authority.pem",
        REDIS_URL="rediss://redis.example:6379/0?ssl_cert_reqs=required&ssl_check_hostname=true",
        EMAIL_URL="smtp+tls://u:p@mail.example:587",
        LOG_URL="syslog+tls://logs.example:6514",
    )
    assert done.returncode == 0, done.stderr


LOOK_UPS = """
import socket
from config.egress import EgressError
for host in ("evil.example", "169.254.169.254", "api.harvestapp.com.evil.example", b"evil.example"):
    for way in (lambda: socket.create_connection((host, 80), 1), lambda: socket.gethostbyname(host)):
        try:
            way()
        except EgressError:
            continue
        except TypeError:
            continue
        raise SystemExit(f"{host} was asked for")
import httpx
try:
    httpx.get("http://169.254.169.254/latest/meta-data/")
    raise SystemExit("asked")
except EgressError:
    pass
except httpx.ConnectError as error:
    assert "no host that the settings name" in str(error), error
for host in ("api.harvestapp.com", "id.getharvest.com", "mail.example", "localhost", "127.0.0.1"):
    try:
        socket.getaddrinfo(host, 443)
    except EgressError:
        raise SystemExit(f"{host} was refused") from None
    except socket.gaierror:
        pass  # no network here
"""


def test_production_looks_up_no_host_but_those_of_its_settings() -> None:
    done = in_production("shell", "--no-imports", "-c", LOOK_UPS, EMAIL_URL="smtp+tls://u:p@mail.example:587")
    if "unrecognized arguments" in done.stderr:  # before Django 5.2
        done = in_production("shell", "-c", LOOK_UPS, EMAIL_URL="smtp+tls://u:p@mail.example:587")
    assert done.returncode == 0, done.stderr
