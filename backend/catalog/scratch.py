"""Directories for the workshop's requests, removed whatever was put into them, also after a web worker was killed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mainstem.runtime.trees import remove_tree

PREFIX = "mainstem-workshop-"
SPARED_SECONDS = 60.0
"""A directory may be this old before it is locked."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def directory(place: Path) -> Iterator[Path]:
    """A new directory below `place` for the time of the block; what killed processes left there is removed first."""
    sweep(place)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        remove(path)
        os.close(lock)


def sweep(place: Path) -> None:
    """Remove the directories below `place` whose process is gone: nobody has them locked."""
    for path in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or gone meanwhile
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < SPARED_SECONDS:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(handle)


def remove(path: Path) -> None:
    """Remove one; where the file system refuses, the log says so and the next sweep tries again."""
    try:
        remove_tree(path)
    except OSError as error:
        log.warning("the workshop's directory %s cannot be removed: %s", path, error)
