"""Starts a process of the workshop, confined, and watches it: time, memory, threads, and what it writes.

A process that cannot be watched is ended. None can leave the workshop's process group, change whose end is its own, or
start another process: to kill the group, or the workshop, is to end them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from federated_training.engines.keras.runtime import environment
from federated_training.problems import FieldError

CANNOT_CONFINE: Final = 78
_POLL_SECONDS: Final = 0.03
_TAIL_BYTES: Final = 4096
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_FIGURES: Final = ("VmRSS", "VmSwap", "VmPTE", "HugetlbPages")
"""What a process keeps of the machine's memory, in kB: also what was swapped out, and the tables of what it mapped."""

# The two packages by their own directories: the one that holds them may hold secrets and cannot be listed.
_START: Final = f"""
import importlib, importlib.util, json, os, sys
from pathlib import Path
for name in ("mainstem", "federated_training"):
    folder = {str(Path(__file__).resolve().parents[2])!r} + "/" + name
    spec = importlib.util.spec_from_file_location(
        name, folder + "/__init__.py", submodule_search_locations=[folder])
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
from federated_training.workshop.sandbox import confine
write, limits = json.loads(sys.argv[2]), json.loads(sys.argv[3])
try:
    if write is None:
        confine.bound(**limits)
    else:
        confine.enter([Path(name) for name in write], **limits)
except confine.ConfinementError as error:
    print(error, file=sys.stderr, flush=True)
    os._exit({CANNOT_CONFINE})
importlib.import_module("federated_training." + sys.argv[1]).main()
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How long something may run: `seconds` if it is busy all the time, `wall` seconds whatever it does."""

    seconds: int
    wall: int

    def over(self, passed: float, busy: float) -> str | None:
        """What of it is used up after `passed` seconds with `busy` seconds of processor time; None if nothing is."""
        if passed > self.seconds and busy > self.seconds:
            return f"{self.seconds} seconds"
        return f"{self.wall} seconds" if passed > self.wall else None


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a process may use: time, bytes of memory, bytes written in all, threads, and files and directories.

    `lives`: how many times its time it may use in all, where it is given it anew.
    """

    time: Allowance = Allowance(60, 300)
    memory: int = 2 << 30
    disk: int = 2 << 30
    threads: int = 512
    entries: int = 5000
    lives: int = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has taken: bytes of memory, threads, seconds of processor time, bytes ever written."""

    memory: int = 0
    threads: int = 0
    busy: float = 0.0
    written: int = 0

    @staticmethod
    def of(pid: int) -> Usage:
        """Read it from the system; zeros where that is not Linux. Raises OSError or ValueError when it is not told."""
        if not sys.platform.startswith("linux"):
            return Usage()
        place = Path(f"/proc/{pid}")
        status, io = _fields(place / "status"), _fields(place / "io")
        # After the name, which may hold anything: state is the third field, utime and stime the 14th and 15th.
        times = (place / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[11:13]
        return Usage(
            sum(int(status.get(name, "0 kB").split()[0]) for name in _FIGURES) << 10,
            int(status.get("Threads", "0")),
            sum(int(ticks) for ticks in times) / _TICKS,
            int(io.get("wchar", "")),
        )


class ConfinedProcess:
    """One process of the workshop, from its start to its end. Starting needs the main thread: the child dies with it.

    `name` is what messages call it, `field` the field that they name. With `talks` it is asked `at_work`.
    """

    def __init__(
        self, module: str, places: Sequence[Path], limits: ChildLimits, *, name: str, field: str,
        confined: bool = True, talks: bool = False,
    ) -> None:  # fmt: skip
        self._limits, self._places, self._name, self._field = limits, places, name, field
        self._refusal: FieldError | None = None
        self._stopped = False
        self._written_before, self._judged = 0, not talks
        self._began, self._busy_before = time.monotonic(), 0.0
        self.usage = Usage()
        self.out_of_time = False
        bounds = {"seconds": limits.time.seconds * limits.lives, "file_bytes": limits.disk, "memory": limits.memory}
        write = [str(place) for place in places] if confined else None
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _START, module, json.dumps(write),
             json.dumps({**bounds, "parent": os.getpid()})],
            cwd=places[0],
            env=_environment(places[0]),
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self._tail = bytearray()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._listener.start()
        self._watcher.start()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Where to write to it and to read from it; what it writes and makes in its places is judged meanwhile."""
        inbox, outbox = self._process.stdin, self._process.stdout
        assert inbox is not None and outbox is not None
        self._written_before, self._judged = self.usage.written, True
        try:
            yield inbox, outbox
        finally:
            self._judged = False

    def renew(self) -> bool:
        """Give it its time anew; False where it has ended, or would use more than all its lives."""
        self._began, self._busy_before = time.monotonic(), self.usage.busy
        return self._process.poll() is None and self.usage.busy < self._limits.time.seconds * (self._limits.lives - 1)

    def ended(self) -> FieldError | None:
        """Wait for its end; why it was ended, None where it ended by itself."""
        self._watcher.join()
        return self._refusal

    def how(self) -> str:
        """How it ended by itself, and its last words: "was ended by SIGABRT (it said: ...)"."""
        code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        words = self.tail().splitlines()
        return f"{how} (it said: {words[-1][:200]})" if words else how

    def cannot_be_confined(self) -> bool:
        """Whether it ended because the kernel did not let it confine itself; its last words say why."""
        return self._process.wait() == CANNOT_CONFINE

    def tail(self) -> str:
        """The last 4 KiB at most of what it wrote to standard error, without what moves a cursor."""
        if self._process.poll() is not None:
            self._listener.join(1)  # an unconfined one may have left children that hold the pipe
        text = bytes(self._tail).decode("utf-8", "replace").strip()
        return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)

    def stop(self) -> None:
        """End it."""
        self._stopped = True
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        with self._process.stderr as stream:  # type: ignore[union-attr]
            while piece := os.read(stream.fileno(), 1 << 16):
                self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def _watch(self) -> None:
        try:
            over = self._watch_until_over()
            if over:
                self._refusal = FieldError(self._field, f"{self._name} {over}, and was ended.")
        except Exception as error:  # of any kind: nothing runs unwatched
            traceback.print_exc()
            self._refusal = FieldError(self._field, f"{self._name} could not be watched, and was ended: {error}.")
        finally:
            self.stop()

    def _watch_until_over(self) -> str | None:
        process, limits = self._process, self._limits
        while process.poll() is None:
            try:
                now = Usage.of(process.pid)
            except (OSError, ValueError):
                if self._stopped or process.poll() is not None:
                    break
                raise
            self.usage = now
            over = limits.time.over(time.monotonic() - self._began, now.busy - self._busy_before)
            if over:
                self.out_of_time = True
                return f"took more than {over}"
            if now.memory > limits.memory:
                return f"took more than {limits.memory >> 20} MiB of memory"
            if now.threads > limits.threads:
                return f"started more than {limits.threads} threads"
            if now.written - self._written_before > limits.disk:
                return f"wrote more than {limits.disk >> 20} MiB"
            for place in self._places if self._judged else ():
                over = crowded(place, limits.entries)
                if over:
                    return over
            time.sleep(_POLL_SECONDS)
        return None


def crowded(place: Path, most: int) -> str | None:
    """What is wrong with the number and the depth of the files and directories below `place`; None if nothing is."""
    seen, ahead = 0, [str(place)]
    while ahead:
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most:
                        return f"made more than {most:,} files and directories"
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
            continue
        except OSError as error:  # a path longer than the system takes, a mode that shuts us out
            return f"made a directory that cannot be looked into ({error.strerror})"
    return None


def _fields(path: Path) -> dict[str, str]:
    """A file of /proc with lines of `name: value`."""
    lines = path.read_text("utf-8", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    home = {"HOME": str(directory), "TMPDIR": str(directory), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **environment(directory), **home}
