"""Numbers, rows and captions of a Markdown table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.stats import Run, over


def number(value: float) -> str:
    """Three digits that matter."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def mid(runs: Sequence[Run], figure: str) -> float:
    """The median of a figure that every run has."""
    found = over(runs, figure)
    assert found is not None, figure
    return found["median"]


def cell(runs: Sequence[Run], figure: str, unit: float = 1.0) -> str:
    """`median (lowest to highest)`, the median alone where they are the same, nothing where there is none."""
    found = over(runs, figure, unit)
    if found is None:
        return ""
    middle, low, high = (number(found[key]) for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low} to {high})"


def ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: str) -> str:
    """How many times as much theirs is; below 1 it is marked as our loss."""
    a, b = over(ours, figure), over(theirs, figure)
    if a is None or b is None or not a["median"]:
        return ""
    times = b["median"] / a["median"]
    return f"{times:.1f}" if times >= 1 else f"**{times:.2f}, a loss**"


def wrapped(text: str) -> str:
    """A sentence in lines of at most 100 columns, as all Markdown here."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def measured_by(told: Mapping[str, Any]) -> str:
    """The command, how many times, when, and the load average before and after."""
    by_command: dict[str, list[Mapping[str, Any]]] = {}
    for one in told["measured"]:
        by_command.setdefault(one["command"], []).append(one)
    return ";\n".join(f"`{command}`\n{wrapped(f'({_times(found)})')}" for command, found in by_command.items())


def _times(found: Sequence[Mapping[str, Any]]) -> str:
    first, last = found[0]["date"], found[-1]["date"]
    when = first if len(found) == 1 else f"{len(found)} times, {first} to {last}"
    return f"{when}, load average {_range(found, 'load_before')} before and {_range(found, 'load_after')} after"


def _range(found: Sequence[Mapping[str, Any]], key: str) -> str:
    low, high = min(one[key] for one in found), max(one[key] for one in found)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def last_date(told: Mapping[str, Any]) -> str:
    """Of the newest measurement."""
    return max(str(one["date"]) for one in told["measured"])
