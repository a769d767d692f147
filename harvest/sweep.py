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

The comparison is the database's: of an import with the run's own entries, as each one that it read has one; of a sync,
which tells of what changed alone, with the ids of its listing. Only what is missing comes here, so that a run takes the
same memory over a million entries as over ten thousand. While Harvest is asked, no transaction is open.
Entries that are gone are written like a page: whole or not at all, and a run that is taken up again asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection as database
from django.db import transaction

from accounts.bulk import NULL, Staging
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
from integrations.models import Connection, RunKind, SyncRun
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
    read: bool = False,
    plans: Callable[[Sequence[str]], Any] = lambda ids: None,
) -> None:
    """Find what is gone from Harvest in the run's window, and write it. Writes on the run what a guard stopped.

    read: the run's own reading listed that window completely, and its entries are in; else it is listed here. since:
    when the run began to read. plans: what the preview that this run applies said of entries.
    Raises LeaseLost, HarvestAuthError, HarvestRateLimited, and HarvestUnavailable while entries are asked for.
    """

    def keep_hold() -> None:
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)

    try:
        listed = None if read else _list(run, client, keep_hold, every=max(lease / 3, 0.1))
        if read or listed:
            _sweep(run, client, Missing(run, listed), keep_hold, lease, since, plans)
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
    missing: Missing,
    keep_hold: Callable[[], None],
    lease: int,
    since: datetime,
    plans: Callable[[Sequence[str]], Any],
) -> None:
    answered = (run.attention or {}).get("answered")
    with tenant_scope(run.workspace_id):
        count, _ = missing.count()
    if not count:
        return
    _check_token(run, client, count, answered)
    # Of others' entries a token that does not see them cannot tell those that are gone from those that it may not see.
    people = None if run.connection.sees_all else ["", run.connection.remote_user_id]
    with tenant_scope(run.workspace_id):
        linked = count_linked(run, people)
        count, unreleased = missing.count(people)
        # A sync has taken in what moved to another day, so these are gone; an import has yet to ask.
        most = count if answered == MANY_GONE else max(FEW_GONE, linked // 10)
        if run.kind != RunKind.IMPORT and answered != MANY_GONE and unreleased > most:
            raise Stopped(MANY_GONE, unreleased)
        asked_for = missing.fetch(people)
    seen: dict[str, TimeEntryPayload | None] = {}
    gone = 0
    for number, one in enumerate(asked_for):
        if number % 20 == 19:
            keep_hold()
        try:
            entry = client.time_entry(int(one.external_id))
        except HarvestNotFound:
            seen[one.external_id] = None
            gone += 1
            if gone > most:
                raise Stopped(MANY_GONE, count) from None
        else:
            if one.again or content_hash(entry) != one.remote_hash:
                seen[one.external_id] = entry
    ids = list(seen)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        with tenant_scope(run.workspace_id):
            prolong(run, lease_seconds=lease)
            bring_into_step(run, {one: seen[one] for one in some}, since=since, plans=plans(some))


def _list(
    run: SyncRun, client: HarvestClient, keep_hold: Callable[[], None], *, every: float
) -> bytearray | None:
    """List the window. Returns rows of COMPARED, of what is linked in it and of what is listed; None without links.

    What is linked is looked up before: what came in, or was moved into the window, while Harvest was listed is not in
    that listing, and not gone either. Both wait as the text that COPY takes, some ten bytes an entry.
    Raises Stopped where it is not certain that the listing is complete.
    """
    with tenant_scope(run.workspace_id):
        linked, rows = linked_in(run)
    if not linked:
        return None
    compared = bytearray(rows, "ascii")
    del rows
    first, last = window_of(run)
    pages, listed, expected = 0, 0, 0
    try:
        for page in ahead(client.time_entry_ids(from_date=first, to_date=last), idle=keep_hold, every=every):
            compared += "".join([f"{one}\t{NULL}\n" for one in page.ids]).encode()
            pages, listed, expected = pages + 1, listed + len(page.ids), max(expected, page.total)
    except (HarvestUnavailable, HarvestContractError):
        raise Stopped(INCOMPLETE, linked) from None
    if pages > 1:  # one that moved from page to page meanwhile is there twice
        with tenant_scope(run.workspace_id):
            listed = count_listed(compared)
    if listed < expected:
        raise Stopped(INCOMPLETE, expected - listed)
    return compared


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


# --- Comparing -------------------------------------------------------------------------------------------------------
# The entries that are linked to time of the window's days, or proposed: by the day that Harvest last had. Without those
# that are known to be gone: of settled time, and of proposals that were decided or withdrawn. For a sync also, of
# whatever day, those whose log was released by a void since it differed, be it settled again or not ("again").
_LINKS = """
SELECT id, workspace_id, external_id, remote_hash, remote_user_id, time_log_id, former_log_id, proposal_id,
    CASE jsonb_typeof(base -> 'spent_date')
        WHEN 'string' THEN base ->> 'spent_date'
        WHEN 'array' THEN base -> 'spent_date' ->> 1 END AS day
FROM integrations_synclink link
WHERE workspace_id = %(workspace)s AND provider = %(provider)s AND account_id = %(account)s
"""
_LINKED = """
SELECT link.id, link.external_id, link.remote_hash, link.remote_user_id, released.yes AS again
FROM ({links}) link
LEFT JOIN timelogs_timelog log ON log.workspace_id = link.workspace_id AND log.id = link.time_log_id
LEFT JOIN inbound_timeproposal proposal
    ON proposal.workspace_id = link.workspace_id AND proposal.id = link.proposal_id
CROSS JOIN LATERAL (
    SELECT coalesce(%(sync)s AND log.sync_state = 'differs' AND (log.settled_at IS NULL OR log.settled_at > (
        SELECT max(adjustment.created_at) FROM inbound_adjustment adjustment
        WHERE adjustment.workspace_id = link.workspace_id AND adjustment.time_log_id = log.id)), false) AS yes
) released
WHERE (link.time_log_id IS NOT NULL OR link.former_log_id IS NULL AND proposal.status = 'pending')
  AND (released.yes OR NOT (log.settled_at IS NOT NULL AND log.sync_state = 'differs' AND log.sync_detail = %(gone)s)
  AND coalesce(link.day, coalesce(log.spent_date, proposal.spent_date)::text) BETWEEN %(first)s AND %(last)s)
"""
_IN_WINDOW = _LINKED.format(links=_LINKS)

# First the links without an entry of the run, few after most imports; only then (OFFSET 0) what those are.
_UNTOLD = """NOT EXISTS (
    SELECT FROM integrations_runentry entry
    WHERE entry.workspace_id = %(workspace)s AND entry.run_id = %(run)s AND entry.external_id = link.external_id
)"""
_UNREAD = _LINKED.format(links=f"{_LINKS} AND {_UNTOLD} OFFSET 0")

_ROWS = f"""
SELECT count(*), coalesce(string_agg(format(E'%%s\\t%%s\\n', external_id, again::int), ''), '')
FROM ({_IN_WINDOW}) linked
"""  # noqa: S608 - own words

# Links and listing in one: of a link `again` is known, of a row of the listing it is not.
COMPARED = Staging("harvest_compared", {"external_id": "text", "again": "boolean"})
_LISTED = f"SELECT count(DISTINCT external_id) FROM {COMPARED.name} WHERE again IS NULL"  # noqa: S608 - own words
_UNLISTED = f"""
SELECT link.id, link.external_id, link.remote_hash, link.remote_user_id, wanted.again
FROM (
    SELECT external_id, bool_or(again) AS again FROM {COMPARED.name} GROUP BY external_id
    HAVING bool_or(again) OR count(again) = count(*)
) wanted
CROSS JOIN LATERAL (
    SELECT * FROM integrations_synclink
    WHERE workspace_id = %(workspace)s AND provider = %(provider)s AND account_id = %(account)s
      AND external_id = wanted.external_id
    OFFSET 0
) link
WHERE {_UNTOLD}
"""  # noqa: S608 - own words


@dataclass(frozen=True, slots=True)
class Missing:
    """What is linked in a run's window, and Harvest did not list. Asked of the database each time, inside the scope.

    rows: of COMPARED, as `_list` returns them: those links of which there is no row of the listing, or that are asked
    for wherever they are. None: the links of which the run, which read the whole window, does not tell. Never what the
    run tells of already. people: in Harvest, whose entries alone; None for everybody's.
    """

    run: SyncRun
    rows: bytearray | None

    def count(self, people: Sequence[str] | None = None) -> tuple[int, int]:
        """How many, and how many of them are not asked for wherever they are."""
        ((count, unreleased),) = self._asked("count(*), count(*) FILTER (WHERE NOT again)", people)
        return int(count), int(unreleased)

    def fetch(self, people: Sequence[str] | None = None) -> list[Linked]:
        rows = self._asked("external_id, remote_hash, remote_user_id, again", people, "ORDER BY id")
        return [Linked(*row) for row in rows]

    def _asked(self, what: str, people: Sequence[str] | None, order: str = "") -> list[Any]:
        if self.rows is None:
            source = _UNREAD
        else:
            COMPARED.fill(self.rows)
            source = _UNLISTED
        query = f"SELECT {what} FROM ({source}) missing {_whose(people)} {order}"  # noqa: S608 - own words
        return _asked(self.run, query, people=people)


def linked_in(run: SyncRun) -> tuple[int, str]:
    """How many entries are linked in the window, and the rows of COMPARED that they are. Inside the scope."""
    ((count, rows),) = _asked(run, _ROWS)
    return int(count), rows


def count_listed(rows: bytearray) -> int:
    """How many different entries the listing among these rows has, inside the scope."""
    COMPARED.fill(rows)
    with database.cursor() as cursor:
        cursor.execute(_LISTED)
        return int(cursor.fetchone()[0])


def count_linked(run: SyncRun, people: Sequence[str] | None = None) -> int:
    """How many entries are linked in the window, of these people in Harvest or of all. Inside the scope."""
    query = f"SELECT count(*) FROM ({_IN_WINDOW}) linked {_whose(people)}"  # noqa: S608 - own words
    ((count,),) = _asked(run, query, people=people)
    return int(count)


def _whose(people: Sequence[str] | None) -> str:
    return "" if people is None else "WHERE remote_user_id = ANY(%(people)s)"


def _asked(run: SyncRun, query: str, **more: Any) -> list[Any]:
    """The rows of a query about a run's window."""
    first, last = window_of(run)
    with database.cursor() as cursor:
        # Of a workspace that grew since the tables were last analyzed the planner believes it to be empty, and would
        # compare each link with each log, or with each entry of the run.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(
            query,
            {
                "workspace": run.workspace_id,
                "provider": run.connection.provider,
                "account": run.account_id,
                "run": run.id,
                "first": first.isoformat(),
                "last": last.isoformat(),
                "gone": DELETED_SINCE,
                "sync": run.kind != RunKind.IMPORT,
                **more,
            },
        )
        found = cursor.fetchall()
        cursor.execute("SET LOCAL enable_nestloop = on")
    return found


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
