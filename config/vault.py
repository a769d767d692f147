"""The vault: what makes, keeps, gives out, changes and destroys the secrets of the compose file.

    sh docker/vault.sh init | open | close | list | record | put NAME | rotate NAME | retire NAME | destroy NAME | rekey

All of it is one file, sealed as a whole (Fernet) under the unseal key: 256 random bits that are shown once and kept by
whoever runs this, apart from the machine. Without that key nobody reads the file, nor changes it without being noticed.
`open` writes to memory, a file a secret, what the containers then mount, each those that it needs. A secret has one
version that is in use, and those before it that are still read; every change stands in the vault's own record: when,
who, what.

Each change replaces the file at once, under a lock. Stopped before that, it has not happened.
"""

from __future__ import annotations

import argparse
import fcntl
import getpass
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Kind:
    """A secret that there is. make: a new one at random; without it, somebody else's, which is put in.

    used: how long a version is the one in use. read: how long those before it are still needed.
    lost: what is lost with a version.
    """

    make: Callable[[], str] | None
    used: timedelta | None
    read: timedelta
    lost: str


KINDS = {
    "secret_key": Kind(
        lambda: secrets.token_hex(48),
        timedelta(days=730),
        timedelta(days=366),  # a client's link, of all that it signs what lasts longest
        "What it signed is good no more: sessions, links of clients and of mail, positions in lists.",
    ),
    "field_keys": Kind(
        lambda: Fernet.generate_key().decode(),
        timedelta(days=365),
        # Answers of the API that may be repeated; all else `manage.py reencrypt` has written anew.
        timedelta(days=1),
        "What is under it cannot be read again: connections to Harvest and authenticator apps are set up anew.",
    ),
    "email_url": Kind(None, None, timedelta(0), "No mail is sent."),
    "harvest_client_secret": Kind(
        None, None, timedelta(0), "Harvest is connected by personal access tokens alone."
    ),
}


class Refused(Exception):
    """What is asked for cannot be, in words."""


class Vault:
    """A vault in a directory, and who holds its key. now: in UTC; by: who it is."""

    def __init__(self, place: Path, key: str, *, by: str, now: datetime | None = None) -> None:
        self.place, self.by, self.now = place, by, now or datetime.now(UTC)
        try:
            self._cipher = Fernet(key)
        except ValueError:
            raise Refused("That is no unseal key.") from None

    def check(self) -> None:
        """Raises Refused where there is no vault, or the key is another's."""
        self._read()

    # --- Making and changing ---
    def init(self, given: Path | None = None) -> None:
        """Make every secret that is made at random. given: a directory that has some already, a file each."""
        with self._locked():
            if (self.place / SEALED).exists():
                raise Refused(f"There is a vault in {self.place}.")
            content: dict[str, Any] = {"secrets": {name: [] for name in KINDS}, "record": []}
            for name, kind in KINDS.items():
                file = given / name if given else None
                text = file.read_text().strip() if file and file.exists() else ""
                values = text.split(",") if name == "field_keys" else [text]
                if not any(values):
                    values = [kind.make()] if kind.make else []
                content["secrets"][name] = [self._version(value) for value in values]
            self._write(content, "init")

    def put(self, name: str, value: str) -> None:
        """Take in a secret that somebody else made. The one before it is destroyed."""
        if KINDS[name].make:
            raise Refused(f"{name} is made here: rotate it.")
        if not value or value != value.strip() or "\n" in value:
            raise Refused("Give it in one line.")
        with self._changed(f"put {name}") as versions:
            versions[name] = [self._version(value)]

    def rotate(self, name: str) -> None:
        """Make a new version, which is used from now on; those before it are still read."""
        make = KINDS[name].make
        if not make:
            raise Refused(f"{name} is made by somebody else: put it.")
        with self._changed(f"rotate {name}") as versions:
            versions[name].insert(0, self._version(make()))

    def retire(self, name: str, *, compromised: bool = False) -> None:
        """Destroy the versions before the newest, once they are needed no more; at once if others know them."""
        with self._changed(f"retire {name}{' compromised' * compromised}") as versions:
            if len(versions[name]) < 2:
                raise Refused(f"{name} has one version: rotate it first.")
            until = datetime.fromisoformat(versions[name][0]["made"]) + KINDS[name].read
            if self.now < until and not compromised:
                raise Refused(f"What is under the old one is read until {until:%Y-%m-%d %H:%M} UTC.")
            del versions[name][1:]

    def destroy(self, name: str) -> None:
        """Destroy a secret of somebody else's, of which there is then none."""
        if KINDS[name].make:
            raise Refused(f"Nothing runs without {name}: rotate it, and retire the old one.")
        with self._changed(f"destroy {name}") as versions:
            versions[name] = []

    def rekey(self, key: str) -> None:
        """Seal all of it under another unseal key. The old one then opens what was copied before, and nothing since."""
        with self._locked():
            content = self._read()
            self._cipher = Fernet(key)
            self._write(content, "rekey")

    # --- Giving out ---
    def open(self, where: Path) -> None:
        """Write what the containers mount, over what is there; stopped half-way, it is done again."""
        with self._locked():
            content = self._read()
            for name, text in files(content["secrets"]).items():
                _give(where / name, text)
            self._write(content, "open")

    def overview(self) -> Iterator[str]:
        """A line a secret: its versions, by the time that they were made, and when it is to be changed."""
        for name, versions in self._read()["secrets"].items():
            made = [datetime.fromisoformat(one["made"]) for one in versions]
            used = KINDS[name].used
            due = f"rotate by {made[0] + used:%Y-%m-%d}" if used else ""
            late = ", LATE" if used and made[0] + used < self.now else ""
            yield f"{name:22} {', '.join(f'{one:%Y-%m-%d %H:%M}' for one in made) or 'none':36} {due}{late}".rstrip()

    def record(self) -> Iterator[str]:
        """A line for whatever was done: when, who, what."""
        for one in self._read()["record"]:
            yield f"{one['at']} {one['by']} {one['what']}"

    # --- The file ---
    def _version(self, value: str) -> dict[str, str]:
        return {"made": self.now.isoformat(timespec="seconds"), "value": value}

    @contextmanager
    def _changed(self, what: str) -> Iterator[dict[str, Any]]:
        with self._locked():
            content = self._read()
            yield content["secrets"]
            self._write(content, what)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._cipher.decrypt((self.place / SEALED).read_bytes()))
        except FileNotFoundError:
            raise Refused(f"There is no vault in {self.place}: init.") from None
        except InvalidToken:
            raise Refused("The vault is not under this key, or was changed without it.") from None
        for name in KINDS:
            content["secrets"].setdefault(name, [])
        return content

    def _write(self, content: dict[str, Any], what: str) -> None:
        content["record"].append({"at": self.now.isoformat(timespec="seconds"), "by": self.by, "what": what})
        sealed = self._cipher.encrypt(json.dumps(content).encode())
        _replace(self.place / SEALED, sealed, 0o600)


def files(versions: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """What the containers mount: the newest of each, and of keys those before it too."""
    values = {name: [one["value"] for one in all_] for name, all_ in versions.items()}
    return {
        "secret_key": values["secret_key"][0],
        "secret_key_fallbacks": ",".join(values["secret_key"][1:]),
        "field_keys": ",".join(values["field_keys"]),
        "email_url": "".join(values["email_url"][:1]),
        "harvest_client_secret": "".join(values["harvest_client_secret"][:1]),
    }


def close(where: Path) -> None:
    """Take back what `open` wrote."""
    for name in files({name: [{"value": ""}] for name in KINDS}):
        for path in (where / name, _partial(where / name)):
            path.unlink(missing_ok=True)


def is_memory(where: Path, mounts: str) -> bool:
    """Whether what is written there stays in memory. mounts: as /proc/self/mountinfo has them."""
    kinds = {}
    for line in mounts.splitlines():
        first, _, last = line.partition(" - ")
        kinds[first.split()[4].replace("\\040", " ")] = last.split()[0]  # the last of a place is on top
    real = where.resolve()
    found = next(kinds[str(one)] for one in (real, *real.parents) if str(one) in kinds)
    return found in {"tmpfs", "ramfs"}


def _give(path: Path, text: str) -> None:
    """For the containers' account to read; the directory keeps others out."""
    _replace(path, text.encode(), 0o444)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, on the disk when this returns, and never readable by more than `mode` says."""
    partial = _partial(path)
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# --- The command -----------------------------------------------------------------------------------------------------
def _ask(what: str) -> str:
    """A line that is not shown while it is typed; or the next one of what is piped in."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ").strip()
    return sys.stdin.readline().strip()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _new_key() -> str:
    """Shown before anything is sealed under it, so that no vault is without its key."""
    key = Fernet.generate_key().decode()
    _say("The unseal key, shown this once. Keep it apart from this machine; without it the vault stays shut:")
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    return key


def main() -> None:
    parser = argparse.ArgumentParser(prog="docker/vault.sh")
    parser.add_argument("--place", type=Path, default=Path("/vault"), help=argparse.SUPPRESS)
    parser.add_argument("--opened", type=Path, default=Path("/opened"), help=argparse.SUPPRESS)
    parser.add_argument("--key", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--by", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make the vault, its key and all that is random")
    init.add_argument("--given", type=Path, help="a directory of secrets that there are already, a file each")
    for name, text in (
        ("open", "write what the containers mount, into memory"),
        ("close", "take that back"),
        ("list", "what there is, and when it is to be changed"),
        ("record", "who did what when"),
        ("rekey", "seal the vault under a new key"),
    ):
        commands.add_parser(name, help=text)
    for name, text in (
        ("put", "take in what somebody else made"),
        ("rotate", "make a new version; the ones before are read on"),
        ("retire", "destroy the versions before the newest"),
        ("destroy", "destroy what somebody else made"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("name", choices=KINDS)
        if name == "retire":
            one.add_argument("--compromised", action="store_true", help="at once: others may know them")
    try:
        _run(parser.parse_args())
    except Refused as refused:
        sys.exit(str(refused))


def _run(given: argparse.Namespace) -> None:
    if given.command == "close":
        close(given.opened)
        return
    if given.command == "init":
        if (given.place / SEALED).exists():
            raise Refused(f"There is a vault in {given.place}.")
        key = _new_key()
    else:
        key = given.key.read_text().strip() if given.key else _ask("Unseal key")
    vault = Vault(given.place, key, by=given.by or getpass.getuser())
    match given.command:
        case "init":
            vault.init(given.given)
            if given.given:
                _say("What there was is in it: remove secrets/.")
        case "open":
            if not is_memory(given.opened, Path("/proc/self/mountinfo").read_text()):
                raise Refused("Secrets are opened in memory alone: name a directory of a tmpfs.")
            vault.open(given.opened)
        case "rekey":
            vault.check()
            vault.rekey(_new_key())
        case "list" | "record":
            lines = vault.overview() if given.command == "list" else vault.record()
            sys.stdout.writelines(f"{line}\n" for line in lines)
        case "put":
            vault.put(given.name, _ask(given.name))
        case "rotate":
            vault.rotate(given.name)
            _say("Next: open, then docker compose up -d --force-recreate web worker.")
        case "retire":
            vault.retire(given.name, compromised=given.compromised)
            _say(KINDS[given.name].lost)
        case "destroy":
            vault.destroy(given.name)
            _say(KINDS[given.name].lost)


if __name__ == "__main__":
    main()
