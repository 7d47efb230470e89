"""The token of a program that calls the API, from its environment or from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mainstem.errors import ConfigError
from mainstem.runtime.environ import optional


def token_from(environ: Mapping[str, str], whose: str) -> Callable[[], str]:
    """Reads MAINSTEM_TOKEN_FILE anew at each use, so that a rotated token is taken up; or MAINSTEM_TOKEN.

    `whose` token it should be is said where there is none. Raises ConfigError, when it is used as well.
    """
    path, token = optional(environ, "MAINSTEM_TOKEN_FILE"), optional(environ, "MAINSTEM_TOKEN")
    if path is not None:
        return lambda: _read(Path(path))
    if token is None:
        raise ConfigError(f"environment variable MAINSTEM_TOKEN (or MAINSTEM_TOKEN_FILE) is missing: give {whose}")
    value = _header_safe("MAINSTEM_TOKEN", token)
    return lambda: value


def _read(path: Path) -> str:
    try:
        return _header_safe("MAINSTEM_TOKEN_FILE", path.read_text("ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"MAINSTEM_TOKEN_FILE {path} cannot be read as ASCII text") from error


def _header_safe(name: str, token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{name} does not hold a token: one word of ASCII characters is expected")
    return token
