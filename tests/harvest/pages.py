"""What the tests of the Harvest pages share."""

from __future__ import annotations

import html
import re
from typing import Any

from django.test import Client

from accounts.middleware import SESSION_WORKSPACE
from accounts.models import Membership

INTEGRATIONS = "/integrations/"
PAGE = "/integrations/harvest/"
HTMX = {"HX-Request": "true"}


def browse(person: Membership) -> Client:
    """A browser in which a person is signed in, in the workspace of that membership."""
    client = Client()
    client.force_login(person.user)
    session = client.session
    session[SESSION_WORKSPACE] = str(person.workspace_id)
    session.save()
    return client


def text_of(answer: Any) -> str:
    """The words of a page, each gap one space."""
    words = re.sub(r"<[^>]*>", " ", answer.content.decode())
    return re.sub(r"\s+([.,:])", r"\1", " ".join(html.unescape(words).split()))
