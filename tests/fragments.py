"""Following an address with a secret behind its #, as a browser with the page's script does."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

TO_RESET = "/accounts/password/reset/link/"
TO_CONFIRM = "/accounts/confirm-email/link/"


def follow(client: Client, url: str, **given: Any) -> Any:
    """Load the page, which is told nothing of the secret, and send that by its form. given: further fields."""
    parts = urlsplit(url)
    assert parts.fragment, url
    assert not parts.query, url
    page = client.get(parts.path)
    html = page.content.decode()
    assert page.status_code == 200, url
    assert parts.fragment not in html
    assert "fragment.js" in html
    (form,) = re.findall(r"<form[^>]* data-fragment>", html)
    (action,) = re.findall(r'action="([^"]+)"', form)
    return client.post(action, {"key": parts.fragment, **given})


def link_in(text: str, page: str) -> str:
    """The link to that page in a message, whose key stands behind the #."""
    (found,) = re.findall(rf"https?://[^/\s]+{re.escape(page)}#[\w.:-]+", text)
    return str(found)
