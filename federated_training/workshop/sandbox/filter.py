"""Filters of system calls (seccomp) as classic BPF: their vocabulary, and how the kernel gets one.

Sources: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{filter,seccomp,audit,prctl}.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from typing import Final

Step = tuple[int, int, int, int]
"""Opcode, steps to skip where a test holds, steps to skip where it does not, operand."""

LD, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06
"""Load a 32-bit word; jump if equal, greater or equal, any bit set; return."""
NUMBER, ARCHITECTURE = 0, 4
"""Where the call's number and its architecture stand in what the filter sees."""
ALLOW: Final = 0x7FFF0000
EPERM: Final = 0x00050000 | errno.EPERM
ENOSYS: Final = 0x00050000 | errno.ENOSYS
KILL_PROCESS: Final = 0x80000000
AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""How the kernel's audit names the machines (`platform.machine()`) whose calls are known here."""

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_MODE_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def supported() -> bool:
    """Whether this machine's system calls are known here (64-bit Linux on x86_64 or aarch64)."""
    return platform.system() == "Linux" and platform.machine() in AUDIT


def assembled(machine: str, steps: Iterable[Step]) -> bytes:
    """The filter for `machine`: its calls' numbers are loaded when `steps` begin.

    Another architecture's calls end the process, since their numbers mean other things.
    """
    start: list[Step] = [
        (LD, 0, 0, ARCHITECTURE),
        (JEQ, 1, 0, AUDIT[machine]),
        (RET, 0, 0, KILL_PROCESS),
        (LD, 0, 0, NUMBER),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in (*start, *steps))


def install(code: bytes) -> None:
    """Put the filter on the calling thread and all that it starts; it cannot be taken off, nor gain a right again.

    Raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or (
        libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
