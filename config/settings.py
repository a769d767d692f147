"""Django's settings. Every value that differs between machines comes from the environment (`config/env.py`)."""

from __future__ import annotations

from celery.schedules import crontab
from csp.constants import NONE, SELF
from kombu import Queue

from config.env import BASE_DIR, PRODUCTION, STATE_DIR, encrypted, env, host_of, secret
from config.logs import FORMAT

# --- Core ------------------------------------------------------------------------------------------------------------
DEBUG: bool = env.bool("DEBUG", False)
SECRET_KEY = secret("SECRET_KEY", "development-only-secret-key-that-production-refuses-to-start-with")
# Those before it, newest first: what they signed is still good, and nothing is signed by them.
SECRET_KEY_FALLBACKS: list[str] = [one for one in env.str("SECRET_KEY_FALLBACKS", "").split(",") if one]
# Newest first: fields are written with the first key and read with any of them.
FIELD_KEYS: list[str] = [
    key.strip()
    for key in secret("FIELD_KEYS", "ZGV2ZWxvcG1lbnQtb25seS1maWVsZC1rZXktMDAwMDE=").split(",")
    if key.strip()
]
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PORT: int = env.int("PORT", 8000)
BASE_URL: str = env.str("BASE_URL", f"http://localhost:{PORT}").rstrip("/")
DEMO: bool = env.bool("DEMO", False)

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
# A page of mapping tables sends every row where there is no JavaScript.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 25_000
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "config.apps.ConfigConfig",
    "harvest",
    "integrations",
    "inbound",
    "settlement",
    "timelogs",
    "clients",
    "accounts",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.headers.PolicyMiddleware",
    "config.headers.HeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.signed_in.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sessions.LastSeenMiddleware",
    # Last of those that look at a view: it runs the view inside the workspace's scope.
    "accounts.middleware.WorkspaceMiddleware",
    # Inside it, as it counts by the API key that was found.
    "accounts.rest.throttling.ThrottleMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.frame",
            ],
            "builtins": ["accounts.templatetags.ui"],
        },
    },
]

# A notice's level as the tone of its colours.
MESSAGE_TAGS = {10: "", 20: "", 25: "good", 30: "warn", 40: "bad"}

# --- Database, cache, broker -----------------------------------------------------------------------------------------
DATABASE_URL = encrypted(
    "DATABASE_URL", env.str("DATABASE_URL", "postgres://timebridge@127.0.0.1:5432/timebridge")
)
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"]["ENGINE"] = "django.db.backends.postgresql"
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", 60)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

REDIS_URL = encrypted("REDIS_URL", env.str("REDIS_URL", "redis://127.0.0.1:6379/0"))
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

CELERY_BROKER_URL = REDIS_URL
CELERY_RESULT_BACKEND = None  # outcomes are rows in the database, never results in the broker
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = env.str("CELERY_QUEUE", "timebridge")
# Nights, and readings in between, wait in a line of their own. Workers take from both in turn: what a person waits for,
# and the sweeps, do not stand behind hundreds of those.
BACKGROUND_QUEUE = f"{CELERY_TASK_DEFAULT_QUEUE}-background"
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in (CELERY_TASK_DEFAULT_QUEUE, BACKGROUND_QUEUE)]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 600}
# A web request does not wait for a broker that is away: the sweep finds what it could not be told.
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0.1,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
CELERY_TIMEZONE = "UTC"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BEAT_SCHEDULE = {
    "sweep-runs": {"task": "harvest.tasks.sweep_runs", "schedule": 5.0, "options": {"expires": 5}},
    "harvest-nightly": {"task": "harvest.tasks.harvest_nightly", "schedule": crontab(minute="0", hour="2")},
    # It carries the night on, and makes one up that beat was away for.
    "sweep-nights": {"task": "harvest.tasks.harvest_nightly", "schedule": 10.0, "options": {"expires": 10}},
    # Connections that go both ways, each when it is due.
    "read-changes": {"task": "harvest.tasks.read_changes", "schedule": 10.0, "options": {"expires": 10}},
    # What no worker was told of in time, and what was put off.
    "sweep-pushes": {"task": "harvest.tasks.sweep_pushes", "schedule": 3.0, "options": {"expires": 3}},
    "sweep-data": {"task": "accounts.tasks.sweep", "schedule": 60.0, "options": {"expires": 60}},
    # Budgets whose time has changed; once a day all of them, for periods that begin with time logged ahead.
    "sweep-budgets": {"task": "settlement.tasks.sweep_budgets", "schedule": 5.0, "options": {"expires": 5}},
    "budgets-daily": {"task": "settlement.tasks.look_at_budgets", "schedule": crontab(minute="20", hour="4")},
    "packages-daily": {"task": "config.tasks.look_at_packages", "schedule": crontab(minute="40", hour="4")},
    "sweep-tokens": {"task": "harvest.tasks.sweep_tokens", "schedule": 60.0, "options": {"expires": 60}},
}
CELERY_BEAT_SCHEDULE_FILENAME = env.str("CELERY_BEAT_SCHEDULE_FILE", "celerybeat-schedule")

# --- Signing in ------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.signed_in.AuthenticationBackend"]
SESSION_ENGINE = "accounts.signed_in"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CHANGE_EMAIL = True  # one address a person; a new one counts once it is confirmed
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of each change to how one signs in
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 600
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]  # no codes by mail, which are no second factor either
# Wrong passwords: by address, and by account and address together (accounts.adapter says why); by account alone only
# where an attack comes from many addresses, and then not for a browser that has signed in to it before.
ACCOUNT_RATE_LIMITS = {
    "login_failed": "10/m/ip,5/5m/key",
    "login_failed_account": "100/h/key",
    "mail_key": "60/m/ip",  # keys of mail that are sent back: far more than an office is invited in a minute
}
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if env.bool("BEHIND_PROXY", False) else 0
MFA_ADAPTER = "accounts.second_factor.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "accounts.factor_forms.CodeForm",
    "reauthenticate": "accounts.factor_forms.ReauthenticateCodeForm",
    "login_webauthn": "accounts.factor_forms.LoginForm",
    "authenticate_webauthn": "accounts.factor_forms.AuthenticateForm",
    "reauthenticate_webauthn": "accounts.factor_forms.ReauthenticateForm",
    "add_webauthn": "accounts.factor_forms.AddForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Timebridge"
MFA_TOTP_TOLERANCE = 0  # half a minute, as long as the app shows it, and no longer (ASVS 6.5.5)
# Of everybody, whatever their workspace asks for. Off, each workspace decides (accounts/second_factor.py).
REQUIRE_SECOND_FACTOR: bool = env.bool("REQUIRE_SECOND_FACTOR", False)
# Nobody signs in by an address that is not confirmed, so no second factor can be put on somebody else's; and a person
# who has one may still change the address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "accounts.passwords.OwnWordsValidator"},
    {"NAME": "accounts.passwords.BreachedPasswordValidator"},
]
# Passwords known from breaches: a service that answers as Have I Been Pwned does. Empty, only Django's list is asked.
PWNED_PASSWORDS_URL = encrypted(
    "PWNED_PASSWORDS_URL",
    env.str("PWNED_PASSWORDS_URL", ""),
).rstrip("/")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_SECURE = PRODUCTION
if PRODUCTION:
    # Browsers hold such names to this very host, by TLS, on every path.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
THEME_COOKIE_NAME = "__Host-theme" if PRODUCTION else "theme"
MESSAGE_STORAGE = "config.headers.NoticeStorage"
# A week without use ends a session; accounts/sessions.py ends it a month after its beginning in any case.
SESSION_COOKIE_AGE = 7 * 86_400
CSRF_FAILURE_VIEW = "config.views.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reports.ReportFilter"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", False) else None
SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", PRODUCTION)
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
# The API refuses plain HTTP instead (config/headers.py): a program would not notice that its key goes by in clear.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$", r"^api/v1/"]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "manifest-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    },
}

# --- Mail ------------------------------------------------------------------------------------------------------------
EMAIL_URL = encrypted("EMAIL_URL", env.str("EMAIL_URL", ""))
vars().update(env.email_url_config(EMAIL_URL or "consolemail://"))
EMAIL_TIMEOUT = 10
# A demo of one's own machine keeps its mail there and shows it at /mail/ (config/mail.py).
MAIL_DIR = STATE_DIR / "mail" if DEMO and not PRODUCTION and not EMAIL_URL else None
if MAIL_DIR:
    EMAIL_BACKEND = "config.mail.KeepingBackend"
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Timebridge <no-reply@localhost>")

# --- Static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = not PRODUCTION
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- REST API --------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.rest.authentication.ApiKeyAuthentication",
        "accounts.rest.authentication.WorkspaceSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.rest.permissions.WorkspacePermission"],
    "DEFAULT_PAGINATION_CLASS": "accounts.rest.pagination.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": ["accounts.rest.filters.StrictFilterBackend"],
    "DEFAULT_RENDERER_CLASSES": ["accounts.rest.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.rest.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "accounts.rest.schema.ProblemAutoSchema",
    "EXCEPTION_HANDLER": "accounts.rest.problems.exception_handler",
    "NON_FIELD_ERRORS_KEY": "detail",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` belongs to the views that know it
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
# Requests of one API key: NUMBER/second, minute, hour or day; empty for no limit.
API_RATE_LIMIT: str = env.str("API_RATE_LIMIT", "3000/minute")
# Likewise of one signed-in person, pages and API, in all their browsers.
SESSION_RATE_LIMIT: str = env.str("SESSION_RATE_LIMIT", "1200/minute")
SPECTACULAR_SETTINGS = {
    "TITLE": "Timebridge API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "GET_LIB_DOC_EXCLUDES": "accounts.rest.schema.lib_doc_excludes",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "accounts.rest.schema.add_conventions",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Role": "accounts.models.Role",
        "Plan": "accounts.models.Plan",
        "ApiKeyAccess": "accounts.models.ApiKeyAccess",
        "ExportKind": "accounts.models.ExportKind",
        "ExportState": "accounts.models.ExportState",
        "WorkItemStatus": "timelogs.models.WorkItemStatus",
        "Source": "timelogs.models.Source",
        "SyncState": "timelogs.models.SyncState",
        "ProposalStatus": "inbound.models.ProposalStatus",
        "AdjustmentKind": "inbound.models.AdjustmentKind",
        "ConnectionStatus": "integrations.models.ConnectionStatus",
        "AuthKind": "integrations.models.AuthKind",
        "Direction": "integrations.models.Direction",
        "ConflictPolicy": "integrations.models.ConflictPolicy",
        "ChangeState": "integrations.models.ChangeState",
        "Way": "integrations.models.Way",
        "Keep": "integrations.models.Keep",
        "RunKind": "integrations.models.RunKind",
        "RunState": "integrations.models.RunState",
        "RunOutcome": "integrations.models.Outcome",
        "RunReason": "integrations.models.Reason",
        "ProposalDecision": "inbound.services.Decision",
        "BudgetUnit": "settlement.models.BudgetUnit",
        "BudgetPeriod": "settlement.models.BudgetPeriod",
        "BudgetState": "settlement.budget_selectors.State",
        "Rollover": "settlement.models.Rollover",
        "StatementStatus": "settlement.models.StatementStatus",
        "StatementEntryKind": "settlement.models.EntryKind",
    },
}

# --- Harvest ---------------------------------------------------------------------------------------------------------
HARVEST_API_URL = encrypted(
    "HARVEST_API_URL", env.str("HARVEST_API_URL", "https://api.harvestapp.com/v2")
).rstrip("/")
HARVEST_ID_URL = encrypted("HARVEST_ID_URL", env.str("HARVEST_ID_URL", "https://id.getharvest.com")).rstrip(
    "/"
)
HARVEST_CLIENT_ID: str = env.str("HARVEST_CLIENT_ID", "")
HARVEST_CLIENT_SECRET: str = env.str("HARVEST_CLIENT_SECRET", "")
HARVEST_USER_AGENT: str = env.str("HARVEST_USER_AGENT", f"Timebridge ({BASE_URL})")
# Entries a page; Harvest takes 2,000 at most. Smaller pages are for slow lines, and for tests.
HARVEST_PAGE_SIZE: int = env.int("HARVEST_PAGE_SIZE", 2000)
HARVEST_RUN_LEASE_SECONDS: int = env.int("HARVEST_RUN_LEASE_SECONDS", 30)
# How often a connection that goes both ways is read for changes between nights, while automated sync is on.
HARVEST_CHANGES_MINUTES: int = env.int("HARVEST_CHANGES_MINUTES", 15)
# Harvest's limit, shared over all processes by Redis; 0 is for a sandbox that has none. And how many processes may ask
# Harvest at most, all machines together: what each of them may do while Redis is away.
HARVEST_RATE_LIMIT: bool = env.bool("HARVEST_RATE_LIMIT", True)
HARVEST_PROCESSES: int = env.int("HARVEST_PROCESSES", 16)

# --- Whom it may talk to ---------------------------------------------------------------------------------------------
# To the console in any case; and as they are written to another system: syslog+tls://HOST:PORT.
LOG_URL: str = env.str("LOG_URL", "console")
REMOTE_LOG = "" if LOG_URL in ("", "console") else encrypted("LOG_URL", LOG_URL)
# The hosts that these settings name; a process of production looks up no other (config/egress.py).
EGRESS_HOSTS = sorted(
    {
        host
        for url in (
            *(
                DATABASE_URL,
                REDIS_URL,
                HARVEST_API_URL,
                HARVEST_ID_URL,
                PWNED_PASSWORDS_URL,
                EMAIL_URL,
                REMOTE_LOG,
            ),
            *(env.str(name, "") for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")),
        )
        if (host := host_of(url))
    }
)

# --- Logging ---------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "class": "config.logs.Formatter",
            "format": FORMAT,
        }
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "plain"},
        **(
            {"remote": {"class": "config.remote_log.RemoteLog", "url": REMOTE_LOG, "formatter": "plain"}}
            if REMOTE_LOG
            else {}
        ),
    },
    "root": {
        "handlers": ["console", *(["remote"] if REMOTE_LOG else [])],
        "level": env.str("LOG_LEVEL", "INFO"),
    },
    "loggers": {
        # httpx logs whole URLs, query included; ours name path and status only.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
