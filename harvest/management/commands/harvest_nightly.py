"""`harvest_nightly`: start the automated sync of every workspace that has it on, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from harvest.night import start_all


class Command(BaseCommand):
    help = (
        "Queue the automated sync of every connected workspace that has it on, as Celery beat does at 02:00 UTC. "
        "Given by hand it also syncs those whose night has been."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = start_all()
        self.stdout.write(f"Started: {found.started}. Running already: {found.busy}.")
