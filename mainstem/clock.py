"""The machine's clock as a `ports.Clock`."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000
