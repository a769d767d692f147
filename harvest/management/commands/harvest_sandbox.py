from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from harvest.sandbox.options import add_options, run


class Command(BaseCommand):
    help = "Runs a Harvest to try things on, with its data in memory."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_options(parser)

    def handle(self, **options: Any) -> None:
        run(options, self.stdout.write)
