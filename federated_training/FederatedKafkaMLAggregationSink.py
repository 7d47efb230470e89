"""Everything that a client tells its federation, on the aggregator topic."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from mainstem import updates
from mainstem.errors import LogError
from mainstem.messages import Base, ClientFailed, Heartbeat, Joined, Left, Metrics, Opened, Report, Update, encode
from mainstem.ports import MessageLog, Outgoing
from mainstem.weights import Tensor

log = logging.getLogger(__name__)

NOTE: Final = 400
"""Characters of what a client may tell people as it joins."""


class FederatedKafkaMLAggregationSink:
    """One client's voice: `joined`, heartbeats, updates (chunks, then their manifest), `failed`, `left`.

    Records that decide anything go to partition 0, in order. Every method that sends raises LogError.
    """

    def __init__(self, connection: MessageLog, opened: Opened, client: str, incarnation: str) -> None:
        self._log, self._opened = connection, opened
        self._topic = opened.topics.aggregator
        self._client, self._incarnation = client, incarnation
        self._pulse: _Pulse | None = None

    def joined(
        self, examples: int, software: str, labels: Mapping[str, int], *, growing: bool = False, note: str = ""
    ) -> None:
        """Say that this client is there, with `examples` training samples, so many of each label.

        Without `growing` every update must say the same `examples`; with it, no fewer than the one before. `note` is
        for people: the records that it leaves out, and why.
        """
        self._send(
            Joined(
                federation=self._opened.federation,
                client=self._client,
                incarnation=self._incarnation,
                examples=examples,
                software=software,
                labels=dict(labels),
                growing=growing,
                note=note if len(note) <= NOTE else f"{note[: NOTE - 3]}...",
            )
        )

    def update(
        self, base: Base, number: int, examples: int, tensors: Sequence[Tensor], report: Callable[[float], Report]
    ) -> None:
        """Publish `tensors` in chunks, and then the manifest that makes them an update from `base`.

        `report` is called with the seconds that the chunks took.
        """
        started = time.monotonic()
        weights = updates.publish(
            self._log,
            self._topic,
            writer=self._client,
            update=f"{base.seq}-{number}-{secrets.token_hex(8)}",  # what a broken connection left is another's
            specs=self._opened.weights.tensors,
            tensors=tensors,
            partition=updates.chunk_partition(self._client, self._log.partitions(self._topic)),
        )
        self._send(
            Update(
                client=self._client,
                incarnation=self._incarnation,
                base=base,
                number=number,
                examples=examples,
                weights=weights,
                report=report(time.monotonic() - started),
            )
        )

    def failed(self, detail: str) -> None:
        """Say that this client gives up, and why."""
        self._send(ClientFailed(client=self._client, incarnation=self._incarnation, detail=detail[:2000]))

    def left(self, version: int | None = None, evaluation: Metrics | None = None) -> None:
        """Say that this client leaves, with what it measured of the final `version`."""
        self._send(Left(client=self._client, incarnation=self._incarnation, version=version, evaluation=evaluation))

    def beat(self, phase: str, base: int | None = None, progress: float = 0.0) -> None:
        """Say that this client is alive: `phase` is waiting, training, uploading or evaluating."""
        self._send(
            Heartbeat(
                client=self._client,
                incarnation=self._incarnation,
                phase=phase,
                base=base,
                progress=round(min(max(progress, 0.0), 1.0), 3),
            )
        )

    def start_beating(self, every: float, state: Callable[[], tuple[str, int | None, float]]) -> None:
        """Beat from a thread of its own every `every` seconds, with what `state` gives for `beat`."""
        self._pulse = _Pulse(self, every, state)
        self._pulse.start()

    def close(self) -> None:
        """End the heartbeats; the connection is the caller's."""
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None

    def _send(self, record: msgspec.Struct) -> None:
        self._log.append(self._topic, [Outgoing(encode(record), key=self._client.encode())])


class _Pulse(threading.Thread):
    def __init__(
        self, sink: FederatedKafkaMLAggregationSink, every: float, state: Callable[[], tuple[str, int | None, float]]
    ) -> None:
        super().__init__(daemon=True, name="heartbeat")
        self._sink, self._every, self._state, self._done = sink, every, state, threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._every):
            try:
                self._sink.beat(*self._state())
            except LogError as error:  # the main thread will notice too, and begin anew
                log.warning("a heartbeat was not delivered: %s", error)

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=5)
