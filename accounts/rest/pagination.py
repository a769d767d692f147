"""Keyset pages of lists: `{"next", "previous", "results"}`, in an order from the few that the view names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts import keyset
from accounts.rest.renderers import JSONRenderer

PAGE_SIZE, MOST_ROWS = 100, 500


def choices(view: Any) -> list[str]:
    """The values of `ordering` that a view takes, its default first."""
    signed = [f"{sign}{name}" for name in view.orderings for sign in ("-", "")]
    return sorted(signed, key=lambda name: name != view.default_ordering)


class KeysetPagination(BasePagination):
    """`page_size` 1 to 500 (100), `ordering`, `cursor` (opaque, from `next` and `previous`).

    The view's `orderings` maps each name that a client may ask for to its field; "-" before the name turns it round.
    `default_ordering` is one of these names. The id ends every order, so that it is total.
    """

    query_names = ("page_size", "ordering", "cursor")
    # How a page is found: a list that is in no one table has a way of its own.
    page: Callable[..., keyset.Page[Any]] = staticmethod(keyset.page)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        errors: dict[str, list[str]] = {}
        size = self._size(request.query_params.get("page_size") or str(PAGE_SIZE), errors)
        order = self._order(request.query_params.get("ordering") or choices(view)[0], view, errors)
        if errors:
            raise ValidationError(errors)
        cursor = request.query_params.get("cursor") or None
        if view.as_json is not None:
            names = {name.removeprefix("-") for name in order}
            queryset = queryset.annotate(as_json=view.as_json).values("as_json", *names)
        found = self.page(queryset, order=order, cursor=cursor, size=size)
        here = request.build_absolute_uri()
        self.next = replace_query_param(here, "cursor", found.next) if found.next else None
        self.previous = replace_query_param(here, "cursor", found.previous) if found.previous else None
        return found.rows

    @staticmethod
    def _size(text: str, errors: dict[str, list[str]]) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ROWS):
            errors["page_size"] = [f"Give a number from 1 to {MOST_ROWS}."]
            return PAGE_SIZE
        return int(text)

    @staticmethod
    def _order(name: str, view: Any, errors: dict[str, list[str]]) -> tuple[str, ...]:
        if name not in choices(view):
            errors["ordering"] = [f"Choose one of {', '.join(choices(view))}."]
            return ()
        sign = "-" if name.startswith("-") else ""
        field = view.orderings[name.removeprefix("-")]
        return tuple(f"{sign}{one}" for one in dict.fromkeys((field, "id")))

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def get_written_response(self, rows: list[dict[str, str]]) -> HttpResponse:
        """The page of rows that the database has written as JSON."""
        head = JSONRenderer().render({"next": self.next, "previous": self.previous}).decode()
        texts = ",".join(row["as_json"] for row in rows)
        return HttpResponse(f'{head[:-1]},"results":[{texts}]}}', content_type=JSONRenderer.media_type)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        allowed = choices(view)
        size = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": PAGE_SIZE}
        return [
            {"name": "page_size", "in": "query", "description": "Rows a page.", "schema": size},
            {
                "name": "ordering",
                "in": "query",
                "description": "The order of the list.",
                "schema": {"type": "string", "enum": allowed, "default": allowed[0]},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "Where to go on: opaque, as found in `next` and `previous`.",
                "schema": {"type": "string"},
            },
        ]
