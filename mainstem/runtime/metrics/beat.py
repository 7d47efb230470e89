"""Signs of life for whoever started this process: a byte a second through a pipe, as long as its loops turn.

A pipe needs no port, no file and no room on a disk, and a process that is frozen, or whose loop hangs, sends nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final

BEAT: Final = "MAINSTEM_BEAT_FD"
"""The number of the pipe's end to write to; where it is not set nobody listens."""

PAUSE_SECONDS: Final = 1.0


@contextlib.contextmanager
def beating(well: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """While the block lasts, a thread tells that this process is `well`."""
    stop = start(well)
    try:
        yield
    finally:
        stop.set()


def start(well: Callable[[], bool] = lambda: True) -> threading.Event:
    """The same without an end; setting the event ends it."""
    stop, number = threading.Event(), os.environ.pop(BEAT, "")  # a child of ours has not that pipe, but the number
    if number.isdigit():
        threading.Thread(target=_beat, args=(int(number), well, stop), name="beat", daemon=True).start()
    return stop


def _beat(pipe: int, well: Callable[[], bool], stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        os.set_blocking(pipe, False)
    while not stop.is_set():
        if well():
            try:
                os.write(pipe, b".")
            except BlockingIOError:
                pass  # nobody has looked for long: it has enough to read
            except OSError:
                return  # nobody will look any more
        stop.wait(PAUSE_SECONDS)
