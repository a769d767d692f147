"""tap-harvest, a Singer tap made for Harvest itself: a foreign program that reads the sandbox.

It lives in an environment of its own, from its own lock, made once and kept until the lock changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
LAUNCH = HERE / "launch.py"
ENVIRONMENTS = HERE.parents[2] / ".timebridge" / "tap-venv"


def environment() -> Path:
    """The Python of the tap's environment, made where it is not there yet."""
    locks = [HERE / "build.txt", HERE / "requirements.txt"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(version.encode() + b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:16]
    home = ENVIRONMENTS / digest
    python = home / "bin" / "python"
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / ".lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # parallel test processes make it once
        if not (home / "complete").exists():
            venv.create(home, with_pip=True, clear=True)
            install = [
                str(python),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--require-hashes",
            ]
            subprocess.run([*install, "-r", locks[0]], check=True)
            # Built with the locked setuptools, not with whichever is newest.
            isolated = ["--no-build-isolation", "--use-pep517"]
            subprocess.run([*install, *isolated, "-r", locks[1]], check=True)
            (home / "complete").touch()
    return python
