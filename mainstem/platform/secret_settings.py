"""The platform's secrets: made at the first start, kept in `settings.env` that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from mainstem.errors import ConfigError

NAMES = {
    "MAINSTEM_SECRET_KEY": 50,  # random bytes
    "MAINSTEM_ADMIN_PASSWORD": 12,
    "MAINSTEM_TOKEN": 32,
}


class Secrets(NamedTuple):
    """Values by variable name, and whether this call made the admin password (so that it is shown, once)."""

    values: dict[str, str]
    new_password: bool


def load_or_make(path: Path) -> Secrets:
    """Read `path`, making what is missing of it. A variable of the environment wins and is not written.

    Raises ConfigError when the file is readable by others or cannot be read or written.
    """
    stored = _read(path)
    missing = [name for name in NAMES if name not in stored and not os.environ.get(name)]
    for name in missing:
        stored[name] = secrets.token_urlsafe(NAMES[name])
    if missing:
        _write(path, stored)
    values = {name: os.environ.get(name) or stored[name] for name in NAMES}
    return Secrets(values, "MAINSTEM_ADMIN_PASSWORD" in missing)


def read(path: Path) -> dict[str, str]:
    """The stored secrets, as far as there are any; the environment wins. Raises ConfigError."""
    return _read(path) | {name: os.environ[name] for name in NAMES if os.environ.get(name)}


def _read(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} holds secrets, but others may read it: run `chmod 600 {path}`")
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _write(path: Path, values: dict[str, str]) -> None:
    scratch = path.with_suffix(".new")
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write("# Secrets of this Mainstem platform, made at its first start. Keep them to yourself.\n")
            handle.writelines(f"{name}={value}\n" for name, value in values.items())
            handle.flush()
            os.fsync(handle.fileno())
        scratch.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
