"""The mail page of a demo: what would be sent is there, safe to look at, and nowhere else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives, send_mail
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Membership, User
from config.mail import KEPT
from dev.state import CHECKOUT
from tests.fragments import follow
from tests.pages.conftest import Visit

LIST = "/mail/"


@pytest.fixture
def kept(settings: Settings, tmp_path: Path) -> Path:
    """A demo that keeps its mail here."""
    settings.MAIL_DIR = tmp_path / "mail"
    settings.EMAIL_BACKEND = "config.mail.KeepingBackend"
    settings.DEMO = True
    return settings.MAIL_DIR


def newest(client: Client) -> str:
    """The page of the newest message."""
    found = re.search(r'href="(/mail/[-0-9a-f]{36}/)"', client.get(LIST).content.decode())
    assert found
    answer = client.get(found[1])
    assert answer.status_code == 200
    return answer.content.decode()


def test_nothing_is_there_where_mail_is_sent(client: Client, settings: Settings) -> None:
    settings.DEMO = True
    assert settings.MAIL_DIR is None
    assert client.get(LIST).status_code == client.get(f"{LIST}{uuid4()}/").status_code == 404
    assert LIST not in client.get(reverse("account_login")).content.decode()


def test_empty(client: Client, kept: Path) -> None:
    answer = client.get(LIST)
    assert answer.status_code == 200
    assert "No mail yet" in answer.content.decode()
    assert client.get(f"{LIST}{uuid4()}/").status_code == 404
    assert f'href="{LIST}"' in client.get(reverse("account_login")).content.decode()


@pytest.mark.django_db
def test_forgotten_password_is_set_by_the_link_in_the_mail(
    client: Client, kept: Path, admin: Membership
) -> None:
    client.post(reverse("account_reset_password"), {"email": admin.user.email})
    page = newest(client)
    assert f"<dd>{admin.user.email}</dd>" in page
    link = re.search(r'href="(https?://[^/"]+/accounts/password/reset/link/#[^"]+)"', page)
    assert link
    place = follow(client, link[1])["Location"]
    words = "a brand new passphrase"
    client.post(place, {"password1": words, "password2": words})
    assert User.objects.get(pk=admin.user.pk).check_password(words)


@pytest.mark.django_db(transaction=True)
def test_invitation_is_there_after_the_commit(kept: Path, admin: Membership, visit: Visit) -> None:
    client = visit(admin)
    person = {"email": "new@northlight.test", "name": "New", "role": "member"}
    assert client.post(reverse("person-add"), person).status_code == 302
    page = newest(client)
    assert "You are in the workspace Northlight" in page
    assert re.search(r'<a href="[^"]+/accounts/password/reset/link/#', page)


def test_message_is_shown_as_text(client: Client, kept: Path) -> None:
    evil = '<script>alert(1)</script> javascript:alert(2) http://x.test/"onmouseover="alert(3)\nÆther ☃'
    send_mail("<b>Subject</b> ☃", evil, None, ["a@b.test", "Zoë <z@b.test>"])
    page = newest(client)
    assert "<script>alert" not in page
    assert "<b>Subject" not in page
    assert "&lt;b&gt;Subject&lt;/b&gt; ☃" in page
    assert 'href="javascript' not in page
    assert not re.search(r"<[^>]*\sonmouseover=", page)
    assert "Æther ☃" in page
    assert "Zoë &lt;z@b.test&gt;" in page


def test_html_is_not_drawn(client: Client, kept: Path) -> None:
    message = EmailMultiAlternatives("Both", "plain words", None, ["a@b.test"])
    message.attach_alternative("<h1>drawn</h1>", "text/html")
    message.send()
    page = newest(client)
    assert "plain words" in page
    assert "drawn" not in page


def test_newest_first_and_no_more_than_are_kept(client: Client, kept: Path) -> None:
    for number in range(KEPT + 3):
        send_mail(f"number {number}.", "", None, ["a@b.test"])
    page = client.get(LIST).content.decode()
    shown = [int(number) for number in re.findall(r"number (\d+)\.", page)]
    assert len(shown) == KEPT
    assert shown[0] > shown[-1] > 0  # ids of one millisecond are in no order
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.django_db(transaction=True)
def test_making_the_demo_sends_nothing(
    kept: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BASE_URL = "http://localhost:8123"
    call_command("demo")
    assert not kept.exists()
    assert mail.outbox == []
    assert "Mail that it would send: http://localhost:8123/mail/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "keeps"),
    [
        ({"DEMO": "1"}, True),
        ({"DEMO": "1", "EMAIL_URL": ""}, True),
        ({"DEMO": "0"}, False),
        ({"DEMO": "1", "EMAIL_URL": "smtp+tls://me:secret@mail.test:587"}, False),
        ({"DEMO": "1", "TIMEBRIDGE_ENV": "production", "SECRET_KEY": "x" * 50, "FIELD_KEYS": "y"}, False),
    ],
)
def test_settings_keep_mail_on_a_machine_of_ones_own_only(
    environment: dict[str, str], keeps: bool, tmp_path: Path
) -> None:
    code = "from config import settings as s; print(bool(s.MAIL_DIR), s.EMAIL_BACKEND.split('.')[-1])"
    said = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "TIMEBRIDGE_STATE": str(tmp_path), **environment},
        text=True,
    ).split()
    assert (said[0] == "True") == keeps
    assert (said[1] == "KeepingBackend") == keeps
