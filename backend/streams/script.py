"""The public injection scripts as child processes: with Kafka's address, and with nothing secret of ours."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mainstem.runtime.processes import signal_group, start_child

ROOT = Path(__file__).resolve().parents[2]
DIGITS: Final = "inject_scripts.inject_dummy_training_data"
FILES: Final = "inject_scripts.inject_files"
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_MOST_MEMORY: Final = 4 << 30
_LONGEST_LINE: Final = 4096


def run(
    script: str,
    words: list[str],
    *,
    seconds: float,
    kafka: Mapping[str, str] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> tuple[bytes | None, str]:
    """Run it; what it printed, or None with the sentence why it failed. `told` gets its lines of progress.

    Without `kafka` (environment variables) it cannot reach any, and its processor time and memory are bounded.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **(kafka or {})}
    last = ""
    ended: list[bool] = []
    with tempfile.TemporaryFile() as printed:
        process = start_child(
            [sys.executable, "-m", script, *words],
            prepare=_bound(None if kafka is not None else int(seconds)),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.PIPE,
        )

        def end() -> None:
            ended.append(True)
            signal_group(process, signal.SIGKILL)

        timer = threading.Timer(seconds, end)
        timer.start()
        with process:
            assert process.stderr is not None
            while line := process.stderr.readline(_LONGEST_LINE):
                last = line.decode("utf-8", "replace").strip() or last
                told(last)
        timer.cancel()
        if process.returncode == 0:
            printed.seek(0)
            return printed.read(), ""
    if ended or process.returncode == -signal.SIGXCPU:
        return None, f"it took longer than {seconds:.0f} s and was ended"
    if last.startswith("MemoryError") or process.returncode == -signal.SIGKILL:
        return None, "it needs more memory than it is given here: inject it with the script"
    return None, last.removeprefix("error: ") or f"it ended with {process.returncode}"


def _bound(seconds: int | None) -> Callable[[], None]:
    """What the child does before it begins; `seconds` of processor time and a bound of memory where they are given."""

    def prepare() -> None:
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))

    return prepare
