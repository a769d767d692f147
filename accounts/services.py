"""Making workspaces, adding people, keeping the trail."""

from __future__ import annotations

import zoneinfo
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.audit import record_audit
from accounts.errors import InUse, Invalid
from accounts.ids import uuid7
from accounts.invitations import invite
from accounts.models import Membership, Plan, Role, User, Workspace
from accounts.second_factor import has_second_factor
from accounts.signals import member_left
from accounts.tenancy import tenant_scope

MOST_NAME = 120
MOST_EMAIL = 254


def check_email(email: str) -> str:
    """A usable e-mail address in its kept form (lower case), or Invalid."""
    email = email.strip().lower()
    try:
        validate_email(email)
        if len(email) > MOST_EMAIL:
            raise ValidationError("too long")
    except ValidationError as error:
        raise Invalid({"email": ["Enter an e-mail address like name@example.com."]}) from error
    return email


def check_workspace_values(
    *, timezone: str | None = None, currency: str | None = None, plan: str | None = None
) -> None:
    """Refuse values that a workspace cannot have."""
    errors: dict[str, list[str]] = {}
    # Some systems list "localtime": this machine's zone, which is no zone of a workspace.
    if timezone is not None and timezone not in zoneinfo.available_timezones() - {"localtime", "Factory"}:
        errors["timezone"] = ["Choose a time zone by its name, such as Europe/Berlin."]
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        errors["currency"] = ["Give the currency as three capital letters, such as EUR."]
    if plan is not None and plan not in Plan.values:
        errors["plan"] = ["Choose free or pro."]
    if errors:
        raise Invalid(errors)


def create_workspace(
    *,
    name: str,
    email: str,
    password: str | None = None,
    person_name: str = "",
    plan: str = Plan.FREE,
    timezone: str = "UTC",
    currency: str = "USD",
    slug: str = "",
    any_password: bool = False,
) -> Membership:
    """Make a workspace with its first admin (a new person, or one who is known already). Returns the membership.

    A known person keeps their password. any_password: as an operator's command line may set it. Raises Invalid.
    """
    name = check_workspace_name(name)
    email = check_email(email)
    check_workspace_values(timezone=timezone, currency=currency, plan=plan)
    base = slugify(slug or name)[:50] or "workspace"
    with transaction.atomic():
        user = find_or_add_user(email=email, name=person_name, password=password, any_password=any_password)
        for attempt in range(1, 1000):
            candidate = base if attempt == 1 else f"{base}-{attempt}"
            workspace = Workspace(
                id=uuid7(), name=name, slug=candidate, plan=plan, timezone=timezone, currency=currency
            )
            try:
                with tenant_scope(workspace.id):
                    workspace.save(force_insert=True)
                    membership = Membership.objects.create(workspace=workspace, user=user, role=Role.ADMIN)
                    record_audit(workspace=workspace, actor=user, action="workspace.created", target=name)
                    return membership
            except IntegrityError:
                continue
    raise Invalid({"name": ["Choose another name for the workspace."]})


def check_workspace_name(name: str) -> str:
    """A usable name of a workspace in its kept form, or Invalid."""
    name = name.strip()
    if not name or "\x00" in name:
        raise Invalid({"name": ["Give the workspace a name."]})
    if len(name) > MOST_NAME:
        raise Invalid({"name": [f"Use at most {MOST_NAME} characters."]})
    return name


def save_workspace(*, workspace: Workspace, actor: User, **values: Any) -> Workspace:
    """Change `name`, `timezone`, `currency`, `plan` or `require_second_factor`: the given values only.

    Its slug stays. Who requires a second factor must have one, or nobody might get in. Raises Invalid.
    """
    if "name" in values:
        values["name"] = check_workspace_name(values["name"])
    checked = ("timezone", "currency", "plan")
    check_workspace_values(**{field: values[field] for field in checked if field in values})
    row = Workspace.objects.select_for_update().get(pk=workspace.pk)
    if values.get("require_second_factor") and not row.require_second_factor and not has_second_factor(actor):
        raise Invalid(
            {"require_second_factor": ["Set up a second factor of your own first, under Security."]}
        )
    before = {field: getattr(row, field) for field, value in values.items() if getattr(row, field) != value}
    if before:
        for field in before:
            setattr(row, field, values[field])
        row.save(update_fields=list(before))
        after = {field: values[field] for field in before}
        record_audit(workspace=row, actor=actor, action="workspace.changed", before=before, after=after)
    return row


def find_or_add_user(
    *, email: str, name: str = "", password: str | None = None, any_password: bool = False
) -> User:
    """The person with this e-mail address, made where there is none. A password is set for a new person only."""
    user = User.objects.filter(email__iexact=email).first()
    if user is not None:
        return user
    if password == "":
        raise Invalid({"password": ["Give a password."]})
    if password is not None and not any_password:
        try:
            validate_password(password, User(email=email, name=name))
        except ValidationError as error:
            raise Invalid({"password": list(error.messages)}) from error
    user = User.objects.create_user(email, password, name=name.strip())
    # Confirmed: an operator vouches for it, or the only way in is the link that the invitation sends there.
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def add_member(
    *,
    workspace: Workspace,
    email: str,
    name: str = "",
    role: str = Role.MEMBER,
    actor: User | None,
    tell: bool = True,
) -> Membership:
    """Add a person to the workspace; a member from then on, and told so by e-mail if `tell`. Raises Invalid."""
    email = check_email(email)
    check_role(role)
    user = find_or_add_user(email=email, name=name)
    if Membership.objects.filter(workspace=workspace, user=user).exists():
        raise Invalid({"email": ["This person is already a member."]})
    membership = Membership.objects.create(workspace=workspace, user=user, role=role)
    record_audit(workspace=workspace, actor=actor, action="member.added", target=email, role=role)
    if tell:
        invite(workspace=workspace, user=user, actor=actor)
    return membership


def check_role(role: str) -> None:
    if role not in Role.values:
        raise Invalid({"role": ["Choose admin, designer or member."]})


def change_role(*, membership: Membership, role: str, actor: User) -> Membership:
    """Give a member another role. The last admin stays one. Raises Invalid, InUse."""
    check_role(role)
    if membership.role == role:
        return membership
    _keep_an_admin(membership)
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    record_audit(
        workspace=membership.workspace_id,
        actor=actor,
        action="member.role",
        target=membership.user.email,
        before=before,
        after=role,
    )
    return membership


def remove_member(*, membership: Membership, actor: User) -> None:
    """Take a person out of the workspace: their time stays, their API keys here end. Raises InUse: the last admin."""
    from accounts.models import ApiKey

    _keep_an_admin(membership)
    ApiKey.objects.filter(workspace_id=membership.workspace_id, user_id=membership.user_id).delete()
    record_audit(
        workspace=membership.workspace_id, actor=actor, action="member.removed", target=membership.user.email
    )
    user = membership.user
    workspace_id = membership.workspace_id
    membership.delete()
    member_left.send(sender=Membership, workspace_id=workspace_id, user=user)


def _keep_an_admin(membership: Membership) -> None:
    if membership.role != Role.ADMIN:
        return
    # Locked, so that two admins who remove each other at once do not leave none.
    admins = list(
        Membership.objects.select_for_update()
        .filter(workspace_id=membership.workspace_id, role=Role.ADMIN)
        .order_by("id")
        .values_list("id", flat=True)
    )
    if admins == [membership.id]:
        raise InUse("A workspace keeps at least one admin. Make somebody else an admin first.")
