"""Draws docs/robust.svg from benchmarks/results/robust.json: `python -m benchmarks.robust.drawing`.

A cell a rule and attack, with the median accuracy as a figure and as a colour. The same bytes each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.machine import ROOT
from benchmarks.robust.attacks import ATTACKS
from benchmarks.robust.sites import SPLITS
from benchmarks.robust.table import runs_of
from benchmarks.robust.trial import EXPECTED, NONE
from benchmarks.stats import over

KEPT, FILE = ROOT / "benchmarks" / "results" / "robust.json", ROOT / "docs" / "robust.svg"
WIDTH, HEIGHT, LEFT, TOP, GAP, ROOM = 42, 22, 132, 62, 12, 30
"""Pixels: of a cell, beside and above the cells of a split, between attacks, between splits."""
SCALE = ((0.10, (178, 60, 24)), (0.60, (236, 178, 120)), (0.85, (244, 238, 224)), (1.0, (92, 160, 206)))
"""From chance to perfect: accuracy, red, green, blue."""
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #33414b } .split { font-size: 14px; font-weight: 600; fill: #16242e }
.cell { text-anchor: middle } .dark { fill: #14202a } .light { fill: #ffffff } .head { text-anchor: middle }
@media (prefers-color-scheme: dark) { text { fill: #b6c4ce } .split { fill: #f0f5f8 }
.dark { fill: #14202a } .light { fill: #ffffff } }
"""


def drawn(told: Mapping[str, Any]) -> str:
    """The picture of kept figures."""
    tall = TOP + HEIGHT * len(told["rules"]) + ROOM
    wide = LEFT + len(_places()) * WIDTH + GAP * (len(ATTACKS) + 1)
    size = f'viewBox="0 0 {wide} {tall * len(SPLITS)}" width="{wide}" height="{tall * len(SPLITS)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        "<title>Accuracy of each strategy against each attack, by the number of attackers among ten clients</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, split in enumerate(SPLITS):
        lines += _block(told, split, number * tall)
    return "\n".join([*lines, "</svg>", ""])


def _places() -> list[tuple[str, int, int]]:
    """(attack, attackers, x) of each column."""
    found = [(NONE, 0, LEFT)]
    for at, attack in enumerate(ATTACKS):
        first = LEFT + WIDTH + GAP + at * (EXPECTED * WIDTH + GAP)
        found += [(attack, count, first + (count - 1) * WIDTH) for count in range(1, EXPECTED + 1)]
    return found


def _block(told: Mapping[str, Any], split: str, y: int) -> Iterator[str]:
    yield f'<text class="split" x="4" y="{y + 20}">{split}: accuracy after {told["rounds"]} rounds, %</text>'
    for attack, count, x in _places():
        if count <= 1:
            middle = x + (WIDTH if attack == NONE else EXPECTED * WIDTH) / 2
            title = "no attack" if attack == NONE else attack
            yield f'<text class="head" x="{middle:g}" y="{y + 40}">{escape(title)}</text>'
        yield f'<text class="head" x="{x + WIDTH / 2:g}" y="{y + TOP - 6}">{count}</text>'
    for row, rule in enumerate(told["rules"]):
        at = y + TOP + row * HEIGHT
        yield f'<text x="4" y="{at + 15}">{escape(rule)}</text>'
        for attack, count, x in _places():
            found = over(runs_of(told, rule, split, attack, count), "accuracy")
            assert found is not None
            red, green, blue = colour(found["median"])
            ink = "dark" if 0.3 * red + 0.59 * green + 0.11 * blue > 130 else "light"
            fill, said = f"#{red:02x}{green:02x}{blue:02x}", f"{100 * found['median']:.0f}"
            yield f'<rect x="{x}" y="{at}" width="{WIDTH - 1}" height="{HEIGHT - 1}" fill="{fill}"/>'
            yield f'<text class="cell {ink}" x="{x + WIDTH / 2:g}" y="{at + 15}">{said}</text>'


def colour(accuracy: float) -> tuple[int, int, int]:
    """Between the two of the scale that it lies between."""
    accuracy = min(max(accuracy, SCALE[0][0]), SCALE[-1][0])
    for (low, before), (high, after) in pairwise(SCALE):
        if accuracy <= high:
            part = (accuracy - low) / (high - low)
            red, green, blue = (round(a + part * (b - a)) for a, b in zip(before, after, strict=True))
            return red, green, blue
    raise AssertionError("the scale ends with the largest accuracy")


def main(file: Path = FILE) -> int:
    """Write it."""
    file.write_text(drawn(json.loads(KEPT.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
