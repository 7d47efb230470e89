"""Runs model source in a confined child and watches it: time, memory, threads, disk. Collects data, never objects."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from federated_training import architecture, confine
from federated_training.keras_runtime import environment
from federated_training.problems import FieldError

_MAX_SOURCE: Final = 1 << 20
_MAX_THREADS: Final = 512
_POLL_SECONDS: Final = 0.03
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")

# The two packages by their own directories: the one that holds them may hold secrets and cannot be listed.
_START: Final = f"""
import importlib.util, sys
for name in ("mainstem", "federated_training"):
    folder = {str(Path(__file__).resolve().parent.parent)!r} + "/" + name
    spec = importlib.util.spec_from_file_location(
        name, folder + "/__init__.py", submodule_search_locations=[folder])
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
from federated_training.workshop_guest import main
main()
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
class GuestLimits:
    """What source may use: time, resident bytes, and bytes on disk (a file, and all together)."""

    time: Allowance = Allowance(60, 300)
    memory: int = 2 << 30
    disk: int = 2 << 30


@dataclass(frozen=True, slots=True)
class Found:
    """What a run of source left: untrusted text and a file. `directory` is removed by the caller."""

    architecture: str
    compiled: dict[str, Any] | None
    weights: Path


class Guest:
    """One run of source; `result` waits for it. Starting needs the main thread (the child dies with it)."""

    def __init__(self, source: Any, seed: int, directory: Path, limits: GuestLimits) -> None:
        """Start the child. Raises FieldError when the source is no text or this machine cannot confine it."""
        reason = confine.why_not()
        if reason is not None:
            raise FieldError("source", reason)
        parts = {part: _text(source, part) for part in ("imports", "code")}
        if not parts["code"].strip():
            raise FieldError("source.code", "The source is empty; it must leave a Keras model in `model`.")
        self._limits = limits
        self._error: FieldError | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="guest-", dir=directory))
        request = {**parts, "seed": seed, "seconds": limits.time.seconds, "file_bytes": limits.disk}
        request["parent"] = os.getpid()
        (self._directory / "request.json").write_text(json.dumps(request), "utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _START],
            cwd=self._directory,
            env=_environment(self._directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None,
            start_new_session=True,
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def result(self) -> Found:
        """Wait, and collect what the source left; raises FieldError with the source's own error, or ours."""
        self._watcher.join()
        if self._error is not None:
            raise self._error
        answer = self._answer()
        error = answer.get("error")
        if isinstance(error, dict):
            line = error.get("line")
            raise FieldError(
                str(error.get("field"))[:60], str(error.get("message"))[:1000], line if type(line) is int else None
            )
        text, compiled = answer.get("architecture"), answer.get("compile")
        if not isinstance(text, str):
            raise FieldError("source.code", "The source did not leave a model.")
        return Found(text, compiled if isinstance(compiled, dict) else None, self._directory / "weights.npz")

    def stop(self) -> None:
        """End the child and everything that it may have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _watch(self) -> None:
        limits, process = self._limits, self._process
        started = time.monotonic()
        while process.poll() is None:
            memory, threads, busy = _usage(process.pid)
            over = limits.time.over(time.monotonic() - started, busy)
            if over:
                self._refuse(f"The source did not finish within {over}, and was ended.")
            elif memory > limits.memory:
                self._refuse(f"The source took more than {limits.memory >> 20} MiB of memory, and was ended.")
            elif threads > _MAX_THREADS:
                self._refuse(f"The source started more than {_MAX_THREADS} threads, and was ended.")
            elif _disk(self._directory) > limits.disk:
                self._refuse(f"The source wrote more than {limits.disk >> 20} MiB, and was ended.")
            else:
                time.sleep(_POLL_SECONDS)
                continue
            break
        self.stop()

    def _refuse(self, message: str) -> None:
        self._error = FieldError("source.code", message)

    def _answer(self) -> dict[str, Any]:
        text = _read_plain(self._directory / "answer.json", 2 * architecture.MAX_BYTES)
        if text is None:
            code = self._process.returncode
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            raise FieldError("source.code", f"The source {how} before it left a model.")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FieldError("source.code", "The source left something other than a model.") from error
        return answer if isinstance(answer, dict) else {}


def wants_guest(request: Mapping[str, Any]) -> bool:
    """Whether the request holds source to run."""
    return request.get("op") == "build" and request.get("kind") == "source"


def start_guest(request: Mapping[str, Any], directory: Path, limits: GuestLimits) -> Guest | FieldError:
    """Start the request's source, or say why not."""
    seed = request.get("seed", 0)
    try:
        return Guest(request.get("source"), seed if type(seed) is int and 0 <= seed < 1 << 32 else 0, directory, limits)
    except FieldError as error:
        return error


def _text(source: Any, part: str) -> str:
    value = source.get(part) or "" if isinstance(source, dict) else None
    if not isinstance(value, str):
        raise FieldError(f"source.{part}", f"source.{part} must be text.")
    if len(value) > _MAX_SOURCE or "\0" in value:
        raise FieldError(f"source.{part}", f"source.{part} must be at most {_MAX_SOURCE >> 20} MiB of plain text.")
    return value


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    home = {"HOME": str(directory), "TMPDIR": str(directory), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **environment(directory), **home}


def _usage(pid: int) -> tuple[int, int, float]:
    """Resident bytes, threads and seconds of processor time of a process; zeros when it is gone."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
        # After the name, which may hold anything: state is the third field, utime and stime the 14th and 15th.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return resident, len(os.listdir(f"/proc/{pid}/task")), (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, IndexError, ValueError):
        return 0, 0, 0.0


def _disk(directory: Path) -> int:
    total = 0
    try:
        for place, _, names in os.walk(directory):
            for name in names:
                total += os.lstat(os.path.join(place, name)).st_size
    except OSError:
        pass
    return total


def _read_plain(path: Path, limit: int) -> str | None:
    """The text of a plain file of at most `limit` bytes; None for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    try:
        return content.decode() if len(content) <= limit else None
    except UnicodeDecodeError:
        return None
