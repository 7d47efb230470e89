"""What docs/convergence.md shows of the kept figures, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cells import grid, wrapped
from benchmarks.stats import Run, over

Told = Mapping[str, Any]
RAW = "fedavg"
"""The side that encodings are compared with: their names begin with it."""
KERAS = "fedavg, trained by Keras"
FLOWER = "Flower: "
"""What the names of Flower's sides begin with."""
SHOWN = (1, 5, 10, 20)
"""Rounds that have a column, beside the last one."""


def made(told: Told) -> str:
    """A table of strategies, one of Flower's beside ours, one of encodings."""
    runs, rounds = told["runs"], told["rounds"]
    shown = [number for number in SHOWN if number < rounds]
    heads = ["accuracy, %, after round", *map(str, shown), f"{rounds} (lowest to highest)"]
    strategies = [
        [f"`{name}`", *(by_round(kept, number) for number in shown), spread(kept)]
        for name, kept in runs.items()
        if "," not in name and not name.startswith(FLOWER)
    ]
    parts = [grid(heads, strategies)]
    if beside := [name for name in runs if name.startswith(FLOWER)]:
        heads = [f"accuracy, %, after round {rounds}", "ours", f"Flower {told['flower']}", "ours less Flower's"]
        parts.append(grid(heads, [_beside(runs, name) for name in beside]))
    if ways := {name: kept for name, kept in runs.items() if name.startswith(f"{RAW}, ") and name != KERAS}:
        heads = [f"accuracy, %, after round {rounds}", "", "less raw, same seed", "KB from a client in a round"]
        rows = [
            [name.removeprefix(f"{RAW}, "), spread(kept), apart(kept, runs[RAW]), f"{mid(kept, 'up'):.1f}"]
            for name, kept in {f"{RAW}, raw": runs[RAW], **ways}.items()
        ]
        parts.append(grid(heads, rows))
    if KERAS in runs:
        (keras,) = runs[KERAS]
        numpy = runs[RAW][0]["accuracies"]
        most = max(abs(a - b) for a, b in zip(keras["accuracies"], numpy, strict=True))
        said = f"The first seed's `{RAW}` trained by Keras: {keras['last']:.1f} %"
        parts.append(wrapped(f"{said}, and in no round more than {most:.1f} points from NumPy's."))
    return "\n\n".join(parts)


def _beside(runs: Mapping[str, Sequence[Run]], name: str) -> list[str]:
    ours, theirs = name.removeprefix(FLOWER), runs[name]
    mine = runs[ours.partition(",")[0]]
    return [ours, spread(mine), spread(theirs), apart(mine, theirs)]


def by_round(runs: Sequence[Run], number: int) -> str:
    """The median accuracy after a round."""
    return f"{statistics.median(run['accuracies'][number - 1] for run in runs):.1f}"


def mid(runs: Sequence[Run], figure: str) -> float:
    """Of all seeds."""
    found: float = statistics.median(run[figure] for run in runs)
    return found


def spread(runs: Sequence[Run]) -> str:
    """The last round's accuracy."""
    found = over(runs, "last")
    assert found is not None
    return f"{found['median']:.1f} ({found['min']:.1f} to {found['max']:.1f})"


def apart(runs: Sequence[Run], others: Sequence[Run]) -> str:
    """Points between the same seeds' last accuracies: median, lowest, highest."""
    found = [a["last"] - b["last"] for a, b in zip(runs, others, strict=True)]
    middle, low, high = statistics.median(found), min(found), max(found)
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"
