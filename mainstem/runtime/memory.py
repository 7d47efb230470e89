"""One heap for all threads that keeps what was freed, for processes through which models pass all the time.

The C library otherwise keeps a heap a thread, each with room that the others lack, and gives every freed megabyte
back to the system, to be cleared and mapped again a moment later.
"""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def use_one_heap() -> None:
    """Call it before threads start; does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
