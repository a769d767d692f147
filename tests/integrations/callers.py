"""What the processes of `test_ratelimit` do. Apart from it, as every one of them imports this anew: it is little."""

from __future__ import annotations

import threading
import time
from typing import Any

from harvest.client import HarvestClient, Patience
from harvest.errors import HarvestRateLimited
from integrations.ratelimit import SharedThrottle


def hammer(options: dict[str, Any], threads: int, seconds: float, start: Any, notes: Any) -> None:
    """In a process of its own: threads that take what they get; when, by the monotonic clock."""
    start.wait(60)
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        throttle = SharedThrottle("5", interactive=number % 2 == 0, **options)
        while time.monotonic() < until:
            if (wait := throttle.acquire()) > 0:
                time.sleep(wait)
            else:
                notes.put(time.monotonic())

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def read_harvest(
    account_id: int, access_token: str, api_url: str, redis_url: str, seconds: float, start: Any, notes: Any
) -> None:
    """In a process of its own: two workers of the night and one that a person waits for now and then."""
    start.wait(60)
    until = time.monotonic() + seconds

    def work(interactive: bool) -> None:
        throttle = SharedThrottle(account_id, redis_url=redis_url, interactive=interactive)
        client = HarvestClient(
            base_url=api_url,
            account_id=account_id,
            access_token=access_token,
            throttle=throttle,
            patience=Patience(total=until - time.monotonic()),
        )
        with client:
            while time.monotonic() < until:
                asked = time.monotonic()
                try:
                    client.me()
                except HarvestRateLimited:  # its patience ends with the test
                    return
                notes.put((interactive, time.monotonic() - asked))
                if interactive:
                    time.sleep(0.7)

    workers = [threading.Thread(target=work, args=(number == 2,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
