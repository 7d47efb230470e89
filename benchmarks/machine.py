"""What a process has used, and what this machine is."""

from __future__ import annotations

import itertools
import json
import os
import platform
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mainstem.runtime.processes import descendants, die_with_parent, identity, memory

ROOT = Path(__file__).parents[1]
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def forget_peak(pid: int) -> None:
    """Begin `peak_memory` anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_memory(pid: int) -> int:
    """The largest resident set of a running process so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"process {pid} tells no peak")


class Tree:
    """A server that starts processes of its own: their CPU time, ended ones too, and their peak memory together.

    Memory is the sum of proportional set sizes, looked at once a second (it costs them time): a shorter peak is missed.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("w") as out:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=log.parent,
                stdout=out,
                stderr=out,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 (it only calls prctl)
            )
        self.peak = 0
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def pids(self) -> list[int]:
        """Of all that live."""
        return [self._process.pid, *descendants(self._process.pid)]

    def cpu_seconds(self) -> float:
        """Of all that live and of those that they have waited for."""
        return sum(_family_cpu(pid) for pid in self.pids())

    def end(self) -> None:
        """Terminate all of it; kill what stays."""
        self._ending.set()
        self._watch.join()
        pids = {pid: identity(pid) for pid in self.pids()}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid, began in pids.items():
                if began is not None and identity(pid) == began:
                    os.kill(pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)

    def _look(self) -> None:
        while not self._ending.wait(1.0):
            self.peak = max(self.peak, sum(memory(pid) or 0 for pid in self.pids()))


def _family_cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it ended, and whoever waited for it counts it
    return sum(map(int, fields[11:15])) / TICK


class Child:
    """A process that tells one JSON object on stdout at its end; its log goes to a temporary file."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )

    def told(self, timeout: float) -> dict[str, Any]:
        """What it told; raises RuntimeError with the end of its log where it failed or took longer."""
        process = self._process
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise RuntimeError(f"{process.args!r} took more than {timeout:g} s: {self._end()}") from None
        if process.returncode:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {self._end()}")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def _end(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:]


def description() -> dict[str, Any]:
    """Machine, load and time of a measurement."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(total / (1 << 30), 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def shares(total: int, parts: int) -> list[tuple[int, int]]:
    """(first, count) of each of `parts` nearly equal shares."""
    edges = [total * part // parts for part in range(parts + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(edges)]
