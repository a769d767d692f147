"""End the sessions of a person, or of everybody: at once, wherever they are signed in."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import User
from accounts.sessions import end_other_sessions


class Command(BaseCommand):
    help = "Ends every session of a person, or of everybody. They sign in again; API keys are not touched."

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("email", nargs="?", help="the e-mail address that they sign in with")
        whose.add_argument("--everybody", action="store_true", help="the sessions of all people")

    @transaction.atomic
    def handle(self, *args: Any, email: str | None, everybody: bool, **options: Any) -> None:
        if everybody:
            UserSession.objects.all().delete()
            ended, _ = Session.objects.all().delete()
        else:
            user = User.objects.filter(email__iexact=str(email).strip()).first()
            if user is None:
                raise CommandError("Nobody signs in with this address.")
            ended = end_other_sessions(user)
        self.stdout.write(f"Sessions ended: {ended}.")
