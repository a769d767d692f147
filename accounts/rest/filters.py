"""Filters of lists, declared on the view as name -> Filter and refused where they are wrong.

A parameter that the list does not know is a 400 that names it, as is a bad value or one given twice: a slip of the pen
must not answer with every row. An empty value is no filter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Choices, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from accounts.rest.fields import ID_SCHEMA, NOTHING, parse_id

MOST_PARAMETERS = 50  # looked at: no list knows as many, so the answer to more is a 400 either way

Apply = Callable[[QuerySet[Any], Any], QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Filter:
    """field: reads and checks the value; apply: narrows the rows by it."""

    field: serializers.Field[Any, Any, Any, Any]
    apply: Apply
    description: str = ""


@extend_schema_field(ID_SCHEMA)
class IdText(serializers.Field[UUID, str, str, Any]):
    """An id in a query: one that is no id names nothing."""

    def to_internal_value(self, data: Any) -> UUID:
        value = parse_id(data)
        if value is None:
            raise serializers.ValidationError(NOTHING)
        return value


def _where(lookup: str) -> Apply:
    return lambda rows, value: rows.filter(**{lookup: value})


def by_id(lookup: str) -> Filter:
    """Rows whose reference is this id."""
    return Filter(IdText(), _where(lookup))


def by_choice(lookup: str, choices: type[Choices]) -> Filter:
    return Filter(serializers.ChoiceField(choices=choices.choices), _where(lookup))


def by_truth(lookup: str, *, negated: bool = False) -> Filter:
    """Rows whose lookup is this boolean, or its opposite: `settled` is `settled_at__isnull` negated."""
    return Filter(serializers.BooleanField(), lambda rows, value: rows.filter(**{lookup: value != negated}))


def since(field: str) -> Filter:
    return Filter(serializers.DateField(), _where(f"{field}__gte"), "This day or later.")


def until(field: str) -> Filter:
    return Filter(serializers.DateField(), _where(f"{field}__lte"), "This day or earlier.")


def by_text(apply: Apply | str, description: str) -> Filter:
    """Rows by a text: a function, or a lookup such as `name__icontains`."""
    return Filter(
        serializers.CharField(max_length=200), _where(apply) if isinstance(apply, str) else apply, description
    )


def read_filters(request: Request, view: Any) -> dict[str, Any]:
    """The checked values of the view's `filters` that the query gives. Raises ValidationError."""
    filters: Mapping[str, Filter] = view.filters
    known = {*filters, *view.query_names}
    found: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, values in islice(request.query_params.lists(), MOST_PARAMETERS):
        if name not in known:
            errors[name] = [f"There is no such parameter. Known: {', '.join(sorted(known)) or 'none'}."]
        elif len(values) > 1:
            errors[name] = ["Give this parameter once."]
        elif name in filters and values[0].strip():
            # A field remembers its parent and context: each request reads with a copy of its own.
            try:
                found[name] = copy.deepcopy(filters[name].field).run_validation(values[0])
            except ValidationError as error:
                errors[name] = [str(message) for message in error.detail]
    if errors:
        raise ValidationError(errors)
    return found


class StrictFilterBackend(BaseFilterBackend):
    """Applies the view's `filters` (name -> Filter)."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        for name, value in read_filters(request, view).items():
            queryset = view.filters[name].apply(queryset, value)
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": one.description,
                "schema": view.schema._map_serializer_field(one.field, "request"),
            }
            for name, one in view.filters.items()
        ]
