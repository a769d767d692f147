"""What every answer says to browsers, and what is not answered at all."""

from __future__ import annotations

from collections.abc import Callable

from csp.constants import HEADER
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed

from accounts.rest.problems import problem_response

UNUSED = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media", "geolocation",
    "gyroscope", "magnetometer", "microphone", "midi", "payment", "screen-wake-lock", "serial", "usb",
    "xr-spatial-tracking",
)  # fmt: skip
PERMISSIONS_POLICY = ", ".join(
    [
        *(f"{name}=()" for name in UNUSED),
        "clipboard-write=(self)",
        "fullscreen=(self)",
        "publickey-credentials-create=(self)",
        "publickey-credentials-get=(self)",
    ]
)


class PolicyMiddleware(CSPMiddleware):
    """django-csp's Content-Security-Policy. It puts one together for each answer; that of the settings, which nearly
    every answer has, is put together once here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.policy = build_policy()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        own = self.get_policy_parts(request, response) != PolicyParts() or getattr(
            response, "_csp_exempt", False
        )
        if own or settings.DEBUG:
            answer: HttpResponseBase = super().process_response(request, response)
            return answer
        response.headers.setdefault(HEADER, self.policy)
        return response


class HeadersMiddleware:
    """No device of a person is asked for, no other site embeds an answer, and none is kept unless it says so itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = refusal(request) or self.get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def refusal(request: HttpRequest) -> HttpResponseBase | None:
    """The answer to what no view is asked about: TRACE; and plain HTTP to the API, where production has TLS.

    Pages are redirected to TLS instead; a program that followed would go on sending its key in clear.
    """
    if request.method == "TRACE":
        return HttpResponseNotAllowed(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
    if settings.SECURE_SSL_REDIRECT and not request.is_secure() and request.path.startswith("/api/v1/"):
        detail = "The API is served by https alone. A key that was sent in clear should be revoked."
        return problem_response(403, "tls-required", detail)
    return None


class NoticeCookie(CookieStorage):
    """Notices for the next page, in a cookie that production holds to this very host and to TLS."""

    cookie_name = "__Host-messages" if settings.SESSION_COOKIE_SECURE else "messages"


class NoticeStorage(FallbackStorage):
    """As Django has it: in a cookie, and what is too long for one in the session."""

    storage_classes = (NoticeCookie, SessionStorage)
