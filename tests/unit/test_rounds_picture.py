"""The picture of the phases: what the committed file shows is what the table says, and nothing lies outside of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mainstem.rounds import Phase, picture
from mainstem.rounds.phases import MEANING, TABLE

FILE = Path(__file__).parents[2] / "docs" / "rounds.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_picture_is_what_the_script_draws() -> None:
    assert FILE.read_text(encoding="utf-8") == picture.picture(), "run `python -m mainstem.rounds.picture`"


def test_another_table_makes_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn from the table, not beside it."""
    less = {kind: targets for kind, targets in TABLE[Phase.OPEN].items() if kind.__name__ != "Seen"}
    monkeypatch.setattr(picture, "TABLE", {**TABLE, Phase.OPEN: less})
    assert picture.picture() != FILE.read_text(encoding="utf-8")


def test_the_picture_is_whole_and_readable_in_both_lights() -> None:
    """Every phase and event stands in it, every box lies inside, the colours have a dark half."""
    root = ElementTree.fromstring(picture.picture())
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert set(Phase) == set(picture.BOXES) == set(MEANING) and set(Phase) <= set(texts)
    said = " ".join(texts)
    assert all(kind.__name__ in said for row in TABLE.values() for kind in row)
    for box in (*picture.BOXES.values(), picture.CHAIN):
        assert box.left > 0 and box.right < picture.WIDTH
        assert box.y - box.height / 2 > 0 and box.y + box.height / 2 < picture.HEIGHT
    assert "prefers-color-scheme: dark" in picture.STYLE
