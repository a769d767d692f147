"""The mail of a demo: kept in a directory instead of sent, and read on a page of its own.

Only where the settings say so (`MAIL_DIR`): on a machine of one's own, with no EMAIL_URL. The page asks nobody to sign
in, since the link that sets a forgotten password is in there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Self
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.ids import uuid7
from accounts.pages import unlocked

KEPT = 200


class KeepingBackend(BaseEmailBackend):
    """Writes each message to a file of its own, named by an id that sorts by time, and keeps the newest ones."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        directory = _directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            path = directory / f"{uuid7()}.eml"
            new = path.with_suffix(".new")
            new.write_bytes(message.message().as_bytes())
            new.replace(path)  # the page never sees half of one
        for old in _files()[KEPT:]:
            old.unlink(missing_ok=True)
        return len(email_messages)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as the page shows it."""

    id: str
    subject: str
    sender: str
    recipients: str
    at: datetime
    text: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError where the file is gone."""
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = message.get_body(("plain",))
        return cls(
            id=path.stem,
            subject=message["Subject"] or "(no subject)",
            sender=message["From"],
            recipients=message["To"] or "",
            at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            text=body.get_content() if body else "",
        )


@unlocked
def mail_list(request: HttpRequest) -> HttpResponse:
    """The newest messages."""
    return render(request, "mail_list.html", {"mails": [Mail.read(path) for path in _files()[:KEPT]]})


@unlocked
def mail(request: HttpRequest, id: UUID) -> HttpResponse:
    """One message as text, its links to be followed."""
    try:
        return render(request, "mail.html", {"mail": Mail.read(_directory() / f"{id}.eml")})
    except FileNotFoundError:
        raise Http404 from None


def _directory() -> Path:
    """Where mail is kept, or a 404 where it is sent."""
    if settings.MAIL_DIR is None:
        raise Http404
    return Path(settings.MAIL_DIR)


def _files() -> list[Path]:
    """The messages, newest first."""
    return sorted(_directory().glob("*.eml"), reverse=True)
