"""The sandbox's command line, shared by `python -m harvest.sandbox` and the `harvest_sandbox` command."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from typing import Any

from .identity import CLIENT_ID, CLIENT_SECRET
from .server import serve
from .state import Sandbox

DEFAULT_PORT = 8801


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument(
        "--entries", type=int, default=3000, help="time entries in the studio (default: 3000)"
    )
    parser.add_argument("--seed", type=int, default=7, help="another seed, another studio")
    parser.add_argument(
        "--bulk", type=int, metavar="N", help="a plain large account of N entries, for measurements"
    )
    parser.add_argument("--empty", action="store_true", help="one administrator and nothing else")
    parser.add_argument("--rate-limit", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--rotate-refresh",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="a refresh gives a new refresh token and ends the old one",
    )


def run(options: dict[str, Any], write: Callable[[str], object] = sys.stdout.write) -> None:
    """Serves until interrupted, after saying where and how to connect."""
    switches = {"rate_limit": options["rate_limit"], "rotate_refresh": options["rotate_refresh"]}
    if options["bulk"]:
        sandbox = Sandbox.bulk(options["bulk"], **switches)
        gc.freeze()  # nothing of this goes away; looking through it again and again takes a second each time
    elif options["empty"]:
        sandbox = Sandbox.empty(**switches)
    else:
        sandbox = Sandbox.studio(entries=options["entries"], seed=options["seed"], **switches)
    address = f"http://{options['host']}:{options['port']}"
    token = next(iter(sandbox.identity.tokens))
    write(
        f"Harvest sandbox: {address}\n"
        f"  HARVEST_API_URL={address}/v2\n"
        f"  HARVEST_ID_URL={address}\n"
        f"  HARVEST_CLIENT_ID={CLIENT_ID}\n"
        f"  HARVEST_CLIENT_SECRET={CLIENT_SECRET}\n"
        f"  {sandbox.account.name}: account id {sandbox.account.id}, personal access token {token}\n"
    )
    sys.stdout.flush()
    serve(sandbox, options["host"], options["port"])
