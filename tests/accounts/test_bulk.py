"""Rows by COPY: what goes in comes out, whatever characters it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DataError, IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.bulk import copy_rows
from accounts.ids import uuid7, uuid7_texts
from accounts.services import create_workspace
from accounts.tenancy import tenant_scope
from clients.models import Client

pytestmark = pytest.mark.django_db

COLUMNS = ("id", "workspace_id", "name", "archived", "created_at")
NOW = datetime(2026, 6, 12, 8, 30, 1, 5, tzinfo=UTC)


@pytest.fixture
def workspace_id() -> UUID:
    return create_workspace(name="Bulk", email="bulk@northlight.example").workspace_id


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
        | st.sampled_from(["\x02", "\\N", "\\.", "a\tb", "line\nline", "\r\n", "\\2", "\\", ""]),
        max_size=8,
    )
)
def test_any_text_comes_out_as_it_went_in(workspace_id: UUID, names: list[str]) -> None:
    with tenant_scope(workspace_id):
        Client.objects.all().delete()
        ids = [uuid7() for _ in names]
        copy_rows(
            Client,
            COLUMNS,
            [(pk, workspace_id, name, False, NOW) for pk, name in zip(ids, names, strict=True)],
        )
        assert [Client.objects.get(id=pk).name for pk in ids] == names


def test_every_kind_of_value(workspace_id: UUID) -> None:
    from timelogs.models import ActivityType

    pk = uuid7_texts(1)[0]
    with tenant_scope(workspace_id):
        returned = copy_rows(
            ActivityType,
            ("id", "workspace_id", "name", "hourly_rate", "billable", "created_at"),
            [(pk, workspace_id, "Design", Decimal("110.50"), True, NOW)],
            returning="name",
        )
        row = ActivityType.objects.get()
        assert (str(row.id).replace("-", ""), row.hourly_rate, row.billable, row.created_at) == (
            pk,
            Decimal("110.50"),
            True,
            NOW,
        )
        assert returned == ["Design"]
        assert copy_rows(ActivityType, ("id", "workspace_id", "name"), []) == []


def test_equal_values_of_different_types_keep_their_own_form(workspace_id: UUID) -> None:
    from timelogs.models import ActivityType

    with tenant_scope(workspace_id):
        for rate, billable in ((Decimal(1), True), (Decimal(0), False), (1, True)):
            copy_rows(
                ActivityType,
                ("id", "workspace_id", "name", "hourly_rate", "billable", "created_at"),
                [(uuid7(), workspace_id, "Design", rate, billable, NOW)],
            )
        assert sorted(ActivityType.objects.values_list("hourly_rate", "billable")) == [
            (0, False),
            (1, True),
            (1, True),
        ]


def test_what_does_not_fit_raises_djangos_errors(workspace_id: UUID) -> None:
    with tenant_scope(workspace_id), pytest.raises(DataError), transaction.atomic():
        copy_rows(Client, COLUMNS, [(uuid7(), workspace_id, "x" * 500, False, NOW)])
    with tenant_scope(workspace_id), pytest.raises(DataError), transaction.atomic():
        copy_rows(Client, COLUMNS, [(uuid7(), workspace_id, "x", "perhaps", NOW)])


def test_conflicts_are_refused_or_left_out(workspace_id: UUID) -> None:
    pk = uuid7()
    row = (pk, workspace_id, "One", False, NOW)
    with tenant_scope(workspace_id):
        copy_rows(Client, COLUMNS, [row])
        with pytest.raises(IntegrityError), transaction.atomic():
            copy_rows(Client, COLUMNS, [row])
        other = (uuid7(), workspace_id, "Two", False, NOW)
        assert copy_rows(Client, COLUMNS, [row, other], skip_conflicts=True, returning="name") == ["Two"]
        assert Client.objects.count() == 2


def test_ids_by_the_batch_are_version_7_and_all_different() -> None:
    ids = [UUID(text) for text in uuid7_texts(500)]
    assert len(set(ids)) == 500
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {UUID(int=0x8000 << 48).variant}
    assert abs((ids[0].int >> 80) / 1000 - datetime.now(UTC).timestamp()) < 60


def test_used_twice_in_one_transaction_nothing_goes_in_twice(workspace_id: UUID) -> None:
    with tenant_scope(workspace_id):
        for name in ("Acme", "Borealis"):
            copy_rows(Client, COLUMNS, [(uuid7(), workspace_id, name, False, NOW)])
        assert sorted(Client.objects.values_list("name", flat=True)) == ["Acme", "Borealis"]


def test_only_what_the_named_constraint_refuses_is_left_out(workspace_id: UUID) -> None:
    pk = uuid7()
    row = (pk, workspace_id, "Acme", False, NOW)
    with tenant_scope(workspace_id):
        copy_rows(Client, COLUMNS, [row])
        by_key = copy_rows(Client, COLUMNS, [row], skip_conflicts=("workspace_id", "id"), returning="name")
        assert by_key == []
        assert copy_rows(Client, COLUMNS, [row], skip_conflicts=True, returning="name") == []
        assert Client.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_commit_leaves_nothing_behind() -> None:
    workspace_id = create_workspace(name="Bulk", email="bulk@northlight.example").workspace_id
    for name in ("Acme", "Borealis"):
        with tenant_scope(workspace_id):
            copy_rows(Client, COLUMNS, [(uuid7(), workspace_id, name, False, NOW)])
    with tenant_scope(workspace_id):
        assert sorted(Client.objects.values_list("name", flat=True)) == ["Acme", "Borealis"]
