"""How long to wait before the next try of what may work again by itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds after the `failures`th failure in a row: `first`, then twice as long each time, up to `longest`.

    For a count that is kept elsewhere (a row, a child of ours) and where nobody else waits for the same.
    """
    return min(longest, first * 2.0 ** min(max(failures, 1) - 1, 32))


@dataclass(slots=True)
class Backoff:
    """The same pauses with jitter, half of each by chance: many who lost one server do not come back at once."""

    first: float = 0.2
    longest: float = 10.0
    random: random.Random = field(default_factory=random.SystemRandom)
    _failures: int = 0

    def next(self) -> float:
        """The pause after one more failure."""
        self._failures += 1
        return pause(self._failures, self.first, self.longest) * (0.5 + self.random.random() / 2)

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def reset(self) -> None:
        """Forget the failures: it works again."""
        self._failures = 0
