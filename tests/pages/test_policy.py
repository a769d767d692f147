"""The Content-Security-Policy of answers: that of the settings, or with what one of them needs besides."""

from __future__ import annotations

from typing import Any

import pytest
from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse

from config.headers import PolicyMiddleware

NAME = "Content-Security-Policy"


def policy(middleware: type[CSPMiddleware], response: HttpResponse) -> set[str] | None:
    """The directives that an answer leaves with; None without any policy."""
    answer = middleware(lambda _: response)(HttpRequest())
    return set(answer.headers[NAME].split("; ")) if NAME in answer.headers else None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (None, None),
        ("_csp_update", {"form-action": ["https://elsewhere.test"]}),
        ("_csp_replace", {"img-src": ["https://elsewhere.test"]}),
        ("_csp_config", {"default-src": ["'self'"]}),
        ("_csp_exempt", True),
        ("header", "default-src 'self'"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_policy_is_as_django_csp_has_it(
    attribute: str | None, value: Any, debug: bool, status: int, settings: Any
) -> None:
    settings.DEBUG = debug

    def response() -> HttpResponse:
        made = HttpResponse(status=status)
        if attribute == "header":
            made.headers[NAME] = value
        elif attribute:
            setattr(made, attribute, value)
        return made

    assert policy(PolicyMiddleware, response()) == policy(CSPMiddleware, response())


def test_what_one_answer_needs_is_not_in_the_next() -> None:
    answers = [HttpResponse(), HttpResponse(), HttpResponse()]
    answers[1]._csp_update = {"form-action": ["https://elsewhere.test"]}  # type: ignore[attr-defined]
    middleware = PolicyMiddleware(lambda _: answers.pop(0))
    first, second, third = (middleware(HttpRequest()).headers[NAME] for _ in range(3))
    assert "elsewhere.test" in second
    assert first == third
    assert "elsewhere.test" not in first
