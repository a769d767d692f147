"""A Harvest API v2 and Harvest ID to run against, with its data in memory.

    with SandboxServer(Sandbox.empty()) as server:
        project = server.sandbox.account.add_project(server.sandbox.account.add_client("Acme"), "Website")

`Sandbox` holds the data and the hooks, `SandboxServer` puts it on a port. Nothing here knows Django.
"""

from .account import Account
from .faults import Fault, FaultKind
from .identity import CLIENT_ID, CLIENT_SECRET
from .server import SandboxServer
from .state import ADMIN_TOKEN, MAIN_ACCOUNT_ID, RequestRecord, Sandbox

__all__ = [
    "ADMIN_TOKEN",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "MAIN_ACCOUNT_ID",
    "Account",
    "Fault",
    "FaultKind",
    "RequestRecord",
    "Sandbox",
    "SandboxServer",
]
