"""The backend's settings from environment variables; secrets also from files (`<NAME>_FILE`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url

from backend.project.database_url import well_formed
from mainstem.errors import ConfigError
from mainstem.runtime.environ import home

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
SQLITE_WAIT_SECONDS = 20

UNSUPPORTED = "DATABASE_URL names a database that Mainstem does not support; use SQLite or PostgreSQL"


def text(name: str, default: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """The variable's value without surrounding blanks; `default` where it is absent or empty."""
    return environ.get(name, "").strip() or default


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """A secret from `<name>_FILE` or `<name>`; empty where neither is set. Raises ConfigError."""
    path = text(f"{name}_FILE", environ=environ)
    if not path:
        return text(name, environ=environ)
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE {path} cannot be read as text") from error


def database(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Django's DATABASES["default"] from DATABASE_URL or the file DATABASE_URL_FILE; raises ConfigError.

    SQLite takes the write lock at the start of a transaction and waits for it, so that the web workers, the
    launcher and the commands can share one file.
    """
    url = secret("DATABASE_URL", environ) or f"sqlite:///{quote(str(home(environ) / 'db.sqlite3'))}"
    try:
        known = dj_database_url.parse(well_formed(url), conn_max_age=60, conn_health_checks=True)
    except (ValueError, KeyError):
        raise ConfigError(UNSUPPORTED) from None  # its words may hold the password
    settings: dict[str, Any] = dict(known)
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        settings["OPTIONS"] = {
            "timeout": SQLITE_WAIT_SECONDS,
            "transaction_mode": "IMMEDIATE",
            "init_command": SQLITE_PRAGMAS,
        }
    elif settings["ENGINE"] != "django.db.backends.postgresql":
        raise ConfigError(UNSUPPORTED)
    return settings
