"""Celery's way in to exports and deletions: ids in, one service called."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task


@shared_task(name="accounts.tasks.make_export")
def make_export(workspace_id: str, export_id: str) -> None:
    """Make one export. Delivered twice, or while another worker has it, it does nothing."""
    from accounts.export import make

    make(workspace_id=UUID(workspace_id), export_id=UUID(export_id))


@shared_task(name="accounts.tasks.erase_workspace")
def erase_workspace(workspace_id: str) -> None:
    """Erase a workspace whose grace is over, or what is left of it."""
    from accounts.deletion import erase

    erase(UUID(workspace_id))


@shared_task(name="accounts.tasks.sweep")
def sweep() -> None:
    """Have lost exports made, old files removed, and workspaces erased whose grace is over."""
    from accounts.deletion import due_deletions
    from accounts.export import sweep_exports

    for workspace_id, export_id in sweep_exports():
        make_export.delay(str(workspace_id), str(export_id))
    for workspace_id in due_deletions():
        erase_workspace.delay(str(workspace_id))
