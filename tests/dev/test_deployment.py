"""The Dockerfile, the compose file and what belongs to them: as far as that goes without an engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
import yaml
from django.conf import settings

from config.supply import NOTES, read
from config.vault import KINDS, files
from dev.state import CHECKOUT

APPLICATION = ("web", "worker", "beat", "migrate")
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
    """The environment that the application gets, whichever process of it."""
    return {
        name: value for one in APPLICATION for name, value in compose["services"][one]["environment"].items()
    }


def test_example_names_each_variable_of_the_compose_file(compose: dict[str, Any]) -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text()
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?", text))
    defaulted = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):-", text))
    optional = defaulted | {name for name, value in passed_on(compose).items() if value is None}
    assert example(r"^([A-Z_]+)=$") == required
    chosen = {"REQUIRE_SECOND_FACTOR", "PWNED_PASSWORDS_URL"}  # left to each operator, and so proposed
    assert example(r"^([A-Z_]+)=.") == chosen
    assert example(r"^#([A-Z_]+)=") == optional - chosen
    assert required == {"BASE_URL", "ALLOWED_HOSTS", "LOG_URL"}
    assert not re.search(r"\w*(PASSWORD|SECRET|KEYS?)\b", " ".join(required | optional)), "secrets are files"


def test_settings_read_each_variable_that_the_application_gets(compose: dict[str, Any]) -> None:
    read = set()
    for path in (CHECKOUT / "config").glob("*.py"):
        read |= set(re.findall(r'\(\s*"([A-Z_]+)"', path.read_text()))
    given = {name.removesuffix("_FILE") for name in passed_on(compose)}
    assert given - read == {"WEB_CONCURRENCY"}, "gunicorn reads that one"


def test_each_process_gets_the_secrets_that_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    inside = {"field_keys", "email_url", "harvest_client_secret"}
    all_ = inside | {"secret_key", "secret_key_fallbacks"}
    assert {name: set(one.get("secrets", [])) for name, one in services.items()} == {
        "web": all_,
        "worker": inside,
        "beat": set(),
        "migrate": set(),
        "certificates": set(),
        "proxy": set(),
        "postgres": set(),
        "redis": set(),
    }
    # What the vault opens, and a place in memory that a container sees by these names alone.
    assert all_ == set(files({name: [{"value": ""}] for name in KINDS}))
    assert {name: one["file"] for name, one in compose["secrets"].items()} == {
        name: f"${{SECRETS_DIR:-/run/timebridge}}/{name}" for name in all_
    }
    for one in services.values():
        assert not re.search(r"SECRETS_DIR|timebridge/|vault", str(one.get("volumes")))
    for service in services.values():
        given = {key: value for key, value in service.get("environment", {}).items() if key.endswith("_FILE")}
        assert given == {f"{one.upper()}_FILE": f"/run/secrets/{one}" for one in service.get("secrets", [])}
    for name in ("web", "worker", "beat", "migrate"):
        assert services[name]["environment"]["TIMEBRIDGE_PROCESS"] == name
    # Each its own key, which nobody else sees but who makes them.
    mounts = {name: [str(one) for one in service.get("volumes", [])] for name, service in services.items()}
    for name in ("web", "worker", "beat", "migrate", "postgres", "redis"):
        holders = {who for who, all_ in mounts.items() if any(one.startswith(f"tls-{name}:") for one in all_)}
        assert holders == {name, "certificates"}
        assert f"tls-{name}:/tls:ro" in mounts[name]


def test_data_is_asked_from_inside_alone_and_people_come_by_the_proxy(compose: dict[str, Any]) -> None:
    services, networks = compose["services"], compose["networks"]
    assert [name for name, one in networks.items() if not (one or {}).get("internal")] == ["out"]
    reach = {name: set(one.get("networks", [])) for name, one in services.items()}
    assert reach == {
        "proxy": {"front", "out"},
        "web": {"front", "inside", "out"},
        "worker": {"inside", "out"},
        "beat": {"inside", "out"},
        "migrate": {"inside"},
        "postgres": {"inside"},
        "redis": {"inside"},
        "certificates": set(),
    }
    assert services["certificates"]["network_mode"] == "none"
    assert {name: one["ports"] for name, one in services.items() if "ports" in one} == {
        "proxy": ["80:80", "443:443"]
    }


def test_every_connection_inside_is_by_tls_and_certificate(compose: dict[str, Any]) -> None:
    mounted = "/tls/certificate.pem", "/tls/key.pem", "/tls/authority.pem"
    for name in APPLICATION:
        given = compose["services"][name]["environment"]
        assert "sslmode=verify-full" in given["DATABASE_URL"]
        assert given["REDIS_URL"].startswith(
            "rediss://redis:6379/0?ssl_cert_reqs=required&ssl_check_hostname=true"
        )
        assert all(one in given["DATABASE_URL"] and one in given["REDIS_URL"] for one in mounted)
        assert "@postgres" in given["DATABASE_URL"]
        assert ":@" not in given["DATABASE_URL"], "no password"
    web = compose["services"]["web"]["command"]
    assert {"--certfile=/tls/certificate.pem", "--keyfile=/tls/key.pem"} <= set(web)
    rules = [line.split() for line in lines_of("docker/pg_hba.conf")]
    assert [rule[0] for rule in rules] == ["local", "hostssl"]
    assert rules[1][4:] == ["cert", "map=processes"]
    redis = dict(line.split(maxsplit=1) for line in lines_of("docker/redis.conf"))
    assert (redis["port"], redis["tls-auth-clients"], redis["tls-ca-cert-file"]) == ("0", "yes", mounted[2])
    assert redis["tls-protocols"] == '"TLSv1.2 TLSv1.3"'
    proxy = (CHECKOUT / "docker/Caddyfile").read_text()
    for word in (
        "protocols tls1.2 tls1.3",
        "reverse_proxy https://web:8000",
        "tls_trust_pool file /data/authority.pem",
    ):
        assert word in proxy
    assert "insecure" not in proxy
    ciphers = re.search(r"ciphers (.*)", proxy)
    assert ciphers
    assert all(re.fullmatch(r"TLS_ECDHE_\w+_(GCM|POLY1305)_SHA\d+", one) for one in ciphers[1].split())


def lines_of(path: str) -> list[str]:
    return [line for line in (CHECKOUT / path).read_text().splitlines() if line and not line.startswith("#")]


def test_secrets_are_in_no_image_and_no_commit() -> None:
    """Sealed or not. That the source has none either: what production has as a default, it refuses to start with."""
    allowed = set(re.findall(r"^!(.+)", (CHECKOUT / ".dockerignore").read_text(), re.MULTILINE))
    assert not {"vault", "secrets", ".env", "docker"} & {one.partition("/")[0] for one in allowed}
    assert {"/vault/", "/secrets/"} <= set((CHECKOUT / ".gitignore").read_text().splitlines())
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    assert not re.search(r"^(ARG|.*--mount=type=secret)", dockerfile, re.MULTILINE)
    assert set(re.findall(r"(?:SECRET|KEY|PASSWORD|TOKEN)\w*=(\S*)", dockerfile)) == {"unused"}


@pytest.mark.parametrize(
    ("process", "keys"), [("beat", ""), ("migrate", ""), ("worker", PRODUCTION["FIELD_KEYS"])]
)
def test_who_needs_no_secret_starts_without(process: str, keys: str) -> None:
    """What is signed and checked is so by the web alone; who tells the time and changes tables opens nothing either."""
    without = {"SECRET_KEY": "", "FIELD_KEYS": keys, "TIMEBRIDGE_PROCESS": process}
    done = in_production("migrate", "--plan", **without)
    assert done.returncode == 0, done.stderr
    show = "from django.conf import settings; print(settings.FIELD_KEYS, len(settings.SECRET_KEY))"
    done = in_production("shell", "-c", show, **without)
    assert done.stdout.split("\n")[-2] == f"{[keys] if keys else []} 86", done.stderr


@pytest.mark.parametrize(
    ("process", "missing"), [("web", "SECRET_KEY"), ("web", "FIELD_KEYS"), ("worker", "FIELD_KEYS")]
)
def test_who_needs_one_does_not_start_without(process: str, missing: str) -> None:
    done = in_production("check", TIMEBRIDGE_PROCESS=process, **{missing: ""})
    assert done.returncode != 0
    assert f"Set {missing} in the environment" in done.stderr


def test_every_process_of_the_application_is_there_and_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    once = {"migrate", "certificates"}
    assert services.keys() == {"proxy", "web", "worker", "beat", "postgres", "redis"} | once
    assert all("healthcheck" in services[name] for name in services.keys() - once)
    assert {name for name in services if services[name]["restart"] == "no"} == once
    assert {one["restart"] for one in services.values()} == {"unless-stopped", "no"}
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        # Ours runs as its Dockerfile says; the others' images would begin as root.
        assert ("build" in one) != bool(one.get("user")), name


def test_image_holds_every_package_of_the_application() -> None:
    allowed = set(re.findall(r"^!([^/\n]+)", (CHECKOUT / ".dockerignore").read_text(), re.MULTILINE))
    apps = {name.partition(".")[0] for name in [*settings.INSTALLED_APPS, settings.ROOT_URLCONF]}
    ours = {name for name in apps if (CHECKOUT / name).is_dir()}
    assert {"config", "accounts", "harvest"} <= ours
    assert ours <= allowed
    assert not {"tests", "dev", ".git", ".timebridge"} & allowed


# As `manage.py` would on another day, for what goes by the calendar.
ON_A_DAY = (
    "import os, sys, time_machine;"
    "os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings';"
    "from django.core.management import execute_from_command_line as run;"
    "time_machine.travel(sys.argv[1]).start();"
    "run(['manage.py', *sys.argv[2:]])"
)


def in_production(
    *arguments: str, day: date | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "TIMEBRIDGE_STATE": "/nonexistent"} | PRODUCTION | changes
    environment = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")} | environment
    command = [sys.executable, *(["-c", ON_A_DAY, str(day)] if day else ["manage.py"]), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)


def test_production_passes_the_deployment_checks() -> None:
    """On the day that the packages were last looked through: no test fails as days go by."""
    day = read(NOTES.read_text()).looked_through
    done = in_production("check", "--deploy", "--fail-level", "WARNING", day=day)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "FIELD_KEYS"])
def test_production_refuses_to_start_without_its_secrets(name: str) -> None:
    done = in_production("check", **{name: ""})
    assert done.returncode != 0
    assert f"Set {name} in the environment" in done.stderr


def test_static_files_can_be_collected_as_in_the_image() -> None:
    """All but scripts that no page names, which would be components to look after."""
    told = re.search(
        r"collectstatic --no-input((?:\s|\\\n|--ignore \S+)+)", (CHECKOUT / "Dockerfile").read_text()
    )
    assert told
    done = in_production(
        "collectstatic", "--no-input", "--dry-run", "-v2", *told[1].replace("\\", "").split()
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ static files? copied", done.stdout)
    for there in ("/swagger-ui-dist/swagger-ui-bundle.js", "/htmx-2.min.js", "/app.js"):
        assert there in done.stdout
    assert not re.search("jquery|bootstrap|redoc", done.stdout)


def test_locks_pin_every_package_by_hash_and_name_no_index() -> None:
    for path in sorted((CHECKOUT / "requirements").glob("*.txt")):
        text = path.read_text()
        pins = re.findall(
            r"^[a-z0-9][^\s=]*==\S+.*?\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, re.MULTILINE
        )
        assert len(pins) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 50
        assert "://" not in text
