"""A seccomp filter that leaves a Python process its own memory, threads and open files, and nothing else.

Landlock guards paths; this filter guards what Landlock does not: new processes, sockets, signals, tracing,
anonymous files, and changes to the metadata (mode, owner, times, attributes) of files. A refused call fails
with EPERM, so that ordinary Python code reports an ordinary PermissionError.
Sources: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{filter,seccomp,audit}.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL_PROCESS: Final = 0x80000000

# Opcodes of classic BPF: load a 32-bit word, jump if equal / greater or equal / any bit set, return.
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_CLONE_THREAD: Final = 0x00010000

# Linux 6.13: numbers from here on (and x32's, which start at 2**30) are unknown to this list.
_UNKNOWN_FROM: Final = 463
_CLONE3: Final = 435

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# Every refused call with its number on x86_64 and on aarch64 (None: the call does not exist there).
_REFUSED: Final[dict[str, tuple[int | None, int | None]]] = {
    # new processes and other programs
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    # the network, and ways around this filter
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # memory that the resident set of the process does not show, and channels to others
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # what Landlock does not guard about files
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # the machine (they need capabilities that are dropped: a second fence)
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "settimeofday": (164, 170), "adjtimex": (159, 171), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60),
    "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None), "personality": (135, 92),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def supported() -> bool:
    """Whether this machine's system calls are known here (64-bit Linux on x86_64 or aarch64)."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURES


def program(machine: str, pid: int) -> bytes:
    """The filter as classic BPF for `machine` (a key of `platform.machine()`), for the process `pid`.

    Threads may be made (`clone` with CLONE_THREAD), the process may signal its own threads (`abort` does)
    and set its own limits; `clone3`, whose flags a filter cannot see, answers ENOSYS so that libc uses `clone`.
    """
    audit, column = _ARCHITECTURES[machine]
    clone, tgkill, prlimit = ((56, 220), (234, 131), (302, 261))
    steps: list[tuple[int, int, int, int]] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, audit),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, _NR),
        (_JGE, 0, 1, _UNKNOWN_FROM),
        (_RET, 0, 0, _ERRNO | errno.ENOSYS),
        (_JEQ, 0, 1, _CLONE3),
        (_RET, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for number, test, value in (
        (clone[column], _JSET, _CLONE_THREAD),
        (tgkill[column], _JEQ, pid),
        (prlimit[column], _JEQ, 0),
    ):
        steps += [
            (_JEQ, 0, 4, number),
            (_LD, 0, 0, _ARG0),
            (test, 0, 1, value),
            (_RET, 0, 0, _ALLOW),
            (_RET, 0, 0, _ERRNO | errno.EPERM),
        ]
    for numbers in _REFUSED.values():
        refused = numbers[column]
        if refused is not None:
            steps += [(_JEQ, 0, 1, refused), (_RET, 0, 0, _ERRNO | errno.EPERM)]
    steps.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def install(libc: ctypes.CDLL) -> None:
    """Put the filter on the calling thread and all threads that it starts; it cannot be taken off.

    Raises OSError when the kernel refuses. `PR_SET_NO_NEW_PRIVS` must be set before.
    """
    code = program(platform.machine(), os.getpid())
    wanted = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
