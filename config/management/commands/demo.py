"""`manage.py demo`: make the demo workspace where it is missing, and say how to sign in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse

from config.demo import EMAIL, PASSWORD, ensure_demo


class Command(BaseCommand):
    help = "Make the demo workspace where it is missing, and print how to sign in to it."

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_demo()
        self.stdout.write(f"Sign in with {EMAIL} and the password {PASSWORD}")
        if settings.MAIL_DIR:
            self.stdout.write(f"Mail that it would send: {settings.BASE_URL}{reverse('mail-list')}")
