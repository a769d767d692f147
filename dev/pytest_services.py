"""The servers of a test session: loaded with `-p`, so that they are up before Django's settings are read.

Without DATABASE_URL and REDIS_URL the session starts its own, in a temporary directory, and ends them. The
processes of pytest-xdist inherit the URLs; each takes a Redis database of its own, as pytest-django gives
each a database in PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.processes import without_proxy
from dev.services import temporary_services

superuser_key = pytest.StashKey[str | None]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """A wrapper, to run before every plain hook: pytest-django reads the settings in one of those."""
    for name in ("API_RATE_LIMIT", "SESSION_RATE_LIMIT"):
        os.environ.setdefault(name, "")  # tests ask quickly; the limits' own set one
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    # Tests that are about the limit switch it on; the others' sandbox has none, and they need not wait for it.
    os.environ.setdefault("HARVEST_RATE_LIMIT", "0")
    if worker is None:
        stack = contextlib.ExitStack()
        early_config.add_cleanup(stack.close)
        os.environ.update(without_proxy(os.environ))
        services = stack.enter_context(temporary_services(os.environ))
        os.environ.update(services.environment)
        early_config.stash[superuser_key] = services.postgres.admin_url if services.postgres else None
    else:
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}").geturl()
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist; by itself, as what it starts in its turn inherits the environment."""
    node.workerinput["superuser_url"] = node.config.stash[superuser_key]


def superuser_url(config: pytest.Config) -> str | None:
    """The superuser's address of the session's own PostgreSQL; None where DATABASE_URL was given."""
    if (given := getattr(config, "workerinput", None)) is not None:
        url: str | None = given["superuser_url"]
        return url
    return config.stash[superuser_key]


def pytest_report_header(config: pytest.Config) -> str:
    places = [urlsplit(os.environ[name]) for name in ("DATABASE_URL", "REDIS_URL")]
    return "servers: " + ", ".join(f"{place.scheme}://{place.hostname}:{place.port}" for place in places)
