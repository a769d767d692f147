"""What each Harvest resource is made of: its fields in wire order, which can be written, and by whom.

Time entries have rules of their own, in `timesheet`. Source: Harvest API v2, the attribute tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .wire import anything, boolean, day, decimal, instant, integer, integers, text

Roles = frozenset[str]

ADMIN: Roles = frozenset({"administrator"})
MANAGER: Roles = ADMIN | {"manager"}
ANYBODY: Roles = MANAGER | {"member"}
CATALOGUE: Roles = ADMIN | {"client_and_task_manager"}
INVOICING: Roles = ADMIN | {"managed_projects_invoice_manager", "managed_projects_invoice_drafter"}
ESTIMATING: Roles = ADMIN | {"estimates_manager"}


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute. With `ref` it is an id of that table, shown as an object with the `shows` keys."""

    cast: Callable[[Any], Any] = text
    default: Any = None
    required: bool = False
    writable: bool = True
    shown: bool = True
    ref: str = ""
    shows: tuple[str, ...] = ()


def ref(table: str, *shows: str, required: bool = False, writable: bool = True) -> Field:
    return Field(
        integer, required=required, writable=writable, ref=table, shows=("id", *(shows or ("name",)))
    )


def flag(default: bool = False, *, writable: bool = True) -> Field:
    return Field(boolean, default, writable=writable)


def fixed(cast: Callable[[Any], Any] = text, default: Any = None) -> Field:
    """Read-only on the wire."""
    return Field(cast, default, writable=False)


def parent(table: str) -> Field:
    """The record that this one is nested under: in the path, not in the payload."""
    return Field(integer, writable=False, shown=False, ref=table)


@dataclass(frozen=True, slots=True)
class Resource:
    """One table. A person with any of `write_roles` (roles or a manager's permissions) may write it."""

    name: str
    first_id: int
    fields: dict[str, Field]
    filters: tuple[str, ...] = ()
    cursors: bool = True
    read_roles: Roles = MANAGER
    write_roles: Roles = ADMIN
    unique: tuple[str, ...] = ()
    held_by: tuple[tuple[str, str], ...] = ()  # (table, its column): rows there forbid a delete
    held_message: str = ""


REQUIRED = Field(required=True)
NOTE = Field()
EMPTY = Field(default="")
MONEY = Field(decimal)
ACTIVE = flag(True)

_MESSAGE = {
    "sent_by": fixed(),
    "sent_by_email": fixed(),
    "sent_from": fixed(),
    "sent_from_email": fixed(),
    "recipients": Field(anything, []),
    "subject": NOTE,
    "body": NOTE,
    "send_me_a_copy": flag(),
    "event_type": NOTE,
}
_AMOUNTS = {
    "client_key": fixed(),
    "number": NOTE,
    "purchase_order": NOTE,
    "amount": fixed(decimal, Decimal(0)),
    "tax": MONEY,
    "tax_amount": fixed(decimal, Decimal(0)),
    "tax2": MONEY,
    "tax2_amount": fixed(decimal, Decimal(0)),
    "discount": MONEY,
    "discount_amount": fixed(decimal, Decimal(0)),
    "subject": NOTE,
    "notes": NOTE,
    "currency": NOTE,
}
_RATE = {
    "user_id": parent("users"),
    "amount": Field(decimal, required=True),
    "start_date": Field(day),
    "end_date": fixed(day),
}

_TABLES = (
    Resource(
        "users",
        4_150_301,
        {
            "first_name": REQUIRED,
            "last_name": REQUIRED,
            "email": REQUIRED,
            "telephone": EMPTY,
            "timezone": Field(default="UTC"),
            "has_access_to_all_future_projects": flag(),
            "is_contractor": flag(),
            "is_active": ACTIVE,
            "weekly_capacity": Field(integer, 126_000),
            "default_hourly_rate": fixed(decimal),
            "cost_rate": fixed(decimal),
            "roles": Field(anything, []),
            "access_roles": Field(anything, ["member"]),
            "teammate_ids": Field(integers, [], writable=False, shown=False),
            "avatar_url": fixed(default="https://cache.harvestapp.example/assets/profile_images/default.png"),
        },
        filters=("is_active",),
        unique=("email",),
        held_by=(("time_entries", "user_id"), ("expenses", "user_id")),
        held_message="This person is not removable. They still have time and/or expenses.",
    ),
    Resource(
        "clients",
        15_735_401,
        {
            "name": REQUIRED,
            "is_active": ACTIVE,
            "address": NOTE,
            "statement_key": fixed(),
            "currency": Field(default="USD"),
        },
        filters=("is_active",),
        write_roles=CATALOGUE,
        unique=("name",),
        held_by=(("projects", "client_id"), ("invoices", "client_id"), ("estimates", "client_id")),
        held_message="This client is not removable. It still has projects and/or invoices.",
    ),
    Resource(
        "contacts",
        11_706_201,
        {
            "client_id": ref("clients", required=True),
            "title": NOTE,
            "first_name": REQUIRED,
            "last_name": NOTE,
            "email": EMPTY,
            "phone_office": EMPTY,
            "phone_mobile": EMPTY,
            "fax": EMPTY,
            "invoice_recipient_status": fixed(default="none"),
        },
        filters=("client_id",),
        write_roles=CATALOGUE,
    ),
    Resource(
        "projects",
        44_190_101,
        {
            "name": REQUIRED,
            "code": NOTE,
            "client_id": ref("clients", "name", "currency", required=True),
            "is_active": ACTIVE,
            "is_billable": flag(True),
            "is_fixed_fee": flag(),
            "bill_by": Field(default="none"),
            "hourly_rate": MONEY,
            "budget_by": Field(default="none"),
            "budget_is_monthly": flag(),
            "budget": MONEY,
            "cost_budget": MONEY,
            "cost_budget_include_expenses": flag(),
            "notify_when_over_budget": flag(),
            "over_budget_notification_percentage": Field(decimal, Decimal("80.0")),
            "over_budget_notification_date": fixed(day),
            "show_budget_to_all": flag(),
            "fee": MONEY,
            "notes": NOTE,
            "starts_on": Field(day),
            "ends_on": Field(day),
        },
        filters=("is_active", "client_id"),
        write_roles=ADMIN | {"project_creator"},
        unique=("client_id", "name"),
    ),
    Resource(
        "tasks",
        23_080_601,
        {
            "name": REQUIRED,
            "billable_by_default": flag(True),
            "default_hourly_rate": MONEY,
            "is_default": flag(),
            "is_active": ACTIVE,
        },
        filters=("is_active",),
        write_roles=CATALOGUE,
        unique=("name",),
        held_by=(("time_entries", "task_id"),),
        held_message="This task is not removable. It still has time entries.",
    ),
    Resource(
        "task_assignments",
        467_020_001,
        {
            "project_id": ref("projects", "name", "code", writable=False),
            "task_id": ref("tasks", required=True),
            "is_active": ACTIVE,
            "billable": Field(boolean),
            "hourly_rate": MONEY,
            "budget": MONEY,
        },
        filters=("is_active", "task_id"),
        unique=("project_id", "task_id"),
    ),
    Resource(
        "user_assignments",
        408_960_001,
        {
            "project_id": ref("projects", "name", "code", writable=False),
            "user_id": ref("users", required=True),
            "is_active": ACTIVE,
            "is_project_manager": Field(boolean),
            "use_default_rates": flag(True),
            "hourly_rate": MONEY,
            "budget": MONEY,
        },
        filters=("is_active", "user_id"),
        unique=("project_id", "user_id"),
    ),
    Resource(
        "roles",
        1_782_901,
        {"name": REQUIRED, "user_ids": Field(integers, [])},
        unique=("name",),
    ),
    Resource("billable_rates", 1_836_401, _RATE),
    Resource("cost_rates", 825_301, _RATE),
    Resource(
        "expense_categories",
        7_197_701,
        {"name": REQUIRED, "unit_name": NOTE, "unit_price": MONEY, "is_active": ACTIVE},
        filters=("is_active",),
        read_roles=ANYBODY,
        unique=("name",),
        held_by=(("expenses", "expense_category_id"),),
        held_message="This expense category is not removable. It still has expenses.",
    ),
    Resource(
        "expenses",
        35_297_001,
        {
            "notes": NOTE,
            "total_cost": Field(decimal, Decimal(0)),
            "units": Field(decimal, Decimal(1)),
            "is_closed": flag(writable=False),
            "approval_status": fixed(default="unsubmitted"),
            "is_locked": flag(writable=False),
            "is_billed": flag(writable=False),
            "locked_reason": fixed(),
            "spent_date": Field(day, required=True),
            "billable": flag(True),
            "receipt": fixed(anything),
            "user_id": ref("users"),
            "user_assignment_id": ref(
                "user_assignments",
                "is_project_manager",
                "is_active",
                "budget",
                "created_at",
                "updated_at",
                "hourly_rate",
                writable=False,
            ),
            "project_id": ref("projects", "name", "code", required=True),
            "expense_category_id": ref(
                "expense_categories", "name", "unit_price", "unit_name", required=True
            ),
            "client_id": ref("clients", "name", "currency", writable=False),
            "invoice_id": ref("invoices", "number", writable=False),
        },
        filters=("user_id", "client_id", "project_id", "is_billed"),
        cursors=False,
        read_roles=ANYBODY,
        write_roles=ANYBODY,
    ),
    Resource(
        "invoices",
        53_150_001,
        {
            "client_id": ref("clients", required=True),
            "estimate_id": ref("estimates", "id", writable=False),
            "retainer_id": ref("retainers", "id", writable=False),
            "creator_id": ref("users", writable=False),
            **_AMOUNTS,
            "due_amount": fixed(decimal, Decimal(0)),
            "state": fixed(default="draft"),
            "period_start": fixed(day),
            "period_end": fixed(day),
            "issue_date": Field(day),
            "due_date": Field(day),
            "payment_term": Field(default="upon receipt"),
            "payment_options": Field(anything, []),
            "recurring_invoice_id": fixed(integer),
            "sent_at": fixed(instant),
            "paid_at": fixed(instant),
            "paid_date": fixed(day),
            "closed_at": fixed(instant),
            "line_items": Field(anything, []),
        },
        filters=("client_id", "state"),
        cursors=False,
        write_roles=INVOICING,
    ),
    Resource(
        "invoice_messages",
        27_835_201,
        {
            "invoice_id": parent("invoices"),
            **_MESSAGE,
            "include_link_to_client_invoice": flag(),
            "attach_pdf": flag(),
            "thank_you": flag(),
            "reminder": flag(writable=False),
            "send_reminder_on": fixed(day),
        },
        write_roles=INVOICING,
    ),
    Resource(
        "invoice_payments",
        10_112_801,
        {
            "invoice_id": parent("invoices"),
            "amount": Field(decimal, required=True),
            "paid_at": Field(instant),
            "paid_date": Field(day),
            "recorded_by": fixed(),
            "recorded_by_email": fixed(),
            "notes": NOTE,
            "transaction_id": fixed(),
            "payment_gateway": fixed(anything, {"id": None, "name": None}),
        },
        write_roles=INVOICING,
    ),
    Resource(
        "invoice_item_categories",
        1_466_201,
        {
            "name": REQUIRED,
            "use_as_service": flag(writable=False),
            "use_as_expense": flag(writable=False),
        },
        unique=("name",),
    ),
    Resource(
        "estimates",
        11_439_501,
        {
            "client_id": ref("clients", required=True),
            "creator_id": ref("users", writable=False),
            **_AMOUNTS,
            "state": fixed(default="draft"),
            "issue_date": Field(day),
            "sent_at": fixed(instant),
            "accepted_at": fixed(instant),
            "declined_at": fixed(instant),
            "line_items": Field(anything, []),
        },
        filters=("client_id", "state"),
        cursors=False,
        write_roles=ESTIMATING,
    ),
    Resource(
        "estimate_messages",
        12_666_801,
        {"estimate_id": parent("estimates"), **_MESSAGE},
        write_roles=ESTIMATING,
    ),
    Resource("estimate_item_categories", 1_378_704, {"name": REQUIRED}, unique=("name",)),
)

RESOURCES: dict[str, Resource] = {resource.name: resource for resource in _TABLES}
