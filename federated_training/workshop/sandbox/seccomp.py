"""A seccomp filter, a list of what is allowed: a process keeps its own memory, threads and files, and nothing else.

Landlock guards paths; this filter guards what Landlock does not: processes, sockets, signals, shared memory, and
changes to the metadata of files. What it leaves out can also be watched from outside: memory is in the process's own
figures and bytes on disk in what it has written, since neither can be had by a shared mapping, a `fallocate` or a
`splice`. A call that is not on the list fails with EPERM, so that ordinary Python code reports an ordinary
PermissionError; calls newer than this list answer ENOSYS, and libraries do without.
"""

from __future__ import annotations

import os
import platform
from typing import Final

from federated_training.workshop.sandbox import filter as confine_filter
from federated_training.workshop.sandbox.calls import ALLOWED, JUDGED
from federated_training.workshop.sandbox.filter import ALLOW, ENOSYS, EPERM, JEQ, JGE, JSET, LD, RET, Step

# Linux 6.13: numbers from here on (and x32's, which start at 2**30) are unknown to this list.
_UNKNOWN_FROM: Final = 463

_COLUMN: Final = {"x86_64": 0, "aarch64": 1}

_CLONE_THREAD: Final = 0x00010000
_CLONE_NAMESPACES: Final = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_MAP_SHARED_OR_HUGE: Final = 0x00040001
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_TERMINAL_AND_BLOCKING: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: neither typing into a terminal nor signals to an owner."""
_DESCRIPTORS: Final = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC: no owner to signal, no leases, no locks without end."""


def program(machine: str, pid: int) -> bytes:
    """The filter as classic BPF for `machine` (`platform.machine()`), for the process `pid`."""
    column = _COLUMN[machine]
    steps: list[Step] = [(JGE, 0, 1, _UNKNOWN_FROM), (RET, 0, 0, ENOSYS)]
    for name, judgement in _judgements(pid).items():
        steps += [(JEQ, 0, len(judgement), JUDGED[name][column]), *judgement]
    for numbers in ALLOWED.values():
        allowed = numbers[column]
        if allowed is not None:
            steps += [(JEQ, 0, 1, allowed), (RET, 0, 0, ALLOW)]
    steps.append((RET, 0, 0, EPERM))
    return confine_filter.assembled(machine, steps)


def _judgements(pid: int) -> dict[str, list[Step]]:
    """What decides each call that depends on its arguments; every list ends with a return."""
    return {
        # Threads, no processes. `clone3`, whose flags a filter cannot see, does not exist, so that libc uses `clone`.
        "clone": [
            _argument(0),
            (JSET, 0, 1, _CLONE_NAMESPACES),
            (RET, 0, 0, EPERM),
            (JSET, 0, 1, _CLONE_THREAD),
            (RET, 0, 0, ALLOW),
            (RET, 0, 0, EPERM),
        ],
        "clone3": [(RET, 0, 0, ENOSYS)],
        "tgkill": _only(0, pid),  # its own threads: `abort` does
        "prlimit64": _only(0, 0),  # its own limits
        # Neither its death with its parent, nor whether its watcher may read its figures, can be changed.
        "prctl": _only(0, _PR_SET_NAME, _PR_GET_NAME),
        "ioctl": _only(1, *_TERMINAL_AND_BLOCKING),
        "fcntl": _only(1, *_DESCRIPTORS),
        # Shared and huge pages are in no process's resident set; a written mapping of a file is no `write`.
        "mmap": [
            _argument(3),
            (JSET, 0, 1, _MAP_SHARED_OR_HUGE),
            (RET, 0, 0, EPERM),
            (RET, 0, 0, ALLOW),
        ],
    }


def _argument(index: int) -> Step:
    """Load the low word of an argument; both architectures are little-endian."""
    return (LD, 0, 0, 16 + 8 * index)


def _only(index: int, *values: int) -> list[Step]:
    """Allow the call where the low word of its argument, of which the kernel takes no more, is one of `values`."""
    tests = [step for value in values for step in ((JEQ, 0, 1, value), (RET, 0, 0, ALLOW))]
    return [_argument(index), *tests, (RET, 0, 0, EPERM)]


def install() -> None:
    """Put the filter on the calling thread and all threads that it starts; see `sandbox.filter.install`."""
    confine_filter.install(program(platform.machine(), os.getpid()))
