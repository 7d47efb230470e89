"""Draws docs/rounds.svg from the table of phases and the script of steps: `python -m mainstem.rounds.picture`.

Plain SVG, the same bytes each time; a test checks that the page shows what the table says.
"""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from mainstem.protocol.messages import Rules, Selection
from mainstem.rounds.events import Followed
from mainstem.rounds.phases import MEANING, TABLE, Phase
from mainstem.rounds.steps import script_of

WIDTH, HEIGHT = 1040, 700
STYLE = """
.paper { fill: #ffffff } .box { fill: #eef4f8; stroke: #4a6b82 } .chain { fill: #e4ecd9; stroke: #5b7a3a }
text { font: 11px system-ui, sans-serif; fill: #3c4a55; text-anchor: middle }
.name { font-size: 15px; font-weight: 600; fill: #16242e } .left { text-anchor: start }
.label { fill: #16242e; stroke: #ffffff; stroke-width: 8px; stroke-linejoin: round; paint-order: stroke }
path { fill: none; stroke: #5f7484; stroke-width: 1.4 } .followed { stroke: #5b7a3a } marker path { fill: #5f7484 }
@media (prefers-color-scheme: dark) {
.paper { fill: #12181d } .box { fill: #1d2a34; stroke: #7fa3bd } .chain { fill: #232c1a; stroke: #95b56f }
text { fill: #b6c4ce } .name { fill: #f0f5f8 } .label { fill: #f0f5f8; stroke: #12181d }
path { stroke: #8fa6b5 } .followed { stroke: #95b56f } marker path { fill: #8fa6b5 }
}
"""

TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8Z"/></marker>'
)


class Box(NamedTuple):
    """A rectangle by its middle."""

    x: float
    y: float
    width: float
    height: float

    def towards(self, x: float, y: float) -> tuple[float, float]:
        """Where a line from the middle to that point leaves it."""
        dx, dy = x - self.x, y - self.y
        part = min(self.width / 2 / abs(dx) if dx else math.inf, self.height / 2 / abs(dy) if dy else math.inf)
        return self.x + dx * part, self.y + dy * part

    @property
    def left(self) -> float:
        """Its left side."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Its right side."""
        return self.x + self.width / 2


CHAIN = Box(90, 345, 130, 470)
BOXES = {
    Phase.UNBORN: Box(90, 54, 130, 70),
    Phase.WAITING: Box(330, 90, 180, 84),
    Phase.OPEN: Box(330, 270, 180, 84),
    Phase.FINAL: Box(330, 430, 180, 84),
    Phase.ENDED: Box(330, 535, 180, 84),
    Phase.CHECKING: Box(625, 180, 180, 84),
    Phase.REDUCING: Box(625, 345, 180, 84),
    Phase.COMMITTING: Box(940, 315, 150, 530),
}
AT = {Phase.WAITING: -22.0}
"""How far below its middle the line to `committing` begins, so that it passes the other boxes."""
LABELS = {
    (Phase.WAITING, Phase.REDUCING): 0.72,
    (Phase.CHECKING, Phase.REDUCING): 0.25,
    (Phase.OPEN, Phase.COMMITTING): 0.85,
}
"""Where on the way its label stands, where half way would be on another line."""


def picture() -> str:
    """The whole file."""
    body = [*_followed(), *_ways(), *_phases(), *_script()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<title>The phases of a round, and the events that lead from one to another</title>",
            f"<style>{STYLE}</style>",
            TIP,
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
            *body,
            "</svg>\n",
        ]
    )


def _phases() -> Iterator[str]:
    for phase, box in BOXES.items():
        stays = [kind.__name__ for kind, targets in TABLE[phase].items() if phase in targets and kind is not Followed]
        yield from _box(box, phase.value, MEANING[phase], "\N{ANTICLOCKWISE OPEN CIRCLE ARROW} " + ", ".join(stays))
    yield from _box(CHAIN, "new head", "whatever the phase: the chain alone says what a run is at", kind="chain")


def _box(box: Box, name: str, *texts: str, kind: str = "box") -> Iterator[str]:
    left, top = box.left, box.y - box.height / 2
    yield f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{box.width:g}" height="{box.height:g}" rx="6"/>'
    lines = [line for text in texts for line in textwrap.wrap(text, int(box.width / 6.2))]
    y = box.y - 7 * len(lines) + 5
    yield f'<text class="name" x="{box.x:g}" y="{y:g}">{escape(name)}</text>'
    for number, line in enumerate(lines, 1):
        yield f'<text x="{box.x:g}" y="{y + 3 + 13 * number:g}">{escape(line)}</text>'


def _followed() -> Iterator[str]:
    """The event that every phase takes, with the same consequences."""
    (targets,) = {row[Followed] for row in TABLE.values()}
    unborn, committing = BOXES[Phase.UNBORN], BOXES[Phase.COMMITTING]
    yield _line([(unborn.x, unborn.y + unborn.height / 2), (unborn.x, CHAIN.y - CHAIN.height / 2)], "followed")
    for phase in Phase:
        if phase in targets and phase is not Phase.COMMITTING:
            box = BOXES[phase]
            y = max(box.y, CHAIN.y - CHAIN.height / 2 + 12)
            yield from _arrow([(CHAIN.right, y), (box.left, y)], "Followed", kind="followed")
    if Phase.COMMITTING in targets:
        below = CHAIN.y + CHAIN.height / 2 + 20
        way = [(CHAIN.x, CHAIN.y + CHAIN.height / 2), (CHAIN.x, below), (committing.x, below)]
        yield from _arrow([*way, (committing.x, committing.y + committing.height / 2)], "Followed", kind="followed")


def _ways() -> Iterator[str]:
    ways: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, row in TABLE.items():
        for kind, targets in row.items():
            for target in Phase:
                if kind is not Followed and target in targets and target is not phase:
                    ways.setdefault((phase, target), []).append(kind.__name__)
    for (phase, target), kinds in ways.items():
        a, b = BOXES[phase], BOXES[target]
        if target is Phase.COMMITTING:
            y = a.y + AT.get(phase, 0)
            points = [(a.right, y), (b.left, y)]
        else:
            points = _beside([a.towards(b.x, b.y), b.towards(a.x, a.y)], 11 if (target, phase) in ways else 0)
        yield from _arrow(points, ", ".join(kinds), LABELS.get((phase, target), 0.5))


def _beside(points: list[tuple[float, float]], by: float) -> list[tuple[float, float]]:
    """The line so far to the right of itself: the way back runs on its other side."""
    (ax, ay), (bx, by_) = points
    length = math.hypot(bx - ax, by_ - ay)
    dx, dy = -(by_ - ay) / length * by, (bx - ax) / length * by
    return [(ax + dx, ay + dy), (bx + dx, by_ + dy)]


def _arrow(points: list[tuple[float, float]], label: str, at: float = 0.5, kind: str = "way") -> Iterator[str]:
    yield _line(points, kind)
    (ax, ay), (bx, by) = points[-3:-1] if len(points) > 2 else points
    x, y = ax + (bx - ax) * at, ay + (by - ay) * at
    yield f'<text class="label" x="{x:.1f}" y="{y + 4:.1f}">{escape(label)}</text>'


def _line(points: list[tuple[float, float]], kind: str) -> str:
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{way}" marker-end="url(#tip)"/>'


def _script() -> Iterator[str]:
    """The steps, each with the record that commits it."""
    always = script_of(Rules())
    y = HEIGHT - 36
    yield f'<text class="left" x="25" y="{y + 4}">The script of an open round:</text>'
    for number, step in enumerate(script_of(Rules(selection=Selection(name="uniform", params={"count": 1})))):
        takes = f"takes {_tag(step.takes)}" if step.takes is not None else "takes nothing"
        where = "" if step in always else "where selection is not all; "
        yield from _box(Box(330 + 310 * number, y, 270, 56), step.name, f"{where}{takes}, ends in {_tag(step.commit)}")


def _tag(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "rounds.svg"
    path.write_text(picture(), encoding="utf-8")
