"""Places of which there are few, and of which one person may take some."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable


class Places:
    """`total` places, at most `each` of them one person's. Safe for threads."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()

    def take(self, person: Hashable) -> str:
        """Take a place; else why there is none."""
        with self._lock:
            if self._taken[person] >= self.each:
                return f"You have {self.each} open already: close one."
            if self._taken.total() >= self.total:
                return f"All {self.total} are taken: try again."
            self._taken[person] += 1
        return ""

    def give_back(self, person: Hashable) -> None:
        """Free one of the person's places."""
        with self._lock:
            self._taken[person] -= 1
            if not self._taken[person]:
                del self._taken[person]
