"""Where the embedded broker keeps what it downloads and prepares once, shared by all projects of a user."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache_directory() -> Path:
    """`$MAINSTEM_CACHE`, else `mainstem` in the XDG cache directory (`~/.cache/mainstem`); made when absent."""
    chosen = os.environ.get("MAINSTEM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    path = Path(chosen) if chosen else Path(base or Path.home() / ".cache") / "mainstem"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold the cache's lock `name` against other threads and processes; yields the cache directory."""
    cache = cache_directory()
    with open(cache / f"{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield cache
