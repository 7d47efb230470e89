"""`python -m backend.launchers.local.supervise DIR COMMAND...`: run one local Job, and outlive whoever started it.

It bounds the Job's log, ends the Job's whole process group when told to (SIGTERM, and SIGKILL after a grace), and
writes the exit code where the launcher, or its successor, finds it. It holds a lock for as long as it lives, by the
file descriptor that it was given: so there is never a second one, and nobody takes a stranger's process for it.
Only light standard modules are imported: there is one of these beside every Job.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

from mainstem.runtime.disk import no_room
from mainstem.runtime.processes import end_child, signal_group, start_child

GRACE_SECONDS = 10.0
NICENESS = 5
"""Training yields to what people wait for."""
ROOM_SECONDS = 0.5
"""Between two attempts to write to a disk that is full."""
LOG_BYTES = 2 << 20
"""Of one log file; the one before it is kept as `log.1`."""


class BoundedLog:
    """Appends to `log`; begins anew when it is full, keeping the last full one."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path, self._limit = path, limit
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Append; a full disk loses output, never the Job."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = self._path.open("ab")
            if self._file.tell() + len(data) > self._limit:
                self._file.close()
                self._path.replace(self._path.with_name("log.1"))
                self._file = self._path.open("ab")
            self._file.write(data)
            self._file.flush()


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def supervise(directory: Path, command: list[str]) -> int:
    """Run `command` to its end; its exit code, negative for the signal that killed it."""
    log = BoundedLog(directory / "log")
    log.write(f"--- started {_now()}\n".encode())
    os.nice(NICENESS)
    ending: list[float] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(time.monotonic())

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    _write_patiently(directory / "pid", str(os.getpid()), ending)
    try:
        child = start_child(
            command,
            orphan=signal.SIGKILL,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        log.write(f"cannot start {command[0]}: {error}\n".encode())
        code = 127
    else:
        code = _attend(child, log, ending)
    ended = f"--- killed by signal {-code}" if code < 0 else f"--- exit code {code}"
    log.write(f"{ended} {_now()}\n".encode())
    _write_patiently(directory / "exit", json.dumps({"code": code}), ending)
    return code


def _attend(child: subprocess.Popen[bytes], log: BoundedLog, ending: list[float]) -> int:
    """Copy the child's output until it ends; pass our end on to it. `ending` holds when we were told."""
    assert child.stdout is not None
    output = child.stdout.fileno()
    os.set_blocking(output, False)
    told = False
    open_ = True
    while child.poll() is None:
        if ending and not told:
            told = True
            signal_group(child, signal.SIGTERM)
        if ending and time.monotonic() > ending[0] + GRACE_SECONDS:
            signal_group(child, signal.SIGKILL)
        open_ = _copy(output, log, 0.2) if open_ else _nap()
    while open_ and _copy(output, log, 0.0):
        pass
    end_child(child)  # with whatever it left behind
    return child.returncode


def _copy(output: int, log: BoundedLog, wait: float) -> bool:
    """Copy what is there within `wait` seconds; False at the end of the output, or without wait when it is dry."""
    if not select.select([output], [], [], wait)[0]:
        return wait > 0
    data = os.read(output, 1 << 16)
    log.write(data)
    return bool(data)


def _nap() -> bool:
    time.sleep(0.05)
    return False


def _write_patiently(path: Path, text: str, ending: list[float]) -> None:
    """Wait for room on a full disk, until we are told to end: without these files a Job that is well counts as lost.

    Whatever else the disk says (the directory is gone) is raised: it would be said for ever.
    """
    while True:
        try:
            write_atomically(path, text)
        except OSError as error:
            if not no_room(error):
                raise
            if ending:
                return
            time.sleep(ROOM_SECONDS)
        else:
            return


def write_atomically(path: Path, text: str) -> None:
    """Whoever reads the file sees all of the text or none of it, even after a crash."""
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), sys.argv[2:])
