"""What attacks by thousands of requests share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import ApiKey, Membership
from accounts.tenancy import tenant_scope
from harvest.client import Patience
from tests.factories import make_key


@pytest.fixture
def in_thousands(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_log: None) -> None:
    """Harvest is not there, and is asked once; no file is looked for first; nothing is logged."""
    settings.HARVEST_API_URL = settings.HARVEST_ID_URL = "http://127.0.0.1:9"
    settings.WHITENOISE_AUTOREFRESH, settings.STATIC_ROOT = False, str(tmp_path)
    for module in ("catalogue", "consents", "credentials", "waiting"):
        monkeypatch.setattr(f"harvest.{module}.INTERACTIVE", Patience(attempts=1))


def key_in_use(person: Membership, **values: Any) -> str:
    """An API key whose use needs no noting for an hour: each request is rolled back, and would note it again."""
    key = make_key(person, **values)
    with tenant_scope(person.workspace_id):
        used = timezone.now() + timedelta(hours=1)
        ApiKey.objects.filter(prefix=key.split("_")[1]).update(last_used_at=used)
    return key
