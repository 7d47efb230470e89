"""Keeps a process at hand between questions: one line in, one line out, for one kind of question at a time.

What it is started for costs seconds, what it is asked costs little. It is ended when it was idle, was asked often or is
old, when another kind of question comes, when a question goes wrong, and with the process that keeps it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainstem.runtime.processes import end_child

IDLE_SECONDS: Final = 300.0
OLD_SECONDS: Final = 3600.0
QUESTIONS: Final = 500
MOST_ANSWER: Final = 64 << 20
_LOOK_SECONDS: Final = 0.2
"""How soon an asker that has gone is noticed."""

Start = Callable[[Path], subprocess.Popen[bytes]]
"""Starts the process in its directory, with pipes, in a session of its own."""


class EndedError(Exception):
    """The process ended without an answer; the message is its last word."""


@dataclass(frozen=True, slots=True)
class Life:
    """When a process is ended: after so many seconds without a question, or in all, or after so many questions."""

    idle: float = IDLE_SECONDS
    old: float = OLD_SECONDS
    questions: int = QUESTIONS


class KeptProcess:
    """One kept process, with the directory in which it works. Use it inside `Keeper.at` only."""

    def __init__(
        self,
        key: str,
        room: Callable[[], AbstractContextManager[Path]],
        start: Start,
        life: Life,
        asked: threading.Lock,
    ) -> None:
        self.key, self._make, self._start, self._life, self._asked = key, room, start, life, asked
        self._born = self._rested = time.monotonic()
        self._questions = 0
        self._over, self._ready = threading.Event(), threading.Event()
        self._failure: Exception | None = None
        # Children die with the thread that started them: this one lives as long as the process does.
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def _keep(self) -> None:
        try:
            with self._make() as room:
                self.room, self.process = room, self._start(room)
                self._ready.set()
                try:
                    while not self._over.wait(self._life.idle / 4) and not self._idle():
                        pass
                finally:
                    _end(self.process)
        except Exception as error:  # told to whoever asked for it
            self._failure = error
        finally:
            self._over.set()
            self._ready.set()

    def _idle(self) -> bool:
        """Whether nobody asked for long; from then on nobody may."""
        if not self._asked.acquire(blocking=False):
            return False
        try:
            if time.monotonic() - self._rested >= self._life.idle:
                self._over.set()
            return self._over.is_set()
        finally:
            self._asked.release()

    def fits(self, key: str) -> bool:
        """Whether the next question of this kind may be asked here."""
        young = time.monotonic() - self._born < self._life.old and self._questions < self._life.questions
        return key == self.key and young and not self._over.is_set() and self.process.poll() is None

    def ask(self, line: bytes, seconds: float, gone: Callable[[], bool] = lambda: False) -> bytes:
        """The answer's line. Raises EndedError, TimeoutError after `seconds` or as soon as the asker is `gone`."""
        self._questions += 1
        inbox, outbox = self.process.stdin, self.process.stdout
        assert inbox is not None and outbox is not None
        deadline, answer = time.monotonic() + seconds, bytearray()
        try:
            inbox.write(line + b"\n")
            inbox.flush()
        except OSError as error:
            raise EndedError("it ended") from error
        while not answer.endswith(b"\n"):
            if time.monotonic() > deadline or gone():
                raise TimeoutError
            if not select.select([outbox], [], [], _LOOK_SECONDS)[0]:
                continue
            piece = os.read(outbox.fileno(), 1 << 20)
            answer += piece
            if not piece or len(answer) > MOST_ANSWER:
                raise EndedError("it ended")
        return bytes(answer)

    def rest(self) -> None:
        """The question is answered."""
        self._rested = time.monotonic()

    def end(self) -> None:
        """End it, and remove its directory."""
        self._over.set()
        self._thread.join()


class Keeper:
    """At most one kept process. For several threads: one asks at a time."""

    def __init__(self, start: Start, life: Life = Life()) -> None:
        self._start, self._life = start, life
        self._asked = threading.Lock()
        self._kept: KeptProcess | None = None

    @contextlib.contextmanager
    def at(self, key: str, room: Callable[[], AbstractContextManager[Path]]) -> Iterator[KeptProcess]:
        """The process for questions of this kind, started where there is none; `room` makes its directory.

        Whatever the block raises ends the process.
        """
        with self._asked:
            if self._kept is None or not self._kept.fits(key):
                self._end()
                self._kept = KeptProcess(key, room, self._start, self._life, self._asked)
            try:
                yield self._kept
            except BaseException:
                self._end()
                raise
            self._kept.rest()

    def end(self) -> None:
        """End what is kept, once it has answered."""
        with self._asked:
            self._end()

    def _end(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.end()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its process group, and let go of its pipes."""
    end_child(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it never read
                pipe.close()
