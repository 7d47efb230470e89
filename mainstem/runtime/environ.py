"""Settings from environment variables: one that is empty or blank is not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mainstem.errors import ConfigError

HOME: Final = "MAINSTEM_HOME"
DEFAULT_HOME: Final = ".mainstem"
"""In the working directory."""


def optional(environ: Mapping[str, str], name: str) -> str | None:
    """The variable's text, None where it is not given."""
    return environ.get(name, "").strip() or None


def required(environ: Mapping[str, str], name: str) -> str:
    """The variable's text; raises ConfigError where it is not given."""
    value = optional(environ, name)
    if value is None:
        raise ConfigError(f"environment variable {name} is missing")
    return value


def given_home(environ: Mapping[str, str]) -> Path | None:
    """MAINSTEM_HOME, for who writes nothing where it is not given."""
    named = optional(environ, HOME)
    return None if named is None else Path(named).expanduser().absolute()


def home(environ: Mapping[str, str]) -> Path:
    """The state directory: MAINSTEM_HOME, else `.mainstem` in the working directory; makes nothing."""
    return given_home(environ) or Path(DEFAULT_HOME).absolute()


def checked(name: str, check: Callable[[str], str], value: str) -> str:
    """`value` as `check` returns it; its ConfigError names the variable."""
    try:
        return check(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
