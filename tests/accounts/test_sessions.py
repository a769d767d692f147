"""Sessions: listed, ended at once, and what ends them by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
import time_machine
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import sessions
from accounts.models import Membership
from accounts.sessions import device_of
from tests.accounts.test_signin import SECRET, ada, somewhere, try_in  # noqa: F401 - ada is a fixture
from tests.factories import make_key, make_session
from tests.pages.test_pages import words
from tests.rest.client import Api

pytestmark = pytest.mark.django_db

PAGE = "/settings/security/"


def signed_in(person: Membership, **headers: str) -> Client:
    client = somewhere()
    client.headers = headers  # type: ignore[attr-defined]
    answer = client.post(
        "/accounts/login/", {"login": person.user.email, "password": SECRET}, headers=headers
    )
    assert answer.status_code == 302
    return client


def confirmed(client: Client) -> Client:
    client.post(reverse("account_reauthenticate"), {"password": SECRET, "next": PAGE})
    return client


def row_of(client: Client) -> UserSession:
    return UserSession.objects.get(session_key=client.session.session_key)


def test_each_session_is_listed_with_device_address_and_times(ada: Membership) -> None:  # noqa: F811
    phone = signed_in(
        ada, **{"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) Version/19 Safari/604.1"}
    )
    here = signed_in(ada, **{"user-agent": "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"})
    page = words(here.get(PAGE))
    assert "Firefox on Windows This one" in page
    assert "Safari on iPhone" in page
    assert row_of(phone).ip in page


def test_session_is_ended_at_once_after_confirming(ada: Membership) -> None:  # noqa: F811
    here, there = signed_in(ada), signed_in(ada)
    end = reverse("session-end", args=[row_of(there).pk])
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):  # signed in a while ago
        answer = here.post(end)
        assert answer["Location"].startswith(reverse("account_reauthenticate"))
        assert there.get("/").status_code == 200, "not without confirming"
        confirmed(here).post(end)
    assert there.get("/").status_code == 302
    assert there.get("/api/v1/me/").status_code == 401
    assert here.get("/").status_code == 200


def test_all_others_are_ended(ada: Membership) -> None:  # noqa: F811
    here, others = signed_in(ada), [signed_in(ada) for _ in range(3)]
    assert "Ended 3 other sessions" in words(confirmed(here).post(reverse("sessions-end"), follow=True))
    assert {other.get("/").status_code for other in others} == {302}
    assert here.get("/").status_code == 200
    assert UserSession.objects.filter(user=ada.user).count() == 1


def test_nobody_ends_the_sessions_of_somebody_else(ada: Membership, stranger: Membership) -> None:  # noqa: F811
    theirs = make_session(stranger)
    here = confirmed(signed_in(ada))
    assert here.post(reverse("session-end", args=[theirs.pk])).status_code == 404
    assert (
        here.post(reverse("session-end", args=[row_of(here).pk])).status_code == 404
    )  # one signs out of this one
    here.post(reverse("sessions-end"))
    assert UserSession.objects.filter(pk=theirs.pk).exists()


def test_new_password_ends_every_other_session(ada: Membership, mailoutbox: list[Any]) -> None:  # noqa: F811
    here, there = signed_in(ada), signed_in(ada)
    new = "another-horse-10"
    answer = here.post(
        reverse("account_change_password"), {"oldpassword": SECRET, "password1": new, "password2": new}
    )
    assert answer["Location"] == PAGE
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert len(UserSession.objects.purge_and_list(ada.user)) == 1
    assert mailoutbox[-1].subject == "Your password was changed"
    assert mailoutbox[-1].to == [ada.user.email]


def test_signing_in_begins_a_new_session(ada: Membership) -> None:  # noqa: F811
    """A session id that somebody else put into the browser is worth nothing."""
    client = somewhere()
    client.get("/accounts/login/")
    client.session["planted"] = "1"
    client.session.save()
    before = client.session.session_key
    try_in(client, ada.user.email, SECRET)
    assert client.session.session_key != before


def test_confirming_once_more_begins_a_new_session(ada: Membership) -> None:  # noqa: F811
    """The old one opens nothing any more, and the list goes on with the same row."""
    client = signed_in(ada)
    row, before = row_of(client), client.cookies["sessionid"].value
    stale = Client()
    stale.cookies["sessionid"] = before
    assert stale.get(PAGE).status_code == 200
    confirmed(client)
    assert client.cookies["sessionid"].value != before
    assert row_of(client).pk == row.pk
    assert client.get(PAGE).status_code == 200
    assert stale.get(PAGE).status_code == 302
    # What confirms nothing changes nothing.
    now = client.cookies["sessionid"].value
    client.post(reverse("account_reauthenticate"), {"password": "wrong", "next": PAGE})
    client.get(PAGE)
    assert client.cookies["sessionid"].value == now


def test_ended_account_is_out_at_once(ada: Membership) -> None:  # noqa: F811
    client = signed_in(ada)
    ada.user.is_active = False
    ada.user.save()
    assert client.get("/").status_code == 302


def test_last_seen_is_written_once_a_minute(ada: Membership) -> None:  # noqa: F811
    client = signed_in(ada)
    began = row_of(client).last_seen_at
    client.get("/clients/")
    assert row_of(client).last_seen_at == began
    a_minute_goes_by_in_redis(client)
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        client.get("/clients/", REMOTE_ADDR="203.0.113.99")
        seen = row_of(client)
        assert seen.last_seen_at >= began + timedelta(seconds=60)
        assert seen.ip == "203.0.113.99"
        client.get("/clients/")
        assert row_of(client).last_seen_at == seen.last_seen_at


def a_minute_goes_by_in_redis(client: Client) -> None:
    assert cache.delete(f"session-seen:{client.session.session_key}")


def test_redis_is_asked_once_a_minute_by_a_process_and_for_all_of_them(
    ada: Membership,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = cache.add
    asked: list[str] = []

    def add(key: str, *args: Any, **kwargs: Any) -> bool:
        asked.append(key)
        return plain(key, *args, **kwargs)

    monkeypatch.setattr(cache, "add", add)
    client = signed_in(ada)
    began, asked[:] = row_of(client).last_seen_at, []
    for _ in range(3):
        client.get("/clients/")
    assert asked == [], "signing in has asked"
    sessions._asked.clear()  # as another process, which has not asked
    for _ in range(3):
        client.get("/clients/")
    assert asked == [f"session-seen:{client.session.session_key}"]
    assert row_of(client).last_seen_at == began, "the first has written it, and Redis knows"


def test_what_a_process_remembers_of_sessions_is_bounded(
    ada: Membership,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MOST_ASKED", 2)
    monkeypatch.setattr(sessions, "_asked", {})
    clients = [signed_in(ada) for _ in range(5)]
    for client in clients:
        assert client.get("/clients/").status_code == 200
        assert 1 <= len(sessions._asked) <= 2


def test_page_opens_while_redis_is_away(ada: Membership, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    client = signed_in(ada)

    def away(*args: Any, **kwargs: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(cache, "add", away)
    assert client.get("/").status_code == 200


def test_session_ends_after_a_week_without_use(ada: Membership) -> None:  # noqa: F811
    client, began = signed_in(ada), timezone.now()
    for days in (6, 12):  # each use puts it off
        with time_machine.travel(began + timedelta(days=days)):
            assert client.get("/").status_code == 200
    with time_machine.travel(began + timedelta(days=19, seconds=5)):
        assert client.get("/").status_code == 302


def test_session_ends_after_thirty_days_however_much_it_is_used(ada: Membership) -> None:  # noqa: F811
    client, began = signed_in(ada), timezone.now()
    for days in range(5, 30, 5):
        with time_machine.travel(began + timedelta(days=days)):
            assert client.get("/").status_code == 200
    with time_machine.travel(began + timedelta(days=30, seconds=5)):
        answer = client.get("/")
    assert answer.status_code == 302
    assert answer["Clear-Site-Data"]
    assert not UserSession.objects.purge_and_list(ada.user)


def test_signing_out_is_on_every_page_and_clears_the_browser(ada: Membership) -> None:  # noqa: F811
    client = signed_in(ada)
    for page in ("/", PAGE, "/clients/", "/accounts/password/change/"):
        text = client.get(page).content.decode()
        assert f'action="{reverse("account_logout")}"' in text, page
        assert "Sign out" in text, page
    assert "Clear-Site-Data" not in client.get("/").headers
    answer = client.post(reverse("account_logout"))
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    assert client.get("/").status_code == 302


def test_operator_ends_sessions(ada: Membership, stranger: Membership, capsys: Any) -> None:  # noqa: F811
    first, second, theirs = signed_in(ada), signed_in(ada), Client()
    theirs.force_login(stranger.user)
    call_command("end_sessions", ada.user.email.upper())
    assert capsys.readouterr().out == "Sessions ended: 2.\n"
    assert {client.get("/").status_code for client in (first, second)} == {302}
    assert theirs.get("/").status_code == 200
    again = signed_in(ada)
    call_command("end_sessions", everybody=True)
    assert {client.get("/").status_code for client in (again, theirs)} == {302}
    with pytest.raises(CommandError, match="Nobody"):
        call_command("end_sessions", "nobody@signin.test")


def test_queries_do_not_grow_with_sessions_of_others(ada: Membership, stranger: Membership) -> None:  # noqa: F811
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = signed_in(ada)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            client.get(PAGE)
        return len(found)

    before = queries()
    for _ in range(5):
        make_session(stranger)
    assert queries() == before


@pytest.mark.parametrize(
    ("agent", "words_"),
    [
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit Chrome/140.0 Safari/537.36", "Chrome on macOS"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 16) SamsungBrowser/28 Chrome/140 Mobile", "Samsung Internet on Android"),
        ("Mozilla/5.0 (iPad; CPU OS 19) CriOS/140 Mobile Safari/604.1", "Chrome on iPad"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "A browser on Linux"),
        ("curl/8.9", "A program"),
        ("", "A program"),
        ("<img src=x onerror=alert(1)>", "A program"),
    ],
)  # fmt: skip
def test_device_in_words(agent: str, words_: str) -> None:
    assert device_of(agent) == words_


def test_signing_in_while_redis_is_away_is_refused_in_words(
    ada: Membership,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody may guess while nothing counts; who is in goes on."""
    inside = signed_in(ada)

    def away(*args: Any, **kwargs: Any) -> None:
        raise redis.ConnectionError

    for name in ("add", "get", "set"):
        monkeypatch.setattr(cache, name, away)
    answer = try_in(somewhere(), ada.user.email, SECRET)
    assert answer.status_code == 503
    assert "This cannot be done just now" in words(answer)
    assert inside.get("/clients/").status_code == 200


def test_api_key_is_made_by_who_has_shown_of_late_who_they_are(ada: Membership) -> None:  # noqa: F811
    client, values = signed_in(ada), {"name": "Script", "access": "read", "lifetime": ""}
    place = reverse("api-keys")
    assert "is made" in words(client.post(place, values))
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        answer = client.post(place, values)
        assert answer["Location"].startswith(reverse("account_reauthenticate"))
        assert "Confirm that it is you" in words(client.get(answer["Location"]))
        client.post(answer["Location"], {"password": SECRET})
        assert "is made" in words(client.post(place, values))


@pytest.mark.parametrize(
    ("path", "body", "good"),
    [
        ("api-keys/", {"name": "Script"}, 201),
        ("exports/", {"kind": "workspace"}, 202),
        ("workspace/deletion/", {"name": "Northlight"}, 200),
    ],
)
def test_what_is_delicate_asks_once_more_by_the_api_too(
    path: str,
    body: dict[str, str],
    good: int,
    ada: Membership,  # noqa: F811
) -> None:
    client, place = signed_in(ada), f"/api/v1/{path}"
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        answer = client.post(place, body, content_type="application/json")
        assert (answer.status_code, answer.json()["type"]) == (403, "confirmation-required")
        assert client.get(place).status_code == 200  # reading asks nothing
        confirmed(client)
        assert client.post(place, body, content_type="application/json").status_code == good


def test_key_that_a_key_makes_ends_with_it(ada: Membership) -> None:  # noqa: F811
    until = timezone.now().replace(microsecond=0) + timedelta(days=1)
    api = Api(ada, key=make_key(ada, expires_at=until))
    later = (until + timedelta(days=1)).isoformat()
    assert api.post("api-keys/", {"name": "Later", "expires_at": later}).json()["errors"].keys() == {
        "expires_at"
    }
    for given in ({}, {"expires_at": None}, {"expires_at": until.isoformat()}):
        made = api.post("api-keys/", {"name": "Script", **given})
        assert made.status_code == 201
        assert made.json()["expires_at"] == until.isoformat().replace("+00:00", "Z")
    assert Api(ada).post("api-keys/", {"name": "Endless"}).json()["expires_at"] is None
