"""Is it up, is it ready, how is it doing: for load balancers and Prometheus. No workspace's data in any of them."""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Database, migrations and broker are good: 200, else 503; each says of itself what is wrong."""
    checks = {"database": "ok", "migrations": "ok", "broker": "ok"}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            checks["migrations"] = "pending"
    except DatabaseError:
        checks["database"] = checks["migrations"] = "unreachable"
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as broker:
            broker.ping()
    except redis.RedisError:
        checks["broker"] = "unreachable"
    ready = set(checks.values()) == {"ok"}
    return JsonResponse({"status": "ok" if ready else "unready", **checks}, status=200 if ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """This process's figures in Prometheus' text format."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
