"""A broker whose data directory can go back to an older copy, as after a restored backup of its volume."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Stoppable(Protocol):
    """A broker."""

    def stop(self) -> None: ...
    def start(self) -> object: ...


class OlderCopy:
    """Of the broker's data, taken while it stands still. `kill` ends it without a word, which is quicker than `stop`.

    A killed broker comes back with the leader epochs of the copy, a stopped one with smaller ones: clients see another
    trouble in either case.
    """

    def __init__(self, broker: Stoppable, data: Path, beside: Path, kill: Callable[[], None] | None = None) -> None:
        self._broker, self._data, self._copy = broker, data, beside
        self._end = kill or broker.stop

    def take(self) -> None:
        """Stop the broker, copy what it has, start it again."""
        self._broker.stop()
        shutil.copytree(self._data, self._copy)
        self._broker.start()

    def go_back(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """End the broker and start it with the copy; `meanwhile` is done while it is away."""
        self._end()
        for entry in self._data.iterdir():  # the directory itself may be where a volume is mounted
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(self._copy, self._data, dirs_exist_ok=True)
        meanwhile()
        self._broker.start()
