"""How long tests wait for what happens soon: a limit that a hang meets, and a busy machine does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 300.0
"""Seconds. What a test waits for takes one or two of them on an idle machine; with fifty times its load, a hundred."""


def until(condition: Callable[[], Any], *, pause: float = 0.02, what: str = "it") -> Any:
    """Poll until `condition` gives something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:.0f} s"
        time.sleep(pause)
    return found
