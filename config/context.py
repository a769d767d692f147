"""What every page's frame needs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, Any]:
    tenancy = getattr(request, "tenancy", None)
    return {"tenancy": tenancy, "workspace": tenancy.workspace if tenancy else None}
