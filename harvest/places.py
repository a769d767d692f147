"""Where pushed time lands in Harvest: the project General of a client, a project's first task, and who may use them.

General is found or made at most once, however many workers want it: one of them at a time holds an advisory lock of
the database (of its session, as no transaction is open while Harvest is asked; it goes with the session, so a worker
that dies leaves nothing behind), looks in the catalogue, then in Harvest, and makes it only then. What it found is
written into the catalogue, where the next one looks first. Should an answer be lost, it is looked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection as database
from django.db.models import QuerySet

from accounts.ids import uuid7
from accounts.tenancy import tenant_scope
from harvest.client import HarvestClient
from harvest.errors import HarvestAnswerLost, HarvestForbidden, HarvestNotFound, HarvestRejected
from harvest.models import HarvestItem, ItemKind
from harvest.payloads import ProjectPayload
from harvest.side import HarvestAway, HarvestRefused, translated
from harvest.terms import FIRST_TASK, GENERAL_NAME
from integrations.models import Connection

logger = logging.getLogger("harvest.places")


class Places:
    """The projects of a connection's Harvest account, outside any transaction. What was read is kept for its life."""

    def __init__(self, client: HarvestClient, connection: Connection) -> None:
        self._client, self._connection = client, connection
        self._first_tasks: dict[str, str] = {}

    # --- General -----------------------------------------------------------------------------------------------------
    def general(self, client_id: str, *, task: str, user: str) -> str:
        """The id of a Harvest client's project General; made, with this task and person on it, where there is none.

        Raises HarvestRefused, HarvestAway (another worker is at it: a second later it is there).
        """
        if known := self._known_general(client_id):
            return known
        with self.alone(f"{self._client.account_id}/general/{client_id}"):
            if known := self._known_general(client_id):
                return known
            with translated():
                project = self._look(client_id)
            made = project is None
            if project is None:
                project = self._make(client_id)
            if not project.is_active:
                raise HarvestRefused(
                    "archived",
                    f"The project {GENERAL_NAME} of this client is archived in Harvest. Activate it there, or choose "
                    "the project that pushed time lands in on the Harvest page.",
                )
            if made:
                self.assign(str(project.id), "" if task == FIRST_TASK else task, user)
            self._keep(project, client_id)
            return str(project.id)

    def is_general(self, project_id: str) -> bool:
        with tenant_scope(self._connection.workspace_id):
            return self._generals().filter(harvest_id=project_id).exists()

    def _generals(self) -> QuerySet[HarvestItem]:
        return HarvestItem.objects.filter(
            workspace_id=self._connection.workspace_id,
            kind=ItemKind.PROJECT,
            name__iexact=GENERAL_NAME,
            active=True,
        )

    def _known_general(self, client_id: str) -> str:
        with tenant_scope(self._connection.workspace_id):
            ids = list(self._generals().filter(parent_id=client_id).values_list("harvest_id", flat=True))
        return min(ids, key=lambda one: (len(one), one), default="")

    def _look(self, client_id: str) -> ProjectPayload | None:
        """The client's project of that name, an active one before an archived one."""
        try:
            rows = self._client.projects(client_id=int(client_id))
        except (HarvestForbidden, HarvestNotFound):
            rows = [
                ProjectPayload(
                    id=one.project_id,
                    name=one.project_name,
                    code=one.project_code,
                    client_id=one.client_id,
                    client_name=one.client_name,
                    is_active=one.is_active,
                    is_billable=True,
                )
                for one in self._client.my_project_assignments()
            ]
        named = [
            row
            for row in rows
            if str(row.client_id) == client_id and row.name.strip().casefold() == GENERAL_NAME.casefold()
        ]
        return min(named, key=lambda row: (not row.is_active, row.id), default=None)

    def _make(self, client_id: str) -> ProjectPayload:
        try:
            with translated(target=True):
                try:
                    return self._client.create_project(client_id=int(client_id), name=GENERAL_NAME)
                except (HarvestAnswerLost, HarvestRejected) as error:
                    # It may have been made after all: by this request, or in Harvest just now (names are unique).
                    refused = isinstance(error, HarvestRejected) and "taken" not in error.message
                    found = None if refused else self._look(client_id)
                    if found is None:
                        raise
                    return found
        except HarvestRefused as refused:
            if refused.reason in ("no_permission", "not_assigned"):
                raise HarvestRefused(
                    refused.reason,
                    f"This client has no project {GENERAL_NAME} in Harvest, and this token may not make one. Make it "
                    "there, or choose the project that pushed time lands in on the Harvest page.",
                ) from None
            raise

    def _keep(self, project: ProjectPayload, client_id: str) -> None:
        with tenant_scope(self._connection.workspace_id):
            HarvestItem.objects.bulk_create(
                [
                    HarvestItem(
                        id=uuid7(),
                        workspace_id=self._connection.workspace_id,
                        kind=ItemKind.PROJECT,
                        harvest_id=str(project.id),
                        name=project.name[:300],
                        code=project.code[:60],
                        parent_id=client_id,
                        parent_name=project.client_name[:300],
                        active=True,
                        billable=project.is_billable,
                    )
                ],
                update_conflicts=True,
                unique_fields=["workspace", "kind", "harvest_id"],
                update_fields=["name", "active", "parent_id"],
            )

    # --- Tasks and people --------------------------------------------------------------------------------------------
    def first_task(self, project_id: str) -> str:
        """The project's first active task: the one that was assigned first. Raises HarvestRefused where it has none."""
        if project_id not in self._first_tasks:
            with translated(target=True):
                try:
                    rows = self._client.task_assignments(int(project_id), is_active=True)
                except (HarvestForbidden, HarvestNotFound):
                    mine = self._client.my_project_assignments()
                    rows = [
                        row
                        for one in mine
                        if str(one.project_id) == project_id
                        for row in one.task_assignments
                    ]
            active = [row for row in rows if row.is_active]
            if not active:
                raise HarvestRefused(
                    "no_task",
                    "This Harvest project has no active task. Map the activity type, choose a default task on the "
                    "Harvest page, or assign a task to the project in Harvest.",
                )
            self._first_tasks[project_id] = str(min(active, key=lambda row: row.id).task_id)
        return self._first_tasks[project_id]

    def lacks(self, project_id: str, task_id: str, user_id: str) -> str:
        """What is missing for this time on this project, in words ("The task is not assigned to …"); "" for nothing."""
        self._first_tasks.pop(project_id, None)
        tasks, people = self._on_project(project_id, user_id)
        if tasks is None or people is None:
            return ""
        missing = [
            word
            for word, there in (
                ("the task", not task_id or tasks.get(task_id, (0, False))[1]),
                ("the person", not user_id or people.get(user_id, (0, False))[1]),
            )
            if not there
        ]
        if not missing:
            return ""
        are = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing).capitalize()} {are} not assigned to its project"

    def assign(self, project_id: str, task_id: str, user_id: str) -> None:
        """Put a task and a person ("" for none) on a project, or back on it. Done already, it does nothing.

        Raises HarvestRefused, HarvestAway.
        """
        tasks, people = self._on_project(project_id, user_id)
        if tasks is None or people is None:
            raise HarvestRefused(
                "no_permission",
                "This token may not assign anybody to this project. Do it in Harvest, or connect with an "
                "administrator's token.",
            )
        for kind, there, wanted in (
            ("task_assignments", tasks, task_id),
            ("user_assignments", people, user_id),
        ):
            if not wanted or there.get(wanted, (0, False))[1]:
                continue
            with translated(target=True):
                try:
                    if wanted in there:
                        self._client.activate_assignment(
                            kind, project_id=int(project_id), assignment_id=there[wanted][0]
                        )
                    elif kind == "task_assignments":
                        self._client.create_task_assignment(
                            project_id=int(project_id), task_id=int(wanted), billable=self._billable(wanted)
                        )
                    else:
                        self._client.create_user_assignment(project_id=int(project_id), user_id=int(wanted))
                except HarvestRejected as error:
                    if "taken" not in error.message:
                        raise

    def _billable(self, task_id: str) -> bool:
        with tenant_scope(self._connection.workspace_id):
            item = HarvestItem.objects.filter(
                workspace_id=self._connection.workspace_id, kind=ItemKind.TASK, harvest_id=task_id
            ).first()
        return item.billable if item else True

    def _on_project(
        self, project_id: str, user_id: str
    ) -> tuple[dict[str, tuple[int, bool]] | None, dict[str, tuple[int, bool]] | None]:
        """Tasks and people of a project: id -> (assignment id, active); None where this token may not know."""
        with translated():
            try:
                tasks = self._client.task_assignments(int(project_id))
                people = self._client.user_assignments(
                    int(project_id), user_id=int(user_id) if user_id else None
                )
            except (HarvestForbidden, HarvestNotFound):
                return None, None
        return (
            {str(row.task_id): (row.id, row.is_active) for row in tasks},
            {str(row.user_id): (row.id, row.is_active) for row in people},
        )

    # --- One at a time -----------------------------------------------------------------------------------------------
    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Do the block while nobody else does one of this name for this workspace. Raises HarvestAway (busy)."""
        key = f"{self._connection.workspace_id}/{name}"
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
            (mine,) = cursor.fetchone() or (False,)
        if not mine:
            raise HarvestAway("Another worker is at this just now.", retry_after=1.0, busy=True)
        try:
            yield
        finally:
            with database.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
