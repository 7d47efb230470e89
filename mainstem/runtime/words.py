"""Lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def few(names: Sequence[str], most: int, mark: str = ", ") -> str:
    """`a, b and 7 more`."""
    return mark.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
