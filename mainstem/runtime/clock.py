"""Time in: the machine's clock, or what a test passes in its place."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time in, so that a test can pass its own."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as far as the machine knows: may jump."""
        ...

    def elapsed_ms(self) -> int:
        """Milliseconds since some moment: only goes forward."""
        ...


class SystemClock:
    """Wall time, and what has elapsed whatever that says."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns() // 1_000_000
