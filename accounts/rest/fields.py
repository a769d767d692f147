"""Serializer fields and the base serializer: strict about types, and about what belongs to the workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Workspace

NOTHING = "There is nothing with this id."
ID_SCHEMA = {"type": "string", "description": "An opaque id."}

Selector = Callable[[Workspace], QuerySet[Any]]


def parse_id(text: object) -> UUID | None:
    """The id that a text is, in the one spelling that was given out; None where it cannot be one."""
    if not isinstance(text, str):
        return None
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None


@extend_schema_field(ID_SCHEMA)
class IdField(serializers.CharField):
    """An id that is read, never written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)


@extend_schema_field(ID_SCHEMA)
class Reference(serializers.RelatedField[Any, Any, str]):
    """The id of a row of the same workspace.

    selector: the rows one may refer to. Another workspace's id, an unknown one and what is no id at all get the same
    words. The context must hold the `workspace`.
    """

    default_error_messages = {"does_not_exist": NOTHING, "invalid": "Give an id, as a string."}

    def __init__(self, selector: Selector | None = None, **kwargs: Any) -> None:
        self.selector = selector
        super().__init__(**kwargs)

    def use_pk_only_optimization(self) -> bool:
        return True

    def get_queryset(self) -> QuerySet[Any]:
        if self.selector is None:
            raise TypeError("A reference that is written needs a selector.")
        return self.selector(self.context["workspace"])

    def to_internal_value(self, data: Any) -> Model:
        if not isinstance(data, str):
            self.fail("invalid")
        key = parse_id(data)
        row: Model | None = self.get_queryset().filter(pk=key).first() if key else None
        if row is None:
            self.fail("does_not_exist")
        return row

    def to_representation(self, value: Any) -> str:
        return str(value.pk)


class Text(serializers.CharField):
    """A JSON string; unlike its base it takes no number for one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Money(serializers.DecimalField):
    """An amount with two decimals, as a decimal string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=12, decimal_places=2, **kwargs)


class Moment(serializers.DateTimeField):
    """A point in time, RFC 3339 in UTC. One without an offset is taken as UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)


class Resource(serializers.Serializer[Any]):
    """Base of what goes over the wire.

    Read-only fields in a body are passed over, so that people may send back what they read; a field that does not exist
    is an error, so that a slip of the pen is not taken for a change that was made.
    """

    def to_internal_value(self, data: Any) -> Any:
        unknown = (
            {str(name): ["There is no such field."] for name in data if name not in self.fields}
            if isinstance(data, Mapping)
            else {}
        )
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            found: Any = error.detail
            raise serializers.ValidationError({**found, **unknown}) from error
        if unknown:
            raise serializers.ValidationError(unknown)
        return value
