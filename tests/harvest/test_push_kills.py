"""Pushes that are struck down at a random moment by SIGKILL: one effect each, nothing lost."""

from __future__ import annotations

import random
import subprocess
import time

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Role
from harvest.models import PersonMapping
from harvest.sandbox import Sandbox
from integrations.models import OutboundChange
from tests.factories import make_member
from tests.harvest.conftest import build_studio, kill_at_random
from tests.harvest.outbound import Both, go_both_ways
from timelogs.models import TimeLog

KILLS = 50
SECONDS = 80.0  # on a busy machine fewer have to do


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_killed_pushes(victims: subprocess.Popen[str], sandbox: Sandbox) -> None:
    """In each round a log is made, one edited, one given to somebody else and one deleted, and the worker killed."""
    both = go_both_ways(build_studio(sandbox))
    studio = both.studio
    bo = make_member(studio.admin.workspace, Role.MEMBER, email="bo@northlight.example", name="Bo").user
    with studio.scope():
        PersonMapping.objects.create(
            workspace_id=studio.workspace_id, harvest_id=str(studio.harvest["Ada"]), target=studio.admin.user
        )
    people = (studio.admin.user, bo)
    logs = [both.log(notes=f"First {n}") for n in range(4)]
    both.send_all()
    chance = random.Random(9)
    began, struck, kills, longest = time.monotonic(), 0, 0, 0.5
    while kills < KILLS and time.monotonic() - began < SECONDS:
        kills += 1
        logs.append(both.log(notes=f"Made {kills}"))
        edited, owned, gone = (logs[(kills + n) % len(logs)] for n in range(3))
        both.edit(edited, notes=f"Edited {kills}", seconds=3600 + 36 * kills)
        both.edit(owned, owner=people[kills % 2])
        both.delete(gone)
        logs.remove(gone)
        kill_at_random(victims, studio.workspace_id, "push", after=chance.uniform(0, longest))
        with studio.scope():
            left = OutboundChange.objects.filter(state__in=("pending", "sending"))
            half_way = left.filter(state="sending").count()
            # A kill met nothing where all was done: sooner then, and later where nothing was.
            longest = min(max(longest * (0.8 if not left.exists() else 1.1), 0.1), 3.0)
            OutboundChange.objects.filter(state="sending").update(lease_until=timezone.now())
        struck += half_way
        both.send_all()
        check(both)
    assert kills >= 10
    assert struck >= kills // 5, "hardly any kill met a push at work"


def check(both: Both) -> None:
    """Both sides hold the same time, each log one entry."""
    with both.studio.scope():
        logs = TimeLog.objects.filter(deleted_at=None)
        ours = sorted(
            logs.annotate(hundredths=F("seconds") / 36).values_list(
                "id", "external_id", "notes", "hundredths"
            )
        )
        assert set(logs.values_list("sync_state", flat=True)) == {"synced"}
        assert not OutboundChange.objects.exclude(begun=None).exists()
    theirs = sorted(
        (one["external_reference"]["id"], str(one["id"]), one["notes"], round(one["hours"] * 100))
        for one in both.entries()
    )
    assert [(str(pk), *rest) for pk, *rest in ours] == theirs
