"""A connection's socket while a thread serves it: it waits for nobody who stalls."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any, Final

PIECE: Final = 64 << 10


class SlowError(BrokenPipeError):
    """The other side did not send, or take, its next 64 KiB in time: to gunicorn it is as gone as one that hung up."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(errno.EPIPE, f"the next {PIECE:,} bytes {what} within {seconds:g} s")


class Patient(socket.socket):
    """Blocks at most `seconds` for each 64 KiB that are sent or received, however they come.

    With `closed` nothing more is read: the request is there.
    """

    seconds = 20.0
    closed = True

    def setblocking(self, flag: bool) -> None:
        """As a socket's; blocking, it begins a new piece."""
        super().setblocking(flag)
        self._got, self._until = 0, time.monotonic() + self.seconds

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket's; raises SlowError."""
        if self.closed:
            return b""
        self.settimeout(max(0.001, self._until - time.monotonic()))
        try:
            data = super().recv(size, flags)
        except TimeoutError as error:
            raise SlowError("did not come", self.seconds) from error
        self._got += len(data)
        if self._got >= PIECE:
            self._got, self._until = 0, time.monotonic() + self.seconds
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As a socket's; raises SlowError."""
        self.settimeout(self.seconds)  # Python's is for the whole call: so a piece a call
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), PIECE):
                super().sendall(view[start : start + PIECE], flags)
        except TimeoutError as error:
            raise SlowError("were not taken", self.seconds) from error

    def gone(self) -> bool:
        """Whether the other side hung up; waits for nothing and takes nothing."""
        self.settimeout(0)  # each sending sets its own
        try:
            return super().recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
