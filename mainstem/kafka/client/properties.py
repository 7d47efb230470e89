"""Property files: a client's, as librdkafka or as Java takes it, and the broker's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mainstem.errors import ConfigError
from mainstem.kafka.client import java_client, java_properties

_BLANK: Final = " \t\v\f\r\n"
"""What librdkafka leaves out before a value."""


def client_properties(path: Path) -> dict[str, str]:
    """A client's settings in librdkafka's words; raises ConfigError.

    The lines read `name=value`, and a value stands as it is up to the end of its line, with the blanks there: only
    those before it are left out, as librdkafka does itself. A file with settings that Java alone has is read by
    Java's rules and translated.
    """
    text = _text(path)
    found: dict[str, str] = {}
    bad = 0
    lines = (line.removesuffix("\r").lstrip(_BLANK) for line in text.split("\n"))
    for number, line in enumerate(lines, 1):
        if line and line[0] not in "#!":
            name, equals, value = line.partition("=")
            bad = bad or (0 if equals else number)
            found[name.rstrip(_BLANK)] = value.lstrip(_BLANK)
    if java_client.is_java(found):
        return java_client.translated(java_properties.parsed(text, str(path)), str(path))
    if bad:
        raise ConfigError(f"{path} line {bad} must read name=value")
    return found


def broker_properties(path: Path) -> dict[str, str]:
    """A broker's settings, in a file as Java reads it; raises ConfigError."""
    return java_properties.parsed(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the property file {path} cannot be read as text") from error
