"""How a metric is written for people."""

from __future__ import annotations

NOTHING = "\N{EN DASH}"


def figure(value: float | None) -> str:
    """Four decimals; a dash for what was not measured."""
    return NOTHING if value is None else f"{value:.4f}"
