"""Whether a broker answers, asked without a client library: a connection alone says nothing, the kernel makes it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

API_VERSIONS, VERSION, QUESTION = 18, 0, 0x6D61696E
PAUSE_SECONDS = 3.0
ANSWER_SECONDS = 15.0


def answers(port: int, seconds: float = ANSWER_SECONDS, host: str = "127.0.0.1") -> bool:
    """Whether the broker at a plaintext port answers an ApiVersions request (KIP-35) within `seconds`."""
    request = struct.pack(">hhih", API_VERSIONS, VERSION, QUESTION, -1)  # -1: no client id
    with contextlib.suppress(OSError), socket.create_connection((host, port), seconds) as there:
        there.settimeout(seconds)
        there.sendall(struct.pack(">i", len(request)) + request)
        got = b""
        while len(got) < 8 and (more := there.recv(8 - len(got))):
            got += more
        return len(got) == 8 and struct.unpack(">ii", got)[1] == QUESTION
    return False


class Pulse:
    """Asks a broker again and again, from a thread of its own, until `close`."""

    def __init__(self, port: int, pause: float = PAUSE_SECONDS, seconds: float = ANSWER_SECONDS) -> None:
        self._port, self._pause, self._seconds = port, pause, seconds
        self._heard, self._end = threading.Event(), threading.Event()
        threading.Thread(target=self._ask, name="pulse", daemon=True).start()

    def heard(self) -> bool:
        """Whether it has answered since this was asked last."""
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def close(self) -> None:
        """Ask no more."""
        self._end.set()

    def _ask(self) -> None:
        while not self._end.is_set():
            if answers(self._port, self._seconds):
                self._heard.set()
            self._end.wait(self._pause)
