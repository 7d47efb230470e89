"""The machine's clock as a `ports.Clock`."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time, and what has elapsed whatever that says."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """See `ports.Clock`."""
        return time.monotonic_ns() // 1_000_000
