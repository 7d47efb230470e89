"""Confinement, tried from within: a small process confines itself and then tries what it must not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from federated_training import confine, confine_seccomp
from tests.support.patience import PATIENCE

_PROBE = """
import ctypes, json, os, resource, socket, subprocess, sys, threading
from pathlib import Path
from federated_training import confine
outside, inside = Path(sys.argv[1]), Path(sys.argv[2])
confine.enter_guest(inside, seconds=20, file_bytes=1 << 20, parent=os.getppid())
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
    "write into the installation": lambda: Path(confine.__file__).with_name("x").write_text(""),
}
result = {}
for name, attempt in attempts.items():
    try:
        attempt()
        result[name] = "allowed"
    except (OSError, ValueError, ZeroDivisionError) as error:
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
        "import sys; from pathlib import Path; from federated_training import confine\n"
        "confine.enter_guest(Path(sys.argv[1]), seconds=1, file_bytes=1, parent=1)"
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
    monkeypatch.setattr(confine_seccomp, "supported", lambda: False)
    assert "64-bit Linux" in str(confine.why_not())


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_whole_program_on_both_architectures(machine: str) -> None:
    """Eight bytes an instruction, short enough for the kernel, ending with a return."""
    program = confine_seccomp.program(machine, 1)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096
    assert program[-8:-6] == (6).to_bytes(2, sys.byteorder)
