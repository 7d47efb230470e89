"""Medians with their spread over the runs of a benchmark, and how to print them.

Every benchmark tells one JSON object with `runs`: for each thing that is compared a list of runs, each of them a
figure's name -> a number, or a list of them where a run gives several. So runs of the same command can be put together.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Run = dict[str, Any]
"""Figure -> a number, or a list of numbers."""


def summary(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum, rounded to four digits after the point."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
        "runs": len(values),
    }


def over(runs: Sequence[Run], figure: str, unit: float = 1.0) -> dict[str, float] | None:
    """The summary of a figure over all its values in all runs, in `unit`s; None where no run has it."""
    found = [run[figure] for run in runs if run.get(figure) is not None]
    values = [value / unit for item in found for value in (item if isinstance(item, list) else [item])]
    return summary(values) if values else None


def in_turns(sides: Mapping[str, Callable[[], Run]], repeat: int, first: str = "") -> dict[str, list[Run]]:
    """Run every side `repeat` times, one after the other (A B A B); `first` is the figure told of each run."""
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    for number in range(repeat):
        for side, run in sides.items():
            runs[side].append(run())
            told = over(runs[side][-1:], first)
            print(f"{number + 1} of {repeat}, {side}" + (f": {told['median']:g}" if told else ""), file=sys.stderr)
    return runs


def table(rows: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """Print rows of `summary` to stderr."""
    width = max(len(name) for name in rows)
    for name, row in rows.items():
        spread = f"(min {row['min']:g}, max {row['max']:g}, n {row['runs']})"
        print(f"{name:{width}}  median {row['median']:g} {unit}  {spread}", file=sys.stderr)


def show(runs: Mapping[str, Sequence[Run]], figures: Mapping[str, tuple[str, float]]) -> None:
    """A column a side to stderr; `figures` are label -> (figure, unit)."""
    labels = max(len(label) for label in figures)
    print(f"{'median (min to max)':{labels}} " + " ".join(f"{side:>32}" for side in runs), file=sys.stderr)
    for label, (figure, unit) in figures.items():
        cells = [over(kept, figure, unit) for kept in runs.values()]
        told = [f"{row['median']:g} ({row['min']:g} to {row['max']:g})" if row else "-" for row in cells]
        print(f"{label:{labels}} " + " ".join(f"{cell:>32}" for cell in told), file=sys.stderr)


def emit(result: Mapping[str, Any]) -> None:
    """The machine-readable result: one JSON object on stdout."""
    print(json.dumps(result))
