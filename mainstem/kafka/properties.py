"""Property files: `name=value` lines, as librdkafka's clients and Kafka's broker take them."""

from __future__ import annotations

from pathlib import Path

from mainstem.errors import ConfigError


def read_properties(path: Path) -> dict[str, str]:
    """The `name=value` lines of a property file, without comments; raises ConfigError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the property file {path} cannot be read as text") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith(("#", "!")):
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"{path} line {number} must read name=value")
            found[name.strip()] = value.strip()
    return found
