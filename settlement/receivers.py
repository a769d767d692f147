"""What the floors below have to tell."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from clients.models import Project


@receiver(post_save, sender=Project)
def take_budgets_along(sender: type[Project], instance: Project, created: bool, **rest: Any) -> None:
    """A project without time may move to another client, and its budgets with it."""
    from settlement.budgets import follow_project

    if not created:
        follow_project(instance)
