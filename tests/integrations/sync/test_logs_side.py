"""Time logs keep what every side promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count

import pytest
from django.utils import timezone

from accounts.tenancy import tenant_scope
from integrations.logs_side import TimeLogSide, take_values
from integrations.sync.types import Field, Values
from tests.contracts.side_contract import Bench, SideContract
from tests.factories import (
    make_activity_type,
    make_client,
    make_member,
    make_project,
    make_workspace,
)
from timelogs.models import TimeLog

FIRST = date(2026, 6, 1)
LAST = FIRST + timedelta(days=9)


@pytest.mark.django_db
class TestTimeLogSide(SideContract):
    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        admin = make_workspace()
        workspace = admin.workspace
        acme, globex = make_client(workspace), make_client(workspace)
        site, design = make_project(acme), make_activity_type(workspace)
        ines, tom = make_member(workspace), make_member(workspace)
        numbers = count(1)
        side = TimeLogSide(workspace.id)

        def edit(entry_id: str, values: Values) -> None:
            log = TimeLog.objects.get(pk=entry_id)
            take_values(log, values, rate=lambda activity: design.hourly_rate)
            log.updated_at = timezone.now()
            log.save()

        def lock(entry_id: str, reason: str) -> None:
            TimeLog.objects.filter(pk=entry_id).update(settled_at=timezone.now())

        def remove(entry_id: str) -> None:
            TimeLog.objects.filter(pk=entry_id).update(deleted_at=timezone.now())

        with tenant_scope(workspace.id):
            yield Bench(
                side=side,
                first=FIRST,
                last=LAST,
                examples=[
                    dict(
                        zip(
                            Field,
                            (
                                (str(acme.id), str(site.id)),
                                str(design.id),
                                FIRST,
                                7600,
                                "Header",
                                str(ines.user_id),
                                True,
                            ),
                            strict=True,
                        )
                    ),
                    dict(
                        zip(
                            Field,
                            ((str(globex.id), None), None, LAST, 36, "", str(tom.user_id), False),
                            strict=True,
                        )
                    ),
                ],
                references=lambda many: [str(next(numbers)) for _ in range(many)],
                edit=edit,
                remove=remove,
                lock=lock,
            )
