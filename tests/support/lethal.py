"""A `MessageLog` that kills its own process (SIGKILL) before, within or after its n-th call."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from mainstem.protocol.log import Cursor, MessageLog, Outgoing, Record

When = Literal["before", "within", "after"]
WHENS: tuple[When, ...] = ("before", "within", "after")

COMMIT, SHORT = b'"type":"round"', 1 << 20
"""How a commit is known by its bytes; those of weights are not looked through."""

SENT = 0.02
"""Seconds in which a record that was handed to the producer gets on its way."""


def die() -> None:
    """kill -9 of this process."""
    os.kill(os.getpid(), signal.SIGKILL)


class LethalLog:
    """Counts the calls of a log from 1; call `number` is the last one. `trace` gets a line `NUMBER CALL TOPIC` each.

    Polls are no calls: how many there are is chance, and who dies after one leaves what dies before the next call does.
    Within an append is after its first record was handed over, within a read before its last record.
    """

    def __init__(self, log: MessageLog, number: int, when: When, trace: TextIO | None = None) -> None:
        self._log, self._number, self._when, self._trace = log, number, when, trace
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)  # what is no call of the protocol, such as `close`

    def _count(self, call: str, topic: str) -> bool:
        """One more call: whether it is the last one."""
        self._calls += 1
        if self._trace is not None:
            print(self._calls, call, topic, file=self._trace, flush=True)
        return self._calls == self._number

    def _around(self, call: str, topic: str, run: Any) -> Any:
        last = self._count(call, topic)
        if last and self._when == "before":
            die()
        result = run()
        if last:
            die()
        return result

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        last = self._count("append", topic)
        if last and self._when == "before":
            die()
        offsets = self._log.append(topic, self._some(records) if last and self._when == "within" else records)
        if last:
            die()
        return offsets

    def _some(self, records: Iterable[Outgoing]) -> Iterator[Outgoing]:
        for record in records:
            yield record
            break
        time.sleep(SENT)
        die()

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`."""
        last = self._count("read", topic)
        if last and self._when == "before":
            die()
        for record in self._log.read(topic, partition, start, end):
            if last and self._when == "within" and record.offset >= end - 1:
                die()
            yield record
        if last:
            die()

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `log.MessageLog`."""
        bounds: tuple[int, int] = self._around("bounds", topic, lambda: self._log.bounds(topic, partition))
        return bounds

    def cursor(self, topic: str, partition: int, start: int) -> Cursor:
        """See `log.MessageLog`."""
        cursor: Cursor = self._around("cursor", topic, lambda: self._log.cursor(topic, partition, start))
        return cursor


class HeldLog:
    """Holds the first commit of a round back, when all that it names is in the log: makes the file `held`, and appends
    once that is gone."""

    def __init__(self, log: MessageLog, held: Path) -> None:
        self._log, self._held = log, held
        self._waited = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        these = list(records)
        if not self._waited and any(COMMIT in bytes(record.value or b"")[:SHORT] for record in these):
            self._waited = True
            self._held.touch()
            while self._held.exists():
                time.sleep(0.005)
        return self._log.append(topic, these)
