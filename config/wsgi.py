"""What a web server runs: `gunicorn config.wsgi:application`."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.urls import get_resolver
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Utf8Request(WSGIRequest):
    """Everything is UTF-8. Django lets the client's charset decide how its address is read, and fails on some."""

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class Utf8Handler(WSGIHandler):
    request_class = Utf8Request


django.setup(set_prefix=False)
application = Utf8Handler()
get_resolver().url_patterns  # noqa: B018 - loads every view, before the first request
# What is there by now stays: the garbage collector need not walk over it again and again, amid answers.
gc.collect()
gc.freeze()
