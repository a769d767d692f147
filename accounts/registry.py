"""Every tenant table, in the order in which rows can be deleted; and what of each is nobody's to take away.

Read from the model registry, so that a table that is added tomorrow is exported and erased without a line here.
"""

from __future__ import annotations

import re
from graphlib import TopologicalSorter

from django.apps import apps
from django.db import models

from accounts.models import User
from accounts.tenancy import TenantModel

# Columns that hold a secret, or its hash, by name; encrypted and binary ones are left out by their kind.
SECRET = re.compile(r"token|secret|passw|hash$|fingerprint|nonce|verifier")


def tenant_models() -> list[type[TenantModel]]:
    """Every tenant table, those that refer to others before those they refer to. Raises CycleError."""
    found = sorted(
        (model for model in apps.get_models() if issubclass(model, TenantModel)),
        key=lambda model: model._meta.db_table,
    )
    order: TopologicalSorter[type[TenantModel]] = TopologicalSorter({model: set() for model in found})
    for model in found:
        for field in model._meta.local_fields:
            target = field.related_model
            if isinstance(target, type) and issubclass(target, TenantModel) and target is not model:
                order.add(target, model)
    return list(order.static_order())


def columns_of(model: type[TenantModel]) -> list[models.Field]:
    """The fields of a table that may leave the house: all but its workspace and what is secret."""
    return [
        field
        for field in model._meta.local_fields
        if field.name != "workspace"
        and not isinstance(field, models.BinaryField)
        and not type(field).__name__.startswith("Encrypted")
        and not SECRET.search(field.name)
    ]


def people_columns(model: type[TenantModel]) -> list[models.Field]:
    """The fields that name a person."""
    return [field for field in model._meta.local_fields if field.related_model is User]
