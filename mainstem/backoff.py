"""How long to wait before the next try of what may work again by itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Growing pauses with full jitter on their upper half, in seconds."""

    first: float = 0.2
    longest: float = 10.0
    random: random.Random = field(default_factory=random.SystemRandom)
    _failures: int = 0

    def next(self) -> float:
        """The pause after one more failure."""
        limit = min(self.longest, self.first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return limit * (0.5 + self.random.random() / 2)

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def reset(self) -> None:
        """Forget the failures: it works again."""
        self._failures = 0
