"""The workshop from the backend's side: a process that knows Keras and none of our secrets.

Whatever was uploaded is opened there only. It is our child with a private directory, a minimal environment, a wall
limit, and an end when we end; or, where MAINSTEM_WORKSHOP_SOCKET says so, one that
`federated_training.workshop.server` starts in a container beside ours, with a directory beside that socket.

Predictions are asked for again and again, so the process that made one stays for a while, for the same architecture:
what has opened one model never opens another one, and one process at a time has Keras (`mainstem.runtime.keeper`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from rest_framework import status

from backend.catalog import scratch
from backend.rest.problems import Problem
from mainstem.runtime.keeper import EndedError, Keeper, KeptProcess
from mainstem.runtime.processes import end_child, start_child

COMMAND = (sys.executable, "-m", "federated_training.workshop")
ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 1
"""Workshops of one web worker at a time: each takes half a gigabyte and a processor."""
PASSED_ON = ("PATH", "LANG", "LC_ALL", "KERAS_BACKEND", "LD_LIBRARY_PATH")
MAX_ANSWER_BYTES = 64 << 20
MAX_FILE_BYTES = 3 << 30
TAIL_BYTES = 2000
"""How much of what a child wrote to standard error is read, from its end."""
PATIENCE = 5
"""How many times longer than its limit a run may take where the machine is busy: the limit is one of processor time."""
GRACE_SECONDS = 5
"""The workshop watches its own limits and answers; only where it does not, it is killed this much later."""

KEPT_PREFIX = "kept-"
"""Of the directory beside the socket in which a process that stays works."""

_room = threading.BoundedSemaphore(AT_ONCE)

Exchange = Callable[[Mapping[str, Any], Path], list[Mapping[str, Any]]]
"""A request and its directory -> the answers; raises Problem."""


@dataclass(frozen=True, slots=True)
class Result:
    """The workshop's answers, one an operation, and the files that it wrote, by name."""

    answers: Sequence[Mapping[str, Any]]
    files: Mapping[str, bytes] = field(default_factory=dict)


def run(
    operations: Sequence[Mapping[str, Any]],
    *,
    files: Mapping[str, bytes | Path] | None = None,
    wanted: Sequence[str] = (),
    saved: Mapping[str, Path] | None = None,
    seconds: int | None = None,
    keep: str | None = None,
) -> Result:
    """Carry out operations in one child; raises Problem.

    With `keep`, the sha256 of an architecture, predictions with it are asked of a child that stays.

    `files` are put into the child's directory, those named in `wanted` are taken from it,
    and those in `saved` copied to a path, which holds none of them in memory. An operation that the
    workshop refuses is a 400 that names its field, a busy or broken workshop a 503.
    """
    limit = seconds or settings.WORKSHOP_SECONDS
    if not _room.acquire(timeout=limit):
        raise Problem(status.HTTP_503_SERVICE_UNAVAILABLE, "The workshop is busy with other models: try again later.")
    try:
        with _workplace(keep, PATIENCE * limit) as (directory, exchange):
            for file, content in (files or {}).items():
                _put(directory / file, content)
            request = {
                "ops": [{**operation, "dir": str(directory)} for operation in operations],
                "limits": {"seconds": limit, "wall_seconds": PATIENCE * limit},
            }
            answers = exchange(request, directory)
            for answer in answers:
                _check(answer)
            for file, path in (saved or {}).items():
                shutil.copyfile(_written(directory, file), path)
            return Result(answers, {file: _written(directory, file).read_bytes() for file in wanted})
    finally:
        _room.release()


@contextlib.contextmanager
def _workplace(keep: str | None, limit: int) -> Iterator[tuple[Path, Exchange]]:
    """A directory for one request, and how to ask whoever opens it. A child that stays ends before another starts."""
    if keep is not None and not settings.WORKSHOP_SOCKET:
        with _at_kept(keep, limit) as (kept, directory):
            yield directory, lambda request, _: _ask_kept(kept, request, limit)
        return
    if not settings.WORKSHOP_SOCKET:
        _keeper.end()
    with _directory(_place() if keep is None else _place() / f"{KEPT_PREFIX}{keep[:32]}") as directory:
        if settings.WORKSHOP_SOCKET:
            more = {} if keep is None else {"keep": keep}
            yield directory, lambda request, _: _ask_server({**request, **more}, settings.WORKSHOP_SOCKET, limit)
        else:
            yield directory, lambda request, place: _start_child(request, place, limit)


@contextlib.contextmanager
def _at_kept(keep: str, limit: int) -> Iterator[tuple[KeptProcess, Path]]:
    """The child that stays, with a directory for one request. What goes wrong ends it; a refusal does not."""
    refused: Problem | None = None
    try:
        with _keeper.at(keep, lambda: scratch.directory(_place())) as kept, scratch.directory(kept.room) as directory:
            try:
                yield kept, directory
            except Problem as problem:
                if problem.status_code != status.HTTP_400_BAD_REQUEST:
                    raise
                refused = problem
    except TimeoutError as error:
        raise _too_slow(limit) from error
    except EndedError as error:
        raise broken("it ran out of memory or was killed") from error
    if refused is not None:
        raise refused


@contextlib.contextmanager
def _directory(room: Path) -> Iterator[Path]:
    """A request's directory in `room`, which the server removes when what it kept there has ended, perhaps just now."""
    with contextlib.ExitStack() as stack:
        for last in (False, False, True):
            room.mkdir(exist_ok=True)
            try:
                directory = stack.enter_context(scratch.directory(room))
                break
            except FileNotFoundError:
                if last:
                    raise
        yield directory


def _ask_kept(kept: KeptProcess, request: Mapping[str, Any], limit: int) -> list[Mapping[str, Any]]:
    answer = kept.ask(json.dumps(request).encode(), limit + GRACE_SECONDS)
    return _parse(io.BytesIO(answer), io.BytesIO(), 0, len(request["ops"]))


def _put(target: Path, content: bytes | Path) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, target)
    else:
        target.write_bytes(content)


def _written(directory: Path, name: str) -> Path:
    path = directory / name
    if path.is_symlink() or not path.is_file():  # the child may be hostile: read nothing from elsewhere
        raise broken(f"it wrote no file {name}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise broken(f"its file {name} is larger than {MAX_FILE_BYTES >> 20} MiB")
    return path


def _place() -> Path:
    """Where the directories of requests go."""
    return Path(settings.WORKSHOP_SOCKET).parent if settings.WORKSHOP_SOCKET else Path(tempfile.gettempdir())


def _ask_server(request: Mapping[str, Any], path: str, limit: int) -> list[Mapping[str, Any]]:
    deadline = time.monotonic() + limit + GRACE_SECONDS
    answer = io.BytesIO()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(limit + GRACE_SECONDS)
            server.connect(path)
            server.sendall(json.dumps(request).encode())
            server.shutdown(socket.SHUT_WR)
            while answer.tell() <= MAX_ANSWER_BYTES:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                piece = server.recv(1 << 20)
                if not piece:
                    break
                answer.write(piece)
    except TimeoutError as error:
        raise _too_slow(limit) from error
    except OSError as error:
        raise broken(f"it does not answer at {path}: {error.strerror or error}") from error
    if not answer.tell():
        raise broken("it ran out of memory or was killed")
    return _parse(answer, io.BytesIO(), 0, len(request["ops"]))


def _start_child(request: Mapping[str, Any], directory: Path, limit: int) -> list[Mapping[str, Any]]:
    with (directory / ".answer").open("w+b") as out, (directory / ".log").open("w+b") as log:
        (directory / ".answer").unlink()  # ours alone: the child writes through its stdout only
        (directory / ".log").unlink()
        child = start_child(
            COMMAND,
            orphan=signal.SIGKILL,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=log,
            cwd=directory,
            env=_environment(directory),
        )
        try:
            child.communicate(json.dumps(request).encode(), timeout=limit + GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _too_slow(limit) from error
        finally:
            end_child(child)
        return _parse(out, log, child.returncode, len(request["ops"]))


def _start_kept(room: Path) -> subprocess.Popen[bytes]:
    """A child that stays; what it says besides its answers is a mistake of ours, for our own log."""
    return start_child(
        [*COMMAND, "--stay"],
        orphan=signal.SIGKILL,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=room,
        env=_environment(room),
    )


_keeper = Keeper(_start_kept)


def _environment(directory: Path) -> dict[str, str]:
    """Nothing of ours but where Python finds its modules."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _parse(out: BinaryIO, log: BinaryIO, code: int | None, count: int) -> list[Mapping[str, Any]]:
    out.seek(0)
    text = out.read(MAX_ANSWER_BYTES + 1)
    try:
        if code != 0 or len(text) > MAX_ANSWER_BYTES:
            raise ValueError("no answer")
        answer = json.loads(text)
        answers = answer.get("answers", [answer])
        if len(answers) != count and all(a.get("ok") for a in answers):
            raise ValueError("too few answers")
        if not all(isinstance(a, dict) for a in answers):
            raise ValueError("answers that are none")
        return list(answers)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
        last = log.read(TAIL_BYTES).decode("utf-8", "replace").strip().splitlines()
        reason = (
            "it ran out of memory or was killed" if code == -signal.SIGKILL else (last[-1] if last else "no answer")
        )
        raise broken(reason) from error


def _too_slow(limit: int) -> Problem:
    return Problem(
        status.HTTP_400_BAD_REQUEST, f"The workshop took longer than {limit} s and was ended: simplify the model."
    )


def broken(reason: str) -> Problem:
    """The 503 of a workshop that did not do what it is there for."""
    return Problem(status.HTTP_503_SERVICE_UNAVAILABLE, f"The workshop ended without an answer: {reason[:300]}.")


def _check(answer: Mapping[str, Any]) -> None:
    if answer.get("ok") is True:
        return
    found = answer.get("error")
    error = found if isinstance(found, dict) else {}
    message, line = str(error.get("message") or "The workshop refused this."), error.get("line")
    raise Problem(
        status.HTTP_400_BAD_REQUEST,
        message,
        field=str(error.get("field") or ""),
        line=line if isinstance(line, int) else None,
    )
