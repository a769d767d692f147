"""Tokens that stay fresh: expiry, rotation, several workers at once, and tokens that die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
import time_machine
from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from accounts.models import AuditEvent, Notice, Role
from harvest import oauth
from harvest.credentials import check_token, disconnect, open_client, save_connection
from harvest.errors import HarvestAuthError, HarvestContractError, HarvestError, HarvestUnavailable
from harvest.models import ProjectMapping
from harvest.renewal import due_renewals, mark_reconnect_needed, renew_ahead, renewed_token
from harvest.sandbox import CLIENT_ID, CLIENT_SECRET, Sandbox
from harvest.tasks import renew_token, sweep_tokens
from integrations.models import Connection, ConnectionStatus, RunState
from tests.factories import make_member
from tests.harvest.conftest import Studio, build_studio, make_admin

CALLBACK = "http://testserver/integrations/harvest/callback/"


@pytest.fixture
def registered(settings: Any) -> None:
    """This installation is an OAuth application of the sandbox."""
    settings.HARVEST_CLIENT_ID, settings.HARVEST_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET


def consented(sandbox: Sandbox) -> oauth.Tokens:
    back = sandbox.consent(redirect_uri=CALLBACK)
    code = parse_qs(urlsplit(back).query)["code"][0]
    return oauth.exchange(code=code, redirect_uri=CALLBACK)


def connect_by_oauth(studio: Studio) -> Connection:
    """Have the studio's connection use OAuth from now on."""
    tokens = consented(studio.sandbox)
    found = check_token(account_id="880123", access_token=tokens.access_token, tokens=tokens)
    with studio.scope():
        row = save_connection(workspace=studio.admin.workspace, by=studio.admin.user, credentials=found)
    row.workspace = studio.admin.workspace
    studio.connection = row
    return row


@pytest.fixture
def by_oauth(registered: None, studio: Studio) -> Studio:
    connect_by_oauth(studio)
    return studio


@pytest.fixture
def shared(registered: None, transactional_db: None, sandbox: Sandbox) -> Studio:
    """As `by_oauth`, committed, for several database connections at once."""
    studio = build_studio(sandbox)
    connect_by_oauth(studio)
    return studio


def stored(studio: Studio) -> Connection:
    with studio.scope():
        return Connection.objects.select_related("workspace").get(pk=studio.connection.pk)


def notices(studio: Studio) -> list[Notice]:
    with studio.scope():
        return list(Notice.objects.select_related("user").order_by("created_at"))


def test_expiry_is_kept_and_renewal_comes_well_before(by_oauth: Studio) -> None:
    row = stored(by_oauth)
    assert row.auth == "oauth"
    assert row.token_expires_at is not None
    assert row.token_renew_at is not None
    life = row.token_expires_at - timezone.now()
    assert timedelta(days=13, hours=23) < life <= timedelta(days=14)
    assert abs(row.token_expires_at - row.token_renew_at - timedelta(days=3.5)) < timedelta(minutes=1)


def test_a_personal_token_is_never_renewed(studio: Studio) -> None:
    row = stored(studio)
    assert (row.token_expires_at, row.token_renew_at, row.refresh_token) == (None, None, "")
    with time_machine.travel(timezone.now() + timedelta(days=4000)):
        assert due_renewals() == []
        with open_client(row) as client:
            assert client.me().first_name == "Ada"


@pytest.mark.parametrize("rotate", [False, True], ids=["kept", "rotated"])
def test_idle_connections_are_renewed_ahead_of_time(by_oauth: Studio, rotate: bool) -> None:
    by_oauth.sandbox.identity.rotate = rotate
    before = stored(by_oauth)
    assert due_renewals() == []
    with time_machine.travel(timezone.now() + timedelta(days=10, hours=13), tick=True):
        assert due_renewals() == [(before.workspace_id, before.id)]
        renew_token(str(before.workspace_id), str(before.id))
        after = stored(by_oauth)
        assert due_renewals() == []
        assert after.token_expires_at is not None
        assert after.token_expires_at > timezone.now() + timedelta(days=13)
    assert after.access_token != before.access_token
    assert (after.refresh_token != before.refresh_token) is rotate
    assert by_oauth.sandbox.identity.refresh_tokens.keys() == {after.refresh_token}
    assert after.renewing_until is None


def test_leap_day_and_the_change_of_clocks_do_not_shift_expiry(by_oauth: Studio) -> None:
    with time_machine.travel(datetime(2028, 2, 20, 1, 30, tzinfo=UTC), tick=False):
        by_oauth.sandbox.identity.now = lambda: int(timezone.now().timestamp())
        connect_by_oauth(by_oauth)
        assert stored(by_oauth).token_expires_at == datetime(2028, 3, 5, 1, 30, tzinfo=UTC)
    with time_machine.travel(
        datetime(2028, 3, 20, 1, 30, tzinfo=UTC), tick=False
    ):  # clocks change on the 26th
        connect_by_oauth(by_oauth)
        assert stored(by_oauth).token_expires_at == datetime(2028, 4, 3, 1, 30, tzinfo=UTC)


def test_a_token_that_is_due_is_renewed_before_use(by_oauth: Studio) -> None:
    before = stored(by_oauth).access_token
    with time_machine.travel(timezone.now() + timedelta(days=15), tick=True):
        with open_client(stored(by_oauth)) as client:
            assert client.me().first_name == "Ada"
        assert stored(by_oauth).access_token != before


def test_while_harvest_id_is_away_the_old_token_is_used_and_nobody_hammers(by_oauth: Studio) -> None:
    row = stored(by_oauth)
    asked = 0

    def count(request: Any) -> tuple[int, dict[str, str], str]:
        nonlocal asked
        asked += 1
        return 503, {}, "<html>later"

    soon = timezone.now() + timedelta(days=11)
    with time_machine.travel(soon, tick=True), responses.RequestsMock() as mocked:
        mocked.add_callback("POST", token_url(), callback=count)
        for _ in range(5):
            with open_client(stored(by_oauth)) as client:
                assert client.me().first_name == "Ada"  # still good for three days
        assert asked == 1
        assert due_renewals() == []
    with time_machine.travel(soon + timedelta(seconds=90), tick=True):
        assert due_renewals() == [(row.workspace_id, row.id)]
        renew_ahead(workspace_id=row.workspace_id, connection_id=row.id)
        assert stored(by_oauth).access_token != row.access_token
    assert stored(by_oauth).connected
    assert notices(by_oauth) == []


def token_url() -> str:
    return f"{settings.HARVEST_ID_URL}/api/v2/oauth2/token"


# --- Several at once -------------------------------------------------------------------------------------------------
def all_at_once(work: Callable[[], str], count: int) -> list[str]:
    """What each of so many threads came to, begun at the same instant."""
    gate = threading.Barrier(count)
    found: list[str] = []

    def one() -> None:
        try:
            gate.wait()
            found.append(work())
        except HarvestError as error:
            found.append(type(error).__name__)
        finally:
            database.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("count", [2, 8])
def test_workers_that_renew_at_the_same_instant_spend_one_refresh_token(shared: Studio, count: int) -> None:
    shared.sandbox.identity.rotate = True
    before = stored(shared)
    spent = spy_on_refreshes(shared.sandbox)
    found = all_at_once(lambda: renewed_token(stored(shared), instead_of=before.access_token), count)
    after = stored(shared)
    assert spent == [before.refresh_token]
    assert found == [after.access_token] * count
    assert after.connected
    with open_client(after) as client:
        assert client.me().first_name == "Ada"
    assert shared.sandbox.identity.refresh_tokens.keys() == {after.refresh_token}


def spy_on_refreshes(sandbox: Sandbox) -> list[str]:
    """The refresh tokens that Harvest ID is asked with from now on."""
    spent: list[str] = []
    exchange = sandbox.identity.exchange

    def listen(params: Any) -> Any:
        if params.get("grant_type") == "refresh_token":
            spent.append(params["refresh_token"])
        return exchange(params)

    sandbox.identity.exchange = listen  # type: ignore[method-assign]
    return spent


def test_a_worker_that_died_while_renewing_is_waited_for_and_followed(by_oauth: Studio) -> None:
    before = stored(by_oauth)
    with by_oauth.scope():
        Connection.objects.filter(pk=before.pk).update(
            renewing_until=timezone.now() + timedelta(seconds=0.6), token_renew_at=timezone.now()
        )
    began = timezone.now()
    assert renewed_token(stored(by_oauth), instead_of=before.access_token) != before.access_token
    assert timezone.now() - began >= timedelta(seconds=0.5)


def test_whoever_comes_late_takes_the_token_that_is_there(by_oauth: Studio) -> None:
    early = stored(by_oauth)
    old = early.access_token
    new = renewed_token(stored(by_oauth), instead_of=old)
    spent = spy_on_refreshes(by_oauth.sandbox)
    assert renewed_token(early, instead_of=old) == new != old
    assert early.access_token == new
    assert spent == []


@pytest.mark.parametrize("rotate", [False, True], ids=["kept", "rotated"])
def test_a_401_in_the_middle_of_a_run_renews_once_and_goes_on(
    shared: Studio, settings: Any, rotate: bool
) -> None:
    settings.HARVEST_PAGE_SIZE = 100
    shared.sandbox.identity.rotate = rotate
    shared.map("projects", {"Website": shared.projects["Website"]})
    shared.map("tasks", {"Design": shared.types["Design"]})
    for number in range(250):
        shared.add_entry("Website", "Design", f"2026-06-{1 + number % 10:02}", "0.25", f"No. {number}")
    spent = spy_on_refreshes(shared.sandbox)
    token = stored(shared).access_token
    lists = 0
    kept: list[tuple[bool, bool]] = []
    known = shared.sandbox.identity.token

    def is_kept(value: str) -> tuple[bool, bool]:
        try:
            row = stored(shared)
        finally:
            database.close()
        return row.access_token == value, row.refresh_token in shared.sandbox.identity.refresh_tokens

    def expiring(value: str) -> Any:
        nonlocal lists
        lists += 1
        if value != token:  # what is used is kept by then, and so is what renews it
            kept.append(elsewhere.submit(is_kept, value).result())
        if lists == 3:  # after the first page
            shared.sandbox.identity.tokens.pop(token)
        return known(value)

    shared.sandbox.identity.token = expiring  # type: ignore[method-assign]
    with ThreadPoolExecutor(
        1
    ) as elsewhere:  # the sandbox answers in an event loop, where no database is asked
        run = shared.import_window()
    assert (run.state, run.error) == (RunState.SUCCEEDED, "")
    assert shared.shown(run)["imported"] == 250
    assert len(spent) == 1
    assert set(kept) == {(True, True)}
    assert stored(shared).access_token != token
    assert stored(shared).connected


# --- Dead credentials ------------------------------------------------------------------------------------------------
def test_withdrawn_consent_means_reconnect_needed_told_once(
    by_oauth: Studio, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    by_oauth.sandbox.revoke_grants()
    spent = spy_on_refreshes(by_oauth.sandbox)
    row = stored(by_oauth)
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(3):
            with pytest.raises(HarvestAuthError):
                renewed_token(row, instead_of=row.access_token)
            renew_token(str(row.workspace_id), str(row.id))
            sweep_tokens()
    assert len(spent) == 1  # nothing hammers Harvest
    after = stored(by_oauth)
    assert after.status == ConnectionStatus.RECONNECT_NEEDED
    assert "withdrawn" in after.status_detail
    assert due_renewals() == []
    [notice] = notices(by_oauth)
    assert (notice.user, notice.remedy, notice.remedy_path) == (
        by_oauth.admin.user,
        "Connect again",
        "/integrations/harvest/",
    )
    [mail] = mailoutbox
    assert mail.to == [by_oauth.admin.user.email]
    assert "Reconnect Harvest" in mail.subject
    assert "/integrations/harvest/" in mail.body
    with by_oauth.scope():
        assert AuditEvent.objects.filter(action="harvest.reconnect_needed").count() == 1


def test_reconnecting_the_same_account_resumes_and_the_next_death_is_told_again(by_oauth: Studio) -> None:
    by_oauth.map("projects", {"Website": by_oauth.projects["Website"]})
    by_oauth.sandbox.revoke_grants()
    with pytest.raises(HarvestAuthError), open_client(stored(by_oauth)) as client:
        client.me()
    assert [one.read_at for one in notices(by_oauth)] == [None]
    again = connect_by_oauth(by_oauth)
    assert again.connected
    with by_oauth.scope():
        assert ProjectMapping.objects.count() == 1
    # It is put right, by whoever did it: the notice asks nobody any more.
    assert [one.read_at is None for one in notices(by_oauth)] == [False]
    by_oauth.sandbox.revoke_grants()
    with pytest.raises(HarvestAuthError):
        renewed_token(stored(by_oauth), instead_of=again.access_token)
    assert [one.read_at is None for one in notices(by_oauth)] == [False, True]


def test_admins_are_told_when_who_connected_has_left(by_oauth: Studio) -> None:
    other = make_member(by_oauth.admin.workspace, Role.ADMIN)
    stranger = make_admin().user
    with by_oauth.scope():
        Connection.objects.update(connected_by=stranger)
        mark_reconnect_needed(by_oauth.connection, "Gone.")
        mark_reconnect_needed(by_oauth.connection, "Gone.")
    assert {one.user for one in notices(by_oauth)} == {by_oauth.admin.user, other.user}


def test_what_comes_back_after_disconnecting_is_dropped(
    by_oauth: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stored(by_oauth)
    answer = oauth.refresh(row.refresh_token)

    def late(refresh_token: str) -> oauth.Tokens:
        with by_oauth.scope():
            disconnect(workspace=by_oauth.admin.workspace, by=by_oauth.admin.user)
        return answer

    monkeypatch.setattr(oauth, "refresh", late)
    with pytest.raises(HarvestAuthError):
        renewed_token(row, instead_of=row.access_token)
    after = stored(by_oauth)
    assert (after.status, after.access_token, after.refresh_token) == (
        ConnectionStatus.NOT_CONNECTED,
        "",
        "",
    )


# --- Harvest ID's answers --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 400, "json": {"error": "invalid_grant"}}, HarvestAuthError),
        ({"status": 401, "json": {"error": "invalid_client"}}, oauth.OAuthMisconfigured),
        ({"status": 400, "json": {"error": "invalid_request"}}, HarvestContractError),
        ({"status": 400, "json": {"error": {"odd": 1}}}, HarvestContractError),
        ({"status": 429, "body": ""}, HarvestUnavailable),
        ({"status": 503, "body": "<html>"}, HarvestUnavailable),
        ({"status": 302, "headers": {"Location": "https://elsewhere.example/"}, "body": ""}, HarvestError),
        ({"status": 200, "body": "<html>"}, HarvestContractError),
        ({"status": 200, "json": []}, HarvestContractError),
        ({"status": 200, "json": {"access_token": 7}}, HarvestContractError),
        ({"status": 200, "json": {"access_token": "a\nb"}}, HarvestContractError),
        ({"status": 200, "json": {"token_type": "bearer"}}, HarvestContractError),
        ({"body": requests.ConnectionError("refused")}, HarvestUnavailable),
    ],
)
@responses.activate
def test_every_answer_of_harvest_id_becomes_one_of_our_errors(
    registered: None, settings: Any, answer: dict[str, Any], error: type[HarvestError]
) -> None:
    settings.HARVEST_ID_URL = "https://id.harvest.example"
    responses.post("https://id.harvest.example/api/v2/oauth2/token", **answer)
    with pytest.raises(error) as caught:
        oauth.refresh("77.rt.7f3a-refresh")
    assert "7f3a" not in str(caught.value)
    assert len(responses.calls) == 1


@responses.activate
def test_what_is_asked_of_harvest_id(registered: None, settings: Any) -> None:
    settings.HARVEST_ID_URL = "https://id.harvest.example"
    responses.post(
        "https://id.harvest.example/api/v2/oauth2/token",
        json={"access_token": "77.at.new", "token_type": "bearer", "expires_in": "3600"},
    )
    tokens = oauth.refresh("77.rt.old")
    request = responses.calls[0].request
    assert parse_qs(str(request.body)) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["77.rt.old"],
        "client_id": [CLIENT_ID],
        "client_secret": [CLIENT_SECRET],
    }
    assert request.headers["User-Agent"] == settings.HARVEST_USER_AGENT
    assert "Authorization" not in request.headers
    # Harvest may send no new refresh token: the old one stays.
    assert (tokens.access_token, tokens.refresh_token) == ("77.at.new", "77.rt.old")
    assert tokens.lifetime == timedelta(hours=1)
    assert "77." not in repr(tokens)
