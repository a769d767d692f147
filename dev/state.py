"""What a checkout remembers: secrets, the environment of a run that is up, and who holds it now."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """Where `make run` keeps its data, secrets and logs."""
    return Path(os.environ.get("TIMEBRIDGE_STATE") or CHECKOUT / ".timebridge").absolute()


def read_pairs(path: Path) -> dict[str, str]:
    """The KEY=VALUE lines of a file, or nothing where there is no file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {key: value for key, _, value in (line.partition("=") for line in lines) if value}


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def write_pairs(path: Path, pairs: Mapping[str, str]) -> None:
    write_private(path, "".join(f"{key}={value}\n" for key, value in pairs.items()))


def secret(directory: Path, name: str) -> str:
    """A secret made once and kept in `directory`: 32 random bytes in URL-safe base64, fit for Fernet."""
    path = directory / "secrets"
    pairs = read_pairs(path)
    if name not in pairs:
        pairs[name] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        write_pairs(path, pairs)
    return pairs[name]


class InUseError(RuntimeError):
    """Another process holds the directory."""

    def __init__(self, what: str, pid: int) -> None:
        super().__init__(f"This checkout is in use already, by {what} (process {pid}). End that first.")
        self.what, self.pid = what, pid


@contextlib.contextmanager
def only_one(directory: Path, what: str) -> Iterator[None]:
    """Hold `directory` for this process; the environment file of whoever held it last is removed.

    Raises InUseError while another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid, _, holder = file.read().partition(" ")
            raise InUseError(holder or "another command", int(pid or 0)) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {what}")
        file.flush()
        environment = directory / "env"
        environment.unlink(missing_ok=True)
        try:
            yield
        finally:
            environment.unlink(missing_ok=True)
            file.truncate(0)
