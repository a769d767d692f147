"""The environment, read once.

Every setting comes from an environment variable. While `make run` is up it keeps its own choices (ports, passwords)
in `.timebridge/env`, so that `manage.py COMMAND` in the same checkout reaches the same servers; a variable that is
set wins over that file.

Each may also stand in a file that `NAME_FILE` names, as a vault's agent and Docker mount secrets.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import environ
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("TIMEBRIDGE_STATE", BASE_DIR / ".timebridge"))


class _Variables(FileAwareMapping):
    """The environment; what stands in a file ends where its text does."""

    def __getitem__(self, name: str) -> str:
        return str(super().__getitem__(name)).rstrip("\r\n")


env = environ.FileAwareEnv()
env.ENVIRON = _Variables()


def read_state_file() -> None:
    """Take what a running `make run` says of itself, where the environment is silent."""
    state = STATE_DIR / "env"
    if state.is_file():
        environ.Env.read_env(str(state), overwrite=False)


read_state_file()

ENVIRONMENT: str = env.str("TIMEBRIDGE_ENV", "development")
if ENVIRONMENT not in {"development", "production"}:
    raise environ.ImproperlyConfigured("TIMEBRIDGE_ENV must be 'development' or 'production'.")
PRODUCTION = ENVIRONMENT == "production"
# What a process is, where it is given no secret that it does not need: beat tells the time, migrate changes tables, and
# whatever is signed or checked is so by the web.
PROCESS: str = env.str("TIMEBRIDGE_PROCESS", "")
WITHOUT_SECRETS = {
    "beat": {"SECRET_KEY", "FIELD_KEYS"},
    "migrate": {"SECRET_KEY", "FIELD_KEYS"},
    "worker": {"SECRET_KEY"},
}


def secret(name: str, development_default: str) -> str:
    """A secret from the environment; production refuses to start without one of its own."""
    value: str = env.str(name, "")
    if value and not (PRODUCTION and value == development_default):
        return value
    if PRODUCTION and name in WITHOUT_SECRETS.get(PROCESS, ()):
        # Signers are made when modules load. What this one signed, nobody would take; nothing is encrypted at all.
        return secrets.token_urlsafe(64) if name == "SECRET_KEY" else ""
    if PRODUCTION:
        raise environ.ImproperlyConfigured(f"Set {name} in the environment to a secret of your own.")
    return development_default


def host_of(url: str) -> str:
    """The host of an address; empty for a socket of this machine, or no address."""
    found = urlsplit(url).hostname or ""
    return "" if "%2f" in found.lower() or found.startswith("/") else found


def encrypted(name: str, url: str) -> str:
    """An address from the environment. Production takes none that leaves this machine in clear or unchecked."""
    host = host_of(url)
    if not PRODUCTION or not host or host == "localhost" or _is_loopback(host):
        return url
    parts = urlsplit(url)
    asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if parts.scheme.startswith("postgres"):
        good, how = asked.get("sslmode") == "verify-full", "add ?sslmode=verify-full&sslrootcert=…"
    elif parts.scheme.startswith("redis"):
        checked = asked.get("ssl_cert_reqs") == "required" and asked.get("ssl_check_hostname") == "true"
        good = parts.scheme == "rediss" and checked
        how = "write rediss://…?ssl_cert_reqs=required&ssl_check_hostname=true"
    else:
        good, how = parts.scheme in {"https", "smtp+tls", "smtp+ssl", "smtps", "syslog+tls"}, "use TLS"
    if not good:
        raise environ.ImproperlyConfigured(
            f"{name} goes to {host} without TLS, or without checking whom: {how}."
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
