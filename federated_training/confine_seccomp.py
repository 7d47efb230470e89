"""A seccomp filter, a list of what is allowed: a process keeps its own memory, threads and files, and nothing else.

Landlock guards paths; this filter guards what Landlock does not: processes, sockets, signals, shared memory, and
changes to the metadata of files. What it leaves out can also be watched from outside: memory is in the process's own
figures and bytes on disk in what it has written, since neither can be had by a shared mapping, a `fallocate` or a
`splice`. A call that is not on the list fails with EPERM, so that ordinary Python code reports an ordinary
PermissionError; calls newer than this list answer ENOSYS, and libraries do without.
Sources: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{filter,seccomp,audit}.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

from federated_training.confine_calls import ALLOWED, JUDGED

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_EPERM: Final = 0x00050000 | errno.EPERM
_ENOSYS: Final = 0x00050000 | errno.ENOSYS
_KILL_PROCESS: Final = 0x80000000

# Opcodes of classic BPF: load a 32-bit word, jump if equal / greater or equal / any bit set, return.
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH = 0, 4

# Linux 6.13: numbers from here on (and x32's, which start at 2**30) are unknown to this list.
_UNKNOWN_FROM: Final = 463

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_CLONE_THREAD: Final = 0x00010000
_CLONE_NAMESPACES: Final = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_MAP_SHARED_OR_HUGE: Final = 0x00040001
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_TERMINAL_AND_BLOCKING: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: neither typing into a terminal nor signals to an owner."""
_DESCRIPTORS: Final = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC: no owner to signal, no leases, no locks without end."""

Step = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def supported() -> bool:
    """Whether this machine's system calls are known here (64-bit Linux on x86_64 or aarch64)."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURES


def program(machine: str, pid: int) -> bytes:
    """The filter as classic BPF for `machine` (a key of `platform.machine()`), for the process `pid`.

    Another architecture's calls end the process, since their numbers mean other things.
    """
    audit, column = _ARCHITECTURES[machine]
    steps: list[Step] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, audit),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, _NR),
        (_JGE, 0, 1, _UNKNOWN_FROM),
        (_RET, 0, 0, _ENOSYS),
    ]
    for name, judgement in _judgements(pid).items():
        steps += [(_JEQ, 0, len(judgement), JUDGED[name][column]), *judgement]
    for numbers in ALLOWED.values():
        allowed = numbers[column]
        if allowed is not None:
            steps += [(_JEQ, 0, 1, allowed), (_RET, 0, 0, _ALLOW)]
    steps.append((_RET, 0, 0, _EPERM))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _judgements(pid: int) -> dict[str, list[Step]]:
    """What decides each call that depends on its arguments; every list ends with a return."""
    return {
        # Threads, no processes. `clone3`, whose flags a filter cannot see, does not exist, so that libc uses `clone`.
        "clone": [
            _argument(0),
            (_JSET, 0, 1, _CLONE_NAMESPACES),
            (_RET, 0, 0, _EPERM),
            (_JSET, 0, 1, _CLONE_THREAD),
            (_RET, 0, 0, _ALLOW),
            (_RET, 0, 0, _EPERM),
        ],
        "clone3": [(_RET, 0, 0, _ENOSYS)],
        "tgkill": _only(0, pid),  # its own threads: `abort` does
        "prlimit64": _only(0, 0),  # its own limits
        # Neither its death with its parent, nor whether its watcher may read its figures, can be changed.
        "prctl": _only(0, _PR_SET_NAME, _PR_GET_NAME),
        "ioctl": _only(1, *_TERMINAL_AND_BLOCKING),
        "fcntl": _only(1, *_DESCRIPTORS),
        # Shared and huge pages are in no process's resident set; a written mapping of a file is no `write`.
        "mmap": [
            _argument(3),
            (_JSET, 0, 1, _MAP_SHARED_OR_HUGE),
            (_RET, 0, 0, _EPERM),
            (_RET, 0, 0, _ALLOW),
        ],
    }


def _argument(index: int) -> Step:
    """Load the low word of an argument; both architectures are little-endian."""
    return (_LD, 0, 0, 16 + 8 * index)


def _only(index: int, *values: int) -> list[Step]:
    """Allow the call where the low word of its argument, of which the kernel takes no more, is one of `values`."""
    tests = [step for value in values for step in ((_JEQ, 0, 1, value), (_RET, 0, 0, _ALLOW))]
    return [_argument(index), *tests, (_RET, 0, 0, _EPERM)]


def install(libc: ctypes.CDLL) -> None:
    """Put the filter on the calling thread and all threads that it starts; it cannot be taken off.

    Raises OSError when the kernel refuses. `PR_SET_NO_NEW_PRIVS` must be set before.
    """
    code = program(platform.machine(), os.getpid())
    wanted = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
