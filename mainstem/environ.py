"""Settings from environment variables: one that is empty or blank is not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mainstem.errors import ConfigError


def optional(environ: Mapping[str, str], name: str) -> str | None:
    """The variable's text, None where it is not given."""
    return environ.get(name, "").strip() or None


def required(environ: Mapping[str, str], name: str) -> str:
    """The variable's text; raises ConfigError where it is not given."""
    value = optional(environ, name)
    if value is None:
        raise ConfigError(f"environment variable {name} is missing")
    return value


def checked(name: str, check: Callable[[str], str], value: str) -> str:
    """`value` as `check` returns it; its ConfigError names the variable."""
    try:
        return check(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
