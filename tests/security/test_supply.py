"""What the product is made of: pinned, known by its licence, declared, and run by nobody who is root. Offline.

Whether a weakness of one of them has become known since takes a look at the network: `make audit`, when asked.
"""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_audit_can_be_asked_for() -> None:
    assert re.search(r"^audit:", (ROOT / "Makefile").read_text(), re.MULTILINE)
