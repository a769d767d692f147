"""The environment, read once.

Every setting comes from an environment variable. While `make run` is up it keeps its own choices (ports, passwords)
in `.timebridge/env`, so that `manage.py COMMAND` in the same checkout reaches the same servers; a variable that is
set wins over that file.
"""

from __future__ import annotations

import os
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("TIMEBRIDGE_STATE", BASE_DIR / ".timebridge"))

env = environ.Env()


def read_state_file() -> None:
    """Take what a running `make run` says of itself, where the environment is silent."""
    state = STATE_DIR / "env"
    if state.is_file():
        environ.Env.read_env(str(state), overwrite=False)


read_state_file()

ENVIRONMENT: str = env.str("TIMEBRIDGE_ENV", "development")
if ENVIRONMENT not in {"development", "production"}:
    raise environ.ImproperlyConfigured("TIMEBRIDGE_ENV must be 'development' or 'production'.")
PRODUCTION = ENVIRONMENT == "production"


def secret(name: str, development_default: str) -> str:
    """A secret from the environment; production refuses to start without one of its own."""
    value: str = env.str(name, "")
    if value and not (PRODUCTION and value == development_default):
        return value
    if PRODUCTION:
        raise environ.ImproperlyConfigured(f"Set {name} in the environment to a secret of your own.")
    return development_default
