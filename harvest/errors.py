"""What can go wrong with Harvest, sorted by what the caller does about it.

    HarvestError
    ├── HarvestAuthError          the token or account is no good: ask a person to connect again
    ├── HarvestForbidden          this token's person may not do this: go on without it, or hold the change
    ├── HarvestNotFound           it is not there, or no longer visible to this token
    ├── HarvestRejected           Harvest refused what was sent: show the message, hold the change
    ├── HarvestRetryLater         nothing is wrong with the request: come back later
    │   ├── HarvestRateLimited    … after `retry_after_seconds`, and not before
    │   └── HarvestUnavailable    … when Harvest, or the way to it, works again
    ├── HarvestAnswerLost         a write may or may not have been done: look before writing again
    └── HarvestContractError      an answer of a shape we do not know: ours to fix

Every message is a sentence for people that says what to do. No error carries a token, a header or a request,
and all of them survive pickling.
"""

import html
import re
from collections.abc import Mapping


class HarvestError(Exception):
    """Base of all that the client raises. `status`: the HTTP status behind it, None without an answer."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class HarvestAuthError(HarvestError):
    """401, or a token or account id that cannot be one. Retrying does not help; connecting again does."""


class HarvestForbidden(HarvestError):
    """403 (or 402): the object or endpoint exists, but not for this token's person or plan."""


class HarvestNotFound(HarvestError):
    """404: no such object, or none that this token sees. On a write to a known entry: deleted in Harvest."""


class HarvestRejected(HarvestError):
    """400, 422 and other refusals of what was sent.

    `fields`: the parts of the message by the Harvest field each seems to speak of (`{"spent_date": "Spent
    date can't be blank"}`), as far as that can be told: Harvest joins all failures into one string.
    """

    def __init__(
        self, message: str = "", *, status: int | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.fields = dict(fields or {})


class HarvestRetryLater(HarvestError):
    """Try the same again later. `retry_after_seconds`: the least time to wait, None where nobody can say."""

    def __init__(
        self, message: str = "", *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after_seconds = retry_after_seconds


class HarvestRateLimited(HarvestRetryLater):
    """429, and waiting it out would take longer than the client's patience. `retry_after_seconds` is set."""


class HarvestUnavailable(HarvestRetryLater):
    """5xx, time-outs, broken connections and unreadable bodies, after all retries."""


class HarvestAnswerLost(HarvestError):
    """A write was sent and its answer never came, or came unreadable. It may have been done."""


class HarvestContractError(HarvestError):
    """An answer that is well formed and not what Harvest's API promises."""


_INVISIBLE = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-z!][^>]*>", re.IGNORECASE)
_LONGEST = 500

# How Harvest's validation messages begin, and the field that each speaks of.
_FIELDS = {
    "project": "project_id",
    "task": "task_id",
    "user": "user_id",
    "client": "client_id",
    "spent date": "spent_date",
    "invalid spent_date": "spent_date",
    "hours": "hours",
    "notes": "notes",
    "started time": "started_time",
    "ended time": "ended_time",
    "name": "name",
    "code": "code",
    "external reference": "external_reference",
}


def plain_text(text: str) -> str:
    """A message that may hold HTML, for people: no tags, entities resolved, one line, 500 characters."""
    bare = html.unescape(_TAG.sub("", _INVISIBLE.sub(" ", text[: _LONGEST * 20])))
    line = " ".join(bare.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def message_in(body: object, raw: str = "") -> str:
    """The words in an error's body: its `error_description`, `message` or `error`, else the raw text."""
    if isinstance(body, dict):
        for key in ("error_description", "message", "error"):
            value = body.get(key)
            if isinstance(value, str) and value.strip():
                return plain_text(value)
        return ""
    return plain_text(raw)


def field_hints(message: str) -> dict[str, str]:
    """Split a joined validation message by the field that each part names; parts naming none are left out."""
    hints: dict[str, str] = {}
    for part in message.split(", "):
        lowered = part.casefold()
        for beginning, field in _FIELDS.items():
            if lowered.startswith(beginning) and not lowered[len(beginning) : len(beginning) + 1].isalpha():
                hints[field] = f"{hints[field]}, {part}" if field in hints else part
                break
    return hints
