"""Many time logs in many workspaces, quickly: rows by SQL, one statement a workspace, inside its scope."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import connection

from accounts.ids import uuid7
from accounts.models import Membership, Role, User
from accounts.services import create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client, Project
from timelogs.models import ActivityType
from timelogs.totals import merge_totals

PEOPLE, CLIENTS, PROJECTS, TYPES = 5, 10, 20, 6
DAYS = 1095
WORDS = (
    "invoice roster sketches checkout copy ferry search reminder e-mails photographs signage review budget print "
    "workshop interviews wireframes prototype accessibility fonts colours translation release meeting estimate"
)
RARE, EVERY = "walrus", 250  # a word that one log in so many names

INSERT = """
INSERT INTO timelogs_timelog (id, workspace_id, client_id, project_id, activity_type_id, owner_id, spent_date, seconds,
    notes, billable, hourly_rate, source, external_id, sync_state, sync_detail, created_at, updated_at)
SELECT uuidv7(), %(workspace)s, (%(clients)s::uuid[])[1 + project / 2], (%(projects)s::uuid[])[1 + project],
    (%(types)s::uuid[])[1 + n %% %(type_count)s], (%(people)s::uuid[])[1 + n %% %(person_count)s],
    %(today)s::date - n * 37 %% %(days)s, 900 + n * 997 %% 26100,
    concat_ws(' ', words[1 + n %% w], words[1 + n / 3 %% w], words[1 + n / 7 %% w], words[1 + n / 11 %% w],
        words[1 + n / 13 %% w], CASE WHEN n %% %(every)s = 0 THEN %(rare)s END),
    n %% 4 > 0, 80 + n %% 6 * 10, CASE WHEN n %% 5 > 0 THEN 'harvest' ELSE 'manual' END,
    CASE WHEN n %% 5 > 0 THEN (700000000 + n)::text END, 'none', '', now(), now()
FROM (SELECT n, n * 7 %% %(project_count)s AS project, string_to_array(%(words)s, ' ') AS words, %(word_count)s AS w
    FROM generate_series(1, %(count)s) AS n) AS numbers
"""


def fill(workspaces: int, each: int) -> list[Membership]:
    """Workspaces with so many logs each, of five people, ten clients, three years; analysed. Returns their admins."""
    admins = [_workspace(number, each) for number in range(workspaces)]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return admins


def _workspace(number: int, each: int) -> Membership:
    admin = create_workspace(name=f"Studio {number}", email=f"admin{number}@lists.example", plan="pro")
    workspace, today = admin.workspace, admin.workspace.today()
    others = User.objects.bulk_create(
        User(email=f"person{number}-{one}@lists.example", name=f"Person {one}", password="!")
        for one in range(1, PEOPLE)
    )
    with tenant_scope(workspace.id):
        Membership.objects.bulk_create(
            Membership(workspace=workspace, user=one, role=Role.MEMBER) for one in others
        )
        clients = Client.objects.bulk_create(
            Client(id=uuid7(), workspace=workspace, name=f"Client {one}") for one in range(CLIENTS)
        )
        projects = Project.objects.bulk_create(
            Project(id=uuid7(), workspace=workspace, client=clients[one // 2], name=f"Project {one}")
            for one in range(PROJECTS)
        )
        types = ActivityType.objects.bulk_create(
            ActivityType(id=uuid7(), workspace=workspace, name=f"Activity {one}") for one in range(TYPES)
        )
        _logs(workspace.id, [admin.user, *others], clients, projects, types, today, each)
        merge_totals(workspace.id)  # as a sweep does within seconds
    return admin


def _logs(
    workspace: Any,
    people: list[Any],
    clients: list[Any],
    projects: list[Any],
    types: list[Any],
    today: date,
    count: int,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            {
                "workspace": workspace,
                "clients": [one.id for one in clients],
                "projects": [one.id for one in projects],
                "types": [one.id for one in types],
                "people": [one.id for one in people],
                "type_count": TYPES,
                "person_count": PEOPLE,
                "project_count": PROJECTS,
                "words": WORDS,
                "word_count": WORDS.count(" ") + 1,
                "rare": RARE,
                "every": EVERY,
                "days": DAYS,
                "today": today,
                "count": count,
            },
        )
