"""How much room the disks have that a platform writes to, from when on it is little, and the words for it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mainstem.errors import ConfigError
from mainstem.runtime.environ import given_home

FLOOR: Final = "MAINSTEM_DISK_FLOOR_BYTES"
FLOOR_BYTES: Final = 512 << 20
"""Where it is not set. Kafka's segments, the database's journal and what other programs write fit into it for long."""

LOW: Final = 4
"""It is said from so many floors on: before anything waits."""

FULL_BYTES: Final = 10_000_000
"""With less than this a disk is called full: an index of Kafka's takes as much."""

_NO_ROOM: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EFBIG: "the disk takes no file so large",
    errno.EROFS: "the disk can only be read",
    errno.EIO: "the disk reports an error",
}

State = Literal["ok", "low", "full"]
Usage = Callable[[Path], tuple[int, int, int]]
"""(total, used, free) bytes, as `shutil.disk_usage`; raises OSError."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of a directory. `name` is what people know it by; `free` and `total` are bytes, `floor` the setting."""

    name: str
    path: Path
    free: int
    total: int
    floor: int

    @property
    def state(self) -> State:
        """`full` where rounds wait, `low` where they soon will."""
        if self.free >= LOW * self.floor:
            return "ok"
        return "low" if self.free >= self.floor else "full"

    @property
    def said(self) -> str:
        """A sentence for people, without its path: anybody may be shown it. Empty where all is well."""
        if self.state == "ok":
            return ""
        if self.state == "low":
            return f"The disk of {self.name} has {size(self.free)} left: below {size(self.floor)} rounds wait."
        full = "full" if self.free < FULL_BYTES else "almost full"
        return (
            f"The disk of {self.name} is {full}: {size(self.free)} left. Rounds wait until it has {size(self.floor)}."
        )

    @property
    def waits(self) -> str:
        """Why rounds wait, in words that stay the same while they do; empty where they need not."""
        if self.state != "full":
            return ""
        return (
            f"the disk of {self.name} is almost full: rounds wait until {size(self.floor)} of it is free ({FLOOR}), "
            "and go on by themselves then"
        )


class Disks:
    """The disks below MAINSTEM_HOME, looked at whenever they are asked for; none where it is not set or not made."""

    def __init__(self, home: Path | None, floor: int = FLOOR_BYTES, usage: Usage = shutil.disk_usage) -> None:
        self.floor = floor
        self._home, self._usage = home, usage

    @staticmethod
    def from_environ(environ: Mapping[str, str] = os.environ) -> Disks:
        """By MAINSTEM_HOME and MAINSTEM_DISK_FLOOR_BYTES; raises ConfigError."""
        return Disks(given_home(environ), floor_of(environ))

    def look(self) -> list[Disk]:
        """Each file system once; one that does not answer is left out."""
        if self._home is None:
            return []
        found: dict[int, Disk] = {}
        for name, path in (("MAINSTEM_HOME", self._home), ("Kafka", self._home / "kafka")):
            try:
                device, (total, _, free) = path.stat().st_dev, self._usage(path)
            except OSError:
                continue
            found.setdefault(device, Disk(name, path, free, total, self.floor))
        return list(found.values())

    def kafka(self) -> Disk | None:
        """The one of the broker's data; None where they do not lie here."""
        if self._home is None or not (self._home / "kafka").is_dir():
            return None
        return next(reversed(self.look()), None)

    def said(self) -> list[str]:
        """A sentence for each that has little room."""
        return [disk.said for disk in self.look() if disk.said]

    def waits(self) -> str:
        """Why rounds must wait; empty where they need not."""
        return next((disk.waits for disk in self.look() if disk.waits), "")


def floor_of(environ: Mapping[str, str] = os.environ) -> int:
    """MAINSTEM_DISK_FLOOR_BYTES; 0 means that nothing waits for room. Raises ConfigError."""
    value = environ.get(FLOOR, "").strip() or str(FLOOR_BYTES)
    if not value.isascii() or not value.isdigit() or int(value) >= 1 << 50:
        raise ConfigError(f"{FLOOR} is {value[:40]!r}; it must be a number of bytes, or 0 for no floor at all")
    return int(value)


def size(nbytes: int) -> str:
    """For people: `13 GB`, `1.2 GB`, `0.05 GB`, `310 KB`."""
    if nbytes >= 10_000_000_000:
        return f"{nbytes / 1e9:,.0f} GB"
    if nbytes >= 10_000_000:
        return f"{nbytes / 1e9:.{1 if nbytes >= 1_000_000_000 else 2}f} GB"
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 1_000_000 else f"{nbytes / 1e3:.0f} KB"


def no_room(error: BaseException) -> str:
    """What the disk has to do with an error; empty where it is none of the disk's."""
    return _NO_ROOM.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def lament(directory: Path, floor: int = FLOOR_BYTES) -> str:
    """What to put before the last words of who wrote to `directory`, where its disk has little room; else empty."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError:
        return ""
    if free >= floor:
        return ""
    return f"the disk of {directory} {'is full' if free < FULL_BYTES else f'has only {size(free)} left'}; "
