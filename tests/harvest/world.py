"""Two sides that people work on at will: our database and a sandbox, with trouble between them, and what was done kept.

Each deed of a `World` takes small numbers that choose among what there is, so that a state machine can drive it and
a failing example reads as a plain test. Notes, hours and dates that people enter are never used twice. So it can be
told of each value, at the end, what became of it: it is on a side, somebody who saw it replaced it, or the history says
that a policy gave it up. The code under test is the product's own; the sandbox answers in this process.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import UUID

import httpx
from django.db import connection as database
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

import harvest.client
from accounts.errors import ServiceError
from accounts.models import Role
from harvest import importing, night, pushing
from harvest.agreement import base_of
from harvest.client import HarvestClient
from harvest.credentials import open_client
from harvest.errors import HarvestNotFound
from harvest.importing import Writer, execute_run
from harvest.mappings import KINDS, Change, set_mappings
from harvest.models import PersonMapping
from harvest.night import start_sync
from harvest.payloads import TimeEntryPayload
from harvest.preferences import push_older, save_preferences
from harvest.sandbox import FaultKind, Sandbox
from harvest.sandbox.app import TRANSPORT, make_app
from harvest.sandbox.timesheet import TimeEntry
from harvest.sweep import confirm_attention
from harvest.terms import Terms, hours_of, load_terms
from harvest.waiting import conflicts_of, held_of, resolve_conflict, retry_held
from inbound.models import Adjustment, ProposalStatus, TimeProposal
from inbound.services import accept_proposal
from integrations import outgoing
from integrations.models import (
    Connection,
    Deed,
    OutboundChange,
    RunEntry,
    SyncEvent,
    SyncLink,
    SyncRun,
)
from integrations.runs import RunInProgress, asked
from integrations.sync.plan import Conflict, Differs, Direction, Held, Policy, plan
from settlement.models import Statement, StatementStatus
from settlement.statements import draft_statement, issue_statement, void_statement
from tests.factories import make_member
from tests.harvest.conftest import build_studio
from tests.harvest.outbound import go_both_ways
from timelogs.models import TimeLog

Token = tuple[str, str]  # field, value as text

PROJECTS = ("Website", "Loose", "App")
TASKS = ("Design", "Code", "Admin")
FAULTS = (
    FaultKind.LOST,
    FaultKind.CUT,
    FaultKind.RATE_LIMITED,
    FaultKind.RATE_LIMITED_BARE,
    FaultKind.SERVER_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.GARBAGE,
    FaultKind.TRUNCATED,
    FaultKind.CUT_JSON,
)
LONG_AGO = timedelta(days=80)
REFUSALS = {"not_assigned", "archived", "no_task", "refused"}
REASONS = {"project_not_mapped", "task_not_mapped", "timer_running", "dismissed", "no_fallback_owner"}


class Killed(BaseException):
    """The worker is gone: nothing after this line is done."""


class Direct(httpx.BaseTransport):
    """The sandbox without a network between: its app is run to its end in the caller's thread."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.app = make_app(sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content, messages = request.read(), []
        url = request.url
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
            "path": url.path, "raw_path": url.raw_path.partition(b"?")[0], "query_string": url.query,
            "root_path": "", "scheme": url.scheme, "server": (url.host, url.port or 80),
            "client": ("127.0.0.1", 1), "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "extensions": {TRANSPORT: self},
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        work = self.app(scope, receive, send)
        try:
            work.send(None)
        except StopIteration:
            start, *bodies = messages
            body = b"".join(one["body"] for one in bodies)
            return httpx.Response(start["status"], headers=start["headers"], content=body, request=request)
        raise AssertionError("The sandbox waits for something.")

    def abort(self) -> None:
        raise httpx.RemoteProtocolError("cut")

    close = abort


class Steps:
    """Counts what others can see of a worker (each request and each commit, before and after), and strikes at one.

    strike: raises, or does something meanwhile; quiet: where in a transaction nothing can be done meanwhile.
    """

    def __init__(self) -> None:
        self.left, self.strike, self.deadly = -1, lambda: None, False
        self.working, self.striking, self.struck, self.ahead = False, False, 0, timedelta()

    def set(self, left: int, strike: Callable[[], Any], *, deadly: bool) -> None:
        self.left, self.strike, self.deadly = left, strike, deadly

    def pass_by(self, *, free: bool) -> None:
        if not self.working or self.left < 0 or threading.current_thread() is not threading.main_thread():
            return
        if self.left and (free or self.deadly):
            self.left -= 1
        elif self.left == 0 and (free or self.deadly):
            self.left, self.working = -1, False
            self.struck += 1
            self.striking = True
            try:
                self.strike()
            finally:
                self.working, self.striking = True, False


def _die() -> None:
    raise Killed


@contextmanager
def in_process(sandbox: Sandbox, steps: Steps) -> Iterator[None]:
    """Clients reach the sandbox directly and never sleep; steps are counted, our clock is ahead."""
    transport = Direct(sandbox)
    wire, write, commit = harvest.client._Wire, Writer.write, BaseDatabaseWrapper.commit
    prepare, send, now = wire.__init__, wire.send, timezone.now

    def prepared(self: Any, **options: Any) -> None:
        prepare(self, **{**options, "transport": _Lasting(transport), "sleep": lambda seconds: None})

    def sent(self: Any, *args: Any, **more: Any) -> Any:
        steps.pass_by(free=not database.in_atomic_block)
        answer = send(self, *args, **more)
        steps.pass_by(free=not database.in_atomic_block)
        return answer

    def written(self: Any, *args: Any, **more: Any) -> None:
        steps.pass_by(free=True)
        write(self, *args, **more)

    def committed(self: Any) -> None:
        if self.get_autocommit() or steps.left < 0:
            commit(self)
            return
        try:
            steps.pass_by(free=False)
        except Killed:
            self.rollback()
            raise
        commit(self)
        steps.pass_by(free=False)

    def ahead() -> datetime:
        return now() + steps.ahead

    with (
        mock.patch.object(wire, "__init__", prepared),
        mock.patch.object(wire, "send", sent),
        mock.patch.object(Writer, "write", written),
        mock.patch.object(BaseDatabaseWrapper, "commit", committed),
        mock.patch.object(timezone, "now", ahead),
        mock.patch.object(outgoing, "wake"),
        mock.patch.object(night, "enqueue"),
        mock.patch.object(importing, "enqueue"),
    ):
        yield


class _Lasting(httpx.BaseTransport):
    """One transport for many clients: closing a client does not end it."""

    def __init__(self, transport: Direct) -> None:
        self.handle_request = transport.handle_request  # type: ignore[method-assign]


class World:
    def __init__(self, sandbox: Sandbox, steps: Steps, *, policy: str = "harvest") -> None:
        sandbox.reset()
        self.sandbox, self.steps = sandbox, steps
        self.steps.ahead, self.ahead_there = timedelta(), timedelta()
        sandbox.clock = lambda: datetime.now(UTC) + self.ahead_there
        self.both = go_both_ways(build_studio(sandbox))
        self.studio = studio = self.both.studio
        self.workspace, self.admin = studio.admin.workspace, studio.admin
        self.bo = make_member(self.workspace, Role.MEMBER, email="bo@northlight.example", name="Bo").user
        with studio.scope():
            PersonMapping.objects.create(
                workspace_id=studio.workspace_id,
                harvest_id=str(studio.harvest["Ada"]),
                target=self.admin.user,
            )
        self.people = (self.admin.user, self.bo)
        self.both.set(conflict_policy=policy, watermark_at=timezone.now())
        self.first = timezone.now().date() - LONG_AGO
        self.count = 0
        self.given: set[Token] = set()
        self.spent: dict[Token, set[Any]] = {}

    # --- What is there -----------------------------------------------------------------------------------------------
    @property
    def entries(self) -> list[TimeEntry]:
        sheet = self.studio.sandbox.account.timesheet.entries
        return [sheet[key] for key in sorted(sheet)]

    def logs(self, *, deleted: bool | None = False) -> list[TimeLog]:
        with self.studio.scope():
            rows = list(TimeLog.objects.order_by("id"))
        return [log for log in rows if deleted is None or (log.deleted_at is not None) == deleted]

    def values(self) -> tuple[str, int, str]:
        """Notes, hundredths of an hour and a date that nobody has entered yet."""
        self.count += 1
        return f"n{self.count}", self.count, (self.first + timedelta(days=self.count % 80)).isoformat()

    def give(self, what: Sequence[str], notes: str, hundredths: int, day: str) -> None:
        texts = {"notes": notes, "duration": f"{Decimal(hundredths) / 100:.2f}", "spent_date": day}
        # Dates come round again: only those of the first time tell.
        fields = [name for name in what if name in texts and (name != "spent_date" or self.count < 80)]
        self.given.update((name, texts[name]) for name in fields)

    def spend(self, tokens: set[Token], cause: Any) -> None:
        for token in tokens:
            self.spent.setdefault(token, set()).add(cause)

    # --- People here -------------------------------------------------------------------------------------------------
    def log(self, place: int = 0, owner: int = 0) -> TimeLog:
        """place: 0 a mapped project, 1 a mapped client, 2 a client that may not be mapped."""
        notes, hundredths, day = self.values()
        studio = self.studio
        where: dict[str, Any] = {"project": studio.projects["Website"]}
        if place == 1:
            where = {"project": None, "client": studio.clients["Acme"]}
        elif place == 2:
            where = {"project": None, "client": studio.clients["Birch"]}
        self.give(("notes", "duration", "spent_date"), notes, hundredths, day)
        return self.both.log(
            **where, notes=notes, seconds=hundredths * 36, spent_date=date.fromisoformat(day),
            owner=self.people[owner],
        )  # fmt: skip

    def edit_here(self, n: int = 0, what: Sequence[str] = ("notes",), jitter: int = 0) -> None:
        logs = [log for log in self.logs() if log.settled_at is None]
        if not logs:
            return
        log = logs[n % len(logs)]
        notes, hundredths, day = self.values()
        studio = self.studio
        acme, website = studio.clients["Acme"], studio.projects["Website"]
        values: dict[str, Any] = {
            "notes": notes,
            "seconds": hundredths * 36 + jitter,
            "spent_date": date.fromisoformat(day),
            "owner": self.people[log.owner_id == self.people[0].id],
            "activity_type": studio.types[
                "Code" if log.activity_type_id == studio.types["Design"].id else "Design"
            ],
            "billable": not log.billable,
        }
        names = {"duration": "seconds", "activity": "activity_type"}
        chosen = {
            names.get(name, name): values[names.get(name, name)] for name in what if name != "placement"
        }
        if "placement" in what:
            chosen |= {"client": acme, "project": None if log.project_id else website}
        self.give(what, notes, hundredths, day)
        self.spend({token for token in tokens_of_log(log) if token[0] in what}, ("edit", self.count))
        self.both.edit(log, **chosen)

    def delete_here(self, n: int = 0) -> None:
        logs = [log for log in self.logs() if log.settled_at is None]
        if logs:
            log = logs[n % len(logs)]
            self.spend(tokens_of_log(log), ("gone", log.id))
            self.both.delete(log)

    def restore_here(self, n: int = 0) -> None:
        logs = self.logs(deleted=True)
        if logs:
            log = logs[n % len(logs)]
            for token in tokens_of_log(log):
                self.spent.get(token, set()).discard(("gone", log.id))
            self.both.restore(log)

    def settle(self) -> None:
        with self.studio.scope():
            drafts = Statement.objects.filter(status=StatementStatus.DRAFT)
            with suppress(ServiceError):  # nothing to settle
                draft = drafts.first() or draft_statement(
                    workspace=self.workspace, by=self.admin, client=self.studio.clients["Acme"],
                    from_date=self.first, to_date=self.first + timedelta(days=100),
                )  # fmt: skip
                issue_statement(statement=draft, by=self.admin)

    def void(self) -> None:
        with self.studio.scope():
            issued = Statement.objects.filter(status=StatementStatus.ISSUED).order_by("-id").first()
            if issued is not None:
                with suppress(ServiceError):  # a later one adjusts it
                    void_statement(statement=issued, by=self.admin)

    def map(self, kind: int, on: bool) -> None:
        studio = self.studio
        kinds: list[tuple[str, str, Any]] = [
            ("projects", "Website", studio.projects["Website"]),
            ("projects", "Loose", studio.projects["Website"]),
            ("projects", "App", studio.projects["App"]),
            ("tasks", "Code", studio.types["Code"]),
            ("tasks", "Admin", studio.types["Admin"]),
            ("clients", "Birch", studio.clients["Birch"]),
        ]
        name, key, ours = kinds[kind % len(kinds)]
        with studio.scope():
            set_mappings(
                workspace=self.workspace, connection=studio.connection, kind=KINDS[name], by=self.admin.user,
                changes=[Change(str(studio.harvest[key]), ours.pk if on else None)],
            )  # fmt: skip

    def policy(self, name: str) -> None:
        with self.studio.scope():
            save_preferences(workspace=self.workspace, by=self.admin.user, conflict_policy=name)

    def resolve(self, n: int, keep: str) -> None:
        with self.studio.scope():
            rows = list(conflicts_of(self.workspace).order_by("id"))
            if rows:
                resolve_conflict(
                    workspace=self.workspace, by=self.admin.user, change=rows[n % len(rows)], keep=keep
                )

    def retry(self) -> None:
        with self.studio.scope():
            retry_held(workspace=self.workspace, by=self.admin.user, changes=held_of(self.workspace))

    def accept(self, n: int = 0) -> None:
        with self.studio.scope():
            rows = list(TimeProposal.objects.filter(status=ProposalStatus.PENDING).order_by("id"))
            if rows:
                row = rows[n % len(rows)]
                acme = row.client_id == self.studio.clients["Acme"].id
                accept_proposal(
                    proposal=row, by=self.admin, project=self.studio.projects["Website" if acme else "App"],
                    activity_type=self.studio.types["Design"],
                )  # fmt: skip

    # --- People in Harvest -------------------------------------------------------------------------------------------
    def entry(self, project: int = 0, task: int = 0, user: int = 0) -> None:
        notes, hundredths, day = self.values()
        self.give(("notes", "duration", "spent_date"), notes, hundredths, day)
        self.studio.add_entry(
            PROJECTS[project], TASKS[task], day, f"{hundredths / 100:.2f}", notes,
            user=self.studio.harvest[("Ada", "Bo")[user]],
        )  # fmt: skip

    def edit_there(self, n: int = 0, what: Sequence[str] = ("notes",), to: int = 0) -> None:
        open_ones = [one for one in self.entries if not self.is_locked(one)]
        if not open_ones:
            return
        entry = open_ones[n % len(open_ones)]
        notes, hundredths, day = self.values()
        harvest_ids = self.studio.harvest
        values = {
            "notes": ("notes", notes),
            "duration": ("hours", f"{hundredths / 100:.2f}"),
            "spent_date": ("spent_on", day),
            "placement": ("project", harvest_ids[PROJECTS[to]]),
            "activity": ("task", harvest_ids[TASKS[to]]),
            "owner": ("user", harvest_ids["Bo" if entry.user_id == harvest_ids["Ada"] else "Ada"]),
        }
        self.give(what, notes, hundredths, day)
        self.spend({token for token in tokens_of_entry(entry) if token[0] in what}, ("edit", self.count))
        in_between = self._looked_at(entry)
        self.both.account.edit_entry(entry.id, **dict(values[name] for name in what if name in values))
        if in_between:
            self.spend({token for token in tokens_of_entry(entry) if token[0] in what}, ("raced", self.count))

    def _looked_at(self, entry: TimeEntry) -> bool:
        """Whether a worker has just looked at this entry, and may be about to write it.

        Harvest has no conditional writes: what somebody enters there between the two, a few milliseconds, can be
        written over, and nobody can tell.
        """
        asked = self.sandbox.seen(path="/time_entries")
        if not self.steps.striking or not asked or asked[-1].method != "GET":
            return False
        return asked[-1].path.endswith(f"/{entry.id}") or "external_reference_id" in asked[-1].query

    def collide(self, n: int = 0, what: Sequence[str] = ("notes",)) -> None:
        """Both sides of one link edit the same fields, knowing nothing of each other."""
        with self.studio.scope():
            links = list(
                SyncLink.objects.filter(time_log__deleted_at=None, time_log__settled_at=None)
                .exclude(time_log=None)
                .order_by("id")
                .values_list("time_log_id", "external_id")
            )
        ours = [log.id for log in self.logs() if log.settled_at is None]
        theirs = [str(one.id) for one in self.entries if not self.is_locked(one)]
        pairs = [(log, entry) for log, entry in links if log in ours and entry in theirs]
        if pairs:
            log, entry = pairs[n % len(pairs)]
            self.edit_here(ours.index(log), what)
            self.edit_there(theirs.index(entry), what)

    def delete_there(self, n: int = 0) -> None:
        open_ones = [one for one in self.entries if not self.is_locked(one)]
        if open_ones:
            entry = open_ones[n % len(open_ones)]
            self.spend(tokens_of_entry(entry), ("gone", entry.id))
            self.both.account.delete_entry(entry.id)

    def lock(self, n: int = 0, how: int = 0) -> None:
        if self.entries:
            entry = self.entries[n % len(self.entries)]
            account = self.both.account
            (account.lock_entries, account.approve, account.bill)[how](entry.id)

    def unlock(self, n: int = 0) -> None:
        if self.entries:
            self.both.account.unlock_entries(self.entries[n % len(self.entries)].id)

    @staticmethod
    def is_locked(entry: TimeEntry) -> bool:
        return entry.is_explicitly_locked or entry.approval == "approved" or entry.is_billed

    # --- Trouble -----------------------------------------------------------------------------------------------------
    def fault(
        self, kind: FaultKind, after: int = 0, times: int = 1, method: str = "", path: str = ""
    ) -> None:
        self.sandbox.fault(kind, after=after, times=times, method=method, path=path, seconds=0)

    def lose(self, kind: FaultKind = FaultKind.LOST) -> None:
        """The next entry is made, and the answer to that is lost."""
        self.fault(kind, method="POST", path="/time_entries$")

    def kill(self, after: int) -> None:
        """The next worker dies at its step of that number."""
        self.steps.set(after, _die, deadly=True)

    def meanwhile(self, after: int, deed: str, n: int = 0) -> None:
        """Something happens while the next worker is between two of its steps."""
        self.steps.set(after, lambda: self.do(deed, n), deadly=False)

    def do(self, deed: str, n: int = 0) -> None:
        """A deed by its name."""
        deeds: dict[str, Callable[[], object]] = {
            "nothing": lambda: None,
            "log": self.log,
            "log of client": lambda: self.log(1, 1),
            "edit here": lambda: self.edit_here(n, ("notes", "duration")),
            "edit there": lambda: self.edit_there(n, ("notes", "spent_date")),
            "collide": lambda: self.collide(n, ("notes", "duration")),
            "owner": lambda: self.edit_here(n, ("owner", "notes")),
            "collide owner": lambda: self.collide(n, ("owner", "notes")),
            "delete here": lambda: self.delete_here(n),
            "delete there": lambda: self.delete_there(n),
            "restore": lambda: self.restore_here(n),
            "settle": self.settle,
            "lock": lambda: self.lock(n, n % 3),
            "unmap": lambda: self.map(n, on=False),
            "push": self.push,
            "sync": self.sync,
            "back and push": self.back_and_push,
        }
        deeds[deed]()

    def step(self, whose: str, seconds: int) -> None:
        """A clock is put forward or back."""
        if whose == "here":
            self.steps.ahead += timedelta(seconds=seconds)
        else:
            self.ahead_there += timedelta(seconds=seconds)

    def back_and_push(self) -> None:
        self.step("here", -1)
        self.push()

    def quiet(self) -> None:
        self.steps.left = -1
        self.sandbox.clear_faults()

    # --- Workers -----------------------------------------------------------------------------------------------------
    def push(self, times: int = 1) -> None:
        """What is due goes out, all waits being over; what a killed worker left is taken up."""
        for _ in range(times):
            self._time_passes()
            with self._survived():
                pushing.drain(workspace_id=self.studio.workspace_id)

    def sync(self) -> None:
        """*Sync now*; a run that was left half-way is taken up instead."""
        self._time_passes()
        with self._survived():
            with self.studio.scope():
                run = SyncRun.objects.filter(state__in=("queued", "running")).first()
                run = run or start_sync(workspace=self.workspace, by=self.admin.user)
            execute_run(workspace_id=self.studio.workspace_id, run_id=run.id)

    def import_all(self) -> None:
        self._time_passes()
        with self._survived():
            try:
                self.studio.import_window(self.first, self.first + timedelta(days=100))
            except RunInProgress as busy:
                execute_run(workspace_id=self.studio.workspace_id, run_id=UUID(str(busy.extra["run"])))

    def answer(self) -> bool:
        """Say yes to what the last run asks."""
        with self.studio.scope():
            run = SyncRun.objects.order_by("-id").first()
            if run is None or run.live or asked(run) is None:
                return False
            try:
                run = confirm_attention(workspace=self.workspace, by=self.admin.user, run=run)
            except ServiceError:
                return False
        with self._survived():
            execute_run(workspace_id=self.studio.workspace_id, run_id=run.id)
        return True

    @contextmanager
    def _survived(self) -> Iterator[None]:
        """A worker is at work here, and may be killed."""
        before, self.steps.working = self.steps.working, True
        try:
            with suppress(Killed):
                yield
        finally:
            self.steps.working = before

    def _time_passes(self) -> None:
        before = timezone.now() - timedelta(seconds=1)
        with self.studio.scope():
            OutboundChange.objects.filter(state="pending").update(not_before=before)
            OutboundChange.objects.filter(state="sending").update(lease_until=before)
            SyncRun.objects.filter(state="running").update(lease_until=before)

    # --- What must hold ----------------------------------------------------------------------------------------------
    def nothing_twice(self) -> None:
        """One log, one entry, by link and by reference; while one is being made, what is begun may be two."""
        with self.studio.scope():
            begun = {
                str(one)
                for one in OutboundChange.objects.exclude(begun=None).values_list("time_log_id", flat=True)
            }
            joined = Counter(SyncLink.objects.exclude(time_log=None).values_list("time_log_id", flat=True))
            ids = Counter(
                TimeLog.objects.filter(deleted_at=None)
                .exclude(external_id=None)
                .values_list("external_id", flat=True)
            )
        assert all(count == 1 for count in joined.values()), joined
        assert all(count == 1 for count in ids.values()), ids
        references = Counter(
            entry.external_reference["id"] for entry in self.entries if entry.external_reference is not None
        )
        twice = {one for one, count in references.items() if count > 1} - begun
        assert not twice, f"twice in Harvest: {twice}"

    def rest(self) -> None:
        """Faults end; two syncs; then everything must hold that is promised."""
        self.quiet()
        with self.studio.scope():
            push_older(workspace=self.workspace, by=self.admin.user)
        for _ in range(2):
            self.sync()
            while self.answer():
                pass
            self._drain_all()
        self.nothing_twice()
        self.equal()
        self.nothing_lost()
        self.no_echo()

    def _drain_all(self) -> None:
        for _ in range(30):
            self._time_passes()
            pushing.drain(workspace_id=self.studio.workspace_id)
            with self.studio.scope():
                if not OutboundChange.objects.filter(state__in=("pending", "sending")).exists():
                    return
        raise AssertionError("It does not come to rest.")

    def equal(self) -> None:
        """No plan of any link writes; what it states is listed; nobody is left out."""
        with self.studio.scope():
            connection = Connection.objects.select_related("workspace").get()
            terms = load_terms(connection)
            waiting = OutboundChange.objects.filter(state__in=("held", "conflict"))
            changes = {one.time_log_id: one for one in waiting}
            assert not OutboundChange.objects.exclude(begun=None).exists()
            links = list(SyncLink.objects.exclude(time_log=None).select_related("time_log"))
            waiting_in_inbound = set(
                Adjustment.objects.filter(status="pending").values_list("time_log_id", flat=True)
            )
        differing = set()
        with open_client(connection) as client:
            for link in links:
                if link.time_log is not None:
                    entry = self._asked(client, link.external_id)
                    change = changes.get(link.time_log.id)
                    if self._in_step(connection, terms, link, link.time_log, entry, change):
                        differing.add(link.time_log.id)
        assert waiting_in_inbound <= differing, "an adjustment outlived what it speaks of"
        with self.studio.scope():
            unlinked = TimeLog.objects.filter(deleted_at=None, sync_link=None).exclude(id__in=changes)
            outside = [
                log
                for log in unlinked
                if str(log.client_id) in terms.clients_out or str(log.project_id) in terms.projects_out
            ]
            assert not outside, f"never sent: {outside}"
            known = set(SyncLink.objects.values_list("external_id", flat=True))
            for external_id in {str(one.id) for one in self.entries} - known:
                rows = RunEntry.objects.filter(external_id=external_id).order_by("-id")
                outcome, reason = rows.values_list("outcome", "reason").first() or ("", "")
                assert outcome == "skipped", (external_id, outcome)
                assert reason in REASONS

    @staticmethod
    def _asked(client: HarvestClient, external_id: str) -> TimeEntryPayload | None:
        try:
            return client.time_entry(int(external_id))
        except HarvestNotFound:
            return None

    def _in_step(
        self, connection: Connection, terms: Terms, link: SyncLink, log: TimeLog,
        entry: TimeEntryPayload | None, change: OutboundChange | None,
    ) -> bool:  # fmt: skip
        """Whether Harvest holds otherwise what is settled here."""
        here = terms.here(log)
        there = terms.there(entry, log) if entry else None
        base = base_of(link, log, here=here, there=there, entry=entry)
        actions = plan(
            base, None if log.deleted_at else here, there,
            direction=Direction.TWO_WAY, policy=Policy(connection.conflict_policy),
        )  # fmt: skip
        state, reason = (change.state, change.reason) if change is not None else ("", "")
        for action in actions:
            told = (action, state, reason, log.sync_state, log.sync_detail)
            match action:
                case Conflict():
                    assert (log.sync_state, state) == ("conflict", "conflict"), told
                case Held():
                    assert state in ("held", "conflict"), told
                case Differs():
                    assert log.sync_state == "differs" or state, told
                case _:  # a write, which only Harvest itself can have refused
                    assert (state, reason in REFUSALS) == ("held", True), told
        if not actions and log.deleted_at is None:
            assert log.sync_state == "synced", (log.sync_state, log.sync_detail)
        return any(isinstance(one, Differs) for one in actions)

    def nothing_lost(self) -> None:
        """Every value that somebody entered is on a side, was replaced knowingly, or is given up in the history."""
        found: set[Token] = {token for token, causes in self.spent.items() if causes}
        for log in self.logs():
            found |= tokens_of_log(log)
        for entry in self.entries:
            found |= tokens_of_entry(entry)
        with self.studio.scope():
            for event in SyncEvent.objects.filter(deed=Deed.OVERRULED):
                loser = "timebridge" if event.detail.startswith("Harvest") else "harvest"
                found |= {
                    (name, str(values[loser]).removesuffix(" h")) for name, values in event.fields.items()
                }
        assert not (lost := self.given - found), f"lost: {sorted(lost)}"

    def no_echo(self) -> None:
        """A sync makes no write on either side, nor does the next one."""
        before, there = self._rows(), [self.both.account.entry(one.id) for one in self.entries]
        self.sandbox.forget_requests()
        for _ in range(2):
            self.sync()
            pushing.drain(workspace_id=self.studio.workspace_id)
        wrote = [f"{one.method} {one.path}" for one in self.sandbox.seen() if one.method != "GET"]
        assert not wrote, wrote
        after = self._rows()
        differing = {
            row: {
                name: (before.get(row, {}).get(name), after.get(row, {}).get(name))
                for name in before.get(row, {}) | after.get(row, {})
                if before.get(row, {}).get(name) != after.get(row, {}).get(name)
            }
            for row in before | after
        }
        assert not (differing := {row: values for row, values in differing.items() if values}), differing
        assert [self.both.account.entry(one.id) for one in self.entries] == there

    def _rows(self) -> dict[str, dict[str, Any]]:
        """Every row that a sync may write, by its table and id."""
        models: tuple[Any, ...] = (TimeLog, SyncLink, OutboundChange, SyncEvent)
        with self.studio.scope():
            return {
                f"{model.__name__} {values['id']}": values
                for model in models
                for values in model.objects.values()
            }


def tokens_of_log(log: TimeLog) -> set[Token]:
    return {
        ("notes", log.notes),
        ("duration", f"{hours_of(log.seconds)}"),
        ("spent_date", log.spent_date.isoformat()),
    }


def tokens_of_entry(entry: TimeEntry) -> set[Token]:
    return {
        ("notes", entry.notes or ""),
        ("duration", f"{Decimal(entry.hundredths) / 100:.2f}"),
        ("spent_date", entry.spent_on.isoformat()),
    }
