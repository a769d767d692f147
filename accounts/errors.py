"""What services refuse, in words for people. Views turn these into form errors, the API into problem answers."""

from __future__ import annotations


class ServiceError(Exception):
    """Base of what a service refuses. `slug` is the problem type on the wire, `status` its HTTP status."""

    slug = "conflict"
    status = 409

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class Invalid(ServiceError):
    """Bad input: field name (or 'detail' for none in particular) -> messages. Nothing was changed."""

    slug = "validation-error"
    status = 400

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("Some of what was sent is not valid. Nothing was changed.")
        self.errors = errors


class Forbidden(ServiceError):
    slug = "forbidden"
    status = 403


class PlanRequired(ServiceError):
    slug = "plan-required"
    status = 403


class Settled(ServiceError):
    slug = "settled"


class InUse(ServiceError):
    slug = "in-use"


class RunInProgress(ServiceError):
    slug = "run-in-progress"


class AccountMismatch(ServiceError):
    slug = "account-mismatch"


class NotConnected(ServiceError):
    slug = "not-connected"


class UpstreamUnavailable(ServiceError):
    """The remote system did not answer; nothing was changed and it can be tried again."""

    slug = "harvest-unavailable"
    status = 503


def unknown(field: str) -> Invalid:
    """A reference to something that does not exist here; worded alike whether or not it exists elsewhere."""
    return Invalid({field: ["There is nothing with this id."]})
