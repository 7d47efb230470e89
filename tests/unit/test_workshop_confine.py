"""Confinement, tried from within: a small process confines itself and then tries what it must not do.

The filter itself is also run here, instruction by instruction, for both architectures.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from federated_training.workshop.sandbox import calls, confine, seccomp
from federated_training.workshop.sandbox import filter as confine_filter
from tests.support.patience import PATIENCE

_PROBE = """
import ctypes, fcntl, json, mmap, os, platform, resource, signal, socket, subprocess, sys, termios, threading
from pathlib import Path
from federated_training.workshop.sandbox import confine, calls as confine_calls
outside, inside = Path(sys.argv[1]), Path(sys.argv[2])
confine.enter([inside], seconds=20, file_bytes=1 << 20, memory=1 << 30, parent=os.getppid())
libc = ctypes.CDLL(None, use_errno=True)
column = ("x86_64", "aarch64").index(platform.machine())
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def unlisted():
    # Every call that is on no list, by its number: none may do anything (335 and 336, uretprobe and uprobe, pass any
    # filter and do nothing).
    listed = {numbers[column] for numbers in [*confine_calls.ALLOWED.values(), *confine_calls.JUDGED.values()]}
    for number in set(range(520)) - listed - {335, 336}:
        libc.syscall(number, 0, 0, 0, 0, 0, 0)
        if ctypes.get_errno() not in (1, 38):
            return number
    raise OSError("none of them")
mine = open(inside / "held", "w+b")
mine.write(bytes(4096))
mine.flush()
attempts = {
    "read a file of ours": lambda: (outside / "settings.env").read_text(),
    "list a directory of ours": lambda: os.listdir(outside),
    "write outside": lambda: (outside / "new").write_text("x"),
    "truncate outside": lambda: os.truncate(outside / "settings.env", 0),
    "change a mode": lambda: os.chmod(outside / "settings.env", 0o666),
    "change times": lambda: os.utime(outside / "settings.env"),
    "read a neighbour's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read its own environment": lambda: Path("/proc/self/environ").read_bytes(),
    "fork": os.fork,
    "start a program": lambda: subprocess.run(["true"]),
    "replace itself": lambda: os.execv(sys.executable, [sys.executable]),
    "open a socket": socket.socket,
    "open a local socket": lambda: socket.socket(socket.AF_UNIX),
    "signal its parent": lambda: os.kill(os.getppid(), 0),
    "leave its session": os.setsid,
    "hide memory in a file": lambda: os.memfd_create("x"),
    "link out": lambda: os.symlink(outside / "settings.env", inside / "link"),
    "make a pipe for its parent to hang on": lambda: os.mkfifo(inside / "pipe"),
    "write a huge file": lambda: (inside / "huge").write_bytes(bytes(2 << 20)),
    "raise its limits": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40)),
    "become another user": lambda: os.setuid(12345),
    "mount": lambda: ctypes.CDLL(None, use_errno=True).mount(b"x", b"/", b"tmpfs", 0, 0) and 1 / 0,
    "outlive its parent": lambda: call("prctl", 1, 0, 0, 0, 0),
    "hide from its watcher": lambda: call("prctl", 4, 0, 0, 0, 0),
    "change its user for a moment": lambda: libc.syscall((122, 151)[column], 12345) and call("setfsuid", 1),
    "leave its group": lambda: os.setpgid(0, 0),
    "share memory (System V)": lambda: call("shmget", 0, 1 << 20, 0o1666),
    "queue messages (System V)": lambda: call("msgget", 0, 0o1666),
    "share semaphores (System V)": lambda: call("semget", 0, 1, 0o1666),
    "share memory (POSIX)": lambda: mmap.mmap(-1, 1 << 20),
    "write by a mapping": lambda: mmap.mmap(mine.fileno(), 4096),
    "reserve disk": lambda: os.posix_fallocate(mine.fileno(), 0, 1 << 19),
    "copy in the kernel": lambda: os.copy_file_range(mine.fileno(), mine.fileno(), 9, 0, 9),
    "splice": lambda: os.sendfile(mine.fileno(), mine.fileno(), 0, 9),
    "have its parent signalled": lambda: fcntl.fcntl(mine, fcntl.F_SETOWN, os.getppid()),
    "lock without end": lambda: fcntl.lockf(mine, fcntl.LOCK_EX),
    "type into a terminal": lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"),
    "change its filter": lambda: call("prctl", 22, 0, 0, 0, 0),
    "do anything unlisted": unlisted,
    "allocate far more than its memory": lambda: bytearray(6 << 30),
    "write into the installation": lambda: Path(confine.__file__).with_name("x").write_text(""),
}
result = {}
for name, attempt in attempts.items():
    try:
        attempt()
        result[name] = "allowed"
    except (OSError, ValueError, ZeroDivisionError, MemoryError) as error:
        result[name] = type(error).__name__
(inside / "mine").write_text("x")
thread = threading.Thread(target=lambda: result.update(thread="ran"))
thread.start(); thread.join()
import decimal, sqlite3  # the standard library can be read
print(json.dumps(result))
"""

needs_landlock = pytest.mark.skipif(confine.why_not() is not None, reason=str(confine.why_not()))


@needs_landlock
def test_a_guest_whose_parent_is_gone_does_not_run(tmp_path: Path) -> None:
    """It would never be ended; a parent that is process 1, as in a container, is another matter."""
    program = (
        "import sys; from pathlib import Path; from federated_training.workshop.sandbox import confine\n"
        "confine.enter([Path(sys.argv[1])], seconds=1, file_bytes=1, memory=1 << 30, parent=1)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is gone" in done.stderr


@needs_landlock
def test_a_confined_process_keeps_its_memory_and_its_directory_and_nothing_else(tmp_path: Path) -> None:
    """Every attempt on files, processes, network and limits fails; threads and its own directory work."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "settings.env").write_text("SECRET=1")
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(outside), str(inside)],
        capture_output=True, timeout=PATIENCE, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert result.pop("thread") == "ran"
    assert [name for name, outcome in result.items() if outcome == "allowed"] == []
    assert (outside / "settings.env").read_text() == "SECRET=1"
    assert (inside / "mine").exists()


def test_without_landlock_source_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel cannot confine, the reason is a sentence that names what is missing."""
    monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    assert "Landlock" in str(confine.why_not())
    monkeypatch.setattr(confine_filter, "supported", lambda: False)
    assert "64-bit Linux" in str(confine.why_not())


_ALLOW, _EPERM, _ENOSYS, _KILL = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def _verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter for process 77 returns, as the kernel would run it."""
    data = struct.pack("=iIQ6Q", number, audit or _AUDIT[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    steps = list(struct.iter_unpack("=HBBI", seccomp.program(machine, 77)))
    at, word = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            word = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return int(value)
        else:
            at += yes if {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code] else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_nothing_else(machine: str) -> None:
    """On both architectures; new numbers and x32's do not exist, another architecture's calls are the end."""
    column = list(_AUDIT).index(machine)
    assert len(seccomp.program(machine, 77)) // 8 < 4096
    listed = {numbers[column] for numbers in calls.ALLOWED.values()}
    judged = {name: numbers[column] for name, numbers in calls.JUDGED.items()}
    for number in range(463):
        if number not in judged.values():
            assert _verdict(machine, number) == (_ALLOW if number in listed else _EPERM), number
    for number in (463, 1 << 20, 1 << 30, (1 << 30) + 1):
        assert _verdict(machine, number) == _ENOSYS
    assert _verdict(machine, 0, audit=0x40000003) == _KILL
    for name, arguments, wanted in (
        ("clone", (0x3D0F00,), _ALLOW), ("clone", (17,), _EPERM), ("clone", (0x3D0F00 | 0x10000000,), _EPERM),
        ("clone3", (), _ENOSYS), ("tgkill", (77, 80, 6), _ALLOW), ("tgkill", (78, 78, 9), _EPERM),
        ("prlimit64", (0, 7), _ALLOW), ("prlimit64", (78, 7), _EPERM), ("prctl", (15,), _ALLOW),
        ("prctl", (1, 0), _EPERM), ("prctl", (4, 0), _EPERM), ("ioctl", (0, 0x5401), _ALLOW),
        ("ioctl", (0, 0x5412), _EPERM), ("ioctl", (3, 0x40049409), _EPERM), ("fcntl", (3, 1030), _ALLOW),
        ("fcntl", (3, 8, 1), _EPERM), ("fcntl", (3, 6), _EPERM), ("mmap", (0, 1, 3, 0x22), _ALLOW),
        ("mmap", (0, 1, 3, 0x21), _EPERM), ("mmap", (0, 1, 1, 3), _EPERM), ("mmap", (0, 1, 3, 0x40022), _EPERM),
    ):  # fmt: skip
        assert _verdict(machine, judged[name], *arguments) == wanted, (name, arguments)
