"""Where a process serves its metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from mainstem.errors import ConfigError

PORT: Final = "MAINSTEM_METRICS_PORT"
HOST: Final = "MAINSTEM_METRICS_HOST"


def port_of(environ: Mapping[str, str] = os.environ) -> int | None:
    """MAINSTEM_METRICS_PORT; None where it is not set: then nothing listens. Raises ConfigError."""
    value = environ.get(PORT, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
        raise ConfigError(f"{PORT} is {value!r}; it must be a port number")
    return int(value)
