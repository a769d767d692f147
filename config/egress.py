"""Whom a process of the application may talk to: the hosts that its settings name, and nobody else.

Kept by the interpreter itself (PEP 578): every look-up of a name, by whatever library, passes the hook first, a bare
address just the same. So a request that somebody talked the product into goes nowhere. libpq is no part of this; its
one server is DATABASE_URL's. What the hook allows cannot be widened while a process lives.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable
from typing import Any

LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname")
HERE = frozenset({"", "localhost", "localhost.localdomain", "0.0.0.0", "::"})  # noqa: S104 - to listen on


class EgressError(OSError):
    """A host that no setting names was asked for."""


def hold_to(hosts: Iterable[str]) -> None:
    """From now on this process looks up these hosts only, and this machine's own addresses."""
    allowed = frozenset(host.lower().rstrip(".") for host in hosts) | HERE

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LOOK_UPS and (name := _text(arguments[0])) not in allowed and not _is_here(name):
            raise EgressError(f"{name} is no host that the settings name.")

    sys.addaudithook(hook)


def _text(host: object) -> str:
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    return text.lower().rstrip(".")


def _is_here(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
