"""A workspace with a row in every tenant table, each text of it marked, made from the model registry.

What the attacks and the erasing need: no table is forgotten, since the rows are made from what the models say of
themselves. `fill(person, canary)` gives the id of the row made of each model; `filled(address, made)` puts those ids
into an address, each where one of its kind belongs.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from django.db import models
from django.utils import timezone

from accounts.models import Membership, User
from accounts.registry import tenant_models
from accounts.tenancy import TenantModel, tenant_scope

_numbers = count(1)

NOW = timezone.now()


def _settled(canary: str) -> dict[str, Any]:
    """A log as an adjustment holds it."""
    return {
        "spent_date": "2026-06-01", "seconds": 60, "notes": canary, "billable": True, "hourly_rate": "10.00",
        "client": {"id": "1", "name": canary}, "owner": {"id": "1", "name": canary},
        "project": None, "activity_type": None,
    }  # fmt: skip


def _both(canary: str) -> dict[str, Any]:
    return {"notes": {"timebridge": canary, "harvest": canary}}


# What a table's own constraints, or those who read it, ask of its rows beyond their columns' kinds: a value, or a
# function of the mark. A model whose row is refused needs a line here.
SPECIAL: dict[str, dict[str, Any]] = {
    "accounts.DataExport": {"state": "ready"},
    "accounts.Membership": {"role": "member"},
    "harvest.HarvestItem": {"harvest_id": "5001", "parent_id": ""},
    "inbound.Adjustment": {"before": _settled, "after": _settled, "parts": []},
    "inbound.TimeProposal": {"status": "pending", "time_log": None},
    "integrations.Connection": {
        "status": "connected", "provider": "harvest", "account_id": "880123", "remote_user_id": "1",
        "default_task": "", "remote_role": "administrator", "catalogue_read_at": NOW, "connected_at": NOW,
    },
    "integrations.OutboundChange": {"state": "held", "fields": _both, "begun": None, "remedy": None},
    "integrations.SyncEvent": {"fields": _both},
    "integrations.SyncLink": {"base": None, "external_id": "5001", "account_id": "880123", "proposal": None},
    "integrations.SyncRun": {"state": "succeeded", "finished_at": NOW, "account_id": "880123", "attention": None},
    "settlement.Budget": {"period": "monthly", "rollover_cap": None, "alert_at": [80, 100]},
    "settlement.Statement": {"frozen": None, "number": None},
    "settlement.StatementEntry": {"kind": "time", "adjustment": None},
}  # fmt: skip


def fill(person: Membership, canary: str) -> dict[type[TenantModel], UUID]:
    """Make a row in each tenant table of a person's workspace, and say which."""
    made: dict[type[TenantModel], Any] = {}
    with tenant_scope(person.workspace_id):
        for model in reversed(tenant_models()):
            made[model] = _make(model, person, canary, made)
    return {model: row.pk for model, row in made.items()}


def _make(
    model: type[TenantModel], person: Membership, canary: str, made: dict[type[TenantModel], Any]
) -> Any:
    special = SPECIAL.get(model._meta.label, {})
    values: dict[str, Any] = {}
    for field in model._meta.local_concrete_fields:
        if field.name in special:
            given = special[field.name]
            values[field.name] = given(canary) if callable(given) else given
        elif field.primary_key:
            continue
        elif field.name == "workspace":
            values["workspace"] = person.workspace
        else:
            found = _value(field, model, person, canary, made)
            if found is not None:
                values[field.name] = found
    return model._base_manager.create(**values)


def _value(
    field: Any, model: type[TenantModel], person: Membership, canary: str, made: dict[type[TenantModel], Any]
) -> Any:
    target = field.related_model
    if target is User:
        return _nobody(canary) if model is Membership else person.user
    if target is not None:
        return made.get(target)  # itself: none yet
    if field.choices:
        return field.choices[0][0]
    number = next(_numbers)
    if isinstance(field, models.EmailField):
        return f"{canary}{number}@marked.test"
    if isinstance(field, (models.CharField, models.TextField)):
        return _text(field, canary, number)
    if isinstance(field, models.JSONField):
        return [canary] if field.default is list else {"marked": canary}
    if isinstance(field, models.BinaryField):
        return canary.encode()
    if isinstance(field, models.GenericIPAddressField):
        return "203.0.113.9"
    if field.null or field.has_default():
        return None
    for kind, value in (
        (models.UUIDField, UUID(int=number)),
        (models.DateTimeField, timezone.now() + timedelta(days=1)),
        (models.DateField, date(2026, 6, 1)),
        (models.DecimalField, Decimal("10.00")),
        (models.BooleanField, True),
        (models.IntegerField, number % 100 + 1),
    ):
        if isinstance(field, kind):
            return value
    raise TypeError(f"{field}: say in SPECIAL what to write there.")


def _text(field: Any, canary: str, number: int) -> str:
    text = f"{canary}-{number}"
    if field.max_length and len(text) > field.max_length:
        return f"{number:x}"[: field.max_length]
    return text


def _nobody(canary: str) -> User:
    return User.objects.create_user(f"{canary}{next(_numbers)}@marked.test", name=f"{canary} person")


# What stands before an id in an address, or is its name there, and the model whose name does not end so.
NOUNS = {
    "members": "membership", "people": "membership", "audit": "auditevent", "exports": "dataexport",
    "export": "dataexport", "inbound": "timeproposal", "settlement": "statement", "runs": "syncrun",
    "entries": "syncevent", "entry": "syncevent", "held": "outboundchange", "conflicts": "outboundchange",
    "choose": "consent", "links": "clientlink",
}  # fmt: skip


def model_of(noun: str, made: dict[type[TenantModel], UUID]) -> type[TenantModel]:
    """The model whose rows stand behind a noun of an address. Raises LookupError: it needs a line in NOUNS."""
    ending = NOUNS.get(noun) or noun.replace("-", "").removesuffix("s")
    for model in sorted(made, key=lambda one: len(one.__name__)):
        if model.__name__.lower().endswith(ending):
            return model
    raise LookupError(f"{noun}: which model is that? Say so in NOUNS (tests/security/everything.py).")


def filled(address: str, made: dict[type[TenantModel], UUID]) -> str:
    """`runs/{id}/entries/{entry}/` with an id of the right kind in each place (`ID` is a place too)."""
    parts: list[str] = []
    for part in address.split("/"):
        if part == "ID" or part.startswith("{"):
            named = part.strip("{}").removesuffix("_id")
            noun = parts[-1] if named in ("ID", "id") else named
            part = str(made[model_of(noun, made)])
        parts.append(part)
    return "/".join(parts)
