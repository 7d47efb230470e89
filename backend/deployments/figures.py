"""How a metric is written for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "\N{EN DASH}"


def measured(metrics: Any, name: str) -> str:
    """A metric of a column: its value, and of how many clients it has none."""
    found = metrics if isinstance(metrics, Mapping) else {}
    value, without = (found.get("values") or {}).get(name), (found.get("undefined") or {}).get(name)
    if not isinstance(value, int | float):
        return "undefined" if without else NOTHING
    return f"{figure(value)} ({without} undefined)" if without else figure(value)


def figure(value: float | None) -> str:
    """Four decimals; a dash for what was not measured."""
    return NOTHING if value is None else f"{value:.4f}"
