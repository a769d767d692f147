"""The Celery app: `celery -A config worker`, `celery -A config beat`. The beat schedule is in the settings."""

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger, task_postrun, task_prerun

from config.logs import FORMAT, Formatter
from config.remote_log import RemoteLog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("timebridge")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Left alone, Celery closes the database's connection before and after each task: a short one spends a third of its time
# on connecting. Kept for so many tasks, and looked at before each, as Django does before each request.
app.conf["CELERY_DB_REUSE_MAX"] = 1000
app.autodiscover_tasks()


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_alike(logger: logging.Logger, **kwargs: Any) -> None:
    """Workers and beat write their log as the web does, and to where it does."""
    from django.conf import settings

    if settings.REMOTE_LOG and not any(isinstance(one, RemoteLog) for one in logger.handlers):
        logger.addHandler(RemoteLog(settings.REMOTE_LOG))
    for handler in logger.handlers:
        handler.setFormatter(Formatter(FORMAT))


@task_prerun.connect
def close_bad_connections(**kwargs: Any) -> None:
    """Drop a database connection that is too old or was broken, so that the task gets a new one."""
    from django.db import close_old_connections

    close_old_connections()


@task_prerun.connect
def say_where_from(task: Any = None, **kwargs: Any) -> None:
    """What a task does is written to the trail as its doing."""
    from accounts.audit import Origin, enter

    enter(Origin(agent=f"task {task.name}"))


@task_postrun.connect
def forget_where_from(**kwargs: Any) -> None:
    from accounts.audit import NOWHERE, enter

    enter(NOWHERE)
