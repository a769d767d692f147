"""Getting in: connecting with a token or by consent, opening a client, disconnecting. `renewal` is about staying in.

Harvest is always asked outside any transaction; what it said is then written in a short scope, with the connection's
row locked. A connection has one row a workspace, which stays (without tokens) after disconnecting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.errors import (
    AccountMismatch,
    Forbidden,
    Invalid,
    NotConnected,
    PlanRequired,
    UpstreamUnavailable,
)
from accounts.models import Plan, User, Workspace
from accounts.notices import put_right
from accounts.services import record_audit
from harvest.client import HarvestClient, HarvestIdentity, Patience
from harvest.errors import HarvestAuthError, HarvestError, HarvestForbidden, HarvestRejected
from harvest.models import ClientMapping, HarvestItem, PersonMapping, ProjectMapping, TaskMapping
from harvest.oauth import Tokens
from harvest.payloads import UserPayload
from harvest.renewal import Renewal, current_token, death_of, keep_tokens
from integrations import outgoing
from integrations.models import AuthKind, Connection, ConnectionStatus, Direction, SyncLink
from integrations.ratelimit import SharedThrottle, Usage, usage
from integrations.runs import end_live_runs

PROVIDER = "harvest"
# A person waits for these calls: three quick attempts, a quarter of a minute at most.
INTERACTIVE = Patience(attempts=3, total=15.0, first_wait=0.5, first_rate_wait=5.0)
WITHDRAW_URL = "https://id.getharvest.com/developers"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a token turned out to be: whose, and for which account.

    tokens: as consent gave them, None for a personal token.
    """

    account_id: str
    account_name: str
    access_token: str
    person: UserPayload
    tokens: Tokens | None = None

    def __repr__(self) -> str:
        return f"Credentials(account_id={self.account_id!r})"

    @property
    def role(self) -> str:
        return next(
            (r for r in ("administrator", "manager", "member") if r in self.person.access_roles), "member"
        )


def connection_of(workspace: Workspace) -> Connection | None:
    """The workspace's Harvest connection row, whatever its state."""
    return (
        Connection.objects.filter(workspace=workspace, provider=PROVIDER)
        .select_related("connected_by", "workspace")
        .first()
    )


def live_connection(workspace: Workspace) -> Connection:
    """The connection, where it is one. Raises NotConnected."""
    connection = connection_of(workspace)
    if connection is None or connection.status == ConnectionStatus.NOT_CONNECTED:
        raise NotConnected("Harvest is not connected. Connect it first.")
    return connection


def usable_connection(workspace: Workspace) -> Connection:
    """The connection, where it can be used now. Raises NotConnected, PlanRequired."""
    check_plan(workspace)
    connection = live_connection(workspace)
    if connection.status == ConnectionStatus.RECONNECT_NEEDED:
        raise NotConnected(
            "Harvest says this token is no longer valid. Connect again to resume; your mappings are kept."
        )
    return connection


def check_plan(workspace: Workspace) -> None:
    """Refuse what needs the pro plan, and what a workspace that is to be deleted does no more.

    Raises PlanRequired, Forbidden.
    """
    if workspace.plan != Plan.PRO:
        raise PlanRequired(
            "Integrations need the Pro plan. An admin can change the plan in the workspace's settings."
        )
    if workspace.deletes_at is not None:
        raise Forbidden("This workspace is to be deleted, so nothing is synced. An admin can call that off.")


@sensitive_variables()
def check_token(*, account_id: str, access_token: str, tokens: Tokens | None = None) -> Credentials:
    """Ask Harvest whether this pair is good. Writes nothing; call it outside a transaction.

    tokens: those of a consent, whose access token it is. Raises Invalid (with the field to look at) where Harvest
    refuses it, UpstreamUnavailable where it does not answer.
    """
    account_id, access_token = account_id.strip(), access_token.strip()
    errors: dict[str, list[str]] = {}
    if not (account_id.isascii() and account_id.isdigit()) or len(account_id) > 20:
        errors["account_id"] = ["The account ID is a number. Harvest shows it beside the token."]
    if (
        not access_token
        or not access_token.isascii()
        or not access_token.isprintable()
        or " " in access_token
    ):
        errors["access_token"] = ["Paste the personal access token as Harvest shows it, without spaces."]
    if len(access_token) > 2000:
        errors["access_token"] = ["That is too long for a Harvest token."]
    if errors:
        raise Invalid(errors)
    try:
        with open_with(
            account_id=account_id, access_token=access_token, patience=INTERACTIVE, interactive=True
        ) as client:
            person = client.me()
            name = _account_name(client, account_id, access_token)
    except (HarvestAuthError, HarvestForbidden, HarvestRejected) as error:
        raise Invalid({"access_token": [error.message]}) from error
    except HarvestError as error:
        raise UpstreamUnavailable(
            f"Harvest could not be asked, so nothing was changed. {error.message}"
        ) from error
    return Credentials(
        account_id=account_id, account_name=name, access_token=access_token, person=person, tokens=tokens
    )


@sensitive_variables()
def _account_name(client: HarvestClient, account_id: str, access_token: str) -> str:
    """The account's name from Harvest ID's list, which every token may read; else the company's; else its number."""
    try:
        with HarvestIdentity(
            base_url=settings.HARVEST_ID_URL, user_agent=settings.HARVEST_USER_AGENT, patience=INTERACTIVE
        ) as identity:
            for account in identity.accounts(access_token):
                if str(account.id) == account_id and account.name:
                    return account.name[:200]
    except HarvestError:
        pass  # the list is for the name only: the token itself has been accepted
    try:
        company = client.company()
    except HarvestError:
        company = None
    return company.name[:200] if company and company.name else f"Account {account_id}"


def save_connection(
    *,
    workspace: Workspace,
    by: User,
    credentials: Credentials,
    replace: bool = False,
) -> Connection:
    """Keep checked credentials as the workspace's connection, inside its scope.

    The same account again keeps mappings and history. Another account than the one whose entries or mappings are here
    raises AccountMismatch, unless `replace`: then mappings start afresh; the time that came from the former stays.
    """
    check_plan(workspace)
    with transaction.atomic():
        Connection.objects.get_or_create(workspace=workspace, provider=PROVIDER)
        connection = Connection.objects.select_for_update().get(workspace=workspace, provider=PROVIDER)
        others = SyncLink.objects.filter(workspace=workspace, provider=PROVIDER).exclude(
            account_id=credentials.account_id
        )
        same = connection.account_id in ("", credentials.account_id)
        here = "Time" if others.exists() else "Mappings" if is_mapped(workspace) else ""
        if not same and not replace and here:
            raise AccountMismatch(
                f"{here} from another Harvest account ({connection.account_name or connection.account_id}) "
                f"{'is' if here == 'Time' else 'are'} here. "
                f"Connect that account again, or choose to start afresh with {credentials.account_name}: "
                "mappings are cleared then, and the time already here stays.",
                account_id=connection.account_id,
                account_name=connection.account_name,
            )
        if not same:
            end_live_runs(connection, error="Another Harvest account was connected while this ran.")
            clear_mappings(workspace)
            connection.watermark_at = None
            connection.default_task = connection.clock = connection.web_address = ""
            connection.wants_times = None
            # What was begun there is nothing that this account could be asked about.
            outgoing.cancel_all(
                connection, detail="Another Harvest account was connected since it was saved.", forget=True
            )
            connection.direction = Direction.IMPORT
        _nothing_to_reconnect(connection)
        person = credentials.person
        connection.status, connection.status_detail = ConnectionStatus.CONNECTED, ""
        connection.auth = AuthKind.OAUTH if credentials.tokens else AuthKind.TOKEN
        connection.account_id, connection.account_name = credentials.account_id, credentials.account_name
        keep_tokens(connection, credentials.tokens)
        connection.access_token = credentials.access_token
        connection.remote_user_id, connection.remote_user_name = str(person.id), person.name[:200]
        connection.remote_user_email = person.email[:254]
        connection.remote_role = credentials.role
        connection.sees_all = credentials.role == "administrator"
        connection.connected_at, connection.connected_by = timezone.now(), by
        connection.catalogue_read_at = None
        connection.save()
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.connected",
            target=connection.account_name,
            account_id=connection.account_id,
            auth=connection.auth,
        )
    return connection


def disconnect(*, workspace: Workspace, by: User) -> Connection:
    """Forget the tokens and the mappings, inside the workspace's scope. Time logs and their Harvest ids stay.

    Harvest documents no way to revoke a token, so none is attempted: pages say where a person withdraws it. Up to when
    its changes have been read is kept: should the same account come back, the first sync goes on from there. Raises
    NotConnected. A run that is under way is ended; its worker notices at its next page and writes nothing more.
    """
    live_connection(workspace)
    with transaction.atomic():
        connection = Connection.objects.select_for_update().get(workspace=workspace, provider=PROVIDER)
        end_live_runs(connection, error="Harvest was disconnected while this ran.")
        clear_mappings(workspace)
        _nothing_to_reconnect(connection)
        connection.status, connection.status_detail = ConnectionStatus.NOT_CONNECTED, ""
        keep_tokens(connection, None)
        connection.connected_at = None
        connection.auto_sync = False
        outgoing.cancel_all(connection, detail=outgoing.NOT_SENT)
        connection.direction = Direction.IMPORT
        connection.default_task = ""
        connection.catalogue_read_at = None
        connection.save()
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.disconnected",
            target=connection.account_name,
            account_id=connection.account_id,
        )
    return connection


def _nothing_to_reconnect(connection: Connection) -> None:
    """Whoever was told that these credentials died need not look any more."""
    if connection.status == ConnectionStatus.RECONNECT_NEEDED and connection.connected_at is not None:
        put_right(workspace=connection.workspace, incident=death_of(connection))


MAPPINGS = (ClientMapping, ProjectMapping, TaskMapping, PersonMapping)


def is_mapped(workspace: Workspace) -> bool:
    """Whether anything of Harvest's is mapped here."""
    return any(model.objects.filter(workspace=workspace).exists() for model in MAPPINGS)


def clear_mappings(workspace: Workspace) -> None:
    """Drop every mapping and the catalogue they were made from."""
    for model in (*MAPPINGS, HarvestItem):
        model.objects.filter(workspace=workspace).delete()


@sensitive_variables()
def open_with(
    *,
    account_id: str,
    access_token: str,
    patience: Patience | None = None,
    on_wait: Callable[[float, str], None] | None = None,
    refresh: Callable[[], str] | None = None,
    interactive: bool = False,
) -> HarvestClient:
    """A client of the configured Harvest for these credentials, under the account's shared limit.

    interactive: a person waits for what is asked, or soon looks for it; such calls go before runs and nights.
    """
    return HarvestClient(
        base_url=settings.HARVEST_API_URL,
        account_id=account_id,
        access_token=access_token,
        user_agent=settings.HARVEST_USER_AGENT,
        patience=patience,
        on_wait=on_wait,
        refresh=refresh,
        page_size=settings.HARVEST_PAGE_SIZE,
        throttle=_throttle(account_id, interactive) if settings.HARVEST_RATE_LIMIT else None,
    )


def _throttle(account_id: str, interactive: bool) -> SharedThrottle:
    return SharedThrottle(
        account_id.strip(),
        redis_url=settings.REDIS_URL,
        interactive=interactive,
        processes=settings.HARVEST_PROCESSES,
    )


def limit_use(account_id: str) -> Usage | None:
    """How much of an account's limit is in use now; None where that cannot be told, or there is no limit here."""
    return usage(account_id, redis_url=settings.REDIS_URL) if settings.HARVEST_RATE_LIMIT else None


@sensitive_variables()
def open_client(
    connection: Connection,
    *,
    patience: Patience | None = None,
    on_wait: Callable[[float, str], None] | None = None,
    interactive: bool = False,
) -> HarvestClient:
    """A client for a connection's own credentials, outside any transaction: the one way in.

    An OAuth token that is due is renewed first, and one that Harvest refuses meanwhile is renewed once. Raises
    HarvestAuthError, HarvestUnavailable.
    """
    return open_with(
        account_id=connection.account_id,
        access_token=current_token(connection),
        patience=patience,
        on_wait=on_wait,
        refresh=Renewal(connection) if connection.refresh_token else None,
        interactive=interactive,
    )
