"""Draws `docs/layers.svg`: every room on its floor, by the contracts of pyproject.toml and the imports of the code.

    python -m tools.layers_picture           writes the picture
    python -m tools.layers_picture --count   rooms, floors and arrows of each package, in a line each

A room is what stands directly in a package: a module or a package of its own. An arrow from one room to another says
that some module of the first imports some module of the second. The same code, the same picture, byte for byte.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "layers.svg"
PACKAGES: Final = ("mainstem", "backend", "federated_training")

WIDTH, HEIGHT, GAP, FLOOR = 124, 26, 14, 62
"""Pixels: a room's, between rooms, and from floor to floor."""
MARGIN, HEAD, SIDE = 20, 44, 110
"""Above the words and below the last floor; above the first floor; beside a building, for arrows that go around."""


@dataclass(frozen=True, slots=True)
class Building:
    """A package: its floors from the roof down, the arrows between its rooms, and rooms that are on no floor."""

    name: str
    floors: tuple[tuple[str, ...], ...]
    arrows: frozenset[tuple[str, str]]
    loose: frozenset[str]

    @property
    def rooms(self) -> int:
        """How many there are."""
        return sum(map(len, self.floors)) + len(self.loose)

    @property
    def width(self) -> int:
        """Pixels."""
        most = max(map(len, self.floors), default=1)
        return most * WIDTH + (most - 1) * GAP

    def place(self, room: str) -> tuple[int, int]:
        """The floor, and which of its rooms."""
        return next((floor, rooms.index(room)) for floor, rooms in enumerate(self.floors) if room in rooms)

    def left(self, room: str) -> int:
        """Where the room begins, in pixels from the building's left; each floor is centred."""
        floor, number = self.place(room)
        count = len(self.floors[floor])
        indent = (self.width - count * WIDTH - (count - 1) * GAP) // 2
        return indent + number * (WIDTH + GAP)


def floors_of(package: str, root: Path = ROOT) -> tuple[tuple[str, ...], ...]:
    """The floors that the contracts give the package, the roof first."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers" and contract.get("containers") == [package]:
            return tuple(tuple(name.strip("() ") for name in floor.split("|")) for floor in contract["layers"])
    return ()


def building(package: str, root: Path = ROOT) -> Building:
    """The package as its code is now."""
    files = sorted((root / package).rglob("*.py"))
    rooms = {room_of(path.relative_to(root / package)) for path in files} - {""}
    arrows = {
        (own, other)
        for path in files
        for own in (room_of(path.relative_to(root / package)),)
        for other in imported(package, path, rooms)
        if own and own != other
    }
    floors = floors_of(package, root)
    return Building(package, floors, frozenset(arrows), frozenset(rooms - {room for floor in floors for room in floor}))


def room_of(path: Path) -> str:
    """The room of a file, by its path in the package; empty for the package's own `__init__`."""
    name = path.parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imported(package: str, path: Path, rooms: Iterable[str]) -> Iterator[str]:
    """The package's rooms from which the file imports anything, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == package and (room := rest.split(".")[0]) in rooms:
                yield room


def drawn(buildings: Iterable[Building]) -> str:
    """The picture, as SVG without fonts, scripts or styles from elsewhere."""
    shapes: list[str] = []
    x = SIDE
    tallest = 0
    for one in buildings:
        shapes += _building(one, x)
        x += one.width + 2 * SIDE
        tallest = max(tallest, len(one.floors))
    width, height = x - SIDE, HEAD + tallest * FLOOR + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        "<title>The floors of the code: every arrow points down</title>\n"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _building(one: Building, x: int) -> Iterator[str]:
    said = f"{one.name}: {one.rooms} rooms, {len(one.floors)} floors, {len(one.arrows)} arrows"
    yield f'<text x="{x}" y="{MARGIN + 4}" font-weight="bold" fill="#1f2933">{escape(said)}</text>'
    for above, below in sorted(one.arrows):
        (upper, _), (lower, _) = one.place(above), one.place(below)
        x1, x2 = x + one.left(above), x + one.left(below)
        if lower == upper + 1:
            y1, y2 = HEAD + upper * FLOOR + HEIGHT, HEAD + lower * FLOOR
            way = f"M{x1 + WIDTH // 2} {y1} L{x2 + WIDTH // 2} {y2}"
        else:  # around the floors between them, on either side by turns
            right = (upper + lower) % 2 == 0
            y1, y2 = (HEAD + floor * FLOOR + HEIGHT // 2 for floor in (upper, lower))
            x1, x2 = (x1 + WIDTH, x2 + WIDTH) if right else (x1, x2)
            far = 8 + 11 * (lower - upper)
            bend = max(x1, x2) + far if right else min(x1, x2) - far
            way = f"M{x1} {y1} C{bend} {y1 + FLOOR // 2} {bend} {y2 - FLOOR // 2} {x2} {y2}"
        yield f'<path d="{way}" fill="none" stroke="#7b8794" stroke-opacity="0.5"/>'
    for floor, rooms in enumerate(one.floors):
        for room in rooms:
            left, top = x + one.left(room), HEAD + floor * FLOOR
            shown = room if len(room) < 17 else room[:15] + "…"
            yield (
                f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#e3edf7" stroke="#2f6f9f"/>'
            )
            yield (
                f'<text x="{left + WIDTH // 2}" y="{top + 17}" text-anchor="middle" fill="#1f2933">'
                f"{escape(shown)}</text>"
            )


def main(arguments: list[str]) -> int:
    """See the module."""
    buildings = [building(package) for package in PACKAGES]
    if arguments == ["--count"]:
        for one in buildings:
            print(f"{one.name}: {one.rooms} rooms, {len(one.floors)} floors, {len(one.arrows)} arrows")
        return 0
    PICTURE.write_text(drawn(buildings), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
