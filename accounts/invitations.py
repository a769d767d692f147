"""The e-mail that tells a person that they are in a workspace, and how to get in."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.urls import reverse

from accounts.models import User, Workspace


def invite(*, workspace: Workspace, user: User, actor: User | None) -> None:
    """Send the invitation once the membership is committed. A mail server that fails does not undo the membership."""
    subject = f"You are in the workspace {' '.join(workspace.name.split())}"
    text = words(workspace=workspace, user=user, actor=actor)
    # A lambda rather than a partial: Django's log of a failure asks for a function's name.
    transaction.on_commit(lambda: _send(subject, text, user.email), robust=True)


def words(*, workspace: Workspace, user: User, actor: User | None) -> str:
    """The text. Who has no password yet gets a link to set one (good for some days); others one to sign in."""
    who = f"{actor.get_full_name()} has added you" if actor else "You were added"
    if user.has_usable_password():
        how = f"Sign in: {settings.BASE_URL}{reverse('account_login')}"
    else:
        key = default_token_generator.make_token(user)
        link = get_adapter().get_reset_password_from_key_url(f"{user_pk_to_url_str(user)}-{key}")
        again = reverse("account_reset_password")
        how = (
            f"Choose a password to sign in with: {link}\n"
            f"Should that link have expired, ask for another: {settings.BASE_URL}{again}"
        )
    return f"{who} to the workspace {workspace.name} in Timebridge.\n\n{how}\n"


def _send(subject: str, text: str, address: str) -> None:
    send_mail(subject, text, None, [address])
