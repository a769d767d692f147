"""What every page's frame needs: the workspace, the theme, and what waits in Inbound."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from accounts.middleware import Tenancy
from accounts.prepared import fetch
from accounts.tenancy import tenant_scope
from config.demo import EMAIL, PASSWORD
from inbound.models import AdjustmentStatus, ProposalStatus

THEMES = ("light", "dark")
# What `waiting` and `adjustments_waiting` of Inbound find together, and `unread_of` of the notices. One question, by
# hand, since every page asks it: as two, one of them Django's, it was an eighth of the price of the page of time.
COUNTS = """
SELECT (SELECT count(*) FROM inbound_timeproposal WHERE workspace_id = $1 AND status = $3)
    + (SELECT count(*) FROM inbound_adjustment WHERE workspace_id = $1 AND status = $4),
    (SELECT count(*) FROM accounts_notice
        WHERE workspace_id = $1 AND user_id = $2 AND read_at IS NULL)
"""


def frame(request: HttpRequest) -> dict[str, Any]:
    tenancy: Tenancy | None = getattr(request, "tenancy", None)
    # Called by the frame alone, once a page: a fragment of a page asks the database for none of it.
    counts = cache(lambda: _counts(tenancy) if tenancy else (0, 0))
    theme = request.COOKIES.get(settings.THEME_COOKIE_NAME, "")
    return {
        "tenancy": tenancy,
        "workspace": tenancy.workspace if tenancy else None,
        "theme": theme if theme in THEMES else "",
        "theme_cookie": settings.THEME_COOKIE_NAME,
        "inbound_count": lambda: counts()[0],
        "notice_count": lambda: counts()[1],
        "demo": {"email": EMAIL, "password": PASSWORD, "mail": settings.MAIL_DIR} if settings.DEMO else None,
    }


def _counts(tenancy: Tenancy) -> tuple[int, int]:
    """What waits in Inbound, and this person's unread notices.

    Error pages and views that open their own scopes are drawn outside any.
    """
    if not connection.in_atomic_block:
        with tenant_scope(tenancy.workspace.id):
            return _counts(tenancy)
    waiting = (ProposalStatus.PENDING.value, AdjustmentStatus.PENDING.value)
    ((inbound, notices),) = fetch("frame_counts", COUNTS, [tenancy.workspace.id, tenancy.user.id, *waiting])
    return inbound, notices
