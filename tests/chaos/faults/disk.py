"""The broker's disk is full, or its data directory is read-only, in mid-run.

`full` fills the broker's small file system to the last page (ENOSPC). Where the tests may not mount one, and for
`limit`, it is the nearest real thing that needs no privileges: RLIMIT_FSIZE, set on the running broker a few bytes
behind the end of its newest segment, so that the next batch is written in part and fails (EFBIG). `read-only` takes
the right to write from the directories: no file can be made or renamed, so the next checkpoint fails (EACCES). Kafka
ends when its one data directory fails; it is started again once there is space.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage

CHECKPOINT = 6.0
"""Seconds within which Kafka writes a checkpoint anew (every 5 s)."""


def hit(stage: PlatformStage, fault: Fault) -> dict[str, object] | None:
    """Take the space away, wait whether the broker dies of it, give it back, and have the broker running."""
    broker = stage.broker
    how = "limit" if fault.how == "full" and not stage.ground.mounted else fault.how
    harm = {"full": _full, "limit": _limit, "read-only": _read_only}[how]
    seconds = CHECKPOINT if how == "read-only" else fault.seconds
    with harm(stage, fault.number):
        deadline = time.monotonic() + seconds
        while broker.running and time.monotonic() < deadline:
            time.sleep(0.02)
    died = not broker.running
    stage.ground.start()
    return {"how": how, "broker": "died" if died else "lived"}


@contextmanager
def _full(stage: PlatformStage, number: int) -> Iterator[None]:
    with filled(stage.ground.data / "ballast"):
        yield


@contextmanager
def filled(ballast: Path) -> Iterator[None]:
    """The file system of this file is full, to the last page."""
    try:
        with open(ballast, "wb") as handle:
            _fill(handle.fileno())
        yield
    finally:
        ballast.unlink()


def _fill(file: int) -> None:
    """Take every free page, while others take some too."""
    size, piece = 0, 16 << 20
    while piece >= mmap.PAGESIZE:
        try:
            os.posix_fallocate(file, size, piece)
            size += piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 2


@contextmanager
def _limit(stage: PlatformStage, number: int) -> Iterator[None]:
    segments = (stage.ground.data / "data").glob("FED-*/*.log")
    newest = max(segments, key=lambda path: path.stat().st_mtime)
    (pid,) = stage.pids("kafka")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (newest.stat().st_size + number, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        if stage.broker.running:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _read_only(stage: PlatformStage, number: int) -> Iterator[None]:
    data = stage.ground.data / "data"
    directories: list[Path] = [data, *(path for path in data.iterdir() if path.is_dir())]
    try:
        for directory in directories:
            directory.chmod(0o500)
        yield
    finally:
        for directory in directories:
            directory.chmod(0o700)
