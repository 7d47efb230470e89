"""Locks the calling process into a few directories, for good: Landlock, seccomp, limits, no capabilities.

Whatever opens what people gave, source, files and configs alike, runs behind `enter`; the process that watches over it
behind `restrict_files`.
Standard library only: it runs before anything else is imported, while the process still has one thread
(Landlock and seccomp bind the calling thread and what it starts later).
Source: Linux `Documentation/userspace-api/landlock.rst`; system calls 444 to 446 are the same everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from federated_training.workshop.sandbox import filter as confine_filter
from federated_training.workshop.sandbox import seccomp
from mainstem.errors import MainstemError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ: Final = _READ_FILE | _READ_DIR
# Neither links, devices, sockets nor pipes can be made: what the parent finds are plain files.
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

_UNTOUCHED: Final = 4 << 30
"""What TensorFlow's threads reserve for their stacks and heaps on a machine of many cores, and hardly touch."""

_SYSTEM_READ: Final = (
    "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
    "/dev/urandom", "/dev/random", "/dev/zero", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/proc/filesystems", "/proc/self/cmdline", "/proc/sys/kernel/random", "/proc/sys/vm", "/sys/devices/system",
)  # fmt: skip


class ConfinementError(MainstemError):
    """This machine cannot confine a process; the message says what is missing."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failed(what: str) -> ConfinementError:
    return ConfinementError(f"{what} failed: {os.strerror(ctypes.get_errno())}.")


def landlock_version() -> int:
    """The kernel's Landlock ABI, 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def why_not() -> str | None:
    """Why what people gave cannot be opened on this machine, as a sentence; None when it can."""
    if not confine_filter.supported():
        return (
            "A model as source, JSON or file is only opened on 64-bit Linux (x86_64, aarch64), where it can be "
            "confined: choose a template."
        )
    if landlock_version() < 1:
        return (
            "A model as source, JSON or file is refused here, since this kernel has no Landlock (Linux 5.13, enabled "
            "at boot) to confine what opens it: choose a template."
        )
    return None


def python_paths() -> list[Path]:
    """What this Python needs to read to import the standard library, its packages and this code.

    Never the prefix itself: a checkout, with its secrets, may be its parent directory.
    """
    names = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    names |= {str(Path(sys.base_prefix) / "lib"), str(Path(sys.prefix) / "pyvenv.cfg"), sys.executable}
    names |= {os.path.realpath(sys.executable), str(Path(sys.base_exec_prefix) / "lib")}
    package = Path(__file__).resolve().parents[2]
    return [*(Path(name) for name in sorted(names)), package, package.parent / "mainstem"]


def restrict_files(read: Iterable[Path], write: Iterable[Path], *, execute: bool = False) -> None:
    """From now on this process reads only below `read` and `write`, and changes only what is below `write`.

    Also no TCP (ABI 4), no signals and abstract sockets to the outside (ABI 6), no tracing of outsiders.
    `execute` lets it start programs found below `read`. Paths that do not exist are left out.
    Raises ConfinementError when the kernel refuses.
    """
    libc, version = _libc(), landlock_version()
    if version < 1:
        raise ConfinementError("This kernel has no Landlock.")
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if version >= since:
            handled |= 1 << bit
    attributes = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)))
    if ruleset < 0:
        raise _failed("Making a Landlock ruleset")
    try:
        reading = _READ | (_EXECUTE if execute else 0)
        for path in [*read, *(Path(name) for name in _SYSTEM_READ)]:
            _allow(libc, ruleset, path, reading & handled)
        _allow(libc, ruleset, Path("/dev/null"), (_READ_FILE | _WRITE_FILE) & handled)
        for path in write:
            _allow(libc, ruleset, path, _WRITE & handled)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise _failed("Giving up new privileges")
        if libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) != 0:
            raise _failed("Entering the Landlock ruleset")
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, handle)
        if libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0)) != 0:
            raise _failed(f"Allowing {path}")
    finally:
        os.close(handle)


def volunteer() -> None:
    """When the machine runs out of memory, this process and its children are the ones to end (Linux)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # a read-only /proc
            Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def bound(*, seconds: int, file_bytes: int, memory: int, parent: int) -> None:
    """Bind the calling process to its `parent`, whose end is its own, and to what `enter` says of limits.

    Raises ConfinementError when the parent is gone already.
    """
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # in a container the parent may well be process 1
        raise ConfinementError("The process that asked for this one is gone.")
    cores = os.cpu_count() or 1
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CPU, seconds * cores),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_DATA, memory + _UNTOUCHED),
    ):
        hard = resource.getrlimit(limit)[1]
        kept = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (kept, kept))


def enter(write: Iterable[Path], *, seconds: int, file_bytes: int, memory: int, parent: int) -> None:
    """Confine the calling process, which is about to open what a stranger gave, to `write`. There is no way back.

    It keeps its memory and threads, reads this Python installation, and may write below `write` (at most `file_bytes`
    a file). It has no other files, no network, no other processes, no new programs, no capabilities, and at most
    `seconds` of processor time on each of its cores; it dies with its `parent`, which watches what it uses. `memory`
    bytes are watched by the parent too; the kernel refuses what is far above them at once.
    Raises ConfinementError when the kernel refuses any of it.
    """
    reason = why_not()
    if reason is not None:
        raise ConfinementError(reason)
    bound(seconds=seconds, file_bytes=file_bytes, memory=memory, parent=parent)
    libc = _libc()
    restrict_files(python_paths(), write)
    _drop_capabilities(libc)
    try:
        seccomp.install()
    except OSError as error:
        raise ConfinementError(f"Installing the system call filter failed: {error.strerror}.") from error


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    if libc.capset(header, bytes(24)) != 0:
        raise _failed("Dropping capabilities")
