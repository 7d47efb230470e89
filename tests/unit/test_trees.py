"""Removing a directory that a hostile process filled."""

from __future__ import annotations

import os
from pathlib import Path

from mainstem.runtime.trees import remove_tree


def _nest(place: Path, depth: int, mode: int = 0o700) -> None:
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.fchmod(here, mode)
        os.close(here)
        here = inner
    os.close(here)


def test_any_depth_any_mode_and_any_name_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    """Deeper than Python recurses and than a path is long, closed to its owner, with odd names and a link out."""
    kept, place = tmp_path / "kept", tmp_path / "place"
    kept.mkdir()
    (kept / "file").write_text("x")
    for name in ("deep", "closed", "odd"):
        (place / name).mkdir(parents=True)
    _nest(place / "deep", 1200)
    _nest(place / "closed", 40, 0o000)
    os.mkdir(os.fsencode(place / "odd") + b"/\xff\n")
    (place / "odd" / "d").symlink_to(kept)
    os.mkfifo(place / "odd" / "pipe")
    (place / "odd" / "d2").mkdir(mode=0o300)
    (place / "odd" / "d2" / "file").touch(0o000)
    remove_tree(place)
    assert not place.exists() and (kept / "file").read_text() == "x"
    remove_tree(place)
