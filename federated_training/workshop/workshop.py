"""Builds, checks, exports and runs models for the backend, which itself never imports Keras.

`python -m federated_training.workshop` reads one JSON request on stdin and writes one JSON answer on stdout;
logs go to stderr, and the exit code is 0 whenever there is an answer, errors included. Big things travel as
files in the request's private directory `dir`. `{"ops": [...]}` does several requests with one start of
TensorFlow and answers `{"answers": [...]}`. `limits` (see `WorkshopLimits`) may be set beside.

What people gave is opened in processes of their own, confined and watched (`workshop.child`): source in
`workshop.source`, everything else in `workshop.keras_child`. An operation that ends its process is refused, and the
others are done. This process never imports Keras and reads only what those two answered, which it takes as a stranger's
word. With `--stay` it works in its current directory, reads a request of predictions a line and answers each with a
line, so that TensorFlow is started once. Whoever starts it sees to it that it is asked about one architecture alone.
Where the machine cannot confine, models are made from templates only; a file that the caller knows to be Mainstem's own
(`"own": true`) is opened all the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from federated_training.problems import FieldError
from federated_training.workshop.child import Allowance, ChildLimits
from federated_training.workshop.keras_child import Keras
from federated_training.workshop.sandbox import confine
from federated_training.workshop.source import Guest, start_guest, wants_guest

_MAX_REQUEST: Final = 32 << 20
_SOURCE_MEMORY: Final = 2 << 30
_SPARED: Final = 512 << 20
"""Of a container's memory, for all but the process that is at work: its kernel would end more than that one."""
_LIVES: Final = 4
"""How many times the time of a run a process that stays may use in all."""
_MOST_AT_REST: Final = 1 << 30
"""Bytes of memory that it may have while it waits."""
_CONTAINER: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_GIVEN: Final = {"json": "config", "keras": "file", "source": "source"}
"""The kinds of model that people give, and the field in which they do."""

Request = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorkshopLimits:
    """What one run of the workshop may use: seconds (in all, and for a source), MiB of memory and disk, parameters.

    A busy machine is no fault of the model's: a run ends when it has used its seconds of processor time too, or at the
    latest when `wall_seconds` have passed (a source: its share of them). Disk is what one operation may write.
    """

    seconds: int = 120
    wall_seconds: int = 600
    source_seconds: int = 60
    memory_mb: int = 4096
    disk_mb: int = 3072
    params: int = 200_000_000

    @staticmethod
    def of(request: Request) -> WorkshopLimits:
        """The limits in the request, the defaults elsewhere; raises FieldError."""
        given = request.get("limits") or {}
        if not isinstance(given, dict) or not set(given) <= set(WorkshopLimits.__slots__):
            raise FieldError("limits", f"limits may hold {', '.join(WorkshopLimits.__slots__)}.")
        for name, value in given.items():
            if type(value) is not int or not 0 < value < 1 << 40:
                raise FieldError(f"limits.{name}", f"{name} must be a whole number above 0.")
        return WorkshopLimits(**given)

    def keras(self) -> ChildLimits:
        """Those of the process with Keras."""
        return ChildLimits(Allowance(self.seconds, self.wall_seconds), self._memory(), self.disk_mb << 20)

    def source(self) -> ChildLimits:
        """Those of a source."""
        seconds = min(self.source_seconds, self.seconds)
        wall = max(1, self.wall_seconds * seconds // self.seconds)
        memory, disk = min(_SOURCE_MEMORY, self._memory()), min(_SOURCE_MEMORY, self.disk_mb << 20)
        return ChildLimits(Allowance(seconds, wall), memory, disk)

    def _memory(self) -> int:
        return min(self.memory_mb << 20, max(_SPARED, _container_memory() - _SPARED))


def main(arguments: Sequence[str] = ()) -> int:
    """Answer the request on stdin, or with `--stay` those that come."""
    return _stay() if list(arguments) == ["--stay"] else _run()


def _run() -> int:
    try:
        request = _parsed(sys.stdin.buffer.read(_MAX_REQUEST + 1))
        requests = request["ops"] if isinstance(request.get("ops"), list) else [request]
        directories = sorted({_directory(item) for item in requests})
        limits = WorkshopLimits.of(request)
        keras_limits, source_limits = limits.keras(), limits.source()
    except FieldError as error:
        answer: Answer = error.answer()
    else:
        _prepare(directories)
        answers = _answers(requests, directories, limits.params, keras_limits, source_limits)
        answer = {"answers": answers} if "ops" in request else answers[0]
    json.dump(answer, sys.stdout)
    return 0


def _stay() -> int:
    room, keras = Path.cwd(), None
    _prepare([room])
    for line in iter(lambda: sys.stdin.buffer.readline(_MAX_REQUEST + 1), b""):
        try:
            request = _parsed(line)
            requests, limits = request.get("ops"), WorkshopLimits.of(request)
            if not isinstance(requests, list) or any(item.get("op") != "predict" for item in requests):
                raise FieldError("op", "A process that stays does nothing but predict.")
            if keras is None:
                keras = Keras([room], replace(limits.keras(), lives=_LIVES))
            keras.renew()
            answer: Answer = {"answers": [_asked(keras, {**item, "max_params": limits.params}) for item in requests]}
        except FieldError as error:
            answer = error.answer()
        print(json.dumps(answer), flush=True)
        if keras is not None and keras.memory > _MOST_AT_REST:
            break
    if keras is not None:
        keras.stop()
    return 0


def _asked(keras: Keras, request: Request) -> Answer:
    try:
        return keras.ask(request)
    except FieldError as error:
        return error.answer()


def _answers(
    requests: list[Request], directories: list[Path], params: int, keras_limits: ChildLimits, source_limits: ChildLimits
) -> list[Answer]:
    if not requests:
        return []
    # Source starts a TensorFlow of its own: the first does so while that of the operations starts.
    early = _guest(requests[0], source_limits)
    keras = Keras(directories, keras_limits)
    answers: list[Answer] = []
    for number, item in enumerate(requests):
        try:
            guest = _guest(item, source_limits) if number else early
            answers.append(_answer({**item, "max_params": params}, keras, guest))
        except FieldError as error:
            answers.append(error.answer())
    keras.stop()
    return answers


def _guest(request: Request, limits: ChildLimits) -> Guest | FieldError | None:
    if not wants_guest(request) or confine.why_not() is not None:
        return None
    return start_guest(request, _directory(request), limits)


def _answer(request: Request, keras: Keras, guest: Guest | FieldError | None) -> Answer:
    kind, reason = str(request.get("kind")), confine.why_not()
    if request.get("op") == "build" and kind in _GIVEN and reason is not None and request.get("own") is not True:
        raise FieldError(_GIVEN[kind], reason)
    if isinstance(guest, FieldError):
        raise guest
    if guest is None:
        return keras.ask(request)
    try:
        found = guest.result()
        given = {"architecture": found.architecture, "compile": found.compiled, "weights": str(found.weights)}
        return keras.ask({**request, "found": given})
    finally:
        guest.remove()


def _parsed(text: bytes) -> Request:
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


def _container_memory() -> int:
    """The bytes of memory that this container may use; without an end where nobody set one."""
    found = [1 << 62]
    for name in _CONTAINER:
        try:
            found.append(int(Path(name).read_text("ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found)


def _prepare(directories: list[Path]) -> None:
    confine.volunteer()
    if confine.landlock_version() > 0:
        # The processes that it starts need the interpreter, and this one their figures in /proc.
        confine.restrict_files([*confine.python_paths(), Path("/proc")], directories, execute=True)
