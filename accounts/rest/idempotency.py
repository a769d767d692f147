"""`Idempotency-Key` on a POST: the same key and body within 24 hours gives the first answer again.

In a view that runs in the workspace's scope the record is written in the view's own transaction, first of all: the
effect and its record are there together or not at all, and a second request with the same key waits on the unique
constraint until the first has ended, then gets its answer. An `unscoped` view (it calls another server, outside of
any transaction) claims the key in a short transaction of its own, so a second request meanwhile is told to wait
(409), and a claim whose process died may be taken over after `CLAIM_SECONDS`.

Only answers below 400 are kept: an error changed nothing, and may be repaired under the same key. The answers are
encrypted at rest, since one of them shows a new API key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.ids import uuid7
from accounts.middleware import Tenancy
from accounts.models import IdempotencyRecord
from accounts.rest.problems import Problem
from accounts.rest.renderers import JSONRenderer
from accounts.tenancy import tenant_scope

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
CLAIM_SECONDS = 120
MOST_CHARACTERS = 255
KEPT_HEADERS = ("Location",)

Handler = Callable[..., HttpResponse]


def once(handler: Handler, *, unscoped: bool) -> Handler:
    """Wrap the handler of a POST that carries an `Idempotency-Key`."""

    def handle(request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        tenancy: Tenancy = request.auth  # type: ignore[assignment]
        key = check_key(request.headers[HEADER])
        fingerprint = fingerprint_of(request)
        with _scope(tenancy, unscoped):
            claimed_at = claim(tenancy, key, fingerprint)
            if claimed_at is None:
                return replay(tenancy, key, fingerprint)
        try:
            response = handler(request, *args, **kwargs)
        except Exception:
            # In a scope the transaction takes the claim back with everything else.
            if unscoped:
                release(tenancy, key, claimed_at)
            raise
        if response.status_code >= 400:
            if unscoped:
                release(tenancy, key, claimed_at)
            return response
        with _scope(tenancy, unscoped):
            keep(tenancy, key, claimed_at, response)
        return response

    return handle


@contextmanager
def _scope(tenancy: Tenancy, unscoped: bool) -> Iterator[None]:
    if not unscoped:
        yield
        return
    with tenant_scope(tenancy.workspace.id):
        yield


def check_key(key: str) -> str:
    if not (0 < len(key) <= MOST_CHARACTERS and key.isascii() and key.isprintable()):
        raise ValidationError({HEADER: [f"Give 1 to {MOST_CHARACTERS} printable ASCII characters."]})
    return key


def fingerprint_of(request: Request) -> str:
    """What was asked: the address and the body, whose JSON may be spelled in another order or spacing."""
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.get_full_path()}\n{body}".encode()).hexdigest()


def claim(tenancy: Tenancy, key: str, fingerprint: str) -> datetime | None:
    """Take the key for this request; None where an earlier request has it. Waits for one that has not ended yet."""
    now = timezone.now()
    with connection.cursor() as cursor:
        # A record that is over, or a claim whose process is gone, is taken over in the same statement.
        cursor.execute(
            "INSERT INTO accounts_idempotencyrecord AS record"
            " (id, workspace_id, user_id, key, fingerprint, status, body, headers, created_at)"
            " VALUES (%(id)s, %(workspace)s, %(user)s, %(key)s, %(fingerprint)s, 0, '', '{}', %(now)s)"
            " ON CONFLICT (workspace_id, user_id, key) DO UPDATE"
            " SET fingerprint = excluded.fingerprint, status = 0, body = '', headers = '{}',"
            " created_at = excluded.created_at"
            " WHERE record.created_at <= %(over)s OR (record.status = 0 AND record.created_at <= %(dead)s)"
            " RETURNING id",
            {
                "id": uuid7(),
                "workspace": tenancy.workspace.id,
                "user": tenancy.user.id,
                "key": key,
                "fingerprint": fingerprint,
                "now": now,
                "over": now - KEPT,
                "dead": now - timedelta(seconds=CLAIM_SECONDS),
            },
        )
        if cursor.fetchone() is None:
            return None
        # Tidy up a few that are over, passing by those that another request holds.
        cursor.execute(
            "DELETE FROM accounts_idempotencyrecord WHERE id IN (SELECT id FROM accounts_idempotencyrecord"
            " WHERE created_at <= %s AND workspace_id = %s LIMIT 50 FOR UPDATE SKIP LOCKED)",
            [now - KEPT, tenancy.workspace.id],
        )
    return now


def replay(tenancy: Tenancy, key: str, fingerprint: str) -> HttpResponse:
    """The first answer again."""
    record = IdempotencyRecord.objects.filter(
        workspace=tenancy.workspace, user_id=tenancy.user.id, key=key
    ).first()
    if record is not None and record.fingerprint != fingerprint:
        raise Problem(
            409, "idempotency-key-reused", "This Idempotency-Key was used for another request. Use a new one."
        )
    if record is None or record.status == 0:
        raise Problem(
            409, "idempotency-in-progress", "The first request with this Idempotency-Key is still at work."
        )
    body = _cipher().decrypt(bytes(record.body))
    headers = {**record.headers, REPLAYED: "true"}
    response = HttpResponse(body, status=record.status, headers=headers)
    if body:
        response["Content-Type"] = JSONRenderer.media_type
    else:
        del response["Content-Type"]
    return response


def keep(tenancy: Tenancy, key: str, claimed_at: datetime, response: HttpResponse) -> None:
    """Keep the answer, if the claim is still this request's."""
    body = JSONRenderer().render(response.data) if isinstance(response, Response) else response.content
    _mine(tenancy, key, claimed_at).update(
        status=response.status_code,
        body=_cipher().encrypt(body),
        headers={name: response[name] for name in KEPT_HEADERS if name in response},
    )


def release(tenancy: Tenancy, key: str, claimed_at: datetime) -> None:
    """Give a claim back after an error: the key may be tried again."""
    with tenant_scope(tenancy.workspace.id):
        _mine(tenancy, key, claimed_at).delete()


def _mine(tenancy: Tenancy, key: str, claimed_at: datetime) -> QuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.filter(
        workspace=tenancy.workspace, user_id=tenancy.user.id, key=key, created_at=claimed_at
    )


def answers_under_older_keys() -> int:
    """How many kept answers of the workspace in scope, that may still be asked for, the newest key does not open."""
    newest, since = Fernet(settings.FIELD_KEYS[0]), timezone.now() - KEPT
    found = 0
    for body in IdempotencyRecord.objects.filter(created_at__gt=since, status__gt=0).values_list(
        "body", flat=True
    ):
        try:
            newest.decrypt(bytes(body))
        except InvalidToken:
            found += 1
    return found


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])
