"""The audit trail: who did what to what, when, from where, and what it was before.

One row a deed, written in the deed's own transaction. The database takes no change of a row and no deletion, save while
its whole workspace is being erased (a trigger on the table, and `ERASING`). What is written here holds no secret:
`record_audit` leaves out values whose names say that they are one.

Two ways to write it:
- a service calls `record_audit(workspace=…, actor=…, action="thing.done", target="its name", …)`;
- a model whose every change matters says `@audited("client", "name", "archived")`: saving and deleting its rows one
  by one writes `client.made`, `client.changed` (each field that changed, before and after) and `client.deleted`. Rows
  written in bulk are not seen: who writes so, records the deed as one.

Where a deed comes from is the present `Origin`: the middleware opens one around each request, Celery around each task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.db.models import ForeignKey, Model
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest

if TYPE_CHECKING:
    from accounts.middleware import Tenancy
    from accounts.models import User, Workspace

# While this setting, local to a transaction, names a workspace, rows of its trail may be deleted.
ERASING = "timebridge.erasing"
MOST_TARGET, MOST_AGENT, MOST_TEXT = 200, 80, 500
SECRET = re.compile(r"token|secret|passw|hash$|authorization|cookie|api_key", re.IGNORECASE)

AnyModel = TypeVar("AnyModel", bound=type[Model])


# --- Where from ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Origin:
    """Where a deed comes from.

    actor: the person, where one is known. address: theirs on the network. agent: `session`, `key PREFIX` (an API key),
    `task NAME` (a worker), `command NAME`; empty where nothing of these.
    """

    actor: User | None = None
    address: str | None = None
    agent: str = ""


NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=NOWHERE)


def origin() -> Origin:
    """Where what is done now comes from."""
    return _origin.get()


def enter(where: Origin) -> None:
    """What this thread does from here on comes from there: for workers, whose tasks begin and end by signals."""
    _origin.set(where)


@contextmanager
def acting(where: Origin) -> Iterator[None]:
    """Run the block as coming from there."""
    token = _origin.set(where)
    try:
        yield
    finally:
        _origin.reset(token)


def origin_of(request: HttpRequest, tenancy: Tenancy | None) -> Origin:
    """Where a request comes from."""
    if tenancy is None:
        return Origin(address=address_of(request))
    agent = f"key {tenancy.api_key.prefix}" if tenancy.api_key else "session"
    return Origin(actor=tenancy.user, address=address_of(request), agent=agent)


def address_of(request: HttpRequest) -> str | None:
    """The client's address; behind a proxy, the one that the proxy has added last, which nobody else can forge."""
    text = request.META.get("REMOTE_ADDR", "")
    if settings.SECURE_PROXY_SSL_HEADER:
        text = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or text
    try:
        validate_ipv46_address(text)
    except ValidationError:
        return None
    return str(text)


# --- Writing ---------------------------------------------------------------------------------------------------------
def record_audit(
    *, workspace: Workspace | UUID, actor: User | None, action: str, target: str = "", **data: Any
) -> None:
    """Write one line of the trail, inside the workspace's scope. What `data` calls a secret is left out."""
    from accounts.models import AuditEvent

    where = origin()
    AuditEvent.objects.create(
        workspace_id=workspace if isinstance(workspace, UUID) else workspace.id,
        actor=actor,
        action=action,
        target=target[:MOST_TARGET],
        data=without_secrets(data),
        address=where.address,
        agent=where.agent[:MOST_AGENT],
    )


def without_secrets(value: Any) -> Any:
    """The value as JSON can hold it, without what is called a secret, its texts cut to a length to be read."""
    if isinstance(value, Mapping):
        return {
            str(name): "(not kept)" if SECRET.search(str(name)) and inner else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple, set)):
        return [without_secrets(one) for one in value]
    if isinstance(value, str):
        text = value.replace("\x00", "")
        return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
    return str(value) if isinstance(value, (UUID, Decimal)) else _day(value)


def _day(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


# --- Watching --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Watch:
    """What is recorded of a model: its name in actions, its fields, whether being made is worth a line.

    people_only: a change that no person is behind is recorded elsewhere (a sync's are, in its runs).
    """

    kind: str
    fields: tuple[str, ...]
    made: bool = True
    people_only: bool = False


WATCHED: dict[type[Model], Watch] = {}


def audited(
    kind: str, *fields: str, made: bool = True, people_only: bool = False
) -> Callable[[AnyModel], AnyModel]:
    """Record every change of a tenant model's rows, of these fields. See `Watch`."""

    def decorate(model: AnyModel) -> AnyModel:
        WATCHED[model] = Watch(kind, fields, made, people_only)
        pre_save.connect(_remember, sender=model)
        post_save.connect(_saved, sender=model)
        post_delete.connect(_deleted, sender=model)
        return model

    return decorate


def values_of(row: Model, fields: tuple[str, ...]) -> dict[str, Any]:
    """What a row holds in these fields; a reference as the id and the name of what it refers to."""
    found: dict[str, Any] = {}
    for name in fields:
        value = getattr(row, name)
        if isinstance(value, Model):
            value = {"id": str(value.pk), "name": str(value)}
        found[name] = without_secrets(value)
    return found


def _remember(sender: type[Model], instance: Any, raw: bool = False, **kwargs: Any) -> None:
    watch = WATCHED[sender]
    instance._audit_before = None
    changed = kwargs.get("update_fields")
    if instance._state.adding or raw or (watch.people_only and origin().actor is None):
        return
    if changed is not None and not set(changed) & set(watch.fields):
        return
    references = [name for name in watch.fields if isinstance(sender._meta.get_field(name), ForeignKey)]
    row = sender._base_manager.select_related(*references).filter(pk=instance.pk).first()
    instance._audit_before = values_of(row, watch.fields) if row else None


def _saved(sender: type[Model], instance: Any, created: bool, raw: bool = False, **kwargs: Any) -> None:
    watch = WATCHED[sender]
    if raw:
        return
    if created:
        if watch.made:
            _record(watch, instance, "made", after=values_of(instance, watch.fields))
        return
    before: dict[str, Any] | None = instance._audit_before
    if before is None:
        return
    after = values_of(instance, watch.fields)
    changed = [name for name in watch.fields if before[name] != after[name]]
    if changed:
        deed = "changed"
        if "deleted_at" in changed:
            deed = "deleted" if after["deleted_at"] else "restored"
        _record(
            watch, instance, deed,
            before={name: before[name] for name in changed}, after={name: after[name] for name in changed},
        )  # fmt: skip


def _deleted(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    watch = WATCHED[sender]
    if not (watch.people_only and origin().actor is None):
        _record(watch, instance, "deleted", before=values_of(instance, watch.fields))


def _record(watch: Watch, row: Any, deed: str, **data: Any) -> None:
    actor = origin().actor
    record_audit(
        workspace=row.workspace_id, actor=actor, action=f"{watch.kind}.{deed}", target=str(row),
        id=str(row.pk), **data,
    )  # fmt: skip
