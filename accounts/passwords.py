"""Which passwords are refused beside the short and the commonplace: those made of words that anybody here would guess,
and those that are known from breaches.

The words (docs/signing-in.md lists them too) are the product's, and a person's own: their name, their address, and the
workspaces they are in. They may stand in a password, with enough beside them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator

import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from accounts.selectors import memberships_of

WORDS = (
    "timebridge", "timesheet", "timelog", "time", "bridge", "harvest", "workspace", "studio", "agency", "admin",
    "designer", "member", "client", "budget", "billing", "password", "passwort", "welcome", "login", "secret",
)  # fmt: skip
SHORTEST_WORD = 3  # of a person's own
LEAST_BESIDE = 6  # characters that must be left without the words
LEET = str.maketrans("013457@$", "oieastas")

BREACH_SECONDS = 2.0
PREFIX = 5  # hex digits of a password's SHA-1 that are told

logger = logging.getLogger(__name__)


class BreachedPasswordValidator:
    """One of AUTH_PASSWORD_VALIDATORS: asks PWNED_PASSWORDS_URL, where one is set.

    The service is told the first five hex digits of the password's SHA-1, and answers with the rest of the thousand or
    so that begin like it, padded so that the length tells nothing either. Where it does not answer, the password is
    taken, as Django's list of the commonest of those breaches has been asked already.
    Source: Have I Been Pwned, API v3, "Searching by range".
    """

    @sensitive_variables()
    def validate(self, password: str, user: User | None = None) -> None:
        """Raises ValidationError."""
        url: str = settings.PWNED_PASSWORDS_URL
        if not url:
            return
        name = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            answer = httpx.get(
                f"{url}/{name[:PREFIX]}", headers={"Add-Padding": "true"}, timeout=BREACH_SECONDS
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            logger.warning("passwords are not compared with those of breaches (%s)", type(error).__name__)
            return
        for line in answer.text.splitlines():
            rest, _, times = line.strip().partition(":")
            if rest == name[PREFIX:] and times.strip() != "0":  # a padding's count is 0
                raise ValidationError(
                    "This password is known from a breach, of whatever site. Choose another.",
                    code="password_breached",
                )

    def get_help_text(self) -> str:
        return "Your password cannot be one that is known from a breach."


class OwnWordsValidator:
    """One of AUTH_PASSWORD_VALIDATORS. `Northlight-2026!` is refused to whoever is in the workspace Northlight."""

    def validate(self, password: str, user: User | None = None) -> None:
        """Raises ValidationError."""
        for text in {_plain(password), _plain(password.translate(LEET))}:
            left = text
            for word in sorted({*WORDS, *_own(user)}, key=len, reverse=True):
                left = left.replace(word, "")
            if left != text and len(left) < LEAST_BESIDE:
                raise ValidationError(
                    "This is made of words that others would try first: of this product, your name, your address or"
                    " your workspace. Add words of your own.",
                    code="password_own_words",
                )

    def get_help_text(self) -> str:
        return "Your password cannot be your name, your address or your workspace with little beside it."


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _own(user: User | None) -> Iterator[str]:
    if user is None:
        return
    texts = [user.name, user.email]
    if not user._state.adding:
        texts += [one.workspace.name for one in memberships_of(user)]
    for text in texts:
        for word in (text, *re.split(r"[\W_]+", text)):
            if len(plain := _plain(word)) >= SHORTEST_WORD:
                yield plain
