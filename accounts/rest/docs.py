"""The OpenAPI document and its browsable page."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole document, made once: it is the same for everybody."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


class SchemaView(SpectacularAPIView):
    """JSON, or YAML where it is asked for by `Accept` or `?format=yaml`."""

    renderer_classes = [OpenApiJsonRenderer, OpenApiJsonRenderer2, OpenApiYamlRenderer, OpenApiYamlRenderer2]
    unscoped = unlocked = True

    def get_format_suffix(self, **kwargs: Any) -> str | None:
        return self.request.query_params.get("format")

    def _get_schema_response(self, request: Request) -> Response:
        return Response(document())


# Swagger UI styles its parts by inline styles, and shows its icons as data: addresses. Its scripts are all files.
@method_decorator(csp_update({"style-src": [SELF, UNSAFE_INLINE]}), name="dispatch")
class DocsView(SpectacularSwaggerSplitView):
    """The document to browse and to try out, signed in as oneself."""

    url_name = "schema"
    unscoped = unlocked = True
