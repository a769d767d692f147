"""`reencrypt`: bring every stored secret under the newest of FIELD_KEYS."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError

from accounts.second_factor import reencrypt_second_factors
from integrations.reencrypt import reencrypt_all


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret under the first of FIELD_KEYS. To change keys: put the new one first, restart "
        "everything, run this; a day later, when remembered answers of the API are over too, take the old one out."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            written = reencrypt_all() + reencrypt_second_factors()
        except InvalidToken:
            raise CommandError(
                "A stored secret is under a key that FIELD_KEYS does not hold. Add that key to its end."
            ) from None
        self.stdout.write(f"Written under the newest key: {written}.")
