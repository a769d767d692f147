"""Make a workspace from the command line."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.api_keys import make_api_key
from accounts.audit import Origin, acting
from accounts.errors import Invalid
from accounts.models import Plan
from accounts.services import create_workspace
from accounts.tenancy import tenant_scope


class Command(BaseCommand):
    help = (
        "Makes a workspace and its first admin, and prints one line of JSON: the workspace's slug, the admin's"
        " e-mail address and a read-write API key, which is shown this once. A person who is known already keeps"
        " their password."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the workspace's name")
        parser.add_argument("--email", required=True, help="the admin's e-mail address")
        parser.add_argument("--password", required=True, help="the admin's password, if they are new here")
        parser.add_argument("--plan", default=Plan.FREE, help="free or pro (default: free)")
        parser.add_argument("--timezone", default="UTC", help="such as Europe/Berlin (default: UTC)")
        parser.add_argument("--currency", default="USD", help="such as EUR (default: USD)")

    def handle(self, *args: Any, **options: Any) -> None:
        given = ("name", "email", "password", "plan", "timezone", "currency")
        try:
            with acting(Origin(agent="command create_workspace")), transaction.atomic():
                membership = create_workspace(
                    **{option: options[option] for option in given}, any_password=True
                )
                with tenant_scope(membership.workspace_id):
                    _, key = make_api_key(
                        workspace=membership.workspace, user=membership.user, name="Command line"
                    )
        except Invalid as error:
            words = [f"{field}: {' '.join(messages)}" for field, messages in error.errors.items()]
            raise CommandError("\n".join(words)) from error
        made = {"workspace": membership.workspace.slug, "email": membership.user.email, "api_key": key}
        self.stdout.write(json.dumps(made))
