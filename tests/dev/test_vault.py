"""The vault: secrets are made, sealed, opened for who needs them, changed and destroyed; and what each leaves."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet, InvalidToken
from django.test import Client

from accounts.models import Membership
from config import vault as module
from config.vault import KINDS, SEALED, Refused, Vault, close, files, is_memory
from dev.state import CHECKOUT
from tests.dev.test_deployment import in_production

KEY = Fernet.generate_key().decode()
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
MAIL = "smtp+tls://u:p,q@mail.example.com:587"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "vault"
    at(place).init()
    return place


@pytest.fixture
def opened() -> Iterator[Path]:
    """A directory in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def at(place: Path, after: timedelta = timedelta(0), key: str = KEY) -> Vault:
    return Vault(place, key, by="ada@host", now=START + after)


def values(vault: Vault) -> dict[str, list[str]]:
    return {name: [one["value"] for one in all_] for name, all_ in vault._read()["secrets"].items()}


def test_secrets_are_made_at_random_and_once(place: Path, tmp_path: Path) -> None:
    made, other = values(at(place)), at(tmp_path / "other")
    other.init()
    assert made.keys() == KINDS.keys()
    assert {name: len(all_) for name, all_ in made.items()} == {
        "secret_key": 1, "field_keys": 1, "email_url": 0, "harvest_client_secret": 0,
    }  # fmt: skip
    assert len(made["secret_key"][0]) == 96
    Fernet(made["field_keys"][0])
    assert not {*made["secret_key"], *made["field_keys"]} & {
        one for all_ in values(other).values() for one in all_
    }
    with pytest.raises(Refused, match="There is a vault"):
        at(place).init()
    assert values(at(place)) == made


def test_what_is_sealed_is_read_and_changed_by_the_key_alone(place: Path) -> None:
    at(place).put("email_url", MAIL)
    sealed = place / SEALED
    content = sealed.read_bytes()
    assert [path.name for path in place.iterdir()] == [SEALED]
    assert (place.stat().st_mode & 0o777, sealed.stat().st_mode & 0o777) == (0o700, 0o600)
    for word in (MAIL, *KINDS, "ada", *(one for all_ in values(at(place)).values() for one in all_)):
        assert word.encode() not in content
    stranger = at(place, key=Fernet.generate_key().decode())
    for attempt in (stranger.overview, stranger.record):
        with pytest.raises(Refused, match="not under this key"):
            list(attempt())
    for change in (lambda: stranger.put("email_url", "x"), lambda: stranger.rotate("secret_key"),
                   lambda: stranger.rekey(KEY), lambda: stranger.open(place)):  # fmt: skip
        with pytest.raises(Refused, match="not under this key"):
            change()
    assert sealed.read_bytes() == content
    with pytest.raises(Refused, match="no unseal key"):
        at(place, key="a password")
    flipped = bytearray(base64.urlsafe_b64decode(content))
    flipped[40] ^= 1
    for changed in (content[:-4], base64.urlsafe_b64encode(flipped), b""):
        sealed.write_bytes(changed)
        with pytest.raises(Refused, match="changed without it"):
            at(place).check()


def test_each_is_opened_as_the_containers_mount_it(place: Path, opened: Path) -> None:
    vault = at(place)
    vault.open(opened)
    made = values(vault)
    assert {path.name: path.read_text() for path in opened.iterdir()} == {
        "secret_key": made["secret_key"][0],
        "secret_key_fallbacks": "",
        "field_keys": made["field_keys"][0],
        "email_url": "",
        "harvest_client_secret": "",
    }
    assert {path.stat().st_mode & 0o777 for path in opened.iterdir()} == {0o444}
    vault.put("email_url", MAIL)
    vault.rotate("field_keys")
    vault.rotate("secret_key")
    vault.open(opened)
    now = values(vault)
    assert (opened / "email_url").read_text() == MAIL
    assert (opened / "field_keys").read_text() == f"{now['field_keys'][0]},{made['field_keys'][0]}"
    assert (opened / "secret_key").read_text() == now["secret_key"][0] != made["secret_key"][0]
    assert (opened / "secret_key_fallbacks").read_text() == made["secret_key"][0]
    close(opened)
    assert list(opened.iterdir()) == []
    close(opened)


@pytest.mark.parametrize(("name", "days"), [("secret_key", 366), ("field_keys", 1)])
def test_an_old_version_goes_once_nothing_needs_it(place: Path, name: str, days: int) -> None:
    with pytest.raises(Refused, match="one version"):
        at(place).retire(name)
    (old,) = values(at(place))[name]
    at(place, timedelta(days=5)).rotate(name)
    with pytest.raises(Refused, match="is read until"):
        at(place, timedelta(days=5 + days, seconds=-1)).retire(name)
    assert values(at(place))[name][1:] == [old]
    at(place, timedelta(days=5 + days)).retire(name)
    assert len(values(at(place))[name]) == 1
    assert old not in json.dumps(at(place)._read())


def test_what_others_may_know_goes_at_once(place: Path) -> None:
    (old,) = values(at(place))["secret_key"]
    at(place).rotate("secret_key")
    at(place).retire("secret_key", compromised=True)
    assert old not in values(at(place))["secret_key"]
    assert list(at(place).record())[-1].endswith("retire secret_key compromised")


def test_what_others_made_is_put_in_replaced_and_destroyed(place: Path) -> None:
    vault = at(place)
    vault.put("email_url", "smtp+tls://old")
    vault.put("email_url", MAIL)
    assert values(vault)["email_url"] == [MAIL]
    assert "smtp+tls://old" not in json.dumps(vault._read())
    vault.destroy("email_url")
    assert MAIL not in json.dumps(vault._read())
    assert files(vault._read()["secrets"])["email_url"] == ""
    for wrong in ("", " x", "x\n", "x\ny"):
        with pytest.raises(Refused, match="in one line"):
            vault.put("email_url", wrong)
    for refused in (lambda: vault.put("secret_key", "mine"), lambda: vault.rotate("email_url"),
                    lambda: vault.destroy("field_keys")):  # fmt: skip
        with pytest.raises(Refused):
            refused()


def test_under_another_key_the_old_one_opens_nothing(place: Path) -> None:
    made, other = values(at(place)), Fernet.generate_key().decode()
    at(place).rekey(other)
    with pytest.raises(Refused):
        at(place).check()
    with pytest.raises(InvalidToken):
        Fernet(KEY).decrypt((place / SEALED).read_bytes())
    assert values(at(place, key=other)) == made


def test_the_record_says_who_did_what_when(place: Path, opened: Path) -> None:
    at(place, timedelta(hours=1)).put("email_url", MAIL)
    at(place, timedelta(hours=2)).rotate("field_keys")
    at(place, timedelta(hours=3)).open(opened)
    with pytest.raises(Refused):
        at(place).retire("field_keys")
    at(place, timedelta(days=2)).retire("field_keys")
    at(place, timedelta(days=2)).destroy("email_url")
    at(place, timedelta(days=3)).rekey(KEY)
    lines = [line.split(maxsplit=2) for line in at(place).record()]
    assert {by for _, by, _ in lines} == {"ada@host"}
    assert [(when[5:13], what) for when, _, what in lines] == [
        ("11-01T12", "init"),
        ("11-01T13", "put email_url"),
        ("11-01T14", "rotate field_keys"),
        ("11-01T15", "open"),
        ("11-03T12", "retire field_keys"),
        ("11-03T12", "destroy email_url"),
        ("11-04T12", "rekey"),
    ]


def test_the_list_says_what_is_to_be_changed_and_no_secret(place: Path) -> None:
    told = "\n".join(at(place, timedelta(days=364)).overview())
    assert not [one for all_ in values(at(place)).values() for one in all_ if one in told]
    assert "field_keys             2026-11-01 12:00                     rotate by 2027-11-01" in told
    assert "LATE" not in told
    late = [line for line in at(place, timedelta(days=366)).overview() if line.endswith(", LATE")]
    assert [line.split()[0] for line in late] == ["field_keys"]


def test_a_change_that_is_stopped_has_not_happened(place: Path, opened: Path, monkeypatch: Any) -> None:
    at(place).open(opened)
    made = (
        values(at(place)),
        list(at(place).record()),
        {one.name: one.read_text() for one in opened.iterdir()},
    )

    def stopped(*args: Any) -> None:
        raise KeyboardInterrupt

    for last in ("fsync", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(module.os, last, stopped)
            for change in (
                lambda: at(place).rotate("secret_key"),
                lambda: at(place).rekey(Fernet.generate_key().decode()),
                lambda: at(place).open(opened),
            ):
                with pytest.raises(KeyboardInterrupt):
                    change()
        now = values(at(place)), list(at(place).record())
        assert (*now, {one.name: one.read_text() for one in opened.iterdir() if not one.suffix}) == made
    at(place).rotate("secret_key")
    assert len(values(at(place))["secret_key"]) == 2
    close(opened)
    assert list(opened.iterdir()) == []


def _rotate(place: Path) -> None:
    for _ in range(10):
        at(place).rotate("field_keys")


def test_two_at_once_are_one_after_the_other(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_rotate, args=(place,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
        assert one.exitcode == 0
    assert len(set(values(at(place))["field_keys"])) == 21


def test_memory_is_told_from_a_disk() -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /run rw,nosuid - tmpfs tmpfs rw\n"
        "3 1 0:6 /x /opened rw shared:1 - tmpfs tmpfs rw\n4 2 8:2 / /run/disk rw - xfs /dev/sdb rw\n"
    )
    assert [is_memory(Path(one), mounts) for one in ("/opened", "/run/timebridge", "/run/disk/x", "/openedx", "/")] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.django_db
def test_who_is_signed_in_stays_so_while_the_key_before_is_read(admin: Membership, settings: Any) -> None:
    browser = Client()
    browser.force_login(admin.user)
    assert browser.get("/settings/security/").status_code == 200
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another-key-of-this-test"
    settings.SECRET_KEY_FALLBACKS = [old]
    for _ in range(2):
        assert browser.get("/settings/security/").status_code == 200
    (one,) = UserSession.objects.purge_and_list(admin.user)
    assert one.session_key == browser.session.session_key
    settings.SECRET_KEY_FALLBACKS = []
    assert browser.get("/settings/security/").status_code == 200  # signed by the new one since
    settings.SECRET_KEY = "a-third-key-of-this-test"
    assert browser.get("/settings/security/")["Location"].startswith("/accounts/login/")


# --- By the command --------------------------------------------------------------------------------------------------
def command(place: Path, opened: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "config.vault", "--place", str(place), "--opened", str(opened), *arguments]
    return subprocess.run(given, cwd=CHECKOUT, input=typed, capture_output=True, text=True)


def test_a_vaults_whole_life(tmp_path: Path, opened: Path) -> None:
    """As an operator has it: what it opens is what production starts with, before, while and after a key is changed."""
    place, before = tmp_path / "vault", tmp_path / "secrets"
    before.mkdir()
    (before / "field_keys").write_text(f"{KEY},{Fernet.generate_key().decode()}\n")
    (before / "email_url").write_text(f"{MAIL}\n")
    made = command(place, opened, "--by", "ada", "init", "--given", str(before))
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    again = command(place, opened, "init")
    assert again.returncode != 0
    assert not again.stdout
    assert values(Vault(place, key, by=""))["field_keys"] == (
        before / "field_keys"
    ).read_text().strip().split(",")
    assert values(Vault(place, key, by=""))["email_url"] == [MAIL]

    def do(*arguments: str, typed: str = "") -> str:
        done = command(place, opened, *arguments, typed=f"{key}\n{typed}")
        assert done.returncode == 0, done.stderr
        assert key not in done.stdout + done.stderr
        return done.stdout

    def started(code: str) -> str:
        given = {f"{one.name.upper()}_FILE": str(one) for one in opened.iterdir()}
        done = in_production("shell", "-c", code, SECRET_KEY="", FIELD_KEYS="", **given)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[-2]

    do("put", "harvest_client_secret", typed="s3cret\n")
    do("open")
    signed = started("from django.core import signing; print(signing.dumps('x', salt='t'))")
    token = started("from integrations.fields import cipher; print(cipher().encrypt(b'x').decode())")
    assert started(
        "from django.conf import settings as s; print(s.EMAIL_HOST_PASSWORD, s.HARVEST_CLIENT_SECRET)"
    ) == ("p,q s3cret")
    read_both = (
        "from django.core import signing; from integrations.fields import cipher\n"
        "def told(read):\n"
        "    try: return read()\n"
        "    except Exception as error: return type(error).__name__\n"
        f"print(told(lambda: signing.loads('{signed}', salt='t')), told(lambda: cipher().decrypt(b'{token}').decode()))"
    )
    for name in ("secret_key", "field_keys"):
        do("rotate", name)
    assert started(read_both) == "x x"  # the containers still have what was opened before
    do("open")
    assert started(read_both) == "x x"
    refused = command(place, opened, "retire", "secret_key", typed=f"{key}\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is read until" in refused.stderr
    for name in ("secret_key", "field_keys"):
        do("retire", name, "--compromised")
    do("open")
    assert started(read_both) == "BadSignature InvalidToken"
    assert "rotate by" in do("list")
    assert [line.split(maxsplit=2)[2] for line in do("record").splitlines()][-3:] == [
        "retire secret_key compromised",
        "retire field_keys compromised",
        "open",
    ]
    old = key
    key = command(place, opened, "rekey", typed=f"{old}\n").stdout.strip()
    do("list")
    assert command(place, opened, "list", typed=f"{old}\n").returncode == 1
    key_file = tmp_path / "key"
    key_file.write_text(key)
    assert command(place, opened, "--key", str(key_file), "list").returncode == 0
    on_disk = command(place, tmp_path, "open", typed=f"{key}\n")
    assert on_disk.returncode == 1
    assert "in memory alone" in on_disk.stderr
    do("close")
    assert list(opened.iterdir()) == []


ENGINE = """#!/bin/sh
# Stands in for a container engine: writes down what it was asked, and runs the command with what would be mounted.
printf '%s\\n' "$@" >"$ASKED"
while [ "$1" != timebridge ]; do
	case "$1" in
	*/vault:/vault) vault=${1%:/vault} ;;
	*:/opened) opened=${1%:/opened} ;;
	*:/key:ro) key=${1%:/key:ro} ;;
	esac
	shift
done
shift 4
by="$1 $2"; shift 2
[ "$1" != --key ] || shift 2
exec "$PYTHON" -m config.vault $by --place "$vault" --opened "$opened" ${key:+--key "$key"} "$@"
"""


def test_the_script_runs_it_without_a_network_and_keeps_others_out(tmp_path: Path, opened: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/vault.sh").write_text((CHECKOUT / "docker/vault.sh").read_text())
    (tmp_path / ".env").write_text(f"BASE_URL=https://x\nSECRETS_DIR={opened}/of ours\n")
    (tmp_path / "bin").mkdir()
    engine, asked = tmp_path / "bin/docker", tmp_path / "asked"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "ASKED": str(asked),
    }

    def run(*arguments: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        given = ["sh", str(tmp_path / "docker/vault.sh"), *arguments]
        return subprocess.run(
            given, cwd=CHECKOUT, env=environment | more, input=typed, capture_output=True, text=True
        )

    made = run("init")
    assert made.returncode == 0, made.stderr
    words = asked.read_text().splitlines()
    assert words[0] == "run"
    for flag, value in {
        "--network": "none",
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
    }.items():
        assert words[words.index(flag) + 1] == value
    assert "--read-only" in words
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    done = run("open", typed=made.stdout)
    assert done.returncode == 0, done.stderr
    place = opened / "of ours"
    assert {path.name for path in place.iterdir()} == set(files({name: [{"value": ""}] for name in KINDS}))
    assert {one.stat().st_mode & 0o777 for one in (place, tmp_path / "vault")} == {0o700}
    key = tmp_path / "key file"
    key.write_text(made.stdout)
    told = run("record", VAULT_KEY_FILE=str(key))
    assert told.returncode == 0, told.stderr
    assert made.stdout.strip() not in asked.read_text() + told.stdout + told.stderr
    who = subprocess.run(
        ["sh", "-c", "echo $(id -un)@$(uname -n)"], capture_output=True, text=True
    ).stdout.strip()
    assert [line.split()[1:] for line in told.stdout.splitlines()] == [[who, "init"], [who, "open"]]
