"""Celery's way in. What is due is marked in the database, by the change itself: no message that gets lost loses it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from uuid import UUID

from celery import shared_task

logger = logging.getLogger(__name__)

AT_ONCE = 200  # workspaces a message


@shared_task(name="settlement.tasks.sweep_budgets")
def sweep_budgets() -> None:
    """Every few seconds: have the workspaces looked at whose time has changed since they were last."""
    from timelogs.totals import workspaces_with_news

    found = workspaces_with_news(50 * AT_ONCE)
    # The first ones at once, here; more of them, by whoever has time.
    for first in range(AT_ONCE, len(found), AT_ONCE):
        follow_time.delay([str(one) for one in found[first : first + AT_ONCE]])
    _each(found[:AT_ONCE])


@shared_task(name="settlement.tasks.follow_time")
def follow_time(workspace_ids: list[str]) -> None:
    """Merge the totals of these workspaces, and tell of the thresholds that their budgets have reached."""
    _each(map(UUID, workspace_ids))


@shared_task(name="settlement.tasks.look_at_budgets")
def look_at_budgets() -> None:
    """Once a day: every budget there is, since a new period may begin with time that was logged ahead."""
    from settlement.budgets import workspaces_with_budgets

    found = workspaces_with_budgets()
    for first in range(0, len(found), AT_ONCE):
        follow_time.delay([str(one) for one in found[first : first + AT_ONCE]])


def _each(workspace_ids: Iterable[UUID]) -> None:
    from settlement.budgets import follow_changes

    for workspace_id in workspace_ids:
        try:
            follow_changes(workspace_id)
        except Exception:  # one workspace's failure is its own: it stays marked, and comes again
            logger.exception("workspace %s: its budgets could not be looked at", workspace_id)
