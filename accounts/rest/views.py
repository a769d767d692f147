"""Base classes of the REST API's views. How to make an endpoint:

    class ClientViewSet(CollectionViewSet[Client]):
        serializer_class = ClientSerializer           # a fields.Resource, for reading and writing
        selector = staticmethod(clients_of)           # the rows of a workspace
        filters = {"archived": by_truth("archived")}
        orderings, default_ordering = {"created_at": "created_at", "name": "name"}, "-created_at"
        roles = {"write": MANAGERS}                   # the default; see permissions.py

        def save(self, row: Client | None, values: dict[str, Any]) -> Client: ...   # calls a service
        def remove(self, row: Client) -> None: ...

and register it in `config/api_urls.py`. An endpoint that is no collection is a `WorkspaceView` with `get`, `post`, ...
(or a `ListViewSet` for a list that is only read, with `@action` methods beside). What every view gets:

- `self.workspace`, `self.membership`, `self.tenancy`; the view runs in the workspace's scope, one transaction, rolled
  back for answers >= 400. With `unscoped = True` it runs outside of any (it calls another server) and opens short
  scopes by `with self.scope():`; whatever it returns must not be lazy then.
- `self.read(SerializerClass)`: the checked body of the request, as a dict.
- Errors: raise a `ServiceError` (accounts/errors.py), a DRF exception or `problems.Problem`; all become problems.
- `Idempotency-Key` on POST, without doing anything.
- Schema: name the bodies with drf-spectacular's `extend_schema(request=..., responses=...)`; problem answers,
  headers and paging are added by `schema.ProblemAutoSchema`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

from django.db.models import Expression, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from accounts.middleware import Tenancy
from accounts.models import Membership, Workspace
from accounts.rest import idempotency
from accounts.rest.fields import parse_id
from accounts.rest.filters import Filter, StrictFilterBackend
from accounts.rest.pagination import KeysetPagination
from accounts.rest.permissions import Roles
from accounts.rest.problems import problem_response
from accounts.tenancy import tenant_scope

Row = TypeVar("Row", bound=Model)


class WorkspaceView(APIView):
    """A view of one workspace."""

    unscoped = False
    roles: Mapping[str, Roles] = {}
    needs_plan: frozenset[str] = frozenset()
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    filters: Mapping[str, Filter] = {}
    query_names: tuple[str, ...] = ()

    @property
    def tenancy(self) -> Tenancy:
        tenancy: Tenancy = self.request.auth  # type: ignore[assignment]
        return tenancy

    @property
    def workspace(self) -> Workspace:
        return self.tenancy.workspace

    @property
    def membership(self) -> Membership:
        return self.tenancy.membership

    def scope(self) -> AbstractContextManager[None]:
        """The workspace's scope, for an `unscoped` view: one short transaction."""
        return tenant_scope(self.workspace.id)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST" and idempotency.HEADER in request.headers and hasattr(self, "post"):
            # REST framework takes the handler from the instance: it is wrapped for this request alone.
            handler = getattr(self, "post")  # noqa: B009
            setattr(self, "post", idempotency.once(handler, unscoped=self.unscoped))  # noqa: B010

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def serializer_context(self) -> dict[str, Any]:
        return {"request": self.request, "view": self, "workspace": self.workspace}

    def read(
        self, serializer_class: type[BaseSerializer[Any]], *, row: Any = None, partial: bool = False
    ) -> dict[str, Any]:
        """The checked body of the request. Raises ValidationError."""
        serializer = serializer_class(
            row, data=self.request.data, partial=partial, context=self.serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        values: dict[str, Any] = serializer.validated_data
        return values

    def write(self, serializer_class: type[BaseSerializer[Any]], row: Any, *, many: bool = False) -> Any:
        """A row, or rows, as they go over the wire."""
        return serializer_class(row, many=many, context=self.serializer_context()).data

    def narrowed(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """The rows that the query's filters leave. Raises ValidationError for a bad one."""
        return StrictFilterBackend().filter_queryset(self.request, rows, self)


class ListViewSet(WorkspaceView, GenericViewSet[Row], Generic[Row]):
    """A list and its single rows, to read.

    as_json: SQL that writes a row as the serializer does, for a long list that is read much: rows made into objects,
    and these into text one by one, are most of its price.
    """

    selector: ClassVar[Callable[..., QuerySet[Any]]]  # (workspace); `...` since mypy takes it for a method
    orderings: Mapping[str, str] = {"created_at": "created_at"}
    default_ordering = "-created_at"
    as_json: ClassVar[Expression | None] = None
    query_names = KeysetPagination.query_names
    lookup_url_kwarg = "id"
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Row]:
        return self.selector(self.workspace)

    def get_serializer_context(self) -> dict[str, Any]:
        return self.serializer_context()

    def get_object(self) -> Row:
        """The row of the address, or a 404: whether the id is unknown, malformed or of another workspace."""
        return self.find(self.get_queryset())

    def find(self, rows: QuerySet[Row]) -> Row:
        key = parse_id(self.kwargs[self.lookup_url_kwarg])
        row = rows.filter(pk=key).first() if key else None
        if row is None:
            raise NotFound
        return row

    def locked(self) -> Row:
        """The row of the address as it is now, locked until the transaction ends: of two changes none is lost."""
        return self.find(self.get_queryset().select_for_update(of=("self",)))

    def shown(self, row: Row) -> Any:
        return self.get_serializer(row).data

    def shown_all(self, rows: Iterable[Row]) -> Any:
        return self.get_serializer(rows, many=True).data

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        rows: Any = self.paginate_queryset(self.narrowed(self.get_queryset())) or []
        if self.as_json is not None:
            assert isinstance(self.paginator, KeysetPagination)  # for types
            return self.paginator.get_written_response(rows)
        return self.get_paginated_response(self.shown_all(rows))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.shown(self.get_object()))


class CollectionViewSet(ListViewSet[Row], Generic[Row]):
    """A list whose rows are made, changed and deleted. Creating answers 201 with the row and its Location."""

    def save(self, row: Row | None, values: dict[str, Any]) -> Row:
        """Make a row of the checked values, or change one by those that were given."""
        raise NotImplementedError

    def remove(self, row: Row) -> None:
        raise NotImplementedError

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = self.save(None, self.read(self.get_serializer_class()))
        return self.created(row)

    def created(self, row: Row, **more: Any) -> Response:
        place = self.request.build_absolute_uri(f"{self.request.path}{row.pk}/")
        return Response({**self.shown(row), **more}, status=201, headers={"Location": place})

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = self.locked()
        return Response(
            self.shown(self.save(row, self.read(self.get_serializer_class(), row=row, partial=True)))
        )

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.remove(self.locked())
        return Response(status=204)


def unknown_path(request: HttpRequest, path: str = "") -> HttpResponse:
    """Everything else under /api/."""
    hint = "" if path.endswith("/") or not path else " Every path ends with a slash."
    return problem_response(404, "not-found", f"There is nothing at this address.{hint}")


unknown_path.csrf_exempt = True  # type: ignore[attr-defined]
unknown_path.unscoped = True  # type: ignore[attr-defined]
unknown_path.unlocked = True  # type: ignore[attr-defined]
