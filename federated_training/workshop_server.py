"""The workshop for a backend in another container: `python -m federated_training.workshop_server --socket PATH`.

Each connection to the Unix socket is one run of `federated_training.workshop`, as inetd would do it: the connection
is the child's stdin and stdout. The caller writes the request, shuts down its sending side and reads the answer; the
requests' directories lie beside the socket, on a volume that both containers mount. Once it listens the server gives
up the network, which its pod shares, for itself and for every run: what opens people's uploads can open no socket.
A caller that hangs up ends its run. One run at a time, as each takes half a gigabyte and a processor: others wait in
the socket's queue.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from federated_training.confine_network import give_up_network
from mainstem import logs
from mainstem.errors import ConfigError, MainstemError
from mainstem.processes import die_with_parent

COMMAND: Final = (sys.executable, "-m", "federated_training.workshop")
QUEUE: Final = 16
LOOK_SECONDS: Final = 0.2
"""How soon a hung-up caller or a SIGTERM is noticed."""

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 1 with a sentence when the socket cannot be made or the network not given up."""
    parser = argparse.ArgumentParser(
        prog="python -m federated_training.workshop_server",
        description="Builds, checks and exports models for a backend in another container.",
    )
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket to make")
    options = parser.parse_args(arguments)
    logs.configure("workshop")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with listen(options.socket) as listener:
            give_up_network()
            log.info("the workshop listens at %s", options.socket)
            serve(listener, stop)
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            _run(connection, stop, command)


def _run(connection: socket.socket, stop: threading.Event, command: Sequence[str]) -> None:
    connection.setblocking(True)
    child = subprocess.Popen(
        command,
        stdin=connection.fileno(),
        stdout=connection.fileno(),
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509  it only calls prctl
    )
    caller = select.poll()
    caller.register(connection, select.POLLHUP)
    try:
        while not stop.is_set() and not any(events & select.POLLHUP for _, events in caller.poll(0)):
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
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main())
