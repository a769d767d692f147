"""Reading JSON bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class JSONParser(BaseParser):
    """JSON in UTF-8 (RFC 8259: whatever charset is claimed), of the size Django allows, in any shape but no depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {})["request"]._request
        raw: bytes = (
            request.body
        )  # not the stream: this refuses what is larger than DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            return json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        except ValueError as error:  # malformed, not UTF-8, or a number of thousands of digits
            raise ParseError("The body is not valid JSON.") from error
