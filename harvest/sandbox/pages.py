"""The sandbox's own pages and its control API."""

from __future__ import annotations

from starlette.routing import BaseRoute

from .state import Sandbox


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    return []
