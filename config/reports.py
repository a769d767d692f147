"""What an error report shows: names and places, never secrets.

Django hides what views mark as sensitive, and only with DEBUG off. This hides by name, always: variables, settings and
form fields that are called a token, secret, key, password or the like, and whatever is in the frames of the libraries
that carry tokens over the wire.
"""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

CARRIERS = ("authlib", "requests", "urllib3", "httpx", "httpcore", "http", "h11", "cryptography")


class ReportFilter(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        r"API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|COOKIE|CREDENTIAL|_URL$",
        flags=re.IGNORECASE,
    )
    hidden_names = re.compile(
        r"token|secret|passw|credential|signature|cookie|cipher|fernet|^key$|_key$|^keys$|^code$|^state$|auth|header|body",
        flags=re.IGNORECASE,
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        if request is None:
            return {}
        return {
            name: self.cleansed_substitute if self.hidden_names.search(name) else value
            for name, value in super().get_post_parameters(request).items()
        }

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> Any:
        if str(tb_frame.f_globals.get("__name__", "")).partition(".")[0] in CARRIERS:
            return [("…", self.cleansed_substitute)]
        return [
            (name, self.cleansed_substitute if self.hidden_names.search(name) else value)
            for name, value in super().get_traceback_frame_variables(request, tb_frame)
        ]
