"""Serves a sandbox over HTTP: in a thread of its own for tests, or in the foreground for a person."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import TRANSPORT, make_app
from .state import Sandbox


class _CuttableProtocol(H11Protocol):
    """Hands each request its connection, for faults that close it without an answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # the sandbox keeps its own
        inner = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = self.transport
            await inner(scope, receive, send)

        self.app = with_transport


def serve(sandbox: Sandbox, host: str, port: int) -> None:
    """Serves until interrupted (Ctrl-C) or terminated."""
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(_config(sandbox, host, port)).run()


def _config(sandbox: Sandbox, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(sandbox),
        host=host,
        port=port,
        http=_CuttableProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,  # the sandbox's own clock dates its answers
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )


class _PromptServer(uvicorn.Server):
    """Looks for its end every 10 ms, and ends at once: test suites start and stop hundreds of these."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which waits by tenths of a second, and takes one in any case."""
        for closing in (*self.servers, *(sockets or ())):
            closing.close()
        state, loop = self.server_state, asyncio.get_running_loop()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        while (state.connections or state.tasks) and loop.time() < deadline:
            await asyncio.sleep(0.002)
        for task in state.tasks:
            task.cancel()


class SandboxServer:
    """A sandbox on a free port of this machine, until `stop()`.

    with SandboxServer(Sandbox.empty()) as server: httpx.get(server.api_url + "/users/me", headers=...)
    """

    def __init__(self, sandbox: Sandbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sandbox = sandbox
        self.host = host
        self.port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The address of the page and of Harvest ID (HARVEST_ID_URL)."""
        return f"http://{self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of the API (HARVEST_API_URL)."""
        return f"{self.base_url}/v2"

    def start(self) -> SandboxServer:
        """Raises OSError where the port is taken, RuntimeError where the server does not come up."""
        listener = socket.create_server((self.host, self.port))
        # asyncio does it only for sockets made with IPPROTO_TCP; without it every answer waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        server = self._server = _PromptServer(_config(self.sandbox, self.host, self.port))
        ready = threading.Event()

        async def run() -> None:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            ready.set()
            await task

        self._thread = threading.Thread(
            target=lambda: asyncio.run(run()), name="harvest-sandbox", daemon=True
        )
        self._thread.start()
        ready.wait(10)
        if not server.started:
            listener.close()
            raise RuntimeError("the Harvest sandbox did not start")
        return self

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(10)
        self._server = self._thread = None

    def __enter__(self) -> SandboxServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
