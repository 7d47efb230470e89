"""Lines that are longer than a chart is wide: fewer points, and still the lowest and the highest of every stretch."""

from __future__ import annotations

from collections.abc import Sequence


def stretches(count: int, most: int) -> list[range]:
    """`count` places as at most `most` stretches of nearly the same length, in order; each holds one place at least."""
    parts = min(count, most)
    return [range(part * count // parts, (part + 1) * count // parts) for part in range(parts)]


def indices_of_extremes(values: Sequence[float | None], most: int) -> list[int]:
    """Which places of a line to draw, in order: all of up to `most`, else of each stretch its lowest and highest.

    The first and the last place are always among them, and of a stretch without any value its first place.
    """
    if len(values) <= most:
        return list(range(len(values)))
    chosen = {0, len(values) - 1}
    for stretch in stretches(len(values), max(1, most // 2 - 1)):
        there = [place for place in stretch if values[place] is not None]
        ordered = sorted(there, key=lambda place: (values[place], place))
        chosen |= {ordered[0], ordered[-1]} if ordered else {stretch[0]}
    return sorted(chosen)
