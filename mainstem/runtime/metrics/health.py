"""Whether a process' loops still turn (liveness), and whether it can do its work (readiness)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LIMIT_SECONDS: Final = 120.0
"""A loop that has not turned for so long hangs: longer than any one wait for Kafka, the backend or the database."""

FAILING_SECONDS: Final = 60.0
"""What has failed for so long, at every attempt, is not well by itself again."""


class Health:
    """Loops tell it each turn; any thread may ask. `ready` is the part's own word, false until it says so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: dict[str, tuple[float, float]] = {}
        self._failures: dict[str, tuple[float, str]] = {}
        self._stranded: set[str] = set()
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

    def failed(self, what: str, why: object, answers: Callable[[], bool] = lambda: True) -> None:
        """`what` did not work. After a minute of that `answers` is asked, here: whether others are served meanwhile."""
        since, _ = self._failures.get(what, (self._clock(), ""))
        self._failures[what] = (since, str(why))
        if self._clock() - since >= FAILING_SECONDS and answers():
            self._stranded.add(what)
        else:
            self._stranded.discard(what)

    def worked(self, what: str) -> None:
        """`what` works."""
        self._stranded.discard(what)
        self._failures.pop(what, None)

    def failing(self) -> list[str]:
        """Sentences on what has failed for a minute, whoever is to blame."""
        return [
            f"{what} has failed for {age:.0f} s: {why}" for what, age, why in self._ages() if age >= FAILING_SECONDS
        ]

    def stranded(self) -> list[str]:
        """Sentences on what has failed here for a minute while others are served: a new process may do better."""
        return [
            f"{what} has failed for {age:.0f} s, though others are answered: {why}"
            for what, age, why in self._ages()
            if what in self._stranded
        ]

    def _ages(self) -> list[tuple[str, float, str]]:
        now = self._clock()
        return [(what, now - since, why) for what, (since, why) in list(self._failures.items())]
