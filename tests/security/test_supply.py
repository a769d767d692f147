"""What the product is made of: pinned, known by its licence, declared, and run by nobody who is root. Offline.

Whether a weakness of one of them has become known since takes a look at the network: `make audit`, which writes its day
down. Here that is looked at on days of the tests' own choosing, so that none fails as days go by.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
import yaml
from celery.schedules import crontab
from cryptography.hazmat.backends.openssl.backend import backend
from django.conf import settings
from django.contrib.staticfiles import finders
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config.supply import (
    BROUGHT_UP_TO_DATE,
    IMAGE,
    LOOKED_THROUGH,
    MENDED,
    NO_LONGER_BUILT,
    NOTES,
    lapses,
    present_lapses,
    read,
)
from config.tasks import look_at_packages
from tests.dev.test_deployment import in_production

ROOT = Path(__file__).parent.parent.parent
PIN = re.compile(
    r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)([^\\\n]*)\\?\n((?:    --hash=\S+\s*\\?\n)*)",
    re.MULTILINE,
)

# Licences under which a package may be used here. What else there is stands below, by name.
LICENCES = re.compile(
    r"^(MIT|MIT License|MIT-0|BSD|BSD License|BSD-2-Clause|BSD-3-Clause|0BSD|ISC.*|PSF-2\.0|Python-2\.0|Apache-2\.0"
    r"|Apache Software License|MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)|Unlicense|DFSG approved)$"
)
KNOWN = {
    "psycopg": "LGPL-3.0: used unchanged, as a library",
    "psycopg-binary": "LGPL-3.0: used unchanged, as a library",
    "uritemplate": "BSD-3-Clause or Apache-2.0, in older words",
    "qrcode": "BSD-3-Clause; its metadata also says 'other'",
    "axe-playwright-python": "MIT, with axe-core under MPL-2.0; its metadata says nothing; tests only",
}
FLOORS = ("accounts", "clients", "config", "harvest", "inbound", "integrations", "settlement", "timelogs")
# What is imported by another name than it is installed by.
NAMES = {
    "rest_framework": "djangorestframework", "csp": "django-csp", "allauth": "django-allauth",
    "environ": "django-environ", "kombu": "celery",
}  # fmt: skip


def pins(lock: str) -> dict[str, tuple[str, str, list[str]]]:
    """Name -> version, marker, hashes."""
    text = (ROOT / "requirements" / lock).read_text()
    return {
        canonicalize_name(name): (version, marker.strip(" ;"), re.findall(r"--hash=(\S+)", hashes))
        for name, version, marker, hashes in PIN.findall(text)
    }


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize("lock", ["base.txt", "dev.txt"])
def test_every_package_is_pinned_by_hash_and_comes_from_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    found = pins(lock)
    assert len(found) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 50
    for name, (_, _, hashes) in found.items():
        assert hashes, f"{name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), name
    assert not re.search(r"://|^-e|^--(index|extra-index|find-links|trusted)|\bgit\+| @ ", text, re.MULTILINE)


def test_what_is_declared_is_locked_and_both_locks_agree() -> None:
    base, dev = pins("base.txt"), pins("dev.txt")
    assert declared() <= set(base)
    assert declared("services", "dev") <= set(dev)
    assert {name: one[0] for name, one in base.items()}.items() <= {
        name: one[0] for name, one in dev.items()
    }.items()


def test_what_is_installed_is_what_is_locked() -> None:
    for name, (version, _, _) in pins("dev.txt").items():
        try:
            assert metadata.version(name) == version, name
        except metadata.PackageNotFoundError:
            assert pins("dev.txt")[name][1], f"{name} is missing, and nothing says that it may be"


def test_no_locked_package_is_one_with_a_known_weakness() -> None:
    """The audit that needs no network: of what was known when requirements/weaknesses.in was looked through."""
    lines = (ROOT / "requirements/weaknesses.in").read_text().splitlines()
    lowest = [Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#")]
    assert len(lowest) > 20
    locked = pins("dev.txt")
    for one in lowest:
        version = locked[canonicalize_name(one.name)][0]
        assert one.specifier.contains(version), f"{one.name} {version} has a known weakness: make lock"
    assert "--constraint requirements/weaknesses.in" in (ROOT / "Makefile").read_text()


def test_what_is_installed_fits_together() -> None:
    """As `pip check` has it: each package has what it asks for, in a version that it takes."""
    unfit = []
    for found in metadata.distributions():
        for line in found.requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                try:
                    version = metadata.version(wanted.name)
                except metadata.PackageNotFoundError:
                    version = "none"
                if version == "none" or not wanted.specifier.contains(version, prereleases=True):
                    unfit.append(f"{found.metadata['Name']} asks for {line}, and there is {version}")
    assert unfit == []


def licences(name: str) -> list[str]:
    found: Any = metadata.metadata(name)
    if expression := found.get("License-Expression"):
        return re.split(r"\s+(?:AND|OR)\s+", expression.strip("()"))
    trove = [
        one.rpartition("::")[2].strip()
        for one in found.get_all("Classifier", [])
        if one.startswith("License")
    ]
    return [one for one in trove if one != "OSI Approved"] or [(found.get("License") or "").split("\n")[0]]


def test_every_licence_is_allowed_or_known() -> None:
    unknown = {}
    for name in pins("dev.txt"):
        try:
            found = licences(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        if name not in KNOWN and not (found and all(LICENCES.match(one) for one in found)):
            unknown[name] = found
    assert unknown == {}, "read their licences, then allow them or name them in KNOWN"


def test_the_product_imports_what_it_declares_and_nothing_else() -> None:
    """A package that came along with another one may leave with it; and the development tools are not in the image."""
    allowed = declared()
    owners = metadata.packages_distributions()
    missing: dict[str, str] = {}
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = (
                    [one.name for one in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom) and node.level == 0
                    else []
                )
                for module in modules:
                    top = module.partition(".")[0]
                    if top in sys.stdlib_module_names or top in FLOORS or top == "dev":
                        continue
                    names = {canonicalize_name(one) for one in owners.get(top, [])} | {NAMES.get(top, top)}
                    if not names & allowed:
                        missing[top] = str(path.relative_to(ROOT))
    assert missing == {}


def test_containers_run_as_nobody_in_particular() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = dockerfile.split("FROM ")
    last = stages[-1]
    user = re.findall(r"^USER (\S+)", last, re.MULTILINE)
    assert user
    assert user[-1] not in ("root", "0")
    assert last.index("USER ") < last.index("CMD ")
    assert re.search(rf"useradd --uid [1-9]\d+ .*{user[-1]}", last)
    assert "--require-hashes" in dockerfile
    assert not re.search(r"curl|wget|ADD https?:", dockerfile)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        assert not service.get("privileged"), name
        assert service.get("user") not in ("root", "0"), name
        assert not [one for one in service.get("volumes", []) if "docker.sock" in str(one)], name
        assert "latest" not in str(service.get("image", "")).partition(":")[2], name


# --- In time ---------------------------------------------------------------------------------------------------------
DAY = date(2026, 11, 1)
EXAMPLE = f"""# looked through: {DAY}
# brought up to date: {DAY}
thing>=2   # CVE-2026-1
"""


def late(text: str, days: int, built: date | None = None) -> list[tuple[str, bool]]:
    """The first words of what is late so many days after DAY, and whether it is grave."""
    found = lapses(read(text), today=DAY + timedelta(days=days), built=built)
    return [(" ".join(one.text.split()[:2]), one.grave) for one in found]


def test_what_is_late_is_told_from_its_day_on() -> None:
    assert late(EXAMPLE, 0) == late(EXAMPLE, 7) == []
    assert late(EXAMPLE, 8) == late(EXAMPLE, 14) == [("Nobody has", False)]
    assert late(EXAMPLE, 15) == late(EXAMPLE, 92) == [("Nobody has", True)]
    assert late(EXAMPLE, 93) == [("Nobody has", True), ("The packages", False)]
    for reach, days in {"anybody": 2, "signed-in": 7, "nobody": 31}.items():
        open_one = EXAMPLE + f"# open: other<3.1; found {DAY}; reach {reach}; CVE-2026-2, a parser\n"
        told = ("other<3.1 has", True)
        assert told not in late(open_one, days)
        assert told in late(open_one, days + 1)
    assert late(EXAMPLE, 7, DAY - timedelta(days=24)) == []
    assert late(EXAMPLE, 7, DAY - timedelta(days=25)) == [("This image", False)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# looked through: 2026-11-01",
        EXAMPLE + EXAMPLE,
        EXAMPLE.replace(str(DAY), "soon"),
        EXAMPLE + "# open: other<3.1; found 2026-11-01; reach someone; CVE-2026-2",
        EXAMPLE + "# open: other<3.1, CVE-2026-2",
    ],
)
def test_notes_that_cannot_be_read_are_as_grave_as_none(tmp_path: Path, text: str) -> None:
    notes = tmp_path / "weaknesses.in"
    for _ in "none", "bad":
        assert [one.grave for one in present_lapses(DAY, notes=notes)] == [True]
        notes.write_text(text)
    assert [one.grave for one in present_lapses(DAY, notes=notes)] == [True]


def test_what_is_open_is_of_the_locks() -> None:
    """An open weakness whose package is locked above it is mended: its line goes, and the version is raised instead."""
    locked = pins("dev.txt")
    for one in read(NOTES.read_text()).open:
        weak = Requirement(one.versions)
        assert weak.specifier.contains(locked[canonicalize_name(weak.name)][0]), f"mended: {one.versions}"


@pytest.mark.parametrize(("days", "ends"), [(0, 0), (8, 0), (15, 1)])
def test_no_image_is_built_of_what_is_late(days: int, ends: int) -> None:
    """The Dockerfile's own command, with the settings that it has."""
    last = (ROOT / "Dockerfile").read_text().split("FROM ")[-1]
    told = re.search(r"SECRET_KEY=(\S+) FIELD_KEYS=(\S+) python manage.py (check .*?) \\\n", last)
    assert told
    assert last.index("COPY . .") < last.index(told[0]) < last.index("CMD ")
    assert "!requirements/weaknesses.in" in (ROOT / ".dockerignore").read_text().splitlines()
    day = read(NOTES.read_text()).looked_through + timedelta(days=days)
    done = in_production(*told[3].split(), day=day, SECRET_KEY=told[1], FIELD_KEYS=told[2])
    assert done.returncode == ends, done.stderr
    assert ("Nobody has asked for" in done.stdout + done.stderr) == (days > 7)
    assert ("config.E001" in done.stderr) == bool(ends)


def test_the_log_tells_once_a_day(caplog: Any) -> None:
    noted = read(NOTES.read_text()).looked_through
    with time_machine.travel(noted):
        look_at_packages()
    assert not caplog.records
    with time_machine.travel(noted + timedelta(days=8)):
        look_at_packages()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("packages-late Nobody has asked for 8 days")
    schedule = [
        one["schedule"]
        for one in settings.CELERY_BEAT_SCHEDULE.values()
        if one["task"] == look_at_packages.name
    ]
    assert schedule == [crontab(minute="40", hour="4")]


@pytest.mark.parametrize("finds", [False, True])
def test_an_audit_writes_its_day_down_if_it_finds_nothing(tmp_path: Path, finds: bool) -> None:
    """With a stand-in for uv, which says what it was asked. What is open is not asked about again."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    notes = tmp_path / "requirements/weaknesses.in"
    notes.write_text(
        EXAMPLE + "# open: other<3.1; found 2026-11-01; reach nobody; CVE-2026-2, GHSA-xxxx-2, a parser\n"
    )
    asked = tmp_path / "asked"
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" >{asked}\nexit {int(finds)}\n')
    uv.chmod(0o755)
    done = subprocess.run(["make", "audit", f"UV={uv}"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode != 0) == finds, done.stderr
    assert asked.read_text().split() == [
        *("tool", "run", "pip-audit", "--disable-pip", "--require-hashes", "-r", "requirements/dev.txt"),
        *("--ignore-vuln", "CVE-2026-2", "--ignore-vuln", "GHSA-xxxx-2"),
    ]
    now = read(notes.read_text())
    assert now.brought_up_to_date == DAY
    assert (now.looked_through > DAY) != finds
    for flags, day in (("--upgrade-package=thing", DAY), ("--upgrade", now.looked_through)):
        command = ["make", "lock", f"UV={uv}", f"LOCKFLAGS={flags}"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=not finds)
        if not finds:
            assert read(notes.read_text()).brought_up_to_date == day
    assert len(notes.read_text().splitlines()) == 4


def test_the_page_says_the_time_frames_that_are_gone_by() -> None:
    page = " ".join(
        (ROOT / "docs/asvs.md").read_text().partition("### Packages")[2].partition("### Logs")[0].split()
    )
    assert {reach: int(days) for reach, days in re.findall(r"\| `(\S+)`[^|]*\| (\d+) days \|", page)} == {
        reach: one.days for reach, one in MENDED.items()
    }
    for words, frame in (
        ("looked for every {} days", LOOKED_THROUGH),
        ("brought up to date every {} days", BROUGHT_UP_TO_DATE),
        ("or {} days without looking for one, builds no image", NO_LONGER_BUILT),
        ("every {} days, and each time", IMAGE),
    ):
        assert words.format(frame.days) in page


def openssl_of(package: str) -> str:
    """The version of the OpenSSL that a wheel brings along."""
    (found,) = (one for one in metadata.files(package) or () if "libcrypto" in one.name)
    library = ctypes.CDLL(str(found.locate()))
    library.OpenSSL_version.restype = ctypes.c_char_p
    return library.OpenSSL_version(0).decode().split()[1]


def test_what_comes_inside_is_known() -> None:
    """A version that came along with another package is looked through before it is written down."""
    section = (ROOT / "docs/asvs.md").read_text().partition("What comes inside")[2].partition("### Logs")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "`" in line
    ]
    told = {(what, re.findall("`(.*?)`", of)[0] if "`" in of else of): version for what, version, of in rows}
    htmx = finders.find("django_htmx/htmx-2.min.js")
    swagger = finders.find("drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")
    libpq = psycopg.pq.version()
    images = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    images |= {one["image"] for one in compose["services"].values() if "build" not in one}
    typst = pins("base.txt")["typst"][0]
    found = {
        ("htmx", "django-htmx"): re.findall(r'version:"([\d.]+)"', Path(str(htmx)).read_text())[0],
        ("Swagger UI", "drf-spectacular-sidecar"): re.findall(
            r'PACKAGE_VERSION:"([\d.]+)"', Path(str(swagger)).read_text()
        )[0],
        ("OpenSSL", "cryptography"): backend.openssl_version_text().split()[1],
        ("OpenSSL", "psycopg-binary"): openssl_of("psycopg-binary"),
        ("libpq", "psycopg-binary"): f"{libpq // 10_000}.{libpq % 10_000}",
        ("LibYAML", "pyyaml"): yaml._yaml.get_version_string(),
        ("Libertinus Serif, New Computer Modern, DejaVu Sans Mono", "typst"): typst,
    }
    of_docker = {what: version.strip("`") for (what, of), version in told.items() if of == "Docker Hub"}
    assert {key: version for key, version in told.items() if key[1] != "Docker Hub"} == found
    assert set(of_docker.values()) == images
    fonts = {
        path.name
        for floor in FLOORS
        for end in ("ttf", "otf", "woff*")
        for path in (ROOT / floor).rglob(f"*.{end}")
    }
    assert fonts == set()
    scripts = {path for floor in FLOORS for path in (ROOT / floor).rglob("*.min.js")}
    assert scripts == set()
