"""One heap for all threads: the C library otherwise keeps one a thread, each with room that the others lack."""

from __future__ import annotations

import contextlib
import ctypes

M_ARENA_MAX = -8


def use_one_heap() -> None:
    """Call it before threads start; does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
