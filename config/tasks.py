"""Celery's way in."""

from __future__ import annotations

import logging

from celery import shared_task

from config.supply import present_lapses

logger = logging.getLogger(__name__)


@shared_task(name="config.tasks.look_at_packages")
def look_at_packages() -> None:
    """Once a day: write down what of the packages is late, as the server may be older than its last check."""
    for one in present_lapses():
        logger.warning("packages-late %s", one.text)
