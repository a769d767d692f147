"""Lines of the log to another system as they are written, by syslog over TLS (RFC 5424, framed as in RFC 5425).

    LOG_URL=syslog+tls://logs.example.com:6514          ?ca=/path/to/authority.pem, where the system's do not know it

A thread of each process sends what the others put into its queue, so that no request waits for the log's server. While
that is away, lines wait, the newest MOST_WAITING of them; what was dropped is told as a line of its own. Standard
output has them all in any case.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

MOST_WAITING: Final = 10_000  # lines
CONNECT_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 30.0  # seconds between two attempts
LAST_SECONDS: Final = 2.0  # for what is left when a process ends
FACILITY: Final = 10  # security and authorization, RFC 5424 6.2.1
SEVERITIES: Final = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


class RemoteLog(logging.Handler):
    """Raises ValueError for another kind of address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        if parts.scheme != "syslog+tls" or not parts.hostname:
            raise ValueError("LOG_URL is syslog+tls://HOST:PORT, or console.")
        self._place = (parts.hostname, parts.port or 6514)
        self._authority = next(iter(parse_qs(parts.query).get("ca", [])), None)
        self._here = socket.gethostname()
        self._ready = threading.Condition()
        self._begin()
        atexit.register(self.drain)

    def _begin(self) -> None:
        self._pid, self._dropped, self._busy, self._ending = os.getpid(), 0, False, False
        self._waiting: deque[bytes] = deque()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._frame(record.levelname, record.name, self.format(record))
        except Exception:
            self.handleError(record)
            return
        if os.getpid() != self._pid:  # forked: the thread stayed behind, and what it has to send
            self._ready = threading.Condition()
            self._begin()
        with self._ready:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="remote-log", daemon=True)
                self._thread.start()
            self._ready.notify()

    def _frame(self, level: str, name: str, text: str) -> bytes:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"<{FACILITY * 8 + SEVERITIES.get(level, 5)}>1 {at} {self._here} timebridge {os.getpid()}"
        line = f"{head} {name[:32]} - {text}".encode(errors="replace")
        return b"%d %s" % (len(line), line)

    def _send(self) -> None:
        pause, connection = 1.0, None
        while True:
            with self._ready:
                while not self._waiting:
                    self._busy = False
                    self._ready.notify_all()
                    self._ready.wait()
                self._busy = True
                line, dropped = self._waiting.popleft(), self._dropped
                self._dropped = 0
            try:
                connection = connection or self._connect()
                if dropped:
                    connection.sendall(self._frame("WARNING", __name__, f"{dropped} lines were dropped"))
                    dropped = 0
                connection.sendall(line)
                pause = 1.0
            except OSError:
                with contextlib.suppress(OSError):
                    if connection:
                        connection.close()
                connection = None
                with self._ready:
                    self._waiting.appendleft(line)
                    self._dropped += dropped
                    if self._ending:
                        return
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(
            cafile=self._authority
        )  # checks name and certificate; TLS 1.2 at least
        plain = socket.create_connection(self._place, CONNECT_SECONDS)
        return context.wrap_socket(plain, server_hostname=self._place[0])

    def drain(self) -> None:
        """Wait a little for what is left."""
        end = time.monotonic() + LAST_SECONDS
        with self._ready:
            self._ending = True
            while (self._waiting or self._busy) and self._thread and (left := end - time.monotonic()) > 0:
                self._ready.wait(left)
