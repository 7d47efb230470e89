"""Draws docs/convergence.svg from benchmarks/results/convergence.json: `python -m benchmarks.convergence.drawing`.

Median accuracy by round; dashed lines are Flower's. The same figures, the same picture, byte for byte.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.convergence.table import FLOWER, KERAS, RAW, Told
from benchmarks.machine import ROOT
from benchmarks.stats import Run

KEPT, FILE = ROOT / "benchmarks" / "results" / "convergence.json", ROOT / "docs" / "convergence.svg"
WIDTH, HEIGHT, LEFT, TOP, LABELS, ROOM = 560, 360, 44, 44, 190, 44
"""Pixels: of a panel's lines, beside and above them, of the names at their right, below."""
LOWEST, STEP, APART = 20, 20, 13
"""The lowest accuracy that is shown, between two rules; pixels between two names at least."""
COLOURS = (
    "#2f6fb0", "#c0511f", "#3d8b53", "#8a4fa3", "#b08a1e", "#1f8f95", "#b8437a", "#6b6f2a", "#5b5fc7", "#8c5a3c",
    "#3b7a9e", "#a33b3b", "#5d9147", "#74508f", "#967117", "#287a6b", "#9d4a86", "#55606b",
)  # fmt: skip
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #33414b } .title { font-size: 14px; font-weight: 600; fill: #16242e }
.number { text-anchor: end } .rule { stroke: #c9d2d8 } polyline { fill: none; stroke-width: 1.6 }
.theirs { stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #b6c4ce } .title { fill: #f0f5f8 } .rule { stroke: #3c4a54 } }
"""


@dataclass(frozen=True)
class Line:
    """A side's median by round; one without a name is another's dashed companion."""

    name: str
    values: Sequence[float]
    colour: str


def drawn(told: Told) -> str:
    """The picture of kept figures."""
    runs, colours = told["runs"], {}
    strategies = [name for name in runs if "," not in name and not name.startswith(FLOWER)]
    for number, name in enumerate(strategies):
        colours[name] = COLOURS[number % len(COLOURS)]
    lines = [Line(name, median(runs[name]), colours[name]) for name in strategies]
    lines += [
        Line("", median(kept), colours[name.removeprefix(FLOWER)])
        for name, kept in runs.items()
        if name.removeprefix(FLOWER) in colours and name.startswith(FLOWER)
    ]
    panels = [("Strategies: accuracy by round, %", lines)]
    ways = [name for name in runs if name.startswith(f"{RAW}, ") and name != KERAS]
    if ways:
        shown = [Line(f"{RAW}, raw", median(runs[RAW]), COLOURS[0])]
        shown += [Line(name, median(runs[name]), COLOURS[1 + n % 17]) for n, name in enumerate(ways)]
        panels.append(("Encodings: accuracy by round, %", shown))
    wide, tall = LEFT + WIDTH + LABELS, TOP + HEIGHT + ROOM
    size = f'viewBox="0 0 {wide} {tall * len(panels)}" width="{wide}" height="{tall * len(panels)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        "<title>Accuracy by round of every strategy, Flower's dashed, and of every encoding</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, (title, among) in enumerate(panels):
        parts += panel(title, among, told["rounds"], number * tall)
    return "\n".join([*parts, "</svg>", ""])


def median(runs: Sequence[Run]) -> list[float]:
    """Of all seeds, by round."""
    return [statistics.median(values) for values in zip(*(run["accuracies"] for run in runs), strict=True)]


def panel(title: str, lines: Sequence[Line], rounds: int, y: int) -> Iterator[str]:
    """Rules, lines, and names at the lines' ends, moved apart."""

    def across(number: int) -> float:
        return LEFT + WIDTH * (number - 1) / max(rounds - 1, 1)

    def down(value: float) -> float:
        return y + TOP + HEIGHT * (100 - max(value, LOWEST)) / (100 - LOWEST)

    yield f'<text class="title" x="4" y="{y + 20}">{escape(title)}</text>'
    for value in range(LOWEST, 101, STEP):
        yield f'<path class="rule" d="M{LEFT} {down(value):g}h{WIDTH}"/>'
        yield f'<text class="number" x="{LEFT - 6}" y="{down(value) + 4:g}">{value}</text>'
    for number in sorted({1, *range(5, rounds + 1, 5), rounds}):
        yield f'<text class="number" x="{across(number) + 6:g}" y="{y + TOP + HEIGHT + 18}">{number}</text>'
    for line in lines:
        points = " ".join(f"{across(n):.1f},{down(value):.1f}" for n, value in enumerate(line.values, 1))
        dashed = "" if line.name else ' class="theirs"'
        yield f'<polyline{dashed} stroke="{line.colour}" points="{points}"/>'
    at = 0.0
    named = [line for line in lines if line.name]
    for line in sorted(named, key=lambda line: -line.values[-1]):
        at = max(down(line.values[-1]) + 4, at + APART)
        name = escape(line.name.removeprefix(f"{RAW}, "))
        yield (
            f'<text x="{LEFT + WIDTH + 8}" y="{at:.1f}" style="fill: {line.colour}">{name} {line.values[-1]:.1f}</text>'
        )


def main(file: Path = FILE) -> int:
    """Write it, where there are figures."""
    if KEPT.exists():
        file.write_text(drawn(json.loads(KEPT.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
