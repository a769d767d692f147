"""Celery's way in: ids in, one service called, the outcome in the ledger. Guarded by leases in the database."""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.core.cache import cache

# A queued run that no worker picked up for this long was perhaps lost on its way: the broker was away, or emptied.
LOST_AFTER = timedelta(seconds=15)


@shared_task(name="harvest.tasks.run_import")
def run_import(workspace_id: str, run_id: str) -> None:
    """Work on one run. Delivered twice, or while another worker has it, it does nothing."""
    from harvest.importing import execute_run

    execute_run(workspace_id=UUID(workspace_id), run_id=UUID(run_id))


def hand_out(workspace_id: UUID, run_id: UUID, *, background: bool) -> None:
    """Tell a worker of a run: what nobody waits for stands in a line of its own."""
    line = settings.BACKGROUND_QUEUE if background else settings.CELERY_TASK_DEFAULT_QUEUE
    run_import.apply_async((str(workspace_id), str(run_id)), queue=line)


@shared_task(name="harvest.tasks.sweep_runs")
def sweep_runs() -> None:
    """Have runs claimed again that a dead worker left, and those whose message got lost, each once in a while."""
    from harvest.night import in_background
    from integrations.runs import due_runs

    due = due_runs(queued_for=LOST_AFTER)
    background = in_background(run_id for _, run_id in due) if due else set()
    for workspace_id, run_id in due:
        # One that waits its turn in a long line is not told of at each sweep. Redis emptied forgets this with the line.
        if cache.add(f"harvest.run.told:{run_id}", 1, timeout=LOST_AFTER.seconds):
            hand_out(workspace_id, run_id, background=run_id in background)


@shared_task(name="harvest.tasks.renew_token")
def renew_token(workspace_id: str, connection_id: str) -> None:
    """Renew a connection's access where it is still due: by one worker, however often this is delivered."""
    from harvest.renewal import renew_ahead

    renew_ahead(workspace_id=UUID(workspace_id), connection_id=UUID(connection_id))


@shared_task(name="harvest.tasks.sweep_tokens")
def sweep_tokens() -> None:
    """Have the access of connections renewed ahead of time, idle ones too; forget consents that nobody came back to."""
    from harvest.consents import forget_old_consents
    from harvest.renewal import due_renewals

    forget_old_consents()
    for workspace_id, connection_id in due_renewals():
        renew_token.delay(str(workspace_id), str(connection_id))


@shared_task(name="harvest.tasks.read_changes")
def read_changes() -> None:
    """Read connections that go both ways for changes, each every few minutes. Twice does no harm."""
    from harvest.night import sweep_changes

    sweep_changes()


@shared_task(name="harvest.tasks.harvest_nightly")
def harvest_nightly() -> None:
    """At 02:00 UTC, and every few seconds after: start what is due of the night. Twice does no harm."""
    from harvest.night import sweep_nights

    sweep_nights()


@shared_task(name="harvest.tasks.push_changes")
def push_changes(workspace_id: str, coming_back: bool = False) -> None:
    """Send what is due in one workspace; come back by itself while there is more. Delivered twice it does no harm.

    coming_back: it is the one task of the workspace that was told to, at that moment.
    """
    from harvest.pushing import drain

    key = f"harvest.push.again:{workspace_id}"
    if coming_back:
        cache.delete(key)
    again = drain(workspace_id=UUID(workspace_id))
    if again == 0:
        push_changes.delay(workspace_id)
    # Of all that have to wait for the same limit one comes back.
    elif again is not None and cache.add(key, 1, timeout=math.ceil(again) + 1):
        push_changes.apply_async((workspace_id, True), countdown=again)


@shared_task(name="harvest.tasks.sweep_pushes")
def sweep_pushes() -> None:
    """Have changes sent that no task took up, or that a dead worker left; say of those that must wait why they do."""
    from harvest.pushing import explain_waiting
    from integrations.outgoing import due_workspaces

    for workspace_id in due_workspaces():
        push_changes.apply_async((str(workspace_id),), expires=10)
    explain_waiting()
