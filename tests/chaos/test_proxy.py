"""The doors of a test's network do what they say."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mainstem.runtime.processes import free_port
from tests.support.proxy import Door, Network


@pytest.fixture
def door() -> Iterator[Door]:
    """A door to a server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", free_port()))

    def echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    network = Network()
    yield network.door(server.getsockname()[1])
    network.close()
    server.close()


def connect(door: Door) -> socket.socket:
    """A connection through the door."""
    return socket.create_connection(("127.0.0.1", door.port), 5)


def said(connection: socket.socket) -> bytes:
    """What comes back of a word."""
    connection.sendall(b"word")
    return connection.recv(16)


def test_an_open_door_lets_everything_through(door: Door) -> None:
    """What is sent comes back."""
    with connect(door) as connection:
        assert said(connection) == b"word"


def test_a_cut_resets_old_and_new_connections(door: Door) -> None:
    """Both ends are told by RST; after `mend` a new connection works."""
    with connect(door) as old:
        assert said(old) == b"word"
        door.cut()
        with pytest.raises(ConnectionResetError):
            old.recv(16)
    with pytest.raises(ConnectionError), connect(door) as new:
        said(new)
        said(new)
    door.mend()
    with connect(door) as healed:
        assert said(healed) == b"word"


def test_what_is_held_comes_later(door: Door) -> None:
    """Nothing passes while the door holds, and nothing is lost."""
    with connect(door) as connection:
        assert said(connection) == b"word"
        door.hold()
        connection.sendall(b"late")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(16)
        connection.settimeout(5)
        door.mend()
        assert connection.recv(16) == b"late"


def test_a_slow_door_takes_its_time(door: Door) -> None:
    """A word needs the delay on its way there and on its way back."""
    with connect(door) as connection:
        assert said(connection) == b"word"
        door.slow(0.1)
        began = time.monotonic()
        assert said(connection) == b"word"
        assert time.monotonic() - began >= 0.2
