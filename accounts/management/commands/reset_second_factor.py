"""Take the second factors of a person away, who has lost them and the recovery codes too."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import User
from accounts.sessions import end_other_sessions


class Command(BaseCommand):
    help = (
        "Takes away every passkey, authenticator app and recovery code of a person, and ends their sessions. Make sure"
        " first that it is them who ask. They sign in by password then, and set a new one up."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the e-mail address that they sign in with")

    @transaction.atomic
    def handle(self, *args: Any, email: str, **options: Any) -> None:
        user = User.objects.filter(email__iexact=email.strip()).first()
        if user is None:
            raise CommandError("Nobody signs in with this address.")
        gone, _ = Authenticator.objects.filter(user=user).delete()
        ended = end_other_sessions(user)
        self.stdout.write(f"Taken away: {gone}. Sessions ended: {ended}.")
