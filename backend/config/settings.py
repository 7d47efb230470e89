"""Django's settings, all from the environment (see `environment`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.config import environment as env
from backend.gate import peers
from mainstem.disk import floor_of

HOME = env.home()
"""The state directory: database, caches, Jobs."""

DEBUG = env.flag("MAINSTEM_DEBUG")
SECRET_KEY = env.secret("MAINSTEM_SECRET_KEY")  # Django refuses an empty one as soon as it is needed
ALLOWED_HOSTS = env.hosts("MAINSTEM_ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]")
ANY_ADDRESS = not env.text("MAINSTEM_ALLOWED_HOSTS")
"""Whether every address that is no name is taken for ours (`backend.config.hosts`)."""
CSRF_TRUSTED_ORIGINS = env.words("MAINSTEM_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "backend.accounts",
    "backend.catalog",
    "backend.deployments",
    "backend.inference",
    "backend.streams",
    "backend.launchers",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "backend.config.metering.MeteringMiddleware",
    "backend.config.middleware.HeadersMiddleware",
    "backend.config.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "backend.config.middleware.CompressionMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "backend.config.middleware.AddressMiddleware",
    "backend.gate.bodies.BodyMiddleware",
    "backend.config.middleware.FragmentMiddleware",
    "backend.config.middleware.LandingMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "backend.config.urls"
WSGI_APPLICATION = "backend.config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {"programs": "backend.config.programs", "shell": "backend.config.shell"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "backend.accounts.roles.context",
            ],
        },
    }
]

DATABASES: dict[str, dict[str, Any]] = {"default": env.database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview-page"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = None
STATICFILES_DIRS = [Path(__file__).parent / "static"]
WHITENOISE_USE_FINDERS = True  # the files come with the packages: nothing has to be collected first
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Plain HTTP on a laptop; behind a TLS proxy MAINSTEM_HTTPS makes every cookie and answer insist on it.
HTTPS = env.flag("MAINSTEM_HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REDIRECT_EXEMPT = [
    r"^api/"
]  # programs do not follow it, and those beside us come without TLS; cookies stay Secure
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
LOGIN_FAILURES = env.number("MAINSTEM_LOGIN_FAILURES", 10)
"""Wrong passwords that a name may have from an address within LOGIN_WINDOW_SECONDS before it must wait."""
LOGIN_WINDOW_SECONDS = 900
TRUSTED_PROXIES = peers.networks(env.words(peers.VARIABLE))
"""Whose X-Forwarded-For is believed."""
CSRF_FAILURE_VIEW = "backend.config.problems.csrf_failure"

MAX_BODY_BYTES = env.number("MAINSTEM_MAX_BODY_BYTES", 32 << 20)
"""Largest request body that is no file upload, where long ones are taken (`backend.gate.bodies`)."""
MAX_UPLOAD_BYTES = env.number("MAINSTEM_MAX_UPLOAD_BYTES", 1 << 30)
"""Largest multipart request: a `.keras` file with its form fields."""
MAX_DATA_BYTES = env.number("MAINSTEM_MAX_DATA_BYTES", 64 << 20)
"""Largest multipart request with files of samples: each look reads them whole. Scripts inject larger ones."""
DISK_FLOOR = floor_of()
"""Bytes: with less room on a disk, rounds wait."""
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATA_UPLOAD_MAX_NUMBER_FILES = 4

WORKSHOP_SECONDS = env.number("MAINSTEM_WORKSHOP_SECONDS", 120)
"""Longest that one request to the workshop may take."""
WORKSHOP_SOCKET = env.text("MAINSTEM_WORKSHOP_SOCKET")
"""Unix socket of a workshop in a container beside this one; empty where the workshop is our own child."""

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "backend.accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["backend.accounts.permissions.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "backend.config.parsing.JsonParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_FILTER_BACKENDS": [
        "backend.config.filters.KnownFilters",
        "backend.config.filters.KnownOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "backend.config.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "backend.config.problems.handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Mainstem",
    "DESCRIPTION": "Federated learning on Kafka: models, configurations, deployments, results, data sources, Jobs.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["backend.accounts.permissions.RolePermission"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/",
    "ENUM_NAME_OVERRIDES": {
        "DeploymentState": "backend.deployments.models.State",
        "JobState": "backend.launchers.models.JobState",
    },
}

LIVE_STREAMS = env.number("MAINSTEM_LIVE_STREAMS", 64)
"""Streams, one a browser, that a web process serves at a time; each holds a thread: see `backend.config.gunicorn`."""
LIVE_STREAMS_EACH = env.number("MAINSTEM_LIVE_STREAMS_EACH", 12)
"""Of these at most so many one person's."""

LOGGING_CONFIG = None  # `mainstem.logs.configure` has the word

KAFKA_BOOTSTRAP = env.text("KML_CLOUD_BOOTSTRAP_SERVERS")
KAFKA_CLIENT_CONFIG = env.text("KML_CLOUD_CLIENT_CONFIG")
DATA_BOOTSTRAP = env.text("DATA_BOOTSTRAP_SERVERS", KAFKA_BOOTSTRAP)
DATA_CLIENT_CONFIG = env.text("DATA_CLIENT_CONFIG", KAFKA_CLIENT_CONFIG if DATA_BOOTSTRAP == KAFKA_BOOTSTRAP else "")
KAFKA_SECONDS = env.number("MAINSTEM_KAFKA_SECONDS", 10)
"""How long a request waits for Kafka before it says that Kafka is away."""
