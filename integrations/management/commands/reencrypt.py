"""`reencrypt`: bring every stored secret under the newest of FIELD_KEYS."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.second_factor import factors_under_older_keys, reencrypt_second_factors
from integrations.reencrypt import count_under_older_keys, reencrypt_all


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret under the first of FIELD_KEYS. To change keys: put the new one first, restart "
        "everything, run this; a day later, when remembered answers of the API are over too and --check finds nothing, "
        "take the old one out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; fail while an older key is needed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            if left := count_under_older_keys() + factors_under_older_keys():
                raise CommandError(f"Under an older key, or one that is missing: {left}.")
            self.stdout.write("All is under the newest key: those before it may go.")
            return
        try:
            written = reencrypt_all() + reencrypt_second_factors()
        except InvalidToken:
            raise CommandError(
                "A stored secret is under a key that FIELD_KEYS does not hold. Add that key to its end."
            ) from None
        self.stdout.write(f"Written under the newest key: {written}.")
