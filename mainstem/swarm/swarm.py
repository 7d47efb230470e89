"""N clients over a bounded number of threads: one reader of the control topic tells all of them of each new head.

Each client may download through a source of its own, as it would on a machine of its own, or all of them together,
which is lighter and not what a real deployment does.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from mainstem.client.held import HeldVersion
from mainstem.client.keep import MemoryKeep
from mainstem.errors import LogError, UnknownTopicError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import MessageLog, Source
from mainstem.protocol.signing import SigningKey
from mainstem.runtime.backoff import Backoff
from mainstem.swarm.client import PoolClient, TrainFunction
from mainstem.swarm.shared import SharedSource

logger = logging.getLogger("mainstem.swarm")

THREADS = 100
"""Clients that work at one time, at most."""

POLL = 0.5
"""Seconds after which the reader of the control topic looks whether to leave."""

OPENING = 60.0
"""Seconds for which a federation is waited for that is not open yet: a deployment's topics follow its creation."""
LOOK = 0.2


class OwnSource(Source, Protocol):
    """A source of one client."""

    def expect(self, topic: str, partition: int, start: int) -> None:
        """Connect now for a read from `start` on."""
        ...

    def close(self) -> None:
        """Free its readers."""
        ...


class Pool:
    """Clients `{prefix}{first}` .. of one federation; all of them write through `log`.

    `apart` makes the source of one client's downloads; None has them share every download. They wait `opening` seconds
    for a federation that is not open yet. A client that meets a LogError begins anew as another incarnation, as a
    restarted Job would. With a site's `key` all of them sign.
    """

    def __init__(
        self,
        log: MessageLog,
        federation: str,
        trains: Sequence[TrainFunction],
        *,
        apart: Callable[[], OwnSource] | None = None,
        prefix: str = "client-",
        first: int = 0,
        threads: int = THREADS,
        opening: float = OPENING,
        key: SigningKey | None = None,
    ) -> None:
        self._log, self._federation, self._opening, self._key = log, federation, opening, key
        self._sources = [apart() for _ in trains] if apart is not None else []
        self._shared = SharedSource(log)
        self._names = [f"{prefix}{first + number}" for number in range(len(trains))]
        self._trains = list(trains)
        self._threads = max(1, min(threads, len(trains)))
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._head: Head | None = None
        self._busy: set[int] = set()
        self._again: set[int] = set()
        self._failures: deque[BaseException] = deque()
        self._keeps = [MemoryKeep() for _ in trains]
        self._held = [HeldVersion() for _ in trains] if self._sources else [HeldVersion()] * len(trains)
        self.clients = [self._client(number) for number in range(len(trains))]

    def run(self, leave: threading.Event) -> None:
        """Take part until every client has left or `leave` is set. Raises what a client raised beyond LogError.

        Whoever is in a call of the log when `leave` is set ends that call first.
        """
        control = ControlTopic(self._log, self._federation)
        try:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="client") as executor:
                head = self._opened(control, leave)
                if head is None:
                    return
                self._tell(executor, head, leave)
                while not leave.is_set() and not self._failures and not self._done():
                    if any(entry.link for entry in control.poll(POLL)):
                        self._tell(executor, control.head, leave)
        finally:
            control.close()
            for source in self._sources:
                source.close()
        if self._failures:
            raise self._failures[0]

    def _done(self) -> bool:
        with self._lock:
            return not self._busy and all(client.gone for client in self.clients)

    def _opened(self, control: ControlTopic, leave: threading.Event) -> Head | None:
        """The head, as soon as the federation is open; None where `leave` is set first. Raises LogError."""
        deadline, told = time.monotonic() + self._opening, False
        while not leave.is_set():
            with contextlib.suppress(UnknownTopicError):
                self._log.partitions(control.topic)  # before there is a reader: one of no topic comes to nothing
                control.sync()
            if control.head is not None:
                return control.head
            if time.monotonic() >= deadline:
                raise LogError(
                    f"federation {self._federation} was not opened within {self._opening:g} s: is it a deployment's "
                    "id? its page says what it waits for"
                )
            if not told:
                logger.warning("federation %s is not open yet; waiting for it", self._federation)
                told = True
            leave.wait(LOOK)
        return None

    def _tell(self, executor: ThreadPoolExecutor, head: Head | None, leave: threading.Event) -> None:
        with self._lock:
            self._head = head
            idle = [n for n, client in enumerate(self.clients) if n not in self._busy and not client.gone]
            self._again |= self._busy
            self._busy |= set(idle)
        for number in idle:
            executor.submit(self._turn, number, leave)

    def _turn(self, number: int, leave: threading.Event) -> None:
        """One client's answer to the newest head, and to those that came meanwhile."""
        backoff = Backoff(longest=5.0)
        while not leave.is_set():
            try:
                self._follow(number)
            except LogError as error:
                logger.warning("%s: %s; beginning anew", self._names[number], error)
                leave.wait(backoff.next())
                with self._lock:
                    self.clients[number] = self._client(number)
                continue
            except Exception as error:
                self._failures.append(error)
            backoff.reset()
            with self._lock:
                if number not in self._again or self._failures:
                    self._busy.discard(number)
                    return
                self._again.discard(number)

    def _follow(self, number: int) -> None:
        client, head = self.clients[number], self._head
        known = client.machine.head
        if head is not None and not client.gone and (known is None or known.link.offset < head.link.offset):
            way = head.way(head.base.version)
            if known is None and self._sources and way is not None and way.whole.chunks and not head.ended:
                run = way.whole.chunks[0]  # whoever joins is ready to download
                self._sources[number].expect(head.opened.topics.data, run.partition, run.first)
            client.follow(head)

    def _client(self, number: int) -> PoolClient:
        return PoolClient(
            self._log,
            self._federation,
            self._names[number],
            self._trains[number],
            incarnation=secrets.token_hex(4),
            reader=self._sources[number] if self._sources else self._shared,
            keep=self._keeps[number],
            held=self._held[number],
            key=self._key,
        )
