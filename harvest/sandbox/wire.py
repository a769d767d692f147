"""How values look on Harvest's wire: casts for what comes in, forms for what goes out, errors, pages.

Source: Harvest API v2, Overview and Pagination pages, and recorded answers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

Json = Any
Row = dict[str, Any]

MAX_PER_PAGE = 2000
INVALID_TOKEN = "The access token provided is expired, revoked, malformed or invalid for other reasons."  # noqa: S105


@dataclass(slots=True)
class Reply:
    """One answer, before faults: a status, a body already encoded, and headers."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """Ends a request with Harvest's own error answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status} {reply.body[:200]!r}")
        self.reply = reply


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=float)


def encode(value: Json) -> bytes:
    """Compact UTF-8 JSON; Decimals become JSON numbers."""
    return _ENCODER.encode(value).encode()


def ok(value: Json, status: int = 200) -> Reply:
    return Reply(status, encode(value))


def refused(message: str) -> ApiError:
    """422: every validation failure and broken rule, in one string."""
    # The rule's own text may hold HTML and non-Latin names; the Hint header can carry Latin-1 only.
    hint = message.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
    return ApiError(Reply(422, encode({"message": message}), headers={"Hint": hint}))


def forbidden() -> ApiError:
    return ApiError(Reply(403, encode({"message": "Not authorized!"}), headers={"Hint": "Not authorized!"}))


def not_found() -> ApiError:
    return ApiError(Reply(404, encode({"status": 404, "error": "Not Found"})))


def unroutable() -> ApiError:
    page = b"<!DOCTYPE html><html><head><title>HARVEST: Can't find page</title></head><body></body></html>"
    return ApiError(Reply(404, page, "text/html; charset=utf-8"))


def invalid_token() -> ApiError:
    challenge = (
        'Bearer realm="Rack::OAuth2 Protected Resources", error="invalid_token", '
        f'error_description="{INVALID_TOKEN}"'
    )
    body = encode({"error": "invalid_token", "error_description": INVALID_TOKEN})
    return ApiError(Reply(401, body, "application/json", {"WWW-Authenticate": challenge}))


def no_user_agent() -> ApiError:
    message = "You must include a User-Agent header with the name of your app and a way to reach you."
    return ApiError(Reply(400, encode({"message": message})))


# --- what comes in ---


def integer(value: Any) -> int:
    """Numbers are accepted as strings too ("6"), as in recorded traffic."""
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}", text(value).strip()):
        raise ValueError(value)
    return int(value)


def integers(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(value)
    return [integer(item) for item in value]


def boolean(value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise ValueError(value) from None


def decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise ValueError(value)
    try:
        number = Decimal(text(value).strip())
    except InvalidOperation:
        raise ValueError(value) from None
    if not number.is_finite():
        raise ValueError(value)
    return number


def text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError(value)
    return str(value).encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent back


def anything(value: Any) -> Any:
    return value


def day(value: Any) -> date:
    """A date; a date-time string is cut to its date, as in recorded traffic."""
    if isinstance(value, date):
        return value
    return date.fromisoformat(text(value).strip()[:10])


def instant(value: Any) -> int:
    """A moment as epoch seconds: ISO 8601 with any offset (none is UTC), or a bare date."""
    if isinstance(value, int):
        return value
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(text(value).strip())
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def hundredths(value: Any) -> int:
    """Hours as a count of 0.01 h, rounded half-up: Harvest keeps two decimals."""
    return int((decimal(value) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def minutes(value: Any) -> int:
    """A wall-clock time ("2:59pm" or "14:59") as minutes since midnight."""
    found = re.fullmatch(r"\s*(\d{1,2})(?::(\d{2}))?\s*([ap]m)?\s*", text(value).lower())
    if not found:
        raise ValueError(value)
    hour, minute, half = int(found[1]), int(found[2] or 0), found[3]
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(value)
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59:
        raise ValueError(value)
    return hour * 60 + minute


# --- what goes out ---

_EPOCH = date(1970, 1, 1)


@lru_cache(maxsize=16384)
def _day_of(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).isoformat()


def stamp(seconds: int) -> str:
    """Epoch seconds as Harvest's date-time: UTC, whole seconds."""
    days, rest = divmod(seconds, 86400)
    return f"{_day_of(days)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def clock_time(minute_of_day: int, clock: str) -> str:
    """Minutes since midnight in the account's clock style, `12h` or `24h`."""
    hour, minute = divmod(minute_of_day, 60)
    if clock == "24h":
        return f"{hour:02}:{minute:02}"
    return f"{hour % 12 or 12}:{minute:02}{'am' if hour < 12 else 'pm'}"


# --- pages ---


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The paging part of a list request. `cursor` wins over `page` where both are sent."""

    base: str  # address of the list, without its query
    filters: Mapping[str, str]
    per_page: int
    page: int
    cursor: tuple[str, int] | None = None  # ("after" | "before", id)

    @classmethod
    def read(cls, base: str, query: Mapping[str, str], *, cursors: bool) -> PageRequest:
        """Raises ApiError 422 for a per_page outside 1..2000, a page below 1 or an unreadable cursor."""
        hidden = {"page", "per_page", "cursor", "ref", "access_token", "account_id"}
        filters = {key: value for key, value in query.items() if key not in hidden}
        try:
            per_page, page = integer(query.get("per_page", MAX_PER_PAGE)), integer(query.get("page", 1))
        except ValueError:
            raise refused("page and per_page must be whole numbers") from None
        if not 1 <= per_page <= MAX_PER_PAGE:
            raise refused(f"per_page must be between 1 and {MAX_PER_PAGE}")
        if page < 1:
            raise refused("page must be at least 1")
        cursor = _read_cursor(query["cursor"]) if cursors and query.get("cursor") else None
        return cls(base, filters, per_page, page, cursor)

    def link(self, ref: str, **where: str | int) -> str:
        query = {**self.filters, "per_page": self.per_page, "ref": ref, **where}
        return f"{self.base}?{urlencode(sorted(query.items()))}"


def cursor_of(direction: str, row_id: int) -> str:
    return base64.urlsafe_b64encode(encode({direction: {"id": row_id}})).decode()


def _read_cursor(value: str) -> tuple[str, int]:
    try:
        ((direction, row),) = json.loads(base64.urlsafe_b64decode(value)).items()
        if direction not in {"after", "before"}:
            raise ValueError(direction)
        return direction, integer(row["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise refused("cursor is invalid") from None


def numbered_page(ask: PageRequest, total: int) -> tuple[slice, Row]:
    """The slice of a list to send, and the envelope around it, in the page-based style."""
    pages = max(1, -(-total // ask.per_page))
    start = (ask.page - 1) * ask.per_page
    following = ask.page + 1 if ask.page < pages else None
    preceding = ask.page - 1 if ask.page > 1 else None
    envelope = {
        "per_page": ask.per_page,
        "total_pages": pages,
        "total_entries": total,
        "next_page": following,
        "previous_page": preceding,
        "page": ask.page,
        "links": {
            "first": ask.link("first", page=1),
            "next": ask.link("next", page=following) if following else None,
            "previous": ask.link("previous", page=preceding) if preceding else None,
            "last": ask.link("last", page=pages),
        },
    }
    return slice(start, start + ask.per_page), envelope


def cursor_page(ask: PageRequest, ids: Sequence[int]) -> tuple[slice, Row]:
    """As `numbered_page`, for ids in descending order, in the cursor style.

    Middle pages have null page numbers: a loop that walks `next_page` ends early there, as in Harvest.
    A `page` parameter still works (deprecated) and then numbers its page.
    """
    if ask.cursor is None:
        window, envelope = numbered_page(ask, len(ids))
    else:
        direction, at = ask.cursor
        if direction == "after":
            start = next((index for index, row_id in enumerate(ids) if row_id < at), len(ids))
        else:
            end = next((index for index, row_id in enumerate(ids) if row_id <= at), len(ids))
            start = max(0, end - ask.per_page)
        window = slice(start, start + ask.per_page)
        _, envelope = numbered_page(ask, len(ids))
        first, last = start == 0, start + ask.per_page >= len(ids)
        pages = envelope["total_pages"]
        number = 1 if first else pages if last else None
        envelope["page"] = number
        envelope["next_page"] = 2 if first and not last else None
        envelope["previous_page"] = pages - 1 if last and not first else None
    shown = ids[window]
    more, earlier = window.start + ask.per_page < len(ids), window.start > 0 and bool(shown)
    links = envelope["links"]
    links["next"] = ask.link("next_cursor", cursor=cursor_of("after", shown[-1])) if more and shown else None
    links["previous"] = ask.link("previous_cursor", cursor=cursor_of("before", shown[0])) if earlier else None
    return window, envelope


def cast_fields(
    values: Mapping[str, Any], casts: Mapping[str, Callable[[Any], Any]], problems: list[str]
) -> dict[str, Any]:
    """The known keys of a body, cast; null and "" become None. Unknown keys are ignored, as Harvest does."""
    found: dict[str, Any] = {}
    for key, cast in casts.items():
        if key not in values:
            continue
        value = values[key]
        if value is None or value == "":
            found[key] = None
            continue
        try:
            found[key] = cast(value)
        except (ValueError, TypeError):
            problems.append(
                f"Invalid {key} {value}" if cast in (day, instant) else f"{human(key)} is not valid"
            )
    return found


def human(key: str) -> str:
    """`spent_date` as in Harvest's messages: "Spent date"; `project_id`: "Project"."""
    return key.removesuffix("_id").replace("_", " ").capitalize()
