"""Writing activity types, work items and time logs.

The rules of spec 3 are here, once, for pages, API and imports alike: where the client of a log follows from, whose rate
it takes, who may write whose log, and that a settled log is never changed.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts.errors import Forbidden, InUse, Invalid, Settled
from accounts.models import Membership, User, Workspace
from clients.models import Client, Project
from clients.services import required
from timelogs.models import ActivityType, Source, TimeLog, WorkItem
from timelogs.signals import time_log_changed

MOST_SECONDS = 24 * 3600
MOST_NOTES = 100_000
MOST_RATE = Decimal("9999999.99")
EARLIEST, LATEST = date(1970, 1, 1), date(2199, 12, 31)
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#-]{0,39}")


# --- Activity types --------------------------------------------------------------------------------------------------
def save_activity_type(
    *, workspace: Workspace, activity_type: ActivityType | None = None, **values: Any
) -> ActivityType:
    """Make or change an activity type from `name`, `hourly_rate`, `billable`. Logs made before keep their rate."""
    activity_type = activity_type or ActivityType(workspace=workspace)
    errors: dict[str, list[str]] = {}
    activity_type.name = required(errors, "name", values.get("name", activity_type.name))
    rate = values.get("hourly_rate", activity_type.hourly_rate)
    if rate < 0 or rate > MOST_RATE:
        errors["hourly_rate"] = ["Give an hourly rate from 0.00 to 9999999.99."]
    activity_type.hourly_rate = rate
    activity_type.billable = values.get("billable", activity_type.billable)
    if errors:
        raise Invalid(errors)
    activity_type.save()
    return activity_type


# --- Work items ------------------------------------------------------------------------------------------------------
def save_work_item(*, workspace: Workspace, work_item: WorkItem | None = None, **values: Any) -> WorkItem:
    """Make or change a work item from `client`, `project`, `key`, `title`, `description`, `status`.

    The client follows from the project where one is given. A key is made where none is given: the client's initials
    and the next number. The client of an item with time on it stays. Raises Invalid, InUse.
    """
    made = work_item is None
    work_item = work_item or WorkItem(workspace=workspace)
    errors: dict[str, list[str]] = {}
    project: Project | None = values.get("project", work_item.project)
    client: Client | None = values.get("client", None if made else work_item.client)
    if project is not None:
        if client is not None and project.client_id != client.id:
            if ("client" in values and "project" in values) or ("project" in values and made):
                errors["project"] = ["This project belongs to another client."]
            elif "project" in values:
                client = project.client
            else:
                errors["client"] = ["The item's project belongs to another client. Change the project too."]
        client = client or project.client
    if client is None:
        errors["client"] = ["Choose a client, or a project."]
    work_item.title = required(errors, "title", values.get("title", work_item.title), 300)
    work_item.description = values.get("description", work_item.description)
    work_item.status = values.get("status", work_item.status)
    key = (values.get("key") or "").strip() if made or "key" in values else work_item.key
    if key and not KEY.fullmatch(key):
        errors["key"] = ["Use letters, digits and - . _ / #, at most 40, beginning with a letter or digit."]
    if errors or client is None:
        raise Invalid(errors)
    if not made and client.id != work_item.client_id and work_item.time_logs.exists():
        raise InUse("This work item has time on it, so it stays with its client.")
    work_item.client, work_item.project = client, project
    work_item.key = key or work_item.key or next_key(workspace=workspace, client=client, project=project)
    try:
        with transaction.atomic():
            work_item.save()
    except IntegrityError as error:
        if "timelogs_workitem_key_once" not in str(error):
            raise
        raise Invalid({"key": ["Another work item has this key."]}) from error
    return work_item


def key_prefix(name: str) -> str:
    """Up to six capital letters or digits of a name's first word: "Łódź Film" -> "LODZ"; "WI" where none is left."""
    plain = unicodedata.normalize("NFKD", name.replace("Ł", "L").replace("ł", "l").replace("ß", "ss"))
    words = re.findall(r"[A-Za-z0-9]+", "".join(c for c in plain if not unicodedata.combining(c)))
    return words[0].upper()[:6] if words else "WI"


def next_key(*, workspace: Workspace, client: Client, project: Project | None) -> str:
    """The next free key for a client, such as ACME-12. Serialised by an advisory lock on workspace and prefix."""
    prefix = key_prefix(project.code if project and project.code else client.name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{workspace.id}/{prefix}"])
        cursor.execute(
            "SELECT max(substring(upper(key) from %s)::numeric) FROM timelogs_workitem"
            " WHERE workspace_id = %s AND upper(key) ~ %s",
            [r"-(\d+)$", workspace.id, rf"^{prefix}-\d+$"],
        )
        row = cursor.fetchone()
    return f"{prefix}-{int(row[0] or 0) + 1 if row else 1}"


def delete(row: ActivityType | WorkItem) -> None:
    """Delete a row that nothing rests on. Raises InUse."""
    try:
        row.delete()
    except ProtectedError as error:
        raise InUse(f"{row} is in use, so it cannot be deleted.") from error


# --- Time logs -------------------------------------------------------------------------------------------------------
def check_writer(*, by: Membership, owner_id: UUID) -> None:
    """Members write their own time only. Raises Forbidden."""
    if not by.can_manage and owner_id != by.user_id:
        raise Forbidden(
            "Members write their own time only. Ask an admin or a designer to change somebody else's."
        )


def record_time_log(*, workspace: Workspace, by: Membership, **values: Any) -> TimeLog:
    """Make a time log.

    values: `spent_date`, `seconds` and one of `work_item`, `project`, `client` (the client follows from the first
    that is given; a mismatch is an error); optionally `activity_type` (whose rate and billable it takes), `owner` (a
    User; the caller unless given), `notes`, `billable`. Raises Invalid, Forbidden.
    """
    log = TimeLog(workspace=workspace, owner=values.get("owner") or by.user, source=Source.MANUAL)
    check_writer(by=by, owner_id=log.owner_id)
    errors: dict[str, list[str]] = {}
    _place(log, values, errors)
    _describe(log, values, errors, made=True)
    if errors:
        raise Invalid(errors)
    log.save(force_insert=True)
    _tell(log, "created")
    return log


def revise_time_log(*, log: TimeLog, by: Membership, **values: Any) -> TimeLog:
    """Change a time log: the given values only. Raises Invalid, Forbidden, Settled.

    The row is locked first, so that a change crossing an issue of its statement sees that it is settled.
    """
    log = locked(log)
    check_writer(by=by, owner_id=log.owner_id)
    owner: User | None = values.get("owner")
    if owner is not None and owner.id != log.owner_id:
        check_writer(by=by, owner_id=owner.id)
        log.owner = owner
    refuse_settled(log, "changed")
    errors: dict[str, list[str]] = {}
    _place(log, values, errors)
    _describe(log, values, errors, made=False)
    if errors:
        raise Invalid(errors)
    log.updated_at = timezone.now()
    log.save()
    _tell(log, "updated")
    return log


def delete_time_log(*, log: TimeLog, by: Membership) -> None:
    """Delete a log; `restore_time_log` brings it back. Raises Forbidden, Settled."""
    log = locked(log)
    check_writer(by=by, owner_id=log.owner_id)
    refuse_settled(log, "deleted")
    if log.deleted_at is None:
        log.deleted_at = log.updated_at = timezone.now()
        log.save(update_fields=["deleted_at", "updated_at"])
        _tell(log, "deleted")


def restore_time_log(*, log: TimeLog, by: Membership) -> TimeLog:
    """Bring a deleted log back; one that is not deleted stays as it is. Raises Forbidden."""
    log = locked(log)
    check_writer(by=by, owner_id=log.owner_id)
    if log.deleted_at is not None:
        log.deleted_at, log.updated_at = None, timezone.now()
        log.save(update_fields=["deleted_at", "updated_at"])
        _tell(log, "restored")
    return log


def locked(log: TimeLog) -> TimeLog:
    """The log's row as it is now, locked until the transaction ends."""
    return (
        TimeLog.objects.select_for_update(of=("self",))
        .select_related("client", "project", "work_item", "activity_type", "owner")
        .get(pk=log.pk, workspace_id=log.workspace_id)
    )


def refuse_settled(log: TimeLog, deed: str) -> None:
    if log.settled:
        raise Settled(
            f"This time is on an issued statement, so it cannot be {deed}. Void the statement first."
        )


def _tell(log: TimeLog, change: str) -> None:
    answers = time_log_changed.send(
        sender=TimeLog, workspace_id=log.workspace_id, time_log_ids=[log.id], change=change, origin="person"
    )
    if any(answer for _, answer in answers):
        log.refresh_from_db(fields=["sync_state", "sync_detail"])


def _place(log: TimeLog, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    """Work out client, project and work item from those that are given; the others follow, or are in the way."""
    if not any(field in values for field in ("client", "project", "work_item")):
        if log.client_id is None:
            errors["client"] = ["Choose a client, a project or a work item."]
        return
    made = log._state.adding
    item: WorkItem | None = values.get("work_item", log.work_item)
    project: Project | None = values.get("project", log.project)
    client: Client | None = values.get("client", None if made else log.client)
    if item is not None and "work_item" in values:
        if "project" not in values and (
            made or item.project_id is not None or item.client_id != log.client_id
        ):
            project = item.project
        if "client" not in values:
            client = item.client
    elif project is not None and "project" in values and "client" not in values:
        client = project.client
    elif "client" in values and client is not None:
        # Moved to another client: what belonged to the former one does not come along, unless it was named.
        if project is not None and "project" not in values and project.client_id != client.id:
            project = None
        if item is not None and "work_item" not in values and item.client_id != client.id:
            item = None
    if (
        item is not None
        and "work_item" not in values
        and client is not None
        and (
            item.client_id != client.id
            or (item.project_id is not None and project is not None and item.project_id != project.id)
        )
    ):
        item = None
    if project is not None and client is None:
        client = project.client
    if client is None:
        errors["client"] = ["Choose a client, a project or a work item."]
        return
    if project is not None and project.client_id != client.id:
        errors["project"] = ["This project belongs to another client."]
    if item is not None and item.client_id != client.id:
        errors["work_item"] = ["This work item belongs to another client."]
    elif item is not None and item.project_id and project is not None and item.project_id != project.id:
        errors["work_item"] = ["This work item belongs to another project."]
    log.client, log.project, log.work_item = client, project, item


def _describe(log: TimeLog, values: dict[str, Any], errors: dict[str, list[str]], *, made: bool) -> None:
    """Take over date, duration, notes, activity type with its rate, and billable."""
    if "spent_date" in values:
        log.spent_date = values["spent_date"]
        if not EARLIEST <= log.spent_date <= LATEST:
            errors["spent_date"] = ["Give a date between 1970 and 2199."]
    elif made:
        errors["spent_date"] = ["Give the day the time was spent on."]
    if "seconds" in values:
        log.seconds = values["seconds"]
        if not 0 <= log.seconds <= MOST_SECONDS:
            errors["seconds"] = ["Give a duration from 0 to 24 hours."]
    elif made:
        errors["seconds"] = ["Give the duration, as seconds or hours."]
    if "notes" in values:
        log.notes = values["notes"]
        if len(log.notes) > MOST_NOTES:
            errors["notes"] = [f"Use at most {MOST_NOTES:,} characters."]
        if "\x00" in log.notes:
            errors["notes"] = ["Null characters are not allowed."]
    if made and not log.notes.strip() and log.work_item is not None:
        log.notes = log.work_item.description or log.work_item.title
    if "activity_type" in values:
        activity_type: ActivityType | None = values["activity_type"]
        if made or (activity_type.id if activity_type else None) != log.activity_type_id:
            log.hourly_rate = activity_type.hourly_rate if activity_type else Decimal("0.00")
            if activity_type and "billable" not in values:
                log.billable = activity_type.billable
        log.activity_type = activity_type
    if "billable" in values:
        log.billable = values["billable"]
