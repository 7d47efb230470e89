"""Django's settings, all from the environment (see `environment`)."""

from __future__ import annotations

import os
from typing import Any

from backend.gate import peers
from backend.gate.web import host_names, web, words
from backend.project import environment as env
from mainstem.protocol.signing import PLATFORM_KEY_FILE, SigningKey, platform_key
from mainstem.runtime import endpoints
from mainstem.runtime.disk import floor_of
from mainstem.runtime.environ import home

WEB = web()
"""Its own variables; each says what it is there."""
HOME = home(os.environ)
"""The state directory: database, caches, Jobs."""

DEBUG = WEB.debug
SECRET_KEY = env.secret("MAINSTEM_SECRET_KEY")  # Django refuses an empty one as soon as it is needed
ALLOWED_HOSTS = host_names(WEB.hosts or "localhost 127.0.0.1 [::1]")
ANY_ADDRESS = not WEB.hosts
"""Whether every address that is no name is taken for ours (`backend.site.hosts`)."""
CSRF_TRUSTED_ORIGINS = words(WEB.origins)

INSTALLED_APPS = [
    "backend.site",
    "backend.audit",
    "backend.accounts",
    "backend.catalog",
    "backend.deployments",
    "backend.sites",
    "backend.inference",
    "backend.ingest",
    "backend.streams",
    "backend.launchers",
    "backend.runs",
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
    "backend.site.metering.MeteringMiddleware",
    "backend.site.middleware.HeadersMiddleware",
    "backend.site.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "backend.site.middleware.CompressionMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "backend.site.middleware.AddressMiddleware",
    "backend.audit.middleware.AuditMiddleware",
    "backend.accounts.bodies.BodyMiddleware",
    "backend.site.middleware.FragmentMiddleware",
    "backend.site.middleware.LandingMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "backend.accounts.sessions.SessionsMiddleware",
    "backend.accounts.stepping.StepUpMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "backend.project.urls"
WSGI_APPLICATION = "backend.project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
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
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": WEB.password_length},
    },
    *([] if WEB.password_common else [{"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"}]),
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_LENGTH = WEB.password_length
STEP_UP_SECONDS = WEB.step_up_seconds

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True  # the files come with the packages: nothing has to be collected first
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Plain HTTP on a laptop; behind a TLS proxy MAINSTEM_HTTPS makes every cookie and answer insist on it.
HTTPS = WEB.https
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
LOGIN_FAILURES = WEB.login_failures
LOGIN_WINDOW_SECONDS = 900
TRUSTED_PROXIES = peers.networks(words(WEB.proxies))
CSRF_FAILURE_VIEW = "backend.rest.problems.csrf_failure"

MAX_BODY_BYTES = WEB.max_body_bytes
"""Largest request body that is no file upload, where long ones are taken (`backend.accounts.bodies`)."""
MAX_UPLOAD_BYTES = WEB.max_upload_bytes
MAX_DATA_BYTES = WEB.max_data_bytes
"""Largest multipart request with files of samples: each look reads them whole. Scripts inject larger ones."""
DISK_FLOOR = floor_of()
"""Bytes: with less room on a disk, rounds wait."""
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATA_UPLOAD_MAX_NUMBER_FILES = 4

WORKSHOP_SECONDS = WEB.workshop_seconds
WORKSHOP_SOCKET = WEB.workshop_socket
"""Unix socket of a workshop in a container beside this one; empty where the workshop is our own child."""

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "backend.accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["backend.accounts.permissions.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "backend.rest.parsing.JsonParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_FILTER_BACKENDS": [
        "backend.rest.filters.KnownFilters",
        "backend.rest.filters.KnownOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "backend.rest.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "backend.rest.problems.handler",
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

LIVE_STREAMS = WEB.live_streams
"""Streams, one a browser, that a web process serves at a time; each holds a thread: see `backend.project.gunicorn`."""
LIVE_STREAMS_EACH = WEB.live_streams_each

LOGGING_CONFIG = None  # `mainstem.runtime.logs.configure` has the word

_CLOUD, _DATA = endpoints.cloud(os.environ), endpoints.data(os.environ)
KAFKA_BOOTSTRAP, KAFKA_CLIENT_CONFIG = _CLOUD.servers, _CLOUD.properties
DATA_BOOTSTRAP, DATA_CLIENT_CONFIG = _DATA.servers, _DATA.properties
KAFKA_SECONDS = WEB.kafka_seconds

# With it the launcher process signs what it writes of runs; whoever only reads has its public half.
PLATFORM_SIGNER = SigningKey.from_environ(os.environ, PLATFORM_KEY_FILE)
PLATFORM_KEY = platform_key(os.environ, PLATFORM_SIGNER)
