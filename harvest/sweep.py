"""Deletions in Harvest: what a complete listing of a window no longer has, asked for one by one before it is believed.

Harvest keeps no trace of a deleted entry. So after its reading a run compares the entries linked in a window (by their
day in Harvest, as both sides last agreed) with a listing of that window: an import with its own, a sync of the last 90
days with one of which only the ids are looked at. Each entry that is missing is asked for by itself: not there (404),
its log is deleted by the plan, or made again in Harvest where it was edited here; there after all, it is brought into
step as any changed entry. A sync asks like that, too, for entries that had changed while their log was settled, once
its statement is void. Where something looks wrong a guard stops before anything is deleted, and says so on the run:

    incomplete_listing  the listing did not come to its end, or is shorter than Harvest says
    other_account       the token answers for somebody else than it did
    sees_less           the token may see less than the one that was used when deletions were last looked for
    many_gone           more than a tenth, and more than five, of the window's linked entries are gone at once

After the last two a person can say that it is right (`confirm_attention`): another run goes on with that one answered.
A token that does not see everybody's time only ever tells of its own person's entries that they are gone.
Entries that are gone are written like a page: whole or not at all, and a run that is taken up again asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection as database
from django.db import transaction

from accounts.errors import ServiceError
from accounts.models import User, Workspace
from accounts.services import record_audit
from accounts.tenancy import tenant_scope
from harvest.agreement import DELETED_SINCE
from harvest.client import HarvestClient
from harvest.credentials import usable_connection
from harvest.errors import HarvestContractError, HarvestNotFound, HarvestUnavailable
from harvest.payloads import TimeEntryPayload, content_hash
from harvest.reading import ahead
from harvest.updating import bring_into_step
from integrations.models import Connection, RunEntry, RunKind, SyncRun
from integrations.runs import GUARDS, asked, prolong, start_run

DAYS = 90
FEW_GONE = 5  # so many may always go
AT_ONCE = 200  # entries that are written in one transaction

INCOMPLETE, OTHER_ACCOUNT, SEES_LESS, MANY_GONE = (
    "incomplete_listing",
    "other_account",
    "sees_less",
    "many_gone",
)
CONFIRMABLE = (SEES_LESS, MANY_GONE)


class Stopped(Exception):
    """A guard stopped the sweep. count: entries that would have gone, as far as is known."""

    def __init__(self, kind: str, count: int) -> None:
        super().__init__(kind)
        self.kind, self.count = kind, count


@dataclass(frozen=True, slots=True)
class Linked:
    """An entry linked in the window. remote_hash: of its content as it was last taken over; its person in Harvest.

    again: it is to be asked for wherever it is, as its log was released by a voided statement.
    """

    external_id: str
    remote_hash: str
    remote_user_id: str
    again: bool


def window_of(run: SyncRun) -> tuple[date, date]:
    """The days in which a run looks for deletions: those that were asked for, else the last 90."""
    if run.from_date and run.to_date:
        return run.from_date, run.to_date
    today = run.workspace.today()
    # A day on: it is tomorrow already for somebody.
    return today - timedelta(days=DAYS - 1), today + timedelta(days=1)


def sweep(
    run: SyncRun,
    client: HarvestClient,
    *,
    lease: int,
    since: datetime,
    listed: set[str] | None = None,
    short: bool = False,
    plans: Callable[[Sequence[str]], Any] = lambda ids: None,
) -> None:
    """Find what is gone from Harvest in the run's window, and write it. Writes on the run what a guard stopped.

    listed: the ids that the run's own reading of that window found, None to list it here; short: that reading may have
    missed some. since: when the run began to read. plans: what the preview that this run applies said of entries.
    Raises LeaseLost, HarvestAuthError, HarvestRateLimited, and HarvestUnavailable while entries are asked for.
    """

    def keep_hold() -> None:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)

    first, last = window_of(run)
    with tenant_scope(run.workspace_id):
        linked = linked_in(run, first, last)
    try:
        if linked:
            _sweep(run, client, linked, first, last, keep_hold, lease, since, listed, short, plans)
    except Stopped as stop:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease, attention={"kind": stop.kind, "count": stop.count})
        return
    if not run.dry_run:
        with tenant_scope(run.workspace_id):
            connection = run.connection
            Connection.objects.filter(pk=connection.pk).exclude(
                swept_user_id=connection.remote_user_id, swept_all=connection.sees_all
            ).update(swept_user_id=connection.remote_user_id, swept_all=connection.sees_all)


def _sweep(
    run: SyncRun,
    client: HarvestClient,
    linked: Sequence[Linked],
    first: date,
    last: date,
    keep_hold: Callable[[], None],
    lease: int,
    since: datetime,
    listed: set[str] | None,
    short: bool,
    plans: Callable[[Sequence[str]], Any],
) -> None:
    answered = (run.attention or {}).get("answered")
    if listed is None or short:
        listed = _listed(client, first, last, keep_hold, every=max(lease / 3, 0.1), but=len(linked))
    missing = [one for one in linked if one.again or one.external_id not in listed]
    with tenant_scope(run.workspace_id):
        told = set(
            RunEntry.objects.filter(
                workspace_id=run.workspace_id,
                run=run,
                external_id__anyof=[one.external_id for one in missing],
            ).values_list("external_id", flat=True)
        )
    missing = [one for one in missing if one.external_id not in told]
    if not missing:
        return
    _check_token(run, client, len(missing), answered)
    if not run.connection.sees_all:
        # Of others' entries such a token cannot tell those that are gone from those that it may not see.
        own = ("", run.connection.remote_user_id)
        linked = [one for one in linked if one.remote_user_id in own]
        missing = [one for one in missing if one.remote_user_id in own]
    # A sync has taken in what moved to another day, so these are gone; an import has yet to ask.
    most = max(FEW_GONE, len(linked) // 10)
    if answered == MANY_GONE:
        most = len(linked)
    elif run.kind != RunKind.IMPORT and (count := sum(not one.again for one in missing)) > most:
        raise Stopped(MANY_GONE, count)
    seen: dict[str, TimeEntryPayload | None] = {}
    gone = 0
    for number, one in enumerate(missing):
        if number % 20 == 19:
            keep_hold()
        try:
            entry = client.time_entry(int(one.external_id))
        except HarvestNotFound:
            seen[one.external_id] = None
            gone += 1
            if gone > most:
                raise Stopped(MANY_GONE, len(missing)) from None
        else:
            if one.again or content_hash(entry) != one.remote_hash:
                seen[one.external_id] = entry
    ids = list(seen)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)
            bring_into_step(run, {one: seen[one] for one in some}, since=since, plans=plans(some))


def _listed(
    client: HarvestClient,
    first: date,
    last: date,
    keep_hold: Callable[[], None],
    *,
    every: float,
    but: int,
) -> set[str]:
    """The ids of everything in the window. Raises Stopped where that is not certain. but: entries linked there."""
    listed: set[str] = set()
    short = 0
    try:
        for page in ahead(client.time_entry_ids(from_date=first, to_date=last), idle=keep_hold, every=every):
            listed.update(page.ids)
            short = page.shortfall
    except (HarvestUnavailable, HarvestContractError):
        raise Stopped(INCOMPLETE, but) from None
    if short:
        raise Stopped(INCOMPLETE, short)
    return listed


def _check_token(run: SyncRun, client: HarvestClient, count: int, answered: str | None) -> None:
    """Ask whose token this is before believing that what it does not see is gone. Raises Stopped."""
    connection, person = run.connection, client.me()
    if str(person.id) != connection.remote_user_id:
        raise Stopped(OTHER_ACCOUNT, count)
    less = connection.swept_all and not person.is_administrator
    other = connection.swept_user_id not in ("", connection.remote_user_id) and not person.is_administrator
    if (less or other) and answered != SEES_LESS:
        raise Stopped(SEES_LESS, count)
    if connection.sees_all != person.is_administrator:
        connection.sees_all = person.is_administrator
        with tenant_scope(run.workspace_id):
            Connection.objects.filter(pk=connection.pk).update(sees_all=connection.sees_all)


def linked_in(run: SyncRun, first: date, last: date) -> list[Linked]:
    """The entries that are linked to time of these days, or proposed: by the day that Harvest last had.

    Without those that are known to be gone: of settled time, and of proposals that were decided or withdrawn. For a
    sync also, of whatever day, those whose log was released by a void since it differed, be it settled again or not.
    """
    with database.cursor() as cursor:
        # Of a workspace that grew since the tables were last analyzed the planner believes it to be empty, and would
        # compare each link with each log.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(
            _LINKED,
            {
                "workspace": run.workspace_id,
                "provider": run.connection.provider,
                "account": run.account_id,
                "first": first.isoformat(),
                "last": last.isoformat(),
                "gone": DELETED_SINCE,
                "sync": run.kind != RunKind.IMPORT,
            },
        )
        found = [Linked(*row) for row in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_nestloop = on")
    return found


_LINKED = """
SELECT link.external_id, link.remote_hash, link.remote_user_id, released.yes
FROM integrations_synclink link
LEFT JOIN timelogs_timelog log ON log.workspace_id = link.workspace_id AND log.id = link.time_log_id
LEFT JOIN inbound_timeproposal proposal
    ON proposal.workspace_id = link.workspace_id AND proposal.id = link.proposal_id
CROSS JOIN LATERAL (
    SELECT coalesce(%(sync)s AND log.sync_state = 'differs' AND (log.settled_at IS NULL OR log.settled_at > (
        SELECT max(adjustment.created_at) FROM inbound_adjustment adjustment
        WHERE adjustment.workspace_id = link.workspace_id AND adjustment.time_log_id = log.id)), false) AS yes
) released
WHERE link.workspace_id = %(workspace)s AND link.provider = %(provider)s AND link.account_id = %(account)s
  AND (link.time_log_id IS NOT NULL OR link.former_log_id IS NULL AND proposal.status = 'pending')
  AND (released.yes OR NOT (log.settled_at IS NOT NULL AND log.sync_state = 'differs' AND log.sync_detail = %(gone)s)
  AND coalesce(
        CASE jsonb_typeof(link.base -> 'spent_date')
            WHEN 'string' THEN link.base ->> 'spent_date'
            WHEN 'array' THEN link.base -> 'spent_date' ->> 1 END,
        coalesce(log.spent_date, proposal.spent_date)::text
      ) BETWEEN %(first)s AND %(last)s)
ORDER BY link.id
"""


def confirm_attention(*, workspace: Workspace, by: User, run: SyncRun) -> SyncRun:
    """Go on after a guard's question, inside the scope: queue a run like this one, with that guard answered.

    Raises ServiceError where there is nothing to answer, NotConnected, PlanRequired, RunInProgress.
    """
    from harvest.importing import enqueue

    question = asked(run)
    if run.live or question is None:
        raise ServiceError("This run asks nothing.")
    kind = str(question["kind"])
    if run.dry_run:
        raise ServiceError("A preview deletes nothing. Import the window, and answer then.")
    if kind not in CONFIRMABLE:
        raise ServiceError(GUARDS[kind])
    connection = usable_connection(workspace)
    if connection.account_id != run.account_id:
        raise ServiceError("This run was of another Harvest account. Start it again.")
    with transaction.atomic():
        again = start_run(
            connection=connection,
            kind=RunKind.IMPORT if run.kind == RunKind.IMPORT else RunKind.SYNC,
            from_date=run.from_date,
            to_date=run.to_date,
            requested_by=by,
        )
        SyncRun.objects.filter(pk=again.pk).update(attention={"answered": kind})
        SyncRun.objects.filter(pk=run.pk).update(attention={**question, "answered": str(again.id)})
        record_audit(
            workspace=workspace,
            actor=by,
            action="harvest.confirmed",
            target=kind,
            run=str(again.id),
            asked=str(run.id),
        )
        enqueue(workspace.id, again.id)
    return again


def leave_attention(*, workspace: Workspace, by: User, run: SyncRun) -> None:
    """Answer a guard's question with no, inside the scope: nothing is deleted, and a later run asks again.

    Raises ServiceError where there is nothing to answer.
    """
    question = asked(run)
    if run.live or question is None:
        raise ServiceError("This run asks nothing.")
    SyncRun.objects.filter(pk=run.pk).update(attention={**question, "answered": "left"})
    record_audit(
        workspace=workspace, actor=by, action="harvest.left", target=str(question["kind"]), asked=str(run.id)
    )
