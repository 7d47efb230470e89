"""The floors of the code: the picture is what the script draws, and the page explains every floor."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT
from tools.layers_picture import PACKAGES, PICTURE, Building, building, drawn

BUILDINGS = {package: building(package) for package in PACKAGES}
PAGE = (ROOT / "docs" / "layers.md").read_text("utf-8")


def test_the_picture_is_drawn_from_the_code() -> None:
    """Draw it anew with `python -m tools.layers_picture`."""
    assert PICTURE.read_text("utf-8") == drawn(BUILDINGS.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_on_a_floor_and_every_arrow_points_down(package: str) -> None:
    """Import-linter says the same with the whole chain of imports; this tells which arrow of the picture it is."""
    one = BUILDINGS[package]
    assert not one.loose
    up = [(above, below) for above, below in one.arrows if one.place(above)[0] >= one.place(below)[0]]
    assert up == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_explains_every_room(package: str) -> None:
    """Each has a line of its floor's table."""
    listed = set(re.findall(r"`([A-Za-z_]+)`", PAGE.split(f"## `{package}`")[1].split("\n## ")[0]))
    assert {room for floor in BUILDINGS[package].floors for room in floor} <= listed


def test_a_loose_room_and_an_arrow_up_are_seen() -> None:
    """The checks above can fail."""
    one = Building("p", (("a",), ("b", "c")), frozenset({("c", "a")}), frozenset({"d"}))
    assert one.rooms == 4 and one.place("c") == (1, 1) and one.place("c")[0] >= one.place("a")[0]
    assert one.left("a") > one.left("b") and "4 rooms" in drawn([one])
