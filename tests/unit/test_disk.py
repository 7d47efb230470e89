"""How much room a disk has, and what is said of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mainstem.errors import ConfigError
from mainstem.runtime.disk import FLOOR_BYTES, Disk, Disks, floor_of, lament, no_room, size

FLOOR = 1_000_000_000


def disks(home: Path, free: int) -> Disks:
    """A home whose disk has so much left."""
    return Disks(home, FLOOR, lambda path: (10 * FLOOR, 10 * FLOOR - free, free))


def test_little_room_is_said_before_it_is_gone(tmp_path: Path) -> None:
    """From four floors on there is a sentence, from the floor on rounds wait; neither names a path."""
    plenty, low, full = (disks(tmp_path, free) for free in (4 * FLOOR, 4 * FLOOR - 1, FLOOR // 2))
    assert (plenty.said(), plenty.waits()) == ([], "")
    assert low.said() == ["The disk of MAINSTEM_HOME has 4.0 GB left: below 1.0 GB rounds wait."]
    assert low.waits() == ""
    assert full.said() == ["The disk of MAINSTEM_HOME is almost full: 0.50 GB left. Rounds wait until it has 1.0 GB."]
    assert disks(tmp_path, 0).said() == [
        "The disk of MAINSTEM_HOME is full: 0 KB left. Rounds wait until it has 1.0 GB."
    ]
    assert full.waits().startswith("the disk of MAINSTEM_HOME is almost full: rounds wait until 1.0 GB of it is free")
    assert full.waits() == disks(tmp_path, 5).waits(), "a progress record a second, otherwise"


def test_each_file_system_is_looked_at_once(tmp_path: Path) -> None:
    """The broker's directory has a line of its own only where it has a disk of its own; no home, no disks."""
    (tmp_path / "kafka").mkdir()
    assert [disk.name for disk in Disks(tmp_path).look()] == ["MAINSTEM_HOME"]
    assert Disks(tmp_path / "absent").look() == Disks(None).look() == []
    assert Disks(None).kafka() is Disks(tmp_path / "absent").kafka() is None
    assert Disks(tmp_path).kafka() == Disks(tmp_path).look()[0]
    (tmp_path / "kafka").rmdir()
    (tmp_path / "kafka").symlink_to("/proc")
    assert [disk.name for disk in Disks(tmp_path).look()] == ["MAINSTEM_HOME", "Kafka"]
    assert Disks(tmp_path).kafka() == Disks(tmp_path).look()[1]


def test_the_floor_is_a_setting() -> None:
    """Bytes; 0 has nothing wait; anything else is refused by name."""
    assert floor_of({}) == FLOOR_BYTES
    assert floor_of({"MAINSTEM_DISK_FLOOR_BYTES": "0"}) == 0
    assert Disk("x", Path(), 0, 1, 0).state == "ok"
    for wrong in ("1GB", "-1", "1e9", str(1 << 60)):
        with pytest.raises(ConfigError, match="MAINSTEM_DISK_FLOOR_BYTES"):
            floor_of({"MAINSTEM_DISK_FLOOR_BYTES": wrong})


def test_words_for_the_disk(tmp_path: Path) -> None:
    """Errors of the disk are named as such, others are not; a directory's disk is blamed only where it has no room."""
    assert no_room(OSError(errno.ENOSPC, "")) == "the disk is full"
    assert no_room(OSError(errno.ENOENT, "")) == no_room(ValueError()) == ""
    assert lament(tmp_path, floor=0) == lament(tmp_path / "absent") == ""
    assert lament(tmp_path, floor=1 << 60).startswith(f"the disk of {tmp_path} has only ")
    assert [size(n) for n in (13_000_000_000, 1_230_000_000, 50_000_000, 3_100_000, 900)] == [
        "13 GB", "1.2 GB", "0.05 GB", "3.1 MB", "1 KB",
    ]  # fmt: skip
