"""Takes the network from the calling process and from all that it starts, for good: it can open no socket any more.

Containers of one pod share its network, so no manifest and no NetworkPolicy can close it to one of them alone; this
seccomp filter does. What is open stays open: a listening socket goes on to accept. Neither root nor a capability is
needed. Of io_uring the set-up is refused as well, since it makes sockets by itself, and so are the system calls of
other architectures, which have numbers of their own.
Sources: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{filter,seccomp,audit}.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

from federated_training.confine import ConfinementError
from federated_training.confine_seccomp import supported

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_EPERM: Final = 0x00050000 | errno.EPERM
_KILL_PROCESS: Final = 0x80000000
_LD, _JEQ, _JGE, _RET = 0x20, 0x15, 0x35, 0x06
_NR, _ARCH = 0, 4
_X32_FROM: Final = 1 << 30
_IO_URING_SETUP: Final = 425
_NUMBERS: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""The architecture as the kernel's audit names it, and the number of `socket`."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def program(machine: str) -> bytes:
    """The filter as classic BPF for `machine` (`platform.machine()`); `socketpair`, which reaches nobody, is left."""
    audit, make = _NUMBERS[machine]
    steps = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, audit),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, _NR),
        (_JGE, 2, 0, _X32_FROM),
        (_JEQ, 1, 0, make),
        (_JEQ, 0, 1, _IO_URING_SETUP),
        (_RET, 0, 0, _EPERM),
        (_RET, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def give_up_network() -> None:
    """From now on this thread, and every thread and process that it starts, can open no socket of any kind.

    Call it while the process has one thread. Raises ConfinementError where the machine cannot do it.
    """
    if not supported():
        raise ConfinementError("The network can only be given up on 64-bit Linux (x86_64, aarch64).")
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(platform.machine())
    wanted = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or (
        libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0
    ):
        raise ConfinementError(f"Giving up the network failed: {os.strerror(ctypes.get_errno())}.")
