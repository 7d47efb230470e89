"""Builds, checks, exports and runs models for the backend, which itself never imports Keras.

`python -m federated_training.workshop` reads one JSON request on stdin and writes one JSON answer on stdout;
logs go to stderr, and the exit code is 0 whenever there is an answer, errors included. Big things travel as
files in the request's private directory `dir`. `{"ops": [...]}` does several requests with one start of
TensorFlow and answers `{"answers": [...]}`. `limits` (see `Limits`) may be set beside.

The process confines itself to `dir` where Linux lets it, since what it opens was uploaded by people, and ends
itself when a request takes too much; source runs in a child of its own (`workshop_source`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from federated_training import confine, keras_runtime
from federated_training.problems import FieldError
from federated_training.workshop_source import Allowance, GuestLimits, start_guest, wants_guest

_MAX_REQUEST: Final = 32 << 20

Request = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of the workshop may use: seconds (in all, and for a source), resident MiB, parameters.

    A busy machine is no fault of the model's: a run ends when it has used its seconds of processor time too, or at the
    latest when `wall_seconds` have passed (a source: its share of them).
    """

    seconds: int = 120
    wall_seconds: int = 600
    source_seconds: int = 60
    memory_mb: int = 4096
    params: int = 200_000_000

    @staticmethod
    def of(request: Request) -> Limits:
        """The limits in the request, the defaults elsewhere; raises FieldError."""
        given = request.get("limits") or {}
        if not isinstance(given, dict) or not set(given) <= set(Limits.__slots__):
            raise FieldError("limits", f"limits may hold {', '.join(Limits.__slots__)}.")
        for name, value in given.items():
            if type(value) is not int or not 0 < value < 1 << 40:
                raise FieldError(f"limits.{name}", f"{name} must be a whole number above 0.")
        return Limits(**given)


def main() -> int:
    """Answer the request on stdin."""
    # What libraries print must not mix with the answer.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        request = _read()
        requests = request["ops"] if isinstance(request.get("ops"), list) else [request]
        directories = {_directory(item) for item in requests}
        limits = Limits.of(request)
    except FieldError as error:
        answer = failure(error)
    else:
        several = "ops" in request
        guard = _Guard(out, limits, len(requests) if several else None)
        _prepare(directories)
        answers = _answers(requests, limits)
        answer = {"answers": answers} if several else answers[0]
        guard.stop()
    json.dump(answer, out)
    out.flush()
    # TensorFlow's own ending takes a second and frees nothing that the system would not.
    os._exit(0)


def _answers(requests: list[Request], limits: Limits) -> list[Answer]:
    # Source starts a TensorFlow of its own: the first does so while ours starts.
    first = next((item for item in requests if wants_guest(item)), None)
    seconds = min(limits.source_seconds, limits.seconds)
    guest_limits = GuestLimits(
        Allowance(seconds, max(1, limits.wall_seconds * seconds // limits.seconds)), min(2048, limits.memory_mb) << 20
    )
    early = start_guest(first, _directory(first), guest_limits) if first is not None else None
    from federated_training.workshop_ops import answer

    answers: list[Answer] = []
    for item in requests:
        directory = _directory(item)
        guest = early if item is first else None
        try:
            if wants_guest(item) and guest is None:
                guest = start_guest(item, directory, guest_limits)
            if isinstance(guest, FieldError):
                raise guest
            answers.append({"ok": True, **answer(item, directory, limits.params, guest)})
        except FieldError as error:
            answers.append(failure(error))
    return answers


def _read() -> Request:
    text = sys.stdin.buffer.read(_MAX_REQUEST + 1)
    if len(text) > _MAX_REQUEST:
        raise FieldError("request", f"The request is larger than {_MAX_REQUEST >> 20} MiB; send big things as files.")
    try:
        request = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FieldError("request", f"The request is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise FieldError("request", "The request must be a JSON object.")
    return request


def _directory(item: Any) -> Path:
    if not isinstance(item, dict):
        raise FieldError("ops", "Every operation must be a JSON object.")
    name = item.get("dir")
    if not isinstance(name, str) or not os.path.isabs(name) or not os.path.isdir(name):
        raise FieldError("dir", "dir must be the absolute path of a directory for this request.")
    return Path(name)


def _prepare(directories: set[Path]) -> None:
    scratch = min(directories)
    keras_runtime.prepare(scratch)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    confine.volunteer()
    if confine.landlock_version() > 0:
        # The child that runs source needs the interpreter, and this process its figures in /proc.
        confine.restrict_files([*confine.python_paths(), Path("/proc")], directories, execute=True)


def failure(error: FieldError) -> Answer:
    """The error answer: where, what, and in which line."""
    return {"ok": False, "error": {"field": error.field, "message": error.message, "line": error.line}}


class _Guard(threading.Thread):
    """Answers with an error and ends the process when the request takes too long or too much memory."""

    def __init__(self, out: TextIO, limits: Limits, several: int | None) -> None:
        super().__init__(daemon=True)
        self._out, self._limits, self._several, self._done = out, limits, several, threading.Event()
        self.start()

    def run(self) -> None:
        """Look every 50 ms."""
        started, allowed = time.monotonic(), Allowance(self._limits.seconds, self._limits.wall_seconds)
        while not self._done.wait(0.05):
            over = allowed.over(time.monotonic() - started, time.process_time())
            if over:
                self._end(f"The model took more than {over}, and was given up.")
            elif _resident() > self._limits.memory_mb << 20:
                self._end(f"The model took more than {self._limits.memory_mb} MiB of memory, and was given up.")

    def stop(self) -> None:
        """From here on the answer is on its way."""
        self._done.set()
        self.join()

    def _end(self, message: str) -> None:
        error = failure(FieldError("model", message))
        json.dump(error if self._several is None else {"answers": [error] * self._several}, self._out)
        self._out.flush()
        os._exit(0)


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no /proc: macOS
        return 0


if __name__ == "__main__":
    sys.exit(main())
