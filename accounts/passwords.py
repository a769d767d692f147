"""Which passwords are refused beside the short and the commonplace: those made of words that anybody here would guess.

The words (docs/signing-in.md lists them too) are the product's, and a person's own: their name, their address, and the
workspaces they are in. They may stand in a password, with enough beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.selectors import memberships_of

WORDS = (
    "timebridge", "timesheet", "timelog", "time", "bridge", "harvest", "workspace", "studio", "agency", "admin",
    "designer", "member", "client", "budget", "billing", "password", "passwort", "welcome", "login", "secret",
)  # fmt: skip
SHORTEST_WORD = 3  # of a person's own
LEAST_BESIDE = 6  # characters that must be left without the words
LEET = str.maketrans("013457@$", "oieastas")


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
