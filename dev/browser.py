"""The Chromium of the browser tests: found here, or installed by `python -m dev.browser install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Nothing in a test leaves this machine: names other than the local ones do not resolve, and the browser's own
# background traffic is off.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("CHROMIUM"):
        yield Path(chosen)
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            yield Path(found)
    downloads = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    yield from sorted(downloads.glob("chromium-*/chrome-linux*/chrome"), reverse=True)


def find_chromium() -> Path | None:
    """A Chromium that starts: $CHROMIUM, one on the path, or one that Playwright downloaded."""
    for path in _candidates():
        try:  # some systems put a stub of that name on the path
            if subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == 0:
                return path
        except (OSError, subprocess.TimeoutExpired):
            continue
    return None


def install() -> Path | None:
    """Find Chromium, else install it: as root by apt-get, else by Playwright."""
    root = os.geteuid() == 0
    if root and shutil.which("apt-get") and not find_chromium():
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], env=environment)
        subprocess.run(["apt-get", "install", "-yq", "--no-install-recommends", "chromium"], env=environment)
    if not find_chromium():
        dependencies = ["--with-deps"] if root else []
        subprocess.run([sys.executable, "-m", "playwright", "install", *dependencies, "chromium"])
    return find_chromium()


if __name__ == "__main__":
    found = install() if sys.argv[1:] == ["install"] else find_chromium()
    print(found or "No Chromium was found; set CHROMIUM to one, or put `chromium` on the path.")
    sys.exit(found is None)
