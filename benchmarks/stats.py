"""Medians with their spread, and how to print them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def summary(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum, rounded to four digits after the point."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
        "runs": len(values),
    }


def table(rows: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """Print rows of `summary` to stderr, and all of it as one JSON object to stdout."""
    width = max(len(name) for name in rows)
    for name, row in rows.items():
        spread = f"(min {row['min']:g}, max {row['max']:g}, n {row['runs']})"
        print(f"{name:{width}}  median {row['median']:g} {unit}  {spread}", file=sys.stderr)


def emit(result: Mapping[str, Any]) -> None:
    """The machine-readable result: one JSON object on stdout."""
    print(json.dumps(result))
