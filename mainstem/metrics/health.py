"""Whether a process' loops still turn (liveness), and whether it can do its work (readiness)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LIMIT_SECONDS: Final = 120.0
"""A loop that has not turned for so long hangs: longer than any one wait for Kafka, the backend or the database."""


class Health:
    """Loops tell it each turn; any thread may ask. `ready` is the part's own word, false until it says so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: dict[str, tuple[float, float]] = {}
        self.ready = False

    def turn(self, loop: str = "main", limit: float = LIMIT_SECONDS) -> None:
        """The loop is alive, and will say so again within `limit` seconds."""
        self._turns[loop] = (self._clock(), limit)

    def ages(self) -> dict[str, float]:
        """Seconds since each loop last turned."""
        now = self._clock()
        return {loop: now - at for loop, (at, _) in list(self._turns.items())}

    def stuck(self) -> list[str]:
        """The loops that have not turned for longer than they said; empty where all is well."""
        now = self._clock()
        return [loop for loop, (at, limit) in list(self._turns.items()) if now - at > limit]
