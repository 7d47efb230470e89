"""How a metric is written for people; what is not there is said in words, since a dash may mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "none"
UNMEASURED = "not measured"
UNKNOWN = "not known"


def measured(metrics: Any, name: str) -> str:
    """A metric of a column: its value, and of how many clients it has none."""
    found = metrics if isinstance(metrics, Mapping) else {}
    value, without = (found.get("values") or {}).get(name), (found.get("undefined") or {}).get(name)
    if not isinstance(value, int | float):
        return "undefined" if without else UNMEASURED
    return f"{figure(value)} ({without} undefined)" if without else figure(value)


def figure(value: float | None) -> str:
    """Four decimals, or that it was not measured."""
    return UNMEASURED if value is None else f"{value:.4f}"
