"""The workshop for a backend in another container: `python -m federated_training.workshop.server --socket PATH`.

Each connection to the Unix socket is one run of `federated_training.workshop`: the caller writes the request, shuts
down its sending side and reads the answer; the requests' directories lie beside the socket, on a volume that both
containers mount. A request with `keep` goes to a process that is kept for the next one of its kind, and works in the
directory above the request's. Every other run ends that process first: each takes half a gigabyte and a processor, so
there is one at a time, and others wait in the socket's queue. Once it listens the server gives up the network, which
its pod shares, for itself and for every run: what opens people's uploads can open no socket. A caller that hangs up
ends its run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from federated_training.workshop.sandbox.network import give_up_network
from mainstem.errors import ConfigError
from mainstem.runtime.keeper import EndedError, Keeper
from mainstem.runtime.processes import end_child, start_child
from mainstem.runtime.program import Program, run
from mainstem.runtime.variables import LOGS

COMMAND: Final = (sys.executable, "-m", "federated_training.workshop")
QUEUE: Final = 16
MAX_REQUEST: Final = 33 << 20
"""More than the workshop takes, so that it says so."""
REQUEST_SECONDS: Final = 30.0
ASK_SECONDS: Final = 3600.0
"""Beyond every caller's patience, and theirs is what counts."""
LOOK_SECONDS: Final = 0.2
"""How soon a hung-up caller or a SIGTERM is noticed."""

log = logging.getLogger(__name__)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket to make")


PROGRAM = Program(
    "federated_training.workshop.server",
    "workshop",
    "Builds, checks and exports models for a backend in another container.",
    {"Its log": LOGS},
    _options,
)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; fails where the socket cannot be made or the network not given up."""
    return run(PROGRAM, _work, arguments)


def _work(options: argparse.Namespace, stop: threading.Event) -> None:
    with listen(options.socket) as listener:
        give_up_network()
        log.info("the workshop listens at %s", options.socket)
        serve(listener, stop)


def listen(path: Path) -> socket.socket:
    """A listening socket at `path` for this user alone, in place of one that a killed server left.

    Raises ConfigError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(QUEUE)
    except OSError as error:
        listener.close()
        raise ConfigError(f"--socket {path} cannot be made: {error}") from error
    listener.settimeout(LOOK_SECONDS)
    return listener


def serve(listener: socket.socket, stop: threading.Event, command: Sequence[str] = COMMAND) -> None:
    """Answer one connection after the other until `stop`."""
    place = Path(listener.getsockname()).parent
    keeper = Keeper(lambda room: _start([*command, "--stay"], room, subprocess.PIPE, subprocess.PIPE))
    try:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):  # a caller that hangs up
                _serve(connection, stop, command, keeper, place)
    finally:
        keeper.end()


def _serve(
    connection: socket.socket, stop: threading.Event, command: Sequence[str], keeper: Keeper, place: Path
) -> None:
    connection.settimeout(REQUEST_SECONDS)
    caller = select.poll()
    caller.register(connection, select.POLLHUP)

    def gone() -> bool:
        return stop.is_set() or any(events & select.POLLHUP for _, events in caller.poll(0))

    text = _read(connection)
    kept = _kept(text, place)
    connection.setblocking(True)
    if kept is None:
        keeper.end()
        _run(connection, gone, command, text)
        return
    key, room = kept
    try:
        with keeper.at(key, lambda: _removed(room)) as process:
            connection.sendall(process.ask(text, ASK_SECONDS, gone))
    except EndedError:
        log.warning("the kept process of the workshop ended without an answer")
    except TimeoutError:
        log.warning("a question to the workshop was given up: its caller hung up, or this server was asked to stop")


def _read(connection: socket.socket) -> bytes:
    text = bytearray()
    while len(text) <= MAX_REQUEST and (piece := connection.recv(1 << 20)):
        text += piece
    return bytes(text)


def _kept(text: bytes, place: Path) -> tuple[str, Path] | None:
    """What the request is to be kept for, and the directory above its own; None where it is a run like others."""
    try:
        request: Any = json.loads(text)
        key, directory = request["keep"], Path(request["ops"][0]["dir"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return (str(key), directory.parent) if directory.parent.parent == place else None


@contextlib.contextmanager
def _removed(room: Path) -> Iterator[Path]:
    yield room
    with contextlib.suppress(OSError):  # another request's directory is there already
        room.rmdir()


def _start(command: Sequence[str], room: Path | None, stdin: Any, stdout: Any) -> subprocess.Popen[bytes]:
    return start_child(command, orphan=signal.SIGKILL, stdin=stdin, stdout=stdout, cwd=room)


def _run(connection: socket.socket, gone: Callable[[], bool], command: Sequence[str], text: bytes) -> None:
    with tempfile.TemporaryFile() as request:
        request.write(text)
        request.seek(0)
        child = _start(command, None, request.fileno(), connection.fileno())
    try:
        while not gone():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(LOOK_SECONDS)
                if code:
                    log.warning("a run of the workshop ended with exit code %d", code)
                return
        log.warning("a run of the workshop was given up: its caller hung up, or this server was asked to stop")
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's process group, and bury what it left to us as process 1 of a container."""
    end_child(child)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main())
