"""`manage.py demo`: make the demo workspace where it is missing, and say how to sign in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from config.demo import EMAIL, PASSWORD, ensure_demo


class Command(BaseCommand):
    help = "Make the demo workspace where it is missing, and print how to sign in to it."

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_demo()
        self.stdout.write(f"Sign in with {EMAIL} and the password {PASSWORD}")
