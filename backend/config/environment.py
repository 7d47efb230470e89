"""The backend's settings from environment variables; secrets also from files (`<NAME>_FILE`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url

from backend.config.database_url import well_formed
from mainstem.errors import ConfigError

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
SQLITE_WAIT_SECONDS = 20

UNSUPPORTED = "DATABASE_URL names a database that Mainstem does not support; use SQLite or PostgreSQL"


def text(name: str, default: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """The variable's value without surrounding blanks; `default` where it is absent or empty."""
    return environ.get(name, "").strip() or default


def flag(name: str, default: bool = False, environ: Mapping[str, str] = os.environ) -> bool:
    """A yes-or-no variable; raises ConfigError for anything else."""
    value = text(name, environ=environ).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if not value:
        return default
    raise ConfigError(f"{name} is {value!r}; it must be true or false")


def number(name: str, default: int, environ: Mapping[str, str] = os.environ) -> int:
    """A whole number above 0; raises ConfigError."""
    value = text(name, str(default), environ)
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1 << 62:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number above 0")
    return int(value)


def words(name: str, default: str = "", environ: Mapping[str, str] = os.environ) -> list[str]:
    """A list whose entries are separated by commas or blanks."""
    return text(name, default, environ).replace(",", " ").split()


def hosts(name: str, default: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Host names as Django compares them: IPv6 addresses in brackets."""
    return [f"[{word}]" if word.count(":") > 1 and word[0] != "[" else word for word in words(name, default, environ)]


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """A secret from `<name>_FILE` or `<name>`; empty where neither is set. Raises ConfigError."""
    path = text(f"{name}_FILE", environ=environ)
    if not path:
        return text(name, environ=environ)
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE {path} cannot be read as text") from error


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The state directory, MAINSTEM_HOME; `.mainstem` in the checkout where it is not set."""
    default = Path(__file__).resolve().parents[2] / ".mainstem"
    return Path(text("MAINSTEM_HOME", str(default), environ)).expanduser().resolve()


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
