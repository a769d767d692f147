"""What every page's frame needs: the workspace, the theme, and what waits in Inbound."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from accounts.middleware import Tenancy
from accounts.notices import unread_of
from accounts.tenancy import tenant_scope
from config.demo import EMAIL, PASSWORD
from inbound.selectors import waiting_count

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    tenancy: Tenancy | None = getattr(request, "tenancy", None)
    theme = request.COOKIES.get(settings.THEME_COOKIE_NAME, "")
    return {
        "tenancy": tenancy,
        "workspace": tenancy.workspace if tenancy else None,
        "theme": theme if theme in THEMES else "",
        "theme_cookie": settings.THEME_COOKIE_NAME,
        # Called by the frame alone: a fragment of a page asks the database for none of it.
        "inbound_count": lambda: _waiting(tenancy) if tenancy else 0,
        "notice_count": lambda: _unread(tenancy) if tenancy else 0,
        "integrations_url": _integrations_url,
        "demo": {"email": EMAIL, "password": PASSWORD, "mail": settings.MAIL_DIR} if settings.DEMO else None,
    }


def _waiting(tenancy: Tenancy) -> int:
    """What waits in Inbound; error pages and views that open their own scopes are drawn outside any."""
    if connection.in_atomic_block:
        return waiting_count(tenancy.workspace)
    with tenant_scope(tenancy.workspace.id):
        return waiting_count(tenancy.workspace)


def _unread(tenancy: Tenancy) -> int:
    unread = unread_of(tenancy.workspace, tenancy.user)
    if connection.in_atomic_block:
        return unread.count()
    with tenant_scope(tenancy.workspace.id):
        return unread.count()


def _integrations_url() -> str:
    try:
        return reverse("integrations")
    except NoReverseMatch:
        return ""
