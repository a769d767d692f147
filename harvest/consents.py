"""Connecting by consent: to Harvest's page and back, and what may come back.

`begin` writes a row and sends the browser to Harvest with a signed state that names it. `finish` takes the row (once,
within ten minutes, for the person and browser that began), spends the code, and asks which accounts it opens: none and
one are clear, several are for the person to choose from. `choose` connects one of them. Harvest is always asked outside
any transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.errors import AccountMismatch, Invalid, ServiceError, UpstreamUnavailable
from accounts.models import User, Workspace
from accounts.tenancy import SPAN_SWEEP, span, tenant_scope
from harvest import oauth
from harvest.client import HarvestIdentity
from harvest.credentials import INTERACTIVE, check_plan, check_token, save_connection
from harvest.errors import HarvestAuthError, HarvestError
from harvest.models import Consent
from harvest.oauth import Tokens
from integrations.models import Connection

GOOD_FOR = timedelta(minutes=10)
KEPT = timedelta(hours=1)  # so that a replay can be told from what is unknown
SALT = "harvest.consent"
BROWSER = "harvest-browser"  # in the session
MOST_ACCOUNTS = 200


class NotOffered(ServiceError):
    """This installation is not registered with Harvest: only tokens connect."""

    slug = "oauth-not-available"


class Refused(ServiceError):
    """What came back from Harvest cannot connect. The words say why and what to do."""

    slug = "consent-refused"
    status = 400


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Several accounts, of which a person must choose one."""

    consent_id: UUID
    accounts: list[Account]


# --- There -----------------------------------------------------------------------------------------------------------
def begin(
    *, workspace: Workspace, by: User, redirect_uri: str, session: MutableMapping[str, Any] | None
) -> str:
    """The address of Harvest's consent page, for one way there and back. Inside the scope.

    session: of the browser that will come back; None where none is known (an API key asks): then whoever signs in as
    the same person may come back. Raises NotOffered, PlanRequired.
    """
    check_plan(workspace)
    if not oauth.is_available():
        raise NotOffered(
            "This installation is not registered with Harvest. Connect with a personal access token."
        )
    _forget(Consent.objects.filter(workspace=workspace))
    mark = ""
    if session is not None:
        mark = session.setdefault(BROWSER, secrets.token_urlsafe(24))
    consent = Consent.objects.create(
        workspace=workspace, user=by, browser=_hash(mark), redirect_uri=redirect_uri
    )
    state = signing.dumps([str(workspace.id), str(consent.id)], salt=SALT)
    return oauth.authorize_url(redirect_uri=redirect_uri, state=state)


def _hash(mark: str) -> str:
    return hashlib.sha256(mark.encode()).hexdigest() if mark else ""


# --- And back --------------------------------------------------------------------------------------------------------
@sensitive_variables()
def finish(
    *, workspace: Workspace, by: User, session: MutableMapping[str, Any], state: str, code: str, error: str
) -> Connection | Choice:
    """What came back with the browser, outside any transaction.

    Returns the connection, or the accounts to choose from. Raises Refused, AccountMismatch (with the `consent` to
    choose again by), Invalid, PlanRequired, UpstreamUnavailable.
    """
    consent = _taken(workspace=workspace, by=by, session=session, state=state)
    if error == "access_denied":
        raise Refused(
            "You did not allow it in Harvest, so nothing was connected. You can start again whenever you like."
        )
    if error or not code:
        raise Refused("Harvest did not give its consent, so nothing was connected. Start again.")
    try:
        tokens = oauth.exchange(code=code, redirect_uri=consent.redirect_uri)
        with HarvestIdentity(
            base_url=settings.HARVEST_ID_URL, user_agent=settings.HARVEST_USER_AGENT, patience=INTERACTIVE
        ) as identity:
            listed = identity.accounts(tokens.access_token)
    except HarvestAuthError as refusal:
        raise Refused("Harvest says that this consent is used up or has expired. Start again.") from refusal
    except HarvestError as trouble:
        raise UpstreamUnavailable(f"{trouble.message} Nothing was connected.") from trouble
    accounts = [Account(str(one.id), one.name[:200] or f"Account {one.id}") for one in listed[:MOST_ACCOUNTS]]
    if not accounts:
        raise Refused(
            "You are signed in to Harvest as somebody who belongs to no Harvest account there (Forecast does not "
            "count). Sign in to Harvest as somebody else, then start again."
        )
    with tenant_scope(workspace.id):
        consent.access_token, consent.refresh_token = tokens.access_token, tokens.refresh_token
        consent.received_at = tokens.received_at
        consent.lifetime_seconds = int(tokens.lifetime.total_seconds()) if tokens.lifetime else None
        consent.accounts = [[one.id, one.name] for one in accounts]
        consent.save()
    if len(accounts) > 1:
        return Choice(consent.id, accounts)
    try:
        return choose(workspace=workspace, by=by, consent_id=consent.id, account_id=accounts[0].id)
    except AccountMismatch as mismatch:
        mismatch.extra["consent"] = str(consent.id)
        raise


def _taken(*, workspace: Workspace, by: User, session: MutableMapping[str, Any], state: str) -> Consent:
    """The consent that a state names, taken: nobody else can take it after. Raises Refused."""
    try:
        workspace_id, consent_id = map(UUID, signing.loads(state, salt=SALT))
    except (signing.BadSignature, ValueError, TypeError):
        raise Refused(
            "This is not an answer to something that was started here. Start from the Harvest page."
        ) from None
    if workspace_id != workspace.id:
        raise Refused(
            "This was started for another workspace. Switch to it, and start again from its Harvest page."
        )
    now = timezone.now()
    with tenant_scope(workspace_id):
        consent = Consent.objects.select_for_update().filter(pk=consent_id).first()
        if consent is None or now - consent.created_at > GOOD_FOR:
            raise Refused("This took longer than ten minutes, so it is no longer good. Start again.")
        if consent.user_id != by.id or (
            consent.browser and consent.browser != _hash(session.get(BROWSER, ""))
        ):
            raise Refused(
                "This was started by somebody else, or in another browser. Start again from here to connect."
            )
        if consent.used_at is not None:
            raise Refused("This answer was used already. If Harvest is not connected now, start again.")
        consent.used_at = now
        consent.save(update_fields=["used_at"])
    return consent


def choice_of(*, workspace: Workspace, by: User, consent_id: UUID) -> Choice | None:
    """The accounts that a person may still choose from, inside the scope; None where that is over."""
    consent = _waiting(by).filter(workspace=workspace, pk=consent_id).first()
    if consent is None:
        return None
    return Choice(consent.id, [Account(account_id, name) for account_id, name in consent.accounts])


def _waiting(by: User) -> QuerySet[Consent]:
    recent = timezone.now() - GOOD_FOR
    return Consent.objects.filter(user=by, received_at__gt=recent).exclude(access_token="")


@sensitive_variables()
def choose(
    *, workspace: Workspace, by: User, consent_id: UUID, account_id: str, replace: bool = False
) -> Connection:
    """Connect one of the accounts of a consent, outside any transaction. replace: although another one's time is here.

    Raises Refused, AccountMismatch (the consent stays good, to choose again by), Invalid, UpstreamUnavailable.
    """
    with tenant_scope(workspace.id):
        consent = _waiting(by).filter(workspace=workspace, pk=consent_id).first()
    if consent is None or consent.received_at is None:
        raise Refused("This took longer than ten minutes, or was finished already. Start again.")
    if account_id not in {one for one, _ in consent.accounts}:
        raise Invalid({"account": ["Choose one of these accounts."]})
    life = consent.lifetime_seconds
    tokens = Tokens(
        consent.access_token,
        consent.refresh_token,
        consent.received_at,
        timedelta(seconds=life) if life is not None else None,
    )
    found = check_token(account_id=account_id, access_token=tokens.access_token, tokens=tokens)
    with tenant_scope(workspace.id):
        connection = save_connection(workspace=workspace, by=by, credentials=found, replace=replace)
        Consent.objects.filter(pk=consent.pk).update(access_token="", refresh_token="")
    connection.workspace = workspace
    return connection


# --- Forgetting ------------------------------------------------------------------------------------------------------
def _forget(rows: QuerySet[Consent]) -> None:
    """Drop what is long over, and the tokens of what nobody chose an account for in time. Inside the scope."""
    now = timezone.now()
    rows.filter(created_at__lt=now - KEPT).delete()
    rows.filter(_not_chosen(now)).update(access_token="", refresh_token="")


def _not_chosen(now: datetime) -> Q:
    return Q(received_at__lt=now - GOOD_FOR) & ~Q(access_token="")


def forget_old_consents() -> None:
    """Do so in every workspace, a few at a time."""
    now = timezone.now()
    with span(SPAN_SWEEP, "consents"):
        old = list(
            Consent.objects.filter(Q(created_at__lt=now - KEPT) | _not_chosen(now))
            .order_by("created_at")
            .values_list("workspace_id", flat=True)[:500]
        )
    for workspace_id in set(old):
        with tenant_scope(workspace_id):
            _forget(Consent.objects.all())
