"""The Dockerfile, the compose file and what belongs to them: as far as that goes without an engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import psycopg
import pytest
import yaml
from django.conf import settings

from dev.services import Services, postgres_binaries, server_account
from dev.state import CHECKOUT

PRODUCTION = {
    "TIMEBRIDGE_ENV": "production",
    "SECRET_KEY": "a-secret-of-production-that-is-long-enough-and-has-many-different-characters-0123456789",
    "FIELD_KEYS": "YSBrZXkgb2YgcHJvZHVjdGlvbiwgMzIgYnl0ZXMhISE=",
    "BASE_URL": "https://time.example.com",
    "ALLOWED_HOSTS": "time.example.com",
}


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())


def example(pattern: str) -> set[str]:
    return set(re.findall(pattern, (CHECKOUT / ".env.example").read_text(), re.MULTILINE))


def passed_on(compose: dict[str, Any]) -> dict[str, str | None]:
    """The environment that the application gets."""
    return compose["x-app"]["environment"]


def test_example_names_each_variable_of_the_compose_file(compose: dict[str, Any]) -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text()
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?", text))
    defaulted = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):-", text))
    optional = defaulted | {name for name, value in passed_on(compose).items() if value is None}
    assert example(r"^([A-Z_]+)=$") == required
    assert example(r"^#([A-Z_]+)=") == optional
    assert {
        "SECRET_KEY",
        "FIELD_KEYS",
        "POSTGRES_PASSWORD",
        "DATABASE_PASSWORD",
        "REDIS_PASSWORD",
    } <= required


def test_settings_read_each_variable_that_the_application_gets(compose: dict[str, Any]) -> None:
    read = set()
    for path in (CHECKOUT / "config").glob("*.py"):
        read |= set(re.findall(r'\(\s*"([A-Z_]+)"', path.read_text()))
    assert passed_on(compose).keys() - read == {"WEB_CONCURRENCY"}, "gunicorn reads that one"


def test_every_process_of_the_application_is_there_and_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services.keys() == {"web", "worker", "beat", "migrate", "postgres", "redis"}
    assert all("healthcheck" in services[name] for name in services.keys() - {"migrate"})
    assert {services[name]["restart"] for name in services} == {"unless-stopped", "no"}
    assert services["migrate"]["restart"] == "no"


def test_image_holds_every_package_of_the_application() -> None:
    allowed = set(re.findall(r"^!([^/\n]+)", (CHECKOUT / ".dockerignore").read_text(), re.MULTILINE))
    apps = {name.partition(".")[0] for name in [*settings.INSTALLED_APPS, settings.ROOT_URLCONF]}
    ours = {name for name in apps if (CHECKOUT / name).is_dir()}
    assert {"config", "accounts", "harvest"} <= ours
    assert ours <= allowed
    assert not {"tests", "dev", ".git", ".timebridge"} & allowed


def test_role_of_a_new_server(own_services: Services) -> None:
    """The script of the postgres container, against a server that has no such role yet."""
    assert own_services.postgres is not None
    admin = own_services.postgres.admin_url
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE timebridge")
        connection.execute("DROP ROLE timebridge")
    parts = psycopg.conninfo.conninfo_to_dict(admin)
    environment = {
        "PATH": f"{postgres_binaries(server_account())}:{os.environ['PATH']}",
        "POSTGRES_USER": "postgres",
        "PGHOST": str(parts["host"]),
        "PGPORT": str(parts["port"]),
        "PGPASSWORD": str(parts["password"]),
        "DATABASE_PASSWORD": "it's a $ecret",
    }
    subprocess.run(["sh", CHECKOUT / "docker/postgres-role.sh"], env=environment, check=True)
    application = psycopg.conninfo.make_conninfo(
        admin, user="timebridge", password="it's a $ecret", dbname="timebridge"
    )
    with psycopg.connect(application) as connection:
        rights = "rolsuper, rolbypassrls, rolcreatedb, rolcreaterole"
        found = connection.execute(f"SELECT {rights} FROM pg_roles WHERE rolname = current_user").fetchone()
        assert found == (False, False, False, False)
        connection.execute("CREATE TABLE mine (id int)")


def in_production(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "TIMEBRIDGE_STATE": "/nonexistent"} | PRODUCTION | changes
    environment |= {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)


def test_production_passes_the_deployment_checks() -> None:
    done = in_production("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "FIELD_KEYS"])
def test_production_refuses_to_start_without_its_secrets(name: str) -> None:
    done = in_production("check", **{name: ""})
    assert done.returncode != 0
    assert f"Set {name} in the environment" in done.stderr


def test_static_files_can_be_collected_as_in_the_image() -> None:
    done = in_production("collectstatic", "--no-input", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ static files? copied", done.stdout)


def test_locks_pin_every_package_by_hash_and_name_no_index() -> None:
    for path in sorted((CHECKOUT / "requirements").glob("*.txt")):
        text = path.read_text()
        pins = re.findall(
            r"^[a-z0-9][^\s=]*==\S+.*?\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, re.MULTILINE
        )
        assert len(pins) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 50
        assert "://" not in text
