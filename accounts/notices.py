"""Telling people what needs them: in the product and by e-mail, each person once an incident.

An incident is a name such as `harvest.night:2026-03-29`, unique for a person in a workspace by the database: however
many workers come upon it, whoever writes the row first tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import Notice, User, Workspace


@dataclass(frozen=True, slots=True)
class Remedy:
    """The words of a button, and the path on this site where it leads."""

    words: str
    path: str


def tell(
    *,
    workspace: Workspace,
    people: Iterable[User],
    incident: str,
    title: str,
    text: str,
    remedy: Remedy | None = None,
) -> list[User]:
    """Give each of these people a notice, inside the scope, and send it by mail once this is committed.

    Returns those who had not been told of this incident before; the others are left in peace.
    """
    told = []
    now = timezone.now()
    for person in people:
        # One statement: two workers that come upon the same incident at once cannot both have written it.
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO accounts_notice"
                " (id, workspace_id, user_id, incident, title, text, remedy, remedy_path, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [
                    uuid7(), workspace.id, person.id, incident, title[:200], text,
                    remedy.words if remedy else "", remedy.path if remedy else "", now,
                ],
            )  # fmt: skip
            if not cursor.rowcount:
                continue
        told.append(person)
        subject = " ".join(f"{workspace.name}: {title}".split())
        body = f"{text}\n"
        if remedy:
            body += f"\n{remedy.words}: {settings.BASE_URL}{remedy.path}\n"
        _mail_later(subject, body, person.email)
    return told


def put_right(*, workspace: Workspace, incident: str) -> None:
    """What an incident asked for is done, inside the scope: nobody has to look at its notices any more."""
    Notice.objects.filter(workspace=workspace, incident=incident, read_at=None).update(read_at=timezone.now())


def _mail_later(subject: str, body: str, address: str) -> None:
    """Send once this is committed. A mail server that fails does not undo the notice: it is logged."""

    def send() -> None:  # a function with a name, which Django's log of failures asks for
        send_mail(subject, body, None, [address])

    transaction.on_commit(send, robust=True)


def notices_of(workspace: Workspace, user: User) -> QuerySet[Notice]:
    """A person's notices in a workspace."""
    return Notice.objects.filter(workspace=workspace, user=user)


def unread_of(workspace: Workspace, user: User) -> QuerySet[Notice]:
    return notices_of(workspace, user).filter(read_at=None)


def mark_read(notice: Notice) -> Notice:
    """Note that its person has seen it. Repeating it changes nothing."""
    if notice.read_at is None:
        notice.read_at = timezone.now()
        notice.save(update_fields=["read_at"])
    return notice
